//! Where the code is that only the boot runs: the linker puts it together (`src/link.ld`).

use berth::sys::resident::Code;

// SAFETY: the linker defines both.
unsafe extern "C" {
    /// The first byte of it, and the first behind it.
    static boot_start: u8;
    static boot_end: u8;
}

/// The code that only the boot runs.
pub(crate) fn boot_code() -> Code {
    let addresses = (&raw const boot_start).addr()..(&raw const boot_end).addr();
    // SAFETY: the linker puts code there, and nothing that can be written.
    unsafe { Code::new(addresses) }
}
