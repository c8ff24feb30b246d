//! 8, second part: what can become the root, and what cannot (pivot_root(2)).

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use berth::parse::mount_options::Propagation;
use berth::sys::mount::{
    Flags, enter, mount_new, pivot_root_here, set_propagation, unmount_detach,
};
use rustix::io::Errno;
use rustix::process::{chroot, pivot_root};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::bind::held_to;
use super::namespace::{USER_AND_MOUNTS, in_process};
use super::stage::{Way, fault};
use super::{Case, cases};

pub(super) fn cases() -> Vec<Case> {
    cases!["8":
        both "pivot-in-place" in_place,
        once "pivot-with-old-root-inside" with_old_root_inside,
        both "pivot-onto-shared" onto_shared,
        both "pivot-from-shared-parent" from_shared_parent,
        both "pivot-below-shared-parent" below_shared_parent,
        once "pivot-to-locked" to_locked,
        once "pivot-to-removed" to_removed,
        once "pivot-to-itself" to_itself,
        once "pivot-from-plain-directory" from_plain_directory,
        once "pivot-from-the-first-root" from_the_first_root,
        once "pivot-to-plain-directory" to_plain_directory,
        once "pivot-with-old-root-elsewhere" with_old_root_elsewhere,
    ]
}

fn refused(new: &str, old: &str, errno: Errno) -> Result<()> {
    held_to(pivot_root(new, old), Some(errno)).with_context(|| format!("{new}, {old}"))
}

/// As containers do: the old root comes to lie on the new one, and is taken away.
fn in_place(way: Way) -> Result<()> {
    way.fresh("n")?;
    fs::write("n/mark", "")?;
    enter("n").map_err(fault)?;
    pivot_root_here()?;
    unmount_detach(".").map_err(fault)?;
    enter("/").map_err(fault)?;
    ensure!(fs::exists("/mark")? && !fs::exists("/tmp")?);
    ensure!(fs::metadata("/")?.ino() == fs::metadata("/..")?.ino());
    Ok(())
}

fn with_old_root_inside() -> Result<()> {
    Way::Path.fresh("n")?;
    pivot_root("n", "n/d")?;
    enter("/").map_err(fault)?;
    ensure!(fs::exists("/d/tmp/stage")?);
    unmount_detach("/d").map_err(fault)?;
    ensure!(!fs::exists("/d/tmp")?);
    Ok(())
}

/// The old root would be mounted in a mount that passes it on.
fn onto_shared(way: Way) -> Result<()> {
    way.fresh("n")?;
    way.fresh("n/d")?.set(Propagation::Shared, false)?;
    refused("n", "n/d", Errno::INVAL)?;
    set_propagation("n", Propagation::Shared).map_err(fault)?;
    refused("n", "n/e", Errno::INVAL)?;
    set_propagation("n", Propagation::Private).map_err(fault)?;
    held_to(pivot_root("n", "n/e"), None)
}

/// The new root is taken away from where it was, which its peers would have to follow.
fn from_shared_parent(way: Way) -> Result<()> {
    let parent = way.fresh("s")?;
    way.fresh("s/e")?;
    parent.set(Propagation::Shared, false)?;
    refused("s/e", "s/e/d", Errno::INVAL)?;
    set_propagation("s", Propagation::Private).map_err(fault)?;
    held_to(pivot_root("s/e", "s/e/d"), None)
}

/// And so is the old one.
fn below_shared_parent(way: Way) -> Result<()> {
    let parent = way.fresh("s")?;
    way.fresh("s/e")?;
    way.fresh("s/e/e")?;
    let shared = fs::File::open("s")?;
    parent.set(Propagation::Shared, false)?;
    chroot("s/e")?;
    enter("/").map_err(fault)?;
    refused("/e", "/e/d", Errno::INVAL)?;
    rustix::process::fchdir(&shared)?;
    set_propagation(".", Propagation::Private).map_err(fault)?;
    held_to(pivot_root("/e", "/e/d"), None)
}

/// In the namespace of a less privileged user. A bind of it on itself is their own, and can.
fn to_locked() -> Result<()> {
    Way::Path.fresh("n")?;
    in_process(USER_AND_MOUNTS, || {
        refused("n", "n/d", Errno::INVAL)?;
        Way::Path.bind("n", "n", true)?;
        held_to(pivot_root("n", "n/d"), None)
    })
}

fn to_removed() -> Result<()> {
    Way::Path.fresh("a")?;
    Way::Path.bind("a/e", "n", false)?;
    enter("n").map_err(fault)?;
    fs::remove_dir("../a/e")?;
    refused(".", ".", Errno::NOENT)
}

fn to_itself() -> Result<()> {
    refused("/", "/tmp", Errno::BUSY)?;
    Way::Path.fresh("n")?;
    refused("n", "/mnt", Errno::BUSY)
}

fn from_plain_directory() -> Result<()> {
    Way::Path.fresh("n")?;
    chroot("n/d")?;
    enter("/").map_err(fault)?;
    Way::Path.fresh("/x")?;
    refused("/x", "/x/d", Errno::INVAL)
}

/// The root that has none below it: the initramfs before Linux 7.0, and after that an empty one
/// that nothing can be put on, only over. Whoever takes `/` away and enters the namespace again is
/// there.
fn from_the_first_root() -> Result<()> {
    let namespace = fs::File::open("/proc/self/ns/mnt")?;
    let enter_again =
        || move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount));
    unmount_detach("/").map_err(fault)?;
    enter_again()?;
    const TARGET: &str = "/new-root";
    let made = fs::create_dir(TARGET);
    if made.is_ok() {
        mount_new("tmpfs", "fresh", TARGET, Flags::empty(), c"").map_err(fault)?;
        enter(TARGET).map_err(fault)?;
        let found = pivot_root_here();
        enter("/").map_err(fault)?;
        unmount_detach(TARGET).map_err(fault)?;
        fs::remove_dir(TARGET)?;
        println!("kernel first-root initramfs");
        return held_to(found, Some(Errno::INVAL));
    }
    println!("kernel first-root empty");
    mount_new("tmpfs", "fresh", "/", Flags::empty(), c"").map_err(fault)?;
    enter_again()?;
    Way::Path.fresh("/n")?;
    enter("/n").map_err(fault)?;
    held_to(pivot_root_here(), None)
}

fn to_plain_directory() -> Result<()> {
    Way::Path.fresh("n")?;
    refused("n/d", "n/d/x", Errno::INVAL)
}

fn with_old_root_elsewhere() -> Result<()> {
    Way::Path.fresh("n")?;
    Way::Path.fresh("m")?;
    refused("n", "m", Errno::INVAL)
}
