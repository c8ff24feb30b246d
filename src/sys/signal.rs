//! Signals as something to read: sigprocmask(2) and signalfd(2).

use linux_raw_sys::general as linux;
use rustix::fd::OwnedFd;
use rustix::io::{Errno, read};
use rustix::process::getpid;

use super::arch::syscall5;
use super::raw::{call, owned};
use crate::error::{During, Fault, Op};

/// A set of signals as the kernel has it: bit `n - 1` is signal `n`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Set(u64);

const SET_SIZE: usize = size_of::<Set>();

impl Set {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// Every signal that can be blocked.
    pub const FULL: Self = Self(!0);

    /// The signals of `numbers`.
    pub fn of(numbers: &[u32]) -> Self {
        let add = |bits: u64, number: &u32| bits | 1 << (number - 1);
        Self(numbers.iter().fold(0, add))
    }
}

/// `rt_sigprocmask(2)`, `SIG_SETMASK`: exactly the signals of `set` are blocked from now on.
///
/// # Errors
/// None with a set of the right size; kept for the signature of the call.
fn set_mask(set: Set) -> Result<(), Errno> {
    let (how, new) = (linux::SIG_SETMASK as usize, &raw const set);
    let arguments = [how, new.expose_provenance(), 0, SET_SIZE, 0];
    // SAFETY: `set` is a kernel signal set of the size given, and outlives the call.
    unsafe { call(linux::__NR_rt_sigprocmask, arguments) }.map(drop)
}

/// `rt_sigaction(2)`: has a signal be ignored (SIG_IGN), or do what it does to a new program
/// (SIG_DFL); whether it was ignored before.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP, which nobody can ignore.
fn set_ignored(signal: u32, is_ignored: bool) -> Result<bool, Errno> {
    /// The handler, flags, restorer and mask of a `struct sigaction` as the kernel has it; the two
    /// handlers that are none are numbers.
    type Action = [usize; 4];
    const IGNORE: usize = 1;
    const { assert!(size_of::<Action>() == size_of::<linux::kernel_sigaction>()) };
    let action: Action = [usize::from(is_ignored) * IGNORE, 0, 0, 0];
    let mut old: Action = [0; 4];
    let (new, before) = (&raw const action, &raw mut old);
    let (new, before) = (new.expose_provenance(), before.expose_provenance());
    let arguments = [signal as usize, new, before, SET_SIZE, 0];
    // SAFETY: both actions outlive the call and have the kernel's size; without a handler there is
    // nothing that it could call.
    unsafe { call(linux::__NR_rt_sigaction, arguments) }?;
    Ok(old[0] == IGNORE)
}

/// `signalfd4(2)`: a descriptor from which the signals of `set`, which must be blocked, are read.
///
/// # Errors
/// Those of `signalfd(2)`.
fn descriptor(set: Set) -> Result<OwnedFd, Errno> {
    // SAFETY: `set` is a kernel signal set of the size given, and outlives the call, which returns
    // a new descriptor.
    unsafe {
        owned(syscall5(
            linux::__NR_signalfd4,
            usize::MAX,
            (&raw const set).expose_provenance(),
            SET_SIZE,
            (linux::O_CLOEXEC | linux::O_NONBLOCK) as usize,
            0,
        ))
    }
}

/// A child changed its state.
pub const CHLD: u32 = linux::SIGCHLD;
/// Stop the machine (`poweroff` of busybox sends SIGUSR2 to PID 1; this is what everybody else
/// means by it).
pub const TERM: u32 = linux::SIGTERM;
/// The end of a process, whether it likes it or not.
pub const KILL: u32 = linux::SIGKILL;
/// An access to memory that is there, and has no page behind it.
pub const BUS: u32 = linux::SIGBUS;
/// An access to memory that is not there.
pub const SEGV: u32 = linux::SIGSEGV;
/// What was stopped goes on.
pub const CONT: u32 = linux::SIGCONT;
/// Ctrl-Alt-Del, once the kernel was told to send it (reboot(2), LINUX_REBOOT_CMD_CAD_OFF).
pub const INT: u32 = linux::SIGINT;
/// The terminal has another size.
pub const WINCH: u32 = linux::SIGWINCH;
/// The power fails, or the hypervisor asks for power-off.
pub const PWR: u32 = linux::SIGPWR;

/// What is written is read by nobody any more. To this program, the error of write(2) is enough: it
/// has a container to make or to clear away.
const PIPE: u32 = linux::SIGPIPE;
/// The last signal (signal(7), "Real-time signals").
const LAST: u32 = 64;

/// The size of a `struct signalfd_siginfo` (signalfd(2)).
const RECORD: usize = 128;

/// The signals that arrive, as a descriptor.
pub struct Signals(pub OwnedFd);

impl Signals {
    /// Blocks all signals and makes those of `wanted` readable. The kernel sends PID 1 no signal
    /// that it neither waits for nor handles, so what is not wanted is lost for good, as it should
    /// be.
    ///
    /// # Errors
    /// Those of signalfd(2).
    pub fn open(wanted: Set) -> Result<Self, Fault> {
        set_mask(Set::FULL)
            .and_then(|()| descriptor(wanted))
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
                    // Of a write of this process's own, which has failed: blocked, it comes though
                    // it is ignored.
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

/// Ignores SIGPIPE and nothing else; whether SIGPIPE was ignored when this program was started.
/// Signals that are ignored stay so over execve(2), and a process that ignores SIGCHLD cannot wait
/// for a child (waitpid(2)).
pub fn ignore_pipes_only() -> bool {
    for signal in (1..=LAST).filter(|signal| *signal != PIPE) {
        // SIGKILL and SIGSTOP cannot be changed.
        let _ = set_ignored(signal, false);
    }
    set_ignored(PIPE, true).unwrap_or(true)
}

/// Neither blocks nor ignores anything any more, in a program that has begun with
/// [`ignore_pipes_only`]: programs expect to be started so.
pub fn reset() {
    // Neither call can fail with a set of the right size and a signal that there is.
    let _ = set_mask(Set::EMPTY);
    let _ = set_ignored(PIPE, false);
}

/// Ends this process as one ends that writes to a pipe which nobody reads (pipe(7)).
pub fn end_for_a_pipe() {
    reset();
    let _ = super::process::signal(getpid(), PIPE);
}
