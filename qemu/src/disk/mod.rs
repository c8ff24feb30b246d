//! Disk images, made by the real tools from trees of files.
//!
//! No root, no loop devices: each file system is made in a file of its own by mkfs.vfat and mcopy
//! or by `mke2fs -d`, and put in its place behind a partition table. All identifiers are given,
//! none is random, so that `UUID=`, `LABEL=` and `PARTUUID=` are known beforehand. On one machine
//! the same vfat disk is the same bytes each time (elsewhere directories may be in another order);
//! ext4 also records when its files were last changed on the host.
//!
//! | identifier | vfat | ext4 |
//! |---|---|---|
//! | `UUID=` | the serial as `XXXX-XXXX` | the UUID |
//! | `PARTUUID=` | MBR: the disk's signature and the number, `b0a70001-01` | GPT: the disk's UUID plus the number |

mod fs;
mod mkfs;
mod table;

pub use fs::Fs;
pub use mkfs::Type;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::{NamedTempFile, TempPath};
use uuid::Uuid;

use crate::paths::target_dir;

const MIB: u64 = 1 << 20;

/// Partitions begin on multiples of this, and so does the room behind the last one, where GPT keeps
/// its copy.
const ALIGN: u64 = MIB;

/// The size of a sector in bytes, unless it is said otherwise.
const SECTOR: u32 = 512;

/// A file for an image, where images are kept.
fn scratch() -> Result<NamedTempFile> {
    let dir = target_dir().join("disks");
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    NamedTempFile::new_in(&dir).with_context(|| format!("create a file in {}", dir.display()))
}

#[derive(Debug, Clone)]
enum Table {
    Bare,
    Mbr(u32),
    Gpt(Uuid),
}

#[derive(Debug, Clone)]
struct Partition {
    /// `PARTLABEL=`, which only GPT has.
    name: String,
    fs: Fs,
}

/// A disk to be: a partition table and what is in the partitions.
#[derive(Debug, Clone)]
pub struct Disk {
    table: Table,
    partitions: Vec<Partition>,
    sector: u32,
}

impl Disk {
    /// A disk without a partition table.
    pub fn bare(fs: Fs) -> Self {
        Self {
            table: Table::Bare,
            partitions: vec![Partition {
                name: String::new(),
                fs,
            }],
            sector: SECTOR,
        }
    }

    /// A disk of zeros.
    pub fn empty(mib: u64) -> Self {
        Self::bare(Fs::empty().mib(mib))
    }

    /// A disk with an MBR of this signature, and at most four partitions.
    pub fn mbr(signature: u32) -> Self {
        Self {
            table: Table::Mbr(signature),
            partitions: Vec::new(),
            sector: SECTOR,
        }
    }

    /// A disk with a GPT of this UUID.
    pub fn gpt(uuid: Uuid) -> Self {
        Self {
            table: Table::Gpt(uuid),
            partitions: Vec::new(),
            sector: SECTOR,
        }
    }

    /// Table and filesystems are for sectors of so many bytes, 512 or 4096, which the drive must
    /// have too.
    pub fn sectors(mut self, bytes: u32) -> Self {
        self.sector = bytes;
        self
    }

    /// The next partition.
    pub fn partition(self, fs: Fs) -> Self {
        self.named("", fs)
    }

    /// The next partition, with a `PARTLABEL=` where the table is a GPT.
    pub fn named(mut self, name: &str, fs: Fs) -> Self {
        self.partitions.push(Partition {
            name: name.to_owned(),
            fs,
        });
        self
    }

    /// Makes the image in a file that goes away with the value returned.
    ///
    /// # Errors
    /// A tool that is missing or refuses, content that does not fit.
    pub fn build(&self) -> Result<DiskImage> {
        let image = scratch()?;
        self.make(image.as_file()).context("make a disk")?;
        Ok(DiskImage {
            path: image.into_temp_path(),
        })
    }

    /// Makes the image in a file that stays.
    ///
    /// # Errors
    /// As [`Disk::build`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let image = self.build()?;
        image
            .path
            .persist(path)
            .with_context(|| format!("write {}", path.display()))
    }

    fn make(&self, mut disk: &File) -> Result<()> {
        let images: Vec<NamedTempFile> = self
            .partitions
            .iter()
            .map(|partition| partition.fs.make(self.sector))
            .collect::<Result<_>>()?;
        let mut starts = Vec::new();
        let mut end = if matches!(self.table, Table::Bare) {
            0
        } else {
            ALIGN
        };
        for Partition { fs, .. } in &self.partitions {
            starts.push(end);
            end += fs.size.next_multiple_of(ALIGN);
        }
        let tail = if matches!(self.table, Table::Gpt(_)) {
            ALIGN
        } else {
            0
        };
        disk.set_len(end + tail)?;
        match &self.table {
            Table::Bare => (),
            Table::Mbr(signature) => {
                table::write_mbr(disk, self.sector, *signature, &self.partitions, &starts)?
            }
            Table::Gpt(uuid) => {
                table::write_gpt(disk, self.sector, *uuid, &self.partitions, &starts)?
            }
        }
        for (start, image) in starts.iter().zip(&images) {
            disk.seek(SeekFrom::Start(*start))?;
            copy_data(&mut image.reopen()?, disk)?;
        }
        Ok(())
    }
}

/// Copies an image to where the disk stands, leaving holes where it is zero.
fn copy_data(from: &mut File, mut to: &File) -> Result<()> {
    let mut block = vec![0; MIB as usize];
    loop {
        let count = from.read(&mut block)?;
        match &block[..count] {
            [] => return Ok(()),
            zeros if zeros.iter().all(|byte| *byte == 0) => {
                to.seek_relative(count as i64)?;
            }
            data => to.write_all(data)?,
        }
    }
}

/// A finished image. Its file goes away with it; machines work on copies.
#[derive(Debug)]
pub struct DiskImage {
    path: TempPath,
}

impl AsRef<Path> for DiskImage {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl DiskImage {
    /// Keeps the image under another name.
    ///
    /// # Errors
    /// The name cannot be had.
    pub fn persist(self, path: impl Into<PathBuf>) -> Result<()> {
        let path = path.into();
        self.path
            .persist(&path)
            .with_context(|| format!("write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    fn tree() -> Tree {
        Tree::new()
            .file("containers/web/config.json", "{}")
            .directory("proc")
    }

    fn bytes(disk: &Disk) -> Vec<u8> {
        std::fs::read(disk.build().unwrap()).unwrap()
    }

    #[test]
    fn empty_disk_is_zeros() {
        let bytes = bytes(&Disk::empty(2));
        assert_eq!(bytes.len() as u64, 2 * MIB);
        assert!(bytes.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn vfat_disk_is_the_same_bytes_each_time() {
        let disk = Disk::mbr(0xb0a7_0001).partition(Fs::vfat("BERTH", 0xb0a7_0002, tree()));
        assert!(bytes(&disk) == bytes(&disk));
    }

    #[test]
    fn mbr_holds_the_signature_and_the_partitions() {
        let disk = Disk::mbr(0xb0a7_0001)
            .partition(Fs::vfat("A", 1, tree()))
            .partition(Fs::empty());
        let image = disk.build().unwrap();
        let mbr = mbrman::MBR::read_from(&mut File::open(&image).unwrap(), 512).unwrap();
        assert_eq!(u32::from_le_bytes(mbr.header.disk_signature), 0xb0a7_0001);
        assert_eq!(
            (mbr[1].sys, mbr[1].starting_lba, mbr[1].sectors),
            (0x0e, 2048, 64 * 2048)
        );
        assert_eq!(
            (mbr[2].sys, mbr[2].starting_lba, mbr[2].sectors),
            (0x83, 65 * 2048, 2048)
        );
        assert!(mbr[3].is_unused());
    }

    #[test]
    fn fifth_partition_is_refused_by_an_mbr() {
        let disk = (0..5).fold(Disk::mbr(1), |disk, _| disk.partition(Fs::empty()));
        let error = format!("{:#}", disk.build().unwrap_err());
        assert!(error.contains("four partitions, not 5"), "{error}");
    }

    #[test]
    fn gpt_holds_fixed_uuids_and_names() {
        let uuid = Uuid::from_u128(0xb0a7_0000);
        let image = Disk::gpt(uuid)
            .partition(Fs::empty())
            .named("root", Fs::empty().mib(2));
        let image = image.build().unwrap();
        let gpt = gpt::GptConfig::new().open(&image).unwrap();
        assert_eq!(*gpt.guid(), uuid);
        let root = &gpt.partitions()[&2];
        assert_eq!(
            (root.name.as_str(), root.part_guid),
            ("root", Uuid::from_u128(0xb0a7_0002))
        );
        assert_eq!((root.first_lba, root.last_lba), (2 * 2048, 4 * 2048 - 1));
    }

    #[test]
    fn large_sectors_are_counted_by_tables_and_known_to_filesystems() {
        let image = Disk::gpt(Uuid::from_u128(1))
            .sectors(4096)
            .named("root", Fs::vfat("A", 1, tree()));
        let image = image.build().unwrap();
        let gpt = gpt::GptConfig::new()
            .logical_block_size(gpt::disk::LogicalBlockSize::Lb4096)
            .open(&image)
            .unwrap();
        let root = &gpt.partitions()[&1];
        assert_eq!((root.first_lba, root.last_lba), (256, 65 * 256 - 1));
        let vfat = &std::fs::read(&image).unwrap()[MIB as usize..];
        assert_eq!(vfat[11..13], 4096_u16.to_le_bytes());
    }

    #[test]
    fn file_systems_carry_their_identifiers_where_the_formats_have_them() {
        let vfat = bytes(&Disk::bare(Fs::vfat("BERTH", 0xb0a7_0002, tree()).mib(8)));
        assert_eq!(vfat[0x27..0x2b], 0xb0a7_0002_u32.to_le_bytes());
        assert_eq!(&vfat[0x2b..0x36], b"BERTH      ");
        let uuid = Uuid::from_u128(7);
        let ext4 = bytes(&Disk::bare(Fs::ext4("DATA", uuid, tree())));
        assert_eq!(ext4[0x468..0x478], *uuid.as_bytes());
        assert_eq!(&ext4[0x478..0x47c], b"DATA");
    }

    #[test]
    fn bytes_are_where_the_partition_begins() {
        let disk = Disk::mbr(1)
            .partition(Fs::empty())
            .partition(Fs::bytes("not a superblock"));
        let bytes = bytes(&disk);
        assert!(bytes[2 * MIB as usize..].starts_with(b"not a superblock"));
    }

    #[test]
    fn content_that_does_not_fit_is_refused() {
        let too_much = Fs::bytes(vec![1; 2 * MIB as usize]).mib(1);
        let error = format!("{:#}", Disk::bare(too_much).build().unwrap_err());
        assert!(error.contains("do not fit"), "{error}");
    }

    #[test]
    fn vfat_refuses_what_it_cannot_hold_in_the_tools_words() {
        let too_much = Tree::new().file("big", vec![1; 2 * MIB as usize]);
        let error = format!(
            "{:#}",
            Disk::bare(Fs::vfat("A", 1, too_much).mib(1))
                .build()
                .unwrap_err()
        );
        assert!(
            error.contains("fill the vfat") && error.contains("full"),
            "{error}"
        );
    }
}
