//! Containers on a machine of the other architecture: both programs, built for it, start programs
//! that Debian built for it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use berth_initramfs::{Compression, ModuleTree, Spec};
use berth_qemu::arch::Arch;
use berth_qemu::cross::Toolchain;
use berth_qemu::disk::Fs;
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Vm};
use berth_qemu::{rootfs, setup};
use berth_tests::{Bundle, Lab, disk, line};
use serde_json::json;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    matrix containers_run_on_aarch64,
];

/// The way to a vfat disk, and to the event port.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_console", "virtio_blk", "vfat"];

/// The directory of `init` and `berth`, built by the first test that asks for them.
fn programs() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = tests.parent().context("the tests are in no workspace")?;
        Toolchain::get(Arch::Aarch64)?.build(workspace)
    };
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(|error| anyhow!(error))
}

/// A container of busybox's shell, with no more than a container has by default.
fn busybox(tree: Tree, busybox: &Path, bundle: Bundle, script: &str) -> Tree {
    let bundle = bundle.confined().runs(["/bin/busybox", "sh", "-c", script]);
    let base = format!("containers/{}", bundle.id());
    let directories = ["dev", "proc", "tmp"].map(|name| format!("{base}/rootfs/{name}"));
    let tree = tree
        .file(format!("{base}/config.json"), bundle.config())
        .copy(busybox, format!("{base}/rootfs/bin/busybox"));
    directories.into_iter().fold(tree, Tree::directory)
}

fn containers_run_on_aarch64(lab: &Lab) -> Result<()> {
    setup::ensure_programs(Arch::Aarch64)?;
    let kernel = lab.series.get(Arch::Aarch64)?;
    let programs = programs()?;
    let program = rootfs::busybox(Arch::Aarch64)?;
    let tree = busybox(
        disk::files([])?,
        &program,
        Bundle::new("plain"),
        "echo process $$ on $(busybox uname -m), $(busybox ls /proc | busybox grep -c ^1$) of 1",
    );
    // Numbers of system calls and the name of the architecture are another table there.
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_AARCH64"],
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }],
    });
    let tree = busybox(
        tree,
        &program,
        Bundle::new("filtered").set("/linux/seccomp", profile),
        "busybox mkdir /dev/a 2>&1; busybox touch /dev/b && echo made",
    );
    let image = Spec::new(programs.join("init"))
        .berth(programs.join("berth"))
        .modules(ModuleTree::open(&kernel.modules, Some(&kernel.release))?)
        .load(MODULES)
        .build(Compression::Zstd)?;
    let outcome = Vm::builder(&format!("{}/containers_run_on_aarch64", kernel.name))
        .arch(Arch::Aarch64)
        .kernel(&kernel)
        .initrd_bytes(image.bytes)
        .append("loglevel=5 berth.on_failure=poweroff root=LABEL=BERTH")
        .blk(&disk::of(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, tree))?)
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let mut said: Vec<_> = outcome.events.iter().filter_map(line).collect();
    said.sort_unstable();
    let expected = [
        ("filtered", "made"),
        (
            "filtered",
            "mkdir: can't create directory '/dev/a': Operation not supported",
        ),
        ("plain", "process 1 on aarch64, 1 of 1"),
    ];
    ensure!(said == expected, "{said:?}");
    Ok(())
}
