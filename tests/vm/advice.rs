//! What is advised when the kernel refuses a root, or did not unpack the image whole: what fits its
//! words.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, DiskImage, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Drive, Ended, Event, Outcome};
use berth_tests::{Bundle, Lab, MODULES, disk, field, line};

use crate::provoke::{OWN_FAILURE, left_in_order};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere journal_that_cannot_be_replayed_is_to_be_left_alone,
    once what_is_on_a_root_without_containers_is_told,
    once link_that_leads_nowhere_is_told_with_its_target,
    everywhere archive_at_an_odd_place_of_the_initramfs_is_told_by_its_place,
];

/// An ext4 whose journal is said not to be empty.
fn unclean() -> Result<DiskImage> {
    let files = disk::files([Bundle::new("kept")])?;
    let image = Disk::bare(Fs::ext4("BERTH", disk::EXT4_UUID, files)).build()?;
    let marked = Command::new("debugfs")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["-w", "-R", "feature needs_recovery"])
        .arg(image.as_ref())
        .output()
        .context("start debugfs")?;
    ensure!(marked.status.success(), "{marked:?}");
    Ok(image)
}

fn journal_that_cannot_be_replayed_is_to_be_left_alone(lab: &Lab) -> Result<()> {
    let name = "journal_that_cannot_be_replayed_is_to_be_left_alone";
    let image = unclean()?;
    let boot = |words: &str| -> Result<Outcome> {
        let vm = lab.machine(name)?.append("root=LABEL=BERTH").append(words);
        Ok(vm.drive(Drive::blk(&image).read_only()).start()?.wait()?)
    };
    for words in ["ro", ""] {
        let refused = boot(words)?;
        refused.assert(Ended::PowerOff, OWN_FAILURE)?;
        ensure!(refused.events.iter().any(|event| event.is_failure("B024")));
        let advice = "boot with `ro rootflags=noload`, without the last changes";
        ensure!(refused.console.contains(advice), "{words:?}");
    }
    let mounted = boot("ro rootflags=noload")?;
    mounted.assert(Ended::PowerOff, 0)?;
    let mut lines = mounted.events.iter().filter_map(line);
    ensure!(lines.any(|line| line == ("kept", "kept")));
    Ok(())
}

/// The second of two archives begins two bytes behind the first, which ends at a multiple of four.
fn archive_at_an_odd_place_of_the_initramfs_is_told_by_its_place(lab: &Lab) -> Result<()> {
    let image = lab.spec()?.load(MODULES).build(Compression::None)?.bytes;
    let second = berth_initramfs::Spec::new(&lab.init).build(Compression::None)?;
    ensure!(image.len().is_multiple_of(4), "{}", image.len());
    let bytes = [&image[..], &[0; 2], &second.bytes].concat();
    let outcome = lab
        .machine("archive_at_an_odd_place_of_the_initramfs_is_told_by_its_place")?
        .initrd_bytes(bytes)
        .append("root=/dev/vda1 rootwait=0")
        .start()?
        .wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let expected = "the kernel did not unpack the initramfs whole (broken padding): an archive in it does not begin at a multiple of 4 bytes: what is put together needs zeros in between";
    let is_it = |event: &Event| field(event, "line") == Some(expected);
    ensure!(outcome.events.iter().any(is_it), "{:#?}", outcome.events);
    Ok(())
}

/// Boots from an ext4 with this on it, and holds the report to the line.
fn told_of(lab: &Lab, name: &str, tree: Tree, words: &str, expected: &str) -> Result<()> {
    let image = disk::of(Fs::ext4("BERTH", disk::EXT4_UUID, tree))?;
    let vm = lab.machine(name)?.append("root=LABEL=BERTH").append(words);
    let vm = vm.blk(&image).start()?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, OWN_FAILURE)?;
    let is_it = |event: &Event| field(event, "line") == Some(expected);
    ensure!(outcome.events.iter().any(is_it), "{:#?}", outcome.events);
    left_in_order(&vm)
}

fn what_is_on_a_root_without_containers_is_told(lab: &Lab) -> Result<()> {
    let name = "what_is_on_a_root_without_containers_is_told";
    let debian = Tree::new()
        .file(
            "usr/lib/os-release",
            "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n",
        )
        .symlink("etc/os-release", "../usr/lib/os-release")
        .executable("usr/lib/systemd/systemd", "x")
        .symlink("sbin", "usr/sbin")
        .symlink("usr/sbin/init", "/lib/systemd/systemd")
        .symlink("lib", "usr/lib");
    let told = "the root is Debian GNU/Linux 12: boot it with init=/sbin/init";
    told_of(lab, name, debian, "", told)
}

fn link_that_leads_nowhere_is_told_with_its_target(lab: &Lab) -> Result<()> {
    let name = "link_that_leads_nowhere_is_told_with_its_target";
    let tree = Tree::new().symlink("sbin/init", "/lib/systemd/systemd");
    let told = "/sbin/init is a link to /lib/systemd/systemd, which is not on the root";
    told_of(lab, name, tree, "init=/sbin/init", told)
}
