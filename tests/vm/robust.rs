//! Machines that are not kind: many disks, the same one twice, little memory, no console.

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::Disk;
use berth_qemu::vm::{Drive, Ended, Event, Outcome};
use berth_tests::{Bundle, Lab, disk, field, line};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once root_is_found_among_64_disks,
    once name_that_is_on_two_disks_is_warned_of,
    once disk_that_comes_goes_and_comes_again_is_found,
    once machine_with_little_memory_boots,
    once machine_without_a_console_boots,
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

fn name_that_is_on_two_disks_is_warned_of(lab: &Lab) -> Result<()> {
    let image = disk::vfat([Bundle::new("twin")])?;
    let outcome = lab
        .machine("name_that_is_on_two_disks_is_warned_of")?
        .append("root=UUID=B0A7-0002")
        .blk(&image)
        .blk(&image)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let first = root(&outcome)?;
    let second = if first == "/dev/vda1" {
        "/dev/vdb1"
    } else {
        "/dev/vda1"
    };
    let expected = format!("UUID=B0A7-0002 is on {first} and on {second}: the first is taken");
    let warned = outcome
        .events
        .iter()
        .any(|event| event.name() == "warning" && field(event, "text") == Some(&expected));
    ensure!(warned, "{:#?}", outcome.events);
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
        .memory(MEMORY_MIB)
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

/// With 64 MiB Debian's 6.1 resets before it says a word.
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
