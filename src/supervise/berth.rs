//! Runs of `berth`, the program that starts containers, clears them away, and does for PID 1 what
//! takes reading what strangers wrote.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{SendFlags, send};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::limits;
use crate::error::{Code, During, Error, Fault, Op};
use crate::hint::of_machine;
use crate::parse::answer::Answer;
use crate::parse::request::RECORDS;
use crate::plan::Plan;
use crate::sys::process::Environment;
use crate::sys::process::{self, Forked};
use crate::sys::strings::Strings;
use crate::sys::{console, signal, socket};

/// The arguments of a run.
type Words = Strings<8192, 64>;

/// One run.
pub(super) struct Run {
    pub(super) pid: Pid,
    /// Where its answers come from.
    pub(super) answers: OwnedFd,
}

/// What the program is to do.
#[derive(Clone, Copy)]
pub(super) enum Task<'t> {
    /// To start the container `id` that the bundle at `bundle` describes.
    Start {
        id: &'t str,
        bundle: &'t str,
        output: [&'t OwnedFd; 2],
    },
    /// To clear away what is left of the container `id`, which has ended.
    End { id: &'t str },
    /// To look at the disks that there are, and to mount those that are new in this directory.
    Disks { place: &'t str },
    /// To serve those who come to the control.
    Control {
        listener: &'t OwnedFd,
        port: Option<&'t OwnedFd>,
    },
    /// To set the machine's network up, as the plan says.
    Network { plan: &'t Plan<'t> },
    /// To write files of what containers print, in this directory.
    LogFiles { place: &'t str },
    /// To set the clock if it shows no time that can be, and to carry the random seed over; at the
    /// end of the machine only to write it.
    Carry { is_end: bool },
    /// To have the machine stand still.
    Freeze,
    /// To have it go on.
    Thaw { is_undo: bool },
}

impl<'t> Task<'t> {
    /// What it is about, for messages.
    pub(super) const fn subject(self) -> &'t str {
        match self {
            Self::Start { id, .. } | Self::End { id } => id,
            Self::Control { .. } => "the control",
            Self::Network { .. } => "the network",
            Self::Disks { .. } => "the disks",
            Self::LogFiles { .. } => "the log files",
            Self::Carry { .. } => "the random seed",
            Self::Freeze => "the freeze of the machine",
            Self::Thaw { .. } => "its thaw",
        }
    }

    /// Where the program writes, if it is not to be lost.
    const fn output(self) -> Option<[&'t OwnedFd; 2]> {
        match self {
            Self::Start { output, .. } => Some(output),
            _ => None,
        }
    }

    /// The words that say it.
    fn say(self, words: &mut Words) -> Result<(), Errno> {
        let mut all = |list: &[&str]| {
            let mut list = list.iter();
            list.try_for_each(|word| words.push(format_args!("{word}")))
        };
        match self {
            Self::Start { id, bundle, .. } => all(&["pid1-start", "--bundle", bundle, id]),
            Self::End { id } => all(&["pid1-end", id]),
            Self::Disks { place } => all(&["pid1-disks", place]),
            Self::LogFiles { place } => all(&["pid1-logs", place]),
            Self::Control { listener, port } => {
                all(&["pid1-control"])?;
                hand_on(words, "listener", listener)?;
                port.map_or(Ok(()), |port| hand_on(words, "port", port))
            }
            Self::Carry { is_end: false } => all(&["pid1-carry"]),
            Self::Carry { is_end: true } => all(&["pid1-carry", "--at-end"]),
            Self::Freeze => all(&["pid1-freeze"]),
            Self::Thaw { is_undo: false } => all(&["pid1-thaw"]),
            Self::Thaw { is_undo: true } => all(&["pid1-thaw", "--undo"]),
            Self::Network { plan } => {
                all(&["pid1-network"])?;
                let mut given = plan.network_words();
                given.try_for_each(|word| words.push(format_args!("{word}")))
            }
        }
    }
}

/// Where a container's output comes from: standard output, standard error. Non-blocking.
pub(super) type Output = [OwnedFd; 2];

/// Starts a container; the run, and where the container's output comes from.
///
/// # Errors
/// Those of pipe2(2), socketpair(2) and clone3(2).
pub(super) fn start(
    program: BorrowedFd<'_>,
    bundle: &str,
    id: &str,
) -> Result<(Run, Output), Fault> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).during(Op::Pipe, id);
    let (stdout_from, stdout) = pipe()?;
    let (stderr_from, stderr) = pipe()?;
    for reader in [&stdout_from, &stderr_from] {
        // Only our end: the program would be surprised by EAGAIN on its standard output.
        rustix::io::ioctl_fionbio(reader, true).during(Op::Pipe, id)?;
    }
    let output = [&stdout, &stderr];
    let run = run(program, Task::Start { id, bundle, output })?;
    Ok((run, [stdout_from, stderr_from]))
}

/// Clears a container away.
///
/// # Errors
/// Those of socketpair(2) and clone3(2).
pub(super) fn end(program: BorrowedFd<'_>, id: &str) -> Result<Run, Fault> {
    run(program, Task::End { id })
}

/// Has the program do `task`.
///
/// # Errors
/// Those of socketpair(2) and clone3(2).
#[inline(never)]
pub(super) fn run(program: BorrowedFd<'_>, task: Task<'_>) -> Result<Run, Fault> {
    let (answers, theirs) = socket::packets().during(Op::Socket, task.subject())?;
    match process::fork(0, None).during(Op::Clone, task.subject())? {
        Forked::Parent(pid) => Ok(Run { pid, answers }),
        Forked::Child => {
            drop(answers);
            let errno = execute(program, task, Some(&theirs));
            let fault = Err::<(), _>(errno).during(Op::Exec, "the program that starts containers");
            if let Err(fault) = fault {
                let error = fault.at(Code::BerthFailed);
                tell(&theirs, &error);
            }
            process::exit(127)
        }
    }
}

/// Leaves a descriptor open for the program, which is told its number by an option.
fn hand_on(words: &mut Words, option: &str, descriptor: &OwnedFd) -> Result<(), Errno> {
    fcntl_setfd(descriptor, FdFlags::empty())?;
    words.push(format_args!("--{option}={}", descriptor.as_raw_fd()))
}

/// Becomes the program, which answers if it can. Returns only if that fails.
#[inline(never)]
pub(super) fn execute(program: BorrowedFd<'_>, task: Task<'_>, answers: Option<&OwnedFd>) -> Errno {
    let mut words = Words::new();
    let pushed = words
        .push(format_args!("berth"))
        .and_then(|()| words.push(format_args!("--root={RECORDS}")))
        .and_then(|()| answers.map_or(Ok(()), |end| hand_on(&mut words, "answers", end)))
        .and_then(|()| task.say(&mut words));
    if let Err(errno) = pushed {
        return errno;
    }
    let Some(null) = console::open_null() else {
        return Errno::NODEV;
    };
    let [stdout, stderr] = task
        .output()
        .map_or([null.as_fd(); 2], |ends| ends.map(AsFd::as_fd));
    if let Err(errno) = console::set_standard_descriptors(null.as_fd(), stdout, stderr) {
        return errno;
    }
    signal::reset();
    limits::restore();
    words.with_list(|words| {
        process::execute_descriptor(program, words, Environment::inherited().list())
    })
}

#[inline(never)]
fn tell(answers: &OwnedFd, error: &Error) {
    let mut room = [0; 1024];
    if let Some(packet) = Answer::Failed(*error, of_machine(error)).encode(&mut room) {
        // There is nothing left to do if this fails.
        let _ = send(answers, packet, SendFlags::NOSIGNAL);
    }
}
