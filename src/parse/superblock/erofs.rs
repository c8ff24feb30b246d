//! EROFS (`struct erofs_super_block`, fs/erofs/erofs_fs.h).

use core::ops::Range;

use super::{Content, Label};
use crate::parse::bytes::{array, le32};
use crate::parse::checksum::crc32c;
use crate::parse::uuid::Uuid;

const AT: usize = 1024;

// Offsets in the superblock.
const MAGIC: Range<usize> = 0..4;
const CHECKSUM: Range<usize> = 4..8;
const COMPATIBLE: Range<usize> = 8..12;
const BLOCK_LOG: usize = 12;
const BLOCKS: Range<usize> = 36..40;
const UUID: Range<usize> = 48..64;
const LABEL: Range<usize> = 64..80;

const HAS_CHECKSUM: u32 = 1;

/// Recognises an EROFS superblock.
pub(super) fn probe(window: &[u8]) -> Option<Content> {
    let block = window.get(AT..)?;
    let log = u32::from(*block.get(BLOCK_LOG)?);
    let has_checksum = le32(block, COMPATIBLE)? & HAS_CHECKSUM != 0;
    torn(window).filter(|_| !has_checksum || is_torn(window, log) != Some(true))
}

/// Recognises one whose checksum is not looked at. It goes over all of the block behind the
/// superblock, so what is written into that later breaks it, and leaves the superblock.
pub(super) fn torn(window: &[u8]) -> Option<Content> {
    let block = window.get(AT..)?;
    let log = u32::from(*block.get(BLOCK_LOG)?);
    let blocks = le32(block, BLOCKS)?;
    let is_plausible =
        block.get(MAGIC)? == b"\xe2\xe1\xf5\xe0" && matches!(log, 9..=16) && blocks != 0;
    is_plausible.then_some(())?;
    let uuid = Uuid::full(array(block, UUID)?);
    let label = Label::terminated(block.get(LABEL)?);
    Some(Content {
        size: u64::from(blocks).checked_shl(log),
        ..Content::filesystem("erofs", uuid, label)
    })
}

/// The sum goes from the superblock to the end of its block, with zeros in place of itself. `None`
/// for a block larger than the window.
fn is_torn(window: &[u8], log: u32) -> Option<bool> {
    let size = 1_usize.checked_shl(log)?;
    // With small blocks the superblock begins one.
    let end = if size > AT {
        size
    } else {
        AT.checked_add(size)?
    };
    let block = window.get(AT..end)?;
    let sum = crc32c(u32::MAX, block.get(..CHECKSUM.start)?);
    let sum = crc32c(sum, &[0; 4]);
    let sum = crc32c(sum, block.get(CHECKSUM.end..)?);
    Some(sum != le32(block, CHECKSUM)?)
}
