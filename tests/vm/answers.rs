//! `berth`, which starts and ends containers for PID 1, in all the ways in which it can be broken:
//! it costs the one start, and PID 1 goes on.

use std::time::Duration;

use anyhow::{Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, MODULES, Seen, Shared, disk, guest};
use serde_json::Value;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere broken_answers_cost_the_start_that_they_are_about,
    everywhere start_that_is_killed_at_any_moment_is_a_failure_or_none,
    everywhere nothing_is_left_of_starts_that_were_killed,
    everywhere others_run_beside_broken_ones,
    once image_without_berth_is_told_so_before_the_switch,
    once berth_may_be_on_the_root,
    everywhere command_works_on_what_pid_1_has_started,
];

/// The codes that are seen here.
pub(crate) const PROVOKED: &[&str] = &["B056", "B057"];

/// The ways to be broken, by the container's name, and what is said of them.
const WAYS: [(&str, &str); 22] = [
    ("silent", "ended with status 3"),
    ("crashes", "was ended by signal 11"),
    ("hangs", "has not answered for too long"),
    ("nonsense", NONSENSE),
    ("long", NONSENSE),
    ("early", NONSENSE),
    ("policy-only", "ended with status 3"),
    ("policy-twice", NONSENSE),
    ("dies-after-go", "was ended by signal 11"),
    ("starts-pid-1", NONSENSE),
    ("names-kernel-thread", FOREIGN),
    ("names-itself", FOREIGN),
    ("names-nobody", FOREIGN),
    ("names-other", FOREIGN),
    ("names-other-early", FOREIGN),
    ("names-two", FOREIGN),
    ("names-orphan", FOREIGN),
    ("group-of-root", NONSENSE),
    ("group-without-descriptor", NONSENSE),
    ("warning-with-descriptor", NONSENSE),
    ("dies-with-group", "was ended by signal 11"),
    ("warns", "ended with status 3"),
];

const NONSENSE: &str = "has answered what cannot be understood";

const FOREIGN: &str = "has named a process that it has not made";

/// After so many milliseconds. An emulated machine takes about a hundred for a start.
const KILLED_AFTER: [u32; 10] = [1, 5, 10, 20, 30, 45, 60, 90, 130, 200];

static BOOT: Shared = Shared::new(boot);

fn boot(lab: &Lab) -> Result<Outcome> {
    let broken = WAYS.map(|(id, _)| Bundle::new(id));
    let killed = KILLED_AFTER.map(|time| Bundle::new(&format!("killed-{time}")));
    let observer = Bundle::new("good-observer")
        .mount("/records", "", "/run/berth", &["rbind"])
        .mount("/groups", "", "/sys/fs/cgroup/berth", &["rbind"])
        .runs(["/bin/guest", "nothing-left", "/records", "/groups"]);
    let bundles = broken.into_iter().chain(killed);
    let bundles = bundles.chain([Bundle::new("good"), observer]);
    let tree = disk::files(bundles)?.copy(lab.berth.clone(), "bin/berth");
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(700))?;
    let spec = lab.spec()?.berth(guest()?).load(MODULES);
    let image = spec.build(Compression::Zstd)?;
    let vm = lab
        .machine_with("answers", &image)
        .append("root=/dev/vda1")
        // The program is ten times as large as the one that it stands for.
        .memory(512)
        .deadline(Duration::from_secs(400))
        // One of them hangs for a minute, and nobody says anything meanwhile.
        .silence(Duration::from_secs(200))
        .blk(&root)
        .start()?;
    Ok(vm.wait()?)
}

fn broken_answers_cost_the_start_that_they_are_about(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (id, why) in WAYS {
        Seen::new(&outcome, id).failed("B057", why)?;
    }
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}

fn start_that_is_killed_at_any_moment_is_a_failure_or_none(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let mut failed = 0;
    for time in KILLED_AFTER {
        let id = format!("killed-{time}");
        let seen = Seen::new(&outcome, &id);
        match seen.state("failed") {
            Some(_) => {
                seen.failed("B057", "was ended by signal 9")?;
                failed += 1;
            }
            None => seen.exited(0)?,
        }
    }
    ensure!(failed > 0, "none was killed in time");
    Ok(())
}

fn nothing_is_left_of_starts_that_were_killed(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let observer = Seen::new(&outcome, "good-observer");
    observer.printed("left nothing in /records")?;
    observer.printed("left nothing in /groups")
}

fn others_run_beside_broken_ones(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let good = Seen::new(&outcome, "good");
    good.printed("good")?;
    good.exited(0)
}

/// The root has a directory of bundles, so there is something to start.
fn image_without_berth_is_told_so_before_the_switch(lab: &Lab) -> Result<()> {
    let image = lab.spec()?.omit("/usr/lib/berth").load(MODULES);
    let vm = lab
        .machine_with("without_berth", &image.build(Compression::Zstd)?)
        .append("root=/dev/vda1")
        .blk(&disk::ext4([Bundle::new("one")])?)
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 125)?;
    let mut events = outcome.events.iter();
    ensure!(events.any(|event| event.is_failure("B056")), "no B056");
    let has_switched = outcome.events.iter().any(|event| event.name() == "switch");
    ensure!(!has_switched, "it is on the new root");
    Ok(())
}

fn berth_may_be_on_the_root(lab: &Lab) -> Result<()> {
    let image = lab.spec()?.omit("/usr/lib/berth").load(MODULES);
    let tree = disk::files([Bundle::new("one")])?.copy(lab.berth.clone(), "usr/lib/berth/berth");
    let vm = lab
        .machine_with("berth_on_the_root", &image.build(Compression::Zstd)?)
        .append("root=/dev/vda1")
        .blk(&disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree))?)
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    Seen::new(&outcome, "one").printed("one")
}

/// By an operator who sees the machine's processes, groups and records.
fn command_works_on_what_pid_1_has_started(lab: &Lab) -> Result<()> {
    let operator = Bundle::new("operator")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .mount("/run/berth", "", "/run/berth", &["rbind"])
        .mount("/sys/fs/cgroup", "", "/sys/fs/cgroup", &["rbind"])
        .directory("run/berth")
        .directory("sys/fs/cgroup")
        .runs(["/bin/guest", "operate", "web"]);
    let web = Bundle::new("web").runs(["/bin/guest", "stay"]);
    let tree = disk::files([operator, web])?;
    let tree = tree.copy(lab.berth.clone(), "containers/operator/rootfs/bin/berth");
    let vm = lab
        .machine("command_works_on_what_pid_1_has_started")?
        .append("root=/dev/vda1")
        .blk(&disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree))?)
        .start()?;
    let outcome = vm.wait()?;
    let operator = Seen::new(&outcome, "operator");
    for line in [
        "status running",
        "listed operator,web",
        "exec inside",
        "status paused",
        "limit 77",
        "events true",
        "gone web",
    ] {
        operator.printed(line)?;
    }
    operator.exited(0)?;
    Ok(outcome.assert(Ended::PowerOff, 128 + 9)?)
}
