//! Roots on devices that are not like the usual disk: with large sectors, in an extended partition, in a CD drive, behind a USB bridge of the newer kind,
//! with a filesystem of others, or made of another device before berth was started.
//!
//! As in the matrix, each row is one boot, and a container that was started from that root proves it.

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

const UUID: Uuid = Uuid::from_u128(0xb0a70000_0000_4000_8000_0000000000dd);
const DISK_UUID: Uuid = Uuid::from_u128(0xb0a7_0000);
const LABEL: &str = "ODDROOT";
const MIB: usize = 1 << 20;

/// A filesystem of that type with a container.
fn root_fs(fstype: &str) -> Result<Fs> {
    let tree = disk::files([Bundle::new("odd")])?;
    let kind = match fstype {
        "vfat" => return Ok(Fs::vfat(LABEL, disk::VFAT_SERIAL, tree)),
        "ext4" => return Ok(Fs::ext4(LABEL, UUID, tree)),
        "ext2" => Type::Ext2,
        "ext3" => Type::Ext3,
        "xfs" => Type::Xfs,
        "squashfs" => Type::Squashfs,
        _ => Type::Iso9660,
    };
    Ok(Fs::of_type(kind, LABEL, UUID, tree))
}

/// A machine with that image.
fn machine(name: &str, kernel: &Kernel, spec: &Spec) -> Result<Builder> {
    let image = spec.build(Compression::Zstd)?;
    Ok(Vm::builder(&format!("{}/{name}", kernel.name))
        .kernel(kernel)
        .initrd_bytes(image.bytes)
        .append("loglevel=5 berth.on_failure=poweroff rootwait=30"))
}

/// Boots with `root=` that, and holds the boot to the root and to the container from it.
fn boots(machine: Builder, root: &str, device: &str, fstype: &str) -> Result<()> {
    let outcome = machine.append(format!("root={root}")).start()?.wait()?;
    let check = || -> Result<()> {
        took(&outcome, device, fstype, root)?;
        ran(&outcome)
    };
    check().with_context(|| format!("{fstype} as {root} on {device}"))
}

/// Holds a boot to the container of [`root_fs`].
fn ran(outcome: &Outcome) -> Result<()> {
    outcome.assert(Ended::PowerOff, 0)?;
    let mut lines = outcome.events.iter().filter_map(line);
    ensure!(lines.any(|line| line == ("odd", "odd")), "nothing ran");
    Ok(())
}

/// Sectors of 4096 bytes move the table, and the filesystem's own numbers count in them.
fn root_on_a_disk_with_large_sectors(lab: &Lab) -> Result<()> {
    const SECTOR: u32 = 4096;
    let gpt = || Disk::gpt(DISK_UUID).sectors(SECTOR);
    let mbr = || Disk::mbr(0xb0a7_0001).sectors(SECTOR);
    let part_uuid = format!("PARTUUID={}", Uuid::from_u128(DISK_UUID.as_u128() + 2));
    let uuid = format!("UUID={UUID}");
    let rows = [
        (Bus::Blk, gpt(), "ext4", part_uuid.as_str(), "/dev/vda2"),
        (Bus::Nvme, gpt(), "ext4", &uuid, "/dev/nvme0n1p2"),
        (Bus::Scsi, gpt(), "vfat", "UUID=B0A7-0002", "/dev/sda2"),
        (Bus::Blk, gpt(), "vfat", "LABEL=ODDROOT", "/dev/vda2"),
        (Bus::Nvme, gpt(), "xfs", "PARTLABEL=odd", "/dev/nvme0n1p2"),
        (
            Bus::Scsi,
            mbr(),
            "vfat",
            "PARTUUID=b0a70001-02",
            "/dev/sda2",
        ),
    ];
    for (bus, disk, fstype, root, device) in rows {
        let disk = disk
            .named("first", Fs::empty())
            .named("odd", root_fs(fstype)?);
        let image = disk.build()?;
        let drive = Drive::on_bus(bus, &image).sectors(SECTOR);
        let spec = lab.spec()?.for_devices(classes(bus));
        let spec = spec.for_filesystems([fstype]);
        let name = format!("root_on_a_disk_with_large_sectors_{bus:?}_{fstype}");
        boots(
            machine(&name, &lab.kernel, &spec)?.drive(drive),
            root,
            device,
            fstype,
        )?;
    }
    Ok(())
}

/// A disk with an extended partition behind a first one, and this filesystem in the second of the partitions in it, as sfdisk(8)
/// makes them.
fn logical(fs: Fs) -> Result<DiskImage> {
    const START: usize = 6 * MIB;
    let content = fs::read(Disk::bare(fs).build()?)?;
    let table = format!(
        "label: dos\nlabel-id: 0xb0a70001\nsize=1MiB\ntype=5\nsize=512KiB\nstart={},size={}\n",
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
    for (bus, fstype, root, device) in [
        (Bus::Blk, "ext4", "PARTUUID=b0a70001-06", "/dev/vda6"),
        (
            Bus::Blk,
            "ext4",
            "PARTUUID=b0a70001-05/PARTNROFF=1",
            "/dev/vda6",
        ),
        (Bus::Scsi, "vfat", "/dev/sda6", "/dev/sda6"),
    ] {
        let spec = lab.spec()?.for_devices(classes(bus));
        let spec = spec.for_filesystems([fstype]);
        let name = format!("root_on_a_logical_partition_{bus:?}");
        let image = logical(root_fs(fstype)?)?;
        let drive = Drive::on_bus(bus, &image);
        let machine = machine(&name, &lab.kernel, &spec)?.drive(drive);
        boots(machine, root, device, fstype)?;
    }
    Ok(())
}

/// ext2 and ext3, which the driver of ext4 mounts under their own names.
fn root_with_an_older_ext(lab: &Lab) -> Result<()> {
    let uuid = format!("UUID={UUID}");
    for (fstype, root) in [("ext2", "LABEL=ODDROOT"), ("ext3", &*uuid)] {
        let spec = lab.spec()?.for_devices(classes(Bus::Blk));
        let spec = spec.for_filesystems([fstype]);
        let image = disk::of(root_fs(fstype)?)?;
        let machine = machine("root_with_an_older_ext", &lab.kernel, &spec)?.blk(&image);
        boots(machine, root, "/dev/vda1", fstype)?;
    }
    Ok(())
}

/// The drivers of CD drives on SATA and on virtio-scsi.
fn cd_spec(lab: &Lab, kernel: &Kernel, fstype: &str) -> Result<Spec> {
    let spec = lab.spec_for(kernel)?.for_devices(classes(Bus::Sata));
    Ok(spec.for_filesystems([fstype]))
}

fn root_on_a_cd(lab: &Lab) -> Result<()> {
    let kernel = generic(lab)?;
    let spec = cd_spec(lab, &kernel, "iso9660")?;
    let image = Disk::bare(root_fs("iso9660")?).build()?;
    for (bus, root) in [
        (Bus::Sata, "LABEL=ODDROOT"),
        (Bus::Sata, "/dev/sr0"),
        (Bus::Scsi, "LABEL=ODDROOT"),
    ] {
        let machine = machine(&format!("root_on_a_cd_{bus:?}"), &kernel, &spec)?;
        let machine = machine.drive(Drive::cd(bus, &image));
        boots(machine, root, "/dev/sr0", "iso9660")?;
    }
    Ok(())
}

/// Beside the disk there are two block devices that cannot be read, which every search but that by path looks at.
fn drives_without_a_medium_disturb_no_search(lab: &Lab) -> Result<()> {
    const DRIVES: [&str; 4] = [
        "-device",
        r#"{"driver":"ide-cd","bus":"ahci.5"}"#,
        "-device",
        r#"{"driver":"scsi-cd","bus":"scsi.0","scsi-id":7}"#,
    ];
    let kernel = generic(lab)?;
    let spec = cd_spec(lab, &kernel, "ext4")?;
    let disk = Disk::gpt(DISK_UUID).named("odd", root_fs("ext4")?);
    let image = disk.build()?;
    let start = || -> Result<Builder> {
        let name = "drives_without_a_medium_disturb_no_search";
        let machine = machine(name, &kernel, &spec)?.drive(Drive::on_bus(Bus::Sata, &image));
        Ok(machine.arguments(DRIVES))
    };
    for root in [
        "LABEL=ODDROOT",
        &format!("UUID={UUID}"),
        "PARTLABEL=odd",
        "/dev/sda1",
    ] {
        boots(start()?, root, "/dev/sda1", "ext4")?;
    }
    // Who asks for such a drive is told what it lacks.
    let outcome = start()?
        .append("root=/dev/sr0 rootwait=1")
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let mut events = outcome.events.iter();
    ensure!(
        events.any(|event| event.is_failure("B021") && event.raw.to_string().contains("ENOMEDIUM"))
    );
    Ok(())
}

fn root_on_a_disk_behind_usb_attached_scsi(lab: &Lab) -> Result<()> {
    let kernel = generic(lab)?;
    for (fstype, root) in [("ext4", &*format!("UUID={UUID}")), ("vfat", "/dev/sda1")] {
        let image = Disk::gpt(DISK_UUID)
            .named("odd", root_fs(fstype)?)
            .build()?;
        let spec = lab.spec_for(&kernel)?.for_devices(classes(Bus::Uas));
        let spec = spec.for_filesystems([fstype]);
        let machine = machine("root_on_a_disk_behind_usb_attached_scsi", &kernel, &spec)?;
        let machine = machine.drive(Drive::on_bus(Bus::Uas, &image));
        boots(machine, root, "/dev/sda1", fstype)?;
    }
    Ok(())
}

/// Nothing can be put on it, so the switch proves it. Which driver there is depends on the kernel's age: ntfs3, that which
/// came after it, or none.
fn root_with_an_ntfs(lab: &Lab) -> Result<()> {
    let kernel = generic(lab)?;
    let ntfs = Fs::of_type(Type::Ntfs, LABEL, UUID, disk::files([])?);
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
    for root in ["LABEL=ODDROOT", &uuid, "/dev/vda1"] {
        let outcome = machine("root_with_an_ntfs", &kernel, &spec)?
            .append(format!("root={root}"))
            .blk(&image)
            .start()?
            .wait()?;
        outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
        let failure = if has_driver {
            took(&outcome, "/dev/vda1", fstype, root)?;
            "B050"
        } else {
            "B023"
        };
        let mut events = outcome.events.iter();
        ensure!(
            events.any(|event| event.is_failure(failure)),
            "no {failure} for root={root}: {:?}",
            outcome.events
        );
    }
    Ok(())
}

/// Where the content of the disk begins that is prepared, so that no filesystem is seen on the disk itself.
const OFFSET: usize = MIB;

/// What is to be found after a preparation.
struct Prepared<'a> {
    content: Disk,
    fstype: &'a str,
    root: &'a str,
    device: &'a str,
}

impl Prepared<'_> {
    /// Boots a machine where the guest program runs first, loads these modules, does these steps with the disk `/dev/vda` and
    /// becomes berth.
    fn boots(&self, lab: &Lab, name: &str, modules: &[&str], steps: &str) -> Result<()> {
        let modules = ["virtio_pci", "virtio_blk"].iter().chain(modules);
        let modules: String = modules.map(|name| format!("module {name}\n")).collect();
        let classes = [DeviceClass::Virtio, DeviceClass::Layers];
        let spec = lab.spec()?.for_devices(classes);
        let spec = spec.for_filesystems([self.fstype]);
        let spec = spec
            .add(guest()?, "/prepare")
            .replace("/etc/prepare", modules + steps, 0o644);
        let mut bytes = vec![0; OFFSET];
        bytes.extend(fs::read(self.content.build()?)?);
        let image = Disk::bare(Fs::bytes(bytes)).build()?;
        let machine = machine(name, &lab.kernel, &spec)?.append("rdinit=/prepare");
        boots(machine.blk(&image), self.root, self.device, self.fstype)
    }
}

fn root_on_a_loop_device_that_was_there_before(lab: &Lab) -> Result<()> {
    let steps = format!("loop /dev/vda {OFFSET}\n");
    let part_uuid = format!("PARTUUID={}", Uuid::from_u128(DISK_UUID.as_u128() + 1));
    let uuid = format!("UUID={UUID}");
    for (is_bare, fstype, root, device) in [
        (true, "ext4", "/dev/loop0", "/dev/loop0"),
        (true, "ext4", &uuid, "/dev/loop0"),
        (true, "squashfs", "7:0", "/dev/loop0"),
        (true, "vfat", "LABEL=ODDROOT", "/dev/loop0"),
        (false, "ext4", &part_uuid, "/dev/loop0p1"),
    ] {
        let fs = root_fs(fstype)?;
        let content = if is_bare {
            Disk::bare(fs)
        } else {
            Disk::gpt(DISK_UUID).partition(fs)
        };
        let prepared = Prepared {
            content,
            fstype,
            root,
            device,
        };
        let name = "root_on_a_loop_device_that_was_there_before";
        prepared.boots(lab, name, &["loop"], &steps)?;
    }
    Ok(())
}

/// Also on top of a loop device: one that was prepared holds another, and the names are on both where the offset is 0.
fn root_on_a_mapped_device_that_was_there_before(lab: &Lab) -> Result<()> {
    let steps = format!("linear /dev/vda {OFFSET}\n");
    let both = format!("loop /dev/vda {}\nlinear /dev/loop0 512\n", OFFSET - 512);
    let same = format!("loop /dev/vda {OFFSET}\nlinear /dev/loop0 0\n");
    let uuid = format!("UUID={UUID}");
    for (steps, fstype, root) in [
        (&steps, "ext4", "/dev/dm-0"),
        (&steps, "ext4", &*uuid),
        (&steps, "vfat", "LABEL=ODDROOT"),
        (&both, "ext4", &*uuid),
        (&same, "ext4", &*uuid),
        (&same, "vfat", "LABEL=ODDROOT"),
    ] {
        let prepared = Prepared {
            content: Disk::bare(root_fs(fstype)?),
            fstype,
            root,
            device: "/dev/dm-0",
        };
        let name = "root_on_a_mapped_device_that_was_there_before";
        prepared.boots(lab, name, &["dm_mod", "loop"], steps)?;
    }
    Ok(())
}
