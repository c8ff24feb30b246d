//! ISO 9660 (ECMA-119): the primary volume descriptor, in the 17th sector of 2 KiB.

use core::ops::Range;

use super::{Content, Label};
use crate::parse::bytes::{array, le16};
use crate::parse::uuid::Uuid;

/// Where it lies, in bytes.
pub(super) const AT: usize = 32 * 1024;
/// How much of it is looked at, in bytes: all of it.
pub(super) const LEN: usize = 2048;

/// Type 1, the identifier, version 1 (8.4.1 to 8.4.3).
const PRIMARY: &[u8] = b"\x01CD001\x01";
const HEAD: Range<usize> = 0..7;
const LABEL: Range<usize> = 40..72;
const BLOCK_SIZE: Range<usize> = 128..130;
/// Dates are 16 digits and a time zone (8.4.26.1).
const CREATED: Range<usize> = 813..829;
const MODIFIED: Range<usize> = 830..846;

/// Recognises a primary volume descriptor. Its UUID is the date of the last modification, or else
/// of the creation.
pub(super) fn probe(window: &[u8]) -> Option<Content> {
    let block = window.get(AT..)?;
    let is_one =
        block.get(HEAD)? == PRIMARY && matches!(le16(block, BLOCK_SIZE)?, 512 | 1024 | 2048);
    if !is_one {
        return None;
    }
    let date = |range| {
        let digits: [u8; 16] = array(block, range)?;
        let is_set = digits.iter().all(u8::is_ascii_digit) && digits != [b'0'; 16];
        is_set.then_some(Uuid::Date(digits))
    };
    let uuid = date(MODIFIED).or_else(|| date(CREATED));
    let label = Label::padded(block.get(LABEL)?, b' ');
    Some(Content::filesystem("iso9660", uuid, label))
}
