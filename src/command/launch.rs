//! From a bundle to a container: what `create` and `run` have in common (runtime.md, "Create").

use core::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::{Pid, set_child_subreaper};

use super::delete;
use super::descriptors;
use super::output::replace;
use super::readiness::Readiness;
use super::record::Record;
use super::start::fifo;
use super::state::Directory;
use super::{
    Call, OrReport, Reported, freeze, group, notify, outside, supervised, systemd, terminal,
};
use crate::container::{
    Group, PendingStart, Place, Request, StartEvent, StartFailure, Streams, refusal, setup_error,
    start,
};
use crate::error::{Code, During, Fault, Op};
use crate::parse::arguments::{Opt, Options};
use crate::parse::config::{Config, MAX_SIZE, MOUNTS_SIZE, MountPlace, Ready, RootSwitch};
use crate::parse::mount_options::Propagation;
use crate::sys::buffer::{Buffer, Table};
use crate::sys::path::{Path, path, place_of};
use crate::sys::{fs, namespace, process, socket};
use crate::text::Text;

pub(super) const BUNDLE: Opt = Opt {
    long: "bundle",
    short: Some('b'),
    value: Some("DIR"),
    about: "the directory of the bundle; default: the working directory",
};
pub(super) const PID_FILE: Opt = Opt {
    long: "pid-file",
    short: None,
    value: Some("FILE"),
    about: "write the PID of the first process to this file",
};
pub(super) const CONSOLE_SOCKET: Opt = Opt {
    long: "console-socket",
    short: None,
    value: Some("SOCKET"),
    about: "send the master side of the terminal to this socket",
};
pub(super) const NO_PIVOT: Opt = Opt {
    long: "no-pivot",
    short: None,
    value: None,
    about: "move the root (MS_MOVE) instead of pivot_root(2)",
};
pub(super) const NO_NEW_KEYRING: Opt = Opt {
    long: "no-new-keyring",
    short: None,
    value: None,
    about: "keep the caller's session keyring",
};

pub(super) const KEEP: Opt = Opt {
    long: "keep",
    short: None,
    value: None,
    about: "do not delete the container when its program has ended",
};

/// How long a process that has closed everything may take to end.
pub(super) const END_TIMEOUT: Duration = Duration::from_secs(1);

/// What every way to make a container takes.
pub(super) const OPTIONS: Options = &[
    &BUNDLE,
    &PID_FILE,
    &CONSOLE_SOCKET,
    &descriptors::PRESERVE_FDS,
    &NO_PIVOT,
    &NO_NEW_KEYRING,
];

/// What becomes of a container once it is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StartMode {
    /// It waits for `start`.
    Hold,
    /// Its program runs, and this process goes its own way.
    Detach,
    /// Its program runs, and this process stays with it.
    Stay,
    /// The same for PID 1, which stays with it.
    Supervise,
}

/// A container that was made.
pub(super) struct Launched {
    pub(super) directory: Directory,
    pub(super) record: Record,
    /// Where its terminal comes from, if this process serves that.
    pub(super) terminal: Option<OwnedFd>,
    /// How it is found out that it is ready, if this process does that for PID 1.
    pub(super) readiness: Option<Readiness>,
}

/// The text of a `config.json`, and room for what of it was escaped and for its mounts.
#[derive(Default)]
pub(super) struct ConfigText {
    pub(super) file: Buffer<{ MAX_SIZE + 1 }>,
    pub(super) scratch: Buffer<MAX_SIZE>,
    mounts: Table<MOUNTS_SIZE>,
}

/// A text, and room for what of it was escaped and for its mounts.
type Parts<'t> = (&'t [u8], &'t mut [u8], &'t mut [MountPlace<'t>]);

impl ConfigText {
    /// The first `len` bytes of the text, and the room.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn parts<'t>(&'t mut self, len: usize) -> Result<Parts<'t>, Errno> {
        let file = self.file.bytes().get(..len).unwrap_or_default();
        Ok((file, self.scratch.bytes_mut()?, self.mounts.places()?))
    }
}

/// Makes the container that the operands and options name. It waits for [`super::start::go`].
///
/// # Errors
/// Nothing is left of it then.
pub(super) fn launch(call: &Call<'_>, then: StartMode) -> Result<Launched, Reported> {
    let id = call.id()?;
    call.seal()?;
    let listening = descriptors::listening(call)?;
    let more = descriptors::preserved(call, listening)?;
    let bundle = bundle_of(call).or_report(call, Code::BundleConfig)?;
    let mut text = ConfigText::default();
    let file_path = path(format_args!("{bundle}/config.json"));
    let file_path = file_path
        .during(Op::Open, &bundle)
        .or_report(call, Code::BundleConfig)?;
    let file = fs::open_file(CWD, &file_path)
        .and_then(|file| text.file.fill_from(&file).during(Op::Read, &bundle))
        .or_report(call, Code::BundleConfig)?;
    let len = file.len();
    let (file, scratch, places) = text
        .parts(len)
        .during(Op::Parse, &bundle)
        .or_report(call, Code::BundleConfig)?;
    // The configuration has a mount of it then.
    let notify_source;
    let notify_mount;
    let supervisor = call.journal.supervisor();
    let mut config = Config::parse(file, scratch, places).map_err(|error| {
        let path = if supervisor.is_some() {
            &file_path
        } else {
            &bundle
        };
        call.fail(&refusal(path, &error))
    })?;
    for field in &config.warnings {
        call.journal.warn(format_args!(
            "{id}: {field} is not supported yet, and ignored"
        ));
    }
    if let Some(capabilities) = &config.process.capabilities {
        capabilities.each_warning(&mut |text| call.journal.warn(format_args!("{id}: {text}")));
    }
    if call.given.has(&NO_PIVOT) {
        config.annotations.root_switch = RootSwitch::Move;
    }
    match supervisor {
        Some(supervisor) => {
            if !config.annotations.privileged {
                config.confinement.use_usual_paths();
            }
            if config.process.terminal && !config.annotations.console {
                call.journal.warn(format_args!(
                    "{id}: process.terminal in config.json is ignored: nobody is at a terminal, unless berth.console is true"
                ));
            }
            supervisor.agree(call, &config)?;
        }
        // As with runc. Containers of PID 1's have a peer group of their own as well.
        None => {
            config.rootfs_propagation.get_or_insert(Propagation::Slave);
        }
    }
    config.is_of_user = !namespace::is_machines_root();
    let directory = Directory::create(call, id)?;
    notify_source = notify::offer(call, &directory, &config).inspect_err(|_| directory.remove())?;
    let has_notify = !notify_source.is_empty();
    if has_notify {
        notify_mount = notify::mount(&notify_source);
        config.mounts.add(&notify_mount);
    }
    let made = directory
        .keep_config(file)
        .or_report(call, Code::State)
        .and_then(|()| {
            let count = Text::<24>::new(format_args!("LISTEN_FDS={listening}"));
            // Copied: what sets the container up forgets the caller's variables.
            let names = call.environment.variable("LISTEN_FDNAMES");
            let names = names.map(heapless::String::<4096>::try_from).transpose();
            let names = names.map_err(|_| call.usage("LISTEN_FDNAMES has more than 4096 bytes"))?;
            let named = names.as_deref().unwrap_or_default();
            let all = [count.as_str(), "LISTEN_PID=1", named, notify::VARIABLE];
            let is_given = [
                listening > 0,
                listening > 0,
                listening > 0 && names.is_some(),
                has_notify,
            ];
            let given = all.into_iter().zip(is_given);
            let variables = given.filter_map(|(variable, is_given)| is_given.then_some(variable));
            let variables: heapless::Vec<&str, 4> = variables.collect();
            let launch = Launch {
                config: &config,
                more,
                variables: &variables,
                then,
            };
            make(call, &directory, bundle, &launch)
        });
    let made = made.and_then(|(record, terminal)| {
        let ready = match supervisor {
            Some(_) => config.annotations.ready,
            None => Ready::Started,
        };
        let readiness = Readiness::open(call, &directory, &record, ready)
            .inspect_err(|_| undo(call, &directory, &record))?;
        Ok((record, terminal, readiness))
    });
    match made {
        Ok((record, terminal, readiness)) => Ok(Launched {
            directory,
            record,
            terminal,
            readiness,
        }),
        Err(error) => {
            directory.remove();
            Err(error)
        }
    }
}

/// What is to be made, and with what.
struct Launch<'l> {
    config: &'l Config<'l>,
    /// Descriptors that are left open from 3 on.
    more: u32,
    /// Variables besides those of the bundle.
    variables: &'l [&'l str],
    then: StartMode,
}

#[inline(never)]
fn make(
    call: &Call<'_>,
    directory: &Directory,
    bundle: Path,
    launch: &Launch<'_>,
) -> Result<(Record, Option<OwnedFd>), Reported> {
    let Launch {
        config, more, then, ..
    } = *launch;
    let id = call.id()?;
    let (streams, waiting) = match then {
        StartMode::Supervise => (supervised::streams(call, config)?, None),
        _ => streams(call, config, more, then)?,
    };
    let is_of_systemd = systemd::is_asked(call)?;
    let planned = match is_of_systemd {
        true => Path::new(),
        false => group::planned(id, config).or_report(call, Code::ContainerSetup)?,
    };
    let is_transient =
        then == StartMode::Supervise || then == StartMode::Stay && !call.given.has(&KEEP);
    // From here on, whatever happens to this process, what it has made can be found.
    let image = config.annotations.image.unwrap_or(config.root_path);
    let mut record = Record::new(bundle, image, planned, is_transient);
    directory.write(&record).or_report(call, Code::State)?;
    freeze::refuse_if_frozen(call, id)?;
    let scope = match is_of_systemd {
        true => Some(systemd::start(call, id, config)?),
        false => None,
    };
    let own = match &scope {
        Some(_) => None,
        None => group::make(call, id, config).or_report(call, Code::ContainerSetup)?,
    };
    let group = scope.as_ref().map(|scope| &scope.group).or(own.as_ref());
    record.cgroup = match group {
        Some(group) => {
            // Nothing in it is ours if another container has it.
            if let Some(supervisor) = call.journal.supervisor() {
                supervisor.give_group(call, group)?;
            }
            group.set_owner(directory.owner());
            place_of(group).or_report(call, Code::ContainerSetup)?
        }
        None => Path::new(),
    };
    if let Some(scope) = &scope {
        record.unit = scope.unit.clone();
        // Until it has another process, it ends with this one.
        directory.write(&record).or_report(call, Code::State)?;
    }
    match begin(call, directory, &mut record, launch, group, streams) {
        Ok(()) => Ok((record, waiting)),
        Err(error) => {
            undo(call, directory, &record);
            Err(error)
        }
    }
}

/// Starts its first process, and waits until that holds and can be found.
#[inline(never)]
fn begin(
    call: &Call<'_>,
    directory: &Directory,
    record: &mut Record,
    launch: &Launch<'_>,
    group: Option<&Group>,
    streams: Streams,
) -> Result<(), Reported> {
    let id = call.id()?;
    let exec_fifo = fifo(directory).or_report(call, Code::State)?;
    adopt_orphans(call)?;
    let mut pending = start(Request {
        id,
        bundle: &record.bundle,
        config: launch.config,
        place: Place::New,
        group,
        streams,
        exec_fifo: Some(exec_fifo),
        variables: launch.variables,
        keeps_keyring: call.given.has(&NO_NEW_KEYRING),
        outside: outside::of(launch.config),
        environment: Some(call.environment),
    })
    .or_report(call, Code::ContainerSetup)?;
    let born = await_start(&mut pending).map_err(|why| call.fail(&setup_error(id, why)));
    record.made(pending.pid().map_or(0, number_of));
    born?;
    if let Some(supervisor) = call.journal.supervisor() {
        supervisor.tell_first(record.pid, false);
    }
    write_pid(call, record.pid)?;
    directory.write(record).or_report(call, Code::State)?;
    pending.confirm_recorded();
    Ok(())
}

/// Ends what was begun, but for the directory. That it failed is what is told; what fails besides
/// is not.
pub(super) fn undo(call: &Call<'_>, directory: &Directory, record: &Record) {
    let _ = delete::kill(record, &directory.id);
    let _ = delete::clear(call, directory, record);
}

/// Has what a process leaves behind become ours, be it a builder's or the container's.
///
/// # Errors
/// Those of prctl(2).
pub(super) fn adopt_orphans(call: &Call<'_>) -> Result<(), Reported> {
    set_child_subreaper(Some(Pid::INIT))
        .during(Op::Wait, "the container's processes")
        .or_report(call, Code::ContainerSetup)
}

/// The number of a process.
pub(super) fn number_of(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// Waits until the container holds or its program runs.
///
/// # Errors
/// Why there will be no program.
pub(super) fn await_start(pending: &mut PendingStart) -> Result<(), StartFailure> {
    let event = pending.wait().during(Op::Wait, "the container");
    let event = event.map_err(StartFailure::Reported)?;
    if let Some(builder) = pending.builder {
        process::wait_for(builder);
    }
    match event {
        Some(StartEvent::Failed(fault)) => Err(StartFailure::Reported(fault)),
        // It has nothing more to do than to end.
        Some(StartEvent::Died) => {
            Err(StartFailure::Died(pending.pid().and_then(|pid| {
                process::wait_no_longer_than(pid, Some(END_TIMEOUT)).ok()
            })))
        }
        _ => Ok(()),
    }
}

/// Where the program's descriptors lead, and who its terminal will come to, if that is us.
///
/// # Errors
/// [`Code::Usage`] for a terminal that nobody would serve, [`Code::Terminal`].
pub(super) fn streams(
    call: &Call<'_>,
    config: &Config<'_>,
    more: u32,
    then: StartMode,
) -> Result<(Streams, Option<OwnedFd>), Reported> {
    let path = call.given.value(&CONSOLE_SOCKET);
    match (config.process.terminal, path, then) {
        (false, None, _) => Ok((Streams::Inherited { more }, None)),
        (true, None, StartMode::Stay) => {
            let (ours, theirs) = terminal::pair().or_report(call, Code::Terminal)?;
            Ok((Streams::Terminal(theirs), Some(ours)))
        }
        (true, Some(path), StartMode::Hold | StartMode::Detach) => {
            let connected = socket::connect(path).during(Op::Socket, path);
            let connected = connected.or_report(call, Code::Terminal)?;
            Ok((Streams::Terminal(connected), None))
        }
        (true, None, _) => {
            Err(call.usage("process.terminal is true, and --console-socket is missing"))
        }
        (false, Some(_), _) => {
            Err(call.usage("--console-socket is given, and process.terminal is not true"))
        }
        (true, Some(_), StartMode::Stay | StartMode::Supervise) => Err(call.usage(
            "--console-socket is given, and the program stays in the foreground: add --detach",
        )),
    }
}

/// Writes the number of a process where `--pid-file` says.
///
/// # Errors
/// [`Code::Output`].
pub(super) fn write_pid(call: &Call<'_>, pid: u32) -> Result<(), Reported> {
    let Some(file) = call.given.value(&PID_FILE) else {
        return Ok(());
    };
    let mut text = heapless::String::<16>::new();
    // A number has at most 10 digits.
    let _ = core::fmt::Write::write_fmt(&mut text, format_args!("{pid}"));
    replace(CWD, file, 0o644, text.as_bytes()).or_report(call, Code::Output)
}

/// The bundle as an absolute path without links, as the state has it.
fn bundle_of(call: &Call<'_>) -> Result<Path, Fault> {
    let given = call.given.value(&BUNDLE).unwrap_or(".");
    let directory = fs::open_directory(CWD, given)?;
    place_of(&directory)
}
