//! A root filesystem of Debian's: some of its packages, unpacked as they are. Nothing is installed
//! and no script of theirs is run.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::apt::{Archive, Mirror};
use crate::arch::Arch;
use crate::kernel::codename;
use crate::paths::target_dir;
use crate::program::{command, run};
use crate::whole;

/// What a shell and the usual commands come from; these bring the C library along.
const PACKAGES: [&str; 3] = ["bash", "coreutils", "base-files"];

/// The directories that Debian has below `/usr`, and links to from `/`.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// The release that this machine runs, fetched if it is not there yet.
///
/// # Errors
/// What cannot be fetched.
pub fn debian() -> Result<PathBuf> {
    let dir = target_dir().join("rootfs/debian");
    whole::directory(&dir, unpack)?;
    Ok(dir)
}

/// The static busybox of that release, for a machine of that architecture.
///
/// # Errors
/// What cannot be fetched.
pub fn busybox(arch: Arch) -> Result<PathBuf> {
    let name = format!("busybox-{}", arch.debian());
    let dir = target_dir().join("rootfs").join(&name);
    whole::directory(&dir, |unpacked| {
        archive(&name, arch)?.unpack(&["busybox-static".to_owned()], unpacked)
    })?;
    let merged = dir.join("usr/bin/busybox");
    Ok(if merged.is_file() {
        merged
    } else {
        dir.join("bin/busybox")
    })
}

fn unpack(root: &Path) -> Result<()> {
    install(&archive("rootfs", Arch::X86_64)?, &PACKAGES, root)
}

/// The packages of the release, with their lists below that name.
fn archive(lists: &str, arch: Arch) -> Result<Archive> {
    let codename = codename()?;
    let security = format!("{codename}-security");
    Archive::open(
        &target_dir().join("apt").join(lists),
        &Mirror::of_machine(&codename)?,
        &[codename.as_str(), &security],
        arch,
    )
}

/// Unpacks these packages and what they depend on, in an empty directory.
pub(crate) fn install(archive: &Archive, packages: &[&str], root: &Path) -> Result<()> {
    let packages = archive.installation(packages)?;
    eprintln!("rootfs: fetching {}", packages.join(", "));
    for name in MERGED {
        fs::create_dir_all(root.join("usr").join(name))?;
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    let downloads = tempfile::tempdir_in(root)?;
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
    Ok(())
}
