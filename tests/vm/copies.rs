//! Machines that are copied while they run: frozen, saved, and two of them go on.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Image};
use berth_qemu::vm::{Builder, Ended, Event, Vm};
use berth_tests::{Bundle, Lab, MODULES, disk, field, line};
use serde_json::{Value, json};

use crate::fsck::{ext4_is_clean, partition};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere copies_of_a_frozen_machine_differ_from_their_first_line,
    everywhere frozen_machine_goes_on_and_ends_in_order,
];

/// The codes that are provoked here.
pub(crate) const PROVOKED: &[&str] = &["B078"];

/// In 2001, when the machine is copied.
const THEN: u64 = 1_000_000_000;

/// In 2033, which one of the copies is told.
const TOLD: u64 = 2_000_000_000;

/// How late a line may come on a busy host, in seconds.
const LATE: u64 = 90;

/// A container that prints an id and the time.
fn ticker() -> Bundle {
    Bundle::new("ticker")
        .mount("/dev", "", "/dev", &["rbind"])
        .runs(["/bin/guest", "draw"])
}

/// The machine that is copied, and each of its copies.
fn machine(lab: &Lab, name: &str, image: &Image, root: &Path) -> Builder {
    lab.machine_with(name, image)
        .append("root=/dev/vda1")
        .blk(root)
        .control()
        .arguments(["-object", "rng-random,id=rng0,filename=/dev/urandom"])
        .arguments(["-device", "virtio-rng-pci,rng=rng0"])
}

fn image(lab: &Lab) -> Result<Image> {
    let spec = lab.spec()?.load(MODULES).load(["virtio_rng"]);
    spec.build(Compression::Zstd)
}

/// What a line of the ticker says.
fn tick(event: &Event) -> Option<(String, u64)> {
    let (id, time) = line(event)
        .filter(|(id, _)| *id == "ticker")?
        .1
        .split_once(' ')?;
    Some((id.to_owned(), time.parse().ok()?))
}

/// The first line of the ticker that is so.
fn first_tick(vm: &Vm, is_it: impl Fn(u64) -> bool) -> Result<(String, u64)> {
    let find = |events: &[Event]| {
        let mut ticks = events.iter().filter_map(tick);
        ticks.find(|(_, time)| is_it(*time))
    };
    Ok(vm.expect_that("a line of the ticker", find)?)
}

fn event(vm: &Vm, name: &str) -> Result<Event> {
    Ok(vm.expect_event(name)?)
}

fn copies_of_a_frozen_machine_differ_from_their_first_line(lab: &Lab) -> Result<()> {
    let image = image(lab)?;
    let root = disk::ext4([ticker()])?;
    let original = machine(lab, "copies_of_a_frozen_machine", &image, root.as_ref()).start()?;
    first_tick(&original, |_| true)?;
    let mut client = original.control()?;
    let seconds = THEN.to_string();
    let args = ["/bin/guest", "set-clock", &seconds];
    let ran = client.exec(json!({ "container": "ticker", "args": args }), b"")?;
    ensure!(ran.status == 0, "{ran:?}");
    first_tick(&original, |time| time < THEN + LATE)?;

    let refusal = client.refused(json!({ "do": "thaw" }))?;
    ensure!(refusal.code == "B078", "{refusal:?}");
    client.ask(json!({ "do": "freeze" }))?;
    let frozen = event(&original, "frozen")?;
    ensure!(
        frozen.raw["containers"] == 1 && frozen.raw["filesystems"] == 1,
        "{:?}",
        frozen.raw
    );
    for request in [
        json!({ "do": "freeze" }),
        json!({ "do": "stop", "container": "ticker" }),
        json!({ "do": "restart", "container": "ticker" }),
    ] {
        let refusal = client.refused(request)?;
        ensure!(refusal.code == "B078", "{refusal:?}");
    }
    drop(client);
    // All that was written is on the disk, as if the filesystem had been unmounted.
    ext4_is_clean(&partition(&original.disk(0), 0)?)?;
    let saved = original.disk(0).with_extension("saved");
    original.save(&saved)?;

    let told = json!({ "do": "thaw", "time": TOLD * 1_000_000_000, "entropy": "YmVydGg=" });
    let (first, time, generation) = copy(lab, &original, &saved, "told", told, ["given"; 2])?;
    ensure!((TOLD..TOLD + LATE).contains(&time), "it was {time}");
    let own = ["rtc", "hwrng"];
    let begun = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (second, time, other) = copy(lab, &original, &saved, "own", json!({ "do": "thaw" }), own)?;
    ensure!(
        (begun - 2..begun + LATE).contains(&time),
        "it was {time}, at {begun}"
    );
    ensure!(first != second, "both drew {first}");
    ensure!(generation != other, "both are {generation}");
    Ok(())
}

/// One copy, from its thaw to its end: the first line of its ticker, and its generation.
fn copy(
    lab: &Lab,
    original: &Vm,
    saved: &Path,
    name: &str,
    thaw: Value,
    [clock, entropy]: [&str; 2],
) -> Result<(String, u64, String)> {
    let name = format!("copies_of_a_frozen_machine.{name}");
    let vm = machine(lab, &name, &image(lab)?, &original.disk(0))
        .saved(saved)
        .start()?;
    let mut client = vm.control()?;
    client.ask(thaw)?;
    let thawed = event(&vm, "thawed")?;
    ensure!(
        thawed.raw["clock"] == clock && thawed.raw["entropy"] == entropy,
        "{:?}",
        thawed.raw
    );
    let (id, time) = first_tick(&vm, |_| true)?;
    client.ask(json!({ "do": "poweroff" }))?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    // Nothing ran before the machine was another one.
    let place = |is_it: &dyn Fn(&Event) -> bool| outcome.events.iter().position(is_it);
    let order = [
        place(&|event| event.name() == "thawed"),
        place(&|event| tick(event).is_some()),
    ];
    ensure!(order[0] < order[1] && order[0].is_some(), "{order:?}");
    ext4_is_clean(&partition(&vm.disk(0), 0)?)?;
    let generation = field(&thawed, "generation").context("no generation")?;
    Ok((id, time, generation.to_owned()))
}

/// By request, and at the end of the machine: it is not asked then.
fn frozen_machine_goes_on_and_ends_in_order(lab: &Lab) -> Result<()> {
    let bundles = [
        Bundle::new("polite").runs(["/bin/guest", "until-asked"]),
        Bundle::new("writer")
            .runs(["/bin/guest", "write-on", "/tmp"])
            .annotation("berth.stop-timeout", "1"),
    ];
    let vm = lab
        .machine("frozen_machine_goes_on")?
        .append("root=/dev/vda1")
        .blk(&disk::ext4(bundles)?)
        .control()
        .start()?;
    for (id, text) in [("polite", "waiting"), ("writer", "writing")] {
        vm.expect("both to run", |event| line(event) == Some((id, text)))?;
    }
    let mut client = vm.control()?;
    client.ask(json!({ "do": "freeze" }))?;
    client.ask(json!({ "do": "thaw" }))?;
    client.ask(json!({ "do": "freeze" }))?;
    client.ask(json!({ "do": "poweroff" }))?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let seen: Vec<_> = outcome
        .events
        .iter()
        .filter_map(|event| match (event.name(), line(event)) {
            ("output", Some(("polite", text))) => Some(text),
            ("frozen" | "thawed" | "warning", _) => Some(event.name()),
            _ => None,
        })
        .collect();
    let expected = [
        "waiting",
        "frozen",
        // Nobody has given entropy, and it has no device for that.
        "warning",
        "thawed",
        "frozen",
        "warning",
        "thawed",
        "asked to end",
    ];
    ensure!(seen == expected, "{seen:?}");
    ext4_is_clean(&partition(&vm.disk(0), 0)?)
}
