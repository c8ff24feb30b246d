//! From the kernel to the containers and to power-off, on the filesystems that roots are made of.

use anyhow::Result;
use berth_qemu::demo;
use berth_qemu::disk::Disk;
use berth_qemu::vm::{Ended, What};
use berth_tests::{Bundle, Lab, disk, field, line};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere vfat_on_the_second_scsi_disk,
    everywhere ext4_by_uuid,
    everywhere vfat_read_only,
    everywhere staying_on_the_initramfs,
    everywhere demo_ends_in_order_when_its_shell_exits,
];

/// Two that end by themselves: one at once, one when it was told to.
fn bundles() -> [Bundle; 2] {
    [Bundle::new("first"), Bundle::new("second")]
}

fn vfat_on_the_second_scsi_disk(lab: &Lab) -> Result<()> {
    // Newer kernels probe disks side by side, and either may become sdb (see the design's kernel
    // facts).
    let root = if lab.kernel.name == "6.1" {
        "root=/dev/sdb1"
    } else {
        "root=LABEL=BERTH"
    };
    let vm = lab
        .machine("vfat_on_the_second_scsi_disk")?
        .append(root)
        .scsi(&Disk::empty(16).build()?)
        .scsi(&disk::vfat(bundles())?)
        .start()?;
    for stage in ["early", "modules", "root", "switch", "containers"] {
        vm.expect(stage, |event| event.is_stage(stage))?;
    }
    for id in ["first", "second"] {
        vm.expect(id, |event| line(event) == Some((id, id)))?;
        vm.expect(id, |event| event.is_container(id, "exited"))?;
    }
    let outcome = vm.wait()?;
    let root = outcome
        .events
        .iter()
        .find(|event| field(event, "event") == Some("root"));
    anyhow::ensure!(root.and_then(|event| field(event, "fstype")) == Some("vfat"));
    let mut warnings = outcome
        .events
        .iter()
        .filter(|event| event.name() == "warning");
    anyhow::ensure!(
        warnings.next().is_none(),
        "there are warnings: {:#?}",
        outcome.events
    );
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

fn ext4_by_uuid(lab: &Lab) -> Result<()> {
    let vm = lab
        .machine("ext4_by_uuid")?
        .append(format!("root=UUID={}", disk::EXT4_UUID))
        .blk(&disk::ext4(bundles())?)
        .start()?;
    for id in ["first", "second"] {
        vm.expect(id, |event| line(event) == Some((id, id)))?;
    }
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

fn vfat_read_only(lab: &Lab) -> Result<()> {
    let vm = lab
        .machine("vfat_read_only")?
        .append("root=LABEL=BERTH ro")
        .scsi(&disk::vfat(bundles())?)
        .start()?;
    vm.expect("the root is read-only", |event| {
        event.raw["event"] == "root" && event.raw["ro"] == true
    })?;
    for id in ["first", "second"] {
        vm.expect(id, |event| line(event) == Some((id, id)))?;
    }
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

fn staying_on_the_initramfs(lab: &Lab) -> Result<()> {
    let config = Bundle::new("here").config();
    let image = lab
        .spec()?
        .load(["virtio_pci", "virtio_console"])
        .add(berth_tests::guest()?, "/containers/here/rootfs/bin/guest")
        .replace("/containers/here/config.json", config, 0o644)
        .replace("/containers/here/rootfs/proc/.keep", [], 0o644)
        .replace("/containers/here/rootfs/dev/.keep", [], 0o644)
        .build(berth_initramfs::Compression::None)?;
    let vm = lab
        .machine_with("staying_on_the_initramfs", &image)
        .start()?;
    vm.expect("the container runs", |event| {
        line(event) == Some(("here", "here"))
    })?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

/// What `make run` boots, with somebody at the keyboard.
fn demo_ends_in_order_when_its_shell_exits(lab: &Lab) -> Result<()> {
    let [empty, root] = demo::disks()?;
    let vm = lab
        .machine_with(
            "demo_ends_in_order_when_its_shell_exits",
            &demo::image(&lab.kernel, &lab.init)?,
        )
        .append(demo::WORDS)
        .scsi(&empty)
        .scsi(&root)
        .start()?;
    let prompt = vm.expect_console(demo::PROMPT)?;
    vm.send_console(b"hostname; echo process $$\n")?;
    let answer = vm.expect_console_after(prompt, "shell\nprocess 1\n")?;
    vm.expect_console_after(answer, demo::PROMPT)?;
    vm.send_console(b"exit\n")?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let ended = |id: &str| {
        outcome
            .events
            .iter()
            .position(|event| event.is_container(id, "exited"))
    };
    let (hello, shell, clock) = (ended("hello"), ended("shell"), ended("clock"));
    anyhow::ensure!(
        hello.is_some() && shell.is_some() && shell < clock,
        "{:#?}",
        outcome.events
    );
    // It was asked to stop, and not killed.
    anyhow::ensure!(
        outcome
            .events
            .iter()
            .any(|event| line(event) == Some(("clock", "told to stop")))
    );
    let clock = clock.map(|at| &outcome.events[at].what);
    anyhow::ensure!(
        matches!(clock, Some(What::Container { code: Some(0), .. })),
        "{clock:?}"
    );
    Ok(())
}
