//! `delete`: what is left of a container goes (runtime.md, "Delete").

use rustix::event::Timespec;
use rustix::fd::AsFd;
use rustix::fs::CWD;
use rustix::io::Errno;

use super::lock::LockResult;
use super::record::Record;
use super::state::Directory;
use super::{Call, OrReport, Reported, Subcommand, group, late_hooks, systemd};
use crate::container::cgroup::ROOT;
use crate::container::{Group, Status};
use crate::error::{Code, During, Fault, Op};
use crate::parse::arguments::Opt;
use crate::parse::config::HookKind;
use crate::sys::path::place_of;
use crate::sys::pidfd::Process;
use crate::sys::{fs, signal};

const FORCE: Opt = Opt {
    long: "force",
    short: Some('f'),
    value: None,
    about: "kill the container first, and succeed if it does not exist",
};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "delete",
    operands: "ID",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &[&FORCE],
    about: "remove what is left of a container that has stopped, or was never started",
    run,
};

/// How long the kernel may take to end a process that was killed.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// How many [rounds](super::lock) a turn has in which who works on a container may finish, and how
/// many turns: five seconds in all.
const ROUNDS: u32 = 10;
const TURNS: u32 = 50;

/// How deep groups of containers are looked for.
const GROUPS_DEPTH: usize = 16;

/// Why it cannot be deleted.
const NOT_STOPPED: &str = "cannot delete container that is not stopped";

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    delete(call, call.given.has(&FORCE))
}

/// Deletes it, whatever it does; and it may be gone already.
pub(super) fn by_force(call: &Call<'_>) -> Result<u8, Reported> {
    delete(call, true)
}

fn delete(call: &Call<'_>, force: bool) -> Result<u8, Reported> {
    let id = call.id()?;
    let found = Directory::find(call, id)?;
    if found.is_none() && force {
        return Ok(0);
    }
    let mut directory = found.ok_or_else(|| Directory::missing(call, id))?;
    let Some(record) = take(call, &mut directory, force)? else {
        return Ok(0);
    };
    clear(call, &directory, &record).or_report(call, Code::Control)?;
    directory.remove();
    Ok(0)
}

/// Ends the first process, and takes the container's lock; the result is what is known of the
/// container. Another process that holds the lock, as `run` in the foreground, finishes first, and
/// may have removed the container by then: `None`. By force, a holder that is stopped is continued,
/// and one that does not finish making the container is killed.
#[inline(never)]
fn take(
    call: &Call<'_>,
    directory: &mut Directory,
    force: bool,
) -> Result<Option<Record>, Reported> {
    let mut turn = 0;
    loop {
        // What was being made may have been finished meanwhile.
        let record = stop(call, directory, force)?;
        let pid = match directory.lock(ROUNDS).or_report(call, Code::State)? {
            // Nobody changes it any more.
            LockResult::Held => return stop(call, directory, force).map(Some),
            LockResult::Removed => return Ok(None),
            LockResult::HeldBy(pid) => pid,
        };
        let signal = match turn {
            0 if force => signal::CONT,
            TURNS if force && record.is_creating => signal::KILL,
            turn if turn >= TURNS => {
                let detail = format_args!("process {pid} works on it, and does not finish");
                return Err(call.found(Code::WrongStatus, Op::Remove, &directory.id, &detail));
            }
            _ => 0,
        };
        if signal != 0
            && let Ok(holder) = Process::open(pid)
        {
            let _ = holder.signal(signal);
        }
        turn += 1;
    }
}

/// Has the first process ended, if it may be: by force, or because it does not run its program yet,
/// as runc and crun have it. What is known of the container.
#[inline(never)]
fn stop(call: &Call<'_>, directory: &Directory, force: bool) -> Result<Record, Reported> {
    let id = directory.id.as_str();
    let record = match directory.read() {
        Err(_) if force => {
            let mut record = Record::lost();
            let groups = fs::open_directory(CWD, ROOT).ok();
            let group = groups
                .and_then(|groups| group::find(groups.as_fd(), directory.owner(), GROUPS_DEPTH));
            if let Some(group) = group {
                record.cgroup = place_of(&group).or_report(call, Code::Control)?;
            }
            return Ok(record);
        }
        _ => directory.known(call)?,
    };
    match directory.status(&record).or_report(call, Code::State)? {
        Status::Stopped => {}
        Status::Created => kill(&record, id).or_report(call, Code::Control)?,
        _ if force => kill(&record, id).or_report(call, Code::Control)?,
        status => return Err(call.wrong_status(Op::Remove, id, status, NOT_STOPPED)),
    }
    Ok(record)
}

/// Kills the first process, and waits for its end.
///
/// # Errors
/// Those of pidfd_send_signal(2); `ETIMEDOUT`.
pub(super) fn kill(record: &Record, id: &str) -> Result<(), Fault> {
    let Some(process) = record.process()? else {
        return Ok(());
    };
    match process.signal(signal::KILL) {
        // It has just ended, and its parent has collected it.
        Err(Errno::SRCH) => return Ok(()),
        signalled => signalled.during(Op::Signal, id)?,
    }
    match process.wait(&PATIENCE) {
        true => Ok(()),
        false => Err(Errno::TIMEDOUT).during(Op::Wait, format_args!("the end of {id}")),
    }
}

/// Clears away what the kernel has of a container whose first process has ended: other processes,
/// the control group. Then its last hooks are run.
///
/// # Errors
/// Those of the control group.
pub(super) fn clear(call: &Call<'_>, directory: &Directory, record: &Record) -> Result<(), Fault> {
    let is_its = |group: &Group| group.belongs_to(directory.owner());
    if !record.cgroup.is_empty() {
        let ended = match Group::open(CWD, &record.cgroup) {
            // What is in it may be another's as long as it is not marked, and it may be made in
            // part.
            group if record.is_creating && !group.as_ref().is_ok_and(is_its) => {
                Group::discard_at(&record.cgroup, record.existing);
                Ok(())
            }
            group => group.and_then(|group| group::end(&group)),
        };
        match ended {
            // One that is not there any more is no obstacle: systemd removes that of a scope
            // itself, at any time.
            Err(fault) if matches!(fault.errno, Errno::NOENT | Errno::NODEV) => {}
            ended => ended?,
        }
    }
    if !record.unit.is_empty() {
        systemd::stop(call, &record.unit);
    }
    late_hooks::run(call, directory, record, HookKind::Poststop);
    Ok(())
}
