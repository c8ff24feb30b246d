//! Filesystems that stand still (ioctl_fs(2): FIFREEZE, FITHAW): what is written is on the disk and
//! whole, and a process that wants to write waits.

use linux_raw_sys::ioctl::{FIFREEZE, FITHAW};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::ioctl::{NoArg, ioctl};

/// Opens what is mounted at `point`.
///
/// # Errors
/// Those of openat(2).
pub fn open(point: &[u8]) -> Result<OwnedFd, Errno> {
    // A mount point may be a file of any kind.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(CWD, point, flags, Mode::empty())
}

/// Has the filesystem of `file` stand still.
///
/// # Errors
/// `EOPNOTSUPP` for one that cannot; `EBUSY` for one that does already; `EIO`.
pub fn freeze(file: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: FIFREEZE does not look at its argument (fs/ioctl.c, `ioctl_fsfreeze`).
    let request = unsafe { NoArg::<FIFREEZE>::new() };
    // SAFETY: as above.
    unsafe { ioctl(file, request) }
}

/// Lets it go on.
///
/// # Errors
/// `EINVAL` for one that does not stand still; `EOPNOTSUPP` for one that cannot.
pub fn thaw(file: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: FITHAW does not look at its argument (fs/ioctl.c, `ioctl_fsthaw`).
    let request = unsafe { NoArg::<FITHAW>::new() };
    // SAFETY: as above.
    unsafe { ioctl(file, request) }
}
