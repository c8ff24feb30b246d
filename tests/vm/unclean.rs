//! Filesystems that are not as they should be: roots that were not unmounted, and filesystems that
//! the kernel ceases to write to.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, DiskImage, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::Ended;
use berth_tests::{Bundle, Lab, MODULES, Seen, disk, field};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere unclean_roots_and_lost_filesystems_are_told,
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
    let warnings = outcome
        .events
        .iter()
        .filter(|event| event.name() == "warning");
    let texts: Vec<_> = warnings.filter_map(|event| field(event, "text")).collect();
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
