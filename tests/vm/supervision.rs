//! How the machine ends: who asks for it, what becomes of the containers, and how the disks are
//! left.

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Outcome, Vm};
use berth_tests::{Bundle, Lab, MODULES, Seen, Shared, disk, field, line};
use serde_json::Value;

use crate::fsck::{ext4_is_clean, partition, vfat_is_clean};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere ctrl_alt_delete_asks_then_kills_then_reboots,
    once sigterm_powers_off,
    once sigpwr_powers_off,
    everywhere power_button_powers_off,
    once idle_machine_waits_until_it_is_told_to_end,
    once idle_machine_reboots,
    everywhere pid_1_is_small_once_the_boot_is_over,
    once idle_machine_halts,
    everywhere end_of_one_container_shuts_the_machine_down,
    once status_is_that_of_the_container_that_failed,
    once status_of_a_signal_is_128_more,
    everywhere console_is_the_containers_terminal,
    once last_words_reach_the_console,
    once what_containers_say_and_name_does_nothing_to_the_console,
    everywhere ext4_and_vfat_are_left_clean,
    everywhere mounts_out_of_the_way_are_unmounted_too,
    once vfat_root_is_left_clean,
];

fn start(
    lab: &Lab,
    name: &str,
    words: &str,
    bundles: impl IntoIterator<Item = Bundle>,
) -> Result<Vm> {
    let root = disk::vfat(bundles)?;
    lab.machine(name)?
        .append("root=/dev/vda1")
        .append(words)
        .blk(&root)
        .start()
}

/// Ignores what asks it to end, and is killed a second later.
fn stubborn(id: &str) -> Bundle {
    Bundle::new(id)
        .runs(["/bin/guest", "stay"])
        .annotation("berth.stop-timeout", "1")
}

fn ctrl_alt_delete_asks_then_kills_then_reboots(lab: &Lab) -> Result<()> {
    let polite = Bundle::new("polite").runs(["/bin/guest", "until-asked"]);
    let vm = start(
        lab,
        "ctrl_alt_delete",
        "",
        [
            stubborn("stubborn"),
            polite.annotation("berth.stop-timeout", "1"),
        ],
    )?;
    vm.expect("stubborn to stay", |event| {
        line(event) == Some(("stubborn", "staying"))
    })?;
    vm.expect("polite to wait", |event| {
        line(event) == Some(("polite", "waiting"))
    })?;
    vm.ctrl_alt_delete()?;
    let outcome = vm.wait()?;
    Seen::new(&outcome, "polite").printed("asked to end")?;
    Seen::new(&outcome, "polite").exited(5)?;
    let killed = Seen::new(&outcome, "stubborn")
        .state("exited")
        .context("stubborn did not end")?;
    ensure!(killed.raw["signal"] == 9, "{:?}", killed.raw);
    // Neither failed: they were told to end.
    Ok(outcome.assert(Ended::Reboot, 0)?)
}

/// A container that sees PID 1 sends it this signal, and another one is ended in order.
fn powers_off_by(lab: &Lab, name: &str, signal: &str) -> Result<()> {
    let sender = Bundle::new("sender")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .runs(["/bin/guest", "signal-first", signal]);
    let vm = start(lab, name, "berth.on_idle=wait", [sender, stubborn("side")])?;
    let outcome = vm.wait()?;
    ensure!(
        Seen::new(&outcome, "side").state("exited").is_some(),
        "the other is ended first"
    );
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

fn sigterm_powers_off(lab: &Lab) -> Result<()> {
    powers_off_by(lab, "sigterm_powers_off", "15")
}

fn sigpwr_powers_off(lab: &Lab) -> Result<()> {
    powers_off_by(lab, "sigpwr_powers_off", "30")
}

fn power_button_powers_off(lab: &Lab) -> Result<()> {
    let polite = Bundle::new("polite").runs(["/bin/guest", "until-asked"]);
    let root = disk::vfat([polite])?;
    // Nobody lists it: the button asks for its driver itself.
    let spec = lab.spec()?.load(MODULES).for_devices([DeviceClass::Power]);
    let vm = lab
        .machine_with("power_button", &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda1 berth.on_idle=wait")
        .blk(&root)
        .start()?;
    vm.expect("polite to wait", |event| event.raw["line"] == "waiting")?;
    vm.power_button()?;
    let outcome = vm.wait()?;
    Seen::new(&outcome, "polite").exited(5)?;
    outcome.assert(Ended::PowerOff, 0)?;
    ensure!(
        outcome
            .console
            .contains("the power button: the machine shuts down"),
        "the console says who ended the machine"
    );
    Ok(())
}

fn idle_machine_waits_until_it_is_told_to_end(lab: &Lab) -> Result<()> {
    let vm = start(
        lab,
        "idle_machine_waits",
        "berth.on_idle=wait",
        [Bundle::new("one")],
    )?;
    vm.expect("one to end", |event| event.is_container("one", "exited"))?;
    vm.ctrl_alt_delete()?;
    Ok(vm.wait()?.assert(Ended::Reboot, 0)?)
}

/// The most memory that PID 1 has with one container, in KiB.
const RESIDENT_MAX: u64 = 300;

fn pid_1_is_small_once_the_boot_is_over(lab: &Lab) -> Result<()> {
    // The first time it may look before all is said about the boot.
    let bundle = Bundle::new("look")
        .namespaces(&["mount", "uts"])
        .annotation("berth.restart", "always")
        .runs(["/bin/guest", "show", "/proc/1/smaps_rollup"]);
    let vm = start(lab, "pid_1_is_small", "", [bundle])?;
    let resident = vm.expect_that("PID 1's memory, twice", |events| {
        let lines = events.iter().filter_map(|event| event.raw["line"].as_str());
        let mut seen = lines.filter_map(|line| line.strip_prefix("Rss:"));
        seen.nth(1).map(str::to_owned)
    })?;
    vm.ctrl_alt_delete()?;
    vm.wait()?.assert(Ended::Reboot, 0)?;
    let figure = resident.trim().trim_end_matches(" kB");
    let kib: u64 = figure.parse().context("PID 1's memory")?;
    ensure!(kib <= RESIDENT_MAX, "PID 1 has {kib} KiB");
    Ok(())
}

fn idle_machine_reboots(lab: &Lab) -> Result<()> {
    let vm = start(
        lab,
        "idle_machine_reboots",
        "berth.on_idle=reboot",
        [Bundle::new("one")],
    )?;
    Ok(vm.wait()?.assert(Ended::Reboot, 0)?)
}

fn idle_machine_halts(lab: &Lab) -> Result<()> {
    let vm = start(
        lab,
        "idle_machine_halts",
        "berth.on_idle=halt",
        [Bundle::new("one")],
    )?;
    Ok(vm.wait()?.assert(Ended::Halt, 0)?)
}

fn end_of_one_container_shuts_the_machine_down(lab: &Lab) -> Result<()> {
    let main = Bundle::new("main")
        .annotation("berth.on-exit", "shutdown")
        .runs(["/bin/guest", "work", "20"]);
    let vm = start(
        lab,
        "end_of_one_container",
        "berth.on_idle=wait",
        [main, stubborn("side")],
    )?;
    let outcome = vm.wait()?;
    Seen::new(&outcome, "main").exited(0)?;
    ensure!(
        Seen::new(&outcome, "side").state("exited").is_some(),
        "the other is ended first"
    );
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

fn status_is_that_of_the_container_that_failed(lab: &Lab) -> Result<()> {
    let bundles = [
        Bundle::new("bad").runs(["/bin/guest", "exit", "3"]),
        Bundle::new("good"),
    ];
    let vm = start(lab, "status_of_the_first", "", bundles)?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 3)?)
}

fn status_of_a_signal_is_128_more(lab: &Lab) -> Result<()> {
    // As the first process of a PID namespace it could not be ended so.
    let bundle =
        Bundle::new("ended")
            .namespaces(&["mount", "uts"])
            .runs(["/bin/guest", "end-by", "15"]);
    let vm = start(lab, "status_of_a_signal", "", [bundle])?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 128 + 15)?)
}

fn console_is_the_containers_terminal(lab: &Lab) -> Result<()> {
    let bundle = Bundle::new("shell")
        .annotation("berth.console", "true")
        .runs(["/bin/guest", "console"]);
    let vm = start(lab, "console_is_the_terminal", "", [bundle])?;
    vm.expect_console("terminal true /dev/console\n")?;
    vm.expect_console("foreground true\n")?;
    vm.send_console(b"hello\n")?;
    vm.expect_console("typed hello\n")?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

static WORDS: Shared = Shared::new(boot_words);

/// What a terminal would act on, in every way that it can come.
const TRICKS: &str = "a\tb\rberth: forged\u{1b}[2J\u{9b}1m\u{202e}z";
const SHOWN: &str = "a\tb\\x0dberth: forged\\x1b[2J\\xc2\\x9b1m\\u{202e}z";

fn boot_words(lab: &Lab) -> Result<Outcome> {
    let says = |id: &str| Bundle::new(id).runs(["/bin/guest", "say", TRICKS]);
    let program = format!("/bin/{TRICKS}");
    let bundles = [
        // More than a terminal holds, less than a pipe does: all of it is still on its way when the
        // machine could end.
        Bundle::new("talker").runs(["/bin/guest", "print", "32768", "lines"]),
        says("forger"),
        says("raw").annotation("berth.console", "raw"),
        Bundle::new("nameless")
            .runs([program.as_str()])
            .annotation("berth.after", "forger,raw"),
    ];
    // Between a line's first and last byte the kernel writes its own, if it has something to say.
    Ok(start(lab, "last_words", "quiet", bundles)?.wait()?)
}

fn what_containers_say_and_name_does_nothing_to_the_console(lab: &Lab) -> Result<()> {
    let outcome = WORDS.outcome(lab)?;
    // The harness leaves out what ends lines on a terminal.
    let console = &outcome.console;
    for expected in [
        format!("\nforger: {SHOWN}"),
        TRICKS.replace('\r', ""),
        format!("execute /bin/{SHOWN} for nameless: ENOENT"),
    ] {
        ensure!(
            console.contains(&expected),
            "{expected:?} is not on the console"
        );
    }
    ensure!(
        console.matches("\u{1b}[2J").count() == 1,
        "more than that of `raw`"
    );
    Seen::new(&outcome, "forger").printed(TRICKS)
}

fn last_words_reach_the_console(lab: &Lab) -> Result<()> {
    let outcome = WORDS.outcome(lab)?;
    let line = format!("talker: {}\n", "x".repeat(63));
    let lines = outcome.console.matches(&line).count();
    ensure!(lines == 32768 / 64, "{lines} lines");
    // `nameless` was not started.
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}

fn ext4_and_vfat_are_left_clean(lab: &Lab) -> Result<()> {
    let orphan = Bundle::new("orphan")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"]);
    let disks = Bundle::new("disks").mount("/mnt", "vfat", "/dev/vda2", &[]);
    let bundles = [
        // It outlives its container, with a file open for writing on the root.
        orphan.runs(["/bin/guest", "leave-a-writer", "128"]),
        disks.runs(["/bin/guest", "look-at", "/mnt"]),
    ];
    let root = Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(
            disk::LABEL,
            disk::EXT4_UUID,
            disk::files(bundles)?,
        ))
        .partition(Fs::vfat("SECOND", 5, Tree::new()))
        .build()?;
    let vm = lab
        .machine("left_clean")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    let outcome = vm.wait()?;
    Seen::new(&outcome, "disks").printed("at /mnt directory, is writable")?;
    outcome.assert(Ended::PowerOff, 0)?;
    let [first, second] = [partition(&vm.disk(0), 0)?, partition(&vm.disk(0), 1)?];
    ext4_is_clean(&first)?;
    vfat_is_clean(&second)
}

/// Whatever the mount point is called, and however long the list of mounts is.
fn mounts_out_of_the_way_are_unmounted_too(lab: &Lab) -> Result<()> {
    let mounter = Bundle::new("mounter")
        .namespaces(&["mount", "uts"])
        .runs(["/bin/guest", "mount-out-of-the-way"]);
    let ext4 = |label, tree| Fs::ext4(label, disk::EXT4_UUID, tree);
    let root = Disk::mbr(0xb0a7_0002)
        .partition(ext4(disk::LABEL, disk::files([mounter])?))
        .partition(ext4("LONG", Tree::new()))
        .partition(ext4("ODD", Tree::new()))
        .partition(ext4("LAST", Tree::new()))
        .build()?;
    let vm = lab
        .machine("mounts_out_of_the_way")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    let outcome = vm.wait()?;
    Seen::new(&outcome, "mounter").printed("mounted")?;
    outcome.assert(Ended::PowerOff, 0)?;
    let is_warned = |event: &berth_qemu::vm::Event| {
        field(event, "text").is_some_and(|text| text.contains("[B060]"))
    };
    ensure!(
        !outcome.events.iter().any(is_warned),
        "{}",
        outcome.log.display()
    );
    for number in 0..4 {
        ext4_is_clean(&partition(&vm.disk(0), number)?)
            .with_context(|| format!("partition {}", number + 1))?;
    }
    Ok(())
}

fn vfat_root_is_left_clean(lab: &Lab) -> Result<()> {
    let orphan = Bundle::new("orphan")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"]);
    let vm = start(
        lab,
        "vfat_left_clean",
        "",
        [orphan.runs(["/bin/guest", "leave-a-writer", "128"])],
    )?;
    vm.wait()?.assert(Ended::PowerOff, 0)?;
    vfat_is_clean(&partition(&vm.disk(0), 0)?)
}
