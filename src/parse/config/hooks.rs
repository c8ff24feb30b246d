//! `hooks`: programs that are run beside the container's, at moments of its life (config.md,
//! "POSIX-platform Hooks").

use core::time::Duration;

use super::MAX_STRINGS;
use super::error::Field;
use super::process::is_variable;
use super::reader::{Reader, Refused, Use, integer};
use crate::parse::json::{Node, Text, Value};

/// When hooks run, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// The namespaces and mounts are made; in the runtime's namespaces. The older name of the next.
    Prestart,
    /// The same, and after it.
    CreateRuntime,
    /// After it, in the container's namespaces, before its root is `/`.
    CreateContainer,
    /// In the container, before its program.
    StartContainer,
    /// When the program runs; in the runtime's namespaces.
    Poststart,
    /// When the container has ended; in the runtime's namespaces.
    Poststop,
}

impl HookKind {
    /// In their order.
    pub const ALL: [Self; 6] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
        Self::Poststart,
        Self::Poststop,
    ];

    /// The specification's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Prestart => "hooks.prestart[]",
            Self::CreateRuntime => "hooks.createRuntime[]",
            Self::CreateContainer => "hooks.createContainer[]",
            Self::StartContainer => "hooks.startContainer[]",
            Self::Poststart => "hooks.poststart[]",
            Self::Poststop => "hooks.poststop[]",
        }
    }
}

/// Names of [`HookKind::ALL`].
pub(super) const MOMENTS: [&str; 6] = [
    HookKind::Prestart.name(),
    HookKind::CreateRuntime.name(),
    HookKind::CreateContainer.name(),
    HookKind::StartContainer.name(),
    HookKind::Poststart.name(),
    HookKind::Poststop.name(),
];

/// What a hook has.
pub(super) const MEMBERS: [&str; 4] = ["path", "args", "env", "timeout"];

/// All hooks. They stay in the text, and are read there again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hooks<'a>(Option<Value<'a>>);

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    value: Value<'a>,
    /// `path`: absolute.
    pub path: Text<'a>,
    /// `timeout`: how long it may take, in seconds.
    pub timeout: Option<Duration>,
}

impl<'a> Hooks<'a> {
    /// Nothing.
    pub(super) const NONE: Self = Self(None);

    /// Those of one moment, in order.
    pub fn of(&self, moment: HookKind) -> impl Iterator<Item = Hook<'a>> + use<'a> {
        let hooks = self.0.and_then(|hooks| hooks.member(moment.name()));
        let items = match hooks.map(|hooks| hooks.node()) {
            Some(Node::Array(items)) => Some(items),
            _ => None,
        };
        // Each was read before.
        items
            .into_iter()
            .flatten()
            .filter_map(|item| Hook::read(&Reader::default(), item, "", 0).ok())
    }

    /// Whether there are any at one of these moments.
    #[must_use]
    pub fn has(&self, moments: &[HookKind]) -> bool {
        moments
            .iter()
            .any(|moment| self.of(*moment).next().is_some())
    }

    #[inline(never)]
    pub(super) fn read(reader: &Reader<'a>, hooks: Value<'a>) -> Result<Self, Refused> {
        reader.object(hooks, "hooks")?;
        let lists = hooks.members(&MOMENTS).into_iter();
        for (list, moment) in lists.zip(HookKind::ALL) {
            let items = reader.items_if_any(list, moment.field().into())?;
            for (index, item) in items.enumerate() {
                Hook::read(reader, item, moment.field(), index)?;
            }
        }
        Ok(Self(Some(hooks)))
    }
}

impl<'a> Hook<'a> {
    /// `args`; without any, the path is the only one.
    pub fn args(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        let own_name = self.value.member("args").is_none_or(|args| args.is_empty());
        texts(self.value, "args").chain(own_name.then_some(self.path))
    }

    /// `env`: each `NAME=value`. `None`: it inherits the variables of who runs it.
    #[must_use]
    pub fn env(&self) -> Option<impl Iterator<Item = Text<'a>> + use<'a>> {
        self.value.member("env").map(|_| texts(self.value, "env"))
    }

    fn read(
        reader: &Reader<'a>,
        item: Value<'a>,
        path: &'static str,
        index: usize,
    ) -> Result<Self, Refused> {
        let field = Field::item(path, index);
        let item = reader.object(item, field)?;
        let refused = |expected| reader.not(field, expected);
        let [path, args, env, timeout] = item.members(&MEMBERS);
        let program = reader.text(path.ok_or_else(|| reader.missing(field))?, field)?;
        if !program.starts_with("/") || program.has_control() {
            return Err(refused("a program with an absolute path"));
        }
        for (list, is_env) in [(args, false), (env, true)] {
            for (index, item) in reader.items_if_any(list, field)?.enumerate() {
                let text = reader.text(item, field)?;
                if index >= MAX_STRINGS {
                    return Err(reader.too_many(field, MAX_STRINGS));
                }
                if Use::Argument.refuses(text) {
                    return Err(reader.control(field));
                }
                if is_env && !is_variable(text) {
                    return Err(refused("a program with an env of NAME=value"));
                }
            }
        }
        let timeout = match timeout {
            None => None,
            Some(value) => {
                let seconds = integer(value, 1..=i64::from(u32::MAX));
                let expected = "a program with a timeout of whole seconds, at least 1";
                let seconds = seconds.ok_or_else(|| refused(expected))?;
                Some(Duration::from_secs(seconds.unsigned_abs()))
            }
        };
        Ok(Self {
            value: item,
            path: program,
            timeout,
        })
    }
}

fn texts<'a>(hook: Value<'a>, name: &str) -> impl Iterator<Item = Text<'a>> + use<'a> {
    let items = match hook.member(name).map(|value| value.node()) {
        Some(Node::Array(items)) => Some(items),
        _ => None,
    };
    let texts = items.into_iter().flatten();
    texts.filter_map(|item| match item.node() {
        Node::String(text) => Some(text),
        _ => None,
    })
}
