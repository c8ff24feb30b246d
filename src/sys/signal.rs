//! Signals as something to read: sigprocmask(2) and signalfd(2).

use linux_raw_sys::general as linux;
use rustix::fd::OwnedFd;
use rustix::io::{Errno, read};
use rustix::process::getpid;

use super::raw::{self, SignalSet};
use crate::error::{During, Fault, Op};

pub use super::raw::SignalSet as Set;

/// A child changed its state.
pub const CHLD: u32 = linux::SIGCHLD;
/// Stop the machine (`poweroff` of busybox sends SIGUSR2 to PID 1; this is what everybody else means by it).
pub const TERM: u32 = linux::SIGTERM;
/// The end of a process, whether it likes it or not.
pub const KILL: u32 = linux::SIGKILL;
/// What was stopped goes on.
pub const CONT: u32 = linux::SIGCONT;
/// Ctrl-Alt-Del, once the kernel was told to send it (reboot(2), LINUX_REBOOT_CMD_CAD_OFF).
pub const INT: u32 = linux::SIGINT;
/// The terminal has another size.
pub const WINCH: u32 = linux::SIGWINCH;
/// The power fails, or the hypervisor asks for power-off.
pub const PWR: u32 = linux::SIGPWR;

/// What is written is read by nobody any more. To this program, the error of write(2) is enough: it has a container to make or to
/// clear away.
const PIPE: u32 = linux::SIGPIPE;
/// The last signal (signal(7), "Real-time signals").
const LAST: u32 = 64;

/// The size of a `struct signalfd_siginfo` (signalfd(2)).
const RECORD: usize = 128;

/// The signals that arrive, as a descriptor.
pub struct Signals(pub OwnedFd);

impl Signals {
    /// Blocks all signals and makes those of `wanted` readable. The kernel sends PID 1 no signal that it neither waits for
    /// nor handles, so what is not wanted is lost for good, as it should be.
    ///
    /// # Errors
    /// Those of signalfd(2).
    pub fn open(wanted: SignalSet) -> Result<Self, Fault> {
        raw::set_signal_mask(SignalSet::FULL)
            .and_then(|()| raw::signal_descriptor(wanted))
            .map(Self)
            .during(Op::Watch, "signals")
    }

    /// The next signal that has arrived.
    pub fn next(&self) -> Option<u32> {
        let mut record = [0; RECORD];
        loop {
            match read(&self.0, &mut record) {
                Ok(RECORD) => {
                    // `ssi_signo` is the first field, `ssi_pid` the fourth.
                    let [number, .., sender] = [0, 4, 8, 12].map(|start| {
                        let field = record.get(start..).and_then(<[u8]>::first_chunk);
                        u32::from_ne_bytes(field.copied().unwrap_or_default())
                    });
                    // Of a write of this process's own, which has failed: blocked, it comes though it is ignored.
                    if number == PIPE && sender == getpid().as_raw_nonzero().get().unsigned_abs() {
                        continue;
                    }
                    return Some(number);
                }
                Err(Errno::INTR) => {}
                _ => return None,
            }
        }
    }
}

/// Ignores SIGPIPE and nothing else; whether who started this program ignores that, too. Dispositions outlive execve(2) where they are
/// SIG_IGN; and who ignores SIGCHLD cannot wait for a child (waitpid(2)).
pub fn ignore_pipes_only() -> bool {
    for signal in (1..=LAST).filter(|signal| *signal != PIPE) {
        // Of two, nothing can be changed.
        let _ = raw::set_ignored(signal, false);
    }
    raw::set_ignored(PIPE, true).unwrap_or(true)
}

/// Neither blocks nor ignores anything any more, in a program that has begun with [`ignore_pipes_only`]: programs expect to be started so.
pub fn reset() {
    // Neither call can fail with a set of the right size and a signal that there is.
    let _ = raw::set_signal_mask(SignalSet::EMPTY);
    let _ = raw::set_ignored(PIPE, false);
}

/// Ends this process as one ends that writes to a pipe which nobody reads (pipe(7)).
pub fn end_for_a_pipe() {
    reset();
    let _ = super::process::signal(getpid(), PIPE);
}
