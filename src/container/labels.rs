//! The program's profile of AppArmor and label of SELinux.
//!
//! A process asks for both in files of its own in `/proc`, and they take effect at its next
//! execve(2). A process that it forks before that would have them, too, so it asks when all hooks
//! have run. The container's `/proc` may be anything, and a profile that was written to a file of
//! an image confines nothing (CVE-2019-16884, CVE-2025-52881): it is written to a procfs of our own
//! ([`Procfs`]).
//!
//! AppArmor has a directory of its own there. SELinux shares its files with other modules, which
//! would take a label for a word of theirs. So it is checked first that SELinux is there.

use core::fmt;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{OFlags, XattrFlags, fsetxattr};
use rustix::io::{Errno, read};

use crate::cause::Cause;
use crate::error::{At, During, Fault, Op};
use crate::parse::config::Process;
use crate::sys::fs::open_directory;
use crate::sys::mount::has_filesystem;
use crate::sys::path::{Path, path};
use crate::sys::procfs::Procfs;

/// What AppArmor calls no profile at all.
const UNCONFINED: &str = "unconfined";

// What is shown of them.
const APPARMOR: &str = "profile of AppArmor";
const SELINUX: &str = "label of SELinux";

/// What is done with a profile or a label.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is seen whether there is one of this name, and whether this process may have it executed.
    Check,
    /// The next execve(2) takes it on.
    Execute,
}

/// Has the program confined as it is to be, or sees whether that can be.
///
/// # Errors
/// `EOPNOTSUPP` for a profile or label on a machine without that module, `ENOENT` for a profile
/// that is not loaded, `EINVAL` for a label that the policy does not know, and others of the
/// module.
#[inline(never)]
pub(super) fn apply(process: &Process<'_>, purpose: Purpose) -> Result<(), Fault> {
    if let Some(label) = process.selinux_label {
        write_label("exec", label, "")?;
        if purpose == Purpose::Check {
            write_label("exec", label, "\n")?;
        }
    }
    let Some(profile) = process.apparmor_profile else {
        return Ok(());
    };
    let (file, word) = match purpose {
        Purpose::Check => ("apparmor/current", "permprofile"),
        Purpose::Execute => ("apparmor/exec", "exec"),
    };
    let written = match (profile, write(file, format_args!("{word} {profile}"))) {
        // There may be no AppArmor; and a process that is confined, and may not change that, stays
        // confined.
        (UNCONFINED, _) => Ok(()),
        (_, Err(fault)) if is_missing(&fault) => Err(Errno::OPNOTSUPP),
        (_, written) => written.map_err(|fault| fault.errno),
    };
    name_module(written, APPARMOR, profile)
}

/// Has the keys that this process makes from now on be those of the program.
pub(super) fn label_keys(process: &Process<'_>) -> Result<(), Fault> {
    process
        .selinux_label
        .map_or(Ok(()), |label| write_label("keycreate", label, ""))
}

/// Sees that filesystems can be labelled, if they are to be.
pub(super) fn check_mounts(label: Option<&str>) -> Result<(), Fault> {
    label.map_or(Ok(()), |label| name_module(has_selinux(), SELINUX, label))
}

/// The option that puts `label` on all files of a new filesystem (mount(8), `context=`), if there
/// is one.
#[inline(never)]
pub(super) fn context_of(label: Option<&str>) -> Result<Option<Path>, Fault> {
    label
        // In quotes: the categories of a label have commas between them.
        .map(|label| path(format_args!("context=\"{label}\"")).during(Op::Mount, label))
        .transpose()
}

/// Puts `label` on the topmost directory of a filesystem that takes no `context=`, if the policy
/// has labels for it.
pub(super) fn label_top(top: BorrowedFd<'_>, label: &str) -> Result<(), Fault> {
    let directory = open_directory(top, ".")?;
    match fsetxattr(
        directory.as_fd(),
        c"security.selinux",
        label.as_bytes(),
        XattrFlags::empty(),
    ) {
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => name_module(Err(errno), SELINUX, label),
    }
}

/// Where SELinux is, there is its filesystem, mounted or not; and with a policy, which gives labels
/// a meaning, this process has one of several parts. Before that any label would be taken.
#[inline(never)]
fn has_selinux() -> Result<(), Errno> {
    let mut own = [0; 64];
    let len = match has_filesystem("selinuxfs") {
        true => Procfs::of_processes()
            .and_then(|procfs| procfs.open("self/attr/current", OFlags::RDONLY))
            .map_err(|fault| fault.errno)
            .and_then(|file| read(&file, &mut own))?,
        false => 0,
    };
    let own = own.get(..len).unwrap_or_default();
    own.contains(&b':').then_some(()).ok_or(Errno::OPNOTSUPP)
}

/// Writes a label, or an empty line, which takes that back.
#[inline(never)]
fn write_label(file: &str, label: &str, line: &str) -> Result<(), Fault> {
    let text = if line.is_empty() { label } else { line };
    let written = has_selinux()
        .and_then(|()| write(file, format_args!("{text}")).map_err(|fault| fault.errno));
    name_module(written, SELINUX, label)
}

/// Writes to a file in this process's directory `attr`.
#[inline(never)]
fn write(file: &str, words: fmt::Arguments<'_>) -> Result<(), Fault> {
    let [file, words] = [path(format_args!("self/attr/{file}")), path(words)];
    let words = words.during(Op::Configure, "")?;
    Procfs::of_processes()?.write(&file.during(Op::Configure, "")?, words.as_bytes())
}

/// Whether AppArmor has no such file, or is not the one that reads it.
fn is_missing(fault: &Fault) -> bool {
    matches!(
        (fault.op, fault.errno),
        (Op::Open, Errno::NOENT) | (Op::Write, Errno::INVAL)
    )
}

#[inline(never)]
fn name_module(result: Result<(), Errno>, module: &str, name: &str) -> Result<(), Fault> {
    let (lacks, cause) = match result {
        Err(Errno::OPNOTSUPP) => (
            ", which this machine has not in force,",
            Cause::NoSecurityModule,
        ),
        _ if module == APPARMOR => ("", Cause::AppArmorProfile),
        _ => ("", Cause::SelinuxLabel),
    };
    result
        .during(Op::Configure, format_args!("the {module}{lacks} {name}"))
        .because(cause)
}
