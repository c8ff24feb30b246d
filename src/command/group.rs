//! A container's control group, from outside.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::CWD;
use rustix::io::Errno;

use super::state::Record;
use super::{Call, Tell, Told};
use crate::container::Group;
use crate::error::{Code, During, Fault, Op};
use crate::sys::fs;
use crate::sys::pidfd::Process;
use crate::sys::signal;

/// How long processes that were killed may take to end.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// The group of this container.
///
/// # Errors
/// [`Code::Control`], also where it has none.
pub(super) fn of(call: &Call<'_>, record: &Record, id: &str) -> Result<Group, Told> {
    if record.cgroup.is_empty() {
        let detail =
            "it has no control group: there was no cgroup2 filesystem that could be written";
        return Err(call.found(Code::Control, Op::Open, &id, &detail));
    }
    Group::open(CWD, &record.cgroup).tell(call, Code::Control)
}

/// Sends a signal to all processes of a group.
///
/// # Errors
/// Those of `cgroup.kill`, and of reading the list.
pub(super) fn signal_all(group: &Group, number: u32) -> Result<(), Fault> {
    if number == signal::KILL {
        match group.kill() {
            // Linux 5.14 has it.
            Err(fault) if fault.errno == Errno::NOENT => {}
            killed => return killed,
        }
    }
    group.each_process(&mut |pid| {
        // One that has ended meanwhile needs no signal.
        if let Ok(process) = Process::open(pid) {
            let _ = process.signal(number);
        }
    })
}

/// Kills what is left in a group, and removes it when that has ended.
///
/// # Errors
/// Those of rmdir(2); `ETIMEDOUT`.
pub(super) fn end(group: &Group) -> Result<(), Fault> {
    const EVENTS: &str = "cgroup.events";
    signal_all(group, signal::KILL)?;
    loop {
        // Read before it is tried: what changes afterwards is reported (cgroup-v2.rst, "[Un]populated Notification").
        let events = match fs::open_file(group, EVENTS) {
            Err(fault) if matches!(fault.errno, Errno::NOENT | Errno::NODEV) => return Ok(()),
            events => events?,
        };
        fs::read_up_to(&events, &mut [0; 256]).during(Op::Read, EVENTS)?;
        match group.remove() {
            Err(fault) if fault.errno == Errno::BUSY => {}
            removed => return removed,
        }
        if poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&PATIENCE)) == Ok(0) {
            return Err(Errno::TIMEDOUT).during(Op::Wait, "the end of a control group");
        }
    }
}
