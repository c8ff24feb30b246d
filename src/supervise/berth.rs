//! Runs of `berth`, the program that starts containers and clears them away.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{SendFlags, send};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::error::{Code, During, Error, Fault, Op};
use crate::hint::of_machine;
use crate::parse::answer::Answer;
use crate::sys::process::Environment;
use crate::sys::process::{self, Forked};
use crate::sys::strings::Strings;
use crate::sys::{console, signal, socket};

/// Where containers are recorded: the default of `berth`.
const RECORDS: &str = "/run/berth";

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
    /// To start the container that the bundle at `bundle` describes.
    Start { bundle: &'t str },
    /// To clear away what is left of a container that has ended.
    End,
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
    let run = run(
        program,
        Task::Start { bundle },
        id,
        Some([&stdout, &stderr]),
    )?;
    Ok((run, [stdout_from, stderr_from]))
}

/// Clears a container away.
///
/// # Errors
/// Those of socketpair(2) and clone3(2).
pub(super) fn end(program: BorrowedFd<'_>, id: &str) -> Result<Run, Fault> {
    run(program, Task::End, id, None)
}

#[inline(never)]
fn run(
    program: BorrowedFd<'_>,
    task: Task<'_>,
    id: &str,
    output: Option<[&OwnedFd; 2]>,
) -> Result<Run, Fault> {
    let (answers, theirs) = socket::packets().during(Op::Socket, id)?;
    match process::fork(0, None).during(Op::Clone, id)? {
        Forked::Parent(pid) => Ok(Run { pid, answers }),
        Forked::Child => {
            drop(answers);
            let errno = execute(program, task, id, output, &theirs);
            let fault = Err::<(), _>(errno).during(Op::Exec, "the program that starts containers");
            if let Err(fault) = fault {
                let error = fault.at(Code::BerthFailed);
                tell(&theirs, &error);
            }
            process::exit(127)
        }
    }
}

/// Becomes the program. Returns only if that fails.
#[inline(never)]
fn execute(
    program: BorrowedFd<'_>,
    task: Task<'_>,
    id: &str,
    output: Option<[&OwnedFd; 2]>,
    answers: &OwnedFd,
) -> Errno {
    let mut words = Words::new();
    let mut push = |word: &str| words.push(format_args!("{word}"));
    let pushed = ["berth", "--root", RECORDS]
        .into_iter()
        .try_for_each(&mut push)
        .and_then(|()| match task {
            Task::Start { bundle } => ["pid1-start", "--bundle", bundle]
                .into_iter()
                .try_for_each(&mut push),
            Task::End => push("pid1-end"),
        })
        .and_then(|()| words.push(format_args!("--answers={}", answers.as_raw_fd())))
        .and_then(|()| words.push(format_args!("{id}")))
        .and_then(|()| fcntl_setfd(answers, FdFlags::empty()));
    if let Err(errno) = pushed {
        return errno;
    }
    let Some(null) = console::open_null() else {
        return Errno::NODEV;
    };
    let [stdout, stderr] = output.map_or([null.as_fd(); 2], |ends| ends.map(AsFd::as_fd));
    if let Err(errno) = console::set_standard_descriptors(null.as_fd(), stdout, stderr) {
        return errno;
    }
    signal::reset();
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
