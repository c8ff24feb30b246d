//! Attributes: what is a mount's own, and what belongs to the filesystem that is mounted.
//!
//! mount(2) has one set of flags for both. The calls of Linux 5.2 keep them apart: a mount has
//! attributes (mount_setattr(2)), and a filesystem has options (fsconfig(2)), which all mounts of
//! it share.

use linux_raw_sys::general as linux;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{Access, AtFlags, accessat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{Propagation, flag};
use crate::parse::mount_options::MountFlags;
use crate::sys::raw::call;

/// The attributes of a mount, each as a flag of mount(2) and as one of mount_setattr(2).
const ATTRIBUTES: &[(u32, MountAttrFlags)] = &[
    (linux::MS_RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
    (linux::MS_NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
    (linux::MS_NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
    (linux::MS_NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    (linux::MS_NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
    (
        linux::MS_STRICTATIME,
        MountAttrFlags::MOUNT_ATTR_STRICTATIME,
    ),
    (linux::MS_NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    (
        linux::MS_NOSYMFOLLOW,
        MountAttrFlags::from_bits_retain(linux::MOUNT_ATTR_NOSYMFOLLOW),
    ),
];

/// Flags of mount(2) that belong to the filesystem, as fsconfig(2) names them and their absence.
/// `silent` and `iversion` are missing: the first concerns only what the kernel prints, and every
/// filesystem that has versions of inodes keeps them by now.
const FILESYSTEM_FLAGS: &[(u32, &str, &str)] = &[
    (linux::MS_SYNCHRONOUS, "sync", "async"),
    (linux::MS_DIRSYNC, "dirsync", ""),
    (linux::MS_LAZYTIME, "lazytime", "nolazytime"),
    (linux::MS_MANDLOCK, "mand", "nomand"),
];

/// Those of `flags` that are attributes of a mount.
pub fn attributes_to_set(flags: MountFlags) -> MountAttrFlags {
    attributes(flags.set)
}

/// The attributes that a copy of a mount must not inherit. The kind of access times is one field of
/// the kernel's, cleared as a whole whenever any of it is set (mount_setattr(2)).
pub fn attributes_to_clear(flags: MountFlags) -> MountAttrFlags {
    const ACCESS_TIMES: u32 = linux::MS_NOATIME | linux::MS_STRICTATIME | linux::MS_RELATIME;
    let mut clear = attributes(flags.clear);
    clear.remove(MountAttrFlags::MOUNT_ATTR__ATIME);
    if (flags.set | flags.clear) & ACCESS_TIMES != 0 {
        clear.insert(MountAttrFlags::MOUNT_ATTR__ATIME);
    }
    clear
}

fn attributes(bits: u32) -> MountAttrFlags {
    ATTRIBUTES
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, attribute)| *attribute)
        .collect()
}

/// Those of `flags` that belong to the filesystem, as options without a value.
pub fn filesystem_flags<'o>(flags: MountFlags) -> impl Iterator<Item = &'o str> {
    let word = move |(bit, set, clear): &(u32, &'o str, &'o str)| match bit {
        bit if flags.set & bit != 0 => Some(*set),
        bit if flags.clear & bit != 0 => Some(*clear),
        _ => None,
    };
    FILESYSTEM_FLAGS.iter().filter_map(word)
}

/// Sets and clears attributes of the mount that `mount` is the root of, and if `recursive` of all
/// below it: mount_setattr(2). Nothing to change is no call.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn change_attributes(
    mount: BorrowedFd<'_>,
    set: MountAttrFlags,
    clear: MountAttrFlags,
    recursive: bool,
) -> Result<(), Errno> {
    if (set | clear).is_empty() {
        return Ok(());
    }
    let change = linux::mount_attr {
        attr_set: set.bits().into(),
        attr_clr: clear.bits().into(),
        ..NOTHING
    };
    apply(mount, &change, recursive)
}

/// Makes the mount that `root` is the root of read-only, not the filesystem.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn make_read_only(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
    change_attributes(root, read_only, MountAttrFlags::empty(), false)
}

/// Makes nodes of devices useless on the mount that `root` is the root of, and on all below it.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn forbid_devices(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let nodev = MountAttrFlags::MOUNT_ATTR_NODEV;
    change_attributes(root, nodev, MountAttrFlags::empty(), true)
}

/// Whether nothing can be written in the directory that `mount` is, because of the mount or of the
/// filesystem.
pub fn is_read_only(mount: BorrowedFd<'_>) -> bool {
    accessat(mount, c".", Access::WRITE_OK, AtFlags::empty()) == Err(Errno::ROFS)
}

/// Sets how the mount that `mount` is the root of, and if `recursive` all below it, pass on mounts.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn propagate(
    mount: BorrowedFd<'_>,
    propagation: Propagation,
    recursive: bool,
) -> Result<(), Errno> {
    let change = linux::mount_attr {
        propagation: flag(propagation).bits().into(),
        ..NOTHING
    };
    apply(mount, &change, recursive)
}

/// Has the ids of files be seen through the maps of the user namespace `maps`: those in the
/// filesystem as the inner, those that are seen as the outer ones. Only before the mount is
/// attached, and only once.
///
/// # Errors
/// Those of mount_setattr(2): `EINVAL` for a filesystem that cannot do it, or was mounted in this
/// namespace, `EPERM` for a mount that has maps already, and without CAP_SYS_ADMIN in the user
/// namespace that the filesystem was mounted in.
pub fn map_ids(mount: BorrowedFd<'_>, maps: BorrowedFd<'_>, recursive: bool) -> Result<(), Errno> {
    let change = linux::mount_attr {
        attr_set: linux::MOUNT_ATTR_IDMAP.into(),
        userns_fd: maps.as_raw_fd() as u64,
        ..NOTHING
    };
    apply(mount, &change, recursive)
}

const NOTHING: linux::mount_attr = linux::mount_attr {
    attr_set: 0,
    attr_clr: 0,
    propagation: 0,
    userns_fd: 0,
};

/// `mount_setattr(2)` on the mount that `mount` is the root of.
fn apply(mount: BorrowedFd<'_>, change: &linux::mount_attr, recursive: bool) -> Result<(), Errno> {
    let flags = if recursive { linux::AT_RECURSIVE } else { 0 };
    let arguments = [
        mount.as_raw_fd() as usize,
        c"".as_ptr().expose_provenance(),
        (flags | linux::AT_EMPTY_PATH) as usize,
        core::ptr::from_ref(change).expose_provenance(),
        size_of::<linux::mount_attr>(),
    ];
    // SAFETY: the path is the empty C string; `change` has the size given and outlives the call.
    unsafe { call(linux::__NR_mount_setattr, arguments) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn flags(set: u32, clear: u32) -> MountFlags {
        MountFlags { set, clear }
    }

    #[test]
    fn flags_become_attributes() {
        let asked = flags(
            linux::MS_RDONLY | linux::MS_NODEV | linux::MS_BIND | linux::MS_REC,
            0,
        );
        let expected = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
        assert_eq!(attributes_to_set(asked), expected);
        assert!(attributes_to_clear(asked).is_empty());
    }

    #[test]
    fn the_kind_of_access_times_is_cleared_as_a_whole() {
        for asked in [
            flags(linux::MS_NOATIME, 0),
            flags(linux::MS_RELATIME, 0),
            flags(0, linux::MS_NOATIME),
        ] {
            assert!(attributes_to_clear(asked).contains(MountAttrFlags::MOUNT_ATTR__ATIME));
        }
        let exec = flags(0, linux::MS_NOEXEC);
        assert_eq!(attributes_to_clear(exec), MountAttrFlags::MOUNT_ATTR_NOEXEC);
    }

    #[test]
    fn flags_of_the_filesystem_are_options_of_it() {
        let asked = flags(
            linux::MS_SYNCHRONOUS | linux::MS_NODEV | linux::MS_LAZYTIME,
            linux::MS_MANDLOCK | linux::MS_NOEXEC,
        );
        assert_eq!(
            filesystem_flags(asked).collect::<Vec<_>>(),
            ["sync", "lazytime", "nomand"]
        );
    }
}
