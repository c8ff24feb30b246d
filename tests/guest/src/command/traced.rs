//! A command that is killed or stopped at one of its calls (ptrace(2)).

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use libc::{c_int, c_long};

/// Calls after which the maker has changed something, or others have begun to.
const CALLS: &[c_long] = &[
    libc::SYS_clone3,
    libc::SYS_fcntl,
    libc::SYS_fsetxattr,
    libc::SYS_ftruncate,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_renameat,
    libc::SYS_sendto,
    libc::SYS_unlinkat,
    libc::SYS_write,
];

/// What becomes of the maker.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Killed,
    Stopped,
}

/// A process that is stopped at its calls.
pub(super) struct Traced(pub(super) c_int);

impl Traced {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: ptrace(2) with PTRACE_TRACEME takes nothing, and is made in the child.
        let command = unsafe {
            command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        let traced = Self(command.spawn()?.id().try_into()?);
        traced.wait()?;
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACEEXEC;
        traced.ask(libc::PTRACE_SETOPTIONS, options)?;
        Ok(traced)
    }

    /// Its next stop or its end (waitpid(2)).
    fn wait(&self) -> Result<c_int> {
        let mut status = 0;
        // SAFETY: the call writes one number, into this one.
        let pid = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        ensure!(
            pid == self.0,
            "waitpid: {}",
            std::io::Error::last_os_error()
        );
        Ok(status)
    }

    fn ask(&self, request: libc::c_uint, data: c_int) -> Result<()> {
        // SAFETY: these requests take numbers.
        let result = unsafe { libc::ptrace(request, self.0, 0, c_long::from(data)) };
        ensure!(result == 0, "ptrace: {}", std::io::Error::last_os_error());
        Ok(())
    }

    /// The number of the call at whose end it is stopped; none at its beginning.
    fn ended_call(&self) -> Result<Option<c_long>> {
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: all fields are numbers, for which zero is a value, and the kernel fills them
            // in.
            let registers = unsafe {
                let mut registers: libc::user_regs_struct = std::mem::zeroed();
                let result = libc::ptrace(libc::PTRACE_GETREGS, self.0, 0, &raw mut registers);
                ensure!(result == 0, "ptrace: {}", std::io::Error::last_os_error());
                registers
            };
            // At the beginning the result is this (syscall_enter_from_user_mode).
            let is_begun = registers.rax.cast_signed() == -i64::from(libc::ENOSYS);
            Ok((!is_begun).then_some(registers.orig_rax.cast_signed()))
        }
        #[cfg(not(target_arch = "x86_64"))]
        anyhow::bail!("no calls are read on this architecture")
    }

    /// Goes on to the end of the call of this number among [`CALLS`], and has its fate there;
    /// `false` if it has ended before.
    pub(super) fn meets(&self, fate: Fate, number: usize) -> Result<bool> {
        let mut seen = 0;
        let mut signal = 0;
        loop {
            self.ask(libc::PTRACE_SYSCALL, signal)?;
            signal = 0;
            let status = self.wait()?;
            if !libc::WIFSTOPPED(status) {
                return Ok(false);
            }
            match libc::WSTOPSIG(status) {
                // It has executed itself.
                libc::SIGTRAP => {}
                stop if stop != libc::SIGTRAP | 0x80 => signal = stop,
                _ => {
                    let call = self.ended_call()?;
                    seen += usize::from(call.is_some_and(|call| CALLS.contains(&call)));
                    if call.is_some() && seen == number {
                        break;
                    }
                }
            }
        }
        match fate {
            // SAFETY: kill(2) takes numbers; the process is not collected yet.
            Fate::Killed => ensure!(unsafe { libc::kill(self.0, libc::SIGKILL) } == 0),
            Fate::Stopped => self.ask(libc::PTRACE_DETACH, libc::SIGSTOP)?,
        }
        if fate == Fate::Killed {
            self.wait()?;
        }
        Ok(true)
    }
}
