//! The stages of a boot with a container, and PID 1 as that container sees it.
//!
//! The container shares the host's PID namespace, so that `/proc/1` is berth. It looks, sleeps for
//! [`IDLE`], and looks again: what PID 1 was woken up for in between shows as context switches.

use std::path::Path;

use anyhow::{Context, Result};
use berth_initramfs::{Compression, ModuleTree, Spec};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::kernel::Kernel;
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Event, Vm, What};
use serde_json::json;

use crate::table::Table;

/// What the harness's ports and disk need, and the filesystem.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_console", "virtio_blk", "vfat"];

/// How long PID 1 is left alone, in seconds of the guest.
const IDLE: u32 = 60;

/// The host's static busybox, which the demo runs too.
const BUSYBOX: &str = "/bin/busybox";

/// Adds the rows of stages, memory and wake-ups.
pub(crate) fn measure(kernel: &Kernel, init: &Path, table: &mut Table) -> Result<()> {
    let image = Spec::new(init)
        .berth(init.with_file_name("berth"))
        .modules(ModuleTree::open(&kernel.modules, Some(&kernel.release))?)
        .load(MODULES)
        .build(Compression::None)?;
    let disk = Disk::mbr(0xb0a7_0001)
        .partition(Fs::vfat("BERTH", 0xb0a7_0002, files()))
        .build()?;
    let vm = Vm::builder("bench/demo")
        .kernel(kernel)
        .initrd_bytes(image.bytes)
        .append("loglevel=4 root=/dev/vda1")
        .blk(&disk)
        .counted()
        .start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;

    for event in &outcome.events {
        if let What::Stage { stage, us } = &event.what {
            table.row(
                format!("stage `{stage}`"),
                format!("{us} µs of one instruction a ns"),
                "",
            );
        }
    }
    let figures = |name: &str| -> Vec<u64> {
        let lines = outcome.events.iter().filter_map(line);
        let values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values
            .filter_map(|value| value.split_whitespace().next()?.parse().ok())
            .collect()
    };
    let resident = figures("VmRSS")
        .first()
        .copied()
        .context("PID 1 shows no VmRSS")?;
    table.row("PID 1 resident", format!("{resident} KiB"), "300 KiB");
    let switches = figures("voluntary_ctxt_switches");
    let [before, after] = switches.as_slice() else {
        anyhow::bail!(
            "PID 1 shows its context switches {} times, not twice",
            switches.len()
        );
    };
    table.row(
        format!("wake-ups of PID 1 in {IDLE} idle seconds"),
        (after - before).to_string(),
        "0",
    );
    Ok(())
}

fn line(event: &Event) -> Option<&str> {
    event.raw["line"].as_str()
}

/// A root filesystem with the container that looks.
fn files() -> Tree {
    let look = format!("{BUSYBOX} grep -E '^(VmRSS|voluntary)' /proc/1/status");
    // Printing wakes PID 1 up, so all is printed at the end.
    let script =
        format!("a=$({look}); {BUSYBOX} sleep {IDLE}; b=$({look}); echo \"$a\"; echo \"$b\"");
    let config = json!({
        "ociVersion": "1.2.0",
        "process": { "args": [BUSYBOX, "sh", "-c", script], "cwd": "/" },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
        ],
        "linux": { "namespaces": [{ "type": "mount" }] },
    });
    let tree = Tree::new()
        .file("containers/look/config.json", config.to_string())
        .copy(BUSYBOX, "containers/look/rootfs/bin/busybox");
    ["proc", "dev"].into_iter().fold(tree, |tree, name| {
        tree.directory(format!("containers/look/rootfs/{name}"))
    })
}
