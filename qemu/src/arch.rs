//! The architectures that a guest may have, and what differs between them.

use clap::ValueEnum;

/// A guest's architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Arch {
    /// 64-bit x86: QEMU's `pc` machine.
    #[default]
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit ARM: QEMU's `virt` machine with a Cortex-A57.
    #[value(name = "aarch64")]
    Aarch64,
}

impl Arch {
    /// The name in Debian's packages (`amd64`, `arm64`).
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The compiler's name for it.
    pub(crate) fn rust_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The program that emulates it.
    pub fn qemu(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
        }
    }

    /// QEMU's machine.
    pub(crate) fn machine(self) -> &'static str {
        match self {
            Self::X86_64 => "pc",
            Self::Aarch64 => "virt",
        }
    }

    /// The processor for TCG. KVM takes the host's.
    ///
    /// On x86_64 without `cmpxchg16b`: QEMU 7.2's single-processor TCG corrupts the flags there,
    /// and Linux 6.12, whose allocator lives on that instruction, then panics in nine boots out of
    /// ten. Kernels do without where it is missing.
    pub(crate) fn tcg_cpu(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu64,-cx16",
            Self::Aarch64 => "cortex-a57",
        }
    }

    /// The kernel's name for the first serial port.
    pub fn console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
            Self::Aarch64 => "ttyAMA0",
        }
    }

    /// Words for the kernel of an emulated machine.
    ///
    /// The x86 kernel counts ticks of the timer in a busy loop at its start and panics when too few
    /// come ("IO-APIC + timer doesn't work"), as happens where the host has no time for the
    /// emulator's timer thread. The kernel's tests of its own ciphers are a fifth of an emulated
    /// boot.
    pub(crate) fn tcg_words(self) -> &'static str {
        match self {
            Self::X86_64 => "no_timer_check cryptomgr.notests",
            Self::Aarch64 => "cryptomgr.notests",
        }
    }

    /// Whether this program runs on that architecture, so that KVM could run the guest.
    pub(crate) fn is_host(self) -> bool {
        match self {
            Self::X86_64 => cfg!(target_arch = "x86_64"),
            Self::Aarch64 => cfg!(target_arch = "aarch64"),
        }
    }
}
