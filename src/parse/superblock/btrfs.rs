//! Btrfs (`struct btrfs_super_block`, include/uapi/linux/btrfs_tree.h): the primary superblock, at
//! 64 KiB.

use core::ops::Range;

use super::{Content, Label, State};
use crate::parse::bytes::{array, le16, le32, le64};
use crate::parse::checksum::crc32c;
use crate::parse::uuid::Uuid;

/// Where it lies, in bytes.
pub(super) const AT: usize = 64 * 1024;
/// Its size.
pub(super) const LEN: usize = 4096;

const CHECKSUM: Range<usize> = 0..4;
/// The field has room for the longer checksums too.
const CHECKED_FROM: usize = 32;
const UUID: Range<usize> = 32..48;
const PLACE: Range<usize> = 48..56;
const MAGIC: Range<usize> = 64..72;
const LOG_ROOT: Range<usize> = 96..104;
const DEVICES: Range<usize> = 0x88..0x90;
const SECTOR_SIZE: Range<usize> = 0x90..0x94;
const CHECKSUM_TYPE: Range<usize> = 0xc4..0xc6;
const LABEL: Range<usize> = 0x12b..0x22b;

/// The checksum that nearly all have; the others (xxhash, sha256, blake2) are left to the kernel.
const CRC32C: u16 = 0;

/// Recognises a btrfs superblock.
pub(super) fn probe(window: &[u8]) -> Option<Content> {
    let block = window.get(AT..)?;
    let is_plausible = block.get(MAGIC)? == b"_BHRfS_M"
        && le64(block, PLACE)? == AT as u64
        && le32(block, SECTOR_SIZE)?.is_power_of_two();
    if !is_plausible {
        return None;
    }
    if le16(block, CHECKSUM_TYPE)? == CRC32C
        && !crc32c(u32::MAX, block.get(CHECKED_FROM..LEN)?) != le32(block, CHECKSUM)?
    {
        return None;
    }
    let uuid = Uuid::full(array(block, UUID)?);
    let label = Label::terminated(block.get(LABEL)?);
    let mut found = Content::filesystem("btrfs", uuid, label);
    found.devices = le64(block, DEVICES)?;
    if le64(block, LOG_ROOT)? != 0 {
        found.state = State::NeedsRecovery;
    }
    Some(found)
}
