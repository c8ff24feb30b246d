//! seccomp(2): what a process and its children may ask of the kernel, from now on and for ever.

use core::mem::size_of;

use linux_raw_sys::general as linux;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::arch::syscall5;
use super::raw::{check, owned};
use crate::parse::seccomp::Instruction;

/// include/uapi/linux/seccomp.h
const SECCOMP_SET_MODE_FILTER: usize = 1;
const SECCOMP_FILTER_FLAG_NEW_LISTENER: u32 = 8;
const SECCOMP_FILTER_FLAG_TSYNC_ESRCH: u32 = 16;

/// `struct sock_fprog` of include/uapi/linux/filter.h.
#[repr(C)]
struct FilterProgram {
    len: u16,
    instructions: *const Instruction,
}

/// Adds the filter `program` to this thread, or with the flag TSYNC to all of its process, and to
/// what it executes.
///
/// # Errors
/// Those of seccomp(2): `EACCES` without CAP_SYS_ADMIN in the user namespace or `no_new_privs`,
/// `EINVAL` for a program that the kernel does not take and for a flag that it does not know,
/// `ESRCH` if another thread has filters of its own.
pub fn add_filter(program: &[Instruction], flags: u32) -> Result<(), Errno> {
    check(add(program, flags)?).map(drop)
}

/// The same; the result is the descriptor by which the filter asks about calls
/// (seccomp_unotify(2)), marked close-on-exec.
///
/// # Errors
/// Those of seccomp(2), as above; `EBUSY` if this process has such a filter already.
pub fn add_filter_with_listener(program: &[Instruction], flags: u32) -> Result<OwnedFd, Errno> {
    let listener = add(program, flags | SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
    // SAFETY: with this flag, what the call returns is a new descriptor.
    unsafe { owned(listener) }
}

#[inline(never)]
fn add(program: &[Instruction], flags: u32) -> Result<isize, Errno> {
    const { assert!(size_of::<Instruction>() == 8) };
    let program = FilterProgram {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        instructions: program.as_ptr(),
    };
    // SAFETY: `program` names as many instructions as there are, and both outlive the call, which
    // copies them.
    Ok(unsafe { set_filter((&raw const program).expose_provenance(), flags) })
}

/// Whether this kernel has the flag of filters.
#[must_use]
pub fn has_flag(flag: u32) -> bool {
    // SAFETY: there is no program at null, and the kernel says so (`EFAULT`) when it has taken the
    // flags.
    let result = unsafe { set_filter(0, flag | SECCOMP_FILTER_FLAG_NEW_LISTENER) };
    result != -(Errno::INVAL.raw_os_error() as isize)
}

/// # Safety
/// `program` is the address of a [`FilterProgram`] that outlives the call, or null.
#[inline(never)]
unsafe fn set_filter(program: usize, flags: u32) -> isize {
    // With TSYNC, the number of a thread that could not follow would be the result; and a listener
    // is not to be had with that (kernel/seccomp.c, `seccomp_set_mode_filter`).
    let flags = flags | SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    // SAFETY: the caller's promise.
    unsafe {
        syscall5(
            linux::__NR_seccomp,
            SECCOMP_SET_MODE_FILTER,
            flags as usize,
            program,
            0,
            0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::has_flag;

    #[test]
    fn a_flag_that_the_kernel_has_not_is_told_from_one_that_it_has() {
        // TSYNC, LOG and SPEC_ALLOW are older than all that is started here.
        assert!([1, 2, 4].into_iter().all(has_flag));
        assert!(!has_flag(1 << 31));
    }
}
