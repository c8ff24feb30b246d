//! Mounts whose ids are mapped (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
//!
//! # In a user namespace
//!
//! The kernel maps the ids of a mount for a process that has CAP_SYS_ADMIN in the user namespace in
//! which the *filesystem* was mounted (can_idmap_mount of fs/namespace.c). For a volume that is the
//! host's, where the container's first process has no rights. So that process makes the mount like
//! any other, and has the builder map it before it attaches it: it sends the number of the
//! descriptor, and the builder finds the mount behind `/proc/<pid>/fd`.
//!
//! To make the mount outside and hand it in would be simpler, but then what the host had mounted
//! read-only could be made writable inside. Only the copies of a namespace that is owned by a user
//! with less rights have their attributes locked (mount_namespaces(7), "Restrictions on mount
//! namespaces").
//!
//! The builder makes the maps as well, so that the outer ids are the host's in any case. The maps
//! of the container's own user namespace are taken from that.

use core::fmt;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::cause::Cause;
use crate::container::handshake::SyncSocket;
use crate::error::{At, During, Fault, Op};
use crate::parse::config::{MappedIds, Mount};
use crate::parse::mount_options::Recursive;
use crate::sys::id_maps;
use crate::sys::mount::map_ids;
use crate::sys::path::{Path, path};
use crate::sys::procfs::Procfs;

/// Maps the ids of `mount`, which is in no tree yet, or has the builder do it.
pub(super) fn map(
    mapper: Option<&SyncSocket>,
    mount: BorrowedFd<'_>,
    item: &Mount<'_>,
    ids: &MappedIds<'_>,
) -> Result<(), Fault> {
    match mapper {
        Some(mapper) => mapper.map_ids(mount),
        None => map_of(&"self", mount.as_raw_fd(), item, ids),
    }
}

/// Maps the ids of the mount that `process` has open as `mount`.
#[inline(never)]
pub(in crate::container) fn map_of(
    process: &dyn fmt::Display,
    mount: RawFd,
    item: &Mount<'_>,
    ids: &MappedIds<'_>,
) -> Result<(), Fault> {
    let mut why = "";
    match attempt(process, mount, ids, &mut why) {
        Err(fault) if matches!(fault.op, Op::Mount | Op::Open) => {
            let subject = format_args!("{} with mapped ids{why}", item.destination);
            Err(fault.errno)
                .during(Op::Mount, subject)
                .because(Cause::MappedIds)
        }
        result => result,
    }
}

/// Faults of the maps tell by themselves what is wrong. Of the rest, `why` tells more than an error
/// number does.
fn attempt(
    process: &dyn fmt::Display,
    mount: RawFd,
    ids: &MappedIds<'_>,
    why: &mut &str,
) -> Result<(), Fault> {
    // A process that may not make a procfs has no rights to map ids either.
    let procfs = Procfs::new()?;
    let path = |part: &dyn fmt::Display, behind| -> Result<Path, Fault> {
        path(format_args!("{part}{behind}")).during(Op::Open, "")
    };
    let mount = procfs.follow(&path(process, "/fd")?, &path(&mount, "")?, OFlags::PATH)?;
    let maps = match &ids.maps {
        Some(maps) => id_maps::namespace(&procfs, maps)?,
        None => procfs.follow(&path(process, "/ns")?, "user", OFlags::RDONLY)?,
    };
    let recursive = ids.recursive == Recursive::Yes;
    let mapped = map_ids(mount.as_fd(), maps.as_fd(), recursive);
    if mapped == Err(Errno::INVAL) {
        // The mount is detached, and the maps are not those of the namespace that the filesystem
        // was mounted in: there is no other reason left.
        *why = ", which its filesystem cannot have";
    }
    mapped.during(Op::Mount, "")
}
