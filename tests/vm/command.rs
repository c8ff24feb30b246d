//! berth as a command, on a machine that it has booted itself: its next PID 1 runs the cases that
//! `tests/native` runs natively. All of them are possible here, and none may be missing.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Lab, MODULES, Shared, disk, guest, line, real_bundles};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere every_case_of_the_command_is_fine,
    once every_case_of_the_command_was_run,
];

/// Codes that the cases provoke, and `tests/native` with `/init`: `failures` counts them.
pub(crate) const PROVOKED: &[&str] = &[
    "B006", "B070", "B071", "B072", "B073", "B074", "B075", "B076", "B077",
];

/// More than other machines have: about two hundred processes are started, one after the other.
const DEADLINE: Duration = Duration::from_secs(600);

static BOOT: Shared = Shared::new(boot);

fn boot(lab: &Lab) -> Result<Outcome> {
    let tree = disk::files([])?
        .copy(guest()?, "bin/guest")
        .copy(lab.berth.clone(), "bin/berth")
        .copy(real_bundles()?, "bundles")
        .directory("cases");
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(400))?;
    let spec = lab.spec()?.load(MODULES).load(["overlay", "tun"]);
    let vm = lab
        .machine_with("command", &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda1 init=/bin/guest -- init command-cases /bin/berth /cases")
        .blk(&root)
        .cpus(2)
        .deadline(DEADLINE)
        .start()?;
    Ok(vm.wait()?)
}

fn said(outcome: &Outcome) -> Vec<&str> {
    let lines = outcome.events.iter().filter_map(line);
    let of_it = lines.filter(|(id, _)| *id == "init");
    of_it.map(|(_, line)| line).collect()
}

fn every_case_of_the_command_is_fine(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    outcome.assert_ended(Ended::PowerOff)?;
    let said = said(&outcome);
    let bad: Vec<_> = said
        .iter()
        .filter(|line| !line.starts_with("ok "))
        .collect();
    ensure!(bad == [&"done Some(0)"], "{bad:#?}");
    Ok(())
}

fn every_case_of_the_command_was_run(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let said = said(&outcome);
    let listed = Command::new(guest()?).arg("command-list").output();
    let listed = String::from_utf8(listed.context("start the guest program")?.stdout)?;
    let names: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    ensure!(names.len() > 30, "{names:?}");
    for name in names {
        ensure!(
            said.contains(&format!("ok {name}").as_str()),
            "{name} was not run"
        );
    }
    Ok(())
}
