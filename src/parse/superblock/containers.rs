//! What is no filesystem but may hold one: LUKS, LVM, a ZFS pool, swap, a dm-verity hash tree. They
//! are recognised so that a failed boot can say what somebody's root is in.

use core::ops::Range;

use super::{Content, Kind, Label};
use crate::parse::bytes::{array, be16, be32, le32, le64};
use crate::parse::uuid::Uuid;

/// LUKS 1 and 2 ("LUKS On-Disk Format Specification", section 2.3, and "LUKS2 On-Disk Format
/// Specification", 2.1).
pub(super) fn luks(window: &[u8]) -> Option<Content> {
    const MAGIC: Range<usize> = 0..6;
    const VERSION: Range<usize> = 6..8;
    const LABEL_2: Range<usize> = 24..72;
    const UUID: Range<usize> = 168..208;
    let version = be16(window, VERSION)?;
    if window.get(MAGIC)? != b"LUKS\xba\xbe" || !matches!(version, 1 | 2) {
        return None;
    }
    let uuid = window.get(UUID)?.split(|byte| *byte == 0).next()?;
    let label = window.get(LABEL_2).filter(|_| version == 2);
    Some(Content {
        uuid: Uuid::from_text(uuid),
        label: label.and_then(Label::terminated),
        ..Content::of(Kind::Luks)
    })
}

/// The superblock that veritysetup(8) writes before a hash tree.
pub(super) fn verity_tree(window: &[u8]) -> Option<Content> {
    const MAGIC: Range<usize> = 0..8;
    const VERSION: Range<usize> = 8..12;
    const UUID: Range<usize> = 16..32;
    if window.get(MAGIC)? != b"verity\0\0" || le32(window, VERSION)? != 1 {
        return None;
    }
    Some(Content {
        uuid: Uuid::full(array(window, UUID)?),
        ..Content::of(Kind::VerityTree)
    })
}

/// The label of an LVM physical volume, in one of the first four sectors (lvm2, lib/label/label.h).
/// The volume's own identifier is no UUID, and nobody asks for it.
pub(super) fn lvm(window: &[u8]) -> Option<Content> {
    const SECTOR: usize = 512;
    const IDENTIFIER: Range<usize> = 0..8;
    const NUMBER: Range<usize> = 8..16;
    const TYPE: Range<usize> = 24..32;
    let mut sectors = (0_u64..).zip(window.chunks_exact(SECTOR).take(4));
    let is_label = |(number, sector): (u64, &[u8])| {
        sector.get(IDENTIFIER) == Some(b"LABELONE")
            && le64(sector, NUMBER) == Some(number)
            && sector.get(TYPE) == Some(b"LVM2 001")
    };
    sectors.any(is_label).then(|| Content::of(Kind::Lvm))
}

/// Where the first label of a ZFS device has its list of names and values, in bytes.
pub(super) const ZFS_AT: usize = 16 * 1024;
/// How much of it is looked at, in bytes.
pub(super) const ZFS_LEN: usize = 32;

/// The first label of a device of a ZFS pool ("ZFS On-Disk Specification", 1.2 and 1.3): a list in
/// XDR, of which the first name is `version`.
pub(super) fn zfs(window: &[u8]) -> Option<Content> {
    const ENCODING: Range<usize> = 0..1;
    const XDR: &[u8] = &[1];
    const LIST_VERSION: Range<usize> = 4..8;
    const NAMES_ARE_UNIQUE: Range<usize> = 8..12;
    const LENGTH: Range<usize> = 20..24;
    const NAME: Range<usize> = 24..31;
    let list = window.get(ZFS_AT..)?;
    let is_list = list.get(ENCODING)? == XDR
        && be32(list, LIST_VERSION)? == 0
        && be32(list, NAMES_ARE_UNIQUE)? == 1
        && be32(list, LENGTH)? == 7
        && list.get(NAME)? == b"version";
    is_list.then(|| Content::of(Kind::Zfs))
}

/// Swap (`union swap_header`, include/linux/swap.h), whose mark is at the end of the first page, or
/// what a hibernated system puts in its place (kernel/power/swap.c and uswsusp).
pub(super) fn swap(window: &[u8]) -> Option<Content> {
    const PAGES: [usize; 2] = [4096, 8192];
    const MARKS: [&[u8]; 5] = [
        b"SWAPSPACE2",
        b"S1SUSPEND\0",
        b"S2SUSPEND\0",
        b"ULSUSPEND\0",
        b"LINHIB0001",
    ];
    const MARK: usize = 10;
    const VERSION: Range<usize> = 1024..1028;
    const UUID: Range<usize> = 1036..1052;
    const LABEL: Range<usize> = 1052..1068;
    let is_marked = PAGES.iter().any(|page| {
        let mark = page.checked_sub(MARK).and_then(|at| window.get(at..*page));
        mark.is_some_and(|mark| MARKS.contains(&mark))
    });
    if !is_marked || le32(window, VERSION)? != 1 {
        return None;
    }
    Some(Content {
        uuid: Uuid::full(array(window, UUID)?),
        label: Label::terminated(window.get(LABEL)?),
        ..Content::of(Kind::Swap)
    })
}
