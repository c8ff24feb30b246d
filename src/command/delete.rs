//! `delete`: what is left of a container goes (runtime.md, "Delete").

use rustix::event::Timespec;
use rustix::fs::{CWD, FlockOperation, flock, fstat};
use rustix::io::Errno;

use super::state::{Directory, Record};
use super::{Call, Subcommand, Tell, Told, group, later, systemd};
use crate::container::{Group, Status};
use crate::error::{Code, During, Fault, Op};
use crate::parse::arguments::Opt;
use crate::parse::config::HookKind;
use crate::sys::signal;

const FORCE: Opt = Opt {
    long: "force",
    short: Some('f'),
    value: None,
    about: "kill the container first; one that there is not is deleted already",
};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "delete",
    operands: "ID",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &[&FORCE],
    about: "remove what is left of a container that has stopped",
    run,
};

/// How long the kernel may take to end a process that was killed.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Why it cannot be deleted.
const NOT_STOPPED: &str = "cannot delete container that is not stopped";

fn run(call: &Call<'_>) -> Result<u8, Told> {
    let (id, force) = (call.id()?, call.given.has(&FORCE));
    let found = Directory::find(call, id)?;
    if found.is_none() && force {
        return Ok(0);
    }
    let directory = found.ok_or_else(|| Directory::missing(call, id))?;
    let record = match directory.read().tell(call, Code::State)? {
        None if force => None,
        _ => Some(directory.record(call)?),
    };
    if let Some(record) = &record {
        let status = directory.status(record).tell(call, Code::State)?;
        if !force && status != Status::Stopped {
            return Err(call.wrong_status(Op::Remove, id, status, NOT_STOPPED));
        }
        kill(record, id).tell(call, Code::Control)?;
    }
    // Whoever works on it, as `run` in the foreground does, comes first, and may have cleared it away then. But one that has
    // not even a record may take its time.
    let lock = match record {
        Some(_) => FlockOperation::LockExclusive,
        None => FlockOperation::NonBlockingLockExclusive,
    };
    match flock(&directory, lock) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            return Err(call.wrong_status(Op::Remove, id, Status::Creating, NOT_STOPPED));
        }
        Err(errno) => {
            return Err(errno).during(Op::Remove, id).tell(call, Code::State);
        }
    }
    if fstat(&directory).is_ok_and(|stat| stat.st_nlink > 0) {
        if let Some(record) = &record {
            clear(call, &directory, record).tell(call, Code::Control)?;
        }
        directory.remove();
    }
    Ok(0)
}

/// Kills the first process, and waits for its end.
///
/// # Errors
/// Those of pidfd_send_signal(2); `ETIMEDOUT`.
pub(super) fn kill(record: &Record, id: &str) -> Result<(), Fault> {
    let Some(process) = record.process()? else {
        return Ok(());
    };
    process.signal(signal::KILL).during(Op::Signal, id)?;
    match process.wait(&PATIENCE) {
        true => Ok(()),
        false => Err(Errno::TIMEDOUT).during(Op::Wait, format_args!("the end of {id}")),
    }
}

/// Clears away what the kernel has of a container whose first process has ended: other processes, the control group. Then its
/// last hooks are run.
///
/// # Errors
/// Those of the control group.
pub(super) fn clear(call: &Call<'_>, directory: &Directory, record: &Record) -> Result<(), Fault> {
    if !record.cgroup.is_empty() {
        match Group::open(CWD, &record.cgroup).and_then(|group| group::end(&group)) {
            // One that is not there any more is no obstacle: systemd removes that of a scope itself, at any time.
            Err(fault) if matches!(fault.errno, Errno::NOENT | Errno::NODEV) => {}
            ended => ended?,
        }
    }
    if !record.unit.is_empty() {
        systemd::stop(call, &record.unit);
    }
    later::run(call, directory, record, HookKind::Poststop);
    Ok(())
}
