//! Power cuts while containers write: what was on the disk stays there, and the next boot mounts
//! it and runs.
//!
//! QEMU is killed. What a device has taken is in the host's page cache, which outlives QEMU: this
//! is a disk that loses nothing that it has taken. What is lost is what the guest had in its own
//! page cache, half of a change to a filesystem among it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Image};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Drive, Ended, Event, Vm};
use berth_tests::{Bundle, Lab, MODULES, disk, field, line};

use super::{Random, directory, of, share};
use crate::fsck::ext4_is_clean;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once machine_on_ext4_comes_back_after_power_cuts,
    once machine_on_vfat_comes_back_after_power_cuts,
];

/// All cuts of one machine.
const CUTS: u32 = 100;

/// Without a share of its own.
const CUTS_LEAST: u32 = 2;

/// How many numbers a container writes before the power is cut, at most.
const NUMBERS: u64 = 24;

/// How long it is from then to the cut, at most, in milliseconds: somewhere in what is written.
const MOMENT: u64 = 150;

/// One of so many cuts comes before anything is written, in the boot.
const IN_THE_BOOT: u64 = 5;

/// What writes: to the root, and to a disk that is mounted by itself.
const WRITERS: [&str; 2] = ["root", "disk"];

/// The label of that disk.
const DATA: &str = "DATA";

fn machine_on_ext4_comes_back_after_power_cuts(lab: &Lab) -> Result<()> {
    let root = Fs::ext4(disk::LABEL, disk::EXT4_UUID, files()?);
    let data = Fs::vfat(DATA, 0x50a4_0002, Tree::new()).mib(32);
    run(lab, "ext4", [root, data])
}

fn machine_on_vfat_comes_back_after_power_cuts(lab: &Lab) -> Result<()> {
    let root = Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, files()?);
    let uuid = uuid::Uuid::from_u128(0x50a4_0003);
    let data = Fs::ext4(DATA, uuid, Tree::new()).mib(32);
    run(lab, "vfat", [root, data])
}

fn files() -> Result<Tree> {
    let slave = ["rbind", "rslave"];
    let on_root = Bundle::new("root").runs(["/bin/guest", "keep-writing", "/tmp"]);
    let on_disk = Bundle::new("disk")
        .shares("root")
        .mount("/mnt", "bind", "/media", &slave)
        .runs(["/bin/guest", "keep-writing", "to-disk", DATA]);
    disk::files([on_root, on_disk])
}

/// A machine that is switched off and on, and what is known of its disks.
struct Machine<'l> {
    lab: &'l Lab,
    fstype: &'static str,
    image: Image,
    disks: [PathBuf; 2],
    /// What is on the disks, by the container that has said so.
    numbers: BTreeMap<&'static str, u64>,
}

fn run(lab: &Lab, fstype: &'static str, filesystems: [Fs; 2]) -> Result<()> {
    let seed = Random::seed()?;
    println!("power cuts on {fstype}: BERTH_SOAK_SEED={seed}");
    let mut random = Random(seed);
    let cuts = of(share()?, CUTS).max(CUTS_LEAST);
    let mut machine = Machine::new(lab, fstype, filesystems)?;
    for cut in 1..=cuts {
        machine
            .boot_and_cut(&mut random)
            .with_context(|| format!("cut {cut} of {cuts}, BERTH_SOAK_SEED={seed}"))?;
    }
    machine
        .boot_and_end()
        .with_context(|| format!("after {cuts} cuts, BERTH_SOAK_SEED={seed}"))
}

impl<'l> Machine<'l> {
    fn new(lab: &'l Lab, fstype: &'static str, filesystems: [Fs; 2]) -> Result<Self> {
        let image = lab
            .spec()?
            .load(MODULES)
            .fsck(["vfat"])
            .build(Compression::Zstd)?;
        let dir = directory()?;
        let [root, data] = ["root", "data"].map(|name| dir.join(format!("{fstype}-{name}.img")));
        for (path, fs) in [&root, &data].into_iter().zip(filesystems) {
            Disk::bare(fs).write(path)?;
        }
        Ok(Self {
            lab,
            fstype,
            image,
            disks: [root, data],
            numbers: BTreeMap::new(),
        })
    }

    fn start(&self) -> Result<Vm> {
        let [root, data] = &self.disks;
        // A vfat has no journal, and is mended by its fsck alone.
        let check = if self.fstype == "vfat" {
            "berth.fsck=preen"
        } else {
            ""
        };
        self.lab
            .machine_with(&format!("soak_cuts_{}", self.fstype), &self.image)
            .append(format!(
                "root=LABEL={} berth.automount=/media {check}",
                disk::LABEL
            ))
            .blk(root)
            .drive(Drive::blk(data))
            .start()
    }

    /// Takes over what the machine has left on its disks.
    fn keep_disks(&self, vm: Vm) -> Result<()> {
        let copies: Vec<_> = vm.disks().collect();
        // It is killed here, if it is not over.
        drop(vm);
        for (copy, disk) in copies.iter().zip(&self.disks) {
            fs::rename(copy, disk).with_context(|| format!("keep {}", copy.display()))?;
        }
        Ok(())
    }

    fn boot_and_cut(&mut self, random: &mut Random) -> Result<()> {
        let vm = self.start()?;
        if random.below(IN_THE_BOOT) == 0 {
            let stages = ["modules", "root", "switch"];
            let stage = stages[random.below(stages.len() as u64) as usize];
            vm.expect(&format!("the end of {stage}"), |event| {
                event.is_stage(stage)
            })?;
        } else {
            let count = 1 + random.below(NUMBERS);
            self.follow(&vm, count as usize)?;
        }
        // Not a wait for something: the cut comes at a moment that nothing announces.
        thread::sleep(Duration::from_millis(random.below(MOMENT)));
        for event in vm.events() {
            self.note(&event)?;
        }
        self.keep_disks(vm)
    }

    /// Waits until both have found what they have written, and one of them has written so many
    /// numbers, or both can write no more.
    fn follow(&self, vm: &Vm, count: usize) -> Result<()> {
        for id in WRITERS {
            vm.expect(&format!("what {id} finds"), |event| {
                says(event, id, "found")
            })?;
        }
        let of = |events: &[Event], what: &str| {
            WRITERS.map(|id| events.iter().filter(|event| says(event, id, what)).count())
        };
        vm.expect_that(&format!("{count} numbers"), |events| {
            let is_enough = of(events, "wrote").iter().any(|found| *found >= count);
            let are_given_up = of(events, "failed").iter().all(|found| *found > 0);
            (is_enough || are_given_up).then_some(())
        })?;
        Ok(())
    }

    /// Keeps what an event says of a disk.
    ///
    /// # Errors
    /// Something that was on a disk is not there, or cannot be used.
    fn note(&mut self, event: &Event) -> Result<()> {
        ensure!(
            event.name() != "failure" && field(event, "state") != Some("failed"),
            "{}",
            event.raw
        );
        let Some((id, line)) = line(event) else {
            return Ok(());
        };
        let id = WRITERS.into_iter().find(|writer| *writer == id);
        let id = id.with_context(|| line.to_owned())?;
        let known = self.numbers.entry(id).or_default();
        let (what, rest) = line.split_once(' ').context("two words")?;
        match what {
            "found" => {
                let found = rest.parse()?;
                ensure!(
                    found >= *known,
                    "{id} found {found}, and {known} was written"
                );
                *known = found;
            }
            "wrote" => *known = rest.parse()?,
            // A vfat that a cut has damaged, beyond what its fsck mends, gives one error when that
            // is met. It is not written to any more, and that is told.
            _ => ensure!(["EIO", "EROFS"].contains(&rest), "{id}: {line}"),
        }
        Ok(())
    }

    /// After the last cut: what is written is found, and the end leaves the disks clean.
    fn boot_and_end(&mut self) -> Result<()> {
        let vm = self.start()?;
        self.follow(&vm, 3)?;
        vm.ctrl_alt_delete()?;
        let outcome = vm.wait()?;
        outcome.assert_ended(Ended::Reboot)?;
        for event in &outcome.events {
            self.note(event)?;
        }
        // The root, or the other one.
        let ext4 = usize::from(self.fstype != "ext4");
        ext4_is_clean(&vm.disk(ext4))
    }
}

fn says(event: &Event, id: &str, what: &str) -> bool {
    line(event).is_some_and(|(of, line)| of == id && line.starts_with(what))
}
