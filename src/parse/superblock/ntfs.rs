//! NTFS, as the kernel's ntfs3 reads it (fs/ntfs3/ntfs.h). The label is in the fourth record of the
//! file table, `$Volume`.

use core::ops::Range;

use super::{Content, Label};
use crate::parse::bytes::{le16, le32, le64};
use crate::parse::read_at::ReadAt;
use crate::parse::uuid::Uuid;

const NAME: Range<usize> = 3..11;
const BYTES_PER_SECTOR: Range<usize> = 11..13;
const SECTORS_PER_CLUSTER: usize = 13;
/// What FAT has there must be zero.
const FAT_FIELDS: Range<usize> = 14..21;
const SECTORS: Range<usize> = 40..48;
const FILE_TABLE: Range<usize> = 48..56;
const RECORD_SIZE: usize = 64;
const SERIAL: Range<usize> = 72..80;
const SIGNATURE: Range<usize> = 510..512;

/// The number of `$Volume` in the file table.
const VOLUME: u64 = 3;
/// As much of a record is looked at: what is resident in `$Volume` is short.
const RECORD: usize = 1024;

// Offsets in a record, and in an attribute of it.
const FIRST_ATTRIBUTE: Range<usize> = 20..22;
const TYPE: Range<usize> = 0..4;
const LENGTH: Range<usize> = 4..8;
const VALUE_LENGTH: Range<usize> = 16..20;
const VALUE_OFFSET: Range<usize> = 20..22;

const VOLUME_NAME: u32 = 0x60;
/// More attributes than `$Volume` has.
const ATTRIBUTES: usize = 16;

/// Recognises an NTFS boot sector.
pub(super) fn probe(window: &[u8]) -> Option<Content> {
    let is_one = window.get(NAME)? == b"NTFS    "
        && window.get(SIGNATURE)? == b"\x55\xaa"
        && window.get(FAT_FIELDS)?.iter().all(|byte| *byte == 0)
        && le64(window, SECTORS)? != 0
        && le64(window, FILE_TABLE)? != 0
        && cluster_size(window).is_some();
    if !is_one {
        return None;
    }
    let uuid = Some(Uuid::Serial64(le64(window, SERIAL)?));
    Some(Content::filesystem("ntfs3", uuid, None))
}

fn cluster_size(window: &[u8]) -> Option<u64> {
    let sector = u64::from(le16(window, BYTES_PER_SECTOR)?);
    let sectors = *window.get(SECTORS_PER_CLUSTER)?;
    // Beyond 128 it is a negative power of two.
    let sectors = match sectors {
        0..=0x80 => u64::from(sectors),
        log => 1_u64.checked_shl(u32::from(log.wrapping_neg()))?,
    };
    let is_allowed = matches!(sector, 512 | 1024 | 2048 | 4096) && sectors.is_power_of_two();
    sector.checked_mul(sectors).filter(|_| is_allowed)
}

/// The label, from `$Volume`.
pub(super) fn label(device: &mut dyn ReadAt, window: &[u8]) -> Option<Label> {
    let cluster = cluster_size(window)?;
    // Clusters, or, if negative, a power of two of bytes.
    let size = *window.get(RECORD_SIZE)?;
    let size = match size {
        0..=0x7f => u64::from(size).checked_mul(cluster)?,
        log => 1_u64.checked_shl(u32::from(log.wrapping_neg()))?,
    };
    let table = le64(window, FILE_TABLE)?.checked_mul(cluster)?;
    let mut record = [0; RECORD];
    device.read_at(table.checked_add(size.checked_mul(VOLUME)?)?, &mut record)?;
    if !record.starts_with(b"FILE") {
        return None;
    }
    let mut at = usize::from(le16(&record, FIRST_ATTRIBUTE)?);
    for _ in 0..ATTRIBUTES {
        let attribute = record.get(at..)?;
        if le32(attribute, TYPE)? == VOLUME_NAME {
            let start = usize::from(le16(attribute, VALUE_OFFSET)?);
            let len = usize::try_from(le32(attribute, VALUE_LENGTH)?).ok()?;
            return Label::utf16(attribute.get(start..start.checked_add(len)?)?);
        }
        at = at.checked_add(usize::try_from(le32(attribute, LENGTH)?).ok()?)?;
    }
    None
}
