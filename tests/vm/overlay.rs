//! `berth.overlay=`: a writable layer above a root that is mounted read-only.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass};
use berth_qemu::disk::{Disk, DiskImage, Fs, Type};
use berth_qemu::vm::{Builder, Drive, Ended, Event, Outcome};
use berth_tests::{Bundle, Lab, Seen, disk, field};
use uuid::Uuid;

use crate::provoke::failed;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere changes_above_a_squashfs_go_to_memory,
    everywhere changes_go_to_a_device_and_are_there_afterwards,
    once layer_that_does_not_come_is_named,
    once root_that_cannot_lie_below_an_overlay_is_refused_in_the_kernels_words,
];

fn machine(lab: &Lab, name: &str, types: &[&str]) -> Result<Builder> {
    let spec = lab
        .spec()?
        .for_devices([DeviceClass::Virtio, DeviceClass::Layers])
        .for_filesystems(types.iter().copied());
    Ok(lab.machine_with(name, &spec.build(Compression::None)?))
}

/// A container that writes a file into its root and shows its mounts.
fn writer() -> Bundle {
    Bundle::new("writer").runs(["/bin/guest", "leave", "/tmp/left", "by the container"])
}

fn squashfs() -> Result<DiskImage> {
    let files = disk::files([writer()])?;
    Disk::bare(Fs::of_type(Type::Squashfs, "", Uuid::nil(), files)).build()
}

/// Holds the boot to its root, and to what its layer is on.
fn took(outcome: &Outcome, fstype: &str, overlay: &str) -> Result<()> {
    outcome.assert(Ended::PowerOff, 0)?;
    let is_it = |event: &&Event| event.name() == "root";
    let root = outcome.events.iter().find(is_it).context("no root")?;
    let found = ["fstype", "overlay"].map(|name| field(root, name));
    ensure!(found == [Some(fstype), Some(overlay)], "{found:?}");
    ensure!(root.raw["ro"] == false, "{root:?}");
    let writer = Seen::new(outcome, "writer");
    writer.printed("left by the container")?;
    writer.exited(0)
}

fn changes_above_a_squashfs_go_to_memory(lab: &Lab) -> Result<()> {
    let outcome = machine(lab, "changes_above_a_squashfs_go_to_memory", &["squashfs"])?
        .append("root=/dev/vda berth.overlay=tmpfs")
        .blk(&squashfs()?)
        .start()?
        .wait()?;
    took(&outcome, "squashfs", "tmpfs")
}

fn changes_go_to_a_device_and_are_there_afterwards(lab: &Lab) -> Result<()> {
    let name = "changes_go_to_a_device_and_are_there_afterwards";
    let layer = Disk::bare(Fs::ext4("LAYER", disk::EXT4_UUID, Default::default())).build()?;
    let vm = machine(lab, name, &["squashfs", "ext4"])?
        .append("root=/dev/vda berth.overlay=LABEL=LAYER")
        .blk(&squashfs()?)
        .blk(&layer)
        .start()?;
    let outcome = vm.wait()?;
    took(&outcome, "squashfs", "/dev/vdb")?;
    let disk = vm.disk(1);
    let left = "cat /berth/upper/containers/writer/rootfs/tmp/left";
    let output = Command::new("debugfs")
        .args(["-R", left])
        .arg(&disk)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text == "by the container", "{text:?}: {output:?}");
    // Nothing to replay, nothing to repair.
    let check = Command::new("e2fsck")
        .args(["-f", "-n"])
        .arg(&disk)
        .output()?;
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    ensure!(
        check.status.success() && !text.contains("recover"),
        "{check:?}"
    );
    Ok(())
}

fn layer_that_does_not_come_is_named(lab: &Lab) -> Result<()> {
    let outcome = machine(lab, "layer_that_does_not_come_is_named", &["squashfs"])?
        .append("root=/dev/vda berth.overlay=LABEL=LAYER rootwait=0")
        .drive(Drive::blk(&squashfs()?))
        .start()?
        .wait()?;
    failed(
        &outcome,
        "B020",
        "wait for berth.overlay=LABEL=LAYER: no such block device",
    )
}

/// Names that differ in case only are one file on vfat, which an overlay cannot keep apart.
fn root_that_cannot_lie_below_an_overlay_is_refused_in_the_kernels_words(lab: &Lab) -> Result<()> {
    let name = "root_that_cannot_lie_below_an_overlay_is_refused_in_the_kernels_words";
    let outcome = machine(lab, name, &["vfat"])?
        .append("root=LABEL=BERTH berth.overlay=tmpfs")
        .blk(&disk::vfat([writer()])?)
        .start()?
        .wait()?;
    failed(
        &outcome,
        "B024",
        "mount overlay as overlay: EINVAL: overlayfs: ",
    )
}
