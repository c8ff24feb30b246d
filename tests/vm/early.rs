//! The first stage: what is mounted already, and the console.

use anyhow::{Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::vm::Ended;
use berth_tests::{Bundle, Lab, disk, line};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once what_is_mounted_already_stays,
    everywhere kernel_without_devtmpfs_gets_nodes_of_disks_and_of_the_event_port,
    once a_dead_console_is_no_reason_not_to_boot,
    once progress_is_shown_whatever_the_kernels_log_level,
    once quiet_is_quiet,
    once events_go_to_the_device_that_is_named,
];

/// A script that mounts what berth would, leaves a mark on `/run`, and starts it.
const FIRST_INIT: &str = "#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mount -t tmpfs tmpfs /run
echo kept > /run/mark
exec /berth
";

fn what_is_mounted_already_stays(lab: &Lab) -> Result<()> {
    let image = lab
        .spec()?
        .load(berth_tests::MODULES)
        .add(&lab.init, "/berth")
        .add("/bin/busybox", "/bin/busybox")
        .replace("/init", FIRST_INIT, 0o755)
        .build(Compression::None)?;
    // The host's /run goes along to the new root, and from there into the container.
    let bundle = Bundle::new("reader")
        .mount("/mnt", "bind", "/run", &["bind"])
        .runs(["/bin/guest", "show", "/mnt/mark"]);
    let vm = lab
        .machine_with("what_is_mounted_already_stays", &image)
        .append("root=LABEL=BERTH")
        .scsi(&disk::vfat([bundle])?)
        .start()?;
    vm.expect("the mark", |event| line(event) == Some(("reader", "kept")))?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

/// No kernel of the matrix is built without devtmpfs, so the program asks for a filesystem that
/// none has: it is the same answer, ENODEV, to the same call.
fn kernel_without_devtmpfs_gets_nodes_of_disks_and_of_the_event_port(lab: &Lab) -> Result<()> {
    let mut init = std::fs::read(&lab.init)?;
    let name = b"devtmpfs";
    let places: Vec<_> = (0..init.len())
        .filter(|at| init[*at..].starts_with(name))
        .collect();
    ensure!(!places.is_empty(), "the program does not name devtmpfs");
    for at in places {
        init[at..at + name.len()].copy_from_slice(b"nodevtfs");
    }
    let image = lab
        .spec()?
        .load(berth_tests::MODULES)
        .replace("/init", init, 0o755)
        .build(Compression::None)?;
    let vm = lab
        .machine_with(
            "kernel_without_devtmpfs_gets_nodes_of_disks_and_of_the_event_port",
            &image,
        )
        .append("root=LABEL=BERTH")
        .scsi(&disk::vfat([Bundle::new("first")])?)
        .start()?;
    vm.expect("its line", |event| line(event) == Some(("first", "first")))?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

fn a_dead_console_is_no_reason_not_to_boot(lab: &Lab) -> Result<()> {
    let vm = lab
        .machine("a_dead_console_is_no_reason_not_to_boot")?
        // There is one serial port. /dev/console is that of the last word, and cannot be opened.
        .append("console=ttyS3 root=LABEL=BERTH")
        .scsi(&disk::vfat([Bundle::new("first")])?)
        .start()?;
    vm.expect("its line", |event| line(event) == Some(("first", "first")))?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

/// The lines of berth's own on the console of a machine with these words.
fn progress(lab: &Lab, name: &str, words: &str) -> Result<Vec<String>> {
    let vm = lab
        .machine(name)?
        .append(format!("{words} root=LABEL=BERTH"))
        .scsi(&disk::vfat([Bundle::new("first")])?)
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    Ok(outcome
        .console
        .lines()
        .filter(|line| line.contains("berth: "))
        .map(str::to_owned)
        .collect())
}

fn progress_is_shown_whatever_the_kernels_log_level(lab: &Lab) -> Result<()> {
    for (name, words) in [
        ("progress_at_level_1", "loglevel=1"),
        ("progress_at_level_7", "loglevel=7"),
    ] {
        let lines = progress(lab, name, words)?;
        for stage in [
            "early",
            "modules",
            "root",
            "switch",
            "containers",
            "shutdown",
        ] {
            let shown = lines.iter().filter(|line| {
                line.contains(&format!("berth: {stage}: ")) && line.contains(" ms)")
            });
            ensure!(
                shown.count() == 1,
                "{words}: not one line of the stage {stage} in {lines:#?}"
            );
        }
    }
    Ok(())
}

fn quiet_is_quiet(lab: &Lab) -> Result<()> {
    let lines = progress(lab, "quiet_is_quiet", "quiet")?;
    ensure!(lines.is_empty(), "quiet, but the console shows {lines:#?}");
    Ok(())
}

fn events_go_to_the_device_that_is_named(lab: &Lab) -> Result<()> {
    let file =
        berth_qemu::vm_dir(&format!("{}/second_serial", lab.kernel.name)).with_extension("jsonl");
    std::fs::create_dir_all(file.parent().unwrap_or(&file))?;
    let vm = lab
        .machine("events_go_to_the_device_that_is_named")?
        .append("root=LABEL=BERTH berth.events=/dev/ttyS1")
        .arguments(["-serial".to_owned(), format!("file:{}", file.display())])
        .scsi(&disk::vfat([Bundle::new("first")])?)
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    ensure!(
        outcome.events.is_empty(),
        "the port has events, too: {:#?}",
        outcome.events
    );
    let events = std::fs::read_to_string(&file)?;
    for word in [
        "\"stage\":\"early\"",
        "\"id\":\"first\"",
        "\"event\":\"end\",\"status\":0",
    ] {
        ensure!(events.contains(word), "{word} is not in {events}");
    }
    Ok(())
}
