//! A procfs that nobody else sees.
//!
//! What is written to `/proc` decides what a process may do: its maps of users, its sysctls, its labels. A path below `/proc` leads
//! where the mounts of the moment lead it, and those may be another's, as in a container's root (CVE-2025-52881). So what is
//! written goes through an instance of its own, mounted nowhere (fsopen(2), fsmount(2)), and through no link and no mount in it.

use core::iter::empty;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{Errno, write};
use rustix::mount::MountAttrFlags;

use super::mount::Detached;
use crate::error::{During, Fault, Op};

/// A procfs of this process's PID namespace, mounted nowhere.
#[derive(Debug)]
pub struct Procfs(Detached);

impl Procfs {
    /// Makes it.
    ///
    /// # Errors
    /// Those of [`Detached::new`]; `EPERM` without CAP_SYS_ADMIN in the user namespace, and in one that sees a procfs of which a
    /// part is covered.
    pub fn new() -> Result<Self, Fault> {
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        Detached::new("proc", "proc", &mut empty(), attributes).map(Self)
    }

    /// Opens `path` in it, as `self/oom_score_adj`.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn open(&self, path: &str, access: OFlags) -> Result<OwnedFd, Fault> {
        openat2(
            self.0.root(),
            path,
            access | OFlags::CLOEXEC,
            Mode::empty(),
            // `self` is a link, and leads nowhere else.
            ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS,
        )
        .during(Op::Open, format_args!("/proc/{path}"))
    }

    /// Writes `bytes` to `path` in it, in one call, as the kernel wants it.
    ///
    /// # Errors
    /// Those of [`Self::open`] and of write(2); `EIO` if only a part was taken.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        let file = self.open(path, OFlags::WRONLY)?;
        match write(&file, bytes) {
            Ok(len) if len == bytes.len() => Ok(()),
            Ok(_) => Err(Errno::IO),
            Err(errno) => Err(errno),
        }
        .during(Op::Write, format_args!("/proc/{path}"))
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.root()
    }
}
