//! GUID partition tables (UEFI specification, 5.3; block/partitions/efi.c).

use core::ops::Range;

use super::{Entry, Flaw, PartUuid};
use crate::parse::bytes::{array, le32, le64};
use crate::parse::checksum::crc32;
use crate::parse::read_at::ReadAt;
use crate::parse::superblock::{Kind, Label};
use crate::parse::uuid::Uuid;

// Offsets in the header.
const SIGNATURE: Range<usize> = 0..8;
const HEADER_SIZE: Range<usize> = 12..16;
const HEADER_SUM: Range<usize> = 16..20;
const OWN_PLACE: Range<usize> = 24..32;
const LAST_USABLE: Range<usize> = 48..56;
const ENTRIES_PLACE: Range<usize> = 72..80;
const ENTRIES: Range<usize> = 80..84;
const ENTRY_SIZE: Range<usize> = 84..88;
const ENTRIES_SUM: Range<usize> = 88..92;

const HEADER_MIN: usize = 92;
const HEADER_MAX: usize = 512;

// Offsets in an entry.
const TYPE: Range<usize> = 0..16;
const UNIQUE: Range<usize> = 16..32;
const NAME: Range<usize> = 56..128;
const ENTRY_MIN: usize = 128;

/// Entries are read in pieces of this size.
const PIECE: usize = 512;
/// A table with more entries than 1 MiB holds is none that was made in earnest.
const ENTRIES_MAX: u64 = 1 << 20;

pub(super) fn entry(disk: &mut dyn ReadAt, sector_size: u32, number: u32) -> Option<Entry> {
    let sectors = disk.size().checked_div(u64::from(sector_size))?;
    let backup = sectors.checked_sub(1)?;
    [1, backup]
        .into_iter()
        .find_map(|place| Table::read(disk, sector_size, place))?
        .entry(disk, number)
}

/// Why the kernel makes no partitions of a GPT, if it makes none (`find_valid_gpt`); `is_protected`
/// is whether an MBR says that there is one.
pub(super) fn flaw(disk: &mut dyn ReadAt, sector_size: u32, is_protected: bool) -> Option<Flaw> {
    const SIZES: [u32; 4] = [512, 4096, 2048, 1024];
    let last = |size: u32| {
        let sectors = disk.size().checked_div(u64::from(size));
        sectors.and_then(|sectors| sectors.checked_sub(1))
    };
    let backup = last(sector_size)?;
    if let Some(table) = Table::read(disk, sector_size, 1) {
        let needed = table.last_usable.saturating_mul(u64::from(sector_size));
        return Some(match is_protected {
            _ if table.last_usable > backup => Flaw::Larger(needed >> 20),
            true => Flaw::Unread(Kind::Gpt),
            false => Flaw::Unprotected,
        });
    }
    if Table::read(disk, sector_size, backup).is_some() {
        return Some(Flaw::OnlyBackup);
    }
    let mut others = SIZES.into_iter().filter(|size| *size != sector_size);
    let other = others.find(|size| Table::read(disk, *size, 1).is_some());
    match other {
        Some(size) => Some(Flaw::OtherSectors(size)),
        None => is_protected.then_some(Flaw::Broken),
    }
}

/// A header whose sums are right.
struct Table {
    /// Bytes on the disk.
    place: u64,
    /// The last sector that a partition may have.
    last_usable: u64,
    entries: u32,
    entry_size: u32,
}

impl Table {
    fn read(disk: &mut dyn ReadAt, sector_size: u32, sector: u64) -> Option<Self> {
        let mut header = [0; HEADER_MAX];
        let bytes = |sector: u64| sector.checked_mul(u64::from(sector_size));
        disk.read_at(bytes(sector)?, &mut header)?;
        let size = usize::try_from(le32(&header, HEADER_SIZE)?).ok()?;
        let is_header = header.get(SIGNATURE)? == b"EFI PART"
            && (HEADER_MIN..=HEADER_MAX).contains(&size)
            && le64(&header, OWN_PLACE)? == sector;
        if !is_header {
            return None;
        }
        // The header is summed up with zeros in place of the sum.
        let sum = le32(&header, HEADER_SUM)?;
        header.get_mut(HEADER_SUM)?.fill(0);
        let table = Self {
            place: bytes(le64(&header, ENTRIES_PLACE)?)?,
            last_usable: le64(&header, LAST_USABLE)?,
            entries: le32(&header, ENTRIES)?,
            entry_size: le32(&header, ENTRY_SIZE)?,
        };
        let is_whole = !crc32(u32::MAX, header.get(..size)?) == sum
            && table.sum(disk)? == le32(&header, ENTRIES_SUM)?;
        is_whole.then_some(table)
    }

    /// The sum of all entries.
    fn sum(&self, disk: &mut dyn ReadAt) -> Option<u32> {
        // 128 bytes times a power of two.
        let is_size = self.entry_size.is_power_of_two() && self.entry_size as usize >= ENTRY_MIN;
        let mut left = u64::from(self.entries).checked_mul(u64::from(self.entry_size))?;
        if !is_size || left > ENTRIES_MAX {
            return None;
        }
        let mut piece = [0; PIECE];
        let mut sum = u32::MAX;
        let mut place = self.place;
        while left > 0 {
            let len = left.min(PIECE as u64);
            let piece = piece.get_mut(..usize::try_from(len).ok()?)?;
            disk.read_at(place, piece)?;
            sum = crc32(sum, piece);
            place = place.checked_add(len)?;
            left = left.checked_sub(len)?;
        }
        Some(!sum)
    }

    fn entry(&self, disk: &mut dyn ReadAt, number: u32) -> Option<Entry> {
        let index = number
            .checked_sub(1)
            .filter(|index| *index < self.entries)?;
        let before = u64::from(index).checked_mul(u64::from(self.entry_size))?;
        let mut entry = [0; ENTRY_MIN];
        disk.read_at(self.place.checked_add(before)?, &mut entry)?;
        // An entry without a type is not in use.
        Uuid::full(array(&entry, TYPE)?)?;
        Some(Entry {
            partuuid: PartUuid::Gpt(Uuid::mixed_endian(array(&entry, UNIQUE)?)?),
            name: Label::utf16(entry.get(NAME)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES_AT: u64 = 2;

    /// A disk with two copies of a table whose second entry is in use.
    fn disk(sector_size: usize, entry_size: u32) -> Vec<u8> {
        let sectors = 64;
        let mut disk = vec![0; sectors * sector_size];
        let mut entry = vec![0; entry_size as usize];
        entry[TYPE].fill(0x11);
        entry[UNIQUE]
            .copy_from_slice(b"\x03\x02\x01\x00\x05\x04\x07\x06\x08\x09\xaa\xbb\xcc\xdd\xee\xff");
        entry[NAME][..8].copy_from_slice(b"r\0\xf6\0o\0t\0");
        let mut entries = vec![0; entry_size as usize];
        entries.extend(entry);
        for (own, at) in [(1, ENTRIES_AT), (sectors as u64 - 1, sectors as u64 - 33)] {
            let mut header = [0; HEADER_MIN];
            header[SIGNATURE].copy_from_slice(b"EFI PART");
            header[HEADER_SIZE].copy_from_slice(&(HEADER_MIN as u32).to_le_bytes());
            header[OWN_PLACE].copy_from_slice(&own.to_le_bytes());
            header[LAST_USABLE].copy_from_slice(&(sectors as u64 - 34).to_le_bytes());
            header[ENTRIES_PLACE].copy_from_slice(&at.to_le_bytes());
            header[ENTRIES].copy_from_slice(&2_u32.to_le_bytes());
            header[ENTRY_SIZE].copy_from_slice(&entry_size.to_le_bytes());
            header[ENTRIES_SUM].copy_from_slice(&(!crc32(u32::MAX, &entries)).to_le_bytes());
            let sum = !crc32(u32::MAX, &header);
            header[HEADER_SUM].copy_from_slice(&sum.to_le_bytes());
            disk[own as usize * sector_size..][..HEADER_MIN].copy_from_slice(&header);
            disk[at as usize * sector_size..][..entries.len()].copy_from_slice(&entries);
        }
        disk
    }

    fn found(disk: &[u8], sector_size: u32, number: u32) -> Option<(String, String)> {
        let entry = entry(&mut &disk[..], sector_size, number)?;
        Some((entry.partuuid.to_string(), entry.name?.to_string()))
    }

    fn expected() -> Option<(String, String)> {
        Some(("00010203-0405-0607-0809-aabbccddeeff".into(), "röot".into()))
    }

    #[test]
    fn an_entry_is_found_whatever_the_size_of_sectors_and_entries() {
        for (sector, entry) in [(512, 128), (4096, 128), (512, 512)] {
            let disk = disk(sector, entry);
            assert_eq!(found(&disk, sector as u32, 2), expected());
            assert_eq!(found(&disk, sector as u32, 1), None);
            assert_eq!(found(&disk, sector as u32, 3), None);
        }
    }

    #[test]
    fn the_copy_at_the_end_counts_when_the_first_is_broken() {
        for damage in [512, 512 + 16, 2 * 512 + 130] {
            let mut disk = disk(512, 128);
            disk[damage] ^= 1;
            assert_eq!(found(&disk, 512, 2), expected(), "{damage}");
            let end = disk.len() - 512;
            disk[end] ^= 1;
            assert_eq!(found(&disk, 512, 2), None, "{damage}");
        }
    }

    #[test]
    fn what_keeps_the_kernel_from_a_table_is_told() {
        let whole = disk(512, 128);
        let told = |disk: &[u8], size, is_protected| flaw(&mut &disk[..], size, is_protected);
        assert_eq!(told(&whole, 512, true), Some(Flaw::Unread(Kind::Gpt)));
        let cut = &whole[..20 * 512];
        assert_eq!(told(cut, 512, true), Some(Flaw::Larger(0)));
        assert_eq!(told(&whole, 512, false), Some(Flaw::Unprotected));
        assert_eq!(told(&whole, 4096, true), Some(Flaw::OtherSectors(512)));
        let large = disk(4096, 128);
        assert_eq!(told(&large, 512, true), Some(Flaw::OtherSectors(4096)));
        let mut broken = whole.clone();
        broken[512 + 16] ^= 1;
        assert_eq!(told(&broken, 512, true), Some(Flaw::OnlyBackup));
        let end = broken.len() - 512;
        broken[end] ^= 1;
        assert_eq!(told(&broken, 512, true), Some(Flaw::Broken));
        assert_eq!(told(&broken, 512, false), None);
        assert_eq!(told(&[0; 64], 512, true), None);
    }

    #[test]
    fn a_table_that_is_too_large_or_of_odd_entries_is_none() {
        let table = |entries, entry_size| Table {
            place: 0,
            last_usable: 0,
            entries,
            entry_size,
        };
        let disk = vec![0_u8; 1024];
        assert_eq!(table(u32::MAX, 128).sum(&mut &disk[..]), None);
        assert_eq!(table(1, 130).sum(&mut &disk[..]), None);
        assert!(table(4, 128).sum(&mut &disk[..]).is_some());
    }
}
