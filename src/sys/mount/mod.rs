//! Mounts, by path and by descriptor.
//!
//! By path, with mount(2), for the first mounts and for the root: nobody else runs yet, so a path
//! means the same to us and to the kernel. By descriptor, with the calls of Linux 5.2 (fsopen(2),
//! open_tree(2), move_mount(2)), for containers: their trees are not ours, and a path that was
//! checked may mean something else when it is used.

pub mod at;
mod attributes;
mod context;
mod detached;

use core::ffi::CStr;
use core::mem::MaybeUninit;

use linux_raw_sys::general as linux;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

pub use rustix::mount::MountFlags as Flags;

pub use at::{is_mount_root, kind_and_mount_root};
pub use attributes::{
    attributes_to_clear, attributes_to_set, change_attributes, filesystem_flags, forbid_devices,
    is_read_only, make_read_only, map_ids, propagate,
};
pub use context::{MountSubject, reconfigure};
pub use detached::{Detached, has_filesystem};

use crate::error::{During, Fault, Op};
pub use crate::parse::mount_options::Propagation;
use crate::sys::raw::call;

const fn flag(propagation: Propagation) -> MountPropagationFlags {
    match propagation {
        Propagation::Shared => MountPropagationFlags::SHARED,
        // rustix's word for MS_SLAVE.
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
    }
}

/// Its name in mount(8).
const fn name_of(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Shared => "shared",
        Propagation::Slave => "slave",
        Propagation::Private => "private",
        Propagation::Unbindable => "unbindable",
    }
}

/// `mount(source, target, fstype, flags, data)`.
///
/// # Errors
/// Those of mount(2).
pub fn mount_new(
    fstype: &str,
    source: &str,
    target: &str,
    flags: Flags,
    data: &CStr,
) -> Result<(), Fault> {
    let data = (!data.is_empty()).then_some(data);
    rustix::mount::mount(source, target, fstype, flags, data)
        .during(Op::Mount, format_args!("{source} as {fstype} on {target}"))
}

/// Moves the mount at `source` to `target` (MS_MOVE). The kernel refuses with EINVAL when the mount
/// that `source` is in is shared.
///
/// # Errors
/// Those of mount(2).
pub fn mount_move(source: &str, target: &str) -> Result<(), Fault> {
    rustix::mount::mount_move(source, target)
        .during(Op::MoveMount, format_args!("{source} to {target}"))
}

/// Moves the mount whose root is the working directory to `/`: [`mount_move`].
///
/// # Errors
/// Those of mount(2).
pub fn move_here_to_root() -> Result<(), Fault> {
    rustix::mount::mount_move(c".", c"/").during(Op::MoveMount, ". to /")
}

/// Binds the tree at `source`, with the mounts in it, to `target` (MS_BIND | MS_REC).
///
/// # Errors
/// Those of mount(2).
pub fn mount_bind_recursive(source: &str, target: &str) -> Result<(), Fault> {
    rustix::mount::mount_bind_recursive(source, target)
        .during(Op::Mount, format_args!("{source} on {target}"))
}

/// Sets how the mount at `target`, and all below it, pass on mounts.
///
/// # Errors
/// Those of mount(2).
pub fn set_propagation_recursive(target: &str, propagation: Propagation) -> Result<(), Fault> {
    mount_change(target, flag(propagation) | MountPropagationFlags::REC).during(
        Op::Propagation,
        format_args!("{target}: {}", name_of(propagation)),
    )
}

/// Sets how the one mount at `target` passes on mounts.
///
/// # Errors
/// Those of mount(2).
pub fn set_propagation(target: &str, propagation: Propagation) -> Result<(), Fault> {
    mount_change(target, flag(propagation)).during(
        Op::Propagation,
        format_args!("{target}: {}", name_of(propagation)),
    )
}

/// Makes the mount at `target` read-only, leaving its other flags: what is left to do for a root
/// that cannot be unmounted.
///
/// # Errors
/// Those of mount(2); `EBUSY` while a file is open for writing.
pub fn remount_read_only(target: &str) -> Result<(), Fault> {
    rustix::mount::mount_remount(target, Flags::RDONLY, c"")
        .during(Op::Mount, format_args!("{target} read-only"))
}

/// Takes the mount at `target` out of the tree; it ends when its last user does (MNT_DETACH).
///
/// # Errors
/// Those of umount2(2).
pub fn unmount_detach(target: &str) -> Result<(), Fault> {
    unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).during(Op::Unmount, target)
}

/// Unmounts `target`, if nothing uses it.
///
/// # Errors
/// Those of umount2(2).
pub fn unmount_now(target: &[u8]) -> Result<(), Errno> {
    unmount(target, UnmountFlags::NOFOLLOW)
}

/// Opens what `path` names inside `root`, where `..` and symbolic links cannot lead out of it
/// (openat2(2), RESOLVE_IN_ROOT), for use as a mount source or target.
///
/// # Errors
/// Those of openat2(2).
pub fn resolve_in_root(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Fault> {
    walk(
        root,
        path,
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
    .during(Op::Open, path)
}

/// How often a path is walked again.
const WALKS: usize = 1024;

/// Opens what `path` is below `directory`, within the limits of `resolve`.
///
/// While anything in the system is mounted or renamed, the kernel cannot tell for sure that a `..`
/// stayed inside, and says `EAGAIN` (openat2(2)). As other containers start at the same time, that
/// is no attack. After so many walks, an attacker who provokes it gets the error.
fn walk(directory: BorrowedFd<'_>, path: &str, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let once = || openat2(directory, path, flags, Mode::empty(), resolve);
    let mut result = once();
    for _ in 1..WALKS {
        match result {
            Err(Errno::AGAIN) => result = once(),
            _ => break,
        }
    }
    result
}

/// `pivot_root(".", ".")` with the new root as the working directory, then the old root, which now
/// lies on top of it, is taken away (pivot_root(2), "NOTES").
///
/// # Errors
/// Those of pivot_root(2); `EINVAL` where the current root is the initramfs of a kernel before 7.0.
pub fn pivot_root_here() -> Result<(), Errno> {
    rustix::process::pivot_root(c".", c".")
}

/// Makes the working directory the root directory.
///
/// # Errors
/// Those of chroot(2) and chdir(2).
pub fn chroot_here(shown: &str) -> Result<(), Fault> {
    rustix::process::chroot(c".").during(Op::Chroot, shown)?;
    rustix::process::chdir(c"/").during(Op::Chdir, "/")
}

/// Changes the working directory.
///
/// # Errors
/// Those of chdir(2).
pub fn enter(path: &str) -> Result<(), Fault> {
    rustix::process::chdir(path).during(Op::Chdir, path)
}

/// `getcwd(2)`: whether the working directory is below the root directory. If it is not, the kernel
/// calls it `(unreachable)`.
///
/// # Errors
/// Those of `getcwd(2)`; `ENOENT` for a directory that was removed.
pub fn working_directory_is_reachable() -> Result<bool, Errno> {
    let mut path = [const { MaybeUninit::<u8>::uninit() }; linux::PATH_MAX as usize];
    let arguments = [path.as_mut_ptr().expose_provenance(), path.len(), 0, 0, 0];
    // SAFETY: `path` is what the kernel writes, has the size given, and outlives the call.
    unsafe { call(linux::__NR_getcwd, arguments) }?;
    // SAFETY: what was written has at least the NUL that ends it.
    Ok(unsafe { path[0].assume_init() } == b'/')
}

/// Opens `/` as a directory, to come back to it when the name means something else.
///
/// # Errors
/// Those of openat(2).
pub fn open_root() -> Result<OwnedFd, Fault> {
    super::fs::open_directory(CWD, "/")
}
