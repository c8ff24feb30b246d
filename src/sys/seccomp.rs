//! seccomp(2): what a process and its children may ask of the kernel, from now on and for ever.

use core::mem::size_of;

use linux_raw_sys::general as linux;
use rustix::io::Errno;

use super::arch::syscall5;
use crate::parse::seccomp::Instruction;

/// include/uapi/linux/seccomp.h
const SECCOMP_SET_MODE_FILTER: usize = 1;

/// `struct sock_fprog` of include/uapi/linux/filter.h.
#[repr(C)]
struct FilterProgram {
    len: u16,
    instructions: *const Instruction,
}

/// Adds the filter `program` to this thread, or with the flag TSYNC to all of its process, and to what it executes.
///
/// # Errors
/// Those of seccomp(2): `EACCES` without CAP_SYS_ADMIN in the user namespace or `no_new_privs`, `EINVAL` for a program that the
/// kernel does not take and for a flag that it does not know, `ESRCH` if another thread has filters of its own.
pub fn add_filter(program: &[Instruction], flags: u32) -> Result<(), Errno> {
    const { assert!(size_of::<Instruction>() == 8) };
    let program = FilterProgram {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        instructions: program.as_ptr(),
    };
    // SAFETY: `program` names as many instructions as there are, and both outlive the call, which copies them.
    let result = unsafe {
        syscall5(
            linux::__NR_seccomp,
            SECCOMP_SET_MODE_FILTER,
            flags as usize,
            (&raw const program).expose_provenance(),
            0,
            0,
        )
    };
    match result {
        0 => Ok(()),
        // With TSYNC, the thread that could not follow.
        1.. => Err(Errno::SRCH),
        errno => Err(Errno::from_raw_os_error(-errno as i32)),
    }
}
