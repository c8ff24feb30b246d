//! Control groups that systemd makes (`--systemd-cgroup`): a container is a transient scope of its
//! (systemd.scope(5), "Control Group APIs and Delegation").
//!
//! # How the first process comes to be in it
//!
//! systemd makes a scope for processes that there are, and the first process is to be born in its
//! group. So one that does nothing else is put into the scope in its place, holds it, and ends when
//! the first process is there. What is below a scope's group is its user's (`Delegate=yes`), and
//! the container has a group `container` there, as crun has it: systemd sets the files of the
//! scope's own group as it likes, and never looks into those below. `run.oci.systemd.subgroup`
//! gives that group another name, or none.
//!
//! # Limits
//!
//! They are in force twice: as properties of the unit, from which systemd sets its group's files
//! anew whenever it likes, and as files of the container's own group, which has also those that
//! systemd has no properties for, and where the container sees them.
//!
//! Devices are in force once: by the program that berth attaches to the container's group. systemd
//! has no say in them, so that nothing is to be told to it as `DevicePolicy` and `DeviceAllow`: on
//! a hierarchy of version 2 it attaches programs of its own and removes no others. They are asked
//! beside this one if annotations want them.
//!
//! # Whom to ask
//!
//! Root of the machine asks the system's manager, everybody else the own one, and so does root of a
//! user namespace.

mod bus;
mod properties;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use self::bus::{Bus, Failed};
use super::{CGROUP_MANAGER, Call, OrReport, Reported, SYSTEMD_CGROUP};
use crate::cause::Cause;
use crate::container::Group;
use crate::error::{At, Code, During, Error, Fault, Op};
use crate::parse::config::{CgroupsPath, Config, Resources};
use crate::parse::dbus::variant;
use crate::parse::dbus::write::Writer;
use crate::parse::json::{self, Node};
use crate::sys::fs;
use crate::sys::path::{Path, path};
use crate::sys::process::wait_for;
use crate::sys::process::{self, Forked};
use crate::text::split_last;

/// The name of a unit.
pub(super) type Unit = Path;

/// Bytes that the value of an annotation has at most.
const VALUE_MAX: usize = 1024;

/// What says how the group below the scope's is called.
const SUBGROUP: &str = "run.oci.systemd.subgroup";

/// How that is called otherwise.
const DEFAULT_SUBGROUP: &str = "container";

/// Where systemd makes it known that it runs (sd_booted(3)).
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
const SYSTEM_MANAGER: &str = "unix:path=/run/systemd/private";

/// Whether systemd is to make the control groups.
///
/// # Errors
/// [`Code::Usage`] for a manager that there is not.
pub(super) fn is_asked(call: &Call<'_>) -> Result<bool, Reported> {
    let is_asked = call.given.has(&SYSTEMD_CGROUP);
    match call.given.value(&CGROUP_MANAGER) {
        None => Ok(is_asked),
        Some("systemd") => Ok(true),
        Some("cgroupfs") if !is_asked => Ok(false),
        Some(_) => Err(call.usage(
            "--cgroup-manager is systemd or cgroupfs, and --systemd-cgroup the same as the first",
        )),
    }
}

/// A scope with the container's group in it.
pub(super) struct Scope {
    pub(super) unit: Unit,
    pub(super) group: Group,
    /// To be kept until there is another process in the group.
    _holder: Holder,
}

/// A process that is in the scope until this is dropped, or this process ends in whatever way.
struct Holder {
    pid: Pid,
    end: Option<OwnedFd>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.end.take());
        wait_for(self.pid);
    }
}

impl Holder {
    fn start() -> Result<Self, Fault> {
        const SUBJECT: &str = "a process in a scope of systemd";
        let (from, end) = pipe_with(PipeFlags::CLOEXEC).during(Op::Pipe, SUBJECT)?;
        match process::fork(0, None).during(Op::Clone, SUBJECT)? {
            Forked::Child => {
                // Locks are not for it, nor what another process waits for the end of. Nothing is
                // ever written: it ends when the other side lets go.
                process::stay_until_closed(from.as_fd())
            }
            Forked::Parent(pid) => Ok(Self {
                pid,
                end: Some(end),
            }),
        }
    }
}

/// Has systemd make the scope of a container, with its limits, and makes the container's group in
/// it.
///
/// # Errors
/// [`Code::ContainerSetup`]. There is no scope then.
#[inline(never)]
pub(super) fn start(call: &Call<'_>, id: &str, config: &Config<'_>) -> Result<Scope, Reported> {
    let (slice, unit) = names(call, id, config)?;
    let holder = Holder::start().or_report(call, Code::ContainerSetup)?;
    let pid = holder.pid.as_raw_nonzero().get().unsigned_abs();
    let mut wrong = None;
    let mut body = |writer: &mut Writer<'_>| {
        writer.string(&unit);
        writer.string("fail");
        writer.array(8, &mut |writer| {
            wrong = annotated(writer, config).err();
            writer.property("Description", "s", &mut |writer| {
                writer.chars(&mut "berth container ".chars().chain(id.chars()));
            });
            writer.property("Slice", "s", &mut |writer| writer.string(&slice));
            writer.property("PIDs", "au", &mut |writer| {
                writer.array(4, &mut |writer| writer.u32(pid));
            });
            for (name, is_on) in SWITCHES {
                writer.property(name, "b", &mut |writer| writer.boolean(is_on));
            }
            properties::write(writer, &config.resources);
        });
        // Other units beside it: none.
        writer.array(8, &mut |_| {});
    };
    let started = connect(call).and_then(|mut bus| {
        let mut start = |bus: &mut Bus| {
            let job = bus.ask("StartTransientUnit", "ssa(sv)a(sa(sv))", &mut body, &unit)?;
            bus.wait_for(&job, &unit)
        };
        let Err(failed) = start(&mut bus) else {
            return Ok(());
        };
        // One of that name may have failed before, and be remembered for that.
        match bus.ask(
            "ResetFailedUnit",
            "s",
            &mut |writer| writer.string(&unit),
            &unit,
        ) {
            Ok(_) => start(&mut bus),
            Err(_) => Err(failed),
        }
    });
    if let Some(field) = wrong {
        let field = format_args!("annotations.{field}");
        let detail = "its name is letters, and its value a boolean, a number, a string or a list of them as GVariant has it: true, uint64 5, 'text', ['a', 'b']";
        return Err(call.found(Code::BundleConfig, Op::Parse, &field, &detail));
    }
    started.map_err(|failed| tell(call, Code::ContainerSetup, Op::Create, &unit, &failed))?;
    let subgroup = annotation(config, SUBGROUP);
    let subgroup = subgroup.as_deref().unwrap_or(DEFAULT_SUBGROUP);
    let group = scope_of(pid, &unit)
        .and_then(|scope| Group::delegated(&scope, subgroup, holder.pid, &config.resources));
    match group {
        Ok(group) => Ok(Scope {
            unit,
            group,
            _holder: holder,
        }),
        Err(fault) => {
            let told = call.told(&fault, Code::ContainerSetup);
            drop(holder);
            stop(call, &unit);
            Err(told)
        }
    }
}

/// `DefaultDependencies`: such a unit would go when the machine begins to end, before those that
/// stop containers in order.
const SWITCHES: [(&str, bool); 6] = [
    ("DefaultDependencies", false),
    ("Delegate", true),
    ("CPUAccounting", true),
    ("MemoryAccounting", true),
    ("IOAccounting", true),
    ("TasksAccounting", true),
];

/// Stops a scope, and has systemd forget it. That this fails is told as a warning: a scope goes
/// with its last process.
#[inline(never)]
pub(super) fn stop(call: &Call<'_>, unit: &str) {
    let stopped = connect(call).and_then(|mut bus| {
        let mut body = |writer: &mut Writer<'_>| {
            writer.string(unit);
            writer.string("replace");
        };
        let stopped = bus.ask("StopUnit", "ss", &mut body, unit);
        let stopped = stopped.and_then(|job| bus.wait_for(&job, unit));
        // Only one that has failed is still there.
        let _ = bus.ask(
            "ResetFailedUnit",
            "s",
            &mut |writer| writer.string(unit),
            unit,
        );
        stopped
    });
    match stopped {
        Ok(()) => {}
        Err(failed) if failed.cause == Cause::NoSuchUnit => {}
        Err(failed) => call
            .journal
            .warn(format_args!("{unit} is not stopped: {failed}")),
    }
}

/// Changes the limits of a scope.
///
/// # Errors
/// [`Code::Control`].
#[inline(never)]
pub(super) fn set(call: &Call<'_>, unit: &str, resources: &Resources<'_>) -> Result<(), Reported> {
    let mut body = |writer: &mut Writer<'_>| {
        writer.string(unit);
        // Until the unit ends.
        writer.boolean(true);
        writer.array(8, &mut |writer| properties::write(writer, resources));
    };
    connect(call)
        .and_then(|mut bus| bus.ask("SetUnitProperties", "sba(sv)", &mut body, unit))
        .map(drop)
        .map_err(|failed| tell(call, Code::Control, Op::Configure, unit, &failed))
}

#[cold]
#[inline(never)]
fn tell(call: &Call<'_>, code: Code, op: Op, unit: &str, failed: &Failed) -> Reported {
    let subject = format_args!("{unit} by systemd");
    let mut error = Error::new(code, op, subject, failed.detail);
    (error.errno, error.cause) = (failed.errno, failed.cause);
    call.fail(&error)
}

/// A connection to the manager that makes groups for this user.
fn connect(call: &Call<'_>) -> Result<Bus, Failed> {
    let of = |name| call.environment.value(name);
    if is_root_of_the_machine() {
        let bus = of("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or(SYSTEM_BUS);
        return Bus::connect(&[(bus, false), (SYSTEM_MANAGER, true)]);
    }
    let places = of("XDG_RUNTIME_DIR").map(|directory| {
        ["bus", "systemd/private"].map(|name| path(format_args!("unix:path={directory}/{name}")))
    });
    let mut addresses = heapless::Vec::<(&str, bool), 3>::new();
    if let Some(bus) = of("DBUS_SESSION_BUS_ADDRESS") {
        let _ = addresses.push((bus, false));
    }
    if let Some([Ok(bus), Ok(manager)]) = &places {
        let _ = addresses.push((bus, false));
        let _ = addresses.push((manager, true));
    }
    Bus::connect(&addresses)
}

/// Whether this is root, and not of a user namespace: which has the number 0 too.
fn is_root_of_the_machine() -> bool {
    let mut buffer = [0; 128];
    let map = fs::read_file(CWD, "/proc/self/uid_map", &mut buffer).unwrap_or_default();
    let mut words = map
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let is_whole = words.by_ref().eq([&b"0"[..], b"0", b"4294967295"]);
    is_whole && rustix::process::geteuid().is_root()
}

/// The slice and the scope that a configuration asks for.
fn names(call: &Call<'_>, id: &str, config: &Config<'_>) -> Result<(Path, Unit), Reported> {
    let of_user = match is_root_of_the_machine() {
        true => "system.slice",
        false => "user.slice",
    };
    let (slice, unit) = match config.cgroups_path {
        None => (of_user, path(format_args!("berth-{id}.scope"))),
        Some(CgroupsPath::Unit {
            slice,
            prefix,
            name,
        }) => {
            let slice = if slice.is_empty() { of_user } else { slice };
            (slice, path(format_args!("{prefix}-{name}.scope")))
        }
        Some(CgroupsPath::Path { names, .. }) => {
            let detail = format_args!(
                "linux.cgroupsPath is {names}, and --systemd-cgroup takes slice:prefix:name"
            );
            return Err(call.found(Code::BundleConfig, Op::Parse, &id, &detail));
        }
    };
    let slice = path(format_args!("{slice}"));
    slice
        .and_then(|slice| Ok((slice, unit?)))
        .during(Op::Parse, "linux.cgroupsPath")
        .or_report(call, Code::BundleConfig)
}

/// Writes the properties that annotations ask for.
///
/// # Errors
/// The annotation that asks for none.
fn annotated<'a>(writer: &mut Writer<'_>, config: &Config<'a>) -> Result<(), json::Text<'a>> {
    let mut result = Ok(());
    each_annotation(config, &mut |key, value| {
        let Some(name) = key.decode::<VALUE_MAX>() else {
            return;
        };
        let Some(name) = name.strip_prefix(variant::PREFIX) else {
            return;
        };
        let value = value.decode::<VALUE_MAX>();
        let written = value.and_then(|value| variant::write(writer, name, &value));
        if written.is_none() {
            result = Err(key);
        }
    });
    result
}

/// The value of an annotation.
fn annotation(config: &Config<'_>, name: &str) -> Option<heapless::String<VALUE_MAX>> {
    let mut found = None;
    each_annotation(config, &mut |key, value| {
        if key.is(name) {
            found = value.decode();
        }
    });
    found
}

fn each_annotation<'a>(config: &Config<'a>, see: &mut dyn FnMut(json::Text<'a>, json::Text<'a>)) {
    let annotations = config.all_annotations.map(str::as_bytes);
    let annotations = annotations.and_then(|text| json::check(text).ok());
    let Some(Node::Object(members)) = annotations.map(|annotations| annotations.node()) else {
        return;
    };
    for (key, value) in members {
        if let Node::String(value) = value.node() {
            see(key, value);
        }
    }
}

/// The group of the scope, below the root of the hierarchy: where systemd has put the process.
fn scope_of(pid: u32, unit: &str) -> Result<Path, Fault> {
    let file = path(format_args!("/proc/{pid}/cgroup")).during(Op::Open, unit)?;
    let mut buffer = [0; 2048];
    let groups = fs::read_file(CWD, &file, &mut buffer)?;
    let groups = core::str::from_utf8(groups).unwrap_or_default();
    let mut lines = groups.lines();
    let group = lines.find_map(|line| line.strip_prefix("0::/"));
    let is_its = |group: &&str| {
        let name = split_last(group, b'/').map_or(*group, |(_, name)| name);
        name == unit && !group.starts_with("../")
    };
    match group.filter(is_its) {
        Some(group) => path(format_args!("{group}")).during(Op::Open, unit),
        None => Err(Errno::OPNOTSUPP).during(
            Op::Open,
            format_args!("the group of {unit} by systemd, in a hierarchy of version 2 that is to be seen here"),
        )
        .because(Cause::Systemd),
    }
}
