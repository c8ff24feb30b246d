//! What to do about a root that the kernel does not mount, by the kernel's own words: those of Linux 6.1 to 7.

use super::find;

/// Words of the kernel about a filesystem, and what to do. The first row that fits counts.
pub(super) const WORDS: &[(&str, &str)] = &[
    // A journal that cannot be replayed, because nothing can be written.
    (
        "try mounting with noload",
        "its journal has to be replayed and the disk is write-protected: make it writable, or boot with `ro rootflags=noload`, without the last changes",
    ),
    (
        "Need to recover fsync data",
        "its log has to be replayed and the disk is write-protected: make it writable, or boot with `ro rootflags=norecovery`, without the last changes",
    ),
    (
        "write access unavailable, cannot proceed",
        "its log has to be replayed and the disk is write-protected: make it writable, or boot with `ro rootflags=norecovery`, without the last changes",
    ),
    (
        "log replay required on RO media",
        "its log has to be replayed and the disk is write-protected: make it writable, or boot with `ro rootflags=rescue=nologreplay`",
    ),
    (
        "nologreplay",
        "boot with `ro rootflags=rescue=nologreplay`, without the last changes, or with a newer kernel",
    ),
    // What is marked so that it must not be mounted.
    (
        "flag is not set",
        "Windows left it mounted or hibernated: start and shut that down, or boot with rootflags=force",
    ),
    (
        "chkdsk",
        "have Windows check it (chkdsk /f), or boot with ro",
    ),
    (
        "duplicate UUID",
        "another filesystem with this UUID is mounted, a copy perhaps: detach it, or boot with rootflags=nouuid",
    ),
    // What lies on other devices.
    (
        "external log",
        "its log is on another device: name it with rootflags=logdev=/dev/…",
    ),
    (
        "journal device",
        "its journal is on another device: name it with rootflags=journal_path=/dev/…",
    ),
    (
        "external journal",
        "its journal is on another device: name it with rootflags=journal_path=/dev/…",
    ),
    (
        "is missing",
        "a device of this filesystem is missing: attach it; with what its redundancy can do without, boot with rootflags=degraded",
    ),
    (
        "missing devices",
        "devices of this filesystem are missing: attach them, or boot with `ro rootflags=degraded`",
    ),
    (
        "max tolerance is",
        "devices of this filesystem are missing: attach them, or boot with `ro rootflags=degraded`",
    ),
    // What the image or the kernel lacks.
    (
        "crc32c driver",
        "the image lacks the module of this checksum: add it with `--module crc32c_generic`",
    ),
    (
        "crc32 driver",
        "the image lacks the module of this checksum: add it with `--module crc32_generic`",
    ),
    (
        "error allocating",
        "the image lacks the module of this checksum: add it with `--module xxhash_generic`, `sha256_generic` or `blake2b_generic`",
    ),
    (
        "compression. This is not supported",
        "the kernel was built without this compression: make the image with another (mksquashfs -comp)",
    ),
    (
        "isn't enabled on this kernel",
        "the kernel was built without this compression: make the image with another (mkfs.erofs -z)",
    ),
    (
        "NLS charset",
        "the image lacks the module of this character set: add it with `--module nls_…`, or boot with rootflags=iocharset=utf8",
    ),
    // What is newer than the kernel.
    (
        "only be safely mounted read only",
        "it was made with features that this kernel can only read: boot with ro, or with a newer kernel",
    ),
    (
        "unknown read-only compatible features",
        "it was made with features that this kernel can only read: boot with ro, or with a newer kernel",
    ),
    (
        "mount RDWR because of unsupported",
        "it was made with features that this kernel can only read: boot with ro, or with a newer kernel",
    ),
    (
        "read-write because of unknown",
        "it was made with features that this kernel can only read: boot with ro, or with a newer kernel",
    ),
    ("unsupported optional features", NEWER),
    ("unknown incompatible", NEWER),
    ("unidentified", NEWER),
    ("mount newer", NEWER),
    ("Deprecated V4 format", NEWER),
    ("unsupported super flag", NEWER),
    ("unsupported checksum", NEWER),
    // What does not fit this machine.
    ("page size", PAGE),
    ("pagesize", PAGE),
    ("Unsupported filesystem blocksize", PAGE),
    ("blkszbits", PAGE),
    ("exceeds size of device", SHORT),
    ("total_bytes should be", SHORT),
    ("beyond end of device", SHORT),
    ("last sector read failed", SHORT),
    // What is damaged.
    (
        "error loading journal",
        "its journal is damaged: run fsck from another system, or boot with `ro rootflags=noload` to read what is there",
    ),
    ("xfs_repair", "run xfs_repair on it from another system"),
    (
        "Log inconsistent",
        "its log is damaged: run xfs_repair from another system, or boot with `ro rootflags=norecovery`",
    ),
];

const NEWER: &str = "it was made with features that this kernel does not know: boot a newer kernel, or make it again without them";

const PAGE: &str =
    "its blocks have a size that this kernel cannot use: make it again with blocks of 4 KiB";

const SHORT: &str = "the device is smaller than the filesystem: the image was cut off, or its partition is too small";

/// What to do about a filesystem of which the kernel says nothing that is known; `subject` tells its type.
pub(super) fn repair(subject: &str) -> &'static str {
    const BY_TYPE: &[(&str, &str)] = &[
        (
            " as btrfs",
            "see the kernel's words; from another system, `btrfs check --readonly` tells more, and rootflags=rescue=usebackuproot may help",
        ),
        (" as xfs", "run xfs_repair on it from another system"),
        (" as squashfs", WRITE_AGAIN),
        (" as erofs", WRITE_AGAIN),
        (" as iso9660", WRITE_AGAIN),
        (" as ntfs", "have Windows check it (chkdsk /f)"),
    ];
    find(BY_TYPE, subject).unwrap_or("check the filesystem with fsck")
}

const WRITE_AGAIN: &str = "the image is damaged or cut off: write it to the device again";

/// What to do about an initramfs that the kernel could not unpack whole; `reason` is in its words (init/initramfs.c, lib/decompress_*.c).
#[must_use]
pub fn unpacking(reason: &str) -> &'static str {
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
    find(REASONS, reason).unwrap_or("it was cut off or damaged on its way: copy it again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Error, Op, Stage};
    use crate::hint::{explains, hint};

    #[test]
    fn the_kernels_words_tell_what_helps() {
        for (fstype, words, hinted) in [
            (
                "ext4",
                "EXT4-fs (vda1): write access unavailable, cannot proceed (try mounting with noload)",
                "rootflags=noload",
            ),
            (
                "xfs",
                "XFS (vda1): write access unavailable, cannot proceed.",
                "rootflags=norecovery",
            ),
            (
                "f2fs",
                "F2FS-fs (vda1): Need to recover fsync data, but write access unavailable, please try mount w/ disable_roll_forward or norecovery",
                "rootflags=norecovery",
            ),
            (
                "btrfs",
                "BTRFS warning (device vda1): log replay required on RO media",
                "rescue=nologreplay",
            ),
            (
                "btrfs",
                "BTRFS error (device vda): devid 2 uuid 0 is missing",
                "degraded",
            ),
            (
                "f2fs",
                "F2FS-fs (vda1): Cannot load crc32 driver.",
                "--module crc32_generic",
            ),
            (
                "ext4",
                "EXT4-fs (vda1): Cannot load crc32c driver.",
                "--module crc32c_generic",
            ),
            (
                "btrfs",
                "BTRFS error (device vda): error allocating blake2b-256-generic hash for checksum",
                "blake2b_generic",
            ),
            (
                "squashfs",
                "squashfs: Filesystem uses \"lzo\" compression. This is not supported",
                "mksquashfs -comp",
            ),
            (
                "ext4",
                "EXT4-fs (vda1): couldn't mount RDWR because of unsupported optional features (4000)",
                "boot with ro",
            ),
            (
                "ext4",
                "EXT4-fs (vda1): couldn't mount because of unsupported optional features (2000000)",
                "a newer kernel",
            ),
            (
                "xfs",
                "XFS (vda1): filesystem is marked as having an external log; specify logdev on the mount command line.",
                "logdev=",
            ),
            (
                "ext4",
                "EXT4-fs (vda1): bad geometry: block count 65536 exceeds size of device (16384 blocks)",
                "smaller than the filesystem",
            ),
            (
                "iso9660",
                "ISOFS: Unable to load NLS charset koi8-r",
                "nls_",
            ),
        ] {
            let error = |detail: &str| {
                let subject = format!("/dev/vda1 as {fstype}");
                Error::new(Stage::Root, Code::RootMount, Op::Mount, subject, detail)
            };
            let advice = hint(&error(words));
            assert!(advice.contains(hinted), "{words}: {advice}");
            assert!(explains(words) && !advice.contains("fsck"));
            let other = hint(&error("something else"));
            let has_fsck = matches!(fstype, "ext4" | "f2fs");
            assert_eq!(other.contains("fsck"), has_fsck, "{fstype}: {other}");
        }
    }

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
