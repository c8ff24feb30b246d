//! Container engines that call a runtime, as Debian has them.

use anyhow::Result;
use berth_qemu::packages::{LIBRARIES, Packages};
use berth_qemu::tree::Tree;

const PACKAGES: [&str; 2] = ["podman", "containerd"];

/// Podman with what it asks about networks and what watches its containers; containerd, with what
/// does that, and with its own command.
const PROGRAMS: [&str; 6] = [
    "usr/bin/podman",
    "usr/lib/podman/netavark",
    "usr/bin/conmon",
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/ctr",
];

/// Settings, among them the filter of system calls and the trust in images.
const SETTINGS: [&str; 2] = ["etc/containers", "usr/share/containers"];

const DIRECTORIES: [&str; 9] = [
    "bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var/tmp",
];

/// Commands that are links to busybox.
const APPLETS: [&str; 16] = [
    "cat", "echo", "grep", "head", "hostname", "id", "ls", "mkdir", "mount", "rm", "sh", "sleep",
    "stat", "test", "touch", "wc",
];

/// Adds a root with the engines, and with busybox, at `at`.
///
/// # Errors
/// What cannot be fetched.
pub fn engines(mut tree: Tree, at: &str) -> Result<Tree> {
    let packages = Packages::get("engines", &PACKAGES)?;
    for directory in DIRECTORIES {
        tree = tree.directory(format!("{at}/{directory}"));
    }
    let mut files = Vec::from(PROGRAMS.map(str::to_owned));
    for program in PROGRAMS {
        files.extend(packages.libraries(program)?);
    }
    files.extend(SETTINGS.map(str::to_owned));
    files.sort_unstable();
    files.dedup();
    for file in files {
        // A library is a link to its version.
        let real = packages.root.join(&file).canonicalize()?;
        tree = tree.copy(real, format!("{at}/{file}"));
    }
    busybox(tree.symlink(format!("{at}/lib64"), LIBRARIES), at)
}

/// Adds busybox, and its commands, at `at`.
///
/// # Errors
/// What cannot be fetched.
pub fn busybox(tree: Tree, at: &str) -> Result<Tree> {
    let tree = tree.copy(berth_qemu::busybox()?, format!("{at}/bin/busybox"));
    Ok(APPLETS.into_iter().fold(tree, |tree, applet| {
        tree.symlink(format!("{at}/bin/{applet}"), "busybox")
    }))
}
