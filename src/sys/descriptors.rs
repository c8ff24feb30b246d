//! Descriptors by their numbers: those that this program was started with, and all that it has.

use linux_raw_sys::general as linux;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use super::raw::call;

/// Whether the descriptor `number` is open, and stays so when a program is executed.
pub fn is_inherited(number: u32) -> bool {
    let (number, get) = (number as usize, linux::F_GETFD as usize);
    // SAFETY: the request takes no pointers, and nothing of the descriptor changes.
    let flags = unsafe { call(linux::__NR_fcntl, [number, get, 0, 0, 0]) };
    flags.is_ok_and(|flags| flags & linux::FD_CLOEXEC as usize == 0)
}

/// Takes the descriptor `number`, which this program was started with. From now on it is closed
/// when a program is executed. `None` if it is not open, if it was taken before, and for the three
/// standard ones.
pub fn take_inherited(number: u32) -> Option<OwnedFd> {
    if number <= 2 || !is_inherited(number) {
        return None;
    }
    // SAFETY: it was just seen to be open, and to stay open when a program is executed. Whatever
    // this program opens does not, and nor does what is taken: so nobody in it owns this one.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number.cast_signed()) };
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC).ok()?;
    Some(descriptor)
}

/// Closes every descriptor from `first` on but those `kept`: `close_range(2)` between them.
///
/// # Errors
/// Those of `close_range(2)`; `ENOSYS` before Linux 5.9.
///
/// # Safety
/// In this process, no owner of a descriptor that is closed is used any more, and nothing that was
/// borrowed from one; an owner is not dropped either, since its number may be another file's by
/// then.
pub unsafe fn close_all_but(mut first: u32, kept: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    loop {
        // Descriptors are not negative.
        let kept = kept.iter().map(|kept| kept.as_raw_fd() as u32);
        let next = kept.filter(|kept| first <= *kept).min();
        let last = match next {
            Some(next) => next.checked_sub(1),
            None => Some(u32::MAX),
        };
        if let Some(last) = last.filter(|last| first <= *last) {
            let range = [first as usize, last as usize, 0, 0, 0];
            // SAFETY: the call takes no pointers. The caller owns the descriptors.
            unsafe { call(linux::__NR_close_range, range) }?;
        }
        match next {
            Some(next) => first = next + 1,
            None => return Ok(()),
        }
    }
}
