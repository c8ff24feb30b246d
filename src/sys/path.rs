//! Paths that are put together at run time.

use core::ffi::CStr;
use core::fmt;

use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::{CWD, readlinkat_raw};
use rustix::io::Errno;

use crate::error::{During, Fault, Op};

/// The longest path that is put together here, in bytes: engines have some of 300, with two ids of
/// 64 in them.
pub const PATH_MAX: usize = 511;

/// A path of bounded length.
pub type Path = heapless::String<PATH_MAX>;

/// The path that `arguments` spell.
///
/// # Errors
/// `ENAMETOOLONG` if it is longer than [`PATH_MAX`]. A path is never cut: it would name something
/// else.
pub fn path(arguments: fmt::Arguments<'_>) -> Result<Path, Errno> {
    let mut path = Path::new();
    fmt::Write::write_fmt(&mut path, arguments).map_err(|_| Errno::NAMETOOLONG)?;
    Ok(path)
}

/// The longest path that the kernel takes, in bytes (PATH_MAX of include/uapi/linux/limits.h,
/// without the NUL).
pub const LONG_PATH_MAX: usize = linux_raw_sys::general::PATH_MAX as usize - 1;

/// A path that somebody else chose, as long as any can be. It is a page, and not to be moved.
pub type LongPath = heapless::String<LONG_PATH_MAX>;

/// The path that `arguments` spell, in `room`.
///
/// # Errors
/// `ENAMETOOLONG` if it is longer than [`LONG_PATH_MAX`].
pub fn long_path<'r>(
    room: &'r mut LongPath,
    arguments: fmt::Arguments<'_>,
) -> Result<&'r str, Errno> {
    room.clear();
    fmt::Write::write_fmt(room, arguments).map_err(|_| Errno::NAMETOOLONG)?;
    Ok(room)
}

/// The path of what a descriptor refers to, as the kernel knows it.
///
/// # Errors
/// Those of readlinkat(2); `ENAMETOOLONG` as of [`path`].
pub fn place_of(directory: impl AsFd) -> Result<Path, Fault> {
    let number = directory.as_fd().as_raw_fd();
    let link = path(format_args!("/proc/self/fd/{number}")).during(Op::Open, "a directory")?;
    let mut buffer = [core::mem::MaybeUninit::uninit(); 4096];
    readlinkat_raw(CWD, link.as_str(), &mut buffer)
        .and_then(|(found, _)| core::str::from_utf8(found).map_err(|_| Errno::ILSEQ))
        .and_then(|found| path(format_args!("{found}")))
        .during(Op::Open, &link)
}

/// `text` in `room`, with the NUL that ends it: what rustix does at each call, with room for 4 KiB
/// as well.
///
/// # Errors
/// `EINVAL` if it is longer than [`PATH_MAX`], or has a NUL in it.
pub fn terminated<'r>(text: &str, room: &'r mut [u8; PATH_MAX + 1]) -> Result<&'r CStr, Errno> {
    let bytes = room.get_mut(..=text.len()).ok_or(Errno::INVAL)?;
    if let Some((end, bytes)) = bytes.split_last_mut() {
        bytes.copy_from_slice(text.as_bytes());
        *end = 0;
    }
    CStr::from_bytes_with_nul(bytes).map_err(|_| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_is_refused() {
        let long = "x".repeat(PATH_MAX + 1);
        assert_eq!(path(format_args!("{long}")), Err(Errno::NAMETOOLONG));
        assert_eq!(
            path(format_args!("/dev/{}", "sdb1")).as_deref(),
            Ok("/dev/sdb1")
        );
    }

    #[test]
    fn text_is_terminated_whole_or_not_at_all() {
        let mut room = [b'x'; PATH_MAX + 1];
        assert_eq!(terminated("mode", &mut room), Ok(c"mode"));
        assert_eq!(terminated("", &mut room), Ok(c""));
        assert_eq!(terminated("a\0b", &mut room), Err(Errno::INVAL));
        let longest = "x".repeat(PATH_MAX);
        assert!(terminated(&longest, &mut room).is_ok());
        assert_eq!(terminated(&(longest + "x"), &mut room), Err(Errno::INVAL));
    }
}
