//! One process at a time works on a container: it holds a lock on a file in the container's
//! directory (fcntl(2), "Advisory record locking").
//!
//! It belongs to the process and not to a descriptor: the kernel gives it back at the end of that
//! process, whatever children have inherited, and says whose it is.

use core::time::Duration;

use rustix::event::Timespec;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, fcntl_lock, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};
use rustix::thread::nanosleep;

use super::launch::number_of;
use super::state::LOCK;

/// How long it is waited between two looks. The kernel can wait for a lock, but only for ever.
const ROUND: Duration = Duration::from_millis(10);

/// Whose the lock is.
pub(super) enum LockResult {
    /// It is that of this process.
    Held,
    /// It is that of the process of this number, or of 0 for one in a PID namespace that is not
    /// seen from here.
    HeldBy(u32),
    /// The directory was removed meanwhile.
    Removed,
}

/// The file, made where it is missing.
///
/// # Errors
/// Those of openat(2): `ENOENT` in a directory that was removed.
pub(super) fn open(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, LOCK, flags, Mode::from_raw_mode(0o600))
}

/// Takes the lock, and waits so many rounds for who has it.
///
/// # Errors
/// Those of fcntl(2).
pub(super) fn acquire(file: &OwnedFd, rounds: u32) -> Result<LockResult, Errno> {
    let mut left = rounds;
    loop {
        match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
            // The process that held it may have removed the file.
            Ok(()) if fstat(file)?.st_nlink == 0 => return Ok(LockResult::Removed),
            Ok(()) => return Ok(LockResult::Held),
            Err(Errno::AGAIN | Errno::ACCESS) => {}
            Err(errno) => return Err(errno),
        }
        match (holder(file), left.checked_sub(1)) {
            (Some(pid), None) => return Ok(LockResult::HeldBy(pid)),
            (_, rest) => left = rest.unwrap_or(0),
        }
        let _ = nanosleep(&Timespec {
            tv_sec: 0,
            tv_nsec: ROUND.subsec_nanos().into(),
        });
    }
}

/// Whether another process has it.
pub(super) fn is_held(directory: BorrowedFd<'_>) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(directory, LOCK, flags, Mode::empty());
    file.is_ok_and(|file| holder(&file).is_some())
}

fn holder(file: &OwnedFd) -> Option<u32> {
    let found = fcntl_getlk(file, &Flock::from(FlockType::WriteLock)).ok()?;
    found.map(|lock| lock.pid.map_or(0, number_of))
}
