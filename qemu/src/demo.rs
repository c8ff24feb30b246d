//! The machine that `make run` boots.
//!
//! Two SCSI disks: `sda` is empty, `sdb` has an MBR and one vfat partition with three bundles below
//! `/containers`. `hello` prints a few lines and ends, `clock` runs until it is stopped, and
//! `shell` has the console; when it exits the machine shuts down. What they run is the host's
//! static busybox; their configurations are in `qemu/demo/`.
//!
//! vfat has no links and no modes, so a rootfs is busybox itself and empty directories to mount on.
//! The shell links busybox' applets into a tmpfs before it does anything else; the other two make
//! do with what a shell can by itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, DeviceClass, Image, ModuleTree, Spec};

use crate::disk::{Disk, DiskImage, Fs};
use crate::kernel::Kernel;
use crate::program;
use crate::tree::Tree;

/// What the shell shows when it waits for a command.
pub const PROMPT: &str = "shell# ";

/// The kernel command line, before what the user adds: only errors of the kernel, and all of berth.
pub const WORDS: &str = "loglevel=4 root=/dev/sdb1";

/// What is loaded at boot: the way to the event port and to the disks, and the file system.
pub const MODULES: [&str; 5] = [
    "virtio_pci",
    "virtio_console",
    "sd_mod",
    "virtio_scsi",
    "vfat",
];

/// The bundles: name, configuration, and the script that it runs.
const BUNDLES: [(&str, &str, &str); 3] = [
    (
        "hello",
        include_str!("../demo/hello/config.json"),
        include_str!("../demo/hello/start.sh"),
    ),
    (
        "clock",
        include_str!("../demo/clock/config.json"),
        include_str!("../demo/clock/start.sh"),
    ),
    (
        "shell",
        include_str!("../demo/shell/config.json"),
        include_str!("../demo/shell/start.sh"),
    ),
];

/// The initramfs: `init`, the program `berth` beside it, and the modules.
///
/// # Errors
/// `init` is not there, or the kernel lacks a module.
pub fn image(kernel: &Kernel, init: &Path) -> Result<Image> {
    ensure!(
        init.is_file(),
        "{} is not there: `make init` builds it",
        init.display()
    );
    let modules = ModuleTree::open(&kernel.modules, Some(&kernel.release))?;
    Spec::new(init)
        .berth(init.with_file_name("berth"))
        .modules(modules)
        .load(MODULES)
        .for_devices([DeviceClass::Power])
        .build(Compression::None)
}

/// The host's static busybox.
///
/// # Errors
/// There is none.
pub fn busybox() -> Result<PathBuf> {
    program::find("busybox").context("busybox is not installed: run `berth-qemu setup`")
}

/// The bundles below `/containers`, for a disk.
///
/// # Errors
/// The host has no busybox.
pub fn tree() -> Result<Tree> {
    let busybox = busybox()?;
    let mut tree = Tree::new();
    for (id, config, script) in BUNDLES {
        let bundle = Path::new("containers").join(id);
        let rootfs = bundle.join("rootfs");
        tree = tree
            .file(bundle.join("config.json"), config)
            .copy(&busybox, rootfs.join("bin/busybox"))
            .file(rootfs.join("etc/start.sh"), script);
        for mount_point in ["proc", "sys", "dev", "tmp", "usr/bin"] {
            tree = tree.directory(rootfs.join(mount_point));
        }
    }
    Ok(tree)
}

/// `sda` and `sdb`.
///
/// # Errors
/// A tool that is missing.
pub fn disks() -> Result<[DiskImage; 2]> {
    let root = Disk::mbr(0xb0a7_0001).partition(Fs::vfat("BERTH", 0xb0a7_0002, tree()?));
    Ok([Disk::empty(16).build()?, root.build()?])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn config(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn mount_points_of_each_bundle_are_in_its_rootfs() {
        let root = tempfile::tempdir().unwrap();
        tree().unwrap().make(root.path()).unwrap();
        for (id, text, _) in BUNDLES {
            let rootfs = root.path().join("containers").join(id).join("rootfs");
            for mount in config(text)["mounts"].as_array().unwrap() {
                let destination = mount["destination"]
                    .as_str()
                    .unwrap()
                    .trim_start_matches('/');
                // What is mounted below /dev gets its mount point there, not on the disk.
                let is_there = destination.starts_with("dev/") || rootfs.join(destination).is_dir();
                assert!(is_there, "{id}: {destination}");
            }
        }
    }

    #[test]
    fn shell_has_the_console_and_the_prompt() {
        let (_, text, _) = BUNDLES[2];
        let shell = config(text);
        assert_eq!(shell["annotations"]["berth.console"], "true");
        assert_eq!(shell["annotations"]["berth.on-exit"], "shutdown");
        let env = shell["process"]["env"].as_array().unwrap();
        assert!(env.contains(&format!("PS1={PROMPT}").into()), "{env:?}");
    }
}
