//! Hooks: programs that are run at moments of a container's life (config.md, "POSIX-platform
//! Hooks"; runtime.md, "Lifecycle").
//!
//! | moment | run by | where |
//! |---|---|---|
//! | prestart, createRuntime | the builder | outside, when all is mounted and `/` is still the host's |
//! | createContainer | the container's first process, after them | inside, before its root is `/`: a path is the host's |
//! | startContainer | the same | inside, before the program |
//! | poststart | the process that starts the container | outside, when the program runs |
//! | poststop | the process that deletes the container | outside, when the container has ended |
//!
//! * Hooks run one after the other; PID 1 runs none.
//! * A hook that fails ends a container that does not run yet. Later, it is a warning.
//! * The container's state is on a hook's standard input, in a file, so that a hook need not read
//!   it.
//! * What hooks print goes where the output of the process goes that runs them; inside, that is the
//!   container's output.

use core::convert::Infallible;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use rustix::stdio::dup2_stdin;

use super::program::List;
use super::state::State;
use crate::error::{During, Fault, Op};
use crate::parse::config::{Config, Hook, HookKind};
use crate::parse::json::Unescaped;
use crate::sys::path::{LongPath, long_path};
use crate::sys::process::{self, Environment, Forked, Status};
use crate::sys::{fs, signal};
use crate::text::Text;

/// Runs the hooks of `moment`, each to its end, and tells `warn` of each that fails: nothing can be
/// taken back by then.
pub fn run_all(
    config: &Config<'_>,
    moment: HookKind,
    state: &State<'_>,
    warn: &mut dyn FnMut(&Fault),
) {
    for hook in config.hooks.of(moment) {
        if let Err(fault) = run_one(&hook, moment, state) {
            warn(&fault);
        }
    }
}

/// Runs the hooks of `moment`, each to its end; the first that fails is the last.
///
/// # Errors
/// `ECANCELED` for a hook that ended badly, `ETIMEDOUT` for one that was too slow, those of
/// execve(2) and of the rest.
#[inline(never)]
pub(super) fn run(config: &Config<'_>, moment: HookKind, state: &State<'_>) -> Result<(), Fault> {
    config
        .hooks
        .of(moment)
        .try_for_each(|hook| run_one(&hook, moment, state))
}

fn run_one(hook: &Hook<'_>, moment: HookKind, state: &State<'_>) -> Result<(), Fault> {
    let shown = Text::<128>::new(Unescaped(hook.path));
    let name = moment.name();
    let ended = start(hook, moment, state)
        .and_then(|pid| process::wait_no_longer_than(pid, hook.timeout))
        .during(Op::Hook, format_args!("{shown} of {name}"))?;
    match ended {
        Status::Exited(0) => Ok(()),
        status => {
            Err(Errno::CANCELED).during(Op::Hook, format_args!("{shown} of {name}, which {status}"))
        }
    }
}

/// Executes the hook in a process of its own, or says why it cannot be.
fn start(hook: &Hook<'_>, moment: HookKind, state: &State<'_>) -> Result<Pid, Errno> {
    let input = fs::anonymous_file(c"state", state)?;
    let (failure_from, failure) = pipe_with(PipeFlags::CLOEXEC)?;
    match process::fork(0, None)? {
        Forked::Child => {
            let Err(errno) = execute(hook, moment, state, input, failure.as_fd());
            let _ = write(&failure, &errno.raw_os_error().to_ne_bytes());
            process::exit(127)
        }
        Forked::Parent(pid) => {
            drop(failure);
            let mut errno = [0; size_of::<i32>()];
            if read(&failure_from, &mut errno) != Ok(errno.len()) {
                return Ok(pid);
            }
            process::wait_for(pid);
            Err(Errno::from_raw_os_error(i32::from_ne_bytes(errno)))
        }
    }
}

fn execute(
    hook: &Hook<'_>,
    moment: HookKind,
    state: &State<'_>,
    input: impl AsFd,
    failure: BorrowedFd<'_>,
) -> Result<Infallible, Errno> {
    // The process that runs it may have blocked signals.
    signal::reset();
    // A process group of its own, which can be killed as a whole.
    rustix::process::setsid()?;
    dup2_stdin(input)?;
    if !matches!(moment, HookKind::CreateContainer | HookKind::StartContainer) {
        rustix::process::chdir(state.bundle)?;
    }
    let mut arguments = List::new();
    let mut variables = List::new();
    for argument in hook.args() {
        arguments.push(format_args!("{}", Unescaped(argument)))?;
    }
    let mut room = LongPath::new();
    let path = long_path(&mut room, format_args!("{}", Unescaped(hook.path)))?;
    // Descriptors that the caller leaves open are for the program, and not for a hook. What fails
    // from here on is reported there.
    let become_it = |environment: Environment<'_>| {
        arguments.with_list(|arguments| -> Errno {
            process::execute_or_report(path, arguments, environment, failure)
        })
    };
    // The specification has the semantics of environ(7) for it; without one, runc and crun have the
    // hook inherit theirs.
    let Some(env) = hook.env() else {
        return Err(become_it(Environment::inherited()));
    };
    for variable in env {
        variables.push(format_args!("{}", Unescaped(variable)))?;
    }
    Err(variables.with_list(|variables| become_it(Environment::from_list(variables))))
}
