//! PID 1 held back from its uevents: a process that `/prepare` leaves behind stops it, as a
//! debugger does, when a first SCSI target comes, and lets it go when what it is to miss has
//! happened.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::ptr::null_mut;

use anyhow::{Context, Result, anyhow};
use berth::parse::uevent::{Action, Uevent};
use berth::sys::netlink::{Received, UEVENT_MAX, Uevents};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// What PID 1 is to miss.
#[derive(Clone, Copy)]
pub(crate) enum What {
    /// That a partition comes: among more messages than a socket has room for.
    Flood,
    /// That a partition goes, when all that was said of it before is still to be read.
    Removal,
}

/// More messages than a socket has room for: each takes a few hundred bytes at least, and PID 1's
/// has 2 MiB.
const MESSAGES: usize = 20_000;

/// Leaves the process behind. The log is at `/dev/kmsg` now.
pub(crate) fn start(what: What) -> Result<()> {
    let mut log = File::options().write(true).open("/dev/kmsg")?;
    let uevents = Uevents::open().map_err(|fault| anyhow!("{fault}"))?;
    // SAFETY: there is one thread, so the child has all that it needs.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("fork"),
        0 => {
            if let Err(error) = hold(&mut log, &uevents, what) {
                let _ = writeln!(log, "hold: {error:#}");
            }
            // SAFETY: nothing of the parent's is to be flushed or dropped here.
            unsafe { libc::_exit(0) }
        }
        _ => Ok(()),
    }
}

fn hold(log: &mut File, uevents: &Uevents, what: What) -> Result<()> {
    // SAFETY: no other thread shares what is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("unshare")?;
    match mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None) {
        // PID 1 was faster, before this had a namespace of its own.
        Err(Errno::BUSY) => {}
        result => result.context("mount /sys")?,
    }
    wait_for(uevents, |uevent| uevent.devpath.contains("/target"))?;
    stop_first()?;
    let of_partition =
        |uevent: &Uevent<'_>, action| uevent.action == action && uevent.properties.partn.is_some();
    match what {
        What::Flood => {
            let mut source = File::options()
                .write(true)
                .open("/sys/devices/virtual/mem/null/uevent")?;
            for _ in 0..MESSAGES {
                source.write_all(b"change\n").context("write an uevent")?;
                has_come(uevents, |_| false);
            }
            writeln!(log, "hold: PID 1 is held, its socket is full")?;
            wait_for(uevents, |uevent| of_partition(uevent, Action::Add))?;
        }
        What::Removal => {
            writeln!(log, "hold: PID 1 is held")?;
            wait_for(uevents, |uevent| of_partition(uevent, Action::Remove))?;
        }
    }
    // SAFETY: ptrace(2): the request takes no pointers.
    match unsafe { libc::ptrace(libc::PTRACE_DETACH, 1, null_mut::<u8>(), 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).context("let PID 1 go"),
    }
}

/// Stops PID 1, which takes no signal for that.
fn stop_first() -> Result<()> {
    let mut status = 0;
    // SAFETY: ptrace(2) and waitpid(2): the requests take no pointers, and the status outlives the
    // call.
    let stopped = unsafe {
        libc::ptrace(libc::PTRACE_SEIZE, 1, null_mut::<u8>(), 0) == 0
            && libc::ptrace(libc::PTRACE_INTERRUPT, 1, null_mut::<u8>(), 0) == 0
            && libc::waitpid(1, &raw mut status, libc::__WALL) == 1
    };
    match stopped {
        true => Ok(()),
        false => Err(std::io::Error::last_os_error()).context("stop PID 1"),
    }
}

fn wait_for(uevents: &Uevents, is_it: impl Fn(&Uevent<'_>) -> bool) -> Result<()> {
    while !has_come(uevents, &is_it) {
        let socket = uevents.as_fd();
        poll(&mut [PollFd::new(&socket, PollFlags::IN)], None)?;
    }
    Ok(())
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
