//! Partition tables, for the names that the kernel does not tell.
//!
//! Which partitions there are, their numbers and sizes is known from sysfs and uevents. `PARTUUID=` and `PARTLABEL=` are in
//! the table alone on kernels whose uevents do not carry them, so one entry of it is looked up here by the partition's
//! number, as the kernel reads tables (block/partitions/efi.c and msdos.c).

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
/// A GPT counts when one of its two copies is whole; the backup's place is the end of the disk. `None` if there is no table,
/// no such partition, or the table cannot be read.
#[must_use]
pub fn entry(disk: &mut dyn ReadAt, sector_size: u32, number: u32) -> Option<Entry> {
    gpt::entry(disk, sector_size, number).or_else(|| mbr::entry(disk, sector_size, number))
}

/// The kind of table that begins so, if there is one: [`Kind::Gpt`] or [`Kind::Mbr`].
#[must_use]
pub fn kind_of_table(window: &[u8]) -> Option<Kind> {
    mbr::kind(window)
}

/// Why the kernel makes no partitions of a disk that has a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing is wrong with the table.
    None,
    /// A GPT whose first copy is broken, and whose copy at the end is whole.
    OnlyBackup,
    /// A GPT of which both copies are broken.
    Broken,
    /// A GPT without the MBR that protects it.
    Unprotected,
    /// A GPT that was written for sectors of this size, in bytes.
    OtherSectors(u32),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str(
                "its table is whole: the device makes none (a loop device without `losetup -P`, a mapped one), or the kernel was built without this kind of table",
            ),
            Self::OnlyBackup => f.write_str(
                "the first copy of its GPT is broken and the one at the end is whole: boot with the kernel's word `gpt`, and repair it (`sgdisk -e`)",
            ),
            Self::Broken => f.write_str(
                "both copies of its GPT are broken: restore the table from a backup, or look for partitions with testdisk",
            ),
            Self::Unprotected => f.write_str(
                "its GPT has no protective MBR: boot with the kernel's word `gpt`, and repair it (`sgdisk -e`)",
            ),
            Self::OtherSectors(size) => write!(
                f,
                "its GPT is for sectors of {size} bytes: attach the disk with such (QEMU: logical_block_size={size}, losetup: --sector-size {size})"
            ),
        }
    }
}

/// What is wrong with the table of `disk`, whose sectors have `sector_size` bytes, of which the kernel made no partitions. `None`
/// if there is no table.
#[must_use]
pub fn flaw(disk: &mut dyn ReadAt, sector_size: u32) -> Option<Flaw> {
    let mut sector = [0; 512];
    disk.read_at(0, &mut sector)?;
    let table = kind_of_table(&sector);
    let of_gpt = gpt::flaw(disk, sector_size, table == Some(Kind::Gpt));
    of_gpt.or_else(|| table.map(|_| Flaw::None))
}
