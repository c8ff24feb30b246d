//! F2FS (`struct f2fs_super_block`, include/linux/f2fs_fs.h).

use core::ops::Range;

use super::{Content, Label};
use crate::parse::bytes::{array, le16, le32, le64};
use crate::parse::checksum::crc32;
use crate::parse::uuid::Uuid;

const AT: usize = 1024;

// Offsets in the superblock.
const MAGIC: Range<usize> = 0..4;
const MAJOR: Range<usize> = 4..6;
const SECTOR_LOG: Range<usize> = 8..12;
const BLOCK_LOG: Range<usize> = 16..20;
const CHECKSUM_OFFSET: Range<usize> = 32..36;
const BLOCKS: Range<usize> = 36..44;
const UUID: Range<usize> = 108..124;
/// 512 UTF-16 units, of which as many count as a label here can hold.
const LABEL: Range<usize> = 124..1148;

const MAGIC_NUMBER: u32 = 0xf2f5_2010;

/// Recognises an F2FS superblock.
pub(super) fn probe(window: &[u8]) -> Option<Content> {
    let block = window.get(AT..)?;
    let is_plausible = le32(block, MAGIC)? == MAGIC_NUMBER
        && le16(block, MAJOR)? != 0
        && matches!(le32(block, SECTOR_LOG)?, 9..=12)
        && matches!(le32(block, BLOCK_LOG)?, 12..=16)
        && le64(block, BLOCKS)? != 0;
    if !is_plausible || is_torn(block)? {
        return None;
    }
    let uuid = Uuid::full(array(block, UUID)?);
    let label = Label::utf16(block.get(LABEL)?);
    Some(Content::filesystem("f2fs", uuid, label))
}

/// The sum is optional; where it is says the superblock (0 where there is none).
fn is_torn(block: &[u8]) -> Option<bool> {
    let at = usize::try_from(le32(block, CHECKSUM_OFFSET)?).ok()?;
    if at == 0 {
        return Some(false);
    }
    let sum = crc32(MAGIC_NUMBER, block.get(..at)?);
    Some(sum != le32(block, at..at.checked_add(4)?)?)
}
