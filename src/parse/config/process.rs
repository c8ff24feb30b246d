//! `process`: the program of a container, and what it is run with.

use super::MAX_STRINGS;
use super::affinity::{self, Processors};
use super::capabilities::Capabilities;
use super::error::Field;
use super::memory_policy::MemoryPolicy;
use super::reader::{Reader, Refused, integer};
use super::rlimits::Rlimits;
use super::scheduling::Scheduler;
use super::strings::Strings;
use super::user::User;
use crate::parse::json::{Text, Value};

/// The program of a container.
#[derive(Clone, Debug)]
pub struct Process<'a> {
    /// `args`: at least one, and the first is not empty.
    pub args: Strings<'a>,
    /// `env`: each `NAME=value`.
    pub env: Strings<'a>,
    /// `cwd`: an absolute path in the container.
    pub cwd: &'a str,
    /// `terminal`
    pub terminal: bool,
    /// `consoleSize`: rows and columns.
    pub console_size: Option<[u16; 2]>,
    /// `user`
    pub user: User<'a>,
    /// `capabilities`. `None`, which only a container that is `berth.privileged` has: what the
    /// kernel gives to the user; all to root.
    pub capabilities: Option<Capabilities<'a>>,
    /// `apparmorProfile`; `unconfined` is a profile, the one that confines nobody.
    pub apparmor_profile: Option<&'a str>,
    /// `selinuxLabel`
    pub selinux_label: Option<&'a str>,
    /// `noNewPrivileges`
    pub no_new_privileges: bool,
    /// `rlimits`
    pub rlimits: Rlimits,
    /// `oomScoreAdj`
    pub oom_score_adj: Option<i32>,
    /// `scheduler`
    pub scheduler: Option<Scheduler>,
    /// `ioPriority`: class and priority, as ioprio_set(2) takes them.
    pub io_priority: Option<u16>,
    /// `execCPUAffinity`, in the order of [`affinity::LISTS`].
    pub exec_affinity: [Option<Processors<'a>>; affinity::LISTS.len()],
    /// `linux.personality`, as personality(2) takes it.
    pub personality: Option<u32>,
    /// `linux.memoryPolicy`
    pub memory_policy: Option<MemoryPolicy<'a>>,
}

pub(super) const ARGS: &str = "process.args";
pub(super) const ENV_ITEM: &str = "process.env[]";
pub(super) const CONSOLE_SIZE: &str = "process.consoleSize";
/// What a size of a console is.
pub(super) const SIZES: [&str; 2] = ["height", "width"];

impl Process<'_> {
    /// Before anything is said of it.
    pub(super) fn nothing() -> Self {
        Self {
            args: Strings::NONE,
            env: Strings::NONE,
            cwd: "",
            terminal: false,
            console_size: None,
            user: User::ROOT,
            capabilities: None,
            apparmor_profile: None,
            selinux_label: None,
            no_new_privileges: false,
            rlimits: Rlimits::new(),
            oom_score_adj: None,
            scheduler: None,
            io_priority: None,
            exec_affinity: [None; affinity::LISTS.len()],
            personality: None,
            memory_policy: None,
        }
    }
}

pub(super) fn args<'a>(reader: &Reader<'a>, list: Value<'a>) -> Result<Strings<'a>, Refused> {
    let args = Strings::read(reader, list, "process.args[]", MAX_STRINGS)?;
    match args.iter().next() {
        None => Err(reader.missing(ARGS)),
        Some(program) if program.is("") => Err(reader.bad(ARGS, "", "a program first")),
        Some(_) => Ok(args),
    }
}

pub(super) fn env<'a>(reader: &Reader<'a>, list: Value<'a>) -> Result<Strings<'a>, Refused> {
    let env = Strings::read(reader, list, ENV_ITEM, MAX_STRINGS)?;
    for (index, variable) in env.iter().enumerate() {
        if !is_variable(variable) {
            let field = Field::item(ENV_ITEM, index);
            return Err(reader.bad(field, variable.written(), "NAME=value"));
        }
    }
    Ok(env)
}

pub(super) fn console_size<'a>(reader: &Reader<'a>, size: Value<'a>) -> Result<[u16; 2], Refused> {
    // What struct winsize holds (ioctl_tty(2)).
    let [rows, columns] = size.members(&SIZES).map(|number| {
        let number = integer(number?, 0..=u16::MAX.into())?;
        u16::try_from(number).ok()
    });
    let both = rows.zip(columns).map(|(rows, columns)| [rows, columns]);
    both.ok_or_else(|| reader.not(CONSOLE_SIZE, "height and width, each from 0 to 65535"))
}

pub(super) fn is_variable(text: Text<'_>) -> bool {
    if let Some(plain) = text.plain() {
        let name = plain.as_bytes().iter().position(|byte| *byte == b'=');
        return name.is_some_and(|length| length > 0);
    }
    let mut chars = text.chars();
    !matches!(chars.next(), None | Some('=')) && chars.any(|c| c == '=')
}
