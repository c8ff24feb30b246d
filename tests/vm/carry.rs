//! What the machine carries over a reboot: a random seed, and the time of day.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::vm::{Ended, Vm};
use berth_tests::{Bundle, Lab, disk, field, line, warnings};

use crate::fsck::{extract, partition};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere random_seed_is_another_one_at_each_boot_and_is_credited_once,
    once random_seed_that_cannot_be_kept_is_told_and_costs_nothing_else,
    everywhere clock_of_a_machine_without_the_time_is_not_before_it_was_built,
];

/// The codes that are provoked here.
pub(crate) const PROVOKED: &[&str] = &["B064"];

/// When berth was built, at the earliest: 2026-11-01.
const BUILT: u64 = 1_793_491_200;

fn keeper() -> Bundle {
    Bundle::new("keeper").runs(["/bin/guest", "until-asked"])
}

/// Boots from that disk until the seed was seen to, which has come to this.
fn boot(lab: &Lab, name: &str, root: &Path, state: &str) -> Result<Vm> {
    let vm = lab
        .machine(name)?
        .append("root=/dev/vda1")
        .blk(root)
        .start()?;
    let seed = vm.expect_event("seed")?;
    ensure!(field(&seed, "state") == Some(state), "{:?}", seed.raw);
    Ok(vm)
}

/// The seed on the disk, once its journal is replayed.
fn seed(vm: &Vm) -> Result<Vec<u8>> {
    let root = partition(&vm.disk(0), 0)?;
    let replayed = Command::new("e2fsck")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["-y", "-E", "journal_only"])
        .arg(&root)
        .output()
        .context("start e2fsck")?;
    let file = root.with_extension("seed");
    extract(&root, "/var/lib/berth/random-seed", &file).with_context(|| format!("{replayed:?}"))?;
    let seed = std::fs::read(&file)?;
    ensure!(seed.len() == 512, "it has {} bytes", seed.len());
    Ok(seed)
}

/// The second machine is switched off as soon as it has credited its seed, the others end in order.
fn random_seed_is_another_one_at_each_boot_and_is_credited_once(lab: &Lab) -> Result<()> {
    let root = disk::ext4([keeper()])?;
    let first = boot(lab, "random_seed.first", root.as_ref(), "made")?;
    first.expect("keeper", |event| line(event) == Some(("keeper", "waiting")))?;
    first.ctrl_alt_delete()?;
    first.wait()?.assert(Ended::Reboot, 0)?;
    let made = seed(&first)?;

    let second = boot(lab, "random_seed.second", &first.disk(0), "credited")?;
    second.quit()?;
    let disk = second.disk(0);
    let credited = seed(&second)?;
    ensure!(credited != made, "what was credited would be so again");
    drop(second);

    let third = boot(lab, "random_seed.third", &disk, "credited")?;
    third.expect("keeper", |event| line(event) == Some(("keeper", "waiting")))?;
    let begun = third.events().len();
    third.ctrl_alt_delete()?;
    let outcome = third.wait()?;
    outcome.assert(Ended::Reboot, 0)?;
    let warning = outcome.events[begun..]
        .iter()
        .find(|event| event.name() == "warning");
    ensure!(warning.is_none(), "{warning:?}");
    ensure!(seed(&third)? != credited, "the end has written none");
    Ok(())
}

fn random_seed_that_cannot_be_kept_is_told_and_costs_nothing_else(lab: &Lab) -> Result<()> {
    let ends = Bundle::new("ends").runs(["/bin/guest", "say", "here"]);
    let read_only = lab
        .machine("random_seed_on_a_read_only_root")?
        .append("root=/dev/vda1 ro")
        .blk(&disk::ext4([keeper()])?)
        .start()?;
    let seed = read_only.expect_event("seed")?;
    ensure!(field(&seed, "state") == Some("unkept"), "{:?}", seed.raw);
    drop(read_only);

    let files = disk::files([ends])?.file("var", b"in the way".to_vec());
    let root = Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, files).mib(64))
        .build()?;
    let vm = lab
        .machine("random_seed_has_no_place")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let told = warnings(&outcome)
        .iter()
        .any(|text| text.contains("/var/lib: ENOTDIR") && text.contains("[B064]"));
    ensure!(told, "{}", outcome.console);
    Ok(())
}

/// The chip of this machine has lost its time.
fn clock_of_a_machine_without_the_time_is_not_before_it_was_built(lab: &Lab) -> Result<()> {
    let vm = lab
        .machine("clock_without_the_time")?
        .append("root=/dev/vda1")
        .blk(&disk::ext4([Bundle::new("ticker")
            .runs(["/bin/guest", "draw"])
            .mount("/dev", "", "/dev", &["rbind"])])?)
        .arguments(["-rtc", "base=2001-01-01T00:00:00"])
        .start()?;
    let clock = vm.expect_event("clock")?;
    ensure!(field(&clock, "source") == Some("bound"), "{:?}", clock.raw);
    vm.expect("the time to be later", |event| {
        let time = line(event).and_then(|(_, text)| text.split_once(' ')?.1.parse::<u64>().ok());
        time.is_some_and(|time| time >= BUILT)
    })?;
    Ok(())
}
