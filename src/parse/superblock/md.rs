//! Members of md arrays (drivers/md/md.c, include/uapi/linux/raid/md_p.h): superblocks of version
//! 1.1 at the beginning, 1.2 at 4 KiB, 1.0 and 0.90 near the end.

use core::ops::Range;

use super::{Content, Kind, Label};
use crate::parse::bytes::{array, le32, le64};
use crate::parse::read_at::ReadAt;
use crate::parse::uuid::Uuid;

const MAGIC: Range<usize> = 0..4;
const MAJOR: Range<usize> = 4..8;
const MAGIC_NUMBER: u32 = 0xa92b_4efc;

// Version 1.
const UUID: Range<usize> = 16..32;
const NAME: Range<usize> = 32..64;
/// Where the superblock itself lies, in sectors.
const PLACE: Range<usize> = 144..152;

// Version 0.90.
const MINOR: Range<usize> = 8..12;

const SECTOR: u64 = 512;
const AT_4_KIB: usize = 4096;

/// Recognises a member by what lies at its beginning.
pub(super) fn at_start(window: &[u8]) -> Option<Content> {
    let version_1_1 = version_1(window, 0);
    version_1_1.or_else(|| version_1(window.get(AT_4_KIB..)?, AT_4_KIB as u64))
}

/// Recognises a member by what lies at its end, behind the first `taken` bytes.
pub(super) fn at_end(device: &mut dyn ReadAt, taken: u64) -> Option<Content> {
    let size = device.size();
    let mut block = [0; 256];
    // Eight KiB before the end, down to a multiple of 4 KiB.
    let place = size.checked_sub(8 * 1024)? & !4095;
    if place >= taken {
        device.read_at(place, &mut block)?;
        if let Some(found) = version_1(&block, place) {
            return Some(found);
        }
    }
    // The last whole 64 KiB but one.
    let place = (size & !0xffff).checked_sub(0x1_0000)?;
    if place < taken {
        return None;
    }
    device.read_at(place, &mut block)?;
    let is_0_90 = le32(&block, MAGIC)? == MAGIC_NUMBER
        && le32(&block, MAJOR)? == 0
        && matches!(le32(&block, MINOR)?, 90 | 91);
    is_0_90.then(|| Content::of(Kind::Md))
}

fn version_1(block: &[u8], at: u64) -> Option<Content> {
    let is_one = le32(block, MAGIC)? == MAGIC_NUMBER
        && le32(block, MAJOR)? == 1
        && le64(block, PLACE)?.checked_mul(SECTOR)? == at;
    is_one.then_some(())?;
    Some(Content {
        uuid: Uuid::full(array(block, UUID)?),
        label: Label::terminated(block.get(NAME)?),
        ..Content::of(Kind::Md)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filesystem_that_takes_the_place_of_the_superblock_is_not_in_an_array() {
        const SIZE: usize = 1 << 20;
        const OLD: usize = SIZE - 0x1_0000;
        const NEW: usize = SIZE - 8 * 1024;
        let mut old = vec![0; SIZE];
        old[OLD..][MAGIC].copy_from_slice(&MAGIC_NUMBER.to_le_bytes());
        old[OLD..][MINOR].copy_from_slice(&90_u32.to_le_bytes());
        let mut new = vec![0; SIZE];
        new[NEW..][MAGIC].copy_from_slice(&MAGIC_NUMBER.to_le_bytes());
        new[NEW..][MAJOR].copy_from_slice(&1_u32.to_le_bytes());
        new[NEW..][PLACE].copy_from_slice(&(NEW as u64 / SECTOR).to_le_bytes());
        for (disk, place) in [(&old, OLD), (&new, NEW)] {
            let found = |taken: usize| at_end(&mut &disk[..], taken as u64).is_some();
            assert!(found(0) && found(place));
            assert!(!found(place + 1) && !found(SIZE));
        }
    }
}
