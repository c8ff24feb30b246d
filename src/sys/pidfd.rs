//! Processes by descriptor (pidfd_open(2)): unlike a number, it never comes to mean another
//! process.

use linux_raw_sys::general as linux;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::fs;
use super::path::place_of;
use super::raw::call;
use crate::error::{During, Fault, Op};
use crate::parse::stat::Stat;

/// Where the control groups are mounted.
const CGROUPS: &[u8] = b"/sys/fs/cgroup";

/// A process, running or not collected yet.
#[derive(Debug)]
pub struct Process {
    descriptor: OwnedFd,
    number: u32,
}

impl Process {
    /// The process of this number now.
    ///
    /// # Errors
    /// Those of pidfd_open(2): `ESRCH` if there is none.
    pub fn open(pid: u32) -> Result<Self, Fault> {
        i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
            .map(|descriptor| Self {
                descriptor,
                number: pid,
            })
            .during(Op::Open, format_args!("process {pid}"))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Those of pidfd_send_signal(2).
    pub fn signal(&self, signal: u32) -> Result<(), Errno> {
        send_signal(self.as_fd(), signal)
    }

    /// Waits until it has ended, for so long at most; whether it has.
    pub fn wait(&self, timeout: &Timespec) -> bool {
        poll(
            &mut [PollFd::new(&self.descriptor, PollFlags::IN)],
            Some(timeout),
        ) == Ok(1)
    }

    /// The number of its parent, 0 for the first of the kernel's; `None` if it has been reaped.
    #[must_use]
    pub fn parent(&self) -> Option<i32> {
        self.confirm(stat(self.number)?.parent)
    }

    /// Whether it is in the control group whose directory that is, or in one below it.
    #[must_use]
    pub fn is_in_group(&self, group: BorrowedFd<'_>) -> bool {
        let mut text = [0; 4096];
        let groups = format_args!("/proc/{}/cgroup", self.number);
        let (Ok(directory), Some(groups)) =
            (place_of(group), fs::read_attribute(groups, &mut text))
        else {
            return false;
        };
        let group = directory.as_bytes().strip_prefix(CGROUPS);
        let is_in = group.is_some_and(|group| is_below(groups, group));
        self.confirm(is_in) == Some(true)
    }

    /// What was found out by its number, if that has been its own all the time.
    fn confirm<T>(&self, found: T) -> Option<T> {
        self.signal(0).is_ok().then_some(found)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What `/proc` says of the process of this number; `None` if there is none.
pub fn stat(pid: u32) -> Option<Stat> {
    // 52 numbers of at most 20 digits, and a name of 64 bytes at most.
    let mut buffer = [0; 1280];
    Stat::parse(fs::read_attribute(
        format_args!("/proc/{pid}/stat"),
        &mut buffer,
    )?)
}

/// Whether a file `cgroup` of a process (cgroups(7)) says that it is in the group at this path, or
/// in one below it.
fn is_below(groups: &[u8], path: &[u8]) -> bool {
    let mut lines = groups.split(|byte| *byte == b'\n');
    let own = lines.find_map(|line| line.strip_prefix(b"0::"));
    let rest = own.and_then(|own| own.strip_prefix(path));
    rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

/// `pidfd_send_signal(2)`: sends any signal, those without a name too; 0 only asks whether there is
/// a process to send to.
///
/// # Errors
/// Those of `pidfd_send_signal(2)`.
pub fn send_signal(process: BorrowedFd<'_>, signal: u32) -> Result<(), Errno> {
    let arguments = [process.as_raw_fd() as usize, signal as usize, 0, 0, 0];
    // SAFETY: the pointer to a `siginfo_t` is null, which the kernel fills in itself then.
    unsafe { call(linux::__NR_pidfd_send_signal, arguments) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_its_group_and_those_above() {
        let groups = b"4:memory:/berth\n0::/berth/web/init.scope\n";
        for (path, expected) in [
            ("/berth/web/init.scope", true),
            ("/berth/web", true),
            ("/berth", true),
            ("", true),
            ("/berth/we", false),
            ("/berth/web/init.scope/x", false),
            ("/berth/db", false),
        ] {
            assert_eq!(is_below(groups, path.as_bytes()), expected, "{path}");
        }
        assert!(!is_below(b"4:memory:/berth\n", b"/berth"));
    }

    #[test]
    fn a_process_is_signalled_and_waited_for_by_its_descriptor() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let now = Timespec::default();
        let process = Process::open(child.id()).unwrap();
        assert!(!stat(child.id()).unwrap().has_ended);
        assert!(!process.wait(&now));
        let own = std::process::id().cast_signed();
        assert_eq!(process.parent(), Some(own));
        process.signal(super::super::signal::KILL).unwrap();
        let long = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        assert!(process.wait(&long));
        assert!(stat(child.id()).unwrap().has_ended);
        child.wait().unwrap();
        assert_eq!(process.signal(0), Err(Errno::SRCH));
        assert_eq!(process.parent(), None);
        assert_eq!(Process::open(child.id()).unwrap_err().errno, Errno::SRCH);
    }
}
