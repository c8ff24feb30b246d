//! The container's filter of system calls ([`crate::parse::seccomp`] says what it means).
//!
//! It is made before anything else is, so that a profile which cannot be had costs nothing, and it
//! is installed as the last step before the program is executed: what it denies, berth has no use
//! for any more. Only a program that is left neither CAP_SYS_ADMIN nor `noNewPrivileges` has it
//! installed before its user and rights are set, by calls that it must allow then. From there on it
//! is asked about calls of berth's own:
//!
//! * execve(2). A profile that denies it, whatever the arguments, is refused: nothing would ever
//!   start.
//! * write(2), of the [`super::report`] of an execve that failed.
//! * exit_group(2) after that. Where it is denied the process ends by an instruction that does not
//!   exist ([`process::exit`]).
//!
//! # Agents
//!
//! A filter that asks an agent comes with a descriptor by which that is asked (seccomp_unotify(2)),
//! and until the agent has it, who calls what it would be asked about waits for ever. So these two
//! calls come first, and a profile that does not let them through is refused:
//!
//! * sendmsg(2), of the descriptor and the state, through a connection that [`super::builder`] has
//!   made.
//! * close(2), of the connection and of the descriptor.
//!
//! All later ones, execve(2) too, it can answer.
//!
//! Who creates a container may want its agent to have the descriptor before the container is
//! started, as with runc. So such a filter comes before the process holds, and so do its user and
//! rights, if what is called from there on is let through:
//!
//! * write(2), that it holds; read(2), that it can be found; openat(2), of the FIFO.
//! * prlimit64(2) and landlock_restrict_self(2), where the configuration asks for that: a limit may
//!   leave no descriptor for the FIFO, and to Landlock it is a file of the host's.
//!
//! Otherwise it comes when the container is started. So it does with startContainer hooks, which
//! the filter is not for, and with Landlock for who could restrict himself no more.
//!
//! # Without a word
//!
//! If the report cannot be written, or the process is killed for trying, its maker finds the end of
//! the pipe and a process that never executed anything, and says so.
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

/// What one that holds calls from its filter on.
const HOLDING: [u32; 3] = [linux::__NR_write, linux::__NR_read, linux::__NR_openat];

/// Whether the filter comes after user and rights: who has given up his rights can install it no
/// more, unless he can gain none either (seccomp(2), SECCOMP_SET_MODE_FILTER).
pub(super) fn is_installed_last(process: &Process<'_>) -> bool {
    process.no_new_privileges || credentials::keep_sys_admin(process)
}

/// Whether the filter's agent is told of a container's first process when that is created, and not
/// only when it is started.
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
