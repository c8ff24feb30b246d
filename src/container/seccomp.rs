//! The container's filter of system calls ([`crate::parse::seccomp`] says what it means).
//!
//! The filter is compiled while everything may still be called, and installed as the last step
//! before the program is executed: berth no longer needs what it denies. If a process keeps neither
//! CAP_SYS_ADMIN nor no_new_privs, its filter is installed before its UID and capabilities change,
//! and must allow the calls that change them. From then on, the filter is asked about these calls
//! of berth's own:
//!
//! * execve(2). A profile that denies it, whatever the arguments, is refused: nothing would ever
//!   start.
//! * write(2), of the [`super::report`] of an execve that failed.
//! * exit_group(2) after that. Where it is denied, the process ends by an instruction that does not
//!   exist ([`process::exit`]).
//!
//! # Agents
//!
//! A filter that asks an agent comes with a descriptor by which it asks (seccomp_unotify(2)). Until
//! the agent has that descriptor, a call that the agent would be asked about waits for ever. So
//! these two calls come first, and a profile that does not allow them is refused:
//!
//! * sendmsg(2), of the descriptor and the state, through a connection that [`super::builder`] has
//!   made.
//! * close(2), of the connection and of the descriptor.
//!
//! The agent can answer all later calls, execve(2) too.
//!
//! With runc, an agent has the descriptor when the container is created, and not only when it is
//! started. So such a filter is installed before the process waits for the start, and the user and
//! the rights change before that, if the filter allows the calls that follow:
//!
//! * write(2), which says that the container is created; read(2), which waits for its record;
//!   openat(2), of the FIFO.
//! * prlimit64(2) and landlock_restrict_self(2), where the configuration asks for that: a limit may
//!   leave no descriptor for the FIFO, and to Landlock it is a file of the host's.
//!
//! Otherwise the filter is installed when the container is started. The same holds for a container
//! with startContainer hooks, which the filter is not meant for, and for one with Landlock whose
//! process could no longer restrict itself.
//!
//! # When the report cannot be written
//!
//! If the filter keeps the process from writing its report, or kills it for trying, the caller
//! finds the end of the pipe and a process that never executed anything, and says so.
//!
//! [`process::exit`]: crate::sys::process::exit

use core::mem::{ManuallyDrop, size_of};

use linux_raw_sys::general as linux;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;

use super::credentials;
use super::program::{List, value_after};
use super::state::{ProcessState, State};
use crate::error::{During, Fault, Op};
use crate::parse::config::seccomp::WAIT_KILLABLE_RECV;
use crate::parse::config::{Config, HookKind, Process, Seccomp};
use crate::parse::seccomp::{Instruction, MAX_INSTRUCTIONS, Refused, compile, lets_through};
use crate::sys::buffer::Buffer;
use crate::sys::seccomp::{add_filter, add_filter_with_listener};
use crate::sys::socket;

const PROFILE: &str = "linux.seccomp";
const AGENT: &str = "the agent of linux.seccomp";
const SIZE: usize = MAX_INSTRUCTIONS * size_of::<Instruction>();

/// What a container that waits for its start calls once its filter is installed.
const HOLDING: [u32; 3] = [linux::__NR_write, linux::__NR_read, linux::__NR_openat];

/// Whether the filter is installed after the user and the rights have changed: a process that has
/// given up its rights can install a filter only if it can gain none either (seccomp(2),
/// SECCOMP_SET_MODE_FILTER).
pub(super) fn is_installed_last(process: &Process<'_>) -> bool {
    process.no_new_privileges || credentials::keep_sys_admin(process)
}

/// Whether the filter's agent is notified of a container's first process when that is created, and
/// not only when it is started.
#[must_use]
#[inline(never)]
pub fn is_agent_notified_at_create(config: &Config<'_>) -> bool {
    let Some(profile) = config.seccomp.as_ref().filter(|it| it.agent.is_some()) else {
        return false;
    };
    let process = &config.process;
    let is_restricted = config.annotations.landlock.is_asked_for();
    let [a, b, c] = HOLDING;
    let or = |is_called, call| if is_called { call } else { a };
    let limits = or(
        process.rlimits.iter().next().is_some(),
        linux::__NR_prlimit64,
    );
    let landlock = or(is_restricted, linux::__NR_landlock_restrict_self);
    !config.hooks.has(&[HookKind::StartContainer])
        && (is_installed_last(process) || !is_restricted)
        && lets_through(profile, &[a, b, c, limits, landlock])
}

/// A filter, ready to be installed.
pub(super) struct Filter {
    room: Buffer<SIZE>,
    /// How many instructions there are, at the end of the room.
    len: usize,
    flags: u32,
    /// The connection to its agent.
    agent: Option<ManuallyDrop<OwnedFd>>,
    /// What the agent is told, as the only string. It is left to the end of the process, since
    /// giving it back takes a call.
    message: ManuallyDrop<List>,
}

impl Filter {
    /// Compiles the profile. `agent` is the connection to its agent, which is told the state of the
    /// process `pid` of a container in the state `state`.
    #[inline(never)]
    pub(super) fn of(
        profile: &Seccomp<'_>,
        agent: Option<ManuallyDrop<OwnedFd>>,
        pid: Option<Pid>,
        state: &State<'_>,
    ) -> Result<Self, Fault> {
        let mut room = Buffer::new();
        let bytes = room.bytes_mut().during(Op::Configure, PROFILE)?;
        let (instructions, _) = bytes.as_chunks_mut();
        let (errno, subject) = match compile(profile, instructions).map(<[_]>::len) {
            Ok(len) => {
                let mut message = ManuallyDrop::new(List::new());
                if let Some(agent) = profile.agent {
                    let metadata = agent.metadata;
                    let state = ProcessState {
                        pid,
                        metadata,
                        state,
                    };
                    let told = message.push(format_args!("{state}"));
                    told.during(Op::Configure, PROFILE)?;
                }
                return Ok(Self {
                    room,
                    len,
                    flags: profile.flags,
                    agent,
                    message,
                });
            }
            Err(Refused::TooLong) => (
                Errno::TOOBIG,
                "linux.seccomp, which takes more than the kernel's 4096 instructions",
            ),
            Err(Refused::DeniesExecve) => (
                Errno::PERM,
                "linux.seccomp, which denies execve, by which the program starts",
            ),
            Err(Refused::KeepsFromAgent) => (
                Errno::PERM,
                "linux.seccomp, which does not always allow sendmsg and close, by which its agent is told",
            ),
        };
        Err(errno).during(Op::Configure, subject)
    }

    /// Installs it, and tells its agent. It takes CAP_SYS_ADMIN, or `no_new_privs`.
    #[inline(never)]
    pub(super) fn install(&mut self) -> Result<(), Fault> {
        let (instructions, _) = self.room.bytes().as_chunks();
        let start = instructions.len().saturating_sub(self.len);
        let program = instructions.get(start..).unwrap_or_default();
        let Some(agent) = self.agent.take().map(ManuallyDrop::into_inner) else {
            return add_filter(program, self.flags).during(Op::Configure, PROFILE);
        };
        let subject = match self.flags & WAIT_KILLABLE_RECV {
            0 => PROFILE,
            _ => "linux.seccomp with the flag WAIT_KILLABLE_RECV, which is of Linux 5.19",
        };
        let listener =
            add_filter_with_listener(program, self.flags).during(Op::Configure, subject)?;
        let message = value_after("", &self.message).unwrap_or_default();
        // Both descriptors are closed then. An agent may wait for the end of what it reads; and
        // were the listener open here, that the agent is gone would not be found out.
        socket::send(&agent, message.as_bytes(), listener.as_fd()).during(Op::Write, AGENT)
    }
}
