//! Filesystems that are not as they should be: roots that were not unmounted, and filesystems that
//! the kernel ceases to write to.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, DiskImage, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::Ended;
use berth_tests::{Bundle, Lab, MODULES, Seen, disk, warnings};

use crate::fsck::vfat_is_clean;
use crate::provoke::failed;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere unclean_roots_and_lost_filesystems_are_told,
    once dirty_root_is_checked_and_is_clean_then,
    once root_that_cannot_be_repaired_is_not_mounted,
];

/// Changes a filesystem on a bare disk in the ways that debugfs(8) knows.
fn changed(image: &DiskImage, requests: &[&str]) -> Result<()> {
    for request in requests {
        let changed = Command::new("debugfs")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["-w", "-R", request])
            .arg(image.as_ref())
            .output()
            .context("start debugfs")?;
        ensure!(changed.status.success(), "{changed:?}");
    }
    Ok(())
}

/// The root's journal is to be replayed, the layer above it has errors; two more are lost later.
fn unclean_roots_and_lost_filesystems_are_told(lab: &Lab) -> Result<()> {
    let ext4 = |label, tree| Disk::bare(Fs::ext4(label, disk::EXT4_UUID, tree)).build();
    let loser = Bundle::new("loser").namespaces(&["mount", "uts"]).runs([
        "/bin/guest",
        "lose-filesystems",
        "/dev/vdc1",
        "/dev/vdc2",
    ]);
    let root = ext4("BERTH", disk::files([loser])?)?;
    changed(&root, &["feature needs_recovery"])?;
    let layer = ext4("LAYER", Tree::new())?;
    changed(&layer, &["set_super_value state 3"])?;
    let others = Disk::mbr(0xb0a7_0004)
        .partition(Fs::ext4("LOST", disk::EXT4_UUID, Tree::new()))
        .partition(Fs::vfat("FAT", 5, Tree::new()))
        .build()?;
    let spec = lab.spec()?.load(MODULES).load(["overlay"]);
    let vm = lab
        .machine_with("unclean_roots", &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda berth.overlay=/dev/vdb")
        .blk(&root)
        .blk(&layer)
        .blk(&others)
        .start()?;
    let outcome = vm.wait()?;
    Seen::new(&outcome, "loser").printed("lost")?;
    outcome.assert(Ended::PowerOff, 0)?;
    let texts = warnings(&outcome);
    for text in [
        "/dev/vda was not unmounted cleanly: the kernel replays its journal",
        "/dev/vdb has errors, which the kernel has found earlier: repair it with fsck",
        "a filesystem cannot be written any more: EXT4-fs (vdc1): Remounting filesystem read-only",
        "a filesystem cannot be written any more: FAT-fs (vdc2): Filesystem has been set read-only",
    ] {
        ensure!(texts.contains(&text), "{text:?} is not in {texts:#?}");
        ensure!(
            outcome.console.contains(text),
            "{text:?} is not on the console"
        );
    }
    Ok(())
}

/// A machine whose image has checks, with this root.
fn checked(lab: &Lab, name: &str, root: &DiskImage) -> Result<berth_qemu::vm::Vm> {
    let spec = lab.spec()?.load(MODULES).fsck(["ext4", "vfat"]);
    lab.machine_with(name, &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda berth.fsck=preen")
        .blk(root)
        .start()
}

fn dirty_root_is_checked_and_is_clean_then(lab: &Lab) -> Result<()> {
    let files = disk::files([Bundle::new("one")])?;
    let root = Disk::bare(Fs::vfat("BERTH", 5, files)).build()?;
    // The dirty bit of FAT16, as a power cut leaves it.
    let file = File::options().write(true).open(root.as_ref())?;
    file.write_all_at(&[1], 0x25)?;
    let vm = checked(lab, "dirty_root_is_checked", &root)?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let texts = warnings(&outcome);
    let expected = "/dev/vda had errors, which /sbin/fsck.vfat has corrected";
    ensure!(texts == [expected], "{texts:?}");
    ensure!(
        outcome.console.contains("fsck.fat "),
        "what it prints is seen"
    );
    let copy = vm.disk(0).with_extension("copy");
    fs::copy(vm.disk(0), &copy)?;
    vfat_is_clean(&copy)
}

fn root_that_cannot_be_repaired_is_not_mounted(lab: &Lab) -> Result<()> {
    let files = disk::files([Bundle::new("one")])?;
    let root = Disk::bare(Fs::ext4("BERTH", disk::EXT4_UUID, files)).build()?;
    changed(&root, &["clri <2>", "set_super_value state 0"])?;
    let outcome = checked(lab, "root_that_cannot_be_repaired", &root)?.wait()?;
    failed(
        &outcome,
        "B028",
        "/dev/vda with /sbin/fsck.ext4: the check ended with status 4",
    )?;
    ensure!(
        outcome.console.contains("RUN fsck MANUALLY"),
        "what it prints is seen"
    );
    Ok(())
}
