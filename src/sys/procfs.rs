//! A procfs that nobody else sees.
//!
//! What is written to `/proc` decides what a process may do: its maps of users, its sysctls, its
//! labels. A path below `/proc` leads where the mounts of the moment lead it, and those may be
//! another's, as in a container's root (CVE-2025-52881). So what is written goes through an
//! instance of its own, mounted nowhere (fsopen(2), fsmount(2)), and through no link and no mount
//! in it.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2};
use rustix::io::{Errno, write};
use rustix::mount::MountAttrFlags;

use super::mount::Detached;
use crate::error::{During, Fault, Op};
use crate::parse::mount_options::words;

/// `PROC_SUPER_MAGIC` (include/uapi/linux/magic.h).
const MAGIC: i64 = 0x9fa0;

/// The inode of the root of every procfs (`PROC_ROOT_INO`).
const ROOT_INODE: u64 = 1;

/// A procfs of this process's PID namespace, mounted nowhere.
#[derive(Debug)]
pub struct Procfs(OwnedFd);

impl Procfs {
    /// Makes it.
    ///
    /// # Errors
    /// Those of [`Detached::new`]; `EPERM` without CAP_SYS_ADMIN in the user namespace, and in one
    /// that sees a procfs of which a part is covered.
    pub fn new() -> Result<Self, Fault> {
        Self::with("")
    }

    /// Makes one, or takes the one on `/proc` as [`Self::new_or_mounted`] does, that has nothing
    /// but processes: parameters of the kernel cannot be reached through it, as long as it is open.
    ///
    /// # Errors
    /// Those of [`Self::new_or_mounted`].
    pub fn of_processes() -> Result<Self, Fault> {
        Self::with("subset=pid").or_else(Self::or_mounted)
    }

    fn with(options: &str) -> Result<Self, Fault> {
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let options = &mut words(options);
        let procfs = Detached::new("proc", "proc", options, attributes)?;
        Ok(Self(procfs.into_root()))
    }

    /// Makes it; a process that may not make any takes the one that is mounted on `/proc`. That is
    /// checked to be a procfs, from its root on, and what is mounted on its files is not entered.
    ///
    /// # Errors
    /// Those of [`Self::new`], when there is none on `/proc` either.
    pub fn new_or_mounted() -> Result<Self, Fault> {
        Self::new().or_else(Self::or_mounted)
    }

    fn or_mounted(fault: Fault) -> Result<Self, Fault> {
        match fault.errno {
            Errno::PERM => Self::mounted().map_err(|_| fault),
            _ => Err(fault),
        }
    }

    fn mounted() -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = openat(CWD, "/proc", flags, Mode::empty())?;
        match fstatfs(&root)?.f_type as i64 == MAGIC && fstat(&root)?.st_ino == ROOT_INODE {
            true => Ok(Self(root)),
            false => Err(Errno::NOENT),
        }
    }

    /// Opens `path` in it, as `self/oom_score_adj`.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn open(&self, path: &str, access: OFlags) -> Result<OwnedFd, Fault> {
        openat2(
            self.0.as_fd(),
            path,
            access | OFlags::CLOEXEC,
            Mode::empty(),
            // `self` is a link, and leads nowhere else.
            ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS,
        )
        .during(Op::Open, format_args!("/proc/{path}"))
    }

    /// Opens what the link `name` in the directory `path` of it stands for, as the descriptors in
    /// `self/fd` do.
    ///
    /// # Errors
    /// Those of [`Self::open`], and of openat(2) for what is opened.
    pub fn follow(&self, path: &str, name: &str, access: OFlags) -> Result<OwnedFd, Fault> {
        let directory = self.open(path, OFlags::PATH | OFlags::DIRECTORY)?;
        openat(
            directory.as_fd(),
            name,
            access | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .during(Op::Open, format_args!("/proc/{path}/{name}"))
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
        self.0.as_fd()
    }
}
