//! More uevents than PID 1 can read: a process that `/prepare` leaves behind makes them, and keeps PID 1 from its socket
//! meanwhile, on a machine with one processor.
//!
//! It begins when a first SCSI target comes, says in the kernel's log when any socket must be full, and ends when a partition
//! has come, which PID 1 then cannot have heard of.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use anyhow::{Context, Result, anyhow};
use berth::parse::uevent::{Action, Uevent};
use berth::sys::netlink::{Received, UEVENT_MAX, Uevents};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, mount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// What is in the kernel's log when the socket is full.
const FULL: &str = "flood: the sockets are full";

/// A message takes a few hundred bytes of a socket's room at least, which is 2 MiB for PID 1's.
const MESSAGES: usize = 20_000;

/// Leaves the process behind. The log is at `/dev/kmsg` now.
pub(crate) fn start() -> Result<()> {
    let log = File::options().write(true).open("/dev/kmsg")?;
    let uevents = Uevents::open().map_err(|fault| anyhow!("{fault}"))?;
    // SAFETY: there is one thread, so the child has all that it needs.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("fork"),
        0 => {
            let mut log = log;
            if let Err(error) = flood(&mut log, &uevents) {
                let _ = writeln!(log, "flood: {error:#}");
            }
            // SAFETY: nothing of the parent's is to be flushed or dropped here.
            unsafe { libc::_exit(0) }
        }
        _ => Ok(()),
    }
}

fn flood(log: &mut File, uevents: &Uevents) -> Result<()> {
    // SAFETY: no other thread shares what is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("unshare")?;
    mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None).context("mount /sys")?;
    let mut source = File::options()
        .write(true)
        .open("/sys/devices/virtual/mem/null/uevent")?;
    let is_target = |uevent: &Uevent<'_>| uevent.devpath.contains("/target");
    while !has_come(uevents, is_target) {
        let socket = uevents.as_fd();
        poll(&mut [PollFd::new(&socket, PollFlags::IN)], None)?;
    }
    schedule(1, libc::SCHED_IDLE).context("hold PID 1 back")?;
    let is_partition =
        |uevent: &Uevent<'_>| uevent.action == Action::Add && uevent.properties.partn.is_some();
    let mut written = 0;
    while !has_come(uevents, is_partition) {
        source.write_all(b"change\n").context("write an uevent")?;
        written += 1;
        if written == MESSAGES {
            writeln!(log, "{FULL}")?;
        }
    }
    schedule(1, libc::SCHED_OTHER).context("let PID 1 go")
}

/// Reads the messages that have come; whether one of them is such.
fn has_come(uevents: &Uevents, is_it: impl Fn(&Uevent<'_>) -> bool) -> bool {
    let mut buffer = [0; UEVENT_MAX];
    let mut found = false;
    loop {
        match uevents.next(&mut buffer) {
            Received::Message(message) => {
                found |= Uevent::parse(message).is_ok_and(|uevent| is_it(&uevent));
            }
            Received::Overflow => {}
            Received::Nothing => return found,
        }
    }
}

fn schedule(process: i32, policy: i32) -> Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters outlive the call.
    match unsafe { libc::sched_setscheduler(process, policy, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}
