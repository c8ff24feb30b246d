//! Looking into the machine, and steering it, from inside: by the command and by the socket of its
//! control.

use anyhow::Result;
use berth_qemu::disk::Fs;
use berth_qemu::vm::Ended;
use berth_tests::{Bundle, Lab, Seen, disk};
use serde_json::Value;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere operator_looks_into_the_machine_and_steers_it,
    once machine_waits_for_a_container_that_was_stopped,
];

/// Who sees the machine's processes, groups, records and bundles.
fn operator(words: &[&str]) -> Bundle {
    let words = ["/bin/guest"].iter().chain(words).copied();
    Bundle::new("operator")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .mount("/run", "", "/run", &["rbind"])
        .mount("/sys/fs/cgroup", "", "/sys/fs/cgroup", &["rbind"])
        .mount("/containers", "", "/containers", &["rbind"])
        .directory("run")
        .directory("sys/fs/cgroup")
        .directory("containers")
        .runs(words)
}

fn operator_looks_into_the_machine_and_steers_it(lab: &Lab) -> Result<()> {
    let web = Bundle::new("web")
        .annotation("berth.restart", "always")
        .annotation("berth.stop-timeout", "1")
        .runs(["/bin/guest", "say-and-stay", "one", "two\u{1b}[31m"]);
    let broken = Bundle::new("broken").runs(["/bin/nothing"]);
    let tree = disk::files([operator(&["steer-machine"]), web, broken])?;
    let tree = tree.copy(lab.berth.clone(), "containers/operator/rootfs/bin/berth");
    let vm = lab
        .machine("operator_looks_into_the_machine_and_steers_it")?
        .append("root=/dev/vda1")
        .blk(&disk::of(
            Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(300),
        )?)
        .start()?;
    let outcome = vm.wait()?;
    let operator = Seen::new(&outcome, "operator");
    for line in [
        "listed true",
        "logs",
        "stopped and started",
        "restarted",
        "restarted by its policy",
        "came late and was changed",
        "refused",
        "looked into the machine",
        "spoke the protocol",
        "served them all",
    ] {
        operator.printed(line)?;
    }
    // `broken` could not be started, twice.
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}

/// `berth.on_idle=poweroff` holds again when it was started and has ended.
fn machine_waits_for_a_container_that_was_stopped(lab: &Lab) -> Result<()> {
    let web = Bundle::new("web").runs(["/bin/guest", "stay"]);
    let tree = disk::files([operator(&["stop-and-leave", "web"]), web])?;
    let tree = tree.copy(lab.berth.clone(), "containers/operator/rootfs/bin/berth");
    let vm = lab
        .machine("machine_waits_for_a_container_that_was_stopped")?
        .append("root=/dev/vda1")
        .blk(&disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree))?)
        .start()?;
    vm.expect("web to be stopped", |event| {
        event.is_container("web", "stopped")
    })?;
    vm.expect("the operator to leave", |event| {
        event.is_container("operator", "exited")
    })?;
    // Nothing runs now, and the machine is up: it takes Ctrl-Alt-Del.
    vm.ctrl_alt_delete()?;
    Ok(vm.wait()?.assert(Ended::Reboot, 0)?)
}
