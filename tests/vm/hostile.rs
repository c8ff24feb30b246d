//! Bad neighbours: whatever a container does, the others and PID 1 do not notice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Outcome, What};
use berth_tests::{Bundle, Lab, Seen, Shared, disk, line};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once quiet_container_gets_its_work_done_beside_hostile_ones,
    once container_that_dies_at_once_gives_the_status,
    once thousands_of_orphans_are_reaped_by_the_containers_first_process,
    once thousands_of_orphans_are_reaped_by_pid_1,
    once container_that_kills_all_it_can_see_kills_only_its_own,
    once container_that_closes_its_output_runs_on,
    once flood_and_those_who_ignore_term_are_killed_at_the_end,
    once flood_of_megabytes_arrives_whole_or_is_counted,
    once stopped_console_stops_nobody,
    once nothing_is_left_of_sixty_containers,
];

static BOOT: Shared = Shared::new(boot);

/// Those that end by themselves.
const ENDING: [&str; 4] = ["close", "killer", "orphans", "orphans-of-pid-1"];

/// Those that must be killed.
const STAYING: [&str; 3] = ["flood", "flood-lines", "stubborn"];

fn boot(lab: &Lab) -> Result<Outcome> {
    let hostile = |id: &str, words: &[&str]| {
        let arguments = ["/bin/guest"].into_iter().chain(words.iter().copied());
        Bundle::new(id)
            .runs(arguments)
            .annotation("berth.stop-timeout", "1")
    };
    let bundles = [
        hostile("dies", &["exit", "7"]),
        hostile("orphans", &["orphans", "2000"]),
        hostile("orphans-of-pid-1", &["orphans", "3000"])
            .set("/hostname", Value::Null)
            .namespaces(&["mount"]),
        hostile("flood", &["flood"]),
        hostile("flood-lines", &["flood-lines"]),
        hostile("stubborn", &["stay"]),
        hostile("killer", &["kill-all"]),
        hostile("close", &["close-output"]),
        Bundle::new("quiet").runs(["/bin/guest", "work", "100"]),
    ];
    let root = disk::of(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, disk::files(bundles)?).mib(256))?;
    let vm = lab
        .machine("hostile")?
        // 12,000 processes beside two floods take their time on an emulated machine; a hang is told
        // by silence.
        .deadline(Duration::from_secs(600))
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    for id in ENDING.into_iter().chain(["dies", "quiet"]) {
        vm.expect(&format!("{id} to end"), |event| {
            event.is_container(id, "exited")
        })?;
    }
    vm.ctrl_alt_delete()?;
    Ok(vm.wait()?)
}

fn quiet_container_gets_its_work_done_beside_hostile_ones(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "quiet").exited(0)
}

fn container_that_dies_at_once_gives_the_status(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "dies").exited(7)?;
    Ok(outcome.assert(Ended::Reboot, 7)?)
}

fn thousands_of_orphans_are_reaped_by_the_containers_first_process(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "orphans").exited(0)
}

fn thousands_of_orphans_are_reaped_by_pid_1(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "orphans-of-pid-1").exited(0)
}

fn container_that_kills_all_it_can_see_kills_only_its_own(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    // That it ends well says that its victim was killed.
    Seen::new(&outcome, "killer").exited(0)?;
    for id in STAYING {
        let ended = Seen::new(&outcome, id)
            .state("exited")
            .context("it was not ended")?;
        let killer = Seen::new(&outcome, "killer")
            .state("exited")
            .context("the killer did not end")?;
        ensure!(ended.t > killer.t, "{id} ended before the killer");
    }
    Ok(())
}

fn container_that_closes_its_output_runs_on(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "close").exited(0)
}

fn flood_and_those_who_ignore_term_are_killed_at_the_end(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in STAYING {
        let ended = Seen::new(&outcome, id)
            .state("exited")
            .context("it was not ended")?;
        ensure!(
            matches!(
                ended.what,
                What::Container {
                    signal: Some(9),
                    ..
                }
            ),
            "{id}: {:?}",
            ended.raw
        );
    }
    Ok(())
}

/// Far more than pipes and queues hold. What the reader of the events was too slow for is at least
/// counted.
fn flood_of_megabytes_arrives_whole_or_is_counted(lab: &Lab) -> Result<()> {
    const BYTES: usize = 1 << 20;
    let size = BYTES.to_string();
    let bundles = [
        Bundle::new("lines").runs(["/bin/guest", "print", &size, "lines"]),
        Bundle::new("endless").runs(["/bin/guest", "print", &size]),
    ];
    let vm = lab
        .machine("flood_of_megabytes")?
        .append("root=/dev/vda1")
        .blk(&disk::vfat(bundles)?)
        .start()?;
    let outcome = vm.wait()?;
    let dropped = |event: &berth_qemu::vm::Event| {
        event.raw["lines"]
            .as_u64()
            .filter(|_| event.name() == "dropped")
    };
    let lost: u64 = outcome.events.iter().filter_map(dropped).sum();
    let lines = |id| Seen::new(&outcome, id).lines().count() as u64;
    // Lines of 63 characters and their ends; pieces of 512.
    let expected = (BYTES / 64 + BYTES / 512) as u64;
    let found = lines("lines") + lines("endless");
    ensure!(
        found + lost == expected,
        "{found} lines, {lost} dropped, of {expected}"
    );
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

/// Ctrl-S at the terminal (termios(3), IXON). It is never typed away again.
fn stopped_console_stops_nobody(lab: &Lab) -> Result<()> {
    let bundles = [
        Bundle::new("flood")
            .runs(["/bin/guest", "flood-lines"])
            .annotation("berth.stop-timeout", "1"),
        Bundle::new("main")
            .runs(["/bin/guest", "print", "2000000", "lines"])
            .annotation("berth.on-exit", "shutdown"),
    ];
    let vm = lab
        .machine("stopped_console")?
        .append("root=/dev/vda1")
        .blk(&disk::vfat(bundles)?)
        .start()?;
    vm.expect("the flood to begin", |event| {
        line(event).is_some_and(|(id, _)| id == "flood")
    })?;
    vm.send_console(b"\x13")?;
    let outcome = vm.wait()?;
    Seen::new(&outcome, "main").exited(0)?;
    let printed = outcome.console.matches("main: x").count();
    ensure!(printed < 2_000_000 / 64, "the console was not stopped");
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

/// What PID 1 and the host hold beside one container that looks at them, when `others` have come
/// and gone.
fn audit(lab: &Lab, others: usize) -> Result<Vec<String>> {
    let auditor = Bundle::new("auditor")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .annotation("berth.console", "true")
        .runs(["/bin/guest", "audit"]);
    let rootfs = "/containers/auditor/rootfs";
    let ids: Vec<_> = (0..others).map(|number| format!("c{number:02}")).collect();
    let tree = ids
        .iter()
        .enumerate()
        .fold(disk::files([auditor])?, |tree: Tree, (number, id)| {
            let bundle = Bundle::new(id).set("/root/path", json!(rootfs));
            // A third with orphans that only PID 1 can reap, a third with processes that outlive
            // their first one.
            let bundle = match number % 3 {
                0 => bundle
                    .set("/hostname", Value::Null)
                    .namespaces(&["mount"])
                    .runs(["/bin/guest", "orphans", "20"]),
                1 => bundle
                    .set("/hostname", Value::Null)
                    .namespaces(&["mount"])
                    .runs(["/bin/guest", "leave-a-writer", "0"]),
                _ => bundle.namespaces(&["mount", "pid", "uts", "ipc", "network", "cgroup"]),
            };
            tree.file(format!("containers/{id}/config.json"), bundle.config())
        });
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree))?;
    let vm = lab
        .machine(&format!("audit_of_{others}"))?
        .append("root=/dev/vda1")
        .deadline(Duration::from_secs(180))
        .blk(&root)
        .start()?;
    vm.expect_console("waiting\n")?;
    for id in &ids {
        vm.expect(&format!("{id} to end"), |event| {
            event.is_container(id, "exited") && event.raw["code"] == 0
        })?;
    }
    vm.send_console(b"\n")?;
    vm.expect_console("audit done")?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    Ok(outcome
        .console
        .lines()
        .filter(|line| line.contains("audit "))
        .map(str::to_owned)
        .collect())
}

fn nothing_is_left_of_sixty_containers(lab: &Lab) -> Result<()> {
    let [before, after] = [audit(lab, 0)?, audit(lab, 60)?];
    ensure!(before.len() == 5, "{before:?}");
    ensure!(before == after, "{before:?} became {after:?}");
    ensure!(
        after.contains(&"audit zombies 0".to_owned())
            && after.contains(&"audit cgroups 1".to_owned()),
        "{after:?}"
    );
    Ok(())
}
