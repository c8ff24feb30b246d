//! aarch64: syscall(2), "Architecture calling conventions".

use core::arch::asm;

/// `e_machine` of programs for this architecture (elf(5), EM_AARCH64).
pub const ELF_MACHINE: u16 = 183;

/// The architecture as `uname -m` names it.
pub const NAME: &str = "aarch64";

/// Enters the kernel with up to five arguments.
///
/// # Safety
/// The arguments satisfy what the manual page of system call `number` demands.
#[inline]
pub(in crate::sys) unsafe fn syscall5(
    number: u32,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
) -> isize {
    let result: isize;
    // SAFETY: the kernel preserves every register but x0; memory is not assumed unchanged.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number as usize,
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            options(nostack),
        );
    }
    result
}

/// Ends the process by SIGILL: the one end that no filter of system calls stands in the way of.
pub(in crate::sys) fn illegal_instruction() -> ! {
    // SAFETY: the instruction raises an exception, and nothing else.
    unsafe { asm!("udf #0", options(noreturn, nostack)) }
}
