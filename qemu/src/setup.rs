//! What the host needs: which programs, from which packages, and how they get there.
//!
//! Nothing is asked of a package database: a program that is there is good enough, wherever it came
//! from. What is missing is said before it is installed, and where it cannot be installed (no apt,
//! not root) the packages and the command are named. With all in place it takes no time and says
//! nothing.

use std::io::IsTerminal;
use std::path::Path;
use std::process::Stdio;
use std::{fs, io};

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::program::{command, find};

/// A program, and the Debian package that has it.
#[derive(Debug, PartialEq, Eq)]
struct Need {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const fn need(program: &'static str, package: &'static str, purpose: &'static str) -> Need {
    Need {
        program,
        package,
        purpose,
    }
}

const NEEDS: &[Need] = &[
    need("mkfs.vfat", "dosfstools", "makes vfat disks"),
    need("mcopy", "mtools", "fills them"),
    need("mke2fs", "e2fsprogs", "makes ext4 disks"),
    need("sfdisk", "fdisk", "makes partition tables"),
    need("mkfs.exfat", "exfatprogs", "makes exfat disks"),
    need("mkfs.xfs", "xfsprogs", "makes xfs disks"),
    need("mkfs.btrfs", "btrfs-progs", "makes btrfs disks"),
    need("mksquashfs", "squashfs-tools", "makes squashfs disks"),
    need("mkfs.erofs", "erofs-utils", "makes erofs disks"),
    need("mkfs.f2fs", "f2fs-tools", "makes f2fs disks"),
    need("genisoimage", "genisoimage", "makes iso9660 disks"),
    need("mkntfs", "ntfs-3g", "makes ntfs disks"),
    need("cryptsetup", "cryptsetup-bin", "makes encrypted disks"),
    need("veritysetup", "cryptsetup-bin", "makes hash trees"),
    need("cpio", "cpio", "makes archives"),
    need("umoci", "umoci", "unpacks an OCI image"),
    need(
        "busybox",
        "busybox-static",
        "what the demo's containers run",
    ),
];

/// Sees to it that all programs are there, installing what is missing.
pub fn ensure_programs(arch: Arch) -> Result<()> {
    let missing = missing(arch, |program| find(program).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.dedup();
    let packages = packages.join(" ");
    let by_hand = format!("apt-get install --no-install-recommends {packages}");
    let is_root = rustix::process::geteuid().is_root();
    ensure!(
        find("apt-get").is_some(),
        "this machine lacks {packages} (Debian's names): install them"
    );
    ensure!(
        is_root,
        "this machine lacks {packages}: install them as root with `{by_hand}`"
    );

    eprintln!("setup: installing what is missing:");
    for Need {
        program,
        package,
        purpose,
    } in &missing
    {
        eprintln!("  {package:<16} for {program}: {purpose}");
    }
    if !has_package_lists() {
        apt_get(&["update"])?;
    }
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages.split(' '));
    apt_get(&install).with_context(|| format!("try `apt-get update`, then `{by_hand}`"))
}

fn missing(arch: Arch, has: impl Fn(&str) -> bool) -> Vec<Need> {
    let qemu = match arch {
        Arch::X86_64 => "qemu-system-x86",
        Arch::Aarch64 => "qemu-system-arm",
    };
    let emulator = need(arch.qemu(), qemu, "runs the machines");
    let needs = std::iter::once(&emulator).chain(NEEDS);
    needs
        .filter(|need| !has(need.program))
        .map(|n| need(n.program, n.package, n.purpose))
        .collect()
}

/// Whether apt knows any package: a fresh container image has no lists.
fn has_package_lists() -> bool {
    let lists = fs::read_dir(Path::new("/var/lib/apt/lists"));
    lists.is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    })
}

/// Runs apt-get with its output on stderr, so that the user sees what it does.
fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut apt = command("apt-get");
    apt.args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    if !io::stderr().is_terminal() {
        apt.arg("--quiet");
    }
    let status = apt.stdout(io::stderr()).status().context("start apt-get")?;
    if !status.success() {
        bail!("apt-get {}: {status}", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_with_all_programs_misses_nothing() {
        assert_eq!(missing(Arch::X86_64, |_| true), []);
    }

    #[test]
    fn missing_program_is_named_with_its_package() {
        let missing = missing(Arch::X86_64, |program| program != "mcopy");
        assert_eq!(missing, [need("mcopy", "mtools", "fills them")]);
    }

    #[test]
    fn each_architecture_has_its_emulator() {
        let packages = |arch| missing(arch, |program| !program.starts_with("qemu"));
        assert_eq!(packages(Arch::X86_64)[0].package, "qemu-system-x86");
        assert_eq!(packages(Arch::Aarch64)[0].package, "qemu-system-arm");
    }
}
