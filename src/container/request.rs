//! What is asked for: a container, or one more process in one that runs.

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::process::Pid;

use super::cgroup::Group;
use super::state::{State, Status};
use crate::error::Fault;
use crate::parse::config::{Config, HookKind, Kind, Namespace};
use crate::sys::process::Environment;

/// What is to be started, and with what.
pub struct Request<'r> {
    /// The container's name.
    pub id: &'r str,
    /// The directory of its bundle; absolute.
    pub bundle: &'r str,
    /// What the bundle asks for.
    pub config: &'r Config<'r>,
    /// Whether a container is made, or one more process in one that runs.
    pub place: Place<'r>,
    /// The control group that the process begins in.
    pub group: Option<&'r Group>,
    /// Where its standard descriptors lead.
    pub streams: Streams,
    /// A FIFO, opened with O_PATH, that the container waits at before it executes its program.
    ///
    /// * It must be writable for everybody, in a directory that is not: the root of a user
    ///   namespace is another user outside.
    /// * When all is set up, the process says [`super::StartEvent::Created`], and after
    ///   [`super::PendingStart::confirm_recorded`] opens the FIFO for writing, which waits until
    ///   somebody opens it for reading (fifo(7)). If the caller ends before that, so does the
    ///   process.
    /// * The process that opens it reads the end of the file when the program runs, else what
    ///   [`super::start_result`] understands.
    pub exec_fifo: Option<OwnedFd>,
    /// Variables that the program has besides those of `process.env`, each `NAME=value`.
    pub variables: &'r [&'r str],
    /// Whether it has the caller's session keyring, and not one of its own.
    pub keeps_keyring: bool,
    /// What the caller does to it from outside when it is set up, before its hooks and its program
    /// are run.
    pub outside: Option<Outside>,
    /// The caller's variables: the set-up overwrites them before others see its memory.
    pub environment: Option<Environment<'r>>,
}

/// What is done to the first process of a container, or to one more of it. That is given as the
/// process that does it sees it.
pub type Outside = fn(&Config<'_>, &str, Pid) -> Result<(), Fault>;

/// Where a process is started.
#[derive(Clone, Copy, Debug)]
pub enum Place<'r> {
    /// In a container of its own, that is made for it.
    New,
    /// In one that runs: in those of its namespaces that `config` names, whether they were made or
    /// joined, and on its root. What makes a container (mounts, hooks, its name) was done.
    Running {
        /// A PID descriptor of its first process.
        first: BorrowedFd<'r>,
        /// The number of that, as the caller sees it.
        pid: Option<Pid>,
    },
}

/// Where the program's standard descriptors lead.
pub enum Streams {
    /// Nothing to read; what is written goes here.
    Pipes {
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// The host's console, as the controlling terminal.
    Console(OwnedFd),
    /// Where the caller's lead; and so many more of the caller's descriptors, from 3 on, stay open.
    /// They must not be marked close-on-exec; everything else is closed.
    Inherited {
        /// How many more.
        more: u32,
    },
    /// A terminal in the container's devpts, whose other end is sent through this unix socket.
    Terminal(OwnedFd),
}

impl Streams {
    /// Whether PID 1 has the container started, and no engine or person.
    pub(super) const fn are_of_pid_1(&self) -> bool {
        matches!(self, Self::Pipes { .. } | Self::Console(_))
    }
}

/// The hooks that are run outside, while the first process waits.
pub(super) const OUTSIDE_HOOKS: &[HookKind] = &[HookKind::Prestart, HookKind::CreateRuntime];

impl<'r> Request<'r> {
    /// Whether a container is made.
    pub(super) const fn is_new(&self) -> bool {
        matches!(self.place, Place::New)
    }

    /// The container's state, as far as it can be known from here.
    pub(super) const fn state(&self) -> State<'r> {
        let (status, pid) = match self.place {
            Place::New => (Status::Creating, None),
            Place::Running { pid, .. } => (Status::Running, pid),
        };
        State {
            id: self.id,
            status,
            pid,
            bundle: self.bundle,
            annotations: self.config.all_annotations,
        }
    }

    /// Whether namespaces that exist are joined, which another process does.
    pub(super) fn joins_namespaces(&self) -> bool {
        !self.is_new() || self.config.namespaces.joined().next().is_some()
    }

    /// Whether the first process is in a PID namespace of others, who see it while it is made.
    pub(super) fn is_visible(&self) -> bool {
        !self.is_new() || joins_processes(self.config)
    }

    /// Whether there are hooks, or work of the caller's, for which the first process waits.
    pub(super) fn has_outside_hooks(&self) -> bool {
        let hooks = &self.config.hooks;
        self.is_new()
            && (self.outside.is_some()
                || hooks.has(OUTSIDE_HOOKS)
                || joins_processes(self.config) && hooks.has(&[HookKind::CreateContainer]))
    }
}

/// Whether a container is made in the PID namespace of others.
pub(super) fn joins_processes(config: &Config<'_>) -> bool {
    matches!(config.namespaces.get(Kind::Pid), Namespace::At(_))
}

/// Whether the builder maps the ids of mounts: the first process may not, or others would see it
/// with what that takes.
pub(super) fn maps_ids_outside(config: &Config<'_>) -> bool {
    config.namespaces.has(Kind::User) || joins_processes(config)
}
