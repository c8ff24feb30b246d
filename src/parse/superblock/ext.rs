//! ext2, ext3 and ext4 (`Documentation/filesystems/ext4/super.rst` of the kernel).
//!
//! One superblock, 1 KiB behind the start, serves the three; which one it is follows from the
//! features in use. ext2 has no journal, ext3 has one and nothing that ext3's driver did not know,
//! all else is ext4. Where the superblock carries a checksum of itself it must be right: a write
//! that was torn apart is then seen here and not half-way through a mount.

use core::ops::Range;

use super::{Content, Label, State};
use crate::parse::bytes::{array, le16, le32};
use crate::parse::checksum::crc32c;
use crate::parse::uuid::Uuid;

const SUPERBLOCK: Range<usize> = 1024..2048;

// Offsets in the superblock.
const INODES: Range<usize> = 0x00..0x04;
const BLOCKS: Range<usize> = 0x04..0x08;
const FIRST_BLOCK: Range<usize> = 0x14..0x18;
const LOG_BLOCK_SIZE: Range<usize> = 0x18..0x1c;
const BLOCKS_PER_GROUP: Range<usize> = 0x20..0x24;
const INODES_PER_GROUP: Range<usize> = 0x28..0x2c;
const MAGIC: Range<usize> = 0x38..0x3a;
const STATE: Range<usize> = 0x3a..0x3c;
const REVISION: Range<usize> = 0x4c..0x50;
const COMPATIBLE: Range<usize> = 0x5c..0x60;
const INCOMPATIBLE: Range<usize> = 0x60..0x64;
const READ_ONLY_COMPATIBLE: Range<usize> = 0x64..0x68;
const UUID: Range<usize> = 0x68..0x78;
const LABEL: Range<usize> = 0x78..0x88;
const BLOCKS_UPPER: Range<usize> = 0x150..0x154;
const CHECKSUM: Range<usize> = 0x3fc..0x400;

const STATE_VALID: u16 = 0x1;
const STATE_ERRORS: u16 = 0x2;

const HAS_JOURNAL: u32 = 0x4;
const RECOVER: u32 = 0x4;
/// Numbers of blocks have an upper half (64bit).
const WIDE_BLOCKS: u32 = 0x80;
/// The device is another filesystem's journal.
const JOURNAL_DEVICE: u32 = 0x8;
const METADATA_CHECKSUMS: u32 = 0x400;

/// What ext3's driver knew: filetype, recover, meta_bg.
const EXT3_INCOMPATIBLE: u32 = 0x2 | RECOVER | 0x10;
/// And sparse_super, large_file, btree_dir.
const EXT3_READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x4;

/// Recognises an ext superblock.
pub(super) fn probe(window: &[u8]) -> Option<Content> {
    let block = window.get(SUPERBLOCK)?;
    if block.get(MAGIC)? != b"\x53\xef" || !is_plausible(block)? {
        return None;
    }
    // The first revision had neither features nor a name.
    let has_features = le32(block, REVISION)? > 0;
    let features = |range| le32(block, range).map(|bits| if has_features { bits } else { 0 });
    let compatible = features(COMPATIBLE)?;
    let incompatible = features(INCOMPATIBLE)?;
    let read_only = features(READ_ONLY_COMPATIBLE)?;
    let torn = read_only & METADATA_CHECKSUMS != 0
        && crc32c(u32::MAX, block.get(..CHECKSUM.start)?) != le32(block, CHECKSUM)?;
    if torn || incompatible & JOURNAL_DEVICE != 0 {
        return None;
    }

    let beyond_ext3 =
        incompatible & !EXT3_INCOMPATIBLE != 0 || read_only & !EXT3_READ_ONLY_COMPATIBLE != 0;
    let fstype = match compatible & HAS_JOURNAL != 0 {
        _ if beyond_ext3 => "ext4",
        true => "ext3",
        false => "ext2",
    };
    let state = le16(block, STATE)?;
    let uuid = Uuid::full(array(block, UUID)?);
    let label = Label::terminated(block.get(LABEL)?);
    let mut found = Content::filesystem(fstype, uuid, label);
    found.size = size(block, incompatible & WIDE_BLOCKS != 0);
    found.state = if state & STATE_ERRORS != 0 {
        State::Errors
    } else if incompatible & RECOVER != 0 {
        State::NeedsRecovery
    } else if state & STATE_VALID == 0 {
        State::Dirty
    } else {
        State::Clean
    };
    Some(found)
}

/// The size in bytes; the number of blocks has its upper half elsewhere.
fn size(block: &[u8], has_upper: bool) -> Option<u64> {
    let upper = if has_upper {
        le32(block, BLOCKS_UPPER)?
    } else {
        0
    };
    let blocks = u64::from(upper) << 32 | u64::from(le32(block, BLOCKS)?);
    blocks.checked_mul(1024 << le32(block, LOG_BLOCK_SIZE)?.min(6))
}

/// Whether the numbers around the magic are those of a filesystem.
fn is_plausible(block: &[u8]) -> Option<bool> {
    let log_block_size = le32(block, LOG_BLOCK_SIZE)?;
    // Blocks are 1 KiB to 64 KiB. The first block of data is 0, or 1 where blocks of 1 KiB put the
    // boot sector into a block of its own.
    let first_block = u32::from(log_block_size == 0);
    Some(
        log_block_size <= 6
            && le32(block, FIRST_BLOCK)? <= first_block
            && le32(block, INODES)? != 0
            && le32(block, BLOCKS)? != 0
            && le32(block, BLOCKS_PER_GROUP)? != 0
            && le32(block, INODES_PER_GROUP)? != 0
            && le32(block, REVISION)? <= 1,
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::window;
    use super::*;

    const EXT2: &[u8] = include_bytes!("testdata/ext2.bin");
    const EXT3: &[u8] = include_bytes!("testdata/ext3.bin");
    const EXT4: &[u8] = include_bytes!("testdata/ext4.bin");

    fn damaged(block: &[u8], at: usize, with: &[u8]) -> Vec<u8> {
        window(&[(SUPERBLOCK.start, block), (SUPERBLOCK.start + at, with)])
    }

    #[test]
    fn each_ext_is_recognised_with_uuid_and_label() {
        for (block, fstype) in [(EXT2, "ext2"), (EXT3, "ext3"), (EXT4, "ext4")] {
            let bytes = window(&[(SUPERBLOCK.start, block)]);
            let found = probe(&bytes).unwrap();
            assert_eq!(found.kind.fstype(), Some(fstype));
            let uuid = found.uuid.unwrap().to_string();
            assert_eq!(uuid, "00112233-4455-6677-8899-aabbccddeeff");
            assert_eq!(found.label.unwrap().to_string(), format!("label-{fstype}"));
            assert_eq!(found.state, State::Clean);
        }
    }

    #[test]
    fn how_it_was_left_is_told() {
        let bytes = damaged(EXT3, INCOMPATIBLE.start, &[0x2 | 0x4]);
        assert_eq!(probe(&bytes).unwrap().state, State::NeedsRecovery);
        for (state, expected) in [(0, State::Dirty), (2, State::Errors), (3, State::Errors)] {
            let bytes = damaged(EXT2, STATE.start, &[state]);
            assert_eq!(probe(&bytes).unwrap().state, expected);
        }
        // Errors stay where a journal is replayed, too.
        let journal = (SUPERBLOCK.start + INCOMPATIBLE.start, &[0x2 | 0x4][..]);
        let errors = (SUPERBLOCK.start + STATE.start, &[2][..]);
        let bytes = window(&[(SUPERBLOCK.start, EXT3), journal, errors]);
        assert_eq!(probe(&bytes).unwrap().state, State::Errors);
    }

    #[test]
    fn a_checksum_that_is_wrong_ends_the_recognition() {
        assert_eq!(probe(&damaged(EXT4, LABEL.start, b"X")), None);
        assert!(probe(&damaged(EXT2, LABEL.start, b"X")).is_some());
    }

    #[test]
    fn a_number_that_makes_no_sense_ends_the_recognition() {
        for range in [INODES, BLOCKS, BLOCKS_PER_GROUP, INODES_PER_GROUP, MAGIC] {
            assert_eq!(
                probe(&damaged(EXT2, range.start, &[0; 4])),
                None,
                "{range:?}"
            );
        }
        assert_eq!(probe(&damaged(EXT2, LOG_BLOCK_SIZE.start, &[7])), None);
        assert_eq!(probe(&damaged(EXT2, REVISION.start, &[2])), None);
        assert_eq!(probe(&damaged(EXT3, INCOMPATIBLE.start, &[0x8])), None);
        assert_eq!(probe(&window(&[(1024, EXT2)])[..2047]), None);
    }

    #[test]
    fn an_empty_uuid_or_label_is_none() {
        let bytes = damaged(EXT2, UUID.start, &[0; 32]);
        let found = probe(&bytes).unwrap();
        assert_eq!((found.uuid, found.label), (None, None));
    }
}
