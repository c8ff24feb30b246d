//! `start`: a container that was created runs its program (runtime.md, "Start").
//!
//! It waits for somebody to open its FIFO for reading. What is then read is the end of the file,
//! when the program has taken its place (the other end closes on exec), or why it could not.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, mknodat, openat, unlinkat};
use rustix::io::{Errno, read};
use rustix::process::{Pid, umask};

use super::notify::Notify;
use super::record::Record;
use super::state::{Directory, FIFO};
use super::{Call, OrReport, Reported, Subcommand, late_hooks, machine};
use crate::container::{StartFailure, Status, setup_error, start_result};
use crate::error::{Code, During, Fault, Op};
use crate::parse::config::HookKind;
use crate::sys::pidfd::Process;
use crate::sys::process::has_ended_without_a_program;

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "start",
    operands: "ID",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &[],
    about: "run the program of a container that was created; or start one of PID 1's",
    run,
};

/// How long a process may take to end that has said why it does.
const END_TIMEOUT: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Why a container cannot be started that has not stopped.
const RUNNING: &str = "cannot start an already running container";

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    let id = call.id()?;
    // Any that holds is one that was created here. Others are PID 1's.
    if !is_created(call, id)
        && let Some(started) = machine::start(call)
    {
        return started;
    }
    let directory = Directory::open(call, id)?;
    let record = directory.record(call)?;
    let notify = match directory.status(&record).or_report(call, Code::State)? {
        Status::Created => Notify::open(call, &directory)?,
        _ => None,
    };
    go(call, &directory, &record)?;
    notify.map_or(Ok(()), |notify| notify.wait(call, &record))?;
    Ok(0)
}

/// Whether the container holds, and waits to be started.
fn is_created(call: &Call<'_>, id: &str) -> bool {
    let status = |directory: Directory| directory.status(&directory.read().ok()??).ok();
    let found = Directory::find(call, id).ok().flatten();
    found.and_then(status) == Some(Status::Created)
}

/// Lets a container that holds go on, and waits until its program runs.
///
/// # Errors
/// [`Code::WrongStatus`]; [`Code::ContainerExec`], [`Code::ContainerSetup`].
pub(super) fn go(call: &Call<'_>, directory: &Directory, record: &Record) -> Result<(), Reported> {
    let id = directory.id.as_str();
    let status = directory.status(record).or_report(call, Code::State)?;
    let process = record.process().or_report(call, Code::Control)?;
    let (Status::Created, Some(process)) = (status, process) else {
        return Err(call.wrong_status(Op::Exec, id, status, RUNNING));
    };
    let claimed = claim(directory).or_report(call, Code::State)?;
    let fifo = claimed.ok_or_else(|| call.wrong_status(Op::Exec, id, Status::Running, RUNNING))?;
    release(&fifo, &process, record.pid).map_err(|why| {
        // What it said comes before its end, which others see in its status.
        process.wait(&END_TIMEOUT);
        call.fail(&setup_error(id, why))
    })?;
    if let Some(supervisor) = call.journal.supervisor() {
        supervisor.tell_first(record.pid, true);
    }
    late_hooks::run(call, directory, record, HookKind::Poststart);
    Ok(())
}

/// What the container holds at. Its user opens it for writing, and root of a user namespace is
/// somebody else here; the directory around it is private.
pub(super) fn fifo(directory: &Directory) -> Result<OwnedFd, Fault> {
    let before = umask(Mode::empty());
    let made = mknodat(
        directory.as_fd(),
        FIFO,
        FileType::Fifo,
        Mode::from_raw_mode(0o622),
        0,
    );
    umask(before);
    made.and_then(|()| {
        openat(
            directory.as_fd(),
            FIFO,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )
    })
    .during(Op::Create, FIFO)
}

/// Opens the FIFO and takes its name away; `None` if another call has done so.
fn claim(directory: &Directory) -> Result<Option<OwnedFd>, Fault> {
    // Without waiting: the container may have been killed.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = openat(directory.as_fd(), FIFO, flags, Mode::empty())
        .and_then(|fifo| unlinkat(directory.as_fd(), FIFO, AtFlags::empty()).map(|()| fifo));
    match opened {
        Err(Errno::NOENT) => Ok(None),
        opened => opened.map(Some).during(Op::Open, FIFO),
    }
}

/// Waits for what the container has to say.
fn release(fifo: &OwnedFd, process: &Process, pid: u32) -> Result<(), StartFailure> {
    let mut report = [0; 512];
    let mut len = 0;
    loop {
        // A FIFO that nobody has opened for writing yet is not readable, and has not hung up
        // either.
        let mut polled = [
            PollFd::new(fifo, PollFlags::IN),
            PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN),
        ];
        match poll(&mut polled, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => {
                return Err(errno)
                    .during(Op::Wait, FIFO)
                    .map_err(StartFailure::Reported);
            }
        }
        let [has_report, has_ended] = polled.each_ref().map(|one| !one.revents().is_empty());
        if has_report {
            let room = report.get_mut(len..).unwrap_or_default();
            match read(fifo, room) {
                Ok(0) => {
                    start_result(report.get(..len).unwrap_or_default())
                        .map_err(StartFailure::Reported)?;
                    // The other end closes when the process ends, too.
                    let pid = Pid::from_raw(pid.cast_signed());
                    return match pid.is_some_and(has_ended_without_a_program) {
                        true => Err(StartFailure::Died(None)),
                        false => Ok(()),
                    };
                }
                Ok(read) => len += read,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => {
                    return Err(errno)
                        .during(Op::Read, FIFO)
                        .map_err(StartFailure::Reported);
                }
            }
        } else if has_ended {
            return Err(StartFailure::Died(None));
        }
    }
}
