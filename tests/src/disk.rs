//! Disks with bundles on them.

use anyhow::Result;
use berth_qemu::disk::{Disk, DiskImage, Fs};
use berth_qemu::tree::Tree;
use uuid::Uuid;

use crate::Bundle;

/// The serial number of the vfat filesystems: `UUID=B0A7-0002`.
pub const VFAT_SERIAL: u32 = 0xb0a7_0002;

/// The UUID of the ext4 filesystems.
pub const EXT4_UUID: Uuid = Uuid::from_u128(0xb0a70000_0000_4000_8000_000000000003);

/// The label of all of them.
pub const LABEL: &str = "BERTH";

/// The directories that are mounted on when the machine moves onto its root: a read-only root must
/// have them.
const MOUNT_POINTS: [&str; 4] = ["dev", "proc", "run", "sys"];

/// The files of a root filesystem with these bundles.
///
/// # Errors
/// The guest program was not built.
pub fn files(bundles: impl IntoIterator<Item = Bundle>) -> Result<Tree> {
    let tree = MOUNT_POINTS.into_iter().fold(Tree::new(), Tree::directory);
    bundles
        .into_iter()
        .try_fold(tree.directory("containers"), |tree, bundle| {
            bundle.put(tree)
        })
}

/// The same, with busybox as `/bin/busybox` of each bundle.
///
/// # Errors
/// The guest program was not built, or there is no busybox.
pub fn files_with_busybox(bundles: impl IntoIterator<Item = Bundle>) -> Result<Tree> {
    let bundles: Vec<_> = bundles.into_iter().collect();
    let tree = files(bundles.iter().cloned())?;
    let busybox = berth_qemu::busybox()?;
    Ok(bundles.iter().fold(tree, |tree, bundle| {
        let id = bundle.id();
        tree.copy(&busybox, format!("containers/{id}/rootfs/bin/busybox"))
    }))
}

/// A disk with an MBR and one vfat partition that holds these bundles.
///
/// # Errors
/// The guest program was not built, or a tool failed.
pub fn vfat(bundles: impl IntoIterator<Item = Bundle>) -> Result<DiskImage> {
    of(Fs::vfat(LABEL, VFAT_SERIAL, files(bundles)?))
}

/// The same with ext4.
///
/// # Errors
/// As [`vfat`].
pub fn ext4(bundles: impl IntoIterator<Item = Bundle>) -> Result<DiskImage> {
    of(Fs::ext4(LABEL, EXT4_UUID, files(bundles)?))
}

/// A disk with an MBR and one partition with this filesystem.
///
/// # Errors
/// A tool failed.
pub fn of(fs: Fs) -> Result<DiskImage> {
    Disk::mbr(0xb0a7_0001).partition(fs).build()
}
