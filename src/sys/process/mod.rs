//! Processes: the calling one, its children, and the end of the machine.

mod execute;
mod fork;

pub use execute::{StringList, execute, execute_descriptor, execute_or_report, stay_until_closed};
pub use fork::{Forked, exit, fork};

use core::time::Duration;

use linux_raw_sys::general as linux;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpid, kill_process,
    kill_process_group, pidfd_open, wait, waitid, waitpid,
};
use rustix::system::RebootCommand;

use super::clock;
use super::raw::call;
use super::strings;
use crate::error::{During, Fault, Op};

/// The variables that a program is started with.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    list: StringList<'a>,
    /// Whether these are the bytes that the kernel has put into this process's memory for it.
    is_own: bool,
}

impl<'a> Environment<'a> {
    /// The variables in `list`.
    pub const fn from_list(list: StringList<'a>) -> Self {
        Self {
            list,
            is_own: false,
        }
    }

    /// The variables that this process was started with, where the kernel has put them.
    ///
    /// # Safety
    /// They are that, and can be written to.
    pub const unsafe fn own(list: StringList<'a>) -> Self {
        Self { list, is_own: true }
    }

    /// Those that this program was started with.
    pub fn inherited() -> Environment<'static> {
        Environment::from_list(strings::inherited())
    }

    /// The variables that are UTF-8, with their values.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let variables = self.list.iter();
        variables.filter_map(|variable| variable.to_str().ok())
    }

    /// The whole variable `name`, with its value, if it is UTF-8.
    pub fn variable(self, name: &str) -> Option<&'a str> {
        self.iter().find(|variable| {
            variable
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('='))
        })
    }

    /// All of them.
    pub const fn list(self) -> StringList<'a> {
        self.list
    }

    /// Writes zeros over the variables that this process was started with. Others can read them, as
    /// `/proc/<pid>/environ` and in its memory, and they may hold secrets. None has a value any
    /// more then.
    pub fn forget(self) {
        if self.is_own {
            // SAFETY: that is what `own` was promised, and no variable is held on to: `value` is
            // for words that are copied.
            unsafe { self.list.wipe() }
            strings::forget_inherited();
        }
    }

    /// The value of the variable `name`, if it is UTF-8.
    pub fn value(self, name: &str) -> Option<&'a str> {
        self.variable(name)?.get(name.len() + 1..)
    }
}

/// The words that this program was started with, its own name first.
#[derive(Clone, Copy)]
pub struct Arguments<'a>(StringList<'a>);

impl<'a> Arguments<'a> {
    /// The words in `list`.
    pub const fn from_list(list: StringList<'a>) -> Self {
        Self(list)
    }

    /// All of them.
    pub const fn list(self) -> StringList<'a> {
        self.0
    }

    /// The words, in order; `Err` for one that is not UTF-8.
    pub fn iter(self) -> impl Iterator<Item = Result<&'a str, &'a core::ffi::CStr>> + Clone {
        self.0.iter().map(|word| word.to_str().map_err(|_| word))
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Killed(u8),
}

impl Status {
    /// The status as a shell has it: 128 + n for signal n.
    pub const fn as_shell(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => signal.saturating_add(128),
        }
    }
}

impl core::fmt::Display for Status {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Exited(status) => write!(formatter, "ended with status {status}"),
            Self::Killed(signal) => write!(formatter, "was ended by signal {signal}"),
        }
    }
}

/// True if this process is the first one of its PID namespace.
pub fn is_pid_1() -> bool {
    getpid() == Pid::INIT
}

fn end_of(status: WaitStatus) -> Option<Status> {
    let exited = status.exit_status().map(|code| Status::Exited(code as u8));
    exited.or_else(|| {
        let signal = status.terminating_signal()?;
        Some(Status::Killed(signal as u8))
    })
}

/// Waits until this child has ended, and collects it. What is still there after `timeout` is
/// killed, with its process group, which it leads.
///
/// # Errors
/// `ETIMEDOUT` for one that was killed; those of pidfd_open(2), poll(2) and waitpid(2).
pub fn wait_no_longer_than(pid: Pid, timeout: Option<Duration>) -> Result<Status, Errno> {
    let mut is_late = false;
    // Without a timeout no descriptor is opened: others may see those of a process that sets a
    // container up.
    if let Some(timeout) = timeout {
        is_late = kill_if_late(pid, timeout)?;
    }
    let ended = loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            ended => break ended?,
        }
    };
    match ended.and_then(|(_, status)| end_of(status)) {
        Some(status) if !is_late => Ok(status),
        _ => Err(Errno::TIMEDOUT),
    }
}

/// Waits until this child has ended, and kills its process group when the time is over; whether it
/// was.
fn kill_if_late(pid: Pid, timeout: Duration) -> Result<bool, Errno> {
    let deadline = clock::now() + timeout;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut is_late = false;
    loop {
        let left = (!is_late).then(|| deadline.from_now());
        // A PID descriptor is readable when the process has ended (pidfd_open(2)).
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], left.as_ref()) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(0) => {
                is_late = true;
                // It is not reaped yet, so the number is still its own.
                let _ = kill_process_group(pid, Signal::KILL);
            }
            Ok(_) => return Ok(is_late),
        }
    }
}

/// A child that has ended, if there is one, and is there until it is [reaped](reap). Ask until
/// there is none: the kernel does not count SIGCHLD.
pub fn ended() -> Option<Pid> {
    // SAFETY: all fields are integers and pointers, for which zero is a value.
    let mut info: linux::siginfo_t = unsafe { core::mem::zeroed() };
    let options = linux::WEXITED | linux::WNOHANG | linux::WNOWAIT;
    let written = (&raw mut info).expose_provenance();
    let arguments = [linux::P_ALL as usize, 0, written, options as usize, 0];
    // SAFETY: `info` is what the kernel writes, and outlives the call.
    unsafe { call(linux::__NR_waitid, arguments) }.ok()?;
    // SAFETY: the kernel has written this part of the union, or nothing, and then it is zero.
    let pid = unsafe {
        info.__bindgen_anon_1
            .__bindgen_anon_1
            ._sifields
            ._sigchld
            ._pid
    };
    Pid::from_raw(pid)
}

/// Collects a child that has ended.
pub fn reap(pid: Pid) -> Option<Status> {
    let (_, status) = waitpid(Some(pid), WaitOptions::NOHANG).ok()??;
    end_of(status)
}

/// Whether `pid`, a child that was not reaped yet, has ended, or is about to, without having
/// executed a program. The kernel keeps two flags: a new process has not executed anything, and a
/// process has begun to end (PF_FORKNOEXEC and PF_EXITING in include/linux/sched.h, shown by
/// proc_pid_stat(5)). False if nothing is known.
///
/// A process that has executed nothing, lives, and has closed its close-on-exec descriptors is in
/// the middle of execve(2) and will not come back from it: kernels close those first
/// (`begin_new_exec`), and another process that had the descriptor may have closed it last.
pub fn has_ended_without_a_program(pid: Pid) -> bool {
    const PF_EXITING: u32 = 0x4;
    const PF_FORKNOEXEC: u32 = 0x40;
    const BOTH: u32 = PF_EXITING | PF_FORKNOEXEC;
    let mut stat = [0; 512];
    let file = format_args!("/proc/{}/stat", pid.as_raw_nonzero());
    let flags = super::fs::read_attribute(file, &mut stat).and_then(flags_of);
    flags.is_some_and(|flags| flags & BOTH == BOTH)
}

/// `flags` of a line of proc_pid_stat(5). The second field is a name in parentheses, and may hold
/// others.
fn flags_of(stat: &[u8]) -> Option<u32> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat.get(name_end..)?.split(|byte| *byte == b' ');
    core::str::from_utf8(fields.nth(7)?).ok()?.parse().ok()
}

/// Waits until a child has ended, and collects it; `false` if there is none to wait for.
pub fn wait_for_child() -> bool {
    !matches!(wait(WaitOptions::empty()), Err(Errno::CHILD))
}

/// Waits until this child has ended, and collects it.
pub fn wait_for(pid: Pid) {
    while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
}

/// True while there is a child, running or not reaped yet. Every process that loses its parent
/// becomes a child of PID 1.
pub fn has_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, options), Err(Errno::CHILD))
}

/// Sends `signal` to `pid`, which must be a child that was not reaped yet: only then is the number
/// still its own.
///
/// # Errors
/// Those of kill(2).
pub fn signal(pid: Pid, signal: u32) -> Result<(), Fault> {
    let shown = pid.as_raw_nonzero();
    Signal::from_named_raw(signal as i32)
        .ok_or(Errno::INVAL)
        .and_then(|signal| kill_process(pid, signal))
        .during(Op::Signal, format_args!("process {shown}"))
}

/// Kills every process but this one.
pub fn kill_all() {
    // kill(2): "If pid equals -1, then sig is sent to every process [...] except for process 1";
    // rustix spells a negative PID as a process group. That nobody is left to kill is what is
    // wanted.
    let _ = kill_process_group(Pid::INIT, Signal::KILL);
}

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Power off.
    PowerOff,
    /// Start again.
    Reboot,
    /// Stop, with the power on.
    Halt,
    /// Start the kernel that was loaded for that.
    Kexec,
}

/// Ends the machine: reboot(2), from a child, because a kernel that does not support the command
/// returns to the caller or ends it, and the end of PID 1 is a panic.
///
/// # Errors
/// Those of clone3(2).
pub fn end_machine(end: End) -> Result<(), Fault> {
    match fork(0, None).during(Op::Clone, "the end of the machine")? {
        Forked::Child => {
            end_machine_from_here(end);
            exit(1)
        }
        Forked::Parent(_) => Ok(()),
    }
}

/// The same from this process, where no other can be made.
pub fn end_machine_from_here(end: End) {
    let command = match end {
        End::PowerOff => RebootCommand::PowerOff,
        End::Reboot => RebootCommand::Restart,
        End::Halt => RebootCommand::Halt,
        End::Kexec => RebootCommand::Kexec,
    };
    // It comes back only when it fails.
    let _ = rustix::system::reboot(command);
    if end == End::Kexec {
        end_machine_from_here(End::Reboot);
    }
}

/// Whether a kernel is loaded that [`End::Kexec`] can start (kexec_file_load(2)).
pub fn has_loaded_kernel() -> bool {
    let mut loaded = [0; 8];
    super::fs::read_attribute(format_args!("/sys/kernel/kexec_loaded"), &mut loaded)
        .is_some_and(|loaded| loaded.trim_ascii() == b"1")
}

/// Tells the kernel to send SIGINT on Ctrl-Alt-Del instead of rebooting at once (reboot(2),
/// LINUX_REBOOT_CMD_CAD_OFF).
pub fn take_ctrl_alt_del() {
    // Fails in a PID namespace that is not the first, where there is no keyboard either.
    let _ = rustix::system::reboot(RebootCommand::CadOff);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_found_behind_any_name() {
        let stat = b"87 (a) b (c)) S 1 87 87 0 -1 4194624 109 0\n";
        assert_eq!(flags_of(stat), Some(0x40_0140));
        assert_eq!(flags_of(b"87 (a) S 1"), None);
        assert_eq!(flags_of(b""), None);
    }

    #[test]
    fn test_program_was_executed() {
        assert!(!has_ended_without_a_program(getpid()));
    }
}
