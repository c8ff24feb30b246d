//! `process`: the program of a container, and what it is run with.

use super::MAX_STRINGS;
use super::affinity::{self, Processors};
use super::capabilities::Capabilities;
use super::error::Field;
use super::members::{self, Member, Takes};
use super::memory_policy::MemoryPolicy;
use super::reader::{Reader, Refused, Use, integer};
use super::rlimits::{self, Rlimits};
use super::scheduling::{self, Scheduler};
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
    /// `capabilities`. `None`, which only a container that is `berth.privileged` has: what the kernel gives to the user; all to
    /// root.
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

const MEMBERS: [Member; 1] = [Member::optional(
    "process.oomScoreAdj",
    Takes::Signed(-1000, 1000, "-1000 to 1000"),
)];

impl<'a> Process<'a> {
    #[inline(never)]
    pub(super) fn read(reader: &Reader<'a>, config: Value<'a>) -> Result<Self, Refused> {
        let args = Strings::read(reader, config, "process.args[]", MAX_STRINGS)?;
        match args.iter().next() {
            None => return Err(reader.missing("process.args")),
            Some(program) if program.is("") => {
                return Err(reader.bad("process.args", "", "a program first"));
            }
            Some(_) => {}
        }
        let env = Strings::read(reader, config, "process.env[]", MAX_STRINGS)?;
        for (index, variable) in env.iter().enumerate() {
            if !is_variable(variable) {
                let field = Field::item("process.env[]", index);
                return Err(reader.bad(field, variable.written(), "NAME=value"));
            }
        }
        let cwd = reader.required(config, "process.cwd", Use::Name)?;
        if !cwd.starts_with('/') {
            let accepts = "an absolute path";
            return Err(reader.bad("process.cwd", cwd, accepts));
        }
        let [oom_score_adj] = match config.member("process") {
            Some(process) => members::read(reader, process, None, &MEMBERS)?,
            None => [None],
        };
        Ok(Self {
            args,
            env,
            cwd,
            terminal: reader.boolean(config, "process.terminal")?,
            console_size: console_size(reader, config)?,
            user: User::read(reader, config)?,
            capabilities: Capabilities::read(reader, config)?,
            apparmor_profile: reader.optional(config, "process.apparmorProfile", Use::Name)?,
            selinux_label: reader.optional(config, "process.selinuxLabel", Use::Name)?,
            no_new_privileges: reader.boolean(config, "process.noNewPrivileges")?,
            rlimits: rlimits::read(reader, config)?,
            oom_score_adj: oom_score_adj.map(|score| score as i32),
            scheduler: Scheduler::read(reader, config)?,
            io_priority: scheduling::io_priority(reader, config)?,
            exec_affinity: affinity::read(reader, config)?,
            personality: scheduling::personality(reader, config)?,
            memory_policy: MemoryPolicy::read(reader, config)?,
        })
    }
}

fn console_size<'a>(reader: &Reader<'a>, config: Value<'a>) -> Result<Option<[u16; 2]>, Refused> {
    const FIELD: &str = "process.consoleSize";
    let Some(size) = config.at(FIELD) else {
        return Ok(None);
    };
    // What struct winsize holds (ioctl_tty(2)).
    let number = |name| {
        let number = integer(size.member(name)?, 0..=u16::MAX.into())?;
        u16::try_from(number).ok()
    };
    match (number("height"), number("width")) {
        (Some(rows), Some(columns)) => Ok(Some([rows, columns])),
        _ => Err(reader.not(FIELD, "height and width, each from 0 to 65535")),
    }
}

fn is_variable(text: Text<'_>) -> bool {
    let mut chars = text.chars();
    !matches!(chars.next(), None | Some('=')) && chars.any(|c| c == '=')
}
