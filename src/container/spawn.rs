//! From a bundle to a running process, as PID 1 sees it.

use linux_raw_sys::general as linux;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::CWD;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::bundle::Id;
use super::cgroup::{Group, Groups};
use super::report;
use super::setup::{self, Streams};
use crate::error::{At, Code, During, Error, Fault, Op, Stage};
use crate::parse::config::{Annotations, Config, ConfigError, MAX_SIZE, Namespaces};
use crate::sys::buffer::Buffer;
use crate::sys::path::path;
use crate::sys::raw::{self, Forked};
use crate::sys::{console, fs};
use crate::text::Text;

/// A container's first process, and the descriptors that lead to it.
pub struct Child {
    /// Its PID, as PID 1 sees it.
    pub pid: Pid,
    /// Ends when the program runs; before that, brings the [`report`] of a set-up that failed.
    pub setup: OwnedFd,
    /// What the program prints, unless it has the console. Non-blocking.
    pub output: Option<[OwnedFd; 2]>,
    /// The control group, where the kernel has them.
    pub group: Option<Group>,
    /// What the bundle says about stopping.
    pub annotations: Annotations<'static>,
}

/// Reads the bundle of the container `id` in `directory` and starts it. What is worth mentioning goes to `warn`.
///
/// The process exists when this returns, but its set-up may still fail: see [`Child::setup`].
///
/// # Errors
/// [`Code::BundleConfig`], [`Code::BundleRefused`], [`Code::ContainerSetup`].
pub fn spawn(
    directory: &str,
    id: &Id,
    groups: Option<&Groups>,
    mut warn: impl FnMut(core::fmt::Arguments<'_>),
) -> Result<Child, Error> {
    let bundle = path(format_args!("{directory}/{id}"))
        .during(Op::Open, id)
        .at(Stage::Containers, Code::BundleConfig)?;
    let file_path = path(format_args!("{bundle}/config.json"))
        .during(Op::Open, id)
        .at(Stage::Containers, Code::BundleConfig)?;
    let mut file = Buffer::<{ MAX_SIZE + 1 }>::new();
    let text = fs::open_file(CWD, &file_path)
        .and_then(|opened| file.fill_from(&opened).during(Op::Read, &file_path))
        .at(Stage::Containers, Code::BundleConfig)?;
    let mut scratch = Buffer::<MAX_SIZE>::new();
    let scratch = scratch
        .bytes_mut()
        .during(Op::Parse, &file_path)
        .at(Stage::Containers, Code::BundleConfig)?;
    let config = Config::parse(text, scratch).map_err(|error| refusal(&file_path, &error))?;
    for field in config.warnings.iter() {
        warn(format_args!(
            "{id}: {field} in config.json is not supported yet, and ignored"
        ));
    }
    start(&bundle, id, &config, groups).at(Stage::Containers, Code::ContainerSetup)
}

fn refusal(path: &str, error: &ConfigError<'_>) -> Error {
    let code = match error {
        ConfigError::Unsupported(_) | ConfigError::UnsupportedValue { .. } => Code::BundleRefused,
        _ => Code::BundleConfig,
    };
    Error::new(Stage::Containers, code, Op::Parse, path, error)
}

fn start(
    bundle: &str,
    id: &Id,
    config: &Config<'_>,
    groups: Option<&Groups>,
) -> Result<Child, Fault> {
    let group = groups.map(|groups| groups.create(id)).transpose()?;
    let pipe = |flags| pipe_with(PipeFlags::CLOEXEC | flags).during(Op::Pipe, id);
    let (setup, report_to) = pipe(PipeFlags::NONBLOCK)?;
    let (output, streams) = if config.annotations.console {
        let terminal = console::open_terminal()
            .ok_or(rustix::io::Errno::NODEV)
            .during(Op::Open, console::PATH)?;
        (None, Streams::Console(terminal))
    } else {
        let (stdout_from, stdout) = pipe(PipeFlags::empty())?;
        let (stderr_from, stderr) = pipe(PipeFlags::empty())?;
        for reader in [&stdout_from, &stderr_from] {
            // Only our end: the program would be surprised by EAGAIN on its standard output.
            rustix::io::ioctl_fionbio(reader, true).during(Op::Pipe, id)?;
        }
        (
            Some([stdout_from, stderr_from]),
            Streams::Pipes { stdout, stderr },
        )
    };
    let flags = namespace_flags(config.namespaces);
    match raw::fork(flags, group.as_ref().map(AsFd::as_fd)).during(Op::Clone, id)? {
        Forked::Child => {
            let fault = setup::run(bundle, config, streams);
            let _ = rustix::io::write(&report_to, &report::encode(&fault));
            raw::exit(127)
        }
        Forked::Parent(pid) => Ok(Child {
            pid,
            setup,
            output,
            group,
            annotations: config.annotations.at_run_time(),
        }),
    }
}

fn namespace_flags(namespaces: Namespaces) -> u64 {
    let optional = [
        (namespaces.pid, linux::CLONE_NEWPID),
        (namespaces.network, linux::CLONE_NEWNET),
        (namespaces.ipc, linux::CLONE_NEWIPC),
        (namespaces.uts, linux::CLONE_NEWUTS),
        (namespaces.cgroup, linux::CLONE_NEWCGROUP),
    ];
    let wanted = optional.iter().filter(|(wanted, _)| *wanted);
    wanted.fold(u64::from(linux::CLONE_NEWNS), |flags, (_, flag)| {
        flags | u64::from(*flag)
    })
}

impl Child {
    /// Asks its first process to end (SIGTERM).
    pub fn ask_to_end(&self) {
        // A process that has ended already is not signalled, and that is fine.
        let _ = crate::sys::process::signal(self.pid, crate::sys::signal::TERM);
    }

    /// Kills all its processes; without a control group, its first, whose PID namespace goes with it.
    pub fn kill(&self) {
        if self
            .group
            .as_ref()
            .is_none_or(|group| group.kill().is_err())
        {
            let _ = crate::sys::process::signal(self.pid, crate::sys::signal::KILL);
        }
    }
}

/// How a failed set-up is known: by its code, the container and the fault.
pub fn setup_error(id: &Id, fault: Fault) -> Error {
    let code = match fault.op {
        Op::Exec => Code::ContainerExec,
        _ => Code::ContainerSetup,
    };
    let mut error = fault.at(Stage::Containers, code);
    error.subject = Text::new(format_args!("{} for {id}", fault.subject));
    error
}
