//! Roots on devices that are not like the usual disk: with large sectors, in an extended partition,
//! in a CD drive, behind a USB bridge of the newer kind, with a filesystem of others, or made of
//! another device before berth was started.
//!
//! As in the matrix, several are in one boot: each but the last is given up for its lack of
//! bundles, and for nothing else, and a container that was started from the last proves that one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass, Spec};
use berth_qemu::disk::{Disk, DiskImage, Fs, Type};
use berth_qemu::kernel::{Kernel, Series};
use berth_qemu::vm::{Builder, Bus, Drive, Ended, Outcome, Vm};
use berth_tests::{Bundle, Lab, disk, guest, line};
use uuid::Uuid;

use crate::fallback::rejected;
use crate::matrix::{classes, generic, took};
use crate::provoke::OWN_FAILURE;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere root_on_a_disk_with_large_sectors,
    everywhere root_on_a_logical_partition,
    everywhere root_with_an_older_ext,
    everywhere root_on_a_cd,
    everywhere drives_without_a_medium_disturb_no_search,
    everywhere root_on_a_disk_behind_usb_attached_scsi,
    everywhere root_with_an_ntfs,
    everywhere root_on_a_loop_device_that_was_there_before,
    everywhere root_on_a_mapped_device_that_was_there_before,
];

const DISK_UUID: Uuid = Uuid::from_u128(0xb0a7_0000);
const MIB: usize = 1 << 20;

/// A filesystem of that type, with the label and the UUID of that number, and perhaps with a
/// container.
fn odd(fstype: &str, number: usize, bundle: Option<Bundle>) -> Result<Fs> {
    let tree = disk::files(bundle)?;
    let (label, uuid) = (format!("ODD{number}"), uuid(number));
    let kind = match fstype {
        "vfat" => return Ok(Fs::vfat(&label, disk::VFAT_SERIAL, tree)),
        "ext4" => return Ok(Fs::ext4(&label, uuid, tree)),
        "ext2" => Type::Ext2,
        "ext3" => Type::Ext3,
        "xfs" => Type::Xfs,
        "squashfs" => Type::Squashfs,
        _ => Type::Iso9660,
    };
    Ok(Fs::of_type(kind, &label, uuid, tree))
}

fn uuid(number: usize) -> Uuid {
    Uuid::from_u128(0xb0a70000_0000_4000_8000_0000000000d0 + number as u128)
}

/// The container of the last.
fn last() -> Option<Bundle> {
    Some(Bundle::new("odd"))
}

/// A machine with that image.
fn machine(name: &str, kernel: &Kernel, spec: &Spec) -> Result<Builder> {
    let image = spec.build(Compression::Zstd)?;
    Ok(Vm::builder(&format!("{}/{name}", kernel.name))
        .kernel(kernel)
        .initrd_bytes(image.bytes)
        .append("loglevel=5 berth.on_failure=poweroff rootwait=30"))
}

/// Boots with the first of the names as `root=` and the others as its fallbacks.
fn try_all(machine: Builder, names: &[&str]) -> Result<Outcome> {
    let (first, others) = names.split_first().context("there are no names")?;
    let mut words = format!("root={first}");
    if !others.is_empty() {
        words += &format!(" berth.root_fallback={}", others.join(","));
    }
    Ok(machine.append(words).start()?.wait()?)
}

/// Holds a boot to have given up all of the names with this code.
fn gave_up(outcome: &Outcome, names: &[&str], code: &str) -> Result<()> {
    let expected: Vec<_> = names.iter().map(|name| (*name, code)).collect();
    let found = rejected(outcome);
    ensure!(found == expected, "{found:?}: {:#?}", outcome.events);
    Ok(())
}

/// Boots with these names, and holds the boot to the last of them and to the container from it.
fn boots(machine: Builder, names: &[&str], device: &str, fstype: &str) -> Result<()> {
    let outcome = try_all(machine, names)?;
    let (last, others) = names.split_last().context("there are no names")?;
    gave_up(&outcome, others, "B050")?;
    took(&outcome, device, fstype, last)?;
    outcome.assert(Ended::PowerOff, 0)?;
    let mut lines = outcome.events.iter().filter_map(line);
    ensure!(lines.any(|line| line == ("odd", "odd")), "nothing ran");
    Ok(())
}

/// Sectors of 4096 bytes move the table, and the filesystem's own numbers count in them.
fn root_on_a_disk_with_large_sectors(lab: &Lab) -> Result<()> {
    const SECTOR: u32 = 4096;
    let rows = [
        (
            Bus::Blk,
            "ext4",
            &*format!("PARTUUID={}", Uuid::from_u128(DISK_UUID.as_u128() + 2)),
        ),
        (Bus::Nvme, "ext4", &format!("UUID={}", uuid(1))),
        (Bus::Scsi, "xfs", "LABEL=ODD2"),
        (Bus::Blk, "vfat", "LABEL=ODD3"),
        (Bus::Nvme, "xfs", "PARTLABEL=odd4"),
        (Bus::Scsi, "vfat", "PARTUUID=b0a70001-02"),
    ];
    let names = rows.map(|row| row.2);
    let spec = lab
        .spec()?
        .for_devices([DeviceClass::Virtio, DeviceClass::Nvme]);
    let spec = spec.for_filesystems(["ext4", "vfat", "xfs"]);
    let name = "root_on_a_disk_with_large_sectors";
    let mut machine = machine(name, &lab.kernel, &spec)?;
    let mut images = Vec::new();
    for (number, (bus, fstype, _)) in rows.into_iter().enumerate() {
        let is_last = number + 1 == rows.len();
        let disk = match is_last {
            true => Disk::mbr(0xb0a7_0001),
            false => Disk::gpt(Uuid::from_u128(
                DISK_UUID.as_u128() + 0x100 * number as u128,
            )),
        };
        let fs = odd(fstype, number, last().filter(|_| is_last))?;
        let disk = disk.sectors(SECTOR).named("first", Fs::empty());
        let image = disk.named(&format!("odd{number}"), fs).build()?;
        machine = machine.drive(Drive::on_bus(bus, &image).sectors(SECTOR));
        images.push(image);
    }
    boots(machine, &names, "/dev/sdb2", "vfat")
}

/// A disk with an extended partition behind a first one, and this filesystem in the second of the
/// partitions in it, as sfdisk(8) makes them.
fn logical(id: u32, fs: Fs) -> Result<DiskImage> {
    const START: usize = 6 * MIB;
    let content = fs::read(Disk::bare(fs).build()?)?;
    let table = format!(
        "label: dos\nlabel-id: {id:#x}\nsize=1MiB\ntype=5\nsize=512KiB\nstart={},size={}\n",
        START / 512,
        content.len() / 512,
    );
    let mut file = tempfile::NamedTempFile::new()?;
    let size = START + content.len() + MIB;
    file.as_file().set_len(size as u64)?;
    let mut sfdisk = Command::new("sfdisk")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .arg("--quiet")
        .arg(file.path())
        .stdin(Stdio::piped())
        .spawn()
        .context("start sfdisk")?;
    let mut script = sfdisk.stdin.take().context("sfdisk takes no script")?;
    script.write_all(table.as_bytes())?;
    drop(script);
    ensure!(sfdisk.wait()?.success(), "sfdisk refused {table}");
    file.as_file_mut().write_all_at(&content, START as u64)?;
    Disk::bare(Fs::bytes(fs::read(file.path())?)).build()
}

/// The numbers of logical partitions begin with 5, whatever is before them.
fn root_on_a_logical_partition(lab: &Lab) -> Result<()> {
    let spec = lab.spec()?.for_devices([DeviceClass::Virtio]);
    let spec = spec.for_filesystems(["ext4", "vfat"]);
    let first = logical(0xb0a7_0001, odd("ext4", 0, None)?)?;
    let second = logical(0xb0a7_0002, odd("vfat", 1, last())?)?;
    let machine = machine("root_on_a_logical_partition", &lab.kernel, &spec)?;
    let machine = machine.blk(&first).scsi(&second);
    let names = [
        "PARTUUID=b0a70001-06",
        "PARTUUID=b0a70001-05/PARTNROFF=1",
        "/dev/vda6",
        "/dev/sda6",
    ];
    boots(machine, &names, "/dev/sda6", "vfat")
}

/// ext2 and ext3, which the driver of ext4 mounts under their own names.
fn root_with_an_older_ext(lab: &Lab) -> Result<()> {
    let spec = lab.spec()?.for_devices([DeviceClass::Virtio]);
    let spec = spec.for_filesystems(["ext2", "ext3"]);
    let [first, second] = [
        disk::of(odd("ext2", 0, None)?)?,
        disk::of(odd("ext3", 1, last())?)?,
    ];
    let machine = machine("root_with_an_older_ext", &lab.kernel, &spec)?;
    let machine = machine.blk(&first).blk(&second);
    let uuid = format!("UUID={}", uuid(1));
    boots(machine, &["LABEL=ODD0", &uuid], "/dev/vdb1", "ext3")
}

/// The drivers of CD drives on SATA and on virtio-scsi.
fn cd_spec(lab: &Lab, kernel: &Kernel, fstype: &str) -> Result<Spec> {
    let spec = lab.spec_for(kernel)?.for_devices(classes(Bus::Sata));
    Ok(spec.for_filesystems([fstype]))
}

fn root_on_a_cd(lab: &Lab) -> Result<()> {
    let kernel = generic(lab)?;
    let spec = cd_spec(lab, &kernel, "iso9660")?;
    let image = |bundle| Disk::bare(odd("iso9660", 0, bundle)?).build();
    let start = |bus, image: &DiskImage| -> Result<Builder> {
        let machine = machine(&format!("root_on_a_cd_{bus:?}"), &kernel, &spec)?;
        Ok(machine.drive(Drive::cd(bus, image)))
    };
    let names = ["LABEL=ODD0", "/dev/sr0"];
    let outcome = try_all(start(Bus::Sata, &image(None)?)?, &names)?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    gave_up(&outcome, &names, "B050")?;
    let image = image(last())?;
    boots(
        start(Bus::Scsi, &image)?,
        &["LABEL=ODD0"],
        "/dev/sr0",
        "iso9660",
    )
}

/// Beside the disk there are two block devices that cannot be read, which every search but that by
/// path looks at.
fn drives_without_a_medium_disturb_no_search(lab: &Lab) -> Result<()> {
    const DRIVES: [&str; 4] = [
        "-device",
        r#"{"driver":"ide-cd","bus":"ahci.5"}"#,
        "-device",
        r#"{"driver":"scsi-cd","bus":"scsi.0","scsi-id":7}"#,
    ];
    let kernel = generic(lab)?;
    let spec = cd_spec(lab, &kernel, "ext4")?;
    let image = Disk::gpt(DISK_UUID)
        .named("first", odd("ext4", 0, None)?)
        .named("odd", odd("ext4", 1, last())?)
        .build()?;
    let start = || -> Result<Builder> {
        let name = "drives_without_a_medium_disturb_no_search";
        let machine = machine(name, &kernel, &spec)?.drive(Drive::on_bus(Bus::Sata, &image));
        Ok(machine.arguments(DRIVES))
    };
    let uuid = format!("UUID={}", uuid(0));
    let names = ["LABEL=ODD0", &uuid, "/dev/sda1", "PARTLABEL=odd"];
    boots(start()?, &names, "/dev/sda2", "ext4")?;
    // Who asks for such a drive is told what it lacks.
    let outcome = try_all(start()?.append("rootwait=1"), &["/dev/sr0"])?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let mut events = outcome.events.iter();
    ensure!(
        events.any(|event| event.is_failure("B021") && event.raw.to_string().contains("ENOMEDIUM"))
    );
    Ok(())
}

fn root_on_a_disk_behind_usb_attached_scsi(lab: &Lab) -> Result<()> {
    let kernel = generic(lab)?;
    let image = Disk::gpt(DISK_UUID)
        .partition(odd("ext4", 0, None)?)
        .partition(odd("vfat", 1, last())?)
        .build()?;
    let spec = lab.spec_for(&kernel)?.for_devices(classes(Bus::Uas));
    let spec = spec.for_filesystems(["ext4", "vfat"]);
    let machine = machine("root_on_a_disk_behind_usb_attached_scsi", &kernel, &spec)?;
    let machine = machine.drive(Drive::on_bus(Bus::Uas, &image));
    let uuid = format!("UUID={}", uuid(0));
    boots(machine, &[&uuid, "/dev/sda2"], "/dev/sda2", "vfat")
}

/// Nothing can be put on it, so the lack of bundles proves it. Which driver there is depends on the
/// kernel's age: ntfs3, that which came after it, or none.
fn root_with_an_ntfs(lab: &Lab) -> Result<()> {
    let kernel = generic(lab)?;
    let ntfs = Fs::of_type(Type::Ntfs, "ODD0", uuid(0), disk::files([])?);
    let image = Disk::gpt(DISK_UUID).named("odd", ntfs).build()?;
    let serial: [u8; 8] = fs::read(&image)?[MIB + 72..][..8].try_into()?;
    let uuid = format!("UUID={:016X}", u64::from_le_bytes(serial));
    let fstype = match lab.series {
        Series::V6_1 | Series::V6_12 => "ntfs3",
        Series::V7 => "ntfs",
    };
    let spec = lab.spec_for(&kernel)?.for_devices(classes(Bus::Blk));
    let has_driver = lab.series != Series::V6_1;
    let spec = spec.for_filesystems(has_driver.then_some(fstype));
    let names = ["LABEL=ODD0", &uuid, "/dev/vda1"];
    let machine = machine("root_with_an_ntfs", &kernel, &spec)?.blk(&image);
    let outcome = try_all(machine, &names)?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    gave_up(&outcome, &names, if has_driver { "B050" } else { "B023" })
}

/// Where the content of the disk begins that is prepared, so that no filesystem is seen on the disk
/// itself.
const OFFSET: usize = MIB;

/// A machine with these contents on a disk each, and their images, which it is started from. There
/// the guest program runs first, loads modules, does these steps and becomes berth.
fn prepared(
    lab: &Lab,
    name: &str,
    steps: &str,
    contents: impl IntoIterator<Item = Disk>,
) -> Result<(Builder, Vec<DiskImage>)> {
    let modules = ["virtio_pci", "virtio_blk", "loop", "dm_mod"];
    let steps = modules.map(|name| format!("module {name}\n")).concat() + steps;
    let spec = lab
        .spec()?
        .for_devices([DeviceClass::Virtio, DeviceClass::Layers])
        .for_filesystems(["ext4", "squashfs", "vfat"])
        .add(guest()?, "/prepare")
        .replace("/etc/prepare", steps, 0o644);
    let mut machine = machine(name, &lab.kernel, &spec)?.append("rdinit=/prepare");
    let mut images = Vec::new();
    for content in contents {
        let mut bytes = vec![0; OFFSET];
        bytes.extend(fs::read(content.build()?)?);
        let image = Disk::bare(Fs::bytes(bytes)).build()?;
        machine = machine.blk(&image);
        images.push(image);
    }
    Ok((machine, images))
}

fn root_on_a_loop_device_that_was_there_before(lab: &Lab) -> Result<()> {
    let steps: String = ["vda", "vdb", "vdc", "vdd"]
        .map(|disk| format!("loop /dev/{disk} {OFFSET}\n"))
        .concat();
    let contents = [
        Disk::bare(odd("ext4", 0, None)?),
        Disk::bare(odd("squashfs", 1, None)?),
        Disk::bare(odd("vfat", 2, None)?),
        Disk::gpt(DISK_UUID).partition(odd("ext4", 3, last())?),
    ];
    let name = "root_on_a_loop_device_that_was_there_before";
    let [uuid, part] = [uuid(0), Uuid::from_u128(DISK_UUID.as_u128() + 1)];
    let names = [
        "/dev/loop0",
        &format!("UUID={uuid}"),
        "7:1",
        "LABEL=ODD2",
        &format!("PARTUUID={part}"),
    ];
    let (machine, _images) = prepared(lab, name, &steps, contents)?;
    boots(machine, &names, "/dev/loop3p1", "ext4")
}

/// Also on top of a loop device: one that was prepared holds another, and the names are on both
/// where the offset is 0.
fn root_on_a_mapped_device_that_was_there_before(lab: &Lab) -> Result<()> {
    let steps = format!(
        "linear /dev/vda {OFFSET}\nlinear /dev/vdb {OFFSET}\n\
         loop /dev/vdc {}\nlinear /dev/loop0 512\n\
         loop /dev/vdd {OFFSET}\nlinear /dev/loop1 0\n\
         loop /dev/vde {OFFSET}\nlinear /dev/loop2 0\n",
        OFFSET - 512
    );
    let types = ["ext4", "vfat", "ext4", "ext4", "vfat"];
    let mut contents = Vec::new();
    for (number, fstype) in types.into_iter().enumerate() {
        let bundle = last().filter(|_| number + 1 == types.len());
        contents.push(Disk::bare(odd(fstype, number, bundle)?));
    }
    let name = "root_on_a_mapped_device_that_was_there_before";
    let [first, third, fourth] = [0, 2, 3].map(|number| format!("UUID={}", uuid(number)));
    let names = [
        "/dev/dm-0",
        &first,
        "LABEL=ODD1",
        &third,
        &fourth,
        "LABEL=ODD4",
    ];
    let (machine, _images) = prepared(lab, name, &steps, contents)?;
    boots(machine, &names, "/dev/dm-4", "vfat")
}
