//! The last part of the set-up: the process has nothing of the host's any more, and the program
//! gets its identity, rights and limits.
//!
//! [`Launch::prepare`] makes what takes memory and descriptors; then comes one of two orders,
//! [`AT_START`] or [`AT_CREATE`].

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::umask;

use super::{Setup, Step, step};
use crate::container::program::Program;
use crate::container::seccomp::{self, Filter};
use crate::container::state::{State, Status};
use crate::container::status_pipe::{Message, StatusPipe};
use crate::container::{credentials, exposure, hooks, labels, landlock, limits};
use crate::error::{During, Fault, Op};
use crate::parse::config::{Config, HookKind};
use crate::sys::landlock::Ruleset;
use crate::sys::mount;
use crate::sys::procfs::Procfs;

pub(super) type LaunchStep = Step<fn(&mut Launch<'_, '_>) -> Result<(), Fault>>;

/// What the program gets when the container is started.
pub(super) const AT_START: &[LaunchStep] = &[
    step("wait for the start", wait_for_start),
    // These are the runtime's: the program's labels, limits and rights are not for them.
    step("run startContainer hooks", run_start_hooks),
    step("apply labels", apply_labels),
    step("apply scheduling", apply_scheduling),
    // A ruleset opens paths, for which the limits may leave no descriptor.
    step("make a Landlock ruleset", make_ruleset),
    step("apply Landlock", restrict_with_ruleset),
    step("limit resources", limit_resources),
    // From the filter on as little as can be is called.
    step("install the filter with all rights", install_filter_first),
    step("change the user", apply_credentials),
    step("enter the working directory", enter_working_directory_again),
    step("install the filter", install_filter_last),
];

/// The same, where the filter's agent is told of the container when that is created
/// ([`seccomp::is_agent_notified_at_create`]). No startContainer hooks are asked for then.
pub(super) const AT_CREATE: &[LaunchStep] = &[
    step("apply labels", apply_labels),
    step("apply scheduling", apply_scheduling),
    step("make a Landlock ruleset", make_ruleset),
    step("install the filter with all rights", install_filter_first),
    step("change the user", apply_credentials),
    // The change of the user has set it to what the machine's `fs.suid_dumpable` says.
    step("hide from others", clear_dumpable),
    step("enter the working directory", enter_working_directory_again),
    step("install the filter", install_filter_last),
    step("wait for the start", wait_for_start),
    // A limit may leave no descriptor for the FIFO, and to Landlock it is a file of the host's.
    step("apply Landlock", restrict_with_ruleset),
    step("limit resources", limit_resources),
];

/// What [`AT_START`] and [`AT_CREATE`] work on: a process that has nothing of the host's any more.
pub(super) struct Launch<'r, 's> {
    config: &'r Config<'r>,
    status_pipe: &'s mut StatusPipe,
    state: State<'r>,
    is_new: bool,
    /// Whether the order is that of [`AT_CREATE`].
    pub(super) is_early: bool,
    can_change_groups: bool,
    /// Whether the working directory could be entered with the rights of the set-up.
    entered: Result<(), Fault>,
    pub(super) program: Program,
    filter: Option<Filter>,
    exec_fifo: Option<ExecFifo>,
    ruleset: Option<Ruleset>,
}

impl<'r, 's> Launch<'r, 's> {
    /// Makes what takes memory, before there may be a limit, and what takes calls, before there may
    /// be a filter.
    #[inline(never)]
    pub(super) fn prepare(setup: &'s mut Setup<'r, '_>) -> Result<Self, Fault> {
        let (config, state, is_new) = (setup.config(), setup.state, setup.request.is_new());
        let process = &config.process;
        let filter = match &config.seccomp {
            Some(profile) => Some(Filter::of(profile, setup.agent.take(), setup.pid, &state)?),
            None => None,
        };
        // Images have directories that only root may enter, and start their programs there as
        // another user: so it is entered with all rights. Where root may not (on a network's
        // filesystem, or in a user namespace), the user perhaps may.
        let entered = enter_working_directory(process.cwd);
        umask(Mode::from_raw_mode(process.user.umask));
        let program = Program::new(process, setup.request.variables)?;
        let exec_fifo = match setup.request.exec_fifo.take() {
            Some(fifo) => {
                // `create` fails if the program is missing, not only `start`.
                program.check()?;
                labels::apply(process, labels::Purpose::Check)?;
                Some(ExecFifo::new(fifo)?)
            }
            None => None,
        };
        Ok(Self {
            config,
            status_pipe: setup.status_pipe,
            state,
            is_new,
            is_early: exec_fifo.is_some() && seccomp::is_agent_notified_at_create(config),
            can_change_groups: setup.can_change_groups,
            entered,
            program,
            filter,
            exec_fifo,
            ruleset: None,
        })
    }
}

/// Changes to the working directory, and sees whether that is inside the root: whatever a path led
/// through, and if a descriptor was forgotten.
fn enter_working_directory(path: &str) -> Result<(), Fault> {
    mount::enter(path)?;
    match mount::working_directory_is_reachable() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Errno::XDEV),
        Err(errno) => Err(errno),
    }
    .during(Op::Chdir, format_args!("{path}, outside of the root"))
}

fn wait_for_start(launch: &mut Launch<'_, '_>) -> Result<(), Fault> {
    match launch.exec_fifo.take() {
        Some(fifo) => fifo.wait(launch.status_pipe),
        None => Ok(()),
    }
}

fn run_start_hooks(launch: &mut Launch<'_, '_>) -> Result<(), Fault> {
    if !launch.is_new {
        return Ok(());
    }
    let state = State {
        status: Status::Created,
        ..launch.state
    };
    hooks::run(launch.config, HookKind::StartContainer, &state)
}

fn apply_labels(launch: &mut Launch<'_, '_>) -> Result<(), Fault> {
    labels::apply(&launch.config.process, labels::Purpose::Execute)
}

fn apply_scheduling(launch: &mut Launch<'_, '_>) -> Result<(), Fault> {
    limits::apply(&launch.config.process)
}

fn make_ruleset(launch: &mut Launch<'_, '_>) -> Result<(), Fault> {
    launch.ruleset = landlock::ruleset(&launch.config.annotations.landlock)?;
    Ok(())
}

fn restrict_with_ruleset(launch: &mut Launch<'_, '_>) -> Result<(), Fault> {
    match launch.ruleset.take() {
        Some(ruleset) => ruleset.restrict_self().during(Op::Configure, "Landlock"),
        None => Ok(()),
    }
}

fn limit_resources(launch: &mut Launch<'_, '_>) -> Result<(), Fault> {
    limits::apply_to_resources(&launch.config.process)
}

/// If the process keeps neither CAP_SYS_ADMIN nor no_new_privs, its filter is installed before its
/// user and its capabilities change.
fn install_filter_first(launch: &mut Launch<'_, '_>) -> Result<(), Fault> {
    match &mut launch.filter {
        Some(filter) if !seccomp::is_installed_last(&launch.config.process) => filter.install(),
        _ => Ok(()),
    }
}

fn apply_credentials(launch: &mut Launch<'_, '_>) -> Result<(), Fault> {
    credentials::apply(&launch.config.process, launch.can_change_groups)
}

fn clear_dumpable(_: &mut Launch<'_, '_>) -> Result<(), Fault> {
    exposure::set_undumpable()
}

fn enter_working_directory_again(launch: &mut Launch<'_, '_>) -> Result<(), Fault> {
    let cwd = launch.config.process.cwd;
    launch.entered.or_else(|_| enter_working_directory(cwd))
}

fn install_filter_last(launch: &mut Launch<'_, '_>) -> Result<(), Fault> {
    match &mut launch.filter {
        Some(filter) if seccomp::is_installed_last(&launch.config.process) => filter.install(),
        _ => Ok(()),
    }
}

/// The FIFO that the container waits at until it is started, and what it takes to open it.
struct ExecFifo {
    fifo: OwnedFd,
    /// This process's descriptors, by their numbers.
    numbers: OwnedFd,
}

impl ExecFifo {
    fn new(fifo: OwnedFd) -> Result<Self, Fault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let numbers = Procfs::of_processes()?.open("self/fd", flags)?;
        Ok(Self { fifo, numbers })
    }

    /// Says that all is set up, and waits until another process opens the FIFO for reading. There
    /// may be a filter by now.
    #[inline(never)]
    fn wait(self, status_pipe: &mut StatusPipe) -> Result<(), Fault> {
        let number = crate::sys::path::path(format_args!("{}", self.fifo.as_raw_fd()));
        let number = number.during(Op::Open, "a descriptor")?;
        status_pipe.send(Message::Created);
        status_pipe.wait_for_record()?;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let opened = openat(self.numbers.as_fd(), number.as_str(), flags, Mode::empty());
        status_pipe.also_send_to(opened.during(Op::Open, "what is held at")?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn both_orders_give_the_program_the_same() {
        let names = |steps: &'static [LaunchStep]| -> BTreeSet<_> {
            steps.iter().map(|step| step.name).collect()
        };
        let (at_start, at_create) = (names(AT_START), names(AT_CREATE));
        let only = |a: &BTreeSet<_>, b: &BTreeSet<_>| -> std::vec::Vec<_> {
            a.difference(b).copied().collect()
        };
        assert_eq!(only(&at_start, &at_create), ["run startContainer hooks"]);
        assert_eq!(only(&at_create, &at_start), ["hide from others"]);
    }
}
