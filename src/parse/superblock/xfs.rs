//! XFS (`struct xfs_dsb`, fs/xfs/libxfs/xfs_format.h). All numbers are big-endian, but for the
//! checksum.

use core::ops::Range;

use super::{Content, Label};
use crate::parse::bytes::{array, be16, be32, le32};
use crate::parse::checksum::crc32c;
use crate::parse::uuid::Uuid;

const MAGIC: Range<usize> = 0..4;
const BLOCK_SIZE: Range<usize> = 4..8;
const UUID: Range<usize> = 32..48;
const BLOCKS_PER_GROUP: Range<usize> = 84..88;
const GROUPS: Range<usize> = 88..92;
const VERSION: Range<usize> = 100..102;
const SECTOR_SIZE: Range<usize> = 102..104;
const LABEL: Range<usize> = 108..120;
const BLOCK_LOG: usize = 120;
const CHECKSUM: Range<usize> = 224..228;

/// The version since which the superblock carries a checksum of its sector.
const WITH_CHECKSUM: u16 = 5;

/// Recognises an XFS superblock.
pub(super) fn probe(window: &[u8]) -> Option<Content> {
    let block_size = be32(window, BLOCK_SIZE)?;
    let sector = usize::from(be16(window, SECTOR_SIZE)?);
    let version = be16(window, VERSION)? & 0xf;
    let is_plausible = window.get(MAGIC)? == b"XFSB"
        && block_size.is_power_of_two()
        && matches!(block_size, 512..=65536)
        && block_size.trailing_zeros() == u32::from(*window.get(BLOCK_LOG)?)
        && sector.is_power_of_two()
        && matches!(sector, 512..=32768)
        && matches!(version, 4 | WITH_CHECKSUM)
        && be32(window, BLOCKS_PER_GROUP)? != 0
        && be32(window, GROUPS)? != 0;
    // A sector that is larger than the window is not summed up.
    if !is_plausible || version == WITH_CHECKSUM && is_torn(window, sector) == Some(true) {
        return None;
    }
    let uuid = Uuid::full(array(window, UUID)?);
    let label = Label::terminated(window.get(LABEL)?);
    Some(Content::filesystem("xfs", uuid, label))
}

fn is_torn(window: &[u8], sector: usize) -> Option<bool> {
    let before = crc32c(u32::MAX, window.get(..CHECKSUM.start)?);
    let zeroed = crc32c(before, &[0; 4]);
    let sum = crc32c(zeroed, window.get(CHECKSUM.end..sector)?);
    Some(!sum != le32(window, CHECKSUM)?)
}
