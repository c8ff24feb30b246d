//! A container's control group, from outside.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, FileType};
use rustix::io::Errno;

use super::record::Record;
use super::{Call, OrReport, Reported};
use crate::container::cgroup::{ROOT, group_path};
use crate::container::{Group, Groups, Owner};
use crate::error::{Code, During, Fault, Op};
use crate::parse::config::Config;
use crate::sys::fs;
use crate::sys::path::{Path, path};
use crate::sys::pidfd::Process;
use crate::sys::signal;

/// How long processes that were killed may take to end.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Where [`make`] makes a group; empty where it makes none.
///
/// # Errors
/// `ENAMETOOLONG`.
pub(super) fn planned(id: &str, config: &Config<'_>) -> Result<Path, Fault> {
    match group_path(id, config.cgroups_path) {
        Ok(below) => path(format_args!("{ROOT}/{below}")),
        Err(Errno::OPNOTSUPP) => Ok(Path::new()),
        Err(errno) => Err(errno),
    }
    .during(Op::Create, id)
}

/// The container's control group, with the limits that its bundle asks for; none where there are no
/// control groups for us.
///
/// # Errors
/// `EOPNOTSUPP` if there are limits and no group to put them in force. Rules for devices are none
/// for a user, who gets no others than the host lets that user open: rootless buildah sends nothing
/// else ([`DeviceAccess::Any`](crate::parse::config::DeviceAccess::Any)).
pub(super) fn make(call: &Call<'_>, id: &str, config: &Config<'_>) -> Result<Option<Group>, Fault> {
    let resources = &config.resources;
    let made = Groups::open().and_then(|groups| {
        // One container of PID 1's leaves some to the others and to PID 1, unless its bundle says
        // otherwise.
        let prepare = match call.journal.supervisor() {
            Some(_) => Group::limit_processes,
            None => |_: &Group| (),
        };
        let made = groups.map(|groups| groups.create(id, config.cgroups_path, resources, prepare));
        made.transpose()
    });
    match made {
        Ok(None) => {}
        // Those of a container, or of somebody who is not root; also where root has made the group
        // that holds all of them.
        Err(fault)
            if matches!(fault.op, Op::Create | Op::Open)
                && matches!(fault.errno, Errno::ROFS | Errno::ACCESS | Errno::PERM) => {}
        made => return made,
    }
    if resources.has_settings() || !config.is_of_user && resources.has_device_rules() {
        return Err(Errno::OPNOTSUPP).during(
            Op::Configure,
            "linux.resources, without a cgroup2 filesystem at /sys/fs/cgroup that can be written",
        );
    }
    call.journal.debug(format_args!(
        "{id} has no control group: none can be written"
    ));
    Ok(None)
}

/// The group of this container.
///
/// # Errors
/// [`Code::Control`], also where it has none.
pub(super) fn of(call: &Call<'_>, record: &Record, id: &str) -> Result<Group, Reported> {
    if record.cgroup.is_empty() {
        let detail =
            "it has no control group: there was no cgroup2 filesystem that could be written";
        return Err(call.found(Code::Control, Op::Open, &id, &detail));
    }
    Group::open(CWD, &record.cgroup).or_report(call, Code::Control)
}

/// The group that one more process of the container begins in: `below` its group, or where that
/// cannot hold processes because groups below it have controllers (cgroup-v2.rst, "No Internal
/// Process Constraint"), the one that its first process has gone to, as runc and crun have it.
///
/// # Errors
/// [`Code::Control`], [`Code::Usage`] for a path that leads out.
pub(super) fn for_one_more(
    call: &Call<'_>,
    record: &Record,
    id: &str,
    below: Option<&str>,
) -> Result<Option<Group>, Reported> {
    let below = below.map(|below| below.trim_matches('/'));
    let has_group = !record.cgroup.is_empty();
    if !has_group && below.is_none() {
        return Ok(None);
    }
    let group = of(call, record, id)?;
    if let Some(below) = below.filter(|below| !below.is_empty()) {
        if below.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(call.usage("--cgroup is a path of names below the container's group"));
        }
        let opened = Group::open(group.as_fd(), below).or_report(call, Code::Control)?;
        return Ok(Some(opened));
    }
    let mut buffer = [0; 256];
    let controllers = fs::read_file(&group, "cgroup.subtree_control", &mut buffer);
    if below.is_some() || !controllers.is_ok_and(|names| !names.trim_ascii().is_empty()) {
        return Ok(Some(group));
    }
    let found = group_of_process(record.pid).or_report(call, Code::Control)?;
    Group::open(CWD, &found)
        .map(Some)
        .or_report(call, Code::Control)
}

/// The directory of the group that a process is in (cgroups(7), "/proc/pid/cgroup").
fn group_of_process(pid: u32) -> Result<Path, Fault> {
    let mut buffer = [0; 4096];
    let file = path(format_args!("/proc/{pid}/cgroup")).during(Op::Open, pid)?;
    let text = fs::read_file(CWD, &file, &mut buffer)?;
    let mut lines = text.split(|byte| *byte == b'\n');
    lines
        .find_map(|line| core::str::from_utf8(line.strip_prefix(b"0::")?).ok())
        .ok_or(Errno::NOENT)
        .and_then(|found| path(format_args!("{ROOT}{found}")))
        .during(Op::Read, &file)
}

/// The group that is marked as `owner`'s, in `place` or below.
#[inline(never)]
pub(super) fn find(place: BorrowedFd<'_>, owner: Owner, depth: usize) -> Option<Group> {
    let mut found = None;
    let depth = depth.checked_sub(1)?;
    let _ = fs::each_entry(place, |name, kind| {
        if kind == FileType::Directory
            && let Ok(name) = name.to_str()
            && let Ok(group) = Group::open(place, name)
        {
            found = match group.belongs_to(owner) {
                true => Some(group),
                false => find(group.as_fd(), owner, depth),
            };
        }
        found.is_none()
    });
    found
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
        // Read before it is tried: what changes afterwards is reported (cgroup-v2.rst,
        // "[Un]populated Notification").
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
