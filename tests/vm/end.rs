//! The machine's end, step by step: containers in order, disks that are written and unmounted
//! whatever is made of them, and what becomes of those that do not answer.

use std::fs;

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, DiskImage, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Builder, Ended, Event, Outcome, Vm};
use berth_tests::{Bundle, Lab, MODULES, Seen, disk, field, line, warnings};
use serde_json::json;

use crate::fsck::{ext4_is_clean, partition, vfat_is_clean};
use crate::provoke::{OWN_FAILURE, failed};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once containers_end_in_the_reverse_order_of_their_starts,
    everywhere disks_are_clean_though_containers_wrote_until_they_were_killed,
    everywhere devices_that_were_left_behind_are_taken_apart,
    everywhere disk_that_does_not_answer_does_not_keep_the_machine_up,
    everywhere boot_that_fails_on_its_root_leaves_it_clean,
    everywhere boot_that_fails_before_the_switch_leaves_its_layers_clean,
    once shell_of_a_failed_boot_sees_the_root_and_leaves_it_clean,
    once machine_without_a_kernel_for_kexec_is_rebooted,
    everywhere loaded_kernel_is_started_in_the_place_of_a_reboot,
    once loaded_kernel_is_started_by_request,
];

/// When the first event comes that is so, in microseconds, and its place among all.
fn when(outcome: &Outcome, what: &str, is_it: impl Fn(&Event) -> bool) -> Result<(usize, u64)> {
    let mut events = outcome.events.iter().enumerate();
    let (place, event) = events
        .find(|(_, event)| is_it(event))
        .with_context(|| format!("{what} did not happen: {}", outcome.log.display()))?;
    Ok((place, event.raw["t"].as_u64().context("no time")?))
}

fn containers_end_in_the_reverse_order_of_their_starts(lab: &Lab) -> Result<()> {
    let polite = |id| Bundle::new(id).runs(["/bin/guest", "until-asked"]);
    let stubborn = |id, seconds| {
        let bundle = Bundle::new(id).runs(["/bin/guest", "stay"]);
        bundle.annotation("berth.stop-timeout", seconds)
    };
    let bundles = [
        polite("base").annotation("berth.stop-timeout", "60"),
        stubborn("middle", "1").annotation("berth.after", "base"),
        polite("top").annotation("berth.after", "middle"),
        // Nobody waits for it, and nobody has to wait for its end.
        stubborn("slow", "4"),
    ];
    let vm = lab
        .machine("containers_end_in_reverse_order")?
        .append("root=/dev/vda1")
        .blk(&disk::vfat(bundles)?)
        .start()?;
    for (id, text) in [
        ("base", "waiting"),
        ("middle", "staying"),
        ("top", "waiting"),
        ("slow", "staying"),
    ] {
        vm.expect("all run", |event| line(event) == Some((id, text)))?;
    }
    vm.ctrl_alt_delete()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::Reboot, 0)?;
    let asked = |id: &'static str| {
        when(&outcome, id, move |event| {
            line(event) == Some((id, "asked to end"))
        })
    };
    let exited =
        |id: &'static str| when(&outcome, id, move |event| event.is_container(id, "exited"));
    let order = [
        asked("top")?,
        exited("top")?,
        exited("middle")?,
        asked("base")?,
        exited("base")?,
        exited("slow")?,
    ];
    ensure!(order.is_sorted(), "{order:?}");
    let waited = order[2].1 - order[1].1;
    ensure!(waited < 3_000_000, "middle had {waited} µs for its second");
    for (id, signal) in [("middle", 9), ("slow", 9)] {
        let state = Seen::new(&outcome, id).state("exited").context(id)?;
        ensure!(state.raw["signal"] == signal, "{:?}", state.raw);
        let said = format!("{id} has not ended in time, and is killed");
        ensure!(outcome.console.contains(&said), "{said}");
    }
    Ok(())
}

fn image() -> Result<DiskImage> {
    Disk::bare(Fs::ext4("IMAGE", disk::EXT4_UUID, Tree::new()).mib(4)).build()
}

/// They ignore what asks them to end, and write through an overlay above an image, to the root
/// itself, and to a vfat.
fn disks_are_clean_though_containers_wrote_until_they_were_killed(lab: &Lab) -> Result<()> {
    let writer = |id: &str, places: &[&str]| {
        let words = ["/bin/guest", "write-on"].iter().chain(places).copied();
        let bundle = Bundle::new(id).runs(words);
        bundle.annotation("berth.stop-timeout", "1")
    };
    let imaged = writer("imaged", &["/tmp"])
        .annotation("berth.image", "app.img")
        .annotation("berth.overlay", "changes");
    let bundles = [
        writer("plain", &["/tmp", "/mnt"]).mount("/mnt", "vfat", "/dev/vda2", &[]),
        imaged,
    ];
    let squashfs = crate::images::image("squashfs")?;
    let files = disk::files(bundles)?
        .copy(squashfs.as_ref(), "containers/imaged/app.img")
        .directory("containers/imaged/changes");
    let root = Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, files).mib(64))
        .partition(Fs::vfat("SECOND", 5, Tree::new()))
        .build()?;
    let spec = lab.spec()?.load(MODULES);
    let spec = spec.load(["loop", "squashfs", "overlay"]);
    let vm = lab
        .machine_with("clean_after_writers", &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    for id in ["plain", "imaged"] {
        vm.expect("it writes", |event| line(event) == Some((id, "writing")))?;
    }
    vm.ctrl_alt_delete()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::Reboot, 0)?;
    for id in ["plain", "imaged"] {
        let state = Seen::new(&outcome, id).state("exited").context(id)?;
        ensure!(state.raw["signal"] == 9, "{:?}", state.raw);
    }
    ensure!(warnings(&outcome).is_empty(), "{:?}", warnings(&outcome));
    ext4_is_clean(&partition(&vm.disk(0), 0)?)?;
    vfat_is_clean(&partition(&vm.disk(0), 1)?)
}

/// A filesystem on a device above a loop device, whose file is on another disk, which has a file
/// that is swapped to.
fn devices_that_were_left_behind_are_taken_apart(lab: &Lab) -> Result<()> {
    let leaver = Bundle::new("leaver").namespaces(&["mount", "uts"]).runs([
        "/bin/guest",
        "leave-devices",
        "/dev/vda2",
        "/image",
    ]);
    let image = image()?;
    let files = disk::files([leaver])?.copy(image.as_ref(), "image");
    let root = Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, files).mib(64))
        .partition(Fs::ext4("SECOND", disk::EXT4_UUID, Tree::new()).mib(32))
        .build()?;
    let spec = lab.spec()?.load(MODULES).load(["loop", "dm_mod"]);
    let vm = lab
        .machine_with("devices_left_behind", &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    let outcome = vm.wait()?;
    Seen::new(&outcome, "leaver").printed("left")?;
    outcome.assert(Ended::PowerOff, 0)?;
    ensure!(warnings(&outcome).is_empty(), "{:?}", warnings(&outcome));
    ext4_is_clean(&partition(&vm.disk(0), 0)?)?;
    let second = partition(&vm.disk(0), 1)?;
    ext4_is_clean(&second)?;
    // And the filesystem on the device, in its file.
    let inner = second.with_extension("inner");
    crate::fsck::extract(&second, "/image", &inner)?;
    ext4_is_clean(&inner)
}

/// The clock of this machine counts instructions, so that waiting takes no time. Nothing of it is
/// on a disk, for which the clock would run on.
fn disk_that_does_not_answer_does_not_keep_the_machine_up(lab: &Lab) -> Result<()> {
    let bundle = Bundle::new("staller").namespaces(&["mount", "uts"]).runs([
        "/bin/guest",
        "stall-a-disk",
        "/image",
    ]);
    let (root, image) = (tempfile::tempdir()?, image()?);
    disk::files([bundle])?
        .copy(image.as_ref(), "image")
        .make(root.path())?;
    let spec = lab
        .spec()?
        .load(["virtio_pci", "virtio_console", "loop", "dm_mod"])
        .root_archive(root.path());
    let vm = lab
        .machine_with("disk_does_not_answer", &spec.build(Compression::Zstd)?)
        .append("root=tmpfs")
        .counted()
        .start()?;
    let outcome = vm.wait()?;
    Seen::new(&outcome, "staller").printed("stalled")?;
    outcome.assert(Ended::PowerOff, 0)?;
    let said = warnings(&outcome);
    for expected in [
        "write to the disks: ETIMEDOUT: the machine ends without it  [B061]",
        "unmount /held: EBUSY  [B060]",
        "/held is kept by process ",
    ] {
        let is_said = said.iter().any(|text| text.contains(expected));
        ensure!(is_said, "{expected:?} is not in {said:#?}");
    }
    ensure!(
        said.iter().any(|text| text.ends_with(" (guest)")),
        "{said:#?}"
    );
    let told = outcome.console.matches("waiting for the disks, ").count();
    ensure!(told >= 5, "told {told} times");
    Ok(())
}

fn boot_that_fails_on_its_root_leaves_it_clean(lab: &Lab) -> Result<()> {
    let vm = lab
        .machine("boot_that_fails_on_its_root")?
        .append("root=LABEL=BERTH berth.containers=/nowhere")
        .blk(&disk::vfat([])?)
        .start()?;
    failed(&vm.wait()?, "B050", "/nowhere: ENOENT")?;
    vfat_is_clean(&partition(&vm.disk(0), 0)?)
}

fn boot_that_fails_before_the_switch_leaves_its_layers_clean(lab: &Lab) -> Result<()> {
    let layer = Disk::mbr(0xb0a7_0003)
        .partition(Fs::ext4("LAYER", disk::EXT4_UUID, Tree::new()))
        .build()?;
    let spec = lab.spec()?.load(MODULES).load(["overlay"]);
    let vm = lab
        .machine_with(
            "boot_that_fails_before_the_switch",
            &spec.build(Compression::Zstd)?,
        )
        .append("root=LABEL=BERTH berth.overlay=LABEL=LAYER init=/sbin/init")
        .blk(&disk::ext4([])?)
        .blk(&layer)
        .start()?;
    failed(&vm.wait()?, "B040", "init=/sbin/init")?;
    ext4_is_clean(&partition(&vm.disk(0), 0)?)?;
    ext4_is_clean(&partition(&vm.disk(1), 0)?)
}

fn shell_of_a_failed_boot_sees_the_root_and_leaves_it_clean(lab: &Lab) -> Result<()> {
    let spec = lab.spec()?.load(MODULES).add("/bin/busybox", "/bin/sh");
    let vm = lab
        .machine_with("shell_sees_the_root", &spec.build(Compression::None)?)
        .append("root=LABEL=BERTH init=/sbin/init berth.on_failure=shell panic=-1")
        .blk(&disk::ext4([Bundle::new("there")])?)
        .start()?;
    let prompt = vm.expect_console("# ")?;
    let question =
        b"echo it >/sysroot/file; for f in /sysroot/containers/*; do echo here is'' $f; done\n";
    vm.send_console(question)?;
    vm.expect_console_after(prompt, "\nhere is /sysroot/containers/there")?;
    vm.send_console(b"exit\n")?;
    vm.wait()?.assert(Ended::Reboot, OWN_FAILURE)?;
    let root = partition(&vm.disk(0), 0)?;
    ext4_is_clean(&root)?;
    let file = root.with_extension("file");
    crate::fsck::extract(&root, "/file", &file)?;
    ensure!(fs::read(&file)? == b"it\n", "what the shell wrote is there");
    Ok(())
}

fn machine_without_a_kernel_for_kexec_is_rebooted(lab: &Lab) -> Result<()> {
    let vm = lab
        .machine("machine_without_a_kernel_for_kexec")?
        .append("root=LABEL=BERTH berth.on_idle=kexec berth.fsck=preen")
        .blk(&disk::ext4([Bundle::new("one")])?)
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::Reboot, 0)?;
    let said = warnings(&outcome);
    ensure!(
        said.iter()
            .any(|text| text.contains("execute another kernel") && text.contains("[B062]")),
        "{said:?}"
    );
    // Nor has it a check for its root, and that is no reason not to boot.
    let unchecked = "/dev/vda1 is not checked: the image has no /sbin/fsck.ext4";
    ensure!(said.iter().any(|text| text.contains(unchecked)), "{said:?}");
    let end = outcome.events.iter().find(|event| event.name() == "end");
    let action = end.and_then(|event| field(event, "action"));
    ensure!(action == Some("reboot"), "{action:?}");
    ext4_is_clean(&partition(&vm.disk(0), 0)?)
}

/// What loads the machine's own kernel once more, with another command line: it hands over to a
/// program that powers the machine off.
const LOAD: [&str; 5] = [
    "/bin/guest",
    "load-kernel",
    "/kernel",
    "/initramfs",
    "console=ttyS0 loglevel=5 root=/dev/vda1 ro init=/bin/guest -- power-off",
];

/// A machine whose root has its own kernel and initramfs, and this bundle; and the root.
fn with_kernel(lab: &Lab, name: &str, bundle: Bundle) -> Result<(Builder, DiskImage)> {
    let image = lab.spec()?.load(MODULES).build(Compression::Zstd)?;
    let files = disk::files([bundle.namespaces(&["mount", "uts"])])?
        .copy(&lab.kernel.image, "kernel")
        .copy(berth_tests::guest()?, "bin/guest")
        .file("initramfs", image.bytes.clone());
    let root = Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, files).mib(128))
        .build()?;
    let machine = lab
        .machine_with(name, &image)
        .append("root=/dev/vda1")
        .memory(512)
        .blk(&root);
    Ok((machine, root))
}

/// The machine has ended by starting the other kernel, and has left its root in order.
fn has_started_the_other(vm: &Vm) -> Result<()> {
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let end = outcome
        .events
        .iter()
        .position(|event| event.name() == "end");
    let end = end.context("no end")?;
    ensure!(field(&outcome.events[end], "action") == Some("kexec"));
    let again = outcome
        .events
        .iter()
        .skip(end)
        .any(|event| event.is_stage("switch"));
    ensure!(
        again,
        "the second kernel has not booted: {}",
        outcome.log.display()
    );
    ext4_is_clean(&partition(&vm.disk(0), 0)?)
}

fn loaded_kernel_is_started_in_the_place_of_a_reboot(lab: &Lab) -> Result<()> {
    let loader = Bundle::new("loader").runs(LOAD);
    let (machine, _root) = with_kernel(lab, "loaded_kernel_is_started", loader)?;
    let vm = machine.append("berth.on_idle=kexec").start()?;
    vm.expect("a kernel to be loaded", |event| {
        line(event) == Some(("loader", "loaded"))
    })?;
    has_started_the_other(&vm)
}

/// Without a kernel the request is refused, and the machine goes on.
fn loaded_kernel_is_started_by_request(lab: &Lab) -> Result<()> {
    let keeper = Bundle::new("keeper").runs(["/bin/guest", "until-asked"]);
    let name = "loaded_kernel_is_started_by_request";
    let (machine, _root) = with_kernel(lab, name, keeper)?;
    let vm = machine.control().start()?;
    vm.expect("keeper to run", |event| {
        line(event) == Some(("keeper", "waiting"))
    })?;
    let mut client = vm.control()?;
    let refusal = client.refused(json!({ "do": "kexec" }))?;
    ensure!(
        refusal.code == "B062" && refusal.hint.contains("kexec_file_load"),
        "{refusal:?}"
    );
    let ran = client.exec(json!({ "container": "keeper", "args": LOAD }), b"")?;
    ensure!(ran.status == 0, "{ran:?}");
    client.ask(json!({ "do": "kexec" }))?;
    vm.expect("keeper to be asked to end", |event| {
        line(event) == Some(("keeper", "asked to end"))
    })?;
    has_started_the_other(&vm)
}
