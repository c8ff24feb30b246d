//! Disks that come and go (`berth.automount=`): one machine, into which disks of all kinds are
//! plugged, and containers that have the directory of disks.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass, Spec};
use berth_qemu::disk::{Disk, DiskImage, Fs, Type};
use berth_qemu::kernel::Kernel;
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Bus, Drive, Ended, Event, Outcome, Vm};
use berth_tests::{Bundle, Lab, Seen, Shared, disk, field, warnings};
use uuid::Uuid;

use crate::matrix::generic;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere disks_on_every_bus_are_mounted_and_go_again,
    everywhere containers_see_disks_as_their_volume_propagates,
    everywhere disk_is_used_but_not_executed_from,
    everywhere disk_that_is_pulled_out_while_it_is_written_costs_the_writer_an_error,
    everywhere names_that_strangers_gave_lead_nowhere,
    everywhere what_cannot_be_mounted_is_told_with_its_reason,
    everywhere rules_count_and_a_wrong_one_is_told_by_its_number,
    everywhere fifty_disks_at_once_are_all_mounted,
    everywhere disks_are_clean_after_the_end,
    everywhere read_only_root_has_disks_in_memory,
    everywhere read_only_root_without_the_directory_runs_without_disks,
];

/// The codes of [`crate::failures`] that are provoked here.
pub(crate) const PROVOKED: &[&str] = &["B065", "B066", "B067"];

/// The directory of disks.
const PLACE: &str = "/media";

/// What is on a disk: a file that says whose it is.
fn files(label: &str) -> Tree {
    Tree::new().file("greeting", label)
}

/// A number for each label.
fn number(label: &str) -> u32 {
    label.bytes().fold(0x1000_0000, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    })
}

fn vfat_with(label: &str) -> Fs {
    Fs::vfat(label, number(label), files(label)).mib(4)
}

fn vfat(label: &str) -> Result<DiskImage> {
    Disk::bare(vfat_with(label)).build()
}

fn ext4_with(label: &str) -> Fs {
    let uuid = Uuid::from_u128(0xd15c_0000_0000 + u128::from(number(label)));
    Fs::ext4(label, uuid, files(label)).mib(8)
}

fn ext4(label: &str) -> Result<DiskImage> {
    Disk::bare(ext4_with(label)).build()
}

fn exfat(label: &str) -> Result<DiskImage> {
    let empty = Fs::of_type(Type::Exfat, label, Uuid::nil(), Tree::new());
    Disk::bare(empty).build()
}

/// A vfat whose label, of eleven bytes, no tool would give it.
fn vfat_called(label: &[u8; 11]) -> Result<DiskImage> {
    const PLACEHOLDER: &[u8; 11] = b"PLACEHOLDER";
    let mut bytes = fs::read(vfat("PLACEHOLDER")?)?;
    let places: Vec<_> = (0..bytes.len() - PLACEHOLDER.len())
        .filter(|at| bytes[*at..].starts_with(PLACEHOLDER))
        .collect();
    // In the boot sector, in the root directory, and in the file.
    ensure!(places.len() >= 2, "{places:?}");
    for at in places {
        bytes[at..at + label.len()].copy_from_slice(label);
    }
    Disk::bare(Fs::bytes(bytes)).build()
}

/// An ext4 whose table of groups is zero.
fn broken() -> Result<DiskImage> {
    let mut bytes = fs::read(ext4("broken")?)?;
    // Blocks of 1 KiB, as filesystems of this size have: behind the superblock.
    bytes[2048..4096].fill(0);
    Disk::bare(Fs::bytes(bytes)).build()
}

/// The header of an encrypted volume.
fn encrypted() -> Result<DiskImage> {
    let mut bytes = vec![0; 4096];
    bytes[..8].copy_from_slice(b"LUKS\xba\xbe\0\x02");
    bytes[24..30].copy_from_slice(b"SECRET");
    Disk::bare(Fs::bytes(bytes)).build()
}

/// Whether it says that this has become of a disk.
fn is_disk(event: &Event, state: &str) -> bool {
    event.name() == "disk" && field(event, "state") == Some(state)
}

/// Waits for what becomes of the disk with that label.
fn expect(vm: &Vm, state: &str, label: &str) -> Result<Event> {
    let what = format!("the disk {label:?} to be {state}");
    Ok(vm.expect(&what, |event| {
        is_disk(event, state) && field(event, "label") == Some(label)
    })?)
}

/// Waits for a disk to be mounted there.
fn expect_at(vm: &Vm, name: &str) -> Result<Event> {
    let place = format!("{PLACE}/{name}");
    Ok(vm.expect(&format!("a disk at {place}"), |event| {
        is_disk(event, "mounted") && field(event, "where") == Some(&place)
    })?)
}

fn with_volume(id: &str, options: &[&str]) -> Bundle {
    Bundle::new(id).mount("/mnt", "bind", PLACE, options)
}

/// An image with drivers for all that is plugged in, none of which is loaded by name.
fn image(lab: &Lab, kernel: &Kernel) -> Result<Spec> {
    Ok(lab
        .spec_for(kernel)?
        .for_devices([
            DeviceClass::Virtio,
            DeviceClass::Usb,
            DeviceClass::Nvme,
            DeviceClass::Sd,
        ])
        .for_filesystems(["vfat", "exfat", "ext4"]))
}

const RULES: &str = "# Rules of the test.\n\
    label=RULED -> ro,name=ruled\n\
    label=HIDDEN -> no\n\
    label=ODD -> bind\n\
    uuid=0000-0000 label -> ro\n";

/// A slot for SD cards, which is empty.
const SLOT: &str = r#"{"driver":"sd-card","id":"slot","drive":"card"}"#;

/// A drive on the virtio-scsi controller whose medium can be changed.
const READER: &str = r#"{"driver":"scsi-hd","id":"reader","drive":"medium","removable":true,"bus":"scsi.0","scsi-id":200}"#;

static BOOT: Shared = Shared::new(boot);

fn boot(lab: &Lab) -> Result<Outcome> {
    let slave = ["rbind", "rslave"];
    let bundles = [
        with_volume("slave", &slave)
            .annotation("berth.on-exit", "shutdown")
            .runs(["/bin/guest", "watch-disks"]),
        with_volume("private", &["rbind", "rprivate"]).runs(["/bin/guest", "watch-disks"]),
        with_volume("intruder", &slave).runs(["/bin/guest", "intrude-on-disk", "STICK"]),
        with_volume("user", &slave)
            .confined()
            .set(
                "/process/user",
                serde_json::json!({ "uid": 1000, "gid": 1000 }),
            )
            .runs(["/bin/guest", "use-disk", "STICK", "greeting"]),
        with_volume("writer", &slave).runs(["/bin/guest", "write-to-disk", "TORN"]),
        with_volume("killer", &slave)
            .namespaces(&["mount", "uts"])
            .runs(["/bin/guest", "kill-who-looks-at-disks", "BEFORE"]),
    ];
    let files = disk::files(bundles)?.file("etc/berth/automount", RULES);
    let root = disk::of(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, files).mib(256))?;
    let kernel = generic(lab)?;
    let image = image(lab, &kernel)?.build(Compression::Zstd)?;
    let mut vm = lab
        .machine_with("hotplug", &image)
        .kernel(&kernel)
        .append(format!("root=UUID=B0A7-0002 berth.automount={PLACE}"))
        .deadline(Duration::from_secs(300))
        .arguments(["-device", "qemu-xhci,id=xhci"])
        .arguments(["-drive", "if=none,id=medium"])
        // As JSON: what is not is made before the controller.
        .arguments(["-device", READER])
        .arguments(["-device", r#"{"driver":"sdhci-pci"}"#])
        .arguments(["-drive", "if=none,id=card"])
        .arguments(["-device", SLOT])
        .arguments(["-object", "throttle-group,id=slow,x-iops-total=4"])
        .blk(&root)
        .blk(&vfat("THERE")?)
        .start()?;
    expect_at(&vm, "THERE")?;
    for id in ["slave", "private", "intruder", "user", "writer", "killer"] {
        vm.expect(id, |event| event.is_container(id, "started"))?;
    }
    plug_on_every_bus(&mut vm)?;
    change_media(&mut vm)?;
    plug_what_is_odd(&mut vm)?;
    plug_many(&mut vm)?;
    vm.plug(Drive::on_bus(Bus::Usb, &vfat("END")?))?;
    Ok(vm.wait()?)
}

/// One disk after the other comes and goes.
fn plug_on_every_bus(vm: &mut Vm) -> Result<()> {
    for (bus, image, label, fstype) in [
        (Bus::Nvme, ext4("fast")?, "fast", "ext4"),
        (Bus::Scsi, exfat("BIG")?, "BIG", "exfat"),
        (Bus::Blk, vfat("BLK")?, "BLK", "vfat"),
        (Bus::Uas, ext4("uas")?, "uas", "ext4"),
        (Bus::Usb, vfat("TORN")?, "TORN", "vfat"),
        (Bus::Usb, vfat("STICK")?, "STICK", "vfat"),
    ] {
        let name = vm.plug(Drive::on_bus(bus, &image))?;
        let mounted = expect(vm, "mounted", label)?;
        ensure!(field(&mounted, "fstype") == Some(fstype), "{mounted:?}");
        let place = format!("{PLACE}/{label}");
        ensure!(field(&mounted, "where") == Some(&place), "{mounted:?}");
        match label {
            "TORN" => drop(vm.expect("the writer writes", |event| {
                says(event, "writer", "writing")
            })?),
            "STICK" => {
                vm.expect("the user is done", |event| {
                    event.is_container("user", "exited")
                })?;
                let own = "mounted /mnt/own";
                vm.expect("the intruder is done", |event| says(event, "intruder", own))?;
            }
            _ => {}
        }
        vm.unplug(&name)?;
        let gone = expect(vm, "gone", label)?;
        ensure!(field(&gone, "where") == Some(&place), "{gone:?}");
    }
    // The same label again, twice.
    for name in ["STICK", "STICK-2"] {
        vm.plug(Drive::on_bus(Bus::Usb, &vfat("STICK")?))?;
        expect_at(vm, name)?;
    }
    Ok(())
}

/// Whether it is this line of that container's.
fn says(event: &Event, id: &str, line: &str) -> bool {
    berth_tests::line(event) == Some((id, line))
}

/// Media come and go in a drive that stays.
fn change_media(vm: &mut Vm) -> Result<()> {
    for (drive, bus, label) in [
        ("reader", Bus::Scsi, "CARD1"),
        ("reader", Bus::Scsi, "CARD2"),
        ("slot", Bus::Sd, "SD1"),
        ("slot", Bus::Sd, "SD2"),
    ] {
        vm.insert(drive, Drive::on_bus(bus, &vfat(label)?))?;
        expect_at(vm, label)?;
        vm.eject(drive)?;
        expect(vm, "gone", label)?;
    }
    Ok(())
}

/// Disks with partitions, with odd names, with nothing that can be mounted, and of which rules say
/// something.
fn plug_what_is_odd(vm: &mut Vm) -> Result<()> {
    let parts = Disk::gpt(Uuid::from_u128(0x9a27))
        .partition(vfat_with("PART1"))
        .partition(ext4_with("part2"))
        .partition(Fs::empty());
    let plain = [
        parts.build()?,
        vfat_called(b"../\x1b[2J\xff/xy")?,
        vfat_called(b"..         ")?,
        ext4("-rf \u{202e}x")?,
        vfat("RULED")?,
        vfat("ODD")?,
    ];
    for image in &plain {
        vm.plug(Drive::scsi(image))?;
    }
    for name in [
        "PART1",
        "part2",
        "_",
        "_.__[2J__xy",
        "_rf _x",
        "ruled",
        "ODD",
    ] {
        expect_at(vm, name).with_context(|| format!("{:#?}", vm.events()))?;
    }
    for (image, label) in [(encrypted()?, "SECRET"), (broken()?, "broken")] {
        vm.plug(Drive::scsi(&image))?;
        expect(vm, "failed", label)?;
    }
    vm.plug(Drive::scsi(&vfat("HIDDEN")?))?;
    expect(vm, "appeared", "HIDDEN")?;
    // The child that looks at it is killed, and what comes later is mounted.
    vm.plug(Drive::scsi(&vfat("BEFORE")?))?;
    expect_at(vm, "BEFORE")?;
    let slow = vm.plug(Drive::scsi(&vfat("SLOW")?).throttled("slow"))?;
    vm.expect("the one who looks at it is killed", |event| {
        is_disk(event, "failed") && field(event, "failure") == Some("B067")
    })?;
    vm.unplug(&slow)?;
    Ok(())
}

/// How many come at once.
const MANY: usize = 50;

fn plug_many(vm: &mut Vm) -> Result<()> {
    let image = Disk::bare(Fs::vfat("MANY", 0x3a2f_0001, Tree::new()).mib(1)).build()?;
    for _ in 0..MANY {
        vm.plug(Drive::scsi(&image))?;
    }
    expect_at(vm, "MANY")?;
    for number in 2..=MANY {
        expect_at(vm, &format!("MANY-{number}"))?;
    }
    Ok(())
}

fn disks_on_every_bus_are_mounted_and_go_again(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    outcome.assert(Ended::PowerOff, 0)?;
    // The root is none of them.
    let is_root =
        |event: &&Event| event.name() == "disk" && field(event, "label") == Some(disk::LABEL);
    ensure!(outcome.events.iter().find(is_root).is_none());
    let texts = warnings(&outcome);
    let drivers = texts.iter().filter(|text| text.starts_with("no driver"));
    ensure!(drivers.count() == 0, "{texts:#?}");
    Ok(())
}

/// What a container saw, one line a change.
fn seen(outcome: &Outcome, id: &str) -> Vec<Vec<String>> {
    let lines = Seen::new(outcome, id).facts("disks");
    let names = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    lines.into_iter().map(names).collect()
}

fn containers_see_disks_as_their_volume_propagates(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let slave = seen(&outcome, "slave");
    for label in [
        "fast", "BIG", "BLK", "uas", "TORN", "STICK", "CARD1", "SD1", "MANY-50", "END",
    ] {
        let saw = slave
            .iter()
            .any(|names| names.iter().any(|name| name == label));
        ensure!(saw, "{label} was not seen: {slave:#?}");
    }
    for label in ["fast", "BIG", "BLK", "uas", "TORN", "CARD2", "SD2"] {
        let last = slave.last().context("nothing was seen")?;
        ensure!(
            !last.iter().any(|name| name == label),
            "{label} is still seen"
        );
    }
    let of_intruder = |name: &String| name.contains("inside") || name == "own";
    ensure!(!slave.iter().flatten().any(of_intruder), "{slave:#?}");
    let intruder = seen(&outcome, "intruder");
    ensure!(intruder.iter().flatten().any(of_intruder), "{intruder:#?}");
    // What was mounted before it was started is there, and nothing else comes.
    let private = seen(&outcome, "private");
    let other = |name: &&String| *name != "THERE";
    ensure!(
        !private.is_empty() && private.iter().flatten().find(other).is_none(),
        "{private:#?}"
    );
    Ok(())
}

fn disk_is_used_but_not_executed_from(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let lines: Vec<_> = Seen::new(&outcome, "user").lines().collect();
    ensure!(
        lines == ["read STICK", "written", "executed EACCES"],
        "{lines:#?}"
    );
    Ok(())
}

fn disk_that_is_pulled_out_while_it_is_written_costs_the_writer_an_error(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let lines: Vec<_> = Seen::new(&outcome, "writer").lines().collect();
    let [writing, failed] = lines[..] else {
        anyhow::bail!("{lines:#?}");
    };
    ensure!(
        writing == "writing" && failed.starts_with("failed "),
        "{lines:#?}"
    );
    Seen::new(&outcome, "writer").exited(0)
}

/// The first event about a disk with that label.
fn event<'o>(outcome: &'o Outcome, state: &str, label: &str) -> Result<&'o Event> {
    let is_it = |event: &&Event| is_disk(event, state) && field(event, "label") == Some(label);
    outcome
        .events
        .iter()
        .find(is_it)
        .with_context(|| format!("{label} is not {state}"))
}

fn names_that_strangers_gave_lead_nowhere(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let hostile = event(&outcome, "mounted", "../\u{1b}[2J\\xff/xy")?;
    ensure!(
        field(hostile, "where") == Some("/media/_.__[2J__xy"),
        "{hostile:?}"
    );
    ensure!(!outcome.console.contains("\u{1b}[2J"));
    Ok(())
}

fn what_cannot_be_mounted_is_told_with_its_reason(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let encrypted = event(&outcome, "failed", "SECRET")?;
    ensure!(field(encrypted, "failure") == Some("B066"), "{encrypted:?}");
    let text = field(encrypted, "text").unwrap_or_default();
    ensure!(text.contains("it is encrypted (LUKS)"), "{text}");
    let broken = event(&outcome, "failed", "broken")?;
    let text = field(broken, "text").unwrap_or_default();
    ensure!(text.contains(": EXT4-fs (sd"), "{text}");
    let killed = outcome
        .events
        .iter()
        .find(|event| field(event, "failure") == Some("B067"));
    let text = killed
        .and_then(|event| field(event, "text"))
        .unwrap_or_default();
    ensure!(text.contains("was ended by signal 11"), "{text}");
    Ok(())
}

fn rules_count_and_a_wrong_one_is_told_by_its_number(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let ruled = event(&outcome, "mounted", "RULED")?;
    ensure!(ruled.raw["ro"] == true, "{ruled:?}");
    ensure!(field(ruled, "where") == Some("/media/ruled"), "{ruled:?}");
    ensure!(
        event(&outcome, "mounted", "HIDDEN").is_err(),
        "a rule says no"
    );
    let of_rules: Vec<_> = warnings(&outcome)
        .into_iter()
        .filter(|text| text.contains("/etc/berth/automount"))
        .collect();
    let [first, second] = of_rules[..] else {
        anyhow::bail!("{of_rules:#?}");
    };
    ensure!(
        first.contains("line 4: \"bind\"") && second.contains("line 5: \"label\""),
        "{of_rules:#?}"
    );
    Ok(())
}

fn fifty_disks_at_once_are_all_mounted(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let mounted = outcome
        .events
        .iter()
        .filter(|event| is_disk(event, "mounted") && field(event, "label") == Some("MANY"));
    let mut places: Vec<_> = mounted.filter_map(|event| field(event, "where")).collect();
    places.sort_unstable();
    places.dedup();
    ensure!(places.len() == MANY, "{places:#?}");
    Ok(())
}

/// Where a FAT keeps that it is mounted, in its boot sector (the same byte as in Linux,
/// `fat_boot_sector.fat16.state`).
const STATE_OF_FAT16: usize = 0x25;

fn disks_are_clean_after_the_end(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let directory = outcome
        .log
        .parent()
        .context("the machine has no directory")?;
    // That which was there from the beginning.
    let there = fs::read(directory.join("disk1.img"))?;
    ensure!(there[STATE_OF_FAT16] & 1 == 0, "it is dirty");
    Ok(())
}

fn on_read_only_root(lab: &Lab, name: &str, files: Tree) -> Result<Outcome> {
    let root = Disk::bare(Fs::ext4(disk::LABEL, disk::EXT4_UUID, files)).build()?;
    let vm = lab
        .machine(name)?
        .append(format!("root=/dev/vda ro berth.automount={PLACE}"))
        .blk(&root)
        .blk(&vfat("END")?)
        .start()?;
    Ok(vm.wait()?)
}

fn read_only_root_has_disks_in_memory(lab: &Lab) -> Result<()> {
    let bundle = with_volume("slave", &["rbind", "rslave"]).runs(["/bin/guest", "watch-disks"]);
    let files = disk::files([bundle])?.directory("media");
    let outcome = on_read_only_root(lab, "hotplug_on_read_only_root", files)?;
    outcome.assert(Ended::PowerOff, 0)?;
    let saw = seen(&outcome, "slave");
    ensure!(
        saw.last().is_some_and(|names| names == &["END"]),
        "{saw:#?}"
    );
    Ok(())
}

fn read_only_root_without_the_directory_runs_without_disks(lab: &Lab) -> Result<()> {
    let files = disk::files([Bundle::new("alone")])?;
    let outcome = on_read_only_root(lab, "hotplug_without_directory", files)?;
    outcome.assert(Ended::PowerOff, 0)?;
    let failure = outcome.events.iter().find(|event| event.is_failure("B065"));
    let text = failure
        .and_then(|event| field(event, "text"))
        .context("no B065")?;
    ensure!(text.contains("create /media: EROFS"), "{text}");
    ensure!(!outcome.events.iter().any(|event| event.name() == "disk"));
    Ok(())
}
