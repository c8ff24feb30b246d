//! Containers whose root filesystem is in a file of their bundle: `berth.image` and `berth.verity`.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, DiskImage, Fs, Type};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Builder, Ended};
use berth_tests::{Bundle, Lab, MODULES, Seen, disk, guest};
use uuid::Uuid;

use crate::verity::{BLOCK, SMALL_BLOCK, Verified, used_by_squashfs};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere containers_run_from_images_of_each_type,
    everywhere nothing_is_left_of_images_when_their_containers_have_ended,
    once what_is_written_to_an_image_is_there_afterwards,
    everywhere image_that_is_not_what_its_hash_says_fails_its_container_alone,
    once image_that_cannot_be_used_is_named,
    once image_without_a_loop_driver_is_told_so,
    everywhere erofs_needs_no_loop_driver_where_the_kernel_reads_the_file,
];

const ROOT: &str = "root=UUID=b0a70000-0000-4000-8000-000000000003";

/// Where an erofs comes from that the kernel reads from the file itself.
const FILE: &str = "/proc/self/fd/";

/// Whether it can: Debian builds it in from Linux 6.12 on.
fn reads_files(lab: &Lab) -> bool {
    !lab.kernel.release.starts_with("6.1.")
}

/// The files of a container's root filesystem.
fn rootfs() -> Result<Tree> {
    let tree = ["dev", "etc", "proc", "tmp"]
        .into_iter()
        .fold(Tree::new(), Tree::directory);
    Ok(tree.copy(guest()?, "bin/guest"))
}

pub(crate) fn image(fstype: &str) -> Result<DiskImage> {
    let files = rootfs()?;
    let kind = match fstype {
        "squashfs" => Type::Squashfs,
        "erofs" => Type::Erofs,
        "ext4" => return Disk::bare(Fs::ext4("IMAGE", disk::EXT4_UUID, files).mib(32)).build(),
        _ => return Disk::bare(Fs::vfat("IMAGE", disk::VFAT_SERIAL, files)).build(),
    };
    Disk::bare(Fs::of_type(kind, "", Uuid::nil(), files)).build()
}

/// A root with these bundles, each of which has its image, whatever that is, as `app.img`.
fn root(bundles: &[(Bundle, &[u8])]) -> Result<DiskImage> {
    let mut tree = disk::files(bundles.iter().map(|(bundle, _)| bundle.clone()))?;
    for (bundle, image) in bundles {
        tree = tree.file(format!("containers/{}/app.img", bundle.id()), *image);
    }
    Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(400))
        .build()
}

/// A container that runs from its image.
fn imaged(id: &str) -> Bundle {
    Bundle::new(id).annotation("berth.image", "app.img")
}

fn machine(lab: &Lab, name: &str, root: &DiskImage) -> Result<Builder> {
    let spec = lab.spec()?.load(MODULES);
    let spec = spec.load(["loop", "squashfs", "erofs", "dm_verity"]);
    let image = spec.build(Compression::Zstd)?;
    Ok(lab.machine_with(name, &image).append(ROOT).blk(root))
}

fn containers_run_from_images_of_each_type(lab: &Lab) -> Result<()> {
    let (squashfs, erofs, ext4) = (image("squashfs")?, image("erofs")?, image("ext4")?);
    let plain = [fs::read(&squashfs)?, fs::read(&erofs)?, fs::read(&ext4)?];
    let used = used_by_squashfs(&squashfs)?;
    let checked = Verified::behind(&squashfs, used, BLOCK)?;
    let checked_ext4 = Verified::behind(&ext4, fs::metadata(&ext4)?.len(), SMALL_BLOCK)?;
    let checked_erofs = Verified::behind(&erofs, fs::metadata(&erofs)?.len(), BLOCK)?;
    let erofs_data = fs::read(&checked_erofs.data)?;
    let with_place_of_erofs = format!("{},{}", checked_erofs.root_hash, checked_erofs.offset);
    let facts = |id: &str| imaged(id).runs(["/bin/guest", "facts"]);
    let with_place = format!("{},{}", checked_ext4.root_hash, checked_ext4.offset);
    let (checked_data, ext4_data) = (fs::read(&checked.data)?, fs::read(&checked_ext4.data)?);
    let bundles = [
        (facts("squashfs"), &plain[0][..]),
        (facts("erofs"), &plain[1]),
        (facts("ext4"), &plain[2]),
        (
            facts("sealed").set("/root/readonly", true.into()),
            &plain[2],
        ),
        (
            facts("checked").annotation("berth.verity", &checked.root_hash),
            &checked_data,
        ),
        (
            facts("checked-ext4").annotation("berth.verity", &with_place),
            &ext4_data,
        ),
        (
            facts("checked-erofs").annotation("berth.verity", &with_place_of_erofs),
            &erofs_data,
        ),
    ];
    let name = "containers_run_from_images_of_each_type";
    let outcome = machine(lab, name, &root(&bundles)?)?.start()?.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let of_erofs = match reads_files(lab) {
        true => FILE,
        false => "/dev/loop",
    };
    for (id, fstype, source, is_read_only) in [
        ("squashfs", "squashfs", "/dev/loop", true),
        ("erofs", "erofs", of_erofs, true),
        ("ext4", "ext4", "/dev/loop", false),
        ("sealed", "ext4", "/dev/loop", true),
        ("checked", "squashfs", "/dev/dm-", true),
        ("checked-ext4", "ext4", "/dev/dm-", true),
        ("checked-erofs", "erofs", "/dev/dm-", true),
    ] {
        let mount = Seen::new(&outcome, id).mount_at("/")?;
        ensure!(
            mount.fstype == fstype && mount.source.starts_with(source),
            "{id}: {mount:?}"
        );
        ensure!(mount.has_option("ro") == is_read_only, "{id}: {mount:?}");
    }
    Ok(())
}

/// More containers than there are loop devices at first, and one that looks when all others have
/// ended.
fn nothing_is_left_of_images_when_their_containers_have_ended(lab: &Lab) -> Result<()> {
    let squashfs = image("squashfs")?;
    let checked = Verified::behind(&squashfs, used_by_squashfs(&squashfs)?, BLOCK)?;
    let data = fs::read(&checked.data)?;
    let ids: Vec<_> = (0..12).map(|number| format!("image-{number}")).collect();
    let mut bundles: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| match number % 2 {
            0 => (imaged(id), &data[..]),
            _ => (
                imaged(id).annotation("berth.verity", &checked.root_hash),
                &data[..],
            ),
        })
        .collect();
    let watcher = Bundle::new("watcher")
        .namespaces(&["mount", "uts"])
        .mount("/sys", "sysfs", "sysfs", &[])
        .runs(["/bin/guest", "outlast"]);
    bundles.push((watcher, &[]));
    let name = "nothing_is_left_of_images_when_their_containers_have_ended";
    let outcome = machine(lab, name, &root(&bundles)?)?.start()?.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    for id in &ids {
        Seen::new(&outcome, id).exited(0)?;
    }
    Seen::new(&outcome, "watcher").printed("no loop device is in use, no device is mapped")
}

fn what_is_written_to_an_image_is_there_afterwards(lab: &Lab) -> Result<()> {
    let ext4 = fs::read(image("ext4")?)?;
    let writer = imaged("writer").runs(["/bin/guest", "leave", "/tmp/left", "in the image"]);
    let vm = machine(
        lab,
        "what_is_written_to_an_image_is_there_afterwards",
        &root(&[(writer, &ext4)])?,
    )?
    .start()?;
    vm.wait()?.assert(Ended::PowerOff, 0)?;
    // The partition begins at 1 MiB.
    let partition = tempfile::NamedTempFile::new()?;
    fs::write(partition.path(), &fs::read(vm.disk(0))?[1 << 20..])?;
    let dumped = tempfile::NamedTempFile::new()?;
    let debugfs = |command: &str, image: &std::path::Path| -> Result<Vec<u8>> {
        let output = Command::new("debugfs")
            .args(["-R", command])
            .arg(image)
            .output()?;
        Ok(output.stdout)
    };
    let dump = format!(
        "dump /containers/writer/app.img {}",
        dumped.path().display()
    );
    debugfs(&dump, partition.path())?;
    let left = debugfs("cat /tmp/left", dumped.path())?;
    ensure!(
        left == b"in the image",
        "{:?}",
        String::from_utf8_lossy(&left)
    );
    for image in [partition.path(), dumped.path()] {
        let check = Command::new("e2fsck")
            .args(["-f", "-n"])
            .arg(image)
            .output()?;
        let text = String::from_utf8_lossy(&check.stdout).into_owned();
        ensure!(
            check.status.success() && !text.contains("recover"),
            "{check:?}"
        );
    }
    Ok(())
}

fn image_that_is_not_what_its_hash_says_fails_its_container_alone(lab: &Lab) -> Result<()> {
    let squashfs = image("squashfs")?;
    let checked = Verified::behind(&squashfs, used_by_squashfs(&squashfs)?, BLOCK)?;
    let (good, flipped) = (fs::read(&checked.data)?, fs::read(checked.flipped(48)?)?);
    let with = |id, hash: &str| imaged(id).annotation("berth.verity", hash);
    let bundles = [
        (with("good", &checked.root_hash), &good[..]),
        (with("wrong", &"5a".repeat(32)), &good),
        (with("changed", &checked.root_hash), &flipped),
        (with("short", &checked.root_hash[..40]), &good),
        (
            with("nowhere", &format!("{},4096", checked.root_hash)),
            &good,
        ),
    ];
    let name = "image_that_is_not_what_its_hash_says_fails_its_container_alone";
    let outcome = machine(lab, name, &root(&bundles)?)?.start()?.wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    Seen::new(&outcome, "good").exited(0)?;
    Seen::new(&outcome, "wrong").failed("B053", "is corrupted")?;
    Seen::new(&outcome, "changed").failed("B053", "is corrupted")?;
    Seen::new(&outcome, "short").failed("B053", "set up device-mapper device berth-short")?;
    Seen::new(&outcome, "nowhere").failed("B053", "there is no superblock of a hash tree")
}

fn image_that_cannot_be_used_is_named(lab: &Lab) -> Result<()> {
    let vfat = fs::read(image("vfat")?)?;
    let named = |id: &str, image: &str| Bundle::new(id).annotation("berth.image", image);
    let bundles = [
        (imaged("vfat"), &vfat[..]),
        (imaged("zeros"), &[0; 8192][..]),
        (named("missing", "nothing.img"), &[]),
        (named("outside", "../vfat/app.img"), &[]),
        (named("linked", "rootfs/link/app.img"), &[]),
    ];
    let mut tree = disk::files(bundles.iter().map(|(bundle, _)| bundle.clone()))?;
    for (bundle, image) in &bundles {
        tree = tree.file(format!("containers/{}/app.img", bundle.id()), *image);
    }
    let tree = tree.symlink("containers/linked/rootfs/link", "/containers/vfat");
    let root = Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(300))
        .build()?;
    let outcome = machine(lab, "image_that_cannot_be_used_is_named", &root)?
        .start()?
        .wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    Seen::new(&outcome, "vfat").failed(
        "B053",
        "mount app.img, which holds vfat for vfat: EOPNOTSUPP",
    )?;
    Seen::new(&outcome, "zeros").failed("B053", "mount app.img, which holds all zero")?;
    Seen::new(&outcome, "missing").failed("B053", "open nothing.img for missing: ENOENT")?;
    Seen::new(&outcome, "outside").failed("B053", "open ../vfat/app.img for outside: EXDEV")?;
    Seen::new(&outcome, "linked").failed("B053", "open rootfs/link/app.img for linked: ELOOP")
}

fn image_without_a_loop_driver_is_told_so(lab: &Lab) -> Result<()> {
    let squashfs = fs::read(image("squashfs")?)?;
    let name = "image_without_a_loop_driver_is_told_so";
    let root = root(&[(imaged("lost"), &squashfs)])?;
    let outcome = lab.machine(name)?.append(ROOT).blk(&root).start()?.wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    Seen::new(&outcome, "lost").failed("B053", "open /dev/loop-control for app.img")?;
    ensure!(outcome.console.contains("berth.modules=loop"));
    Ok(())
}

fn erofs_needs_no_loop_driver_where_the_kernel_reads_the_file(lab: &Lab) -> Result<()> {
    let erofs = fs::read(image("erofs")?)?;
    let runs = |id| imaged(id).runs(["/bin/guest", "facts"]);
    // Its superblock has another checksum than it says, so that no kernel takes it; the device
    // would tell why, if there were one.
    let mut broken = erofs.clone();
    broken[1024 + 4..1024 + 8].fill(0xff);
    let root = root(&[
        (runs("plain"), &erofs[..]),
        (runs("layered").annotation("berth.overlay", "tmpfs"), &erofs),
        (runs("broken"), &broken),
    ])?;
    let name = "erofs_needs_no_loop_driver_where_the_kernel_reads_the_file";
    let image = lab.spec()?.load(MODULES).load(["erofs", "overlay"]);
    let image = image.build(Compression::Zstd)?;
    let vm = lab.machine_with(name, &image).append(ROOT).blk(&root);
    let outcome = vm.start()?.wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    const NO_DRIVER: &str = "open /dev/loop-control for app.img";
    Seen::new(&outcome, "broken").failed("B053", NO_DRIVER)?;
    if !reads_files(lab) {
        Seen::new(&outcome, "layered").failed("B053", NO_DRIVER)?;
        return Seen::new(&outcome, "plain").failed("B053", NO_DRIVER);
    }
    let mount = Seen::new(&outcome, "plain").mount_at("/")?;
    ensure!(
        mount.fstype == "erofs" && mount.source.starts_with(FILE) && mount.has_option("ro"),
        "{mount:?}"
    );
    let seen = Seen::new(&outcome, "layered");
    ensure!(seen.mount_at("/")?.fstype == "overlay");
    seen.exited(0)
}
