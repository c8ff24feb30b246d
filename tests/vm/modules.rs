//! Modules by need: devices and filesystems ask, the image lists nothing.

use anyhow::{Result, ensure};
use berth_initramfs::{Compression, DeviceClass, Spec};
use berth_qemu::vm::{Builder, Drive, Ended, Event, Outcome};
use berth_tests::{Bundle, Lab, Seen, disk, field, line};

use crate::provoke::OWN_FAILURE;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere root_is_reached_with_nothing_listed,
    everywhere disks_behind_a_scsi_controller_are_asked_for_too,
    everywhere disk_that_is_plugged_in_brings_its_driver,
    everywhere nothing_is_loaded_that_nobody_asked_for,
    once character_set_of_the_mount_options_is_loaded,
    once parameters_reach_their_module_and_what_is_not_for_this_machine_is_left_out,
    once blacklisted_module_is_not_loaded_for_a_device,
    once device_without_a_module_in_the_image_is_in_the_report,
    once module_that_fails_is_a_warning_where_only_a_device_asked_for_it,
    everywhere modules_without_signatures_are_loaded,
];

/// An image with drivers for virtio and these filesystems, none of which is listed.
fn by_need(lab: &Lab, types: &[&str]) -> Result<Spec> {
    let spec = lab.spec()?.for_devices([DeviceClass::Virtio]);
    Ok(spec.for_filesystems(types.iter().copied()))
}

fn machine(lab: &Lab, name: &str, spec: &Spec) -> Result<Builder> {
    Ok(lab.machine_with(name, &spec.build(Compression::None)?))
}

/// A container that prints what modules are loaded.
fn lister() -> Bundle {
    Bundle::new("lister").runs(["/bin/guest", "show", "/proc/modules"])
}

/// The names of the modules that are loaded, as the container saw them.
fn loaded(outcome: &Outcome) -> Result<Vec<&str>> {
    outcome.assert(Ended::PowerOff, 0)?;
    let lines = Seen::new(outcome, "lister").lines();
    Ok(lines.filter_map(|line| line.split(' ').next()).collect())
}

fn boot(lab: &Lab, name: &str, spec: &Spec, words: &str, drive: Drive) -> Result<Outcome> {
    let vm = machine(lab, name, spec)?
        .append(words)
        .drive(drive)
        .start()?;
    Ok(vm.wait()?)
}

const VFAT_ROOT: &str = "root=UUID=B0A7-0002";

fn root_is_reached_with_nothing_listed(lab: &Lab) -> Result<()> {
    let image = disk::vfat([lister()])?;
    let outcome = boot(
        lab,
        "root_is_reached_with_nothing_listed",
        &by_need(lab, &["vfat"])?,
        VFAT_ROOT,
        Drive::blk(&image),
    )?;
    let modules = loaded(&outcome)?;
    let sets: Vec<_> = modules
        .iter()
        .filter(|name| name.starts_with("nls_"))
        .collect();
    // Debian's kernels are configured with codepage 437 and the character set ascii.
    ensure!(
        sets.len() == 2 && modules.contains(&"nls_cp437") && modules.contains(&"nls_ascii"),
        "{modules:?}"
    );
    ensure!(modules.contains(&"vfat"), "{modules:?}");
    Ok(())
}

fn disks_behind_a_scsi_controller_are_asked_for_too(lab: &Lab) -> Result<()> {
    let image = disk::vfat([lister()])?;
    let name = "disks_behind_a_scsi_controller_are_asked_for_too";
    let outcome = boot(
        lab,
        name,
        &by_need(lab, &["vfat"])?,
        VFAT_ROOT,
        Drive::scsi(&image),
    )?;
    loaded(&outcome).map(drop)
}

fn disk_that_is_plugged_in_brings_its_driver(lab: &Lab) -> Result<()> {
    let image = disk::vfat([Bundle::new("late")])?;
    let spec = by_need(lab, &["vfat"])?;
    let mut vm = machine(lab, "disk_that_is_plugged_in_brings_its_driver", &spec)?
        .append(format!("{VFAT_ROOT} rootwait"))
        .start()?;
    vm.expect("the machine waits", |event| event.name() == "waiting")?;
    vm.plug(Drive::blk(&image))?;
    vm.expect("the container runs", |event| {
        line(event) == Some(("late", "late"))
    })?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

/// The image has vfat, SCSI and loop devices too. The machine has neither, but for the controller
/// that every machine of these tests has.
fn nothing_is_loaded_that_nobody_asked_for(lab: &Lab) -> Result<()> {
    let image = disk::ext4([lister()])?;
    let spec =
        by_need(lab, &["vfat", "ext4"])?.for_devices([DeviceClass::Nvme, DeviceClass::Layers]);
    let name = "nothing_is_loaded_that_nobody_asked_for";
    let root = "root=UUID=b0a70000-0000-4000-8000-000000000003";
    let outcome = boot(lab, name, &spec, root, Drive::blk(&image))?;
    let modules = loaded(&outcome)?;
    for name in [
        "vfat",
        "fat",
        "nls_cp437",
        "nls_ascii",
        "nvme",
        "nvme_core",
        "loop",
        "dm_mod",
        "dm_verity",
        "overlay",
        "sd_mod",
    ] {
        ensure!(!modules.contains(&name), "{name} is loaded: {modules:?}");
    }
    Ok(())
}

fn character_set_of_the_mount_options_is_loaded(lab: &Lab) -> Result<()> {
    let image = disk::vfat([lister()])?;
    let name = "character_set_of_the_mount_options_is_loaded";
    let words = format!("{VFAT_ROOT} rootflags=iocharset=iso8859-1");
    let outcome = boot(
        lab,
        name,
        &by_need(lab, &["vfat"])?,
        &words,
        Drive::blk(&image),
    )?;
    let modules = loaded(&outcome)?;
    ensure!(modules.contains(&"nls_iso8859_1"), "{modules:?}");
    Ok(())
}

/// Beside it there are drivers that find nothing to drive, each with an errno of its own, and a
/// module that the kernel was told to refuse: they are listed, and are left out.
fn parameters_reach_their_module_and_what_is_not_for_this_machine_is_left_out(
    lab: &Lab,
) -> Result<()> {
    let bundle = Bundle::new("reader")
        .mount("/mnt", "bind", "/sys", &["rbind"])
        .runs(["/bin/guest", "show", "/mnt/module/loop/parameters/max_loop"]);
    let image = disk::vfat([bundle])?;
    let left_out = ["speedstep-centrino", "kvm-intel", "nls_utf8"];
    let spec = by_need(lab, &["vfat"])?.load(["loop"]).load(left_out);
    let name = "parameters_reach_their_module";
    let words = format!("{VFAT_ROOT} loglevel=7 loop.max_loop=3 module_blacklist=nls_utf8");
    let outcome = boot(lab, name, &spec, &words, Drive::blk(&image))?;
    outcome.assert(Ended::PowerOff, 0)?;
    let warns = |event: &Event| event.name() == "warning";
    ensure!(!outcome.events.iter().any(warns), "{:#?}", outcome.events);
    for told in ["speedstep-centrino.ko: ENODEV", "nls_utf8.ko: EPERM"] {
        let told = format!("{told}: it is left out");
        ensure!(outcome.console.contains(&told), "{told}");
    }
    Seen::new(&outcome, "reader").printed("3")
}

/// The lines of the report of a boot that found no root.
fn report(outcome: &Outcome) -> Result<Vec<&str>> {
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    ensure!(outcome.events.iter().any(|event| event.is_failure("B020")));
    let lines = outcome
        .events
        .iter()
        .filter(|event| event.name() == "report");
    Ok(lines.filter_map(|event| field(event, "line")).collect())
}

fn blacklisted_module_is_not_loaded_for_a_device(lab: &Lab) -> Result<()> {
    let image = disk::vfat([])?;
    let name = "blacklisted_module_is_not_loaded_for_a_device";
    let words = format!("{VFAT_ROOT} rootwait=0 modprobe.blacklist=virtio-blk");
    let outcome = boot(
        lab,
        name,
        &by_need(lab, &["vfat"])?,
        &words,
        Drive::blk(&image),
    )?;
    let lines = report(&outcome)?;
    ensure!(
        lines.contains(&"there are no block devices: is the disk's driver loaded?"),
        "{lines:#?}"
    );
    Ok(())
}

fn device_without_a_module_in_the_image_is_in_the_report(lab: &Lab) -> Result<()> {
    let image = disk::vfat([])?;
    let spec = lab.spec()?.include(["virtio_pci", "virtio_console"]);
    let name = "device_without_a_module_in_the_image_is_in_the_report";
    let words = format!("{VFAT_ROOT} rootwait=0");
    let outcome = boot(lab, name, &spec, &words, Drive::blk(&image))?;
    let lines = report(&outcome)?;
    let is_it = |line: &&str| {
        line.starts_with("no driver, and no module in the image, for virtio")
            && line.ends_with(" (virtio:d00000002v00001AF4)")
    };
    ensure!(lines.iter().any(is_it), "{lines:#?}");
    Ok(())
}

fn module_that_fails_is_a_warning_where_only_a_device_asked_for_it(lab: &Lab) -> Result<()> {
    let image = disk::vfat([])?;
    let blk = format!(
        "/lib/modules/{}/kernel/drivers/block/virtio_blk.ko",
        lab.kernel.release
    );
    let spec = by_need(lab, &["vfat"])?.replace(blk, "no module at all", 0o644);
    let name = "module_that_fails_is_a_warning_where_only_a_device_asked_for_it";
    let words = format!("{VFAT_ROOT} rootwait=0");
    let outcome = boot(lab, name, &spec, &words, Drive::blk(&image))?;
    report(&outcome)?;
    let warned = outcome.events.iter().any(|event| {
        event.name() == "warning"
            && field(event, "text")
                .is_some_and(|text| text.contains("virtio_blk.ko: ") && text.contains("[B012]"))
    });
    ensure!(warned, "{:#?}", outcome.events);
    Ok(())
}

fn modules_without_signatures_are_loaded(lab: &Lab) -> Result<()> {
    let image = disk::vfat([lister()])?;
    let spec = by_need(lab, &["vfat"])?.strip_signatures(true);
    let name = "modules_without_signatures_are_loaded";
    let outcome = boot(lab, name, &spec, VFAT_ROOT, Drive::blk(&image))?;
    // proc_modules(5): a module taints the kernel with (E) if it should have a signature and has
    // none.
    let lines: Vec<_> = Seen::new(&outcome, "lister").lines().collect();
    loaded(&outcome)?;
    ensure!(
        lines
            .iter()
            .any(|line| line.starts_with("vfat ") && line.ends_with("(E)")),
        "{lines:#?}"
    );
    Ok(())
}
