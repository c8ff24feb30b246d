//! Other programs: their arguments and variables, and how this process becomes one.

use core::ffi::{CStr, c_char};

use linux_raw_sys::general as linux;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::{Errno, read, write};
use rustix::path::Arg;

use super::{Environment, exit};
use crate::sys::arch::syscall5;
use crate::sys::descriptors::close_all_but;

/// A list of C strings that ends in null, as `execve(2)` takes its arguments and environment.
#[derive(Clone, Copy)]
pub struct StringList<'a>(&'a [*const c_char]);

impl<'a> StringList<'a> {
    /// The list that `pointers` holds.
    ///
    /// # Safety
    /// `pointers` ends in a null pointer; all before it point to C strings that outlive `'a`.
    pub const unsafe fn new(pointers: &'a [*const c_char]) -> Self {
        Self(pointers)
    }

    /// The pointers, with the null that ends them and what is behind it.
    pub(in crate::sys) const fn pointers(self) -> &'a [*const c_char] {
        self.0
    }

    /// The strings, in order.
    pub fn iter(self) -> impl Iterator<Item = &'a CStr> + Clone {
        let strings = self.0.iter().take_while(|pointer| !pointer.is_null());
        // SAFETY: it is not null, so it points to a C string that outlives the list.
        strings.map(|pointer| unsafe { CStr::from_ptr(*pointer) })
    }

    /// Writes zeros over the strings.
    ///
    /// # Safety
    /// They can be written to, and no reference to one is used any more.
    pub(super) unsafe fn wipe(self) {
        for pointer in self.0.iter().take_while(|pointer| !pointer.is_null()) {
            let mut byte = pointer.cast_mut();
            // SAFETY: it is a C string, which is left with its NUL, and writable, as the caller
            // promises.
            unsafe {
                while byte.read() != 0 {
                    byte.write_volatile(0);
                    byte = byte.add(1);
                }
            }
        }
    }
}

/// `execve(2)`: replaces this process by the program at `path`; returns only on failure.
///
/// # Errors
/// Those of `execve(2)`; `ENAMETOOLONG` for a path that does not fit.
pub fn execute(path: &str, arguments: StringList<'_>, environment: Environment<'_>) -> Errno {
    let result = path.into_with_c_str(|path| Ok(at_path(path, arguments, environment.list())));
    result.unwrap_or_else(|errno| errno)
}

fn at_path(path: &CStr, arguments: StringList<'_>, environment: StringList<'_>) -> Errno {
    // SAFETY: `StringList` promises null-terminated lists of C strings; `path` is one.
    let result = unsafe {
        syscall5(
            linux::__NR_execve,
            path.as_ptr().expose_provenance(),
            arguments.0.as_ptr().expose_provenance(),
            environment.0.as_ptr().expose_provenance(),
            0,
            0,
        )
    };
    Errno::from_raw_os_error(-result as i32)
}

/// `execveat(2)`: replaces this process by the program in `file`; returns only on failure.
///
/// # Errors
/// Those of `execveat(2)`.
pub fn execute_descriptor(
    file: BorrowedFd<'_>,
    arguments: StringList<'_>,
    environment: StringList<'_>,
) -> Errno {
    // SAFETY: `StringList` promises null-terminated lists of C strings; the path is the empty C
    // string.
    let result = unsafe {
        syscall5(
            linux::__NR_execveat,
            file.as_raw_fd() as usize,
            c"".as_ptr().expose_provenance(),
            arguments.0.as_ptr().expose_provenance(),
            environment.0.as_ptr().expose_provenance(),
            linux::AT_EMPTY_PATH as usize,
        )
    };
    Errno::from_raw_os_error(-result as i32)
}

/// Closes all descriptors but the three standard ones and `failure`, and becomes the program at
/// `path`. If that fails, writes the error number to `failure` and ends with status 127.
pub fn execute_or_report(
    path: &str,
    arguments: StringList<'_>,
    environment: Environment<'_>,
    failure: BorrowedFd<'_>,
) -> ! {
    // SAFETY: this function does not return, so no owner of a descriptor is used any more.
    let closed = unsafe { close_all_but(3, &[failure]) };
    let errno = match closed {
        Ok(()) => execute(path, arguments, environment),
        Err(errno) => errno,
    };
    let _ = write(failure, &errno.raw_os_error().to_ne_bytes());
    exit(127)
}

/// Closes all descriptors but `pipe`, waits until nobody has its other end, and ends.
pub fn stay_until_closed(pipe: BorrowedFd<'_>) -> ! {
    // SAFETY: this function does not return, so no owner of a descriptor is used any more.
    let _ = unsafe { close_all_but(0, &[pipe]) };
    let _ = read(pipe, &mut [0; 1]);
    exit(0)
}
