//! `annotations` that begin with `berth.`: what the specification has no word for.
//!
//! They are ours alone, so an unknown one is a mistake and is refused, as on the command line.

use core::time::Duration;

use super::error::{ConfigError, Field};
use super::id::container_id;
use super::landlock::{Landlock, Paths, Ports};
use super::reader::{Reader, Refused, Use};
use crate::parse::json::{Node, Value};
use crate::parse::list::List;
use crate::parse::log;
use crate::parse::nearest::nearest;
use crate::parse::number::{bytes, number};
use crate::parse::verity::{Tree, Verity};

/// The annotations that berth acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotations<'a> {
    /// `berth.control`: whether it has the machine's control, if PID 1 starts it.
    pub control: bool,
    /// `berth.root-switch`: how the container gets onto its root.
    pub root_switch: RootSwitch,
    /// `berth.console`: whether it has the console as its terminal.
    pub console: bool,
    /// `berth.console` = `raw`: what it prints goes to the console as it is.
    pub raw_output: bool,
    /// `berth.log-size`: how much of what it prints is kept in memory, in bytes.
    pub log_size: u32,
    /// `berth.on-exit`: what its end means for the machine.
    pub on_exit: OnExit,
    /// `berth.stop-timeout`: how long it may take to stop before it is killed.
    pub stop_timeout: Option<Duration>,
    /// `berth.restart`: whether it is started again when it has ended.
    pub restart: Restart,
    /// `berth.after`: the containers that are started before it.
    pub after: List<'a>,
    /// `berth.requires`: the containers that are ready before it is started; `network` is none, but
    /// the machine's.
    pub requires: List<'a>,
    /// `berth.ready`: when it is ready, for those that require it.
    pub ready: Ready<'a>,
    /// `berth.image`: the file in the bundle that holds the root filesystem; a relative path.
    pub image: Option<&'a str>,
    /// `berth.verity`: the root hash of the image, and where in the file its tree is. Only with an
    /// image.
    pub verity: Option<Verity<'a>>,
    /// `berth.overlay`: where what it changes in its root filesystem goes.
    pub overlay: Option<Overlay<'a>>,
    /// `berth.landlock.*`: what it may do with files and ports.
    pub landlock: Landlock<'a>,
    /// `berth.privileged`: whether it has all capabilities, all devices, and no masks, where its
    /// fields do not say otherwise.
    pub privileged: bool,
}

/// Those that ask something of PID 1, and nothing of who else starts the container.
pub const OF_PID_1: [&str; 9] = [
    "berth.after",
    "berth.console",
    CONTROL,
    "berth.log-size",
    "berth.on-exit",
    "berth.ready",
    "berth.requires",
    "berth.restart",
    "berth.stop-timeout",
];

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

/// Whether a container is started again when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    No,
    /// When it did not end well.
    OnFailure {
        /// At most so often; not 0.
        max: Option<u32>,
    },
    /// Always, until the machine ends.
    Always,
}

/// When a container is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready<'a> {
    /// When its program was started.
    Started,
    /// When its program has ended with status 0.
    Exited,
    /// When it says so: `READY=1` on its NOTIFY_SOCKET (sd_notify(3)).
    Notify,
    /// When there is something at this path in it; absolute, at most [`READY_PATH_MAX`] bytes.
    Path(&'a str),
}

/// The longest path of `berth.ready`, in bytes.
pub const READY_PATH_MAX: usize = 511;

/// Where a writable layer above the root filesystem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlay<'a> {
    /// In memory, until the container ends.
    Tmpfs,
    /// In this directory: relative to the bundle unless it begins with `/`. Not empty.
    Directory(&'a str),
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
    set: Set,
}

/// Higher-ranked, so that one table serves every lifetime of the text.
type Set = for<'s, 'a> fn(&'s mut Annotations<'a>, &'a str) -> Option<()>;

const KEYS: &[Key] = &[
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
        accepts: "true, false or raw",
        set: |annotations, value| {
            (annotations.console, annotations.raw_output) = match value {
                "true" => (true, false),
                "false" => (false, false),
                "raw" => (false, true),
                _ => return None,
            };
            Some(())
        },
    },
    Key {
        name: CONTROL,
        accepts: "true or false",
        set: |annotations, value| {
            annotations.control = value.parse().ok()?;
            Some(())
        },
    },
    Key {
        name: "berth.privileged",
        accepts: "true or false",
        set: |annotations, value| {
            annotations.privileged = value.parse().ok()?;
            Some(())
        },
    },
    Key {
        name: "berth.log-size",
        accepts: "bytes, 4K to 16M",
        set: |annotations, value| {
            annotations.log_size = bytes(value).filter(|size| log::SIZES.contains(size))?;
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
            annotations.stop_timeout = Some(Duration::from_secs(number::<u32>(value)?.into()));
            Some(())
        },
    },
    Key {
        name: "berth.restart",
        accepts: "no, always, on-failure or on-failure:N, for N restarts at most",
        set: |annotations, value| {
            annotations.restart = match value {
                "no" => Restart::No,
                "always" => Restart::Always,
                "on-failure" => Restart::OnFailure { max: None },
                _ => {
                    let max = number(value.strip_prefix("on-failure:")?)?;
                    Restart::OnFailure {
                        max: (max > 0).then_some(Some(max))?,
                    }
                }
            };
            Some(())
        },
    },
    Key {
        name: "berth.after",
        accepts: "containers, a comma list",
        set: |annotations, value| {
            annotations.after = containers(value)?;
            Some(())
        },
    },
    Key {
        name: "berth.requires",
        accepts: "containers and network, a comma list",
        set: |annotations, value| {
            annotations.requires = containers(value)?;
            Some(())
        },
    },
    Key {
        name: READY,
        accepts: "started, exited, notify, or path:/PATH in the container, at most 511 bytes",
        set: |annotations, value| {
            annotations.ready = match value {
                "started" => Ready::Started,
                "exited" => Ready::Exited,
                "notify" => Ready::Notify,
                _ => {
                    let path = value.strip_prefix("path:")?;
                    let fits = path.starts_with('/') && path.len() <= READY_PATH_MAX;
                    Ready::Path(fits.then_some(path)?)
                }
            };
            Some(())
        },
    },
    Key {
        name: "berth.image",
        accepts: "a path in the bundle",
        set: |annotations, value| {
            let is_inside = !value.is_empty() && !value.starts_with('/');
            annotations.image = Some(value).filter(|_| is_inside);
            annotations.image.map(|_| ())
        },
    },
    Key {
        name: "berth.verity",
        accepts: "ROOT-HASH, or ROOT-HASH,OFFSET in the image of berth.image",
        set: |annotations, value| {
            let verity = Verity::parse(value);
            annotations.verity = verity.filter(|verity| !matches!(verity.tree, Tree::Device(_)));
            annotations.verity.map(|_| ())
        },
    },
    Key {
        name: "berth.overlay",
        accepts: "tmpfs, or the path of a directory",
        set: |annotations, value| {
            annotations.overlay = match value {
                "" => return None,
                "tmpfs" => Some(Overlay::Tmpfs),
                directory => Some(Overlay::Directory(directory)),
            };
            Some(())
        },
    },
    Key {
        name: "berth.landlock.read",
        accepts: Paths::ACCEPTS,
        set: |annotations, value| {
            annotations.landlock.read = Paths::parse(value)?;
            Some(())
        },
    },
    Key {
        name: "berth.landlock.execute",
        accepts: Paths::ACCEPTS,
        set: |annotations, value| {
            annotations.landlock.execute = Paths::parse(value)?;
            Some(())
        },
    },
    Key {
        name: "berth.landlock.write",
        accepts: Paths::ACCEPTS,
        set: |annotations, value| {
            annotations.landlock.write = Paths::parse(value)?;
            Some(())
        },
    },
    Key {
        name: "berth.landlock.bind",
        accepts: Ports::ACCEPTS,
        set: |annotations, value| {
            annotations.landlock.bind = Some(Ports::parse(value)?);
            Some(())
        },
    },
    Key {
        name: "berth.landlock.connect",
        accepts: Ports::ACCEPTS,
        set: |annotations, value| {
            annotations.landlock.connect = Some(Ports::parse(value)?);
            Some(())
        },
    },
];

/// `berth.control`.
pub(super) const CONTROL: &str = "berth.control";

/// `berth.ready`.
pub(super) const READY: &str = "berth.ready";

/// A list of containers; `None` for any other text.
pub(in crate::parse) fn containers(value: &str) -> Option<List<'_>> {
    match value {
        "" => Some(List::default()),
        _ => List::parse(value, |id| container_id(id.as_bytes()).is_ok()),
    }
}

/// Their names.
#[expect(clippy::indexing_slicing, reason = "it is made when it is compiled")]
pub(super) const NAMES: &[&str] = &{
    let mut names = [""; KEYS.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = KEYS[i].name;
        i += 1;
    }
    names
};

impl Default for Annotations<'_> {
    fn default() -> Self {
        Self::NONE
    }
}

impl<'a> Annotations<'a> {
    /// Nothing said.
    pub(super) const NONE: Self = Self {
        control: false,
        root_switch: RootSwitch::Pivot,
        console: false,
        raw_output: false,
        log_size: log::SIZE,
        on_exit: OnExit::Continue,
        stop_timeout: None,
        restart: Restart::No,
        after: List::NONE,
        requires: List::NONE,
        ready: Ready::Started,
        image: None,
        verity: None,
        overlay: None,
        landlock: Landlock::NONE,
        privileged: false,
    };

    pub(super) fn read(reader: &Reader<'a>, all: Value<'a>) -> Result<Self, Refused> {
        let mut annotations = Self::default();
        let Node::Object(members) = all.node() else {
            return Err(reader.not("annotations", "an object"));
        };
        for (key, value) in members.filter(|(key, _)| key.starts_with("berth.")) {
            // As everywhere: `null` is as good as nothing.
            if matches!(value.node(), Node::Null) {
                continue;
            }
            if let Some(key) = KEYS.iter().find(|known| key.is(known.name)) {
                let field = Field::from(key.name);
                let value = reader.string(value, field, Use::Name)?;
                (key.set)(&mut annotations, value)
                    .ok_or_else(|| reader.bad(field, value, key.accepts))?;
            } else {
                let key = reader.store(key)?;
                let nearest = nearest(key, KEYS.iter().map(|key| key.name));
                return Err(reader.refuse(ConfigError::UnknownAnnotation { key, nearest }));
            }
        }
        if let (Some(_), None) = (annotations.verity, annotations.image) {
            return Err(reader.missing("berth.image"));
        }
        Ok(annotations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each has its row in `docs/bundles.md`, under its whole name, and no other has one.
    #[test]
    fn all_are_documented() {
        let document = include_str!("../../../docs/bundles.md");
        let rows = document.lines().filter(|row| row.starts_with("| `berth."));
        let cells = rows.filter_map(|row| row.split(" | ").next());
        let mut told: Vec<_> = cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        let mut known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        told.sort_unstable();
        known.sort_unstable();
        assert_eq!(told, known);
    }
}
