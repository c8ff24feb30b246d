//! Disks that are there late, or never, and the ways to name them.

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::Disk;
use berth_qemu::vm::{Drive, Ended, Event, Vm, What};
use berth_tests::{Bundle, Lab, MODULES, disk, field, guest, line};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere late_device_is_found_by_uevent,
    once late_device_is_found_by_uuid,
    once late_device_is_found_by_label,
    once late_device_is_found_by_number,
    everywhere device_that_never_comes_ends_in_a_report_within_the_deadline,
    once rootdelay_is_slept_before_the_search,
    everywhere device_whose_uevent_is_lost_is_found_by_looking_again,
    everywhere disk_that_is_gone_when_it_is_looked_at_is_passed_over,
];

/// Boots without disks, plugs the root in when the machine is known to wait for it, and sees a
/// container run from it.
fn plug_late(
    lab: &Lab,
    name: &str,
    root: &str,
    drive: fn(&berth_qemu::disk::DiskImage) -> Drive,
) -> Result<()> {
    let image = disk::vfat([Bundle::new("late")])?;
    let mut vm = lab
        .machine(name)?
        .append(format!("rootwait root={root}"))
        .start()?;
    vm.expect("the machine waits", |event| {
        event.name() == "waiting" && field(event, "root") == Some(root)
    })?;
    vm.plug(drive(&image))?;
    vm.expect("the container runs", |event| {
        line(event) == Some(("late", "late"))
    })?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

fn late_device_is_found_by_uevent(lab: &Lab) -> Result<()> {
    plug_late(
        lab,
        "late_device_is_found_by_uevent",
        "/dev/sda1",
        Drive::scsi,
    )
}

fn late_device_is_found_by_uuid(lab: &Lab) -> Result<()> {
    plug_late(
        lab,
        "late_device_is_found_by_uuid",
        "UUID=B0A7-0002",
        Drive::blk,
    )
}

fn late_device_is_found_by_label(lab: &Lab) -> Result<()> {
    plug_late(
        lab,
        "late_device_is_found_by_label",
        "LABEL=BERTH",
        Drive::scsi,
    )
}

/// 8:1 is the first partition of the first SCSI disk (Documentation/admin-guide/devices.txt).
fn late_device_is_found_by_number(lab: &Lab) -> Result<()> {
    plug_late(lab, "late_device_is_found_by_number", "8:1", |image| {
        Drive::scsi(image)
    })
}

/// Guest time is counted in instructions here, so that a busy host cannot stretch it.
fn device_that_never_comes_ends_in_a_report_within_the_deadline(lab: &Lab) -> Result<()> {
    let vm = lab
        .machine("device_that_never_comes_ends_in_a_report_within_the_deadline")?
        .append("root=/dev/sdz9 rootwait=2")
        .blk(&disk::vfat([])?)
        .counted()
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 125)?;
    let searched = time(&outcome.events, |event| event.is_stage("modules"))?;
    let failed = time(&outcome.events, |event| event.is_failure("B020"))?;
    let waited = failed - searched;
    ensure!(
        (2_000_000..2_500_000).contains(&waited),
        "rootwait=2 took {waited} µs"
    );
    let text = outcome.events.iter().find_map(|event| match &event.what {
        What::Failure { text, .. } => Some(text.clone()),
        _ => None,
    });
    let text = text.unwrap_or_default();
    ensure!(
        text.contains("root=/dev/sdz9") && text.contains("after 2 s"),
        "{text}"
    );
    // What is there instead, so that a typing error can be seen.
    for device in [
        "/dev/vda: ",
        "/dev/vda1: 64 MiB, virtio_blk, vfat, UUID=B0A7-0002, LABEL=BERTH, PARTUUID=b0a70001-01",
    ] {
        ensure!(
            outcome.console.contains(device),
            "{device} is not in the report: {}",
            outcome.log.display()
        );
    }
    Ok(())
}

fn rootdelay_is_slept_before_the_search(lab: &Lab) -> Result<()> {
    let vm = lab
        .machine("rootdelay_is_slept_before_the_search")?
        .append("root=LABEL=BERTH rootdelay=1")
        .scsi(&disk::vfat([])?)
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let us = outcome.events.iter().find_map(|event| match &event.what {
        What::Stage { stage, us } if stage == "root" => Some(*us),
        _ => None,
    });
    ensure!(
        us.is_some_and(|us| us >= 1_000_000),
        "the stage took {us:?} µs"
    );
    ensure!(
        outcome
            .events
            .iter()
            .any(|event| field(event, "event") == Some("root"))
    );
    Ok(())
}

fn time(events: &[Event], is_it: impl Fn(&Event) -> bool) -> Result<u64> {
    events
        .iter()
        .find(|event| is_it(event))
        .map(|event| event.t)
        .context("an event is missing")
}

/// A machine that waits for its root, where the guest program does that to PID 1 when a first disk
/// comes, which is empty.
fn held(lab: &Lab, name: &str, what: &str) -> Result<Vm> {
    let spec =
        lab.spec()?
            .load(MODULES)
            .add(guest()?, "/prepare")
            .replace("/etc/prepare", what, 0o644);
    let mut vm = lab
        .machine_with(name, &spec.build(Compression::Zstd)?)
        .append("rdinit=/prepare loglevel=7 rootwait root=LABEL=BERTH")
        .start()?;
    vm.expect("the machine waits", |event| event.name() == "waiting")?;
    vm.plug(Drive::scsi(&Disk::empty(1).build()?))?;
    vm.expect_console("hold: PID 1 is held")?;
    Ok(vm)
}

fn ends_well(vm: &Vm) -> Result<()> {
    vm.expect("the container runs", |event| {
        line(event) == Some(("late", "late"))
    })?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

fn device_whose_uevent_is_lost_is_found_by_looking_again(lab: &Lab) -> Result<()> {
    let name = "device_whose_uevent_is_lost_is_found_by_looking_again";
    let mut vm = held(lab, name, "flood\n")?;
    vm.plug(Drive::scsi(&disk::vfat([Bundle::new("late")])?))?;
    ends_well(&vm)?;
    ensure!(vm.console().contains("uevents were lost"));
    Ok(())
}

/// The root came twice, and one is gone again before PID 1 reads that it came.
fn disk_that_is_gone_when_it_is_looked_at_is_passed_over(lab: &Lab) -> Result<()> {
    let name = "disk_that_is_gone_when_it_is_looked_at_is_passed_over";
    let image = disk::vfat([Bundle::new("late")])?;
    let mut vm = held(lab, name, "hold\n")?;
    let first = vm.plug(Drive::scsi(&image))?;
    vm.expect_console("[sdb] Attached SCSI disk")?;
    vm.plug(Drive::scsi(&image))?;
    vm.expect_console("[sdc] Attached SCSI disk")?;
    vm.unplug(&first)?;
    ends_well(&vm)?;
    let root = vm.events().into_iter().find(|event| event.name() == "root");
    let root = root.context("no root")?;
    ensure!(field(&root, "device") == Some("/dev/sdc1"), "{root:?}");
    Ok(())
}
