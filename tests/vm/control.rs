//! Looking into the machine, and steering it, from inside: by the command and by the socket of its
//! control.

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::Ended;
use berth_tests::{Bundle, Lab, Seen, disk};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere operator_looks_into_the_machine_and_steers_it,
    once machine_waits_for_a_container_that_was_stopped,
];

/// Who sees the machine's processes, groups, records and bundles.
fn operator() -> Bundle {
    Bundle::new("operator")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .mount("/run", "", "/run", &["rbind"])
        .mount("/sys/fs/cgroup", "", "/sys/fs/cgroup", &["rbind"])
        .mount("/containers", "", "/containers", &["rbind"])
        .directory("run")
        .directory("sys/fs/cgroup")
        .directory("containers")
        .runs(["/bin/guest", "steer-machine"])
}

fn operator_looks_into_the_machine_and_steers_it(lab: &Lab) -> Result<()> {
    let web = Bundle::new("web")
        .annotation("berth.restart", "always")
        .annotation("berth.stop-timeout", "1")
        .runs(["/bin/guest", "say-and-stay", "one", "two\u{1b}[31m"]);
    let broken = Bundle::new("broken").runs(["/bin/nothing"]);
    let tree = disk::files([operator(), web, broken])?;
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

/// `berth.on_idle=poweroff` does not hold as long as one is stopped by request.
fn machine_waits_for_a_container_that_was_stopped(lab: &Lab) -> Result<()> {
    let web = Bundle::new("web").runs(["/bin/guest", "say-and-stay", "here"]);
    let vm = lab
        .machine("machine_waits_for_a_container_that_was_stopped")?
        .append("root=/dev/vda1")
        .blk(&disk::ext4([web])?)
        .control()
        .start()?;
    vm.expect("web to run", |event| event.is_container("web", "started"))?;
    let mut client = vm.control()?;
    client.ask(json!({ "do": "stop", "container": "web" }))?;
    // Nothing of it is left, then. A machine that ends for want of containers does so now, and
    // before each of these runs of `berth` was started and cleared away.
    let mut after = 0;
    while after < 10 {
        let rows = client.ask(json!({ "do": "list" }))?;
        let web = rows.first().context("web is not listed")?;
        ensure!(web["state"] == "stopped", "{web}");
        after += usize::from(web["bundle"] == "");
    }
    client.ask(json!({ "do": "start", "container": "web" }))?;
    vm.ctrl_alt_delete()?;
    Ok(vm.wait()?.assert(Ended::Reboot, 0)?)
}
