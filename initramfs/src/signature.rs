//! Signatures of modules: appended behind the ELF file, checked by the kernel when it loads one.
//!
//! The check is the greater part of the time that loading takes. A kernel that does not insist on
//! signatures loads a module without one too, and marks itself as tainted
//! (Documentation/admin-guide/module-signing.rst).

use std::ops::Range;

use anyhow::{Result, ensure};

use crate::kernel::Config;

const MAGIC: &[u8] = b"~Module signature appended~\n";

/// `struct module_signature`, include/linux/module_signature.h; it stands before the magic.
const DESCRIPTION: usize = 12;
/// The length of the signature, big-endian.
const LENGTH: Range<usize> = 8..12;

/// The module without its signature, if it has one.
pub(crate) fn stripped(module: &[u8]) -> &[u8] {
    let strip = || {
        let rest = module.strip_suffix(MAGIC)?;
        let (rest, description) = rest.split_at_checked(rest.len().checked_sub(DESCRIPTION)?)?;
        let length = u32::from_be_bytes(description.get(LENGTH)?.try_into().ok()?);
        rest.get(..rest.len().checked_sub(length.try_into().ok()?)?)
    };
    strip().unwrap_or(module)
}

/// Refuses to strip for a kernel that would not load the result.
///
/// # Errors
/// The option that has the kernel insist on signatures.
pub(crate) fn check(config: &Config, release: &str) -> Result<()> {
    const INSISTS: [&str; 3] = [
        "CONFIG_MODULE_SIG_FORCE",
        "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY",
        "CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY",
    ];
    let insists = INSISTS.iter().find(|symbol| config.is_set(symbol));
    ensure!(
        insists.is_none(),
        "--strip-signatures: kernel {release} loads signed modules only ({}=y)",
        insists.unwrap_or(&"")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_goes_and_nothing_else() {
        let mut module = b"ELF and so on".to_vec();
        assert_eq!(stripped(&module), b"ELF and so on");
        module.extend(b"signature");
        module.extend([0; 8]);
        module.extend(9_u32.to_be_bytes());
        module.extend(MAGIC);
        assert_eq!(stripped(&module), b"ELF and so on");
        // A length that is longer than the file.
        let at = module.len() - MAGIC.len() - 4;
        module[at] = 0xff;
        assert_eq!(stripped(&module), module);
    }
}
