//! The first stage: a log, the kernel's filesystems, the console, the command line.
//!
//! The kernel starts `/init` with nothing mounted but the initramfs, and, if the initramfs has a
//! `/dev/console`, with it as standard input, output and error
//! (Documentation/filesystems/ramfs-rootfs-initramfs.rst). Nothing else is certain, so the log
//! comes first.

use core::ffi::CStr;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;

use super::modules::Loaded;
use super::{Machine, failure_policy};
use crate::error::{At, Code, During, Error, Fault, Op, Stage};
use crate::plan::{Plan, PlanError, Refusal, Source};
use crate::sys::buffer::Buffer;
use crate::sys::mount::{Flags, mount_new};
use crate::sys::path::path;
use crate::sys::{console, fs, kmsg, namespace, process, signal};

const DEFAULTS: &str = "/etc/berth/cmdline";
const CMDLINE: &str = "/proc/cmdline";

/// A mount of the first minute.
struct Mount {
    target: &'static str,
    fstype: &'static str,
    flags: Flags,
    data: &'static CStr,
    /// Whether the machine can do without it: a kernel may have been built without cgroups or
    /// pseudo-terminals.
    optional: bool,
}

const GUARDED: Flags = Flags::NOSUID.union(Flags::NODEV).union(Flags::NOEXEC);

/// What is mounted before anything else, in this order. `/dev` is missing here: see [`mount_dev`].
const EARLY: &[Mount] = &[
    Mount {
        target: "/proc",
        fstype: "proc",
        flags: GUARDED,
        data: c"",
        optional: false,
    },
    Mount {
        target: "/sys",
        fstype: "sysfs",
        flags: GUARDED,
        data: c"",
        optional: false,
    },
    Mount {
        target: "/run",
        fstype: "tmpfs",
        flags: Flags::NOSUID.union(Flags::NODEV),
        data: c"mode=0755",
        optional: false,
    },
    Mount {
        target: "/dev/pts",
        fstype: "devpts",
        flags: Flags::NOSUID.union(Flags::NOEXEC),
        data: c"mode=0620,gid=5,ptmxmode=0666",
        optional: true,
    },
    Mount {
        target: "/dev/shm",
        fstype: "tmpfs",
        flags: Flags::NOSUID.union(Flags::NODEV),
        data: c"mode=1777",
        optional: false,
    },
    Mount {
        target: "/sys/fs/cgroup",
        fstype: "cgroup2",
        flags: GUARDED,
        data: c"nsdelegate",
        optional: true,
    },
];

/// The nodes without which programs do not run, where the kernel makes none: name, major, minor,
/// mode (Documentation/admin-guide/devices.txt).
const NODES: &[(&str, u32, u32, u32)] = &[
    ("console", 5, 1, 0o600),
    ("full", 1, 7, 0o666),
    ("kmsg", 1, 11, 0o644),
    ("null", 1, 3, 0o666),
    ("random", 1, 8, 0o666),
    ("tty", 5, 0, 0o666),
    ("urandom", 1, 9, 0o666),
    ("zero", 1, 5, 0o666),
];

/// PID 1, with a log and nothing else.
pub struct Pid1(());

/// The kernel's filesystems are mounted, and the uevent socket is open.
pub struct Early<'m> {
    machine: &'m mut Machine,
}

impl Pid1 {
    /// Makes sure that this process is PID 1 of the machine, and opens the log. `None` if it is
    /// not: it is another process, or the first one of a container, whose mounts and files are not
    /// the machine's. Nothing was touched then.
    #[must_use]
    pub fn claim() -> Option<Self> {
        if !process::is_pid_1() || !namespace::is_first_of_processes() {
            return None;
        }
        failure_policy::note_pid_1();
        signal::ignore_pipes_only();
        console::fill_standard_descriptors();
        kmsg::open_log();
        Some(Self(()))
    }

    /// Mounts the kernel's filesystems and takes the console. What is mounted already stays as it
    /// is.
    ///
    /// # Errors
    /// [`Code::EarlyMount`], [`Code::EventLoop`].
    #[inline(never)]
    pub fn mount_early(self, machine: &mut Machine) -> Result<Early<'_>, Error> {
        if let Err(error) = Self::mount_all(machine) {
            salvage_failure_policy(machine);
            return Err(error);
        }
        Ok(Early { machine })
    }

    fn mount_all(machine: &mut Machine) -> Result<(), Error> {
        machine.devices.has_devtmpfs = mount_dev().at(Code::EarlyMount)?;
        for mount in EARLY {
            if let Err(fault) = mount_one(mount) {
                let error = fault.at(Code::EarlyMount);
                if !mount.optional {
                    return Err(error);
                }
                machine.journal.warn_of(&error);
            }
        }
        kmsg::lift_rate_limit();
        if let Some(console) = console::open_terminal() {
            // A console that cannot be used is no reason not to boot.
            let _ = console::become_standard_descriptors(&console);
        }
        machine.devices.listen().at(Code::EventLoop)
    }
}

/// Reads what the command line says about failures, for a failure that comes before the plan.
fn salvage_failure_policy(machine: &mut Machine) {
    let mut room = Buffer::new();
    // Without /proc nothing is known of it.
    if let Ok(line) = CommandLine::read(CMDLINE, &mut room) {
        // The name of a device that is too long is not what is wrong here.
        let _ = machine.adopt(&Plan::salvage(&[], line));
    }
}

/// devtmpfs has all devices from the start. It is not mounted noexec, as with systemd: programs map
/// `/dev/zero` and SGX enclaves with `PROT_EXEC`. Without it (CONFIG_DEVTMPFS=n) the answer is
/// `false`: the few nodes that programs need are made on a tmpfs, and those of disks when they are
/// found.
fn mount_dev() -> Result<bool, Fault> {
    fs::make_directory("/dev")?;
    if fs::is_mount_point("/dev") {
        return Ok(true);
    }
    let flags = Flags::NOSUID;
    match mount_new("devtmpfs", "devtmpfs", "/dev", flags, c"mode=0755") {
        Err(fault) if fault.errno == Errno::NODEV => {
            mount_new("tmpfs", "tmpfs", "/dev", flags, c"mode=0755")?;
            make_nodes();
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

fn make_nodes() {
    for (name, major, minor, mode) in NODES {
        if let Ok(node) = path(format_args!("/dev/{name}")) {
            let kind = FileType::CharacterDevice;
            // On an empty tmpfs this fails only without CAP_MKNOD, where nothing else would help.
            let _ = mknodat(
                CWD,
                node.as_str(),
                kind,
                Mode::from_raw_mode(*mode),
                makedev(*major, *minor),
            );
        }
    }
}

fn mount_one(mount: &Mount) -> Result<(), Fault> {
    // /sys/fs/cgroup is there already: in sysfs no directory can be made.
    if !fs::is_directory(mount.target) {
        fs::make_directory(mount.target)?;
    }
    if fs::is_mount_point(mount.target) {
        return Ok(());
    }
    let (fstype, target) = (mount.fstype, mount.target);
    mount_new(fstype, fstype, target, mount.flags, mount.data)
}

/// Room for what the plan borrows from: the image's defaults and the kernel's command line, 4 KiB
/// each, which is the most that any architecture's kernel takes (COMMAND_LINE_SIZE).
#[derive(Default)]
pub struct CommandLine {
    defaults: Buffer<{ Self::MAX }>,
    line: Buffer<{ Self::MAX }>,
}

impl CommandLine {
    const MAX: usize = 4096 + 1;

    /// Nothing read yet.
    pub const fn new() -> Self {
        Self {
            defaults: Buffer::new(),
            line: Buffer::new(),
        }
    }

    /// Reads a file into room that it fits into if it is no longer than a kernel's command line.
    fn read<'t>(path: &str, room: &'t mut Buffer<{ Self::MAX }>) -> Result<&'t [u8], Fault> {
        let bytes = room.bytes_mut().during(Op::Read, path)?;
        Ok(fs::read_file(CWD, path, bytes)?.trim_ascii_end())
    }
}

impl<'m> Early<'m> {
    /// Reads what is asked for: the kernel command line over the defaults in the image.
    ///
    /// # Errors
    /// [`Code::CommandLine`], [`Code::UnknownKey`], [`Code::BadValue`]. What the rest of
    /// the line says about failures is kept.
    #[inline(never)]
    pub fn read_plan<'t>(&mut self, text: &'t mut CommandLine) -> Result<Plan<'t>, Error> {
        let defaults = match CommandLine::read(DEFAULTS, &mut text.defaults) {
            Err(fault) if fault.errno == Errno::NOENT => &[],
            Err(fault) => {
                salvage_failure_policy(self.machine);
                return Err(fault.at(Code::CommandLine));
            }
            Ok(defaults) => defaults,
        };
        let line = CommandLine::read(CMDLINE, &mut text.line).at(Code::CommandLine)?;
        let plan = Plan::new(defaults, line).map_err(|error| {
            // The name of a device that is too long is not what is wrong here.
            let _ = self.machine.adopt(&Plan::salvage(defaults, line));
            refusal(&error)
        })?;
        self.machine.adopt(&plan).at(Code::BadValue)?;
        Ok(plan)
    }

    /// Completes the stage and loads the modules that the image lists and `plan` adds.
    ///
    /// # Errors
    /// Those of [`Loaded::load`].
    pub fn load_modules(self, plan: &Plan<'_>) -> Result<Loaded<'m>, Error> {
        if plan.init.is_none() {
            self.machine.journal.events.keep();
        }
        self.machine.journal.complete(
            Stage::Early,
            format_args!("proc, sysfs and devtmpfs are mounted"),
        );
        Loaded::load(self.machine, plan)
    }
}

fn refusal(error: &PlanError<'_>) -> Error {
    let code = match error.refusal {
        Refusal::Text(_) => Code::CommandLine,
        Refusal::Unknown { .. } => Code::UnknownKey,
        Refusal::Value { .. } => Code::BadValue,
    };
    let file = match error.source {
        Source::Defaults => DEFAULTS,
        Source::Cmdline => CMDLINE,
    };
    Error::new(code, Op::Parse, file, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_early_mount_lets_set_user_id_programs_in() {
        for mount in EARLY {
            assert!(mount.flags.contains(Flags::NOSUID), "{}", mount.target);
        }
    }

    #[test]
    fn a_mount_comes_after_the_one_it_lies_in() {
        for (at, mount) in EARLY.iter().enumerate() {
            let inside = |outer: &Mount| mount.target.starts_with(&format!("{}/", outer.target));
            assert!(!EARLY[at..].iter().any(inside), "{}", mount.target);
        }
    }
}
