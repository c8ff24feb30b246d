//! MBR tables with extended partitions (block/partitions/msdos.c).

use core::ops::Range;

use super::{Entry, Flaw, PartUuid};
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
    const fn is_used(&self) -> bool {
        self.kind != 0 && self.start != 0 && self.sectors != 0
    }

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
    let mut used = places(window)?.filter(Place::is_used);
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
    let end = walk(disk, sector_size, extended.start, number)?;
    (end == End::Found).then_some(found)
}

/// What keeps the kernel from making all partitions of the table in `sector`, the first of the
/// disk: the sectors of some partition do not exist (`blk_add_partition`), or the chain of tables
/// in the extended one breaks off.
pub(super) fn flaw(disk: &mut dyn ReadAt, sector_size: u32, sector: &[u8]) -> Option<Flaw> {
    let size = disk.size();
    let places = places(sector)?;
    let mut behind = (1_u32..).zip(places.clone()).filter(|(_, place)| {
        let start = u64::from(place.start).checked_mul(u64::from(sector_size));
        place.is_used() && start.is_none_or(|start| start >= size)
    });
    if let Some((number, place)) = behind.next() {
        let fits = u64::from(place.start).checked_mul(SECTOR as u64) < Some(size);
        return Some(match fits {
            true => Flaw::OtherSectors(SECTOR as u32),
            false => Flaw::Behind(number),
        });
    }
    let mut places = places;
    let extended = places.find(|place| place.is_used() && place.is_extended())?;
    let end = walk(disk, sector_size, extended.start, u32::MAX);
    (end == Some(End::Broken)).then_some(Flaw::Chain)
}

/// How the search for a logical partition ends.
#[derive(PartialEq)]
enum End {
    Found,
    /// The chain ends as it should.
    Last,
    /// What should be a table is none.
    Broken,
}

/// Looks for the logical partition `wanted` in the chain of tables in the extended partition at
/// `first`. The entry of a partition is relative to its table, that of the next table to the
/// extended partition.
fn walk(disk: &mut dyn ReadAt, sector_size: u32, first: u32, wanted: u32) -> Option<End> {
    let mut sector = [0; SECTOR];
    let mut at = first;
    let mut number = FIRST_LOGICAL;
    for _ in 0..LOGICAL_MAX {
        let place = u64::from(at).checked_mul(u64::from(sector_size))?;
        let read = disk.read_at(place, &mut sector);
        if read.is_none() || le16(&sector, MAGIC)? != 0xaa55 {
            return Some(End::Broken);
        }
        let table = places(&sector)?;
        let data = table
            .clone()
            .filter(|place| place.sectors != 0 && !place.is_extended());
        for _ in data {
            if number == wanted {
                return Some(End::Found);
            }
            number = number.checked_add(1)?;
        }
        let mut next = table.filter(|place| place.sectors != 0 && place.is_extended());
        let Some(next) = next.next() else {
            return Some(End::Last);
        };
        at = first.checked_add(next.start)?;
    }
    Some(End::Last)
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
    fn what_keeps_the_kernel_from_a_partition_is_told() {
        let told = |disk: &[u8], size| flaw(&mut &disk[..], size, &disk[..SECTOR]);
        let whole = disk();
        assert_eq!(told(&whole, 512), None);
        // A table for sectors of 512 bytes, on a disk with larger ones.
        let other = Some(Flaw::OtherSectors(512));
        assert_eq!(told(&whole, 4096), other);
        // The image was cut short: behind the first partition, and within the extended one.
        assert_eq!(told(&whole[..8 * SECTOR], 512), Some(Flaw::Behind(3)));
        assert_eq!(told(&whole[..18 * SECTOR], 512), Some(Flaw::Chain));
        let mut broken = whole.clone();
        broken[18 * SECTOR..][MAGIC].fill(0);
        assert_eq!(told(&broken, 512), Some(Flaw::Chain));
        table(&mut broken, 8, &[place(0x83, 1, 4)]);
        broken[8 * SECTOR..][TABLE][ENTRY..].fill(0);
        assert_eq!(told(&broken, 512), None);
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
