//! What a C library would do before `main`: the entry point, the memory functions, the panic
//! handler.
//!
//! All that differs between architectures outside [`berth::sys::arch`] is in this file.

use core::arch::{asm, naked_asm};
use core::ffi::c_char;
use core::panic::PanicInfo;
use core::slice;

use berth::sys::process::StringList;
use berth::sys::process::{Arguments, Environment};
use berth::sys::strings::keep_inherited;

/// Where the kernel starts the program: the stack pointer points at argc, argv, a null pointer,
/// envp, a null pointer, the auxiliary vector (System V ABI, "Process Initialization").
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "mov rdi, rsp",
        "and rsp, -16",
        "call {start}",
        "ud2",
        start = sym start,
    )
}

/// Where the kernel starts the program; see the other architecture.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "mov x29, #0",
        "mov x30, #0",
        "mov x0, sp",
        "and sp, x0, #-16",
        "bl {start}",
        "brk #1",
        start = sym start,
    )
}

unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the kernel put argc here, and the vectors behind it.
    let (arguments, environment) = unsafe {
        let argc = *stack;
        let argv = stack.add(1).cast::<*const c_char>();
        let envp = argv.add(argc + 1);
        let mut len = 0;
        while !(*envp.add(len)).is_null() {
            len += 1;
        }
        (
            StringList::new(slice::from_raw_parts(argv, argc + 1)),
            StringList::new(slice::from_raw_parts(envp, len + 1)),
        )
    };
    keep_inherited(environment);
    crate::main(
        Arguments::from_list(arguments),
        // SAFETY: the kernel has put them there, into memory that is this process's.
        unsafe { Environment::own(environment) },
    )
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => crate::panicked(format_args!("panic at {place}: {}", info.message())),
        None => crate::panicked(format_args!("panic: {}", info.message())),
    }
}

/// Named by precompiled libraries that were built to unwind. This program aborts.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

// The compiler calls these five for copies, fills and comparisons (core, "linking requirements").
// They are written with instructions that it cannot turn back into calls.

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller's promise: both hold `len` bytes and do not overlap.
    unsafe { copy_forward(to, from, len) };
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= len {
        // SAFETY: the caller's promise: both hold `len` bytes; what is overwritten was copied
        // before.
        unsafe { copy_forward(to, from, len) };
    } else {
        // SAFETY: likewise, from the other end.
        unsafe { copy_backward(to, from, len) };
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    // SAFETY: the caller's promise: `to` holds `len` bytes.
    unsafe { fill(to, value as u8, len) };
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    /// Eight bytes, wherever they lie.
    #[derive(Clone, Copy)]
    #[repr(C, packed)]
    struct Word(u64);

    let mut at = 0;
    while at + size_of::<Word>() <= len {
        // SAFETY: the caller's promise: both hold `len` bytes. Volatile, so that the loop is not
        // taken for a memcmp.
        let (Word(a), Word(b)) = unsafe {
            let words = (left.add(at).cast::<Word>(), right.add(at).cast::<Word>());
            (words.0.read_volatile(), words.1.read_volatile())
        };
        if a != b {
            break;
        }
        at += size_of::<Word>();
    }
    while at < len {
        // SAFETY: likewise.
        let (a, b) = unsafe { (left.add(at).read_volatile(), right.add(at).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        at += 1;
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    // SAFETY: the caller's promise is the same.
    unsafe { memcmp(left, right, len) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const c_char) -> usize {
    let mut len = 0;
    // SAFETY: the caller's promise: a NUL ends it. Volatile, so that the loop is not taken for a
    // strlen.
    while unsafe { text.add(len).read_volatile() } != 0 {
        len += 1;
    }
    len
}

#[cfg(target_arch = "x86_64")]
unsafe fn copy_forward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the direction flag is clear, as the ABI demands; the caller vouches for the ranges.
    unsafe {
        asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn copy_backward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the direction flag is cleared again; the caller vouches for the ranges.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") len => _,
            inout("rdi") to.wrapping_add(len).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(len).wrapping_sub(1) => _, options(nostack));
    }
}

#[cfg(target_arch = "x86_64")]
unsafe fn fill(to: *mut u8, value: u8, len: usize) {
    // SAFETY: the direction flag is clear, as the ABI demands; the caller vouches for the range.
    unsafe {
        asm!("rep stosb", inout("rcx") len => _, inout("rdi") to => _, in("al") value,
            options(nostack, preserves_flags));
    }
}

#[cfg(target_arch = "aarch64")]
unsafe fn copy_forward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller vouches for the ranges.
    unsafe {
        asm!("cbz {len}, 2f", "1:", "ldrb {byte:w}, [{from}], #1", "strb {byte:w}, [{to}], #1",
            "subs {len}, {len}, #1", "b.ne 1b", "2:",
            len = inout(reg) len => _, to = inout(reg) to => _, from = inout(reg) from => _,
            byte = out(reg) _, options(nostack));
    }
}

#[cfg(target_arch = "aarch64")]
unsafe fn copy_backward(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller vouches for the ranges.
    unsafe {
        asm!("cbz {len}, 2f", "1:", "ldrb {byte:w}, [{from}, #-1]!", "strb {byte:w}, [{to}, #-1]!",
            "subs {len}, {len}, #1", "b.ne 1b", "2:",
            len = inout(reg) len => _, to = inout(reg) to.wrapping_add(len) => _,
            from = inout(reg) from.wrapping_add(len) => _, byte = out(reg) _, options(nostack));
    }
}

#[cfg(target_arch = "aarch64")]
unsafe fn fill(to: *mut u8, value: u8, len: usize) {
    // SAFETY: the caller vouches for the range.
    unsafe {
        asm!("cbz {len}, 2f", "1:", "strb {value:w}, [{to}], #1", "subs {len}, {len}, #1", "b.ne 1b", "2:",
            len = inout(reg) len => _, to = inout(reg) to => _, value = in(reg) u32::from(value),
            options(nostack));
    }
}
