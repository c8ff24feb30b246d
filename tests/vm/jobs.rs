//! Containers that are started again (`berth.restart`), and after others (`berth.after`).

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::vm::{Ended, Event, Outcome, Vm};
use berth_tests::{Bundle, Lab, MODULES, Seen, Shared, disk, field};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere container_that_fails_is_started_again_until_it_ends_well,
    once container_is_started_again_so_often_and_no_oftener,
    once container_that_ends_well_is_started_again_if_it_always_is,
    once container_that_cannot_be_started_is_not_started_again,
    everywhere layer_in_a_directory_is_there_at_the_next_start_and_one_in_memory_is_not,
    everywhere container_is_started_again_when_nothing_is_left_of_it,
    everywhere container_that_lacks_something_is_started_when_it_is_there,
    everywhere machine_that_lacks_processes_and_memory_ends,
    once status_is_that_of_the_last_run,
    once end_of_a_container_that_is_started_again_is_not_the_machines,
    once machine_that_ends_starts_nothing_again,
    everywhere containers_are_started_after_those_that_they_name,
    once containers_that_wait_for_each_other_are_refused_and_hold_up_nobody,
];

/// The last that runs takes all that PID 1 could make a process of, and it is not given back.
fn machine_that_lacks_processes_and_memory_ends(lab: &Lab) -> Result<()> {
    let starver = Bundle::new("starver")
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .runs(["/bin/guest", "starve-for-good"]);
    let vm = boot(lab, "jobs_starved", vec![starver])?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

static RESTARTED: Shared = Shared::new(boot_restarted);
static ORDERED: Shared = Shared::new(boot_ordered);

/// Ends well at its attempt of this number, which it keeps in a file, and with status 7 before.
fn attempts(id: &str, number: &str) -> Bundle {
    Bundle::new(id).runs(["/bin/guest", "attempt", number, "/tmp/attempts"])
}

fn restarts(bundle: Bundle, how: &str) -> Bundle {
    bundle.annotation("berth.restart", how)
}

fn boot(lab: &Lab, name: &str, bundles: Vec<Bundle>) -> Result<Vm> {
    let spec = lab.spec()?.load(MODULES).load(["overlay"]);
    let root = Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, disk::files(bundles)?).mib(300))
        .build()?;
    lab.machine_with(name, &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda1")
        .blk(&root)
        .start()
}

fn boot_restarted(lab: &Lab) -> Result<Outcome> {
    let leaves = Bundle::new("leaves")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .runs(["/bin/guest", "attempt-and-leave", "3", "/tmp/attempts"]);
    // What comes of `flaky` comes later than the time for which the one with this hook would rest.
    let hook = json!([{
        "path": "/containers/hooked/rootfs/bin/guest",
        "args": ["guest", "wait-for", "/containers/flaky/rootfs/tmp/attempts.done"],
    }]);
    let bundles = vec![
        restarts(attempts("flaky", "3"), "on-failure"),
        restarts(attempts("limited", "9"), "on-failure:2"),
        restarts(attempts("well", "1"), "on-failure"),
        attempts("once", "1"),
        restarts(Bundle::new("broken").runs(["/bin/nothing"]), "always"),
        restarts(
            attempts("keeps", "2").annotation("berth.overlay", "layer"),
            "on-failure:3",
        ),
        restarts(
            attempts("forgets", "2").annotation("berth.overlay", "tmpfs"),
            "on-failure:3",
        ),
        restarts(leaves, "on-failure"),
        restarts(attempts("hooked", "2"), "on-failure").set("/hooks", json!({ "poststop": hook })),
        restarts(attempts("again", "1"), "always"),
    ];
    let vm = boot(lab, "jobs_restarted", bundles)?;
    for id in [
        "flaky", "limited", "well", "once", "keeps", "forgets", "leaves", "hooked",
    ] {
        let runs = match id {
            "well" | "once" => 1,
            "keeps" | "hooked" => 2,
            "forgets" => 4,
            _ => 3,
        };
        vm.expect_that(&format!("{id} to end {runs} times"), |events| {
            (states(events, id, "exited").count() == runs).then_some(())
        })?;
    }
    vm.expect("again to rest for the fourth time", |event| {
        event.is_container("again", "restarting") && event.raw["count"] == 4
    })?;
    vm.ctrl_alt_delete()?;
    Ok(vm.wait()?)
}

fn states<'e>(events: &'e [Event], id: &'e str, state: &'e str) -> impl Iterator<Item = &'e Event> {
    events
        .iter()
        .filter(move |event| event.is_container(id, state))
}

/// Holds a container to its runs, each but the last with status 7, and to its rests in between, in
/// milliseconds.
fn ran(outcome: &Outcome, id: &str, last: i64, rests: &[u64]) -> Result<()> {
    let runs = rests.len() + 1;
    let started = states(&outcome.events, id, "started").count();
    ensure!(started == runs, "{id} was started {started} times");
    let ended: Vec<_> = states(&outcome.events, id, "exited")
        .map(|event| event.raw["code"].as_i64())
        .collect();
    let mut expected = vec![Some(7); runs - 1];
    expected.push(Some(last));
    ensure!(ended == expected, "{id}: {ended:?}");
    let found: Vec<_> = states(&outcome.events, id, "restarting")
        .map(|event| (event.raw["count"].as_u64(), event.raw["us"].as_u64()))
        .collect();
    let expected: Vec<_> = (1..)
        .zip(rests)
        .map(|(count, ms)| (Some(count), Some(ms * 1000)))
        .collect();
    ensure!(found == expected, "{id}: {found:?}");
    // It rested for as long as was said.
    let times = |state| states(&outcome.events, id, state).map(|event| event.raw["t"].as_u64());
    let between = times("exited").zip(times("started").skip(1)).zip(rests);
    for ((end, start), rest) in between {
        let rested = start.zip(end).map(|(start, end)| start - end);
        ensure!(rested >= Some(rest * 1000), "{id}: {rested:?}");
    }
    Ok(())
}

fn container_that_fails_is_started_again_until_it_ends_well(lab: &Lab) -> Result<()> {
    let outcome = RESTARTED.outcome(lab)?;
    ran(&outcome, "flaky", 0, &[100, 200])?;
    Seen::new(&outcome, "flaky").printed("attempt 3")?;
    ran(&outcome, "well", 0, &[])?;
    ran(&outcome, "once", 0, &[])
}

fn container_is_started_again_so_often_and_no_oftener(lab: &Lab) -> Result<()> {
    let outcome = RESTARTED.outcome(lab)?;
    ran(&outcome, "limited", 7, &[100, 200])?;
    // It failed in the end.
    Ok(outcome.assert(Ended::Reboot, 125)?)
}

fn container_that_ends_well_is_started_again_if_it_always_is(lab: &Lab) -> Result<()> {
    let outcome = RESTARTED.outcome(lab)?;
    let rests: Vec<_> = states(&outcome.events, "again", "restarting")
        .filter_map(|event| event.raw["us"].as_u64())
        .collect();
    ensure!(
        rests[..4] == [100_000, 200_000, 400_000, 800_000],
        "{rests:?}"
    );
    let last = states(&outcome.events, "again", "exited").last();
    ensure!(last.context("it did not end")?.raw["code"] == 0);
    Ok(())
}

fn container_that_cannot_be_started_is_not_started_again(lab: &Lab) -> Result<()> {
    let outcome = RESTARTED.outcome(lab)?;
    ensure!(states(&outcome.events, "broken", "failed").count() == 1);
    ensure!(states(&outcome.events, "broken", "restarting").count() == 0);
    Ok(())
}

fn layer_in_a_directory_is_there_at_the_next_start_and_one_in_memory_is_not(
    lab: &Lab,
) -> Result<()> {
    let outcome = RESTARTED.outcome(lab)?;
    ran(&outcome, "keeps", 0, &[100])?;
    ran(&outcome, "forgets", 7, &[100, 200, 400])?;
    let attempts: Vec<_> = Seen::new(&outcome, "forgets").facts("attempt");
    ensure!(attempts == ["1"; 4], "{attempts:?}");
    Ok(())
}

/// Hooks of the last run, and processes that its first one left behind.
fn container_is_started_again_when_nothing_is_left_of_it(lab: &Lab) -> Result<()> {
    let outcome = RESTARTED.outcome(lab)?;
    ran(&outcome, "leaves", 0, &[100, 200])?;
    ran(&outcome, "hooked", 0, &[100])?;
    let last_start = |id| {
        let is_it = |event: &Event| event.is_container(id, "started");
        outcome.events.iter().rposition(is_it)
    };
    ensure!(last_start("flaky") < last_start("hooked"));
    Ok(())
}

fn container_that_lacks_something_is_started_when_it_is_there(lab: &Lab) -> Result<()> {
    let in_group = |bundle: Bundle| bundle.set("/linux/cgroupsPath", json!("/shared"));
    let open = |bundle: Bundle| {
        bundle
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]))
    };
    let after = |bundle: Bundle| bundle.annotation("berth.after", "a-hog");
    let hog = Bundle::new("a-hog").annotation("berth.console", "true");
    let bundles = vec![
        in_group(open(hog.runs(["/bin/guest", "starve"]))),
        restarts(attempts("again", "1"), "always"),
        restarts(in_group(after(attempts("second", "1"))), "on-failure"),
        in_group(after(attempts("third", "1"))),
    ];
    let vm = boot(lab, "jobs_lacking", bundles)?;
    // A line of the kernel's may follow at once.
    vm.expect_console("starved")?;
    vm.expect("starts that fail for want of something", |event| {
        event.is_container("second", "restarting")
            && field(event, "text").is_none()
            && event.raw["count"].as_u64() > Some(2)
    })?;
    let warned = vm.expect("a warning that says so", |event| {
        field(event, "text").is_some_and(|text| text.contains("create a process for again: EAGAIN"))
    })?;
    vm.send_console(b"enough\n")?;
    vm.expect("second to be started", |event| {
        event.is_container("second", "started")
    })?;
    vm.expect("again to be started again", |event| {
        event.is_container("again", "started") && event.t > warned.t
    })?;
    vm.ctrl_alt_delete()?;
    let outcome = vm.wait()?;
    let is_warned_of = |words: [&str; 2]| {
        let mut texts = outcome
            .events
            .iter()
            .filter_map(|event| field(event, "text"));
        texts.any(|text| words.iter().all(|word| text.contains(word)))
    };
    ensure!(is_warned_of(["second: ", "EBUSY"]));
    ensure!(states(&outcome.events, "third", "failed").count() == 1);
    ensure!(states(&outcome.events, "third", "restarting").count() == 0);
    // That of the third.
    Ok(outcome.assert(Ended::Reboot, 125)?)
}

fn status_is_that_of_the_last_run(lab: &Lab) -> Result<()> {
    let bundles = vec![restarts(attempts("flaky", "3"), "on-failure")];
    let outcome = boot(lab, "status_is_that_of_the_last_run", bundles)?.wait()?;
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

fn end_of_a_container_that_is_started_again_is_not_the_machines(lab: &Lab) -> Result<()> {
    let main = restarts(attempts("main", "9"), "on-failure:1");
    let bundles = vec![
        main.annotation("berth.on-exit", "shutdown"),
        Bundle::new("side").runs(["/bin/guest", "until-asked"]),
    ];
    let name = "end_of_a_container_that_is_started_again_is_not_the_machines";
    let outcome = boot(lab, name, bundles)?.wait()?;
    ran(&outcome, "main", 7, &[100])?;
    Seen::new(&outcome, "side").exited(5)?;
    Ok(outcome.assert(Ended::PowerOff, 7)?)
}

/// While one runs and another rests, whose last run counts.
fn machine_that_ends_starts_nothing_again(lab: &Lab) -> Result<()> {
    let bundles = vec![
        restarts(attempts("rests", "99"), "always"),
        restarts(
            Bundle::new("runs").runs(["/bin/guest", "until-asked"]),
            "always",
        ),
    ];
    let vm = boot(lab, "machine_that_ends_starts_nothing_again", bundles)?;
    vm.expect("it to rest long", |event| {
        event.is_container("rests", "restarting") && event.raw["count"] == 6
    })?;
    vm.ctrl_alt_delete()?;
    let outcome = vm.wait()?;
    ensure!(states(&outcome.events, "rests", "started").count() == 6);
    ensure!(states(&outcome.events, "runs", "started").count() == 1);
    ensure!(states(&outcome.events, "runs", "restarting").count() == 0);
    Seen::new(&outcome, "runs").exited(5)?;
    Ok(outcome.assert(Ended::Reboot, 7)?)
}

fn boot_ordered(lab: &Lab) -> Result<Outcome> {
    let after = |id, others| Bundle::new(id).annotation("berth.after", others);
    // Its set-up takes longer than that of others, which could overtake it.
    let hook = json!([{
        "path": "/containers/c-first/rootfs/bin/guest",
        "args": ["guest", "wait-for", "/containers/k-other/rootfs/tmp/ready"],
    }]);
    let bundles = vec![
        after("a-last", "b-middle,c-first"),
        after("b-middle", "c-first"),
        Bundle::new("c-first").set("/hooks", json!({ "createRuntime": hook })),
        Bundle::new("k-other").runs(["/bin/guest", "leave", "/tmp/ready", ""]),
        Bundle::new("d-fails").runs(["/bin/nothing"]),
        Bundle::new("d-wrong").text("{"),
        after("e-undaunted", "d-fails,d-wrong"),
        after("f-circle", "g-circle"),
        after("g-circle", "f-circle"),
        after("h-behind", "g-circle"),
        after("i-nobody", "c-first,nobody"),
        after("j-self", "j-self"),
    ];
    Ok(boot(lab, "jobs_ordered", bundles)?.wait()?)
}

fn containers_are_started_after_those_that_they_name(lab: &Lab) -> Result<()> {
    let outcome = ORDERED.outcome(lab)?;
    let place = |id: &str, state: &str| {
        let is_it = |event: &Event| event.is_container(id, state);
        let place = outcome.events.iter().position(is_it);
        place.with_context(|| format!("{id} is not {state}"))
    };
    let order = [
        (place("c-first", "started")?, place("b-middle", "started")?),
        (place("b-middle", "started")?, place("a-last", "started")?),
        (
            place("d-fails", "failed")?,
            place("e-undaunted", "started")?,
        ),
        (
            place("d-wrong", "failed")?,
            place("e-undaunted", "started")?,
        ),
    ];
    ensure!(order.iter().all(|(first, then)| first < then), "{order:?}");
    // The stage is complete when all have begun.
    let is_stage =
        |event: &Event| event.name() == "stage" && field(event, "stage") == Some("containers");
    let stage = outcome
        .events
        .iter()
        .position(is_stage)
        .context("no stage")?;
    ensure!(place("a-last", "started")? < stage);
    for id in ["a-last", "b-middle", "c-first", "e-undaunted", "h-behind"] {
        Seen::new(&outcome, id).exited(0)?;
    }
    Ok(())
}

fn containers_that_wait_for_each_other_are_refused_and_hold_up_nobody(lab: &Lab) -> Result<()> {
    let outcome = ORDERED.outcome(lab)?;
    outcome.assert(Ended::PowerOff, 125)?;
    for (id, text) in [
        (
            "f-circle",
            "berth.after forms a cycle: f-circle, g-circle, f-circle",
        ),
        (
            "g-circle",
            "berth.after forms a cycle: g-circle, f-circle, g-circle",
        ),
        ("i-nobody", "berth.after: there is no container nobody"),
        ("j-self", "berth.after forms a cycle: j-self, j-self"),
    ] {
        let expected = format!("/containers/{id}/config.json: {text}");
        Seen::new(&outcome, id).failed("B051", &expected)?;
    }
    Seen::new(&outcome, "h-behind").exited(0)
}
