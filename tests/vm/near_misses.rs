//! The report of a root that was not found: what comes close, what there is, what the kernel had to
//! say.

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::vm::{Builder, Drive, Ended, Outcome};
use berth_tests::{Bundle, Lab, MODULES, disk, field, guest, line};
use uuid::Uuid;

use crate::fallback::rejected;
use crate::provoke::OWN_FAILURE;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once near_misses_are_named,
    once label_that_reads_like_a_failure_is_only_a_label,
    once names_are_understood_however_they_are_written,
    everywhere gpt_of_which_the_kernel_makes_no_partitions_is_told_why,
    everywhere why_partitions_are_missing_is_told_of_other_tables,
    once near_miss_is_told_while_the_device_is_waited_for,
    once device_that_comes_after_the_deadline_is_told_with_the_time_it_takes,
    once disk_that_cannot_be_read_is_told_in_the_kernels_words,
    everywhere initramfs_that_does_not_fit_into_memory_is_said_not_to_be_whole,
    once report_is_on_every_console_whatever_the_log_level,
    once report_is_in_the_event_stream_line_by_line,
];

/// The lines of the report in the event stream.
fn report(outcome: &Outcome) -> Vec<&str> {
    let events = outcome.events.iter();
    let lines = events.filter(|event| event.name() == "report");
    lines.filter_map(|event| field(event, "line")).collect()
}

/// Holds a boot that failed to a line of its report, which begins so.
fn reported(outcome: &Outcome, line: &str) -> Result<()> {
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let lines = report(outcome);
    ensure!(
        lines.iter().any(|found| found.starts_with(line)),
        "{line:?} is not in {lines:#?}"
    );
    Ok(())
}

/// A GPT with an ext4 of this label, as the partition of this name.
fn gpt() -> Result<berth_qemu::disk::DiskImage> {
    let fs = Fs::ext4("DATA", disk::EXT4_UUID, disk::files([])?);
    Disk::gpt(Uuid::from_u128(0xb0a7_0000))
        .named("system", fs)
        .build()
}

/// What to do about it does not follow from a name.
fn label_that_reads_like_a_failure_is_only_a_label(lab: &Lab) -> Result<()> {
    let outcome = lab
        .machine("label_that_reads_like_a_failure")?
        .append("root=LABEL=codepage rootwait=0")
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let mut lines = outcome.console.lines();
    let text = "wait for root=LABEL=codepage: no such block device after 0 s  [B020]";
    ensure!(lines.any(|line| line.contains(text)), "{}", outcome.console);
    let advice = lines.next().unwrap_or_default();
    ensure!(
        advice.contains("compare root= with the devices below"),
        "{advice}"
    );
    Ok(())
}

/// Each name comes close to something on the disk. Those that a disk to come could have are told of
/// while they are waited for, and a path in the report alone.
fn near_misses_are_named(lab: &Lab) -> Result<()> {
    let image = gpt()?;
    let table = [
        (
            "LABEL=data",
            "/dev/vda1 differs in upper and lower case only, which counts",
        ),
        ("LABEL=DATE", "/dev/vda1 is nearly that: a typing error?"),
        (
            "LABEL=system",
            "that is the partition /dev/vda1: ask for it with root=PARTLABEL=",
        ),
        (
            "PARTLABEL=DATA",
            "that is the filesystem on /dev/vda1: ask for it with root=LABEL=",
        ),
        (
            "PARTLABEL=System",
            "/dev/vda1 differs in upper and lower case only, which counts",
        ),
        (
            "UUID=00000000-0000-0000-0000-0000b0a70001",
            "that is the partition /dev/vda1: ask for it with root=PARTUUID=",
        ),
        (
            "PARTUUID=b0a70000-0000-4000-8000-000000000003",
            "that is the filesystem on /dev/vda1: ask for it with root=UUID=",
        ),
    ];
    let paths = [
        (
            "/dev/vda2",
            "the disk /dev/vda is there, and has no partition 2",
        ),
        (
            "/dev/sda1",
            "there is /dev/vda1: is the disk on another bus, or did disks change places?",
        ),
    ];
    let fallbacks = format!(
        "berth.root_fallback={}",
        table.map(|(name, _)| name).join(",")
    );
    for (root, line) in paths {
        let asked = format!("root={root} rootwait=0 {fallbacks}");
        let outcome = lab
            .machine("near_misses_are_named")?
            .append(&asked)
            .blk(&image)
            .start()?
            .wait()?;
        let names = [root].into_iter().chain(table.map(|(name, _)| name));
        let expected: Vec<_> = names.map(|name| (name, "B020")).collect();
        ensure!(rejected(&outcome) == expected, "{:#?}", outcome.events);
        let mut said = outcome.console.as_str();
        for (name, line) in table {
            let line = format!("berth: root: {line}");
            let (_, rest) = said
                .split_once(&line)
                .with_context(|| format!("{name}: {line}"))?;
            said = rest;
        }
        reported(&outcome, line)?;
        reported(&outcome, &format!("asked for: {asked}"))?;
        reported(
            &outcome,
            "/dev/vda1: 64 MiB, virtio_blk, ext4, UUID=b0a70000-0000-4000-8000-000000000003, LABEL=DATA, \
             PARTUUID=00000000-0000-0000-0000-0000b0a70001, PARTLABEL=system",
        )?;
    }
    Ok(())
}

/// Holds a boot to the container of the disk.
fn ran(outcome: &Outcome) -> Result<()> {
    outcome.assert(Ended::PowerOff, 0)?;
    let mut lines = outcome.events.iter().filter_map(line);
    ensure!(lines.any(|line| line == ("named", "named")));
    Ok(())
}

fn names_are_understood_however_they_are_written(lab: &Lab) -> Result<()> {
    let image = Disk::mbr(0xb0a7_0001)
        .partition(Fs::vfat("MY ROOT", 0xcafe_0051, disk::files([])?))
        .partition(Fs::vfat("OTHER", 1, disk::files([Bundle::new("named")])?))
        .build()?;
    // The link is given up at once, although it may be waited for long.
    let names = [
        r"LABEL=MY\x20ROOT",
        "UUID=cafe0051",
        r"/dev/disk/by-label/MY\x20ROOT",
        "/dev/disk/by-id/virtio-x",
    ];
    let [first, others @ ..] = names;
    let outcome = lab
        .machine("names_are_understood_however_they_are_written")?
        .append(format!("root={first} rootwait"))
        .append(format!(
            "berth.root_fallback={},PartUUID:0xB0A70001-02",
            others.join(",")
        ))
        .blk(&image)
        .start()?
        .wait()?;
    let expected = [
        (names[0], "B050"),
        (names[1], "B050"),
        // udev's links to names mean the names.
        (names[0], "B050"),
        (names[3], "B020"),
    ];
    ensure!(rejected(&outcome) == expected, "{:#?}", outcome.events);
    ran(&outcome)
}

/// The first copy of the table is broken, both are, and it is one for other sectors.
fn gpt_of_which_the_kernel_makes_no_partitions_is_told_why(lab: &Lab) -> Result<()> {
    let damaged = |copies: usize| -> Result<berth_qemu::disk::DiskImage> {
        let mut bytes = std::fs::read(gpt()?)?;
        let end = bytes.len() - 512;
        for place in [512, end].into_iter().take(copies) {
            bytes[place + 16] ^= 1;
        }
        Disk::bare(Fs::bytes(bytes)).build()
    };
    let outcome = lab
        .machine("gpt_of_which_the_kernel_makes_no_partitions_is_told_why")?
        .append("root=/dev/vda1 rootwait=0")
        .blk(&damaged(1)?)
        .blk(&damaged(2)?)
        .drive(Drive::blk(&gpt()?).sectors(4096))
        .start()?
        .wait()?;
    for (disk, why) in [
        (
            "vda",
            "the first copy of its GPT is broken and the one at the end is whole: boot with the kernel's word `gpt`",
        ),
        ("vdb", "both copies of its GPT are broken"),
        ("vdc", "its table is for sectors of 512 bytes"),
    ] {
        reported(&outcome, &format!("/dev/{disk} lacks partitions: {why}"))?;
    }
    Ok(())
}

/// Images that were cut short, a chain of logical partitions that breaks off, a table that Debian's
/// kernel was not built for, and devices of which the kernel makes no partitions.
fn why_partitions_are_missing_is_told_of_other_tables(lab: &Lab) -> Result<()> {
    const MIB: usize = 1 << 20;
    let bare = |bytes: &[u8]| Disk::bare(Fs::bytes(bytes.to_vec())).build();
    let cut_gpt = std::fs::read(gpt()?)?[..8 * MIB].to_vec();
    // Of the first partition 512 bytes are left, of the second nothing.
    let fs = || Fs::bytes(vec![0x5a; 2 * MIB]);
    let mbr = Disk::mbr(7).partition(fs()).partition(fs()).build()?;
    let mut mbr = std::fs::read(mbr)?;
    // The third is an extended one that begins where there is no table (block/partitions/msdos.c).
    let entry = [0, 0, 0, 0, 5, 0, 0, 0, 0, 0x20, 0, 0, 0, 8, 0, 0];
    let mut chain = mbr.clone();
    chain[446 + 32..][..16].copy_from_slice(&entry);
    mbr.truncate(MIB + 512);
    let mut apple = vec![0; 2 * MIB];
    apple[512..514].copy_from_slice(b"PM");
    let steps = "module virtio_pci\nmodule virtio_blk\nmodule dm_mod\nlinear /dev/vde 0\n";
    let spec = lab
        .spec()?
        .load(MODULES)
        .load(["dm_mod"])
        .add(guest()?, "/prepare")
        .replace("/etc/prepare", steps, 0o644);
    let name = "why_partitions_are_missing_is_told_of_other_tables";
    let outcome = lab
        .machine_with(name, &spec.build(Compression::Zstd)?)
        .append("rdinit=/prepare root=/dev/vda9 rootwait=0")
        .blk(&bare(&cut_gpt)?)
        .blk(&bare(&mbr)?)
        .blk(&bare(&chain)?)
        .blk(&bare(&apple)?)
        .blk(&gpt()?)
        .start()?
        .wait()?;
    for (device, why) in [
        (
            "vda",
            "its GPT is for a disk of more than 65 MiB: the image was cut short",
        ),
        ("vdb", "partition 2 begins behind the end of the disk"),
        ("vdc", "a table in its extended partition is broken"),
        (
            "vdd",
            "it has an Apple partition map, and the kernel was built without CONFIG_MAC_PARTITION",
        ),
        (
            "dm-0",
            "its table is whole, and a device of this kind has no partitions",
        ),
    ] {
        reported(&outcome, &format!("/dev/{device} lacks partitions: {why}"))?;
    }
    Ok(())
}

fn near_miss_is_told_while_the_device_is_waited_for(lab: &Lab) -> Result<()> {
    let mut vm = lab
        .machine("near_miss_is_told_while_the_device_is_waited_for")?
        .append("root=LABEL=system rootwait")
        .blk(&gpt()?)
        .start()?;
    let told = "that is the partition /dev/vda1: ask for it with root=PARTLABEL=";
    vm.expect("what comes close", |event| {
        event.name() == "warning" && field(event, "text") == Some(told)
    })?;
    let files = disk::files([Bundle::new("named")])?;
    let late = disk::of(Fs::ext4("system", Uuid::from_u128(7), files))?;
    vm.plug(Drive::blk(&late))?;
    ran(&vm.wait()?)
}

fn device_that_comes_after_the_deadline_is_told_with_the_time_it_takes(lab: &Lab) -> Result<()> {
    let name = "device_that_comes_after_the_deadline_is_told_with_the_time_it_takes";
    let mut vm = lab
        .machine(name)?
        .append("root=LABEL=BERTH rootwait=1 berth.on_failure=reboot panic=0")
        .start()?;
    vm.expect("the report", |event| event.is_failure("B020"))?;
    vm.plug(Drive::blk(&disk::vfat([])?))?;
    // The kernel may keep the last line of its log from the console until the next one, and shows a
    // line in pieces.
    let said = vm.expect_console("/dev/vda1 has appeared, less than ")?;
    vm.expect_console_after(said, " s after the deadline: boot with rootwait=10\n")?;
    vm.quit()?;
    Ok(vm.wait()?.assert_ended(Ended::Killed)?)
}

/// The disk fails every read behind its first sectors.
fn disk_that_cannot_be_read_is_told_in_the_kernels_words(lab: &Lab) -> Result<()> {
    let image = disk::vfat([])?;
    let storage = format!(
        "driver=blkdebug,node-name=broken,inject-error.0.event=none,inject-error.0.iotype=read,\
         image.driver=file,image.filename={}",
        image.as_ref().display()
    );
    let outcome = lab
        .machine("disk_that_cannot_be_read_is_told_in_the_kernels_words")?
        .append("root=UUID=B0A7-0002 rootwait=0")
        .arguments([
            "-blockdev",
            &storage,
            "-device",
            "virtio-blk-pci,drive=broken",
        ])
        .start()?
        .wait()?;
    reported(&outcome, "kernel: ")?;
    let lines = report(&outcome);
    ensure!(
        lines
            .iter()
            .any(|line| line.starts_with("kernel: ") && line.contains("I/O error, dev vda")),
        "{lines:#?}"
    );
    ensure!(
        lines
            .iter()
            .any(|line| line.starts_with("/dev/vda: ") && line.contains("EIO")),
        "{lines:#?}"
    );
    Ok(())
}

/// What stands before the modules in the image fills the memory that the kernel has for it, which
/// is half of all on a tmpfs. That is what the kernel takes when its own command line has no
/// `root=` (init/do_mounts.c); on a ramfs it would run out of memory and panic.
fn initramfs_that_does_not_fit_into_memory_is_said_not_to_be_whole(lab: &Lab) -> Result<()> {
    let ballast = vec![0x5a; 80 << 20];
    let spec = lab
        .spec()?
        .load(MODULES)
        .cmdline("root=/dev/vda1 rootwait=0")
        .replace("/lib/modules/.ballast", ballast, 0o644);
    let outcome = lab
        .machine_with(
            "initramfs_that_does_not_fit_into_memory_is_said_not_to_be_whole",
            &spec.build(Compression::Zstd)?,
        )
        .memory(128)
        .blk(&disk::vfat([])?)
        .start()?
        .wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    ensure!(
        outcome.console.contains("the kernel did not unpack the initramfs whole (write error): it does not fit into memory: give the VM more"),
        "{}",
        outcome.log.display()
    );
    Ok(())
}

/// A machine whose root will not be found.
fn rootless(lab: &Lab, name: &str, words: &str) -> Result<Builder> {
    let vm = lab.machine(name)?;
    Ok(vm.append(format!("root=LABEL=NONE rootwait=0 {words}")))
}

fn report_is_on_every_console_whatever_the_log_level(lab: &Lab) -> Result<()> {
    let name = "report_is_on_every_console_whatever_the_log_level";
    let other = berth_qemu::target_dir()
        .join("vm")
        .join(format!("{name}.hvc0"));
    // The kernel's driver of serial ports is one console, on one of them: the other is the port of
    // a virtio console.
    let file = format!("file,id=hvc0,path={}", other.display());
    let outcome = rootless(lab, name, "loglevel=1 console=hvc0")?
        .blk(&disk::vfat([])?)
        .arguments([
            "-chardev",
            &file,
            "-device",
            r#"{"driver":"virtconsole","chardev":"hvc0"}"#,
        ])
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let other = std::fs::read_to_string(&other).context("the other console")?;
    for console in [&outcome.console, &other] {
        for text in [
            "wait for root=LABEL=NONE: ",
            "/dev/vda1: 64 MiB",
            "the boot ends here",
        ] {
            let times = console.matches(text).count();
            ensure!(times == 1, "{text:?} is there {times} times: {console}");
        }
    }
    Ok(())
}

fn report_is_in_the_event_stream_line_by_line(lab: &Lab) -> Result<()> {
    let name = "report_is_in_the_event_stream_line_by_line";
    let outcome = rootless(lab, name, "")?
        .blk(&disk::vfat([])?)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let lines = report(&outcome);
    ensure!(lines.len() >= 4, "{lines:#?}");
    let on_console: Vec<_> = outcome
        .console
        .lines()
        .filter_map(|line| Some(line.split_once("berth: root:   ")?.1))
        .collect();
    // The first is what to do, which the event `failure` leaves out.
    ensure!(
        on_console.get(1..) == Some(&lines[..]),
        "{on_console:#?} {lines:#?}"
    );
    Ok(())
}
