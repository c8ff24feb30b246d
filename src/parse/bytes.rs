//! Numbers at named places of a block of bytes.

use core::ops::Range;

/// The bytes of a named range, if the block is that long and the range has `N`.
pub(crate) fn array<const N: usize>(block: &[u8], range: Range<usize>) -> Option<[u8; N]> {
    block.get(range)?.try_into().ok()
}

pub(crate) fn le16(block: &[u8], range: Range<usize>) -> Option<u16> {
    array(block, range).map(u16::from_le_bytes)
}

pub(crate) fn le32(block: &[u8], range: Range<usize>) -> Option<u32> {
    array(block, range).map(u32::from_le_bytes)
}

pub(crate) fn le64(block: &[u8], range: Range<usize>) -> Option<u64> {
    array(block, range).map(u64::from_le_bytes)
}

pub(crate) fn be16(block: &[u8], range: Range<usize>) -> Option<u16> {
    array(block, range).map(u16::from_be_bytes)
}

pub(crate) fn be32(block: &[u8], range: Range<usize>) -> Option<u32> {
    array(block, range).map(u32::from_be_bytes)
}
