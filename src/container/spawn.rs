//! From a bundle to a running process, as PID 1 sees it.

use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::bundle::Id;
use super::cgroup::{Group, Groups};
use super::control::Birth;
use super::hooks;
use super::start::{Place, Request, Streams, start};
use super::state::{State, Status};
use crate::cause::Cause;
use crate::error::{At, Code, During, Error, Fault, Op, SUBJECT_MAX, Stage};
use crate::parse::config::{Annotations, Config, ConfigError, HookKind, MAX_SIZE, MOUNTS_SIZE};
use crate::sys::buffer::{Buffer, Table};
use crate::sys::path::path;
use crate::sys::{console, fs, kmsg, process};
use crate::text::Text;

/// A container's first process, and what leads to it.
pub struct Child {
    /// How it comes to be.
    pub birth: Birth,
    /// What the program prints, unless it has the console. Non-blocking.
    pub output: Option<[OwnedFd; 2]>,
    /// The control group, where the kernel has them.
    pub group: Option<Group>,
    /// What the bundle says about stopping.
    pub annotations: Annotations<'static>,
    /// The `config.json`, kept where it has hooks for later: the file may be another one by then.
    later: Option<Later>,
}

struct Later {
    text: Buffer<{ MAX_SIZE + 1 }>,
    len: usize,
    moments: [bool; LATER.len()],
}

/// The moments of hooks that come when the container runs.
const LATER: [HookKind; 2] = [HookKind::Poststart, HookKind::Poststop];

/// Whether a container is started now that asks for this; or why not.
type Gate<'g> = &'g mut dyn for<'a> FnMut(&Annotations<'a>) -> Result<bool, Text<SUBJECT_MAX>>;

/// Reads the bundle of the container `id` in `directory` and starts it, if `gate` lets it. What is worth mentioning goes to
/// `warn`.
///
/// The process exists when this returns, but its set-up may still fail: see [`Child::birth`].
///
/// # Errors
/// [`Code::BundleConfig`], [`Code::BundleRefused`], [`Code::ContainerSetup`].
#[inline(never)]
pub fn spawn(
    directory: &str,
    id: &Id,
    groups: Option<&Groups>,
    gate: Gate<'_>,
    mut warn: impl FnMut(core::fmt::Arguments<'_>),
) -> Result<Option<Child>, Error> {
    let bundle = path(format_args!("{directory}/{id}"))
        .during(Op::Open, id)
        .at(Code::BundleConfig)?;
    let file_path = path(format_args!("{bundle}/config.json"))
        .during(Op::Open, id)
        .at(Code::BundleConfig)?;
    let mut file = Buffer::<{ MAX_SIZE + 1 }>::new();
    let text = fs::open_file(CWD, &file_path)
        .and_then(|opened| file.fill_from(&opened).during(Op::Read, &file_path))
        .at(Code::BundleConfig)?;
    let len = text.len();
    let mut scratch = Buffer::<MAX_SIZE>::new();
    let scratch = scratch
        .bytes_mut()
        .during(Op::Parse, &file_path)
        .at(Code::BundleConfig)?;
    let mut mounts = Table::<MOUNTS_SIZE>::new();
    let places = mounts
        .places()
        .during(Op::Parse, &file_path)
        .at(Code::BundleConfig)?;
    let started = {
        let mut config = Config::parse_for_init(text, scratch, places)
            .map_err(|error| refusal(&file_path, &error))?;
        if !config.annotations.privileged {
            config.confinement.use_usual_paths();
        }
        let is_let = gate(&config.annotations)
            .map_err(|why| Error::new(Code::BundleConfig, Op::Parse, &file_path, why))?;
        match is_let {
            true => Some(start_config(&config, &bundle, id, groups, &mut warn)?),
            false => None,
        }
    };
    let Some((mut child, moments)) = started else {
        return Ok(None);
    };
    if moments.contains(&true) {
        child.later = Some(Later {
            text: file,
            len,
            moments,
        });
    }
    Ok(Some(child))
}

/// What is said of a container that is `berth.privileged`.
pub const PRIVILEGED: &str = "PRIVILEGED (berth.privileged): ALL CAPABILITIES, ALL DEVICES, NO PATH MASKED OR READ-ONLY, BUT FOR WHAT ITS OWN FIELDS SAY";

#[inline(never)]
fn start_config(
    config: &Config<'_>,
    bundle: &str,
    id: &Id,
    groups: Option<&Groups>,
    warn: &mut dyn FnMut(core::fmt::Arguments<'_>),
) -> Result<(Child, [bool; LATER.len()]), Error> {
    for field in config.warnings.iter() {
        warn(format_args!(
            "{id}: {field} in config.json is not supported yet, and ignored"
        ));
    }
    if let Some(capabilities) = &config.process.capabilities {
        capabilities.each_warning(&mut |text| warn(format_args!("{id}: {text}")));
    }
    if config.annotations.privileged {
        kmsg::notice(Stage::Containers, format_args!("{id}: {PRIVILEGED}"));
    }
    if config.process.terminal && !config.annotations.console {
        warn(format_args!(
            "{id}: process.terminal in config.json is ignored: nobody is at a terminal, unless berth.console is true"
        ));
    }
    let moments = LATER.map(|moment| config.hooks.has(&[moment]));
    start_with_output(bundle, id, config, groups)
        .map(|child| (child, moments))
        .at(Code::ContainerSetup)
}

/// Why a `config.json` is refused: `path` is its own, or its bundle's.
#[must_use]
pub fn refusal(path: &str, error: &ConfigError<'_>) -> Error {
    let code = match error {
        ConfigError::Unsupported(_)
        | ConfigError::UnsupportedValue { .. }
        | ConfigError::Refused { .. }
        | ConfigError::Impossible { .. } => Code::BundleRefused,
        _ => Code::BundleConfig,
    };
    Error::new(code, Op::Parse, path, error)
}

#[inline(never)]
fn start_with_output(
    bundle: &str,
    id: &Id,
    config: &Config<'_>,
    groups: Option<&Groups>,
) -> Result<Child, Fault> {
    let group = group(id, config, groups)?;
    match begin(bundle, id, config, group.as_ref()) {
        Ok((birth, output)) => Ok(Child {
            birth,
            output,
            group,
            annotations: config.annotations.at_run_time(),
            later: None,
        }),
        Err(fault) => {
            if let Some(group) = group {
                group.discard();
            }
            Err(fault)
        }
    }
}

/// The container's control group, where the kernel has them; with the limits that the bundle asks for.
fn group(id: &Id, config: &Config<'_>, groups: Option<&Groups>) -> Result<Option<Group>, Fault> {
    let (place, resources) = (config.cgroups_path, &config.resources);
    let asked = match groups {
        Some(groups) => {
            return groups
                .create(id, place, resources, Group::limit_processes)
                .map(Some);
        }
        None if !resources.is_empty() => "linux.resources",
        None if place.is_some() => "linux.cgroupsPath",
        None => return Ok(None),
    };
    Err(Errno::OPNOTSUPP).during(
        Op::Configure,
        format_args!("{asked}, which needs control groups of version 2"),
    )
}

fn begin(
    bundle: &str,
    id: &Id,
    config: &Config<'_>,
    group: Option<&Group>,
) -> Result<(Birth, Option<[OwnedFd; 2]>), Fault> {
    let (output, streams) = if config.annotations.console {
        let terminal = console::open_terminal()
            .ok_or(Errno::NODEV)
            .during(Op::Open, console::PATH)?;
        (None, Streams::Console(terminal))
    } else {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).during(Op::Pipe, id);
        let (stdout_from, stdout) = pipe()?;
        let (stderr_from, stderr) = pipe()?;
        for reader in [&stdout_from, &stderr_from] {
            // Only our end: the program would be surprised by EAGAIN on its standard output.
            rustix::io::ioctl_fionbio(reader, true).during(Op::Pipe, id)?;
        }
        (
            Some([stdout_from, stderr_from]),
            Streams::Pipes { stdout, stderr },
        )
    };
    let birth = start(Request {
        id,
        bundle,
        config,
        place: Place::New,
        group,
        streams,
        hold: None,
        variables: &[],
        keeps_keyring: false,
        outside: None,
        environment: None,
    })?;
    Ok((birth, output))
}

impl Child {
    /// Asks its first process to end (SIGTERM), and the builder, if it is still there.
    pub fn ask_to_end(&self) {
        self.signal(crate::sys::signal::TERM);
    }

    fn signal(&self, signal: u32) {
        for pid in [self.birth.pid(), self.birth.builder].into_iter().flatten() {
            // A process that has ended already is not signalled, and that is fine.
            let _ = crate::sys::process::signal(pid, signal);
        }
    }

    /// Starts a process that runs the hooks of `moment`, if there are any. `directory` is that of the bundles.
    ///
    /// # Errors
    /// Those of clone3(2).
    pub fn run_hooks(
        &self,
        moment: HookKind,
        status: Status,
        directory: &str,
        id: &str,
    ) -> Result<Option<Pid>, Fault> {
        let is_it = |(kind, has): (HookKind, bool)| has && kind == moment;
        let Some(later) = &self.later else {
            return Ok(None);
        };
        if !LATER.into_iter().zip(later.moments).any(is_it) {
            return Ok(None);
        }
        let text = later.text.bytes().get(..later.len).unwrap_or_default();
        let bundle = path(format_args!("{directory}/{id}")).during(Op::Open, id)?;
        let state = State {
            id,
            status,
            pid: self.birth.pid().filter(|_| status != Status::Stopped),
            bundle: &bundle,
            annotations: None,
        };
        hooks::run_beside(text, moment, &state).map(Some)
    }

    /// Kills all that was made of it so far, and what makes it.
    pub fn abandon(&self) {
        self.signal(crate::sys::signal::KILL);
        self.kill();
    }

    /// Kills all its processes; without a control group, its first, whose PID namespace goes with it.
    pub fn kill(&self) {
        if self
            .group
            .as_ref()
            .is_none_or(|group| group.kill().is_err())
        {
            self.signal(crate::sys::signal::KILL);
        }
    }
}

/// Why there is no program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why {
    /// The set-up said so.
    Told(Fault),
    /// It said nothing, and ended like this, if that is known.
    Ended(Option<process::Status>),
}

/// How a failed set-up is known: by its code, the container and the fault, if it could tell it.
pub fn setup_error(id: &str, why: Why) -> Error {
    let fault = match why {
        Why::Told(fault) => fault,
        Why::Ended(status) => {
            let mut text = Text::<SUBJECT_MAX>::new(
                "the process ended before that, and could not say why: it was killed, or its own linux.seccomp keeps it from writing",
            );
            if let Some(status) = status {
                text.push(format_args!("; it {status}"));
            }
            return Error::new(
                Code::ContainerSetup,
                Op::Exec,
                format_args!("the program of {id}"),
                text.as_str(),
            );
        }
    };
    let code = match fault.op {
        Op::Exec => Code::ContainerExec,
        _ => Code::ContainerSetup,
    };
    let mut error = fault.at(code);
    error.subject = Text::new(format_args!("{} for {id}", fault.subject));
    if (fault.cause, fault.errno) == (Cause::NotInPath, Errno::NOENT) {
        // Engines look for these words.
        error.detail = Text::new("executable file not found in $PATH");
    }
    error
}
