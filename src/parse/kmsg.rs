//! One record of the kernel's log, as a read of `/dev/kmsg` gives it
//! (Documentation/ABI/testing/dev-kmsg).
//!
//! ```text
//! 3,401,1202000,-;sd 0:0:0:0: [sda] tag#0 FAILED Result: hostbyte=DID_OK
//!  SUBSYSTEM=scsi
//!  DEVICE=+scsi:0:0:0:0
//! ```

use crate::text::find;

/// Warnings and what is worse (syslog(2)).
const WARNING: u32 = 4;

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Whether the kernel wrote it, and not a program.
    pub is_kernels: bool,
    /// How much it matters: 0 is an emergency, 7 is for debugging.
    pub level: u32,
    /// The message.
    pub text: &'a [u8],
    /// The subsystem of the device that it is about: `block`, `scsi`, `pci`, …
    pub subsystem: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// Reads a record; `None` if it is none.
    #[must_use]
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let header_end = record.iter().position(|byte| *byte == b';')?;
        let (header, text) = record.split_at_checked(header_end)?;
        let priority = core::str::from_utf8(header.split(|byte| *byte == b',').next()?).ok()?;
        let priority: u32 = priority.parse().ok()?;
        let mut lines = text.get(1..)?.split(|byte| *byte == b'\n');
        Some(Self {
            // The lower three bits are the level, the others the facility: 0 is the kernel.
            is_kernels: priority >> 3 == 0,
            level: priority & 7,
            text: lines.next()?,
            subsystem: lines.find_map(|line| line.strip_prefix(b" SUBSYSTEM=")),
        })
    }

    /// Whether the kernel complains of something.
    #[must_use]
    pub fn is_complaint(&self) -> bool {
        self.is_kernels && self.level <= WARNING
    }

    /// Whether it is a complaint about a disk, what a disk is attached to, a filesystem, or the
    /// image.
    #[must_use]
    pub fn bears_on_the_root(&self) -> bool {
        const SUBSYSTEMS: &[&str] = &[
            "ata", "bdi", "block", "mmc", "nvme", "pci", "platform", "scsi", "usb", "virtio",
        ];
        const WORDS: &[&str] = &[
            "-fs ",
            "-fs:",
            "9p",
            "BTRFS",
            "I/O error",
            "ISOFS",
            "Initramfs",
            "SQUASHFS",
            "VFS:",
            "XFS",
            "ata",
            "device-mapper",
            "erofs",
            "exFAT",
            "mmc",
            "module",
            "ntfs",
            "nvme",
            "overlayfs",
            "scsi",
            "sd ",
            "usb ",
            "virtio",
        ];
        let subsystem = |known: &&str| self.subsystem == Some(known.as_bytes());
        // A driver's name begins the message; what is inside a longer word is another one.
        let word = |known: &&str| {
            let at = find(self.text, known.as_bytes());
            at.is_some_and(|at| {
                let before = at.checked_sub(1).and_then(|before| self.text.get(before));
                !before.is_some_and(u8::is_ascii_lowercase)
            })
        };
        // What every SCSI disk says when it is first asked something.
        const HARMLESS: &[u8] = b"Power-on or device reset occurred";
        let is_harmless = find(self.text, HARMLESS).is_some();
        self.is_complaint()
            && !is_harmless
            && (SUBSYSTEMS.iter().any(subsystem) || WORDS.iter().any(word))
    }

    /// Whether the kernel says that a filesystem cannot be written any more, because of an error:
    /// the words of ext4 and f2fs, ext2, FAT and exFAT, btrfs, XFS.
    #[must_use]
    pub fn tells_of_a_lost_filesystem(&self) -> bool {
        const WORDS: &[&str] = &[
            ": Remounting filesystem read-only",
            ": error: remounting filesystem read-only",
            ": Filesystem has been set read-only",
            ": forced readonly",
            ": Filesystem has been shut down due to ",
        ];
        const DRIVERS: &[&str] = &["BTRFS", "EXT", "F2FS-fs", "FAT-fs", "XFS", "exFAT-fs"];
        self.is_kernels
            && DRIVERS
                .iter()
                .any(|name| self.text.starts_with(name.as_bytes()))
            && WORDS
                .iter()
                .any(|words| find(self.text, words.as_bytes()).is_some())
    }

    /// Why the kernel could not unpack the initramfs whole, if it says so (init/initramfs.c).
    #[must_use]
    pub fn unpacking_failure(&self) -> Option<&'a [u8]> {
        let text = self.text.strip_prefix(b"Initramfs unpacking failed: ");
        text.filter(|_| self.is_kernels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Record<'_> {
        Record::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_record_is_read_with_its_device() {
        let record =
            parse("3,401,1202000,-;FAT-fs (sdb1): IO charset ascii not found\n SUBSYSTEM=block\n");
        assert!(record.is_kernels && record.is_complaint() && record.bears_on_the_root());
        assert_eq!(record.text, b"FAT-fs (sdb1): IO charset ascii not found");
        assert_eq!(record.subsystem, Some(&b"block"[..]));
    }

    #[test]
    fn what_programs_or_the_kernel_merely_mention_is_no_complaint() {
        assert!(!parse("6,401,1202000,-;sd 0:0:0:0: [sda] Attached SCSI disk\n").is_complaint());
        assert!(!parse("11,402,1202000,-;berth: root: mount failed\n").is_complaint());
        assert_eq!(Record::parse(b"garbage"), None);
        assert_eq!(Record::parse(b"x;y"), None);
        assert_eq!(Record::parse(b""), None);
    }

    #[test]
    fn complaints_about_disks_are_told_from_others() {
        for (text, bears) in [
            ("I/O error, dev vda, sector 0 op 0x0:(READ)", true),
            ("EXT4-fs (vda): VFS: Can't find ext4 filesystem", true),
            ("ata1: failed to resume link", true),
            ("nvme nvme0: Device not ready; aborting", true),
            ("Spectre V2 : WARNING: Unprivileged eBPF is enabled", false),
            ("data of no interest", false),
            ("TSC deadline timer available", false),
            ("sd 0:0:0:0: Power-on or device reset occurred", false),
        ] {
            let text = format!("4,1,2,-;{text}\n");
            assert_eq!(parse(&text).bears_on_the_root(), bears, "{text}");
        }
        let by_subsystem = "4,1,2,-;0000:00:04.0: BAR 0: no space\n SUBSYSTEM=pci\n";
        assert!(parse(by_subsystem).bears_on_the_root());
    }

    #[test]
    fn a_filesystem_that_cannot_be_written_any_more_is_told_by_its_driver() {
        for text in [
            "EXT4-fs (vda1): Remounting filesystem read-only",
            "EXT2-fs (vda1): error: remounting filesystem read-only",
            "FAT-fs (sdb1): Filesystem has been set read-only",
            "exFAT-fs (sdb1): Filesystem has been set read-only",
            "BTRFS info (device sda state E): forced readonly",
            "XFS (sda1): Filesystem has been shut down due to log error (0x2).",
            "F2FS-fs (vda): Remounting filesystem read-only",
        ] {
            let told =
                |head: &str| parse(&format!("{head},1,2,-;{text}\n")).tells_of_a_lost_filesystem();
            assert!(told("2") && told("6"), "{text}");
            assert!(!told("10"), "a program says so: {text}");
        }
        for text in [
            "EXT4-fs (vda1): mounted filesystem with ordered data mode",
            "usb 1-1: Product: FAT-fs (sdb1): Filesystem has been set read-only",
            "FAT-fs (sdb1): Volume was not properly unmounted.",
        ] {
            let record = format!("2,1,2,-;{text}\n");
            assert!(!parse(&record).tells_of_a_lost_filesystem(), "{text}");
        }
    }

    #[test]
    fn a_failed_unpacking_says_why() {
        let record = parse("0,1,2,-;Initramfs unpacking failed: write error\n");
        assert_eq!(record.unpacking_failure(), Some(&b"write error"[..]));
        let forged = parse("8,1,2,-;Initramfs unpacking failed: write error\n");
        assert_eq!(forged.unpacking_failure(), None);
    }
}
