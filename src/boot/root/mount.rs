//! Mounting the root filesystem at [`SYSROOT`].
//!
//! It is made with fsopen(2), fsconfig(2) and fsmount(2), which say which option they refuse. Why
//! is in the messages of the descriptor, or, for filesystems that were not converted, in the
//! kernel's log. `rootflags=` is split as mount(8) does: words that every mount has, and the
//! filesystem's own.
//!
//! A kernel without these calls gets mount(2).
//!
//! # Read-only
//!
//! `ro` and `rw` of the command line count before those in `rootflags=`. A device that cannot be
//! written is mounted read-only with a warning, unless `rw` was given.

use core::ffi::CStr;
use core::fmt::Write as _;

use linux_raw_sys::general::MS_RDONLY;
use rustix::fd::AsFd;
use rustix::fs::{CWD, access};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::device::Device;
use super::{Machine, SYSROOT, btrfs, fsck, overlay};
use crate::boot::journal::Journal;
use crate::cause::{Cause, of_filesystem};
use crate::error::{At, Code, During, Error, Fault, Op, Stage};
use crate::parse::mount_options::RootOptions;
use crate::parse::superblock::State;
use crate::plan::{Access, Plan};
use crate::sys::mount::{Detached, Flags, attributes_to_set, filesystem_flags, mount_new};
use crate::sys::{fs, kmsg};

/// The most bytes of options for mount(2).
const DATA_MAX: usize = 1024;

/// What lies at [`SYSROOT`].
pub(super) struct Mounted<'s> {
    pub(super) fstype: &'s str,
    pub(super) is_read_only: bool,
}

impl Device {
    /// Tries the types in question, at the directory `at`; the one that was mounted.
    pub(super) fn mount<'s>(
        &self,
        machine: &mut Machine,
        plan: &Plan<'s>,
        at: &str,
    ) -> Result<Mounted<'s>, Error> {
        self.check(machine, plan)?;
        btrfs::register_all(machine, plan, self)?;
        if plan.rootfstype.is_empty() {
            let fstype = self.fstype(format_args!(""))?;
            let result = mount(machine, plan, &self.node, fstype, at);
            // Its other driver, which Linux 7.1 brought.
            let has_other = fstype == "ntfs3";
            return match result {
                Err(error) if has_other && error.code == Code::RootNoDriver => {
                    mount(machine, plan, &self.node, "ntfs", at).or(Err(error))
                }
                result => result,
            };
        }
        let mut types = plan.rootfstype.iter();
        // A list that was given has at least one item.
        let mut result = mount(
            machine,
            plan,
            &self.node,
            types.next().unwrap_or_default(),
            at,
        );
        for fstype in types {
            if result.is_ok() {
                break;
            }
            result = mount(machine, plan, &self.node, fstype, at);
        }
        result
    }
}

impl Device {
    /// Has it checked, if that was asked for, or else warns if it should be.
    ///
    /// # Errors
    /// [`Code::RootCheck`].
    pub(super) fn check(&self, machine: &mut Machine, plan: &Plan<'_>) -> Result<(), Error> {
        if !fsck::check(machine, plan, self)? {
            self.tell_how_it_was_left(&mut machine.journal);
        }
        Ok(())
    }

    /// Warns of a filesystem that was not unmounted, or has errors.
    #[inline(never)]
    fn tell_how_it_was_left(&self, journal: &mut Journal) {
        let text = match self.state {
            // Of two it is not known which is mounted.
            _ if self.also.is_some() => return,
            State::Clean => return,
            State::NeedsRecovery => "was not unmounted cleanly: the kernel replays its journal",
            State::Dirty => "was not unmounted cleanly: check it with fsck",
            State::Errors => "has errors, which the kernel has found earlier: repair it with fsck",
        };
        journal.warn(Stage::Root, format_args!("{} {text}", self.node));
    }
}

/// Mounts `source` as `fstype` with the options of `plan` at the directory `at`.
fn mount<'s>(
    machine: &mut Machine,
    plan: &Plan<'_>,
    source: &str,
    fstype: &'s str,
    at: &str,
) -> Result<Mounted<'s>, Error> {
    let options = options(plan, source, fstype)?;
    let text = plan.rootflags.unwrap_or_default();
    machine.load_for_filesystem(plan, fstype, text);
    let mark = kmsg::LogPosition::here();
    let read_only = wants_read_only(plan, &options);
    let made = make_or_mount(source, fstype, &options, read_only, at).or_else(|fault| {
        let is_protected = matches!(fault.errno, Errno::ROFS | Errno::ACCESS);
        if read_only || !is_protected || plan.access.is_some() {
            return Err(fault);
        }
        machine.journal.warn(
            Stage::Root,
            format_args!("{source} cannot be written: it is mounted read-only"),
        );
        make_or_mount(source, fstype, &options, true, at)
    });
    let is_read_only = match made.map_err(|fault| refused(fault, fstype, &mark))? {
        Some(detached) => {
            attach(&detached, at)?;
            detached.is_read_only()
        }
        None => access(at, rustix::fs::Access::WRITE_OK) == Err(Errno::ROFS),
    };
    Ok(Mounted {
        fstype,
        is_read_only,
    })
}

/// [`make`], or on a kernel without fsopen(2), which is that of Linux 5.2, mount(2) at once. `None`
/// if it is mounted.
fn make_or_mount(
    source: &str,
    fstype: &str,
    options: &RootOptions<'_>,
    read_only: bool,
    at: &str,
) -> Result<Option<Detached>, Fault> {
    let fault = match make(source, fstype, options, read_only) {
        Ok(detached) => return Ok(Some(detached)),
        Err(fault) => fault,
    };
    if fault.errno != Errno::NOSYS {
        return Err(fault);
    }
    let mut data = heapless::String::<DATA_MAX>::new();
    let is_written = options.data().try_for_each(|word| write!(data, "{word},"));
    data.pop();
    let text = is_written.ok().and_then(|()| data.push('\0').ok());
    let text = text.and_then(|()| CStr::from_bytes_until_nul(data.as_bytes()).ok());
    let text = text
        .ok_or(Errno::TOOBIG)
        .during(Op::Mount, format_args!("{source} as {fstype}"))?;
    let mut flags = Flags::from_bits_retain(options.flags.set);
    flags.set(Flags::RDONLY, read_only);
    mount_new(fstype, source, at, flags, text).map(|()| None)
}

/// What became of a mount as `fstype` that the kernel refused; `mark` is a place in its log before
/// that.
pub(super) fn refused(mut fault: Fault, fstype: &str, mark: &kmsg::LogPosition) -> Error {
    let mut cause = Cause::Unknown;
    let words = mark.telling_complaint(&mut |words| {
        cause = of_filesystem(fstype, words);
        cause != Cause::Unknown
    });
    fault.quote(words.as_str(), cause);
    if fault.cause == Cause::Unknown {
        fault.cause = Cause::of_type(fstype);
    }
    let code = match fault.errno {
        Errno::NODEV => Code::RootNoDriver,
        _ => Code::RootMount,
    };
    fault.at(code)
}

/// Attaches a filesystem at a directory of the initramfs.
pub(super) fn attach(root: &Detached, at: &str) -> Result<(), Error> {
    let warning = root.warning();
    if !warning.is_empty() {
        kmsg::warning(Stage::Root, format_args!("mounted, but {warning}"));
    }
    fs::open_directory(CWD, at)
        .and_then(|target| root.attach(target.as_fd()).during(Op::Mount, at))
        .at(Code::RootMount)
}

/// Where the root filesystem is mounted: at [`SYSROOT`], or where it is the lower layer.
pub(super) fn place(plan: &Plan<'_>) -> &'static str {
    if plan.overlay.is_some() {
        overlay::LOWER
    } else {
        SYSROOT
    }
}

/// The options of `rootflags=`, for a mount of `source` as `fstype`.
pub(super) fn options<'a>(
    plan: &Plan<'a>,
    source: &str,
    fstype: &str,
) -> Result<RootOptions<'a>, Error> {
    RootOptions::parse(plan.rootflags.unwrap_or_default()).map_err(|misplaced| {
        Error::new(
            Code::RootMount,
            Op::Mount,
            format_args!("{source} as {fstype}"),
            format_args!("rootflags={} makes no sense for a root", misplaced.word),
        )
    })
}

/// Whether the root is to be read-only, whatever the device allows.
pub(super) fn wants_read_only(plan: &Plan<'_>, options: &RootOptions<'_>) -> bool {
    if plan.overlay.is_some() {
        return true;
    }
    match plan.access {
        Some(access) => access == Access::ReadOnly,
        None if plan.verity.is_some() => true,
        None => options.flags.set & MS_RDONLY != 0,
    }
}

/// Makes a filesystem that is mounted nowhere yet.
pub(super) fn make(
    source: &str,
    fstype: &str,
    options: &RootOptions<'_>,
    read_only: bool,
) -> Result<Detached, Fault> {
    let mut attributes = attributes_to_set(options.flags);
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, read_only);
    let mut data = filesystem_flags(options.flags)
        .chain(read_only.then_some("ro"))
        .chain(options.data());
    Detached::new(fstype, source, &mut data, attributes)
}
