//! A root filesystem of Debian's: some of its packages, unpacked as they are. Nothing is installed and no script of theirs is run.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::apt::{Archive, Mirror};
use crate::arch::Arch;
use crate::kernel::codename;
use crate::paths::target_dir;
use crate::program::{command, run};

/// What a shell and the usual commands come from; these bring the C library along.
const PACKAGES: [&str; 3] = ["bash", "coreutils", "base-files"];

/// The directories that Debian has below `/usr`, and links to from `/`.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// The release that this machine runs, fetched if it is not there yet.
///
/// # Errors
/// What cannot be fetched.
pub fn debian() -> Result<PathBuf> {
    let all = target_dir().join("rootfs");
    fs::create_dir_all(&all).with_context(|| format!("create {}", all.display()))?;
    let lock = File::create(all.join(".lock")).context("make the lock of the root filesystem")?;
    lock.lock().context("lock the root filesystem")?;
    let dir = all.join("debian");
    if dir.exists() {
        return Ok(dir);
    }
    let codename = codename()?;
    let security = format!("{codename}-security");
    let archive = Archive::open(
        &target_dir().join("apt/rootfs"),
        &Mirror::of_machine(&codename)?,
        &[codename.as_str(), &security],
        Arch::X86_64,
    )?;
    let mut packages = Vec::new();
    for package in PACKAGES {
        packages.extend(archive.closure(package)?);
    }
    packages.sort();
    packages.dedup();
    eprintln!("rootfs: fetching {}", packages.join(", "));
    let unpacked = tempfile::Builder::new()
        .prefix(".unpacking-")
        .tempdir_in(&all)?;
    let root = unpacked.path();
    for name in MERGED {
        fs::create_dir_all(root.join("usr").join(name))?;
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    let downloads = tempfile::tempdir_in(&all)?;
    for package in archive.download(&packages, downloads.path())? {
        // Through the links, which dpkg-deb by itself would replace by directories.
        let tar = root.join("package.tar");
        let mut list = command("dpkg-deb");
        list.arg("--fsys-tarfile").arg(&package);
        let output = list.stdout(File::create(&tar)?).status()?;
        anyhow::ensure!(output.success(), "dpkg-deb {}: {output}", package.display());
        let mut unpack = command("tar");
        unpack.args(["--extract", "--keep-directory-symlink", "--file"]);
        run(unpack.arg(&tar).arg("--directory").arg(root))?;
        fs::remove_file(&tar)?;
    }
    let shell = root.join("usr/bin/sh");
    if !shell.exists() {
        symlink("bash", shell)?;
    }
    fs::rename(unpacked.keep(), &dir).with_context(|| format!("rename to {}", dir.display()))?;
    Ok(dir)
}
