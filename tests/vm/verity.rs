//! `berth.verity=`: every block of the root is held against a hash tree of the real veritysetup(8).

use std::fs;
use std::path::Path;
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
    everywhere root_is_verified_with_the_tree_behind_its_filesystem,
    once root_is_verified_with_the_tree_at_an_offset_below_an_overlay,
    everywhere root_is_verified_with_the_tree_on_a_disk_that_comes_late,
    everywhere wrong_root_hash_is_refused_in_the_kernels_words,
    once changed_block_is_refused_and_the_next_slot_is_taken,
    everywhere block_that_is_changed_later_is_an_error_for_its_reader_alone,
    once hash_tree_that_is_not_there_is_refused,
    once hash_tree_that_is_truncated_is_refused_in_the_kernels_words,
    once hash_tree_of_a_larger_root_is_refused_in_the_kernels_words,
    once root_hash_of_another_length_is_refused_in_the_kernels_words,
    once place_that_the_filesystem_does_not_tell_has_to_be_given,
    once filesystem_with_smaller_blocks_than_its_tree_is_told_so,
    once image_without_dm_verity_is_told_what_to_add,
    once hash_device_that_does_not_come_is_named,
    once root_that_cannot_be_verified_is_not_mounted,
];

pub(crate) const BLOCK: u64 = 4096;

/// The size of the blocks that mke2fs gives a small filesystem. The device has those of the tree,
/// and no filesystem can have smaller ones than its device.
pub(crate) const SMALL_BLOCK: u64 = 1024;

/// The UUID of the hash trees.
const TREE_UUID: &str = "b0a70000-0000-4000-8000-0000000000bb";

/// A root with its hash tree.
pub(crate) struct Verified {
    pub(crate) data: DiskImage,
    /// Where the tree begins on `data`.
    pub(crate) offset: u64,
    pub(crate) root_hash: String,
}

impl Verified {
    /// Puts a tree for blocks of `block` bytes behind the first `size` bytes of the image.
    pub(crate) fn behind(image: &DiskImage, size: u64, block: u64) -> Result<Self> {
        let offset = size.next_multiple_of(BLOCK);
        let data = tempfile::NamedTempFile::new()?;
        fs::copy(image, data.path())?;
        data.as_file().set_len(offset)?;
        let place = [
            format!("--hash-offset={offset}"),
            format!("--data-blocks={}", offset / block),
            format!("--data-block-size={block}"),
        ];
        let root_hash = format(data.path(), data.path(), &place)?;
        let data = Disk::bare(Fs::bytes(fs::read(data.path())?)).build()?;
        Ok(Self {
            data,
            offset,
            root_hash,
        })
    }

    /// The same with one bit of the byte at `offset` changed.
    pub(crate) fn flipped(&self, offset: u64) -> Result<DiskImage> {
        let mut bytes = fs::read(&self.data)?;
        bytes[usize::try_from(offset)?] ^= 1;
        Disk::bare(Fs::bytes(bytes)).build()
    }
}

/// Makes the hash tree of what is in the file `data` in the file `tree`; the root hash.
fn format(data: &Path, tree: &Path, place: &[String]) -> Result<String> {
    let output = Command::new("/usr/sbin/veritysetup")
        .args(["format", "--uuid", TREE_UUID])
        .args(place)
        .args([data, tree])
        .output()
        .context("start veritysetup")?;
    ensure!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    let hash = text
        .lines()
        .find_map(|line| line.strip_prefix("Root hash:"));
    Ok(hash
        .context("veritysetup names no root hash")?
        .trim()
        .to_owned())
}

fn bundle() -> Bundle {
    Bundle::new("any")
}

/// How many bytes a squashfs takes (`bytes_used`, fs/squashfs/squashfs_fs.h).
pub(crate) fn used_by_squashfs(image: &DiskImage) -> Result<u64> {
    let used = fs::read(image)?[40..48].try_into()?;
    Ok(u64::from_le_bytes(used))
}

fn squashfs(bundle: Bundle) -> Result<DiskImage> {
    let files = disk::files([bundle])?;
    Disk::bare(Fs::of_type(Type::Squashfs, "", Uuid::nil(), files)).build()
}

fn verified_squashfs(bundle: Bundle) -> Result<Verified> {
    let image = squashfs(bundle)?;
    Verified::behind(&image, used_by_squashfs(&image)?, BLOCK)
}

fn machine(lab: &Lab, name: &str, fstype: &str) -> Result<Builder> {
    let spec = lab
        .spec()?
        .for_devices([DeviceClass::Virtio, DeviceClass::Layers])
        .for_filesystems([fstype]);
    Ok(lab.machine_with(name, &spec.build(Compression::None)?))
}

/// Holds a boot to a verified root, from which a container ran.
fn took(outcome: &Outcome, device: &str, fstype: &str) -> Result<()> {
    outcome.assert(Ended::PowerOff, 0)?;
    let is_it = |event: &&Event| event.name() == "root";
    let root = outcome.events.iter().find(is_it).context("no root")?;
    let found = ["device", "fstype"].map(|name| field(root, name));
    ensure!(found == [Some(device), Some(fstype)], "{found:?}");
    ensure!(root.raw["verified"] == true, "{root:?}");
    Seen::new(outcome, "any").exited(0)
}

fn root_is_verified_with_the_tree_behind_its_filesystem(lab: &Lab) -> Result<()> {
    let root = verified_squashfs(bundle())?;
    let outcome = machine(
        lab,
        "root_is_verified_with_the_tree_behind_its_filesystem",
        "squashfs",
    )?
    .append(format!("root=/dev/vda berth.verity={}", root.root_hash))
    .blk(&root.data)
    .start()?
    .wait()?;
    took(&outcome, "/dev/vda", "squashfs")?;
    // Read-only without a word about it: nothing else was asked for.
    let warned = outcome.events.iter().any(|event| event.name() == "warning");
    ensure!(!warned, "{:?}", outcome.events);
    Ok(())
}

fn root_is_verified_with_the_tree_at_an_offset_below_an_overlay(lab: &Lab) -> Result<()> {
    let writer = Bundle::new("any").runs(["/bin/guest", "leave", "/tmp/left", "written"]);
    let image = Disk::bare(Fs::ext4("SEALED", disk::EXT4_UUID, disk::files([writer])?)).build()?;
    let size = fs::metadata(&image)?.len();
    let root = Verified::behind(&image, size, SMALL_BLOCK)?;
    let name = "root_is_verified_with_the_tree_at_an_offset_below_an_overlay";
    let outcome = machine(lab, name, "ext4")?
        .append("root=LABEL=SEALED berth.overlay=tmpfs")
        .append(format!("berth.verity={},{}", root.root_hash, root.offset))
        .blk(&root.data)
        .start()?
        .wait()?;
    took(&outcome, "/dev/vda", "ext4")?;
    Seen::new(&outcome, "any").printed("left written")
}

/// Named by the UUID of the tree, which is none of a filesystem.
fn root_is_verified_with_the_tree_on_a_disk_that_comes_late(lab: &Lab) -> Result<()> {
    let data = Disk::bare(Fs::vfat(
        "SEALED",
        disk::VFAT_SERIAL,
        disk::files([bundle()])?,
    ))
    .build()?;
    let tree = tempfile::NamedTempFile::new()?;
    let sectors = ["--data-block-size=512".to_owned()];
    let root_hash = format(data.as_ref(), tree.path(), &sectors)?;
    let name = "root_is_verified_with_the_tree_on_a_disk_that_comes_late";
    let mut vm = machine(lab, name, "vfat")?
        .append(format!(
            "root=LABEL=SEALED rootwait berth.verity={root_hash},UUID={TREE_UUID}"
        ))
        .blk(&data)
        .start()?;
    vm.expect("the machine waits for the tree", |event| {
        event.name() == "waiting" && field(event, "root") == Some(&format!("UUID={TREE_UUID}"))
    })?;
    vm.plug(Drive::blk(tree.path()))?;
    took(&vm.wait()?, "/dev/vda", "vfat")
}

fn wrong_root_hash_is_refused_in_the_kernels_words(lab: &Lab) -> Result<()> {
    let root = verified_squashfs(bundle())?;
    let name = "wrong_root_hash_is_refused_in_the_kernels_words";
    let outcome = machine(lab, name, "squashfs")?
        .append(format!("root=/dev/vda berth.verity={}", "5a".repeat(32)))
        .blk(&root.data)
        .start()?
        .wait()?;
    failed(&outcome, "B026", "device-mapper: verity: ")?;
    failed(&outcome, "B026", "is corrupted")
}

/// Two slots with one image, of which the first is damaged: what its superblock is in, and then a
/// block of the tree.
fn changed_block_is_refused_and_the_next_slot_is_taken(lab: &Lab) -> Result<()> {
    let root = verified_squashfs(bundle())?;
    // The superblock of the tree takes a block, then comes its root.
    for (what, offset) in [
        ("data block 0 is", 48),
        ("metadata block", root.offset + BLOCK),
    ] {
        let name = "changed_block_is_refused_and_the_next_slot_is_taken";
        let outcome = machine(lab, name, "squashfs")?
            .append("root=/dev/vda berth.root_fallback=/dev/vdb")
            .append(format!("berth.verity={}", root.root_hash))
            .blk(&root.flipped(offset)?)
            .blk(&root.data)
            .start()?
            .wait()?;
        took(&outcome, "/dev/vdb", "squashfs")?;
        let rejected = outcome
            .events
            .iter()
            .find(|event| event.name() == "rejected");
        let rejected = rejected.context("nothing was rejected")?;
        ensure!(field(rejected, "code") == Some("B026"), "{rejected:?}");
        let text = field(rejected, "text").unwrap_or_default();
        ensure!(text.contains(what), "{text}");
    }
    Ok(())
}

/// ext4 keeps what a file holds as it is, so it can be found in the image and changed there.
fn block_that_is_changed_later_is_an_error_for_its_reader_alone(lab: &Lab) -> Result<()> {
    const MARK: &[u8] = b"the block that will be changed";
    let content = MARK.repeat(200);
    let reader = Bundle::new("reader").runs(["/bin/guest", "show", "/etc/mark"]);
    let files = disk::files([reader, bundle()])?;
    let files = files.file("containers/reader/rootfs/etc/mark", content);
    let image = Disk::bare(Fs::ext4("SEALED", disk::EXT4_UUID, files)).build()?;
    let root = Verified::behind(&image, fs::metadata(&image)?.len(), SMALL_BLOCK)?;
    let bytes = fs::read(&root.data)?;
    let place = bytes.windows(MARK.len()).position(|window| window == MARK);
    let place = place.context("the file is not in the image")? as u64;
    let name = "block_that_is_changed_later_is_an_error_for_its_reader_alone";
    let outcome = machine(lab, name, "ext4")?
        .append(format!("root=/dev/vda berth.verity={}", root.root_hash))
        .blk(&root.flipped(place)?)
        .start()?
        .wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    Seen::new(&outcome, "any").exited(0)?;
    let reader = Seen::new(&outcome, "reader");
    ensure!(reader.exited(0).is_err());
    ensure!(outcome.console.contains("device-mapper: verity"));
    let lines: Vec<_> = reader.lines().collect();
    let is_read = lines.iter().any(|line| line.contains("the block that"));
    ensure!(
        !is_read && lines.iter().any(|line| line.contains("os error 5")),
        "{lines:?}"
    );
    Ok(())
}

/// Boots a root that cannot be verified.
fn refused(
    lab: &Lab,
    name: &str,
    verity: &str,
    data: &impl AsRef<Path>,
    code: &str,
    text: &str,
) -> Result<()> {
    let outcome = machine(lab, name, "squashfs")?
        .append(format!("root=/dev/vda berth.verity={verity}"))
        .blk(data)
        .start()?
        .wait()?;
    failed(&outcome, code, text)
}

fn hash_tree_that_is_not_there_is_refused(lab: &Lab) -> Result<()> {
    let root = verified_squashfs(bundle())?;
    let name = "hash_tree_that_is_not_there_is_refused";
    let size = fs::metadata(&root.data)?.len();
    for (offset, text) in [
        (
            BLOCK,
            "there is no superblock of a hash tree at byte 4096 of /dev/vda",
        ),
        (size, "ENODATA"),
    ] {
        let verity = format!("{},{offset}", root.root_hash);
        refused(lab, name, &verity, &root.data, "B025", text)?;
    }
    Ok(())
}

fn hash_tree_that_is_truncated_is_refused_in_the_kernels_words(lab: &Lab) -> Result<()> {
    let root = verified_squashfs(bundle())?;
    let name = "hash_tree_that_is_truncated_is_refused_in_the_kernels_words";
    let data = tempfile::NamedTempFile::new()?;
    fs::copy(&root.data, data.path())?;
    data.as_file().set_len(root.offset + BLOCK)?;
    refused(lab, name, &root.root_hash, &data, "B025", "device-mapper: ")
}

fn hash_tree_of_a_larger_root_is_refused_in_the_kernels_words(lab: &Lab) -> Result<()> {
    let large = Disk::empty(64).build()?;
    let tree = tempfile::NamedTempFile::new()?;
    let hash = format(large.as_ref(), tree.path(), &[])?;
    let image = squashfs(bundle())?;
    let name = "hash_tree_of_a_larger_root_is_refused_in_the_kernels_words";
    let outcome = machine(lab, name, "squashfs")?
        .append(format!("root=/dev/vda berth.verity={hash},/dev/vdb"))
        .blk(&image)
        .blk(tree.path())
        .start()?
        .wait()?;
    failed(&outcome, "B025", "too small for target")
}

fn root_hash_of_another_length_is_refused_in_the_kernels_words(lab: &Lab) -> Result<()> {
    let root = verified_squashfs(bundle())?;
    let name = "root_hash_of_another_length_is_refused_in_the_kernels_words";
    let hash = &root.root_hash[..40];
    refused(lab, name, hash, &root.data, "B025", "Invalid root digest")
}

fn place_that_the_filesystem_does_not_tell_has_to_be_given(lab: &Lab) -> Result<()> {
    let name = "place_that_the_filesystem_does_not_tell_has_to_be_given";
    let data = Disk::bare(Fs::vfat("SEALED", disk::VFAT_SERIAL, disk::files([])?)).build()?;
    let text = "where vfat ends is not known: say where the hash tree is";
    refused(lab, name, &"5a".repeat(32), &data, "B025", text)
}

fn filesystem_with_smaller_blocks_than_its_tree_is_told_so(lab: &Lab) -> Result<()> {
    let name = "filesystem_with_smaller_blocks_than_its_tree_is_told_so";
    let image = Disk::bare(Fs::ext4("SEALED", disk::EXT4_UUID, disk::files([])?)).build()?;
    let root = Verified::behind(&image, fs::metadata(&image)?.len(), BLOCK)?;
    let outcome = machine(lab, name, "ext4")?
        .append(format!("root=/dev/vda berth.verity={}", root.root_hash))
        .blk(&root.data)
        .start()?
        .wait()?;
    failed(&outcome, "B024", "bad block size 1024")?;
    ensure!(outcome.console.contains("--data-block-size="));
    Ok(())
}

fn image_without_dm_verity_is_told_what_to_add(lab: &Lab) -> Result<()> {
    let root = verified_squashfs(bundle())?;
    let name = "image_without_dm_verity_is_told_what_to_add";
    let spec = lab.spec()?.for_devices([DeviceClass::Virtio]);
    let outcome = lab
        .machine_with(name, &spec.build(Compression::None)?)
        .append(format!("root=/dev/vda berth.verity={}", root.root_hash))
        .blk(&root.data)
        .start()?
        .wait()?;
    failed(&outcome, "B025", "open /dev/mapper/control: ")?;
    ensure!(outcome.console.contains("--for-devices layers"));
    Ok(())
}

fn hash_device_that_does_not_come_is_named(lab: &Lab) -> Result<()> {
    let root = verified_squashfs(bundle())?;
    let name = "hash_device_that_does_not_come_is_named";
    let verity = format!("{},/dev/vdb rootwait=0", root.root_hash);
    let text = "wait for berth.verity=/dev/vdb: no such block device";
    refused(lab, name, &verity, &root.data, "B020", text)
}

fn root_that_cannot_be_verified_is_not_mounted(lab: &Lab) -> Result<()> {
    let hash = "5a".repeat(32);
    let name = "root_that_cannot_be_verified_is_not_mounted";
    let outcome = lab
        .machine(name)?
        .append(format!("berth.verity={hash}"))
        .start()?
        .wait()?;
    failed(&outcome, "B004", "there is no root=")
}
