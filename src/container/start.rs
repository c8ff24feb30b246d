//! From a configuration to a process that becomes the container: the one function that all commands call.

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::process::{Pid, getpid};

use super::builder::{self, SyncSocket};
use super::cgroup::Group;
use super::namespaces::flags_of_new;
use super::setup;
use super::shared_pid::DeferredFork;
use super::state::{State, Status};
use super::status_pipe::{self, Message, PendingStart, Progress, StatusPipe};
use crate::error::{During, Fault, Op};
use crate::parse::config::Config;
use crate::sys::process::Environment;
use crate::sys::raw::{self, Forked};

/// What is to be started, and with what.
pub struct Request<'r> {
    /// The container's name.
    pub id: &'r str,
    /// The directory of its bundle; absolute.
    pub bundle: &'r str,
    /// What the bundle asks for.
    pub config: &'r Config<'r>,
    /// Whether it is a container that is made, or one more process in one that runs.
    pub place: Place<'r>,
    /// The control group that the process begins in.
    pub group: Option<&'r Group>,
    /// Where its standard descriptors lead.
    pub streams: Streams,
    /// A FIFO, opened with O_PATH. It must be writable for everybody, in a directory that is not: the root of a user namespace is
    /// somebody else outside. When all is set up, the process says [`super::StartEvent::Created`], and after [`PendingStart::confirm_recorded`] opens it for
    /// writing, which waits until somebody opens it for reading (fifo(7)). Who does reads the end of the file when the program
    /// runs, else what [`super::released`] understands. If the caller ends before it says that, so does the process.
    pub exec_fifo: Option<OwnedFd>,
    /// Variables that the program has besides those of `process.env`, each `NAME=value`.
    pub variables: &'r [&'r str],
    /// Whether it has the caller's session keyring, and not one of its own.
    pub keeps_keyring: bool,
    /// What the caller does to it from outside when it is set up, before its hooks are run and its program.
    pub outside: Option<Outside>,
    /// The caller's variables: what sets the container up forgets them before others see it.
    pub environment: Option<Environment<'r>>,
}

/// What is done to the first process of a container, or to one more of it, which is given as this process sees it.
pub type Outside = fn(&Config<'_>, &str, Pid) -> Result<(), Fault>;

/// Where a process is started.
#[derive(Clone, Copy, Debug)]
pub enum Place<'r> {
    /// In a container of its own, that is made for it.
    New,
    /// In one that runs: in those of its namespaces that `config` names, whether they were made or joined, and on its root. What
    /// makes a container (mounts, hooks, its name) was done.
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
    /// Where the caller's lead; and so many more of the caller's descriptors, from 3 on, stay open. They must not be marked
    /// close-on-exec; everything else is closed.
    Inherited {
        /// How many more.
        more: u32,
    },
    /// A terminal in the container's devpts, whose other end is sent through this unix socket.
    Terminal(OwnedFd),
}

/// Starts it. The process exists when this returns, or a builder that makes it; what becomes of it is heard from the [`PendingStart`].
///
/// # Errors
/// Those of pipe2(2) and clone3(2).
#[inline(never)]
pub fn start(request: Request<'_>) -> Result<PendingStart, Fault> {
    let (ends, mut status_pipe) = status_pipe::pair(request.id, request.exec_fifo.is_some())?;
    let caller = getpid();
    if builder::is_needed(&request) {
        return match raw::fork(0, None).during(Op::Clone, request.id)? {
            Forked::Child => {
                // What the caller hears is nothing that is said here, and its end is heard when nobody else has this.
                drop(ends);
                builder::run(request, status_pipe, caller)
            }
            Forked::Parent(pid) => Ok(PendingStart::new(ends, Progress::Building, Some(pid))),
        };
    }
    let flags = flags_of_new(&request.config.namespaces);
    match builder::fork(&request, flags)? {
        Forked::Child => {
            drop(ends);
            become_container(request, &mut status_pipe, None, None)
        }
        Forked::Parent(pid) => Ok(PendingStart::new(ends, Progress::SettingUp(pid), None)),
    }
}

/// Sets everything up and executes the program, or says why not.
#[inline(never)]
pub(super) fn become_container(
    request: Request<'_>,
    status_pipe: &mut StatusPipe,
    sync: Option<SyncSocket>,
    deferred: Option<DeferredFork>,
) -> ! {
    let fault = setup::run(request, status_pipe, sync, deferred);
    status_pipe.send(Message::Fault(fault));
    raw::exit(127)
}

impl<'r> Request<'r> {
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
}
