//! The watchdog of `berth.watchdog=`: QEMU's i6300esb where the kernel has its driver, else the
//! kernel's own. The machines' clocks count instructions, so that a minute of rest takes none.

use anyhow::{Result, ensure};
use berth_initramfs::{Compression, DeviceClass};
use berth_qemu::kernel::Series;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, disk};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere machine_whose_pid_1_is_stopped_is_reset,
    everywhere idle_machine_feeds_its_watchdog_and_ends_in_order,
    once boot_that_fails_later_is_left_alone,
];

/// Boots a machine with a watchdog, of which the image has the drivers.
fn boot(lab: &Lab, name: &str, words: &str, bundle: Bundle) -> Result<Outcome> {
    // Not a disk: the clock would run on while the machine waits for one.
    let root = tempfile::tempdir()?;
    disk::files([bundle])?.make(root.path())?;
    let image = lab
        .spec()?
        .load(["virtio_pci", "virtio_console"])
        .for_devices([DeviceClass::Watchdog])
        .root_archive(root.path())
        .build(Compression::Zstd)?;
    Ok(lab
        .machine_with(name, &image)
        .append("root=tmpfs berth.watchdog=10")
        .append(words)
        .arguments(["-device", "i6300esb"])
        .counted()
        .start()?
        .wait()?)
}

/// What the kernel calls the watchdog that it has a driver for.
fn identity(lab: &Lab) -> &'static str {
    match lab.series {
        Series::V6_1 => "Software Watchdog",
        _ => "i6300ESB timer",
    }
}

fn machine_whose_pid_1_is_stopped_is_reset(lab: &Lab) -> Result<()> {
    let bundle = Bundle::new("debugger")
        .namespaces(&["mount", "uts"])
        .runs(["/bin/guest", "hold-first"]);
    let outcome = boot(lab, "watchdog_resets", "", bundle)?;
    outcome.assert_ended(Ended::Reboot)?;
    let ends = outcome.events.iter().filter(|event| event.name() == "end");
    ensure!(ends.count() == 0, "nobody has ended the machine in order");
    let said = format!(
        "the watchdog {} resets the machine after 10 s",
        identity(lab)
    );
    ensure!(outcome.console.contains(&said), "which it is, is said");
    Ok(())
}

fn idle_machine_feeds_its_watchdog_and_ends_in_order(lab: &Lab) -> Result<()> {
    let bundle = Bundle::new("idle").runs(["/bin/guest", "rest", "60"]);
    let outcome = boot(lab, "watchdog_is_fed", "", bundle)?;
    Seen::new(&outcome, "idle").exited(0)?;
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

fn boot_that_fails_later_is_left_alone(lab: &Lab) -> Result<()> {
    let words = "berth.containers=/nowhere berth.on_failure=reboot panic=60";
    let outcome = boot(lab, "watchdog_after_failure", words, Bundle::new("none"))?;
    outcome.assert_ended(Ended::Reboot)?;
    // The kernel says so of a reboot that it was asked for.
    ensure!(
        outcome.console.contains("reboot: Restarting system"),
        "berth has waited, and rebooted"
    );
    Ok(())
}
