//! The programs for aarch64: built where a standard library for it is to be had, and booted in an
//! emulated machine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use berth_initramfs::{Compression, ModuleTree, Spec};
use berth_qemu::arch::Arch;
use berth_qemu::cross::Toolchain;
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::kernel::Series;
use berth_qemu::setup;
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Vm};

use crate::binary;

/// What reaches the event port and a vfat disk there.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_console", "virtio_blk", "vfat"];

/// Builds both, leaves them in `target/`, holds them to the rules of binaries, and boots `/init`.
pub(crate) fn check(workspace: &Path) -> Result<()> {
    let toolchain = Toolchain::get(Arch::Aarch64)
        .context("aarch64 was NOT checked: there is no standard library for it")?;
    let release = toolchain.build(workspace)?;
    for program in binary::PROGRAMS {
        let built = release.join(program.name);
        binary::check(&built)?;
        let kept = workspace.join(format!("target/{}-aarch64", program.name));
        fs::copy(&built, &kept).with_context(|| format!("write {}", kept.display()))?;
    }
    let init = workspace.join("target/init-aarch64");
    setup::ensure_programs(Arch::Aarch64)?;
    boot(&init).context("aarch64 was NOT seen to boot")
}

/// From the kernel onto a vfat disk, and through a container that cannot be executed, to power-off:
/// the rootfs is for another machine, so the report is the kernel's refusal, which comes after all
/// of the container's set-up.
fn boot(init: &Path) -> Result<()> {
    let kernel = Series::of_machine().get(Arch::Aarch64)?;
    let image = Spec::new(init)
        .berth(init.with_file_name("berth-aarch64"))
        .modules(ModuleTree::open(&kernel.modules, Some(&kernel.release))?)
        .load(MODULES)
        .build(Compression::None)?;
    let config = r#"{
        "ociVersion": "1.2.0",
        "process": { "args": ["/bin/program"], "cwd": "/" },
        "root": { "path": "rootfs" },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }] }
    }"#;
    let tree = Tree::new()
        .file("containers/foreign/config.json", config)
        .executable("containers/foreign/rootfs/bin/program", b"no program")
        .directory("containers/foreign/rootfs/proc");
    let disk = Disk::mbr(0xb0a7_0001)
        .partition(Fs::vfat("BERTH", 0xb0a7_0002, tree))
        .build()?;
    let vm = Vm::builder("aarch64")
        .arch(Arch::Aarch64)
        .kernel(&kernel)
        .initrd_bytes(image.bytes)
        .append("loglevel=5 root=LABEL=BERTH berth.on_failure=poweroff")
        .blk(&disk)
        .start()?;
    vm.expect("the move onto the disk", |event| event.is_stage("switch"))?;
    vm.expect("the container's program to be refused", |event| {
        event.is_failure("B054")
    })?;
    vm.wait()?.assert_ended(Ended::PowerOff)?;
    println!(
        "aarch64: {} boots onto its disk and sets a container up",
        kernel.release
    );
    Ok(())
}
