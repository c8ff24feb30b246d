//! Partition tables: MBR, and GPT as in chapter 5 of the UEFI specification.

use std::collections::BTreeMap;
use std::fs::File;

use anyhow::{Result, anyhow, ensure};
use uuid::Uuid;

use super::Partition;

/// Writes an MBR with these partitions, which begin at the bytes `starts`, to a disk with sectors
/// of `sector` bytes.
pub(super) fn write_mbr(
    mut disk: &File,
    sector: u32,
    signature: u32,
    partitions: &[Partition],
    starts: &[u64],
) -> Result<()> {
    ensure!(
        starts.len() <= 4,
        "an MBR has four partitions, not {}",
        starts.len()
    );
    let mut mbr = mbrman::MBR::new_from(&mut disk, sector, signature.to_le_bytes())?;
    for ((start, Partition { fs, .. }), slot) in starts.iter().zip(partitions).zip(1..) {
        mbr[slot] = mbrman::MBRPartitionEntry {
            boot: mbrman::BOOT_INACTIVE,
            first_chs: mbrman::CHS::empty(),
            sys: fs.partition_type().0,
            last_chs: mbrman::CHS::empty(),
            starting_lba: (start / u64::from(sector)).try_into()?,
            sectors: (fs.size / u64::from(sector)).try_into()?,
        };
    }
    Ok(mbr.write_into(&mut disk)?)
}

/// Writes both copies of a GPT with these partitions, which begin at the bytes `starts`, to a disk
/// with sectors of `sector` bytes: 512 or 4096.
pub(super) fn write_gpt(
    mut disk: &File,
    sector: u32,
    uuid: Uuid,
    partitions: &[Partition],
    starts: &[u64],
) -> Result<()> {
    let sector = u64::from(sector);
    let sectors = disk.metadata()?.len() / sector;
    let protective = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    gpt::mbr::ProtectiveMBR::with_lb_size(protective).overwrite_lba0(&mut disk)?;
    let mut gpt = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(sector.try_into()?)
        .create_from_device(disk.try_clone()?, Some(uuid))?;
    let mut table = BTreeMap::new();
    for ((start, Partition { name, fs }), number) in starts.iter().zip(partitions).zip(1_u32..) {
        let partition = gpt::partition::Partition {
            part_type_guid: fs.partition_type().1,
            part_guid: Uuid::from_u128(uuid.as_u128() + u128::from(number)),
            first_lba: start / sector,
            last_lba: (start + fs.size) / sector - 1,
            flags: 0,
            name: name.clone(),
        };
        table.insert(number, partition);
    }
    gpt.update_partitions(table)?;
    gpt.write().map_err(|e| anyhow!("write the GPT: {e}"))?;
    Ok(())
}
