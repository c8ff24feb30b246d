//! MBR tables with extended partitions (block/partitions/msdos.c).

use core::ops::Range;

use super::{Entry, PartUuid};
use crate::parse::bytes::{le16, le32};
use crate::parse::read_at::ReadAt;
use crate::parse::superblock::Kind;

const SECTOR: usize = 512;
const SIGNATURE: Range<usize> = 440..444;
const TABLE: Range<usize> = 446..510;
const MAGIC: Range<usize> = 510..512;

// Offsets in an entry.
const ENTRY: usize = 16;
const BOOT: usize = 0;
const TYPE: usize = 4;
const START: Range<usize> = 8..12;
const SECTORS: Range<usize> = 12..16;

/// A table that only protects a GPT (UEFI specification, 5.2.3).
const PROTECTIVE: u8 = 0xee;
/// DOS, Windows 95 and Linux each have a number for extended partitions.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

const FIRST_LOGICAL: u32 = 5;
/// As many logical partitions as the kernel looks at (`DISK_MAX_PARTS`).
const LOGICAL_MAX: usize = 256;

/// One of the four places of a table.
struct Place {
    kind: u8,
    start: u32,
    sectors: u32,
}

impl Place {
    fn is_extended(&self) -> bool {
        EXTENDED.contains(&self.kind)
    }
}

/// The places of a table, `None` if this is none.
fn places(sector: &[u8]) -> Option<impl Iterator<Item = Place> + Clone> {
    if sector.get(MAGIC)? != b"\x55\xaa" {
        return None;
    }
    let entries = sector.get(TABLE)?.chunks_exact(ENTRY);
    // The active flag has two values; anything else is boot code.
    if !entries
        .clone()
        .all(|entry| matches!(entry.get(BOOT), Some(0 | 0x80)))
    {
        return None;
    }
    Some(entries.filter_map(|entry| {
        Some(Place {
            kind: *entry.get(TYPE)?,
            start: le32(entry, START)?,
            sectors: le32(entry, SECTORS)?,
        })
    }))
}

pub(super) fn kind(window: &[u8]) -> Option<Kind> {
    let is_used = |place: &Place| place.kind != 0 && place.start != 0 && place.sectors != 0;
    let mut used = places(window)?.filter(is_used);
    let first = used.next()?;
    let is_gpt = first.kind == PROTECTIVE || used.any(|place| place.kind == PROTECTIVE);
    Some(if is_gpt { Kind::Gpt } else { Kind::Mbr })
}

pub(super) fn entry(disk: &mut dyn ReadAt, sector_size: u32, number: u32) -> Option<Entry> {
    let mut sector = [0; SECTOR];
    disk.read_at(0, &mut sector)?;
    let signature = le32(&sector, SIGNATURE)?;
    let found = Entry {
        partuuid: PartUuid::Mbr { signature, number },
        name: None,
    };
    let mut primary = places(&sector)?;
    if number < FIRST_LOGICAL {
        let place = primary.nth(usize::try_from(number.checked_sub(1)?).ok()?)?;
        return (place.sectors != 0).then_some(found);
    }
    let extended = primary.find(Place::is_extended)?;
    let is_there = count_logical(disk, sector_size, extended.start, number)?;
    is_there.then_some(found)
}

/// Whether the chain of tables in the extended partition at `first` has the logical partition `wanted`. The entry of a
/// partition is relative to its table, that of the next table to the extended partition.
fn count_logical(disk: &mut dyn ReadAt, sector_size: u32, first: u32, wanted: u32) -> Option<bool> {
    let mut sector = [0; SECTOR];
    let mut at = first;
    let mut number = FIRST_LOGICAL;
    for _ in 0..LOGICAL_MAX {
        let place = u64::from(at).checked_mul(u64::from(sector_size))?;
        disk.read_at(place, &mut sector)?;
        if le16(&sector, MAGIC)? != 0xaa55 {
            return Some(false);
        }
        let table = places(&sector)?;
        let data = table
            .clone()
            .filter(|place| place.sectors != 0 && !place.is_extended());
        for _ in data {
            if number == wanted {
                return Some(true);
            }
            number = number.checked_add(1)?;
        }
        let next = table
            .clone()
            .find(|place| place.sectors != 0 && place.is_extended())?;
        at = first.checked_add(next.start)?;
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: u8, start: u32, sectors: u32) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        entry[TYPE] = kind;
        entry[START].copy_from_slice(&start.to_le_bytes());
        entry[SECTORS].copy_from_slice(&sectors.to_le_bytes());
        entry
    }

    fn table(disk: &mut [u8], at: usize, places: &[[u8; ENTRY]]) {
        let sector = &mut disk[at * SECTOR..][..SECTOR];
        for (number, place) in places.iter().enumerate() {
            sector[TABLE][number * ENTRY..][..ENTRY].copy_from_slice(place);
        }
        sector[MAGIC].copy_from_slice(b"\x55\xaa");
    }

    /// One primary partition, an extended one in the third place with two logical ones.
    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 64 * SECTOR];
        table(
            &mut disk,
            0,
            &[place(0x83, 1, 4), place(0, 0, 0), place(5, 8, 40)],
        );
        table(&mut disk, 8, &[place(0x83, 1, 4), place(5, 10, 8)]);
        table(&mut disk, 18, &[place(0x83, 1, 4)]);
        disk[SIGNATURE].copy_from_slice(&0xb0a7_0001_u32.to_le_bytes());
        disk
    }

    fn partuuid(disk: &[u8], number: u32) -> Option<String> {
        let entry = super::super::entry(&mut &disk[..], 512, number);
        entry.map(|entry| entry.partuuid.to_string())
    }

    #[test]
    fn primary_and_logical_partitions_are_numbered_as_the_kernel_does() {
        let disk = disk();
        assert_eq!(partuuid(&disk, 1).as_deref(), Some("b0a70001-01"));
        assert_eq!(partuuid(&disk, 2), None);
        assert_eq!(partuuid(&disk, 5).as_deref(), Some("b0a70001-05"));
        assert_eq!(partuuid(&disk, 6).as_deref(), Some("b0a70001-06"));
        assert_eq!(partuuid(&disk, 7), None);
        assert_eq!(partuuid(&disk, 0), None);
        assert_eq!(kind(&disk), Some(Kind::Mbr));
    }

    #[test]
    fn a_chain_that_bites_its_tail_ends() {
        let mut disk = disk();
        table(&mut disk, 18, &[place(0, 0, 0), place(5, 10, 8)]);
        assert_eq!(partuuid(&disk, 7), None);
    }

    #[test]
    fn boot_code_is_no_table() {
        let mut disk = disk();
        disk[TABLE.start] = 0x42;
        assert_eq!((kind(&disk), partuuid(&disk, 1)), (None, None));
    }

    #[test]
    fn a_name_is_compared_in_its_whole_form() {
        let name = PartUuid::Mbr {
            signature: 0xb0a7_0001,
            number: 0xa,
        };
        for same in ["B0A70001-0a", "b0a70001-0A", "0xb0a70001-0a", "b0a700010a"] {
            assert!(name.matches(same), "{same}");
        }
        for other in [
            "b0a70001-a",
            "b0a70001-+a",
            "b0a70001",
            "b0a7001-0a",
            "b0a70001-00a",
        ] {
            assert!(!name.matches(other), "{other}");
        }
    }
}
