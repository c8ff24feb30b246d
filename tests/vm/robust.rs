//! Machines that are not kind: many disks, the same one twice, little memory, no console.

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass};
use berth_qemu::arch::Arch;
use berth_qemu::disk::{Disk, DiskImage, Fs, Type};
use berth_qemu::kernel::{Flavour, Series};
use berth_qemu::vm::{Drive, Ended, Event, Outcome};
use berth_tests::{Bundle, Lab, disk, field, line};
use uuid::Uuid;

use crate::fallback::rejected;
use crate::provoke::OWN_FAILURE;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once root_is_found_among_64_disks,
    everywhere of_disks_with_one_name_the_first_is_taken,
    everywhere of_partitions_with_one_name_the_first_is_taken,
    once member_of_a_raid_array_is_not_taken_for_its_filesystem,
    once disk_that_comes_goes_and_comes_again_is_found,
    everywhere machine_with_little_memory_boots,
    once machine_without_a_console_boots,
    once damaged_filesystems_are_given_up_for_the_next,
];

fn root(outcome: &Outcome) -> Result<&str> {
    let is_it = |event: &&Event| event.name() == "root";
    let root = outcome.events.iter().find(is_it).context("no root")?;
    field(root, "device").context("the root is on no device")
}

/// 64 SCSI disks, probed side by side; the kernel names them as they come.
fn root_is_found_among_64_disks(lab: &Lab) -> Result<()> {
    let empty = Disk::empty(1).build()?;
    let image = disk::vfat([Bundle::new("last")])?;
    let vm = lab.machine("root_is_found_among_64_disks")?.at_once();
    let vm = (0..63).fold(vm, |vm, _| vm.scsi(&empty)).scsi(&image);
    let outcome = vm.append("root=LABEL=BERTH").start()?.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    ensure!(root(&outcome)?.starts_with("/dev/sd"));
    ensure!(
        outcome
            .events
            .iter()
            .any(|event| line(event) == Some(("last", "last")))
    );
    Ok(())
}

/// The disks come in any order, and sysfs lists them in another.
fn of_disks_with_one_name_the_first_is_taken(lab: &Lab) -> Result<()> {
    let image = disk::vfat([Bundle::new("twin")])?;
    let vm = lab
        .machine("of_disks_with_one_name_the_first_is_taken")?
        .append("root=UUID=B0A7-0002")
        .at_once();
    let outcome = (0..11).fold(vm, |vm, _| vm.blk(&image)).start()?.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    ensure!(root(&outcome)? == "/dev/vda1");
    let all = ('a'..='h').map(|letter| format!("/dev/vd{letter}1"));
    let all = all.collect::<Vec<_>>().join(", ");
    let expected = format!("UUID=B0A7-0002 is on {all} and 3 more: /dev/vda1 is taken");
    warned(&outcome, &expected)
}

fn warned(outcome: &Outcome, expected: &str) -> Result<()> {
    let is_it = |event: &Event| event.name() == "warning" && field(event, "text") == Some(expected);
    ensure!(
        outcome.events.iter().any(is_it),
        "{expected:?} is not in {:#?}",
        outcome.events
    );
    Ok(())
}

/// Copies of a disk with a GPT, of which two partitions have one name, and of one with an MBR. What
/// has no containers is given up for the next name, so one boot shows all.
fn of_partitions_with_one_name_the_first_is_taken(lab: &Lab) -> Result<()> {
    const GPT: Uuid = Uuid::from_u128(0xb0a7_0000);
    let empty = || Ok::<_, anyhow::Error>(Fs::vfat("EMPTY", 1, disk::files([])?));
    let twin = Fs::vfat("TWIN", 2, disk::files([Bundle::new("twin")])?);
    let gpt = Disk::gpt(GPT)
        .partition(empty()?)
        .named("twin", twin)
        .named("twin", empty()?)
        .build()?;
    let mbr = disk::of(empty()?)?;
    // The kernel counts the partitions of one disk before those of the next.
    let part = Uuid::from_u128(GPT.as_u128() + 1);
    let names = [
        ("PARTUUID=b0a70001-01", &["/dev/vdb1", "/dev/vdd1"][..]),
        (&format!("PARTUUID={part}"), &["/dev/vda1", "/dev/vdc1"]),
        (
            &format!("PARTUUID={part}/PARTNROFF=2"),
            &["/dev/vda3", "/dev/vdc3"],
        ),
        (
            "PARTLABEL=twin",
            &["/dev/vda2", "/dev/vda3", "/dev/vdc2", "/dev/vdc3"],
        ),
    ];
    let [first, others @ ..] = names.map(|(name, _)| name);
    let vm = lab
        .machine("of_partitions_with_one_name_the_first_is_taken")?
        .append(format!(
            "root={first} berth.root_fallback={}",
            others.join(",")
        ))
        .at_once();
    let disks = [&gpt, &mbr, &gpt, &mbr];
    let outcome = disks
        .into_iter()
        .fold(vm, |vm, disk| vm.blk(disk))
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let [_, _, _, (last, _)] = names;
    let given_up = rejected(&outcome);
    let expected = names.iter().filter(|(name, _)| *name != last);
    let expected: Vec<_> = expected.map(|(name, _)| (*name, "B050")).collect();
    ensure!(given_up == expected, "{given_up:?}");
    for (name, nodes) in names {
        let all = nodes.join(", ");
        warned(
            &outcome,
            &format!("{name} is on {all}: {} is taken", nodes[0]),
        )?;
    }
    ensure!(root(&outcome)? == "/dev/vda2");
    Ok(())
}

/// A filesystem with an md superblock of version 1.0 behind it, as each half of a mirror has
/// (include/uapi/linux/raid/md_p.h).
fn member_of_a_raid_array_is_not_taken_for_its_filesystem(lab: &Lab) -> Result<()> {
    let whole = Disk::bare(Fs::ext4("BERTH", disk::EXT4_UUID, disk::files([])?)).build()?;
    let mut bytes = std::fs::read(&whole)?;
    bytes.resize(bytes.len() + (1 << 20), 0);
    let at = bytes.len() - 8192;
    bytes[at..at + 8].copy_from_slice(b"\xfc\x4e\x2b\xa9\x01\0\0\0");
    let sector = (at as u64) / 512;
    bytes[at + 144..at + 152].copy_from_slice(&sector.to_le_bytes());
    let outcome = lab
        .machine("member_of_a_raid_array_is_not_taken_for_its_filesystem")?
        .append("root=LABEL=BERTH rootwait=0")
        .blk(&Disk::bare(Fs::bytes(bytes)).build()?)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    ensure!(outcome.events.iter().any(|event| event.is_failure("B020")));
    let is_listed = |event: &Event| {
        field(event, "line")
            == Some(
                "/dev/vda: 65 MiB, virtio_blk, RAID member (md), and also ext4, \
             UUID=b0a70000-0000-4000-8000-000000000003, LABEL=BERTH",
            )
    };
    ensure!(
        outcome.events.iter().any(is_listed),
        "{:#?}",
        outcome.events
    );
    Ok(())
}

fn disk_that_comes_goes_and_comes_again_is_found(lab: &Lab) -> Result<()> {
    let other = Disk::empty(1).build()?;
    let image = disk::vfat([Bundle::new("late")])?;
    let mut vm = lab
        .machine("disk_that_comes_goes_and_comes_again_is_found")?
        .append("root=LABEL=BERTH rootwait")
        .start()?;
    vm.expect("the machine waits", |event| event.name() == "waiting")?;
    for _ in 0..3 {
        let name = vm.plug(Drive::scsi(&other))?;
        vm.unplug(&name)?;
    }
    vm.plug(Drive::scsi(&image))?;
    vm.expect("the container runs", |event| {
        line(event) == Some(("late", "late"))
    })?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

fn machine_with_little_memory_boots(lab: &Lab) -> Result<()> {
    let outcome = lab
        .machine("machine_with_little_memory_boots")?
        .memory(match lab.series {
            // Its tests of compression run while the initramfs is unpacked, and with 80 MiB one of
            // them may find nothing left.
            Series::V7 => 96,
            _ => MEMORY_MIB,
        })
        .append("root=LABEL=BERTH")
        .blk(&disk::vfat([Bundle::new("small")])?)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    ensure!(
        outcome
            .events
            .iter()
            .any(|event| line(event) == Some(("small", "small")))
    );
    Ok(())
}

/// With 64 MiB Debian's kernels reset before they say a word: they are loaded at 16 MiB and take 51
/// MiB and more while they unpack themselves (`init_size`, Documentation/arch/x86/boot.rst).
const MEMORY_MIB: u32 = 80;

/// The last `console=` is a device that does not exist, and the one before is taken back.
fn machine_without_a_console_boots(lab: &Lab) -> Result<()> {
    let outcome = lab
        .machine("machine_without_a_console_boots")?
        .append("console=null root=LABEL=BERTH")
        .blk(&disk::vfat([Bundle::new("silent")])?)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    ensure!(
        outcome
            .events
            .iter()
            .any(|event| line(event) == Some(("silent", "silent")))
    );
    Ok(())
}

/// Three times eight disks have letters of their own, and one boot is not too long.
const TYPES_AT_ONCE: usize = 3;

/// Eight disks with this filesystem, each with other bits of its first 64 KiB flipped.
fn damaged(fs: &Fs) -> Result<Vec<DiskImage>> {
    const WINDOW: usize = 64 << 10;
    const FLIPS: usize = 400;
    let whole = std::fs::read(Disk::bare(fs.clone()).build()?)?;
    let disks = (1..=8_u64).map(|seed| {
        let mut bytes = whole.clone();
        let mut state = seed;
        for _ in 0..FLIPS {
            // Knuth's MMIX generator: the same flips each time.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 40) as usize % WINDOW;
            bytes[at] ^= 1 << (state >> 61);
        }
        Disk::bare(Fs::bytes(bytes)).build()
    });
    disks.collect()
}

/// Whatever is on a disk, the boot goes on to the next candidate or runs from it, and says which:
/// one boot for some types, with the damaged disks before a good one.
fn damaged_filesystems_are_given_up_for_the_next(lab: &Lab) -> Result<()> {
    let kernel = lab.series.get_flavour(Arch::X86_64, Flavour::Generic)?;
    let good = Disk::bare(Fs::vfat("GOOD", 7, disk::files([Bundle::new("good")])?)).build()?;
    let types = [
        Type::Exfat,
        Type::Xfs,
        Type::Btrfs,
        Type::Squashfs,
        Type::Erofs,
        Type::F2fs,
        Type::Iso9660,
    ];
    let others = types.map(|kind| {
        Ok((
            kind.name(),
            Fs::of_type(kind, "BAD", disk::EXT4_UUID, disk::files([])?),
        ))
    });
    let mut all: Vec<(&str, Fs)> = others.into_iter().collect::<Result<_>>()?;
    all.push(("vfat", Fs::vfat("BAD", 8, disk::files([])?)));
    all.push(("ext4", Fs::ext4("BAD", disk::EXT4_UUID, disk::files([])?)));
    for some in all.chunks(TYPES_AT_ONCE) {
        let fstypes: Vec<_> = some.iter().map(|(fstype, _)| *fstype).collect();
        let disks: Vec<_> = some
            .iter()
            .map(|(_, fs)| damaged(fs))
            .collect::<Result<_>>()?;
        let disks: Vec<_> = disks.into_iter().flatten().collect();
        let letters = ('a'..='z').take(disks.len());
        let mut candidates: Vec<_> = letters.map(|letter| format!("/dev/sd{letter}")).collect();
        candidates.push("LABEL=GOOD".to_owned());
        let spec = lab.spec_for(&kernel)?.for_devices([DeviceClass::Virtio]);
        let spec = spec.for_filesystems(fstypes.iter().copied().chain(["vfat"]));
        let fstypes = fstypes.join("-");
        let vm = lab
            .machine_with(
                &format!("damaged_filesystems_are_given_up_for_the_next/{fstypes}"),
                &spec.build(Compression::Zstd)?,
            )
            .kernel(&kernel)
            .at_once()
            .blk(&good)
            .append(format!(
                "root=/dev/sda berth.root_fallback={}",
                candidates[1..].join(",")
            ));
        let vm = disks.iter().fold(vm, |vm, disk| vm.scsi(disk));
        let outcome = vm.start()?.wait()?;
        outcome.assert_ended(Ended::PowerOff)?;
        let is_it = |event: &&Event| event.name() == "root";
        let root = outcome.events.iter().find(is_it);
        let asked = root
            .and_then(|event| field(event, "asked"))
            .unwrap_or_default();
        let rejected: Vec<_> = outcome
            .events
            .iter()
            .filter(|event| event.name() == "rejected")
            .filter_map(|event| field(event, "root"))
            .collect();
        let taken = candidates.iter().position(|name| name == asked);
        ensure!(
            taken.is_some_and(|taken| rejected == candidates[..taken]),
            "{fstypes}: took {asked:?}, rejected {rejected:?}: {}",
            outcome.log.display()
        );
    }
    Ok(())
}
