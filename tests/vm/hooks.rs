//! Hooks: each runs at its moment and in its place; those that fail; and that PID 1 waits for none.
//! One boot with all of them, and a short one in which the machine is to end while one hangs.

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk, field, warnings};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere every_hook_runs_at_its_moment_in_its_place,
    everywhere hooks_run_in_the_order_of_the_specification,
    once a_hook_that_fails_keeps_the_container_from_running,
    once a_late_hook_that_fails_is_a_warning,
    once others_start_and_end_while_a_hook_hangs,
    once a_hook_that_hangs_does_not_keep_the_machine_up,
    everywhere hooks_end_the_machine_as_it_should_end,
];

static BOOT: Shared = Shared::new(boot);
static HANGING: Shared = Shared::new(boot_hanging);

/// The program that hooks are, on the host and in a container.
const OUTSIDE: &str = "/containers/all/rootfs/bin/guest";
const INSIDE: &str = "/bin/guest";

/// A hook that prints its name, and does something.
fn hook(path: &str, name: &str, words: &[&str]) -> Value {
    let args: Vec<_> = ["guest", "hook", name]
        .into_iter()
        .chain(words.iter().copied())
        .collect();
    json!({ "path": path, "args": args })
}

fn hooked(id: &str, moment: &str, hook: Value) -> Bundle {
    Bundle::new(id).set("/hooks", json!({ moment: [hook] }))
}

/// All that are called `all`; each is named for its moment.
fn all() -> Bundle {
    Bundle::new("all")
        .annotation("org.example.note", "as-written")
        .set(
            "/hooks",
            json!({
                "prestart": [hook(OUTSIDE, "prestart", &[])],
                "createRuntime": [
                    hook(OUTSIDE, "createRuntime", &[]),
                    hook(OUTSIDE, "second", &["b", "c"]),
                ],
                "createContainer": [hook(OUTSIDE, "createContainer", &[])],
                "startContainer": [hook(INSIDE, "startContainer", &[])],
                // The program waits for this one.
                "poststart": [hook(OUTSIDE, "poststart", &["touch", "/containers/all/rootfs/go"])],
                "poststop": [hook(OUTSIDE, "poststop", &[])],
            }),
        )
        .runs([INSIDE, "wait-for", "/go"])
}

/// Containers that fail, and what is said of them.
fn failing() -> Vec<(Bundle, &'static str)> {
    let mut slow = hook(OUTSIDE, "slow", &["touch", "/run/slow", "stay"]);
    slow["timeout"] = json!(1);
    vec![
        (
            hooked(
                "bad-prestart",
                "prestart",
                hook(OUTSIDE, "bad-prestart", &["exit", "3"]),
            ),
            "run hook /containers/all/rootfs/bin/guest of prestart, which ended with status 3 for bad-prestart: ECANCELED",
        ),
        (
            hooked("no-hook", "createRuntime", json!({ "path": "/nowhere" })).set(
                "/hooks/poststop",
                json!([hook(OUTSIDE, "after-failure", &[])]),
            ),
            "run hook /nowhere of createRuntime for no-hook: ENOENT",
        ),
        (
            hooked(
                "bad-create",
                "createContainer",
                hook(OUTSIDE, "bad-create", &["exit", "4"]),
            ),
            "of createContainer, which ended with status 4 for bad-create: ECANCELED",
        ),
        (
            hooked(
                "bad-start",
                "startContainer",
                hook(INSIDE, "bad-start", &["exit", "5"]),
            ),
            "run hook /bin/guest of startContainer, which ended with status 5 for bad-start: ECANCELED",
        ),
        (
            hooked("slow", "createRuntime", slow),
            "of createRuntime for slow: ETIMEDOUT",
        ),
    ]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let late = ["poststart", "poststop"]
        .map(|moment| hooked(moment, moment, hook(OUTSIDE, moment, &["exit", "6"])));
    let bundles = [
        all(),
        // It is started before the next, and waits for its end.
        hooked(
            "blocked",
            "createRuntime",
            hook(OUTSIDE, "blocked", &["wait-for", "/run/free-has-ended"]),
        ),
        hooked(
            "free",
            "poststop",
            hook(OUTSIDE, "free", &["touch", "/run/free-has-ended"]),
        ),
    ];
    let failing = failing().into_iter().map(|(bundle, _)| bundle);
    let tree = disk::files(bundles.into_iter().chain(late).chain(failing))?;
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(256))?;
    Ok(lab
        .machine("hooks")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?)
}

/// What a hook of the first container said, from its state on.
fn said<'o>(outcome: &'o Outcome, name: &str) -> Result<&'o str> {
    let begin = format!("hook {name} of all ");
    let events = outcome
        .events
        .iter()
        .filter_map(|event| field(event, "line"));
    outcome
        .console
        .lines()
        .chain(events)
        .find_map(|line| Some(line.split_once(&begin)?.1.trim_end()))
        .with_context(|| format!("the hook {name} did not run"))
}

fn every_hook_runs_at_its_moment_in_its_place(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let outside = "here=/containers/all";
    for (name, status, place, rest, directory) in [
        (
            "prestart",
            "creating",
            "pid=true in=host its=other before-pivot=true",
            "",
            outside,
        ),
        (
            "createRuntime",
            "creating",
            "pid=true in=host its=other before-pivot=true",
            "",
            outside,
        ),
        (
            "second",
            "creating",
            "pid=true in=host its=other before-pivot=true",
            "b+c",
            outside,
        ),
        (
            "createContainer",
            "creating",
            "pid=true in=other its=other before-pivot=true",
            "",
            "here=",
        ),
        // It sees PID 1 of its own namespace.
        (
            "startContainer",
            "created",
            "pid=true in=host",
            "",
            "here=/",
        ),
        (
            "poststart",
            "running",
            "pid=true in=host its=other before-pivot=false",
            "touch",
            outside,
        ),
        (
            "poststop",
            "stopped",
            "pid=false in=host its=none before-pivot=false",
            "",
            outside,
        ),
    ] {
        let line = said(&outcome, name)?;
        let begin = format!("{status} {place} ");
        ensure!(line.starts_with(&begin), "{name}: {line}");
        ensure!(line.contains(" note=as-written "), "{name}: {line}");
        ensure!(line.contains(&format!(" args={rest}")), "{name}: {line}");
        ensure!(line.contains(directory), "{name}: {line}");
        let sees_host = name != "startContainer";
        ensure!(
            line.contains(&format!("sees-host={sees_host}")),
            "{name}: {line}"
        );
    }
    Seen::new(&outcome, "all").exited(0)
}

fn hooks_run_in_the_order_of_the_specification(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let place = |name| {
        let at = outcome.console.find(&format!("hook {name} of all "));
        at.with_context(|| format!("{name} is not on the console"))
    };
    let order = [
        "prestart",
        "createRuntime",
        "second",
        "createContainer",
        "poststart",
        "poststop",
    ];
    let places = order.map(place).into_iter().collect::<Result<Vec<_>>>()?;
    ensure!(places.is_sorted(), "{places:?}");
    // Before the program, whose events begin with it.
    let first = Seen::new(&outcome, "all")
        .lines()
        .next()
        .unwrap_or_default();
    ensure!(first.starts_with("hook startContainer"), "{first}");
    Ok(())
}

fn a_hook_that_fails_keeps_the_container_from_running(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (bundle, expected) in failing() {
        let seen = Seen::new(&outcome, bundle.id());
        seen.failed("B053", expected)?;
        ensure!(
            seen.lines().all(|line| line != bundle.id()),
            "its program ran"
        );
    }
    // What was made until then is to be taken away.
    let after = "hook after-failure of no-hook stopped pid=false";
    ensure!(outcome.console.contains(after), "no {after:?}");
    Ok(())
}

fn a_late_hook_that_fails_is_a_warning(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for moment in ["poststart", "poststop"] {
        Seen::new(&outcome, moment).exited(0)?;
        let reason = format!("of {moment}, which ended with status 6: ECANCELED");
        let expected = format!("{moment}: run hook ");
        let is_it = |text: &str| text.starts_with(&expected) && text.contains(&reason);
        let is_told = warnings(&outcome).into_iter().any(is_it);
        ensure!(is_told, "no warning {expected:?}");
        ensure!(outcome.console.contains(&reason), "no {reason:?}");
    }
    Ok(())
}

fn others_start_and_end_while_a_hook_hangs(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    // Had PID 1 waited for the hook, it would have waited for ever.
    let at = |id: &str, state: &str| {
        let mut events = outcome.events.iter();
        let at = events.position(|event| event.is_container(id, state));
        at.with_context(|| format!("{id} is not {state}"))
    };
    ensure!(at("free", "exited")? < at("blocked", "started")?);
    Seen::new(&outcome, "blocked").exited(0)
}

fn boot_hanging(lab: &Lab) -> Result<Outcome> {
    let hanging = hooked(
        "hanging",
        "createRuntime",
        hook(
            "/containers/hanging/rootfs/bin/guest",
            "hanging",
            &["touch", "/run/hangs", "stay"],
        ),
    );
    let last = Bundle::new("last")
        .annotation("berth.on-exit", "shutdown")
        .mount("/mnt", "bind", "/run", &["bind"])
        .runs([INSIDE, "wait-for", "/mnt/hangs"]);
    let root = disk::vfat([hanging, last])?;
    Ok(lab
        .machine("a_hook_that_hangs")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?)
}

fn a_hook_that_hangs_does_not_keep_the_machine_up(lab: &Lab) -> Result<()> {
    let outcome = HANGING.outcome(lab)?;
    Seen::new(&outcome, "last").exited(0)?;
    let words = "berth, which starts it, was ended by signal 15";
    Seen::new(&outcome, "hanging").failed("B057", words)?;
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}

fn hooks_end_the_machine_as_it_should_end(lab: &Lab) -> Result<()> {
    Ok(BOOT.outcome(lab)?.assert(Ended::PowerOff, 125)?)
}
