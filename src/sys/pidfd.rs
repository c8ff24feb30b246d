//! Processes by descriptor (pidfd_open(2)): unlike a number, it never comes to mean another process.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::path::path;
use super::{fs, raw};
use crate::error::{During, Fault, Op};
use crate::parse::stat::Stat;

/// A process, running or not collected yet.
#[derive(Debug)]
pub struct Process(OwnedFd);

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
            .map(Self)
            .during(Op::Open, format_args!("process {pid}"))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Those of pidfd_send_signal(2).
    pub fn signal(&self, signal: u32) -> Result<(), Errno> {
        raw::pidfd_send_signal(self.0.as_fd(), signal)
    }

    /// Waits until it has ended, for so long at most; whether it has.
    pub fn wait(&self, timeout: &Timespec) -> bool {
        poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(timeout)) == Ok(1)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What `/proc` says of the process of this number; `None` if there is none.
pub fn stat(pid: u32) -> Option<Stat> {
    // 52 numbers of at most 20 digits, and a name of 64 bytes at most.
    let mut buffer = [0; 1280];
    let file = path(format_args!("/proc/{pid}/stat")).ok()?;
    Stat::parse(fs::read_file(CWD, &file, &mut buffer).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        process.signal(super::super::signal::KILL).unwrap();
        let long = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        assert!(process.wait(&long));
        assert!(stat(child.id()).unwrap().has_ended);
        child.wait().unwrap();
        assert_eq!(process.signal(0), Err(Errno::SRCH));
        assert_eq!(Process::open(child.id()).unwrap_err().errno, Errno::SRCH);
    }
}
