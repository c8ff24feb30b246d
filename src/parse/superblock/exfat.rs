//! exFAT ("exFAT file system specification", Microsoft).
//!
//! The boot sector says where the root directory is; the label is one of the first entries in it.

use core::ops::Range;

use super::{Content, Label, State};
use crate::parse::bytes::{le16, le32, le64};
use crate::parse::read_at::ReadAt;
use crate::parse::uuid::Uuid;

const JUMP_AND_NAME: Range<usize> = 0..11;
const MUST_BE_ZERO: Range<usize> = 11..64;
const VOLUME_LENGTH: Range<usize> = 72..80;
const HEAP_OFFSET: Range<usize> = 88..92;
const CLUSTERS: Range<usize> = 92..96;
const ROOT_CLUSTER: Range<usize> = 96..100;
const SERIAL: Range<usize> = 100..104;
const FLAGS: Range<usize> = 106..108;
const SECTOR_LOG: usize = 108;
const CLUSTER_LOG: usize = 109;
const SIGNATURE: Range<usize> = 510..512;

const FLAG_DIRTY: u16 = 2;

/// The number of the first cluster of the heap.
const FIRST_CLUSTER: u32 = 2;

const ENTRY: usize = 32;
const ENTRY_LABEL: u8 = 0x83;
const ENTRY_END: u8 = 0;
const LABEL_UNITS: usize = 1;
const LABEL: Range<usize> = 2..24;

/// As much of the root directory is looked at; the label's entry is among the first.
const DIRECTORY: usize = 512;

/// Recognises an exFAT boot sector.
pub(super) fn probe(window: &[u8]) -> Option<Content> {
    let sector_log = *window.get(SECTOR_LOG)?;
    let cluster_log = *window.get(CLUSTER_LOG)?;
    let is_one = window.get(JUMP_AND_NAME)? == b"\xeb\x76\x90EXFAT   "
        && window.get(MUST_BE_ZERO)?.iter().all(|byte| *byte == 0)
        && window.get(SIGNATURE)? == b"\x55\xaa"
        && matches!(sector_log, 9..=12)
        && sector_log.saturating_add(cluster_log) <= 25
        && le64(window, VOLUME_LENGTH)? != 0
        && le32(window, ROOT_CLUSTER)? >= FIRST_CLUSTER
        && le32(window, CLUSTERS)? != 0
        && !is_torn(window, sector_log)?;
    if !is_one {
        return None;
    }
    let uuid = Some(Uuid::Serial(le32(window, SERIAL)?));
    let mut found = Content::filesystem("exfat", uuid, None);
    if le16(window, FLAGS)? & FLAG_DIRTY != 0 {
        found.state = State::Dirty;
    }
    Some(found)
}

/// The twelfth sector repeats the sum of the eleven before it, without the flags and the share in
/// use (section 3.4). Larger sectors than 512 bytes are beyond the window, and not summed up.
fn is_torn(window: &[u8], sector_log: u8) -> Option<bool> {
    const SECTORS: usize = 11 * 512;
    const LEFT_OUT: [usize; 3] = [106, 107, 112];
    if sector_log != 9 {
        return Some(false);
    }
    let bytes = window.get(..SECTORS)?.iter().enumerate();
    let counted = bytes.filter(|(at, _)| !LEFT_OUT.contains(at));
    let sum = counted.fold(0_u32, |sum, (_, byte)| {
        sum.rotate_right(1).wrapping_add(u32::from(*byte))
    });
    Some(sum != le32(window, SECTORS..SECTORS.checked_add(4)?)?)
}

/// The label, from the root directory.
pub(super) fn label(device: &mut dyn ReadAt, window: &[u8]) -> Option<Label> {
    let sector_log = u32::from(*window.get(SECTOR_LOG)?);
    let cluster_log = sector_log.checked_add(u32::from(*window.get(CLUSTER_LOG)?))?;
    let heap = u64::from(le32(window, HEAP_OFFSET)?).checked_shl(sector_log)?;
    let cluster = le32(window, ROOT_CLUSTER)?.checked_sub(FIRST_CLUSTER)?;
    let place = u64::from(cluster)
        .checked_shl(cluster_log)?
        .checked_add(heap)?;
    let mut directory = [0; DIRECTORY];
    device.read_at(place, &mut directory)?;
    let mut entries = directory
        .chunks_exact(ENTRY)
        .take_while(|entry| entry.first() != Some(&ENTRY_END));
    let entry = entries.find(|entry| entry.first() == Some(&ENTRY_LABEL))?;
    let units = usize::from(*entry.get(LABEL_UNITS)?);
    let text = entry.get(LABEL)?;
    Label::utf16(text.get(..units.checked_mul(2)?)?)
}
