//! What the kernel's own words about a mount or a module say: those of Linux 6.1 to 7.
//!
//! The kernel quotes what others wrote: options and their values, names of devices. So only that
//! part of a message is looked at which the kernel alone has written. A message begins with who
//! speaks and of which device, `EXT4-fs (vda1): `, and that is skipped; quoted text ends it; and
//! where a name follows without quotes, as in `IO charset NAME not found`, the row that fits first
//! in the message is the one that counts.

use super::Cause;
use crate::text::find;

/// Whose words they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// What filesystems have in common, and the block layer.
    Any,
    Ext,
    Fat,
    Xfs,
    Btrfs,
    F2fs,
    Squashfs,
    Erofs,
    Iso,
    Ntfs,
}

impl Speaker {
    fn of(fstype: &str) -> Self {
        match fstype {
            "ext2" | "ext3" | "ext4" => Self::Ext,
            "vfat" | "msdos" | "exfat" => Self::Fat,
            "xfs" => Self::Xfs,
            "btrfs" => Self::Btrfs,
            "f2fs" => Self::F2fs,
            "squashfs" => Self::Squashfs,
            "erofs" => Self::Erofs,
            "iso9660" => Self::Iso,
            "ntfs" | "ntfs3" => Self::Ntfs,
            _ => Self::Any,
        }
    }
}

const ROWS: &[(Speaker, &str, Cause)] = &[
    (Speaker::Any, "Unknown parameter", Cause::MountOption),
    (Speaker::Any, "Bad value for", Cause::MountOption),
    (
        Speaker::Any,
        "Unrecognized mount option",
        Cause::MountOption,
    ),
    (Speaker::Any, "beyond end of device", Cause::CutOff),
    // A journal that cannot be replayed, because nothing can be written.
    (Speaker::Ext, "try mounting with noload", Cause::ReplayExt),
    (Speaker::F2fs, "Need to recover fsync data", Cause::Replay),
    (
        Speaker::Xfs,
        "write access unavailable, cannot proceed",
        Cause::Replay,
    ),
    (
        Speaker::Btrfs,
        "log replay required on RO media",
        Cause::ReplayBtrfs,
    ),
    (Speaker::Btrfs, "nologreplay", Cause::ReplayNewer),
    // What is marked so that it must not be mounted. "volume is dirty and "force" flag is not set!"
    (Speaker::Ntfs, "volume is dirty and", Cause::Hibernated),
    (Speaker::Ntfs, "chkdsk", Cause::Chkdsk),
    (Speaker::Xfs, "duplicate UUID", Cause::DuplicateUuid),
    // What lies on other devices.
    (Speaker::Xfs, "external log", Cause::ExternalLog),
    (Speaker::Ext, "journal device", Cause::ExternalJournal),
    (Speaker::Ext, "external journal", Cause::ExternalJournal),
    (Speaker::Btrfs, "is missing", Cause::MissingDevice),
    (Speaker::Btrfs, "missing devices", Cause::DegradedReadOnly),
    (Speaker::Btrfs, "max tolerance is", Cause::DegradedReadOnly),
    // What the image or the kernel lacks.
    (Speaker::Fat, "IO charset", Cause::Charset),
    (Speaker::Fat, "codepage", Cause::Codepage),
    (Speaker::Iso, "NLS charset", Cause::Charset),
    (Speaker::Ext, "crc32c driver", Cause::Crc32c),
    (Speaker::F2fs, "crc32 driver", Cause::Crc32),
    (Speaker::Btrfs, "error allocating", Cause::Checksum),
    // "Filesystem uses "lzo" compression. This is not supported"
    (
        Speaker::Squashfs,
        "Filesystem uses ",
        Cause::SquashfsCompression,
    ),
    (
        Speaker::Erofs,
        "isn't enabled on this kernel",
        Cause::ErofsCompression,
    ),
    // What is newer than the kernel.
    (
        Speaker::Xfs,
        "only be safely mounted read only",
        Cause::ReadOnlyFeatures,
    ),
    (
        Speaker::Xfs,
        "unknown read-only compatible features",
        Cause::ReadOnlyFeatures,
    ),
    (
        Speaker::Ext,
        "mount RDWR because of unsupported",
        Cause::ReadOnlyFeatures,
    ),
    (
        Speaker::Btrfs,
        "read-write because of unknown",
        Cause::ReadOnlyFeatures,
    ),
    (Speaker::Any, "unsupported optional features", Cause::Newer),
    (Speaker::Any, "unknown incompatible", Cause::Newer),
    (Speaker::Any, "unidentified", Cause::Newer),
    (Speaker::Any, "mount newer", Cause::Newer),
    (Speaker::Xfs, "Deprecated V4 format", Cause::Newer),
    (Speaker::Btrfs, "unsupported super flag", Cause::Newer),
    (Speaker::Btrfs, "unsupported checksum", Cause::Newer),
    // What does not fit this machine.
    (Speaker::Any, "page size", Cause::PageSize),
    (Speaker::Any, "pagesize", Cause::PageSize),
    (
        Speaker::Ext,
        "Unsupported filesystem blocksize",
        Cause::PageSize,
    ),
    (Speaker::Erofs, "blkszbits", Cause::PageSize),
    (Speaker::Any, "bad block size", Cause::BlockSize),
    (
        Speaker::Fat,
        "logical sector size too small",
        Cause::BlockSize,
    ),
    (Speaker::Ext, "exceeds size of device", Cause::CutOff),
    (Speaker::Btrfs, "total_bytes should be", Cause::CutOff),
    (Speaker::Xfs, "last sector read failed", Cause::CutOff),
    // What is damaged.
    (Speaker::Ext, "error loading journal", Cause::JournalDamaged),
    (Speaker::Xfs, "xfs_repair", Cause::Xfs),
    (Speaker::Xfs, "Log inconsistent", Cause::LogDamaged),
];

/// The part of a message that the kernel alone has written: from behind who speaks to where a
/// quotation begins. An apostrophe that follows a letter, as in `isn't`, begins none.
fn own(words: &str) -> &[u8] {
    let mut text = words.as_bytes();
    for quote in [&b"\""[..], b"`", b" '"] {
        let end = find(text, quote).unwrap_or(text.len());
        text = text.get(..end).unwrap_or_default();
    }
    let start = find(text, b": ").unwrap_or_default();
    text.get(start..).unwrap_or_default()
}

/// What the kernel's words about a filesystem of the type `fstype` say; it may be empty where it is
/// not known.
#[inline(never)]
#[must_use]
pub(crate) fn of_filesystem(fstype: &str, words: &str) -> Cause {
    let speaker = Speaker::of(fstype);
    let text = own(words);
    let rows = ROWS
        .iter()
        .filter(|row| row.0 == Speaker::Any || row.0 == speaker);
    let mut first = (usize::MAX, Cause::Unknown);
    for (_, part, cause) in rows {
        if let Some(at) = find(text, part.as_bytes())
            && at < first.0
        {
            first = (at, *cause);
        }
    }
    first.1
}

/// What the kernel's words about a module say, which begin with its name, and that has no spaces in
/// it. With CONFIG_MODVERSIONS the kernel does not compare releases but the symbols that the module
/// uses (kernel/module/version.c).
#[must_use]
pub(crate) fn of_module(words: &str) -> Cause {
    const OF_ANOTHER: [&str; 2] = ["version magic '", "disagrees about version of symbol "];
    if words.starts_with("Module ") && words.ends_with(" is blacklisted") {
        return Cause::Blacklisted;
    }
    let said = find(words.as_bytes(), b": ").and_then(|at| words.get(at + 2..));
    let said = said.unwrap_or_default();
    match OF_ANOTHER.iter().any(|known| said.starts_with(known)) {
        true => Cause::OtherKernel,
        false => Cause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of the kernel for each row, and the cause that is in it.
    const SAID: &[(&str, &str, Cause)] = &[
        (
            "tmpfs",
            "tmpfs: Unknown parameter 'nonsense'",
            Cause::MountOption,
        ),
        ("tmpfs", "tmpfs: Bad value for 'size'", Cause::MountOption),
        (
            "ext4",
            "EXT4-fs (vda1): Unrecognized mount option \"nonsense\" or missing value",
            Cause::MountOption,
        ),
        (
            "ext4",
            "EXT4-fs (vda1): write access unavailable, cannot proceed (try mounting with noload)",
            Cause::ReplayExt,
        ),
        (
            "xfs",
            "XFS (vda1): write access unavailable, cannot proceed.",
            Cause::Replay,
        ),
        (
            "f2fs",
            "F2FS-fs (vda1): Need to recover fsync data, but write access unavailable, please try mount w/ disable_roll_forward or norecovery",
            Cause::Replay,
        ),
        (
            "btrfs",
            "BTRFS warning (device vda1): log replay required on RO media",
            Cause::ReplayBtrfs,
        ),
        (
            "btrfs",
            "BTRFS error (device vda1 state E): cannot replay dirty log with unsupported compat_ro features (0x8), try rescue=nologreplay",
            Cause::ReplayNewer,
        ),
        (
            "ntfs3",
            "ntfs3: vda1: volume is dirty and \"force\" flag is not set!",
            Cause::Hibernated,
        ),
        (
            "ntfs3",
            "ntfs3: vda1: It is recommened to use chkdsk.",
            Cause::Chkdsk,
        ),
        (
            "xfs",
            "XFS (vda1): Filesystem has duplicate UUID 5f - can't mount",
            Cause::DuplicateUuid,
        ),
        (
            "xfs",
            "XFS (vda1): filesystem is marked as having an external log; specify logdev on the mount command line.",
            Cause::ExternalLog,
        ),
        (
            "ext4",
            "EXT4-fs (vda1): failed to open journal device unknown-block(8,1) -6",
            Cause::ExternalJournal,
        ),
        (
            "btrfs",
            "BTRFS error (device vda): devid 2 uuid 0 is missing",
            Cause::MissingDevice,
        ),
        (
            "btrfs",
            "BTRFS warning (device vda): chunk 1 missing 1 devices, max tolerance is 0 for writable mount",
            Cause::DegradedReadOnly,
        ),
        (
            "vfat",
            "FAT-fs (vda1): IO charset ascii not found",
            Cause::Charset,
        ),
        (
            "vfat",
            "FAT-fs (vda1): codepage cp437 not found",
            Cause::Codepage,
        ),
        (
            "iso9660",
            "ISOFS: Unable to load NLS charset koi8-r",
            Cause::Charset,
        ),
        (
            "ext4",
            "EXT4-fs (vda1): Cannot load crc32c driver.",
            Cause::Crc32c,
        ),
        (
            "f2fs",
            "F2FS-fs (vda1): Cannot load crc32 driver.",
            Cause::Crc32,
        ),
        (
            "btrfs",
            "BTRFS error (device vda): error allocating blake2b-256-generic hash for checksum",
            Cause::Checksum,
        ),
        (
            "squashfs",
            "SQUASHFS error: Filesystem uses \"lzo\" compression. This is not supported",
            Cause::SquashfsCompression,
        ),
        (
            "erofs",
            "erofs (device vda1): compression algorithm 3 isn't enabled on this kernel",
            Cause::ErofsCompression,
        ),
        (
            "ext4",
            "EXT4-fs (vda1): couldn't mount RDWR because of unsupported optional features (4000)",
            Cause::ReadOnlyFeatures,
        ),
        (
            "ext4",
            "EXT4-fs (vda1): couldn't mount because of unsupported optional features (2000000)",
            Cause::Newer,
        ),
        (
            "squashfs",
            "SQUASHFS error: Major/Minor mismatch, trying to mount newer 5.0 filesystem",
            Cause::Newer,
        ),
        (
            "btrfs",
            "BTRFS error (device vda): sectorsize 4096 not yet supported for page size 65536",
            Cause::PageSize,
        ),
        (
            "ext4",
            "EXT4-fs (vda1): bad geometry: block count 65536 exceeds size of device (16384 blocks)",
            Cause::CutOff,
        ),
        (
            "ext4",
            "EXT4-fs (vda1): bad block size 1024",
            Cause::BlockSize,
        ),
        (
            "ext4",
            "EXT4-fs (vda1): error loading journal",
            Cause::JournalDamaged,
        ),
        (
            "xfs",
            "XFS (vda1): Corruption detected. Unmount and run xfs_repair",
            Cause::Xfs,
        ),
    ];

    #[test]
    fn the_kernels_words_tell_the_cause() {
        for (fstype, words, cause) in SAID {
            assert_eq!(of_filesystem(fstype, words), *cause, "{words}");
        }
        assert_eq!(of_filesystem("ext4", "something else"), Cause::Unknown);
        assert_eq!(of_filesystem("ext4", ""), Cause::Unknown);
    }

    #[test]
    fn what_the_kernel_quotes_tells_nothing() {
        for (_, part, _) in ROWS {
            for (fstype, words, cause) in [
                (
                    "ext4",
                    format!("ext4: Unknown parameter '{part}'"),
                    Cause::MountOption,
                ),
                (
                    "ext4",
                    format!("ext4: Unknown parameter 'x): {part}'"),
                    Cause::MountOption,
                ),
                (
                    "ext4",
                    format!(
                        "EXT4-fs (vda1): Unrecognized mount option \"{part}\" or missing value"
                    ),
                    Cause::MountOption,
                ),
                (
                    "vfat",
                    format!("FAT-fs (vda1): IO charset {part} not found"),
                    Cause::Charset,
                ),
                (
                    "vfat",
                    format!("FAT-fs (vda1): codepage {part} not found"),
                    Cause::Codepage,
                ),
                (
                    "iso9660",
                    format!("ISOFS: Unable to load NLS charset {part}"),
                    Cause::Charset,
                ),
                (
                    "xfs",
                    format!("XFS (md_{part}): Unmount and run xfs_repair"),
                    Cause::Xfs,
                ),
                (
                    "overlay",
                    format!("overlayfs: failed to resolve '/{part}': -2"),
                    Cause::Unknown,
                ),
            ] {
                assert_eq!(of_filesystem(fstype, &words), cause, "{words}");
            }
        }
    }

    #[test]
    fn a_module_of_another_kernel_is_told_from_others() {
        for (words, cause) in [
            (
                "vfat: version magic '5.0.0-none SMP' should be '6.1.0 SMP'",
                Cause::OtherKernel,
            ),
            (
                "vfat: disagrees about version of symbol module_layout",
                Cause::OtherKernel,
            ),
            ("Module nls_utf8 is blacklisted", Cause::Blacklisted),
            (
                "vfat: `version magic ' invalid for parameter `x'",
                Cause::Unknown,
            ),
            (
                "vfat: unknown parameter 'disagrees about version of symbol ' ignored",
                Cause::Unknown,
            ),
            ("", Cause::Unknown),
        ] {
            assert_eq!(of_module(words), cause, "{words}");
        }
    }
}
