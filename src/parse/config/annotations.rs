//! `annotations` that begin with `berth.`: what the specification has no word for.
//!
//! They are ours alone, so an unknown one is a mistake and is refused, as on the command line.

use core::time::Duration;

use super::error::{ConfigError, Field};
use super::reader::{Reader, Use};
use crate::parse::json::{Node, Value};
use crate::parse::nearest::nearest;

/// The annotations that berth acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotations {
    /// `berth.root-switch`: how the container gets onto its root.
    pub root_switch: RootSwitch,
    /// `berth.console`: whether it has the console as its terminal.
    pub console: bool,
    /// `berth.on-exit`: what its end means for the machine.
    pub on_exit: OnExit,
    /// `berth.stop-timeout`: how long it may take to stop before it is killed.
    pub stop_timeout: Option<Duration>,
}

/// How a container gets onto its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootSwitch {
    /// `pivot_root`, then the old root is unmounted. Nothing of it can be reached any more.
    Pivot,
    /// The root is moved onto `/`, as an initramfs does it.
    Move,
    /// `chroot` alone.
    Chroot,
}

/// What the end of a container means for the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    /// Nothing, as long as others run.
    Continue,
    /// The machine shuts down in order.
    Shutdown,
}

/// One annotation.
struct Key {
    name: &'static str,
    accepts: &'static str,
    /// Stores a value; `None` refuses it.
    set: fn(&mut Annotations, &str) -> Option<()>,
}

const KEYS: [Key; 4] = [
    Key {
        name: "berth.root-switch",
        accepts: "pivot, move or chroot",
        set: |annotations, value| {
            annotations.root_switch = match value {
                "pivot" => RootSwitch::Pivot,
                "move" => RootSwitch::Move,
                "chroot" => RootSwitch::Chroot,
                _ => return None,
            };
            Some(())
        },
    },
    Key {
        name: "berth.console",
        accepts: "true or false",
        set: |annotations, value| {
            annotations.console = value.parse().ok()?;
            Some(())
        },
    },
    Key {
        name: "berth.on-exit",
        accepts: "continue or shutdown",
        set: |annotations, value| {
            annotations.on_exit = match value {
                "continue" => OnExit::Continue,
                "shutdown" => OnExit::Shutdown,
                _ => return None,
            };
            Some(())
        },
    },
    Key {
        name: "berth.stop-timeout",
        accepts: "seconds, 0 to 4294967295",
        set: |annotations, value| {
            let seconds: u32 = value.parse().ok().filter(|_| !value.starts_with('+'))?;
            annotations.stop_timeout = Some(Duration::from_secs(seconds.into()));
            Some(())
        },
    },
];

/// Annotations that later versions act on, and the value that asks for what happens anyway.
const LATER: [(&str, &str); 5] = [
    ("berth.restart", "no"),
    ("berth.after", ""),
    ("berth.image", ""),
    ("berth.verity", ""),
    ("berth.overlay", ""),
];

impl Default for Annotations {
    fn default() -> Self {
        Self {
            root_switch: RootSwitch::Pivot,
            console: false,
            on_exit: OnExit::Continue,
            stop_timeout: None,
        }
    }
}

impl Annotations {
    pub(super) fn read<'a>(
        reader: &mut Reader<'a>,
        config: Value<'a>,
    ) -> Result<Self, ConfigError<'a>> {
        let mut annotations = Self::default();
        let Some(Node::Object(members)) = config.member("annotations").map(|value| value.node())
        else {
            return Ok(annotations);
        };
        for (key, value) in members.filter(|(key, _)| key.starts_with("berth.")) {
            if let Some(key) = KEYS.iter().find(|known| key.is(known.name)) {
                let field = Field::from(key.name);
                let value = reader.string(value, field, Use::Name)?;
                let refused = ConfigError::bad(field, value, key.accepts);
                (key.set)(&mut annotations, value).ok_or(refused)?;
            } else if let Some((name, neutral)) = LATER.iter().find(|(name, _)| key.is(name)) {
                let field = Field::from(*name);
                if reader.string(value, field, Use::Name)? != *neutral {
                    return Err(ConfigError::Unsupported(field));
                }
            } else {
                let key = reader.store(key)?;
                let known = KEYS.iter().map(|key| key.name);
                let nearest = nearest(key, known.chain(LATER.iter().map(|(name, _)| *name)));
                return Err(ConfigError::UnknownAnnotation { key, nearest });
            }
        }
        Ok(annotations)
    }
}
