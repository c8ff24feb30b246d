//! Bundles as people make them: with root filesystems and configurations of standard tools, and
//! nothing changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_qemu::whole;

/// A bundle by its name; what its container prints when it is asked for [`QUESTIONS`] is known.
pub struct Real {
    /// The directory's name.
    pub name: &'static str,
    /// The answers.
    pub answers: [&'static str; 4],
}

/// Debian's packages with the configuration of `runc spec`; busybox with that of `crun spec`; and
/// an image, unpacked by `umoci`.
pub const REAL: [Real; 3] = [
    Real {
        name: "debian",
        answers: ["0", "runc", "sealed", "devices"],
    },
    Real {
        name: "busybox",
        answers: ["0", "crun", "sealed", "devices"],
    },
    Real {
        name: "image",
        answers: ["0", "umoci-default", "open", "devices"],
    },
];

/// What a shell in each of them is asked: who it is, where, whether it can change the root, whether
/// it has its devices.
pub const QUESTIONS: &str = "id -u; uname -n; mkdir /made 2>/dev/null && rmdir /made && echo open || echo sealed; \
    test -c /dev/null && test -d /proc/self && test -w /dev/pts/ptmx && test -d /dev/shm && echo devices";

const RUNC_SPEC: &[u8] = include_bytes!("../config/real/runc-spec.json");
const CRUN_SPEC: &[u8] = include_bytes!("../config/real/crun-spec.json");

/// Commands that are links to busybox.
const APPLETS: [&str; 8] = ["cat", "id", "ls", "mkdir", "rmdir", "sh", "test", "uname"];

/// The directory of the bundles, `target/bundles`, which is made if it is not there yet.
///
/// # Errors
/// What cannot be fetched, or a tool that fails.
pub fn real_bundles() -> Result<PathBuf> {
    let dir = berth_qemu::target_dir().join("bundles");
    whole::directory(&dir, make)?;
    Ok(dir)
}

fn make(dir: &Path) -> Result<()> {
    let at = |path: &str| dir.join(path);
    fs::create_dir_all(at("debian"))?;
    fs::write(at("debian/config.json"), RUNC_SPEC)?;
    let mut copy = Command::new("cp");
    run(copy
        .arg("--archive")
        .arg(berth_qemu::rootfs::debian()?)
        .arg(at("debian/rootfs")))?;
    fs::create_dir_all(at("busybox"))?;
    fs::write(at("busybox/config.json"), CRUN_SPEC)?;
    busybox(&at("busybox/rootfs"))?;
    image(&at("layout"), &at("first"), &at("image"))?;
    for Real { name, answers } in &REAL {
        fs::write(at(name).join("questions"), QUESTIONS)?;
        fs::write(at(name).join("answers"), answers.join("\n") + "\n")?;
    }
    for temporary in ["layout", "first"] {
        fs::remove_dir_all(at(temporary))?;
    }
    Ok(())
}

fn busybox(rootfs: &Path) -> Result<()> {
    for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(directory))?;
    }
    let busybox = berth_qemu::busybox()?;
    fs::copy(&busybox, rootfs.join("bin/busybox")).context("copy busybox")?;
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet))?;
    }
    Ok(())
}

/// An OCI image with busybox in it, in a layout at `layout`, unpacked to `bundle`.
fn image(layout: &Path, first: &Path, bundle: &Path) -> Result<()> {
    let tagged = format!("{}:one", layout.display());
    let umoci = |words: &[&str], more: &[&Path]| {
        run(Command::new("umoci")
            .arg(words[0])
            .args(&words[1..])
            .args(more))
    };
    umoci(&["init", "--layout"], &[layout])?;
    umoci(&["new", "--image", &tagged], &[])?;
    umoci(&["unpack", "--image", &tagged], &[first])?;
    busybox(&first.join("rootfs"))?;
    umoci(&["repack", "--image", &tagged], &[first])?;
    umoci(
        &["config", "--image", &tagged, "--config.cmd", "/bin/sh"],
        &[],
    )?;
    umoci(&["unpack", "--image", &tagged], &[bundle])
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("{:?}: run `berth-qemu setup`", command.get_program()))?;
    ensure!(output.status.success(), "{command:?}: {output:?}");
    Ok(())
}
