//! Entering the kernel for the system calls that rustix does not have.
//!
//! Numbers and structures come from linux-raw-sys; the instruction is in [`super::arch`]. What
//! calls this is in the files of its subjects: each function is the C call of its manual page, with
//! the errors as [`Errno`].

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Errno;

use super::arch::syscall5;

/// What a system call returned, or its error.
pub(super) fn check(result: isize) -> Result<usize, Errno> {
    // The kernel returns errors as -4095..=-1 (include/linux/err.h).
    if (-4095..0).contains(&result) {
        return Err(Errno::from_raw_os_error(-result as i32));
    }
    Ok(result as usize)
}

/// System call `number`.
///
/// # Safety
/// The arguments satisfy what the manual page of system call `number` demands.
pub(super) unsafe fn call(number: u32, [a, b, c, d, e]: [usize; 5]) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    check(unsafe { syscall5(number, a, b, c, d, e) })
}

/// Takes the descriptor that a system call returned.
///
/// # Safety
/// If `result` is no error, it is a descriptor that the kernel has just made for this process.
pub(super) unsafe fn owned(result: isize) -> Result<OwnedFd, Errno> {
    let number = check(result)? as i32;
    // SAFETY: it is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
