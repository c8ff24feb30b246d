//! Images as the builder can make them: every one must boot.

use anyhow::{Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::vm::Ended;
use berth_tests::{Bundle, Lab, disk, line};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere plain_image_boots,
    everywhere gzip_image_boots,
    everywhere zstd_image_boots,
    everywhere lz4_image_boots,
    everywhere modules_that_stay_compressed_are_loaded,
];

fn boots(lab: &Lab, name: &str, compression: Compression, keep_compressed: bool) -> Result<()> {
    let modules = [
        "virtio_pci",
        "virtio_console",
        "sd_mod",
        "virtio_scsi",
        "vfat",
    ];
    let image = lab
        .spec()?
        .load(modules)
        .keep_compressed(keep_compressed)
        .build(compression)?;
    let vm = lab
        .machine_with(name, &image)
        .append("root=LABEL=BERTH")
        .scsi(&disk::vfat([Bundle::new("first")])?)
        .start()?;
    vm.expect("the container runs", |event| {
        line(event) == Some(("first", "first"))
    })?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

fn plain_image_boots(lab: &Lab) -> Result<()> {
    boots(lab, "plain_image_boots", Compression::None, false)
}

fn gzip_image_boots(lab: &Lab) -> Result<()> {
    boots(lab, "gzip_image_boots", Compression::Gzip, false)
}

fn zstd_image_boots(lab: &Lab) -> Result<()> {
    boots(lab, "zstd_image_boots", Compression::Zstd, false)
}

fn lz4_image_boots(lab: &Lab) -> Result<()> {
    boots(lab, "lz4_image_boots", Compression::Lz4, false)
}

/// Linux 6.12 and later, as Debian ships them, have their modules as `.ko.xz` and decompress them themselves.
fn modules_that_stay_compressed_are_loaded(lab: &Lab) -> Result<()> {
    let image = lab
        .spec()?
        .load(["vfat"])
        .keep_compressed(true)
        .build(Compression::None)?;
    let entries = berth_initramfs::archive::read(&image.bytes)?;
    let are_compressed = entries.keys().any(|path| path.ends_with("/vfat.ko.xz"));
    ensure!(
        are_compressed != lab.kernel.release.starts_with("6.1."),
        "{}",
        lab.kernel.release
    );
    boots(
        lab,
        "modules_that_stay_compressed_are_loaded",
        Compression::None,
        true,
    )
}
