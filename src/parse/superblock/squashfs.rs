//! SquashFS 4.0 (`struct squashfs_super_block`, fs/squashfs/squashfs_fs.h). It has neither UUID nor
//! label.

use core::ops::Range;

use super::Content;
use crate::parse::bytes::{le16, le32, le64};

const MAGIC: Range<usize> = 0..4;
const INODES: Range<usize> = 4..8;
const BLOCK_SIZE: Range<usize> = 12..16;
const BLOCK_LOG: Range<usize> = 22..24;
const MAJOR: Range<usize> = 28..30;
const BYTES_USED: Range<usize> = 40..48;

/// The size of the superblock, less than which no image has.
const SUPERBLOCK: u64 = 96;

/// Recognises a SquashFS superblock.
pub(super) fn probe(window: &[u8]) -> Option<Content> {
    let block_size = le32(window, BLOCK_SIZE)?;
    let bytes_used = le64(window, BYTES_USED)?;
    let is_one = window.get(MAGIC)? == b"hsqs"
        && le16(window, MAJOR)? == 4
        && block_size.is_power_of_two()
        && matches!(block_size, 4096..=0x10_0000)
        && block_size.trailing_zeros() == u32::from(le16(window, BLOCK_LOG)?)
        && le32(window, INODES)? != 0
        && bytes_used > SUPERBLOCK;
    is_one.then(|| Content {
        size: Some(bytes_used),
        ..Content::filesystem("squashfs", None, None)
    })
}
