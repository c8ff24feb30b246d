//! Partition tables, for the names that the kernel does not tell.
//!
//! Which partitions there are, their numbers and sizes is known from sysfs and uevents. `PARTUUID=`
//! and `PARTLABEL=` are in the table alone on kernels whose uevents do not carry them, so one entry
//! of it is looked up here by the partition's number, as the kernel reads tables
//! (block/partitions/efi.c and msdos.c).

use core::fmt;

mod gpt;
mod mbr;

use super::read_at::ReadAt;
use super::superblock::{Kind, Label};
use super::uuid::{Uuid, is_typed};

/// A partition's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What `PARTUUID=` asks for.
    pub partuuid: PartUuid,
    /// What `PARTLABEL=` asks for; an MBR has no names.
    pub name: Option<Label>,
}

/// How a partition is named by its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartUuid {
    /// A GPT's unique GUID.
    Gpt(Uuid),
    /// The signature of an MBR's disk and the number of the partition.
    Mbr {
        /// The signature.
        signature: u32,
        /// The number, from 1; from 5 for a logical partition.
        number: u32,
    },
}

impl PartUuid {
    /// Whether `text`, as somebody typed it, names this partition: all its digits count.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        is_typed(text, self)
    }
}

/// As the kernel prints it, in lower case.
impl fmt::Display for PartUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpt(uuid) => uuid.fmt(f),
            Self::Mbr { signature, number } => write!(f, "{signature:08x}-{number:02x}"),
        }
    }
}

/// The entry of the partition with this number on `disk`, whose sectors have `sector_size` bytes.
///
/// A GPT counts when one of its two copies is whole; the backup's place is the end of the disk.
/// `None` if there is no table, no such partition, or the table cannot be read.
#[must_use]
pub fn entry(disk: &mut dyn ReadAt, sector_size: u32, number: u32) -> Option<Entry> {
    gpt::entry(disk, sector_size, number).or_else(|| mbr::entry(disk, sector_size, number))
}

/// The kind of table that begins so, if there is one: [`Kind::Gpt`] or [`Kind::Mbr`].
#[must_use]
pub fn kind_of_table(window: &[u8]) -> Option<Kind> {
    mbr::kind(window)
}

/// Why the kernel makes no partitions of a disk that has a table, or not all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing is wrong with the table, which is of this kind.
    Unread(Kind),
    /// The same, and devices of this kind have no partitions.
    Whole,
    /// The same on a loop device.
    Loop,
    /// A GPT whose first copy is broken, and whose copy at the end is whole.
    OnlyBackup,
    /// A GPT of which both copies are broken.
    Broken,
    /// A GPT without the MBR that protects it.
    Unprotected,
    /// A GPT for a disk of at least so many MiB.
    Larger(u64),
    /// A table that was written for sectors of this size, in bytes.
    OtherSectors(u32),
    /// A partition of an MBR, by its number, that begins behind the end of the disk.
    Behind(u32),
    /// A chain of tables in an extended partition that breaks off.
    Chain,
    /// A table that the kernel reads only if it was built for it: what it is, and the word of the
    /// configuration.
    Foreign(&'static str, &'static str),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unread(kind) => {
                let name = if *kind == Kind::Gpt { "EFI" } else { "MSDOS" };
                return write!(f, "its table is whole: the kernel was built without CONFIG_{name}_PARTITION");
            }
            Self::Foreign(name, config) => {
                return write!(f, "it has {name}, and the kernel was built without CONFIG_{config}");
            }
            Self::OtherSectors(size) => {
                return write!(f, "its table is for sectors of {size} bytes: attach the disk with such (QEMU: logical_block_size={size}, losetup: --sector-size {size})");
            }
            Self::Larger(size) => {
                return write!(f, "its GPT is for a disk of more than {size} MiB: the image was cut short, copy it whole");
            }
            Self::Behind(number) => {
                return write!(f, "partition {number} begins behind the end of the disk: the image was cut short, copy it whole");
            }
            Self::Whole => "its table is whole, and a device of this kind has no partitions: attach it as a disk",
            Self::Loop => "its table is whole: attach the loop device with `losetup -P`",
            Self::OnlyBackup => "the first copy of its GPT is broken and the one at the end is whole: boot with the kernel's word `gpt`, and repair it (`sgdisk -e`)",
            Self::Broken => "both copies of its GPT are broken: restore the table from a backup, or look for partitions with testdisk",
            Self::Unprotected => "its GPT has no protective MBR: boot with the kernel's word `gpt`, and repair it (`sgdisk -e`)",
            Self::Chain => "a table in its extended partition is broken, and what comes behind is not found: the image was cut short, or look for partitions with testdisk",
        })
    }
}

/// Tables of which Debian's kernels, for one, make no partitions: their places and marks
/// (block/partitions/).
const FOREIGN: &[(usize, &[u8], &str, &str)] = &[
    (0, b"RDSK", "an Amiga partition table", "AMIGA_PARTITION"),
    (0, b"\x0b\xe5\xa9\x41", "an SGI disk label", "SGI_PARTITION"),
    (
        0,
        b"\xc9\xc2\xd4\xc1",
        "an AIX partition table",
        "AIX_PARTITION",
    ),
    (508, b"\xda\xbe", "a Sun disk label", "SUN_PARTITION"),
    (512, b"PM\0\0", "an Apple partition map", "MAC_PARTITION"),
    (
        512,
        b"\x57\x45\x56\x82",
        "a BSD disk label",
        "BSD_DISKLABEL",
    ),
];

/// What is wrong with the table of `disk`, whose sectors have `sector_size` bytes and of which the
/// kernel made no partitions, unless it `has_partitions`: then, why it may have made fewer. `None`
/// if there is no table, or nothing to be said of it.
#[must_use]
pub fn flaw(disk: &mut dyn ReadAt, sector_size: u32, has_partitions: bool) -> Option<Flaw> {
    let mut sectors = [0; 1024];
    disk.read_at(0, &mut sectors)?;
    let table = kind_of_table(&sectors);
    let of_mbr = match table {
        Some(Kind::Mbr) => mbr::flaw(disk, sector_size, &sectors),
        _ => None,
    };
    if of_mbr.is_some() || has_partitions {
        return of_mbr;
    }
    let of_gpt = gpt::flaw(disk, sector_size, table == Some(Kind::Gpt));
    of_gpt.or(table.map(Flaw::Unread)).or_else(|| {
        let begins =
            |at: usize, mark: &[u8]| sectors.get(at..).is_some_and(|text| text.starts_with(mark));
        let mut foreign = FOREIGN.iter().filter(|(at, mark, ..)| begins(*at, mark));
        foreign
            .next()
            .map(|(.., name, config)| Flaw::Foreign(name, config))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_the_kernel_may_not_read_is_named() {
        for (at, mark, ..) in FOREIGN {
            let mut disk = vec![0; 4096];
            disk[*at..][..mark.len()].copy_from_slice(mark);
            let told = flaw(&mut &disk[..], 512, false);
            assert!(matches!(told, Some(Flaw::Foreign(..))), "{told:?}");
            assert_eq!(flaw(&mut &disk[..], 512, true), None);
        }
        assert_eq!(flaw(&mut &[0; 4096][..], 512, false), None);
    }
}
