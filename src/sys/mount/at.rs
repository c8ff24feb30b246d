//! Mounting and unmounting relative to a directory descriptor: what mountat(2) and unmountat(2)
//! would do, if there were any.
//!
//! mount(2) and umount2(2) take paths, and a path that was checked may mean another file when the
//! kernel walks it again: whoever can rename a directory on the way chooses what is mounted over,
//! or unmounted. Here a name is walked once, beneath the directory and through no link
//! (openat2(2)), and all that follows works on the descriptor that this gave.
//!
//! # Why not move_mount(2) both ways
//!
//! To attach a detached mount, it is the way. To take one away by moving it into a detached tree is
//! refused (`EINVAL`): a mount whose parent is shared cannot be moved at all, and none can be moved
//! into a tree that is not attached. What is left is umount2(2), which has no descriptor; so it is
//! given a path that nobody else can change. With a procfs that is `self/fd/N` from a descriptor of
//! that procfs, which works for files too. Without one the directory is entered, and the path is
//! `.`; that is the mount which lies topmost there, as the descriptor is.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, openat, statx,
};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::fchdir;

use super::{Detached, walk};
use crate::error::{During, Fault, Op};
use crate::sys::path::path;

/// Attaches `mount` on what `name` is beneath `directory`.
///
/// # Errors
/// Those of openat2(2), `ELOOP` for a symbolic link on the way and `EXDEV` for a way out; those of
/// move_mount(2).
pub fn mountat(mount: &Detached, directory: BorrowedFd<'_>, name: &str) -> Result<(), Fault> {
    resolve(directory, name)
        .and_then(|target| mount.attach(target.as_fd()))
        .during(Op::Mount, name)
}

/// Takes the topmost mount away from what `name` is beneath `directory`; it ends when its last user
/// does (MNT_DETACH).
///
/// `procfs` is the root of a procfs of this process's PID namespace. Without it only a directory
/// can be unmounted. The working directory is another one meanwhile.
///
/// # Errors
/// Those of openat2(2), as for [`mountat`]; `EINVAL` if nothing is mounted there; those of
/// fchdir(2) and umount2(2).
pub fn unmountat(
    directory: BorrowedFd<'_>,
    name: &str,
    procfs: Option<BorrowedFd<'_>>,
) -> Result<(), Fault> {
    unmount_what(directory, name, procfs).during(Op::Unmount, name)
}

fn unmount_what(
    directory: BorrowedFd<'_>,
    name: &str,
    procfs: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let target = resolve(directory, name)?;
    if !is_mount_root(target.as_fd())? {
        return Err(Errno::INVAL);
    }
    let before = openat(
        CWD,
        c".",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let result = match procfs {
        Some(procfs) => fchdir(procfs).and_then(|()| {
            let link = path(format_args!("self/fd/{}", target.as_raw_fd()))?;
            unmount(link.as_str(), UnmountFlags::DETACH)
        }),
        None => fchdir(&target)
            .and_then(|()| unmount(c".", UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)),
    };
    fchdir(before).and(result)
}

/// What `name` is, found without a link and without leaving `directory`; mounts are crossed.
fn resolve(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    walk(
        directory,
        name,
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )
}

/// Whether the file is the root of the mount that it is on (`STATX_ATTR_MOUNT_ROOT`, Linux 5.8).
///
/// # Errors
/// Those of statx(2).
pub fn is_mount_root(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    kind_and_mount_root(file).map(|(_, is_mount_root)| is_mount_root)
}

/// What the file is, and whether it [is the root of a mount](is_mount_root): both by one call.
///
/// # Errors
/// Those of statx(2).
pub fn kind_and_mount_root(file: BorrowedFd<'_>) -> Result<(FileType, bool), Errno> {
    let found = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
    let attributes = found.stx_attributes & found.stx_attributes_mask;
    Ok((
        FileType::from_raw_mode(found.stx_mode.into()),
        attributes.contains(StatxAttributes::MOUNT_ROOT),
    ))
}
