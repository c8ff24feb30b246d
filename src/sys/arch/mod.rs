//! The instruction that enters the kernel, one file for each architecture.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::{ELF_MACHINE, NAME};
#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::{illegal_instruction, syscall5};
#[cfg(target_arch = "x86_64")]
pub use x86_64::{ELF_MACHINE, NAME};
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{illegal_instruction, syscall5};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("berth runs on x86_64 and aarch64");
