//! Months of a machine in one run, with a look at PID 1 after each round: what it has, and how long
//! it takes to answer, is at the end what it was at the beginning.
//!
//! The machine counts instructions, and its clock leaps over what nobody does: months of rest, and
//! the delays before restarts, take little of the host's time, and the time that something takes is
//! the number of its instructions. What is done in a round is in `tests/guest/src/soak.rs`.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass};
use berth_qemu::disk::{Disk, DiskImage, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Bus, Drive, Ended, Event, Vm};
use berth_tests::{Bundle, Lab, disk, field, line};
use serde_json::{Map, Value, json};

use super::chart::{self, Figure};
use super::{directory, of, share};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once pid_1_is_after_months_what_it_was_after_days,
];

/// All of it. Beside the containers that are started by request, one is restarted by its policy,
/// after a minute each time: in all these days 86,400 times.
const STARTS: u32 = 20_000;
const ORPHANS: u32 = 1_000_000;
const DISKS: u32 = 2_000;
const CLIENTS: u32 = 10_000;
const MIB_OF_OUTPUT: u32 = 100;
const DAYS: u32 = 60;

/// In so many rounds, or in so few.
const ROUNDS: u32 = 100;
const ROUNDS_LEAST: u32 = 10;

/// The share from which on there are many, and days of rest. In a short run a round has a minute of
/// it: rest is not for nothing either.
const IS_LONG: f64 = 0.005;

/// How many containers are started together.
const TOGETHER: usize = 8;

/// As many disks as come at once, at most.
const DISKS_AT_ONCE: u32 = 20;

/// What disks are attached to, one after the other.
const BUSES: [Bus; 4] = [Bus::Scsi, Bus::Blk, Bus::Scsi, Bus::Nvme];

/// Nothing is said while orphans are made.
const SILENCE: Duration = Duration::from_secs(900);

/// What is looked at, and by how much it may be more in the last tenth than in the second.
const FIGURES: [Figure; 8] = [
    Figure::new("rss", "memory of PID 1, KiB", 0.03),
    Figure::new("dirty", "memory that PID 1 has changed, KiB", 0.03),
    Figure::new("descriptors", "descriptors of PID 1", 0.0),
    Figure::new("mounts", "mounts of the machine", 0.0),
    Figure::new(
        "answer",
        "instructions from a request to PID 1's answer",
        0.03,
    ),
    Figure::new("turn", "of these, PID 1's", 0.03),
    // A ring of lines or events has a second file when the first is full.
    Figure::new("run", "files in /run", 0.03),
    Figure::new("groups", "control groups", 0.0),
];

/// What a round has.
struct Round {
    rounds: u32,
    starts: u32,
    orphans: u32,
    disks: u32,
    clients: u32,
    bytes: u32,
    minutes: u32,
}

impl Round {
    fn of_share(share: f64) -> Self {
        let is_long = share >= IS_LONG;
        let rounds = if is_long { ROUNDS } else { ROUNDS_LEAST };
        let each = |all: u32| of(share / f64::from(rounds), all);
        Self {
            rounds,
            starts: each(STARTS),
            orphans: each(ORPHANS),
            disks: each(DISKS).min(DISKS_AT_ONCE),
            clients: each(CLIENTS),
            bytes: each(MIB_OF_OUTPUT << 20),
            minutes: if is_long { each(DAYS * 24 * 60) } else { 1 },
        }
    }

    fn bundles(&self) -> Vec<Bundle> {
        let words = [
            ("rounds", self.rounds),
            ("starts", self.starts),
            ("orphans", self.orphans),
            ("clients", self.clients),
            ("minutes", self.minutes),
        ];
        let words = words.map(|(name, number)| format!("{name}={number}"));
        let program = ["/bin/guest", "soak"].into_iter();
        let conductor = Bundle::new("conductor")
            .namespaces(&["mount", "uts"])
            .annotation("berth.on-exit", "shutdown")
            .runs(program.chain(words.iter().map(String::as_str)));
        let brief = |id: &str| {
            Bundle::new(id)
                .shares("conductor")
                .runs(["/bin/guest", "exit", "0"])
        };
        let mut bundles = vec![
            conductor,
            brief("restless").annotation("berth.restart", "always"),
            brief("talker").runs(["/bin/guest", "print", &self.bytes.to_string()]),
        ];
        bundles.extend((0..TOGETHER).map(|number| brief(&format!("brief-{number}"))));
        bundles
    }
}

fn boot(lab: &Lab, round: &Round) -> Result<Vm> {
    let root = tempfile::tempdir()?;
    disk::files(round.bundles())?.make(root.path())?;
    let image = lab
        .spec()?
        .load(["virtio_pci", "virtio_console"])
        .for_devices([DeviceClass::Virtio, DeviceClass::Nvme])
        .for_filesystems(["vfat", "ext4"])
        .root_archive(root.path())
        .build(Compression::Zstd)?;
    lab.machine_with("soak_months", &image)
        .append("quiet root=tmpfs berth.automount=/media")
        .control()
        .patient()
        .silence(SILENCE)
        .counted()
        .start()
}

/// What has happened so far.
#[derive(Default)]
struct Counts {
    starts: u64,
    orphans: u64,
    disks: u64,
    lines: u64,
    dropped: u64,
}

impl Counts {
    /// # Errors
    /// Something has gone wrong.
    fn add(&mut self, event: &Event) -> Result<()> {
        let number = |name: &str| event.raw[name].as_u64().unwrap_or(0);
        let text = field(event, "text").unwrap_or_default();
        match (event.name(), field(event, "state")) {
            // That is how disks are that were pulled out.
            ("warning", _) if text.contains(" was not unmounted cleanly") => {}
            ("warning" | "failure", _) => anyhow::bail!("{}", event.raw),
            ("disk" | "container", Some("failed")) => anyhow::bail!("{}", event.raw),
            ("container", Some("started")) => self.starts += 1,
            ("disk", Some("mounted")) => self.disks += 1,
            ("dropped", _) => self.dropped += number("lines"),
            ("output", _) => {
                self.lines += 1;
                let made = line(event).and_then(|(_, line)| line.strip_prefix("orphans "));
                self.orphans += made.map_or(Ok(0), str::parse)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn put(&self, sample: &mut Map<String, Value>) {
        for (name, count) in [
            ("started", self.starts),
            ("orphans", self.orphans),
            ("disks", self.disks),
            ("lines", self.lines),
            ("dropped", self.dropped),
        ] {
            sample.insert(name.to_owned(), count.into());
        }
    }
}

fn image(label: &str) -> Result<DiskImage> {
    Disk::bare(Fs::vfat(label, 0x50a4_0001, Tree::new()).mib(1)).build()
}

/// All disks come, are mounted, and go.
fn storm(vm: &mut Vm, names: &mut Vec<String>, round: &Round) -> Result<()> {
    if names.is_empty() {
        let image = image("STORM")?;
        for bus in BUSES.into_iter().cycle().take(round.disks as usize) {
            names.push(vm.plug(Drive::on_bus(bus, &image))?);
        }
    } else {
        names.iter().try_for_each(|name| vm.replug(name))?;
    }
    let all = |vm: &Vm, state: &str| {
        vm.expect_that(&format!("all disks to be {state}"), |events| {
            let disks = events.iter().filter(|event| event.name() == "disk");
            let such = disks.filter(|event| field(event, "state") == Some(state));
            (such.count() >= names.len()).then_some(())
        })
    };
    all(vm, "mounted")?;
    names.iter().try_for_each(|name| vm.unplug(name))?;
    all(vm, "gone")?;
    Ok(())
}

fn says(event: &Event, text: &str) -> bool {
    line(event).is_some_and(|(id, line)| id == "conductor" && line.starts_with(text))
}

fn pid_1_is_after_months_what_it_was_after_days(lab: &Lab) -> Result<()> {
    let share = share()?;
    let round = Round::of_share(share);
    let mut vm = boot(lab, &round)?;
    let mut client = vm.control()?.patience(SILENCE);
    let mut kept = File::create(directory()?.join("months.jsonl"))?;
    let (mut disks, mut counts, mut samples) = (Vec::new(), Counts::default(), Vec::new());
    for number in 0..round.rounds {
        let begin = format!("storm {number}");
        vm.expect(&begin, |event| says(event, &begin))?;
        storm(&mut vm, &mut disks, &round)?;
        client.ask(json!({ "do": "kill", "container": "conductor", "signal": "USR1" }))?;
        let is_end = |event: &Event| says(event, "sample ");
        let sample = vm.expect(&format!("the figures of round {number}"), is_end)?;
        for event in vm.take_events(is_end) {
            counts.add(&event)?;
        }
        let text = line(&sample).and_then(|(_, line)| line.strip_prefix("sample "));
        let mut sample: Map<String, Value> = serde_json::from_str(text.unwrap_or_default())?;
        counts.put(&mut sample);
        writeln!(kept, "{}", json!(sample))?;
        samples.push(sample);
    }
    vm.wait()?.assert(Ended::PowerOff, 0)?;
    let last = samples.last().context("no figures")?;
    let starts = (round.starts + round.minutes.saturating_sub(2)) * round.rounds;
    ensure!(last["started"].as_u64() >= Some(starts.into()));
    ensure!(last["orphans"].as_u64() >= Some((round.orphans * round.rounds).into()));
    ensure!(last["disks"].as_u64() == Some((round.disks * round.rounds).into()));
    let chart = directory()?.join("months.svg");
    let hours = last["seconds"].as_u64().unwrap_or(0) / 3600;
    let title = format!(
        "PID 1 over {} starts, {} orphans, {} disks and {} lines of output in {} days {} hours",
        last["started"],
        last["orphans"],
        last["disks"],
        last["lines"],
        hours / 24,
        hours % 24
    );
    chart::draw(&chart, &title, &FIGURES, &samples)?;
    chart::is_flat(&FIGURES, &samples).with_context(|| format!("see {}", chart.display()))
}
