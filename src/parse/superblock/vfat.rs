//! FAT12, FAT16 and FAT32 (Microsoft's "FAT: General Overview of On-Disk Format", 1.03).
//!
//! The boot sector has no magic number. It begins with a jump, ends in 55 AA, and between them lies
//! the BIOS parameter block, whose numbers must make sense together: that also tells it from an
//! MBR, and from NTFS and exFAT, which have zeros where FAT may not.
//!
//! Which FAT it is follows from the count of clusters, but where the fields lie follows from the
//! 16-bit FAT size, which is zero on FAT32 alone; the kernel and mkfs.fat go by that, and so do we
//! (a small FAT32 has fewer clusters than the specification wants).
//!
//! The name is the root directory's volume entry, which every tool changes, or else the boot
//! sector's copy, which Windows leaves as it was. FAT32's root directory is an ordinary chain of
//! clusters, of which the first is looked at: the entry is made with the filesystem.

use core::ops::Range;

use super::{Content, Kind, Label, State};
use crate::parse::bytes::{le16, le32};
use crate::parse::partition;
use crate::parse::read_at::ReadAt;
use crate::parse::uuid::Uuid;

const BYTES_PER_SECTOR: Range<usize> = 0x0b..0x0d;
const SECTORS_PER_CLUSTER: usize = 0x0d;
const RESERVED_SECTORS: Range<usize> = 0x0e..0x10;
const FATS: usize = 0x10;
const ROOT_ENTRIES: Range<usize> = 0x11..0x13;
const SECTORS_16: Range<usize> = 0x13..0x15;
const MEDIA: usize = 0x15;
const FAT_SECTORS_16: Range<usize> = 0x16..0x18;
const SECTORS_32: Range<usize> = 0x20..0x24;
const FAT_SECTORS_32: Range<usize> = 0x24..0x28;
const ROOT_CLUSTER: Range<usize> = 0x2c..0x30;
const SIGNATURE: Range<usize> = 0x1fe..0x200;

/// The extended part of the parameter block, which FAT32 has further back.
struct Extended {
    state: usize,
    signature: usize,
    serial: Range<usize>,
    label: Range<usize>,
}

const EXTENDED_16: Extended = Extended {
    state: 0x25,
    signature: 0x26,
    serial: 0x27..0x2b,
    label: 0x2b..0x36,
};

const EXTENDED_32: Extended = Extended {
    state: 0x41,
    signature: 0x42,
    serial: 0x43..0x47,
    label: 0x47..0x52,
};

/// Signatures of the extended part: with serial number alone, and with label and type as well.
const WITH_SERIAL: [u8; 2] = [0x28, 0x29];
const WITH_LABEL: u8 = 0x29;
/// Set by the kernel and by Windows while the filesystem is mounted.
const STATE_DIRTY: u8 = 0x01;
/// What stands in the label field when there is no label.
const NO_NAME: &[u8] = b"NO NAME    ";

const ENTRY: usize = 32;
const ENTRY_NAME: Range<usize> = 0..11;
const ENTRY_ATTRIBUTES: usize = 11;
const ENTRY_END: u8 = 0x00;
const ENTRY_DELETED: u8 = 0xe5;
const VOLUME_ID: u8 = 0x08;
/// Volume id, directory and the two bits that a part of a long name has besides.
const VOLUME_MASK: u8 = 0x1f;

/// As much of the root directory is looked at.
const DIRECTORY: usize = 16 * 1024;
/// At a time.
const CHUNK: usize = 512;

/// The number of the first cluster.
const FIRST_CLUSTER: u32 = 2;

/// Recognises a FAT boot sector.
pub(super) fn probe(window: &[u8]) -> Option<Content> {
    let jump = matches!(window, [0xeb, _, 0x90, ..] | [0xe9, ..]);
    if !jump || window.get(SIGNATURE)? != b"\x55\xaa" {
        return None;
    }
    let layout = Layout::read(window)?;
    // fdisk leaves the boot sector of a FAT that was on the whole disk before.
    if partition::kind_of_table(window) == Some(Kind::Mbr) {
        return None;
    }
    let extended = if layout.is_fat32 {
        EXTENDED_32
    } else {
        EXTENDED_16
    };
    let signature = *window.get(extended.signature)?;
    let has_serial = WITH_SERIAL.contains(&signature);
    let serial = le32(window, extended.serial).filter(|_| has_serial);
    let field = window.get(extended.label)?;
    let copy = Some(field)
        .filter(|field| signature == WITH_LABEL && *field != NO_NAME)
        .and_then(|field| Label::padded(field, b' '));
    let mut found = Content::filesystem("vfat", serial.map(Uuid::Serial), copy);
    if window.get(extended.state)? & STATE_DIRTY != 0 {
        found.state = State::Dirty;
    }
    Some(found)
}

/// What follows from the parameter block.
struct Layout {
    is_fat32: bool,
    /// Bytes on the device; on FAT32 the first cluster of it.
    root_directory: Range<u64>,
}

impl Layout {
    /// `None` unless all numbers are allowed and fit each other.
    fn read(window: &[u8]) -> Option<Self> {
        let sector = u32::from(le16(window, BYTES_PER_SECTOR)?);
        let cluster = u32::from(*window.get(SECTORS_PER_CLUSTER)?);
        let media = *window.get(MEDIA)?;
        let allowed = matches!(sector, 512 | 1024 | 2048 | 4096)
            && cluster.is_power_of_two()
            && matches!(media, 0xf0 | 0xf8..);
        if !allowed {
            return None;
        }

        let reserved = u32::from(le16(window, RESERVED_SECTORS)?);
        let fats = u32::from(*window.get(FATS)?);
        let root_bytes = u32::from(le16(window, ROOT_ENTRIES)?).checked_mul(32)?;
        let fat_16 = u32::from(le16(window, FAT_SECTORS_16)?);
        let is_fat32 = fat_16 == 0;
        let fat = match fat_16 {
            0 => le32(window, FAT_SECTORS_32)?,
            sectors => sectors,
        };
        // FAT32 has no fixed root directory, the others always have one.
        if reserved == 0 || fats == 0 || fat == 0 || is_fat32 != (root_bytes == 0) {
            return None;
        }

        let sectors = match le16(window, SECTORS_16)? {
            0 => le32(window, SECTORS_32)?,
            sectors => sectors.into(),
        };
        let before_root = fats.checked_mul(fat)?.checked_add(reserved)?;
        let before_data = before_root.checked_add(root_bytes.div_ceil(sector))?;
        let clusters = sectors.checked_sub(before_data)?.checked_div(cluster)?;
        let bytes = |sectors: u32| u64::from(sectors).checked_mul(u64::from(sector));
        let root_directory = if is_fat32 {
            let number = le32(window, ROOT_CLUSTER)?.checked_sub(FIRST_CLUSTER)?;
            let start = number.checked_mul(cluster)?.checked_add(before_data)?;
            bytes(start)?..bytes(start.checked_add(cluster)?)?
        } else {
            bytes(before_root)?..bytes(before_data)?
        };
        (clusters > 0).then_some(Self {
            is_fat32,
            root_directory,
        })
    }
}

/// The name in the root directory.
pub(super) fn root_label(device: &mut dyn ReadAt, window: &[u8]) -> Option<Label> {
    let Range { start, end } = Layout::read(window)?.root_directory;
    let end = end.min(start.checked_add(DIRECTORY as u64)?);
    let mut chunk = [0; CHUNK];
    for at in (start..end).step_by(CHUNK) {
        device.read_at(at, &mut chunk)?;
        for entry in chunk.chunks_exact(ENTRY) {
            let attributes = *entry.get(ENTRY_ATTRIBUTES)?;
            match *entry.first()? {
                ENTRY_END => return None,
                ENTRY_DELETED => {}
                _ if attributes & VOLUME_MASK == VOLUME_ID => {
                    return Label::padded(entry.get(ENTRY_NAME)?, b' ');
                }
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::window;
    use super::*;

    const FAT12: &[u8] = include_bytes!("testdata/fat12-boot.bin");
    const FAT16: &[u8] = include_bytes!("testdata/fat16-boot.bin");
    const FAT32: &[u8] = include_bytes!("testdata/fat32-boot.bin");
    const FAT16_ROOT: &[u8] = include_bytes!("testdata/fat16-root.bin");
    const FAT16_ROOT_AT: usize = 68 * 512;

    #[test]
    fn each_fat_is_recognised_with_serial_and_label() {
        for (boot, label) in [(FAT12, "FAT 12"), (FAT16, "FAT 16"), (FAT32, "FAT 32")] {
            let found = probe(boot).unwrap();
            assert_eq!(found.kind, Kind::Filesystem("vfat"));
            assert_eq!(found.uuid, Some(Uuid::Serial(0xabcd_1234)));
            assert_eq!(found.label.unwrap().to_string(), label);
            assert_eq!(found.state, State::Clean);
        }
    }

    #[test]
    fn the_root_directorys_name_is_found() {
        let mut bytes = window(&[(0, FAT16), (FAT16_ROOT_AT, FAT16_ROOT)]);
        let name = |bytes: &[u8]| root_label(&mut &bytes[..], bytes);
        assert_eq!(name(&bytes).unwrap().bytes(), b"FAT 16");
        bytes[FAT16_ROOT_AT] = ENTRY_DELETED;
        assert_eq!(name(&bytes), None);
        assert_eq!(name(&bytes[..FAT16_ROOT_AT]), None);
    }

    #[test]
    fn a_filesystem_that_was_not_unmounted_is_dirty() {
        for (boot, extended) in [(FAT16, EXTENDED_16), (FAT32, EXTENDED_32)] {
            let mut bytes = boot.to_vec();
            bytes[extended.state] |= STATE_DIRTY;
            assert_eq!(probe(&bytes).unwrap().state, State::Dirty);
        }
    }

    #[test]
    fn without_the_extended_signature_there_is_no_serial_and_no_label() {
        let mut bytes = FAT16.to_vec();
        bytes[EXTENDED_16.signature] = 0x28;
        let found = probe(&bytes).unwrap();
        assert!(found.uuid.is_some() && found.label.is_none());
        bytes[EXTENDED_16.signature] = 0;
        assert_eq!(probe(&bytes).unwrap().uuid, None);
    }

    #[test]
    fn a_number_that_does_not_fit_the_others_ends_the_recognition() {
        let damage: [(usize, &[u8]); 9] = [
            (0, b"\0"),
            (BYTES_PER_SECTOR.start, &[0, 3]),
            (SECTORS_PER_CLUSTER, &[3]),
            (RESERVED_SECTORS.start, &[0, 0]),
            (FATS, &[0]),
            (ROOT_ENTRIES.start, &[0, 0]),
            (MEDIA, &[0x12]),
            (SECTORS_16.start, &[9, 0]),
            (SIGNATURE.start, &[0, 0]),
        ];
        for (at, with) in damage {
            let mut bytes = FAT16.to_vec();
            bytes[at..at + with.len()].copy_from_slice(with);
            assert_eq!(probe(&bytes), None, "{at:#x}");
        }
        assert_eq!(probe(&FAT16[..511]), None);
    }
}
