//! The container's filter of system calls ([`crate::parse::seccomp`] says what it means).
//!
//! It is made before anything else is, so that a profile which cannot be had costs nothing, and it is installed as the last
//! step before the program is executed: what it denies, berth has no use for any more. Only a program that is left neither
//! CAP_SYS_ADMIN nor `noNewPrivileges` has it installed before its user and rights are set, by calls that it must allow then.
//! From there on it is asked about calls of berth's own:
//!
//! * execve(2). A profile that denies it, whatever the arguments, is refused: nothing would ever start.
//! * write(2), of the [`super::report`] of an execve that failed.
//! * exit_group(2) after that. Where it is denied the process ends by an instruction that does not exist ([`raw::exit`]).
//!
//! If the report cannot be written, or the process is killed for trying, PID 1 finds the end of the pipe and a process that
//! never executed anything, and says so.
//!
//! [`raw::exit`]: crate::sys::raw::exit

use core::mem::size_of;

use rustix::io::Errno;

use crate::error::{During, Fault, Op};
use crate::parse::config::Seccomp;
use crate::parse::seccomp::{Instruction, MAX_INSTRUCTIONS, Refused, compile};
use crate::sys::buffer::Buffer;
use crate::sys::seccomp::add_filter;

const SIZE: usize = MAX_INSTRUCTIONS * size_of::<Instruction>();

/// A filter, ready to be installed.
pub(super) struct Filter {
    room: Buffer<SIZE>,
    /// How many instructions there are, at the end of the room.
    len: usize,
    flags: u32,
}

impl Filter {
    /// Compiles the profile.
    #[inline(never)]
    pub(super) fn of(profile: &Seccomp<'_>) -> Result<Self, Fault> {
        let mut room = Buffer::new();
        let bytes = room.bytes_mut().during(Op::Configure, "linux.seccomp")?;
        let (instructions, _) = bytes.as_chunks_mut();
        let (errno, subject) = match compile(profile, instructions).map(<[_]>::len) {
            Ok(len) => {
                let flags = profile.flags;
                return Ok(Self { room, len, flags });
            }
            Err(Refused::TooLong) => (
                Errno::TOOBIG,
                "linux.seccomp, which takes more than the kernel's 4096 instructions",
            ),
            Err(Refused::DeniesExecve) => (
                Errno::PERM,
                "linux.seccomp, which denies execve, by which the program starts",
            ),
        };
        Err(errno).during(Op::Configure, subject)
    }

    /// Installs it. It takes CAP_SYS_ADMIN, or `no_new_privs`.
    pub(super) fn install(&self) -> Result<(), Fault> {
        let (instructions, _) = self.room.bytes().as_chunks();
        let start = instructions.len().saturating_sub(self.len);
        let program = instructions.get(start..).unwrap_or_default();
        add_filter(program, self.flags).during(Op::Configure, "linux.seccomp")
    }
}
