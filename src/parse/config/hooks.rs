//! `hooks`: programs that are run beside the container's, at moments of its life (config.md, "POSIX-platform Hooks").

use core::time::Duration;

use super::MAX_STRINGS;
use super::error::Field;
use super::reader::{Reader, Refused, integer};
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
    pub(super) fn read(reader: &Reader<'a>, config: Value<'a>) -> Result<Self, Refused> {
        let Some(hooks) = config.member("hooks") else {
            return Ok(Self::default());
        };
        reader.object(hooks, "hooks")?;
        for moment in HookKind::ALL {
            let items = reader.list(hooks, moment.name(), moment.field().into())?;
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
        let program = reader.text(
            item.member("path").ok_or_else(|| reader.missing(field))?,
            field,
        )?;
        if !program.starts_with("/") || program.chars().any(char::is_control) {
            return Err(refused("a program with an absolute path"));
        }
        for (name, limit) in [("args", MAX_STRINGS), ("env", MAX_STRINGS)] {
            let items = reader.list(item, name, field)?;
            for (index, item) in items.enumerate() {
                let text = reader.text(item, field)?;
                let is_variable =
                    || text.chars().skip(1).any(|c| c == '=') && !text.starts_with("=");
                if index >= limit {
                    return Err(reader.too_many(field, limit));
                }
                if text.chars().any(|c| c == '\0') {
                    return Err(reader.control(field));
                }
                if name == "env" && !is_variable() {
                    return Err(refused("a program with an env of NAME=value"));
                }
            }
        }
        let timeout = match item.member("timeout") {
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
