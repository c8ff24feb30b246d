//! Containers that require others (`berth.requires`), and when those are ready (`berth.ready`).

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::vm::{Ended, Event, Outcome, Vm};
use berth_tests::{Bundle, Lab, MODULES, Seen, Shared, disk, line};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere containers_are_started_when_those_that_they_require_are_ready,
    once container_is_not_started_if_what_it_requires_cannot_become_ready,
    once circles_of_order_and_requirement_are_refused,
    everywhere container_that_is_started_again_has_to_say_again_that_it_is_ready,
    everywhere flood_of_messages_keeps_nobody,
    everywhere machine_ends_while_containers_wait_for_what_is_not_ready,
    once readiness_that_nobody_hears_of_is_given_up,
];

static SETTLED: Shared = Shared::new(boot_settled);
static STEERED: Shared = Shared::new(boot_steered);

fn boot(lab: &Lab, name: &str, bundles: Vec<Bundle>) -> Result<Vm> {
    let spec = lab.spec()?.load(MODULES);
    let root = Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, disk::files(bundles)?).mib(700))
        .build()?;
    lab.machine_with(name, &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda1")
        .blk(&root)
        .start()
}

fn ready(id: &str, when: &str) -> Bundle {
    Bundle::new(id).annotation("berth.ready", when)
}

fn requires(id: &str, others: &str) -> Bundle {
    Bundle::new(id).annotation("berth.requires", others)
}

/// Each kind of readiness, and each way to miss it. All end by themselves.
fn boot_settled(lab: &Lab) -> Result<Outcome> {
    let after = |bundle: Bundle, others| bundle.annotation("berth.after", others);
    let bundles = vec![
        ready("migrates", "exited")
            .annotation("berth.restart", "on-failure")
            .runs(["/bin/guest", "attempt", "3", "/tmp/attempts"]),
        requires("a-migrated", "migrates"),
        ready("says", "notify").runs(["/bin/guest", "notify", "STATUS=up", "A=1\nREADY=1"]),
        requires("a-told", "says"),
        ready("makes", "path:/tmp/there/far/ready")
            .directory("tmp")
            .runs(["/bin/guest", "make", "/tmp/there/far/ready"]),
        requires("a-made", "makes"),
        ready("mounts", "path:/mnt/ready").directory("mnt").runs([
            "/bin/guest",
            "make",
            "/mnt/ready",
            "mount",
        ]),
        requires("a-mounted", "mounts"),
        requires("a-both", "starts,migrates"),
        Bundle::new("starts"),
        // What cannot be.
        Bundle::new("d-fails").runs(["/bin/nothing"]),
        requires("e-needs", "starts,d-fails"),
        requires("e-needs-needy", "e-needs"),
        after(Bundle::new("e-undaunted"), "e-needs"),
        Bundle::new("d-wrong").text("{"),
        requires("e-needs-wrong", "d-wrong"),
        ready("d-bad", "exited").runs(["/bin/guest", "exit", "7"]),
        requires("e-needs-good", "d-bad"),
        ready("d-silent", "notify").runs(["/bin/guest", "notify", "READY=2"]),
        requires("e-needs-word", "d-silent"),
        ready("d-lazy", "path:/tmp/never"),
        requires("e-needs-file", "d-lazy"),
        requires("f-nobody", "starts,nobody"),
        requires("f-network", "network"),
        requires("g-circle", "h-circle"),
        after(Bundle::new("h-circle"), "g-circle"),
        requires("i-circle", "j-circle"),
        requires("j-circle", "i-circle"),
        requires("k-behind", "g-circle"),
        requires("l-self", "l-self"),
    ];
    Ok(boot(lab, "order_settled", bundles)?.wait()?)
}

fn place(outcome: &Outcome, id: &str, state: &str) -> Result<usize> {
    let is_it = |event: &Event| event.is_container(id, state);
    let place = outcome.events.iter().position(is_it);
    place.with_context(|| format!("{id} is not {state}"))
}

fn containers_are_started_when_those_that_they_require_are_ready(lab: &Lab) -> Result<()> {
    let outcome = SETTLED.outcome(lab)?;
    for (other, id) in [
        ("migrates", "a-migrated"),
        ("says", "a-told"),
        ("makes", "a-made"),
        ("mounts", "a-mounted"),
    ] {
        let ready = place(&outcome, other, "ready")?;
        ensure!(place(&outcome, other, "started")? < ready, "{other}");
        ensure!(ready < place(&outcome, id, "started")?, "{id}");
        Seen::new(&outcome, id).exited(0)?;
    }
    // It took its tries.
    let tries = Seen::new(&outcome, "migrates").facts("attempt");
    ensure!(tries == ["1", "2", "3"], "{tries:?}");
    ensure!(place(&outcome, "starts", "ready").is_err());
    let both = ["starts", "migrates"].into_iter().zip(["started", "ready"]);
    for (id, state) in both {
        ensure!(
            place(&outcome, id, state)? < place(&outcome, "a-both", "started")?,
            "{id}"
        );
    }
    Seen::new(&outcome, "a-both").exited(0)
}

fn container_is_not_started_if_what_it_requires_cannot_become_ready(lab: &Lab) -> Result<()> {
    let outcome = SETTLED.outcome(lab)?;
    for (id, other, why) in [
        ("e-needs", "d-fails", "d-fails is not started"),
        ("e-needs-needy", "e-needs", "e-needs is not started"),
        ("e-needs-wrong", "d-wrong", "d-wrong is not started"),
        (
            "e-needs-good",
            "d-bad",
            "d-bad ended with status 7, and is not ready",
        ),
        (
            "e-needs-word",
            "d-silent",
            "d-silent ended with status 0, and is not ready",
        ),
        (
            "e-needs-file",
            "d-lazy",
            "d-lazy ended with status 0, and is not ready",
        ),
        ("k-behind", "g-circle", "g-circle is not started"),
        ("f-network", "network", "no ip= sets the network up"),
    ] {
        let expected = format!("wait for {other}, which {id} requires: {id} is not started: {why}");
        Seen::new(&outcome, id).failed("B059", &expected)?;
    }
    // To be started after it is no requirement.
    Seen::new(&outcome, "e-undaunted").exited(0)?;
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}

fn circles_of_order_and_requirement_are_refused(lab: &Lab) -> Result<()> {
    let outcome = SETTLED.outcome(lab)?;
    let both = "berth.after and berth.requires form a cycle";
    let one = "berth.requires forms a cycle";
    for (id, text) in [
        (
            "f-nobody",
            "berth.requires: there is no container nobody".to_owned(),
        ),
        ("g-circle", format!("{both}: g-circle, h-circle, g-circle")),
        ("h-circle", format!("{both}: h-circle, g-circle, h-circle")),
        ("i-circle", format!("{one}: i-circle, j-circle, i-circle")),
        ("j-circle", format!("{one}: j-circle, i-circle, j-circle")),
        ("l-self", format!("{one}: l-self, l-self")),
    ] {
        let expected = format!("/containers/{id}/config.json: {text}");
        Seen::new(&outcome, id).failed("B051", &expected)?;
    }
    Ok(())
}

/// Containers that do what is asked for at the console.
fn boot_steered(lab: &Lab) -> Result<Outcome> {
    let stays = |bundle: Bundle| bundle.runs(["/bin/guest", "until-asked"]);
    let steers = Bundle::new("a-steers")
        .annotation("berth.console", "true")
        .mount("/c", "", "/containers", &["rbind"])
        .directory("c")
        .namespaces(&["mount"])
        .set("/hostname", serde_json::Value::Null)
        .runs(["/bin/guest", "steer"]);
    let bundles = vec![
        steers,
        ready("db", "notify")
            .annotation("berth.restart", "on-failure:1")
            .runs(["/bin/guest", "serve"]),
        stays(ready("slow", "path:/srv/link/ready").directory("srv")),
        requires("web", "db,slow"),
        requires("witness", "slow"),
        stays(ready("mute", "notify")),
        requires("waits", "mute"),
        stays(ready("deaf", "notify")),
        requires("needs-deaf", "deaf"),
        ready("noisy", "notify").runs(["/bin/guest", "be-flooded"]),
        requires("hears", "noisy"),
        // Its flood outlives its first process.
        ready("unheard", "notify")
            .namespaces(&["mount"])
            .set("/hostname", serde_json::Value::Null)
            .runs(["/bin/guest", "be-flooded", "unready"]),
        requires("hears-not", "unheard"),
    ];
    let vm = boot(lab, "order_steered", bundles)?;
    let mut read = vm.expect_console("steering")?;
    let mut steer = |line: &str| -> Result<()> {
        vm.send_console(format!("{line}\n").as_bytes())?;
        read = vm.expect_console_after(read, &format!("did {line}"))?;
        Ok(())
    };
    let times = |id: &'static str, state: &'static str, count: usize| {
        vm.expect_that(
            &format!("{id} to be {state}, time {count}"),
            move |events| {
                let is_it = |event: &&Event| event.is_container(id, state);
                (events.iter().filter(is_it).count() >= count).then_some(())
            },
        )
    };
    let tricked = |count: usize| {
        vm.expect_that(&format!("db to be there, time {count}"), move |events| {
            let tricked = |event: &&Event| line(event) == Some(("db", "tricked"));
            (events.iter().filter(tricked).count() >= count).then_some(())
        })
    };
    tricked(1)?;
    steer("file /c/db/rootfs/tmp/say")?;
    times("db", "ready", 1)?;
    // It is not ready any more when the other is at last.
    steer("file /c/db/rootfs/tmp/fail")?;
    tricked(2)?;
    steer("link ../made/later /c/slow/rootfs/srv/link")?;
    steer("file /c/slow/rootfs/made/other")?;
    steer("file /c/slow/rootfs/made/later/other")?;
    steer("weigh slow")?;
    steer("weigh mute")?;
    steer("file /c/slow/rootfs/made/later/ready")?;
    times("witness", "exited", 1)?;
    steer("file /c/db/rootfs/tmp/say")?;
    times("web", "exited", 1)?;
    steer("file /c/db/rootfs/tmp/fail")?;
    times("db", "exited", 2)?;
    steer("kill deaf")?;
    times("needs-deaf", "failed", 1)?;
    times("hears", "exited", 1)?;
    times("hears-not", "failed", 1)?;
    vm.ctrl_alt_delete()?;
    Ok(vm.wait()?)
}

fn container_that_is_started_again_has_to_say_again_that_it_is_ready(lab: &Lab) -> Result<()> {
    let outcome = STEERED.outcome(lab)?;
    let of_db = |state| {
        let is_it = move |(_, event): &(usize, &Event)| event.is_container("db", state);
        let places = outcome.events.iter().enumerate().filter(is_it);
        places.map(|(place, _)| place).collect::<Vec<_>>()
    };
    let (started, ready) = (of_db("started"), of_db("ready"));
    ensure!(
        ready.len() == 2 && started.len() == 2,
        "{started:?} {ready:?}"
    );
    let witness = place(&outcome, "witness", "started")?;
    let order = [started[0], ready[0], started[1], witness, ready[1]];
    ensure!(order.is_sorted(), "{order:?}");
    ensure!(place(&outcome, "slow", "ready")? < witness);
    ensure!(ready[1] < place(&outcome, "web", "started")?);
    Ok(())
}

fn flood_of_messages_keeps_nobody(lab: &Lab) -> Result<()> {
    let outcome = STEERED.outcome(lab)?;
    ensure!(place(&outcome, "noisy", "ready")? < place(&outcome, "hears", "started")?);
    Seen::new(&outcome, "noisy").exited(0)?;
    Seen::new(&outcome, "unheard").exited(0)?;
    let why = "unheard ended with status 0, and is not ready";
    Seen::new(&outcome, "hears-not").failed("B059", why)
}

fn machine_ends_while_containers_wait_for_what_is_not_ready(lab: &Lab) -> Result<()> {
    let outcome = STEERED.outcome(lab)?;
    Seen::new(&outcome, "mute").exited(5)?;
    ensure!(place(&outcome, "mute", "ready").is_err());
    for state in ["started", "failed"] {
        ensure!(place(&outcome, "waits", state).is_err(), "it is {state}");
    }
    // That of the first that failed.
    Ok(outcome.assert(Ended::Reboot, 7)?)
}

fn readiness_that_nobody_hears_of_is_given_up(lab: &Lab) -> Result<()> {
    let outcome = STEERED.outcome(lab)?;
    let why = "nobody hears any more whether deaf is ready";
    Seen::new(&outcome, "needs-deaf").failed("B059", why)?;
    // It runs on, until the machine ends.
    Seen::new(&outcome, "deaf").exited(5)
}
