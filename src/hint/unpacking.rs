//! What to do about an initramfs that the kernel could not unpack whole.

use crate::text::contains;

/// What to do about an initramfs that the kernel could not unpack whole; `reason` is in its words
/// (init/initramfs.c, lib/decompress_*.c).
#[must_use]
pub(crate) fn unpacking(reason: &str) -> &'static str {
    const REASONS: &[(&str, &str)] = &[
        (
            "write error",
            "it does not fit into memory: give the VM more, or build a smaller image",
        ),
        (
            "padding",
            "an archive in it does not begin at a multiple of 4 bytes: what is put together needs zeros in between",
        ),
        ("magic", NO_ARCHIVE),
        ("junk", NO_ARCHIVE),
        (
            "cpio method",
            "an archive in it is of another format: make it with `cpio -H newc`",
        ),
        (
            "not configured",
            "the kernel cannot decompress it: compress it by another method",
        ),
    ];
    const NO_ARCHIVE: &str = "what follows the first archive in it is none: each of those that are put together is a whole cpio archive, of newc";
    let row = REASONS.iter().find(|(known, _)| contains(reason, known));
    row.map_or(
        "it was cut off or damaged on its way: copy it again",
        |(_, hint)| hint,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_not_unpacked_whole_is_explained() {
        for (reason, hinted) in [
            ("write error", "more"),
            ("broken padding", "multiple of 4 bytes"),
            ("no cpio magic", "newc"),
            ("invalid magic at start of compressed archive", "newc"),
            ("junk within compressed archive", "newc"),
            ("incorrect cpio method used: use -H newc option", "-H newc"),
            ("compression method zstd not configured", "another method"),
            ("ZSTD-compressed data is truncated", "copy it again"),
            ("XZ-compressed data is corrupt", "copy it again"),
        ] {
            let hint = unpacking(reason);
            assert!(hint.contains(hinted), "{reason}: {hint}");
        }
    }
}
