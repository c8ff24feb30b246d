//! x86_64: syscall(2), "Architecture calling conventions".

use core::arch::asm;

/// `e_machine` of programs for this architecture (elf(5), EM_X86_64).
pub const ELF_MACHINE: u16 = 62;

/// The architecture as `uname -m` names it.
pub const NAME: &str = "x86_64";

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
    // SAFETY: the instruction clobbers rcx and r11 only; memory is not assumed unchanged.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Ends the process by SIGILL: the one end that no filter of system calls stands in the way of.
pub(in crate::sys) fn illegal_instruction() -> ! {
    // SAFETY: the instruction raises an exception, and nothing else.
    unsafe { asm!("ud2", options(noreturn, nostack)) }
}
