//! Roots that are not one filesystem on one device: two that are recognised at once, and one that
//! lies on several.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Spec};
use berth_qemu::disk::{Disk, DiskImage, Fs, Type};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Builder, Drive, Ended, Event, Outcome};
use berth_tests::{Bundle, Lab, MODULES, disk, field, line};
use tempfile::TempDir;
use uuid::Uuid;

use crate::provoke::OWN_FAILURE;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once of_two_filesystems_neither_is_guessed,
    once filesystem_that_is_named_is_mounted_beside_another,
    everywhere btrfs_is_mounted_when_all_its_devices_are_there,
    once root_below_the_top_of_a_btrfs_is_told,
    once btrfs_without_one_of_its_devices_is_told_which_there_are,
];

const UUID: &str = "b0a70000-0000-4000-8000-000000000003";
const OTHER_UUID: Uuid = Uuid::from_u128(0xb0a70000_0000_4000_8000_000000000004);

/// An ext4 with a container, behind the boot sector of a FAT.
fn ext4_behind_fat() -> Result<DiskImage> {
    let files = disk::files([Bundle::new("meant")])?;
    let ext4 = Disk::bare(Fs::ext4("MEANT", disk::EXT4_UUID, files)).build()?;
    let vfat = Disk::bare(Fs::vfat("LEFT", disk::VFAT_SERIAL, disk::files([])?)).build()?;
    let mut bytes = std::fs::read(&ext4)?;
    bytes[..512].copy_from_slice(&std::fs::read(&vfat)?[..512]);
    Disk::bare(Fs::bytes(bytes)).build()
}

/// An ext4 that begins with the superblock of an empty squashfs.
fn ext4_behind_squashfs() -> Result<DiskImage> {
    let ext4 = Disk::bare(Fs::ext4("BEHIND", OTHER_UUID, disk::files([])?)).build()?;
    let squashfs = Fs::of_type(Type::Squashfs, "", OTHER_UUID, Tree::new());
    let squashfs = Disk::bare(squashfs).build()?;
    let mut bytes = std::fs::read(&ext4)?;
    bytes[..96].copy_from_slice(&std::fs::read(&squashfs)?[..96]);
    Disk::bare(Fs::bytes(bytes)).build()
}

/// Holds a boot that failed to a line of its report.
fn reported(outcome: &Outcome, expected: &str) -> Result<()> {
    let is_it = |event: &Event| event.name() == "report" && field(event, "line") == Some(expected);
    ensure!(
        outcome.events.iter().any(is_it),
        "{expected:?} is not in {:#?}",
        outcome.events
    );
    Ok(())
}

fn of_two_filesystems_neither_is_guessed(lab: &Lab) -> Result<()> {
    // The header of a LUKS volume is left before what was made a btrfs without its tool's
    // knowledge.
    let btrfs = array("single", 1)?;
    let mut bytes = std::fs::read(btrfs.path().join("0"))?;
    bytes[..8].copy_from_slice(b"LUKS\xba\xbe\0\x01");
    let outcome = lab
        .machine("of_two_filesystems_neither_is_guessed")?
        .append(format!("root=UUID={UUID}"))
        .blk(&ext4_behind_fat()?)
        .blk(&Disk::bare(Fs::bytes(bytes)).build()?)
        .blk(&ext4_behind_squashfs()?)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let failed = |event: &Event| {
        let text = field(event, "text").unwrap_or_default();
        event.is_failure("B022")
            && text.contains("mount /dev/vda: what is on it: vfat, and also ext4")
    };
    ensure!(outcome.events.iter().any(failed), "{:#?}", outcome.events);
    ensure!(
        outcome
            .console
            .contains("say which of the two it is with rootfstype=")
    );
    reported(
        &outcome,
        &format!(
            "/dev/vda: 64 MiB, virtio_blk, vfat, UUID=B0A7-0002, LABEL=LEFT, and also ext4, UUID={UUID}, LABEL=MEANT"
        ),
    )?;
    reported(
        &outcome,
        &format!("/dev/vdb: 256 MiB, virtio_blk, LUKS (encrypted), and also btrfs, UUID={UUID}"),
    )?;
    reported(
        &outcome,
        &format!(
            "/dev/vdc: 64 MiB, virtio_blk, squashfs, and also ext4, UUID={OTHER_UUID}, LABEL=BEHIND"
        ),
    )
}

fn filesystem_that_is_named_is_mounted_beside_another(lab: &Lab) -> Result<()> {
    let outcome = lab
        .machine("filesystem_that_is_named_is_mounted_beside_another")?
        .append("root=LABEL=MEANT rootfstype=ext4")
        .blk(&ext4_behind_fat()?)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let mut lines = outcome.events.iter().filter_map(line);
    ensure!(lines.any(|line| line == ("meant", "meant")));
    Ok(())
}

/// The devices of an empty btrfs with that profile, as files in a directory that are named by their
/// numbers.
fn array(profile: &str, devices: usize) -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let files: Vec<_> = (0..devices)
        .map(|number| directory.path().join(number.to_string()))
        .collect();
    for file in &files {
        std::fs::File::create(file)?.set_len(256 << 20)?;
    }
    let made = Command::new("mkfs.btrfs")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["-q", "-U", UUID, "-d", profile, "-m", profile])
        .args(&files)
        .output()
        .context("start mkfs.btrfs")?;
    ensure!(made.status.success(), "{made:?}");
    Ok(directory)
}

fn machine(lab: &Lab, name: &str) -> Result<Builder> {
    let spec: Spec = lab.spec()?.load(MODULES).for_filesystems(["btrfs"]);
    Ok(lab.machine_with(name, &spec.build(Compression::Zstd)?))
}

/// Nothing can be put on it, so the root and the lack of containers prove it.
fn btrfs_is_mounted_when_all_its_devices_are_there(lab: &Lab) -> Result<()> {
    let name = "btrfs_is_mounted_when_all_its_devices_are_there";
    let array = array("raid1", 2)?;
    let [first, second] = ["0", "1"].map(|number| array.path().join(number));
    let mut vm = machine(lab, name)?
        .append(format!("root=UUID={UUID} rootwait loglevel=6"))
        .blk(&first)
        .start()?;
    vm.expect_console("1 of 2 are there")?;
    vm.plug(Drive::blk(&second))?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let mounted = |event: &Event| event.name() == "root" && field(event, "fstype") == Some("btrfs");
    ensure!(outcome.events.iter().any(mounted), "{:#?}", outcome.events);
    ensure!(outcome.events.iter().any(|event| event.is_failure("B050")));
    let warns = |event: &Event| event.name() == "warning" && field(event, "stage") == Some("root");
    ensure!(!outcome.events.iter().any(warns), "{:#?}", outcome.events);
    Ok(())
}

fn btrfs_without_one_of_its_devices_is_told_which_there_are(lab: &Lab) -> Result<()> {
    let name = "btrfs_without_one_of_its_devices_is_told_which_there_are";
    let array = array("raid1", 2)?;
    let boot = |words: &str| -> Result<Outcome> {
        let vm = machine(lab, name)?.append(format!("root=UUID={UUID} rootwait=1 {words}"));
        Ok(vm.blk(&array.path().join("1")).start()?.wait()?)
    };
    let text = "mount /dev/vda as btrfs: 1 of the 2 devices of this filesystem are there: /dev/vda";
    let says = |event: &Event| field(event, "text").is_some_and(|found| found.contains(text));
    let refused = boot("")?;
    refused.assert(Ended::PowerOff, OWN_FAILURE)?;
    let failed = |event: &Event| event.is_failure("B024") && says(event);
    ensure!(refused.events.iter().any(failed), "{:#?}", refused.events);
    ensure!(refused.console.contains("attach the missing ones"));
    ensure!(!refused.console.contains("fsck"));
    let degraded = boot("rootflags=degraded")?;
    let warned = |event: &Event| event.name() == "warning" && says(event);
    ensure!(degraded.events.iter().any(warned), "{:#?}", degraded.events);
    ensure!(degraded.events.iter().any(|event| event.is_failure("B050")));
    Ok(())
}

fn root_below_the_top_of_a_btrfs_is_told(lab: &Lab) -> Result<()> {
    let tree = Tree::new()
        .file("@/etc/os-release", "")
        .directory("@home/user");
    let fs = Fs::of_type(Type::Btrfs, "BERTH", disk::EXT4_UUID, tree);
    let outcome = machine(lab, "root_below_the_top_of_a_btrfs_is_told")?
        .append("root=LABEL=BERTH init=/sbin/init")
        .blk(&disk::of(fs)?)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    ensure!(outcome.events.iter().any(|event| event.is_failure("B040")));
    reported(
        &outcome,
        "@ looks like a root: boot with rootflags=subvol=@",
    )
}
