//! 8, first part: copies that are in no tree yet, as containers' mounts are made (open_tree(2),
//! mount_setattr(2), move_mount(2)).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::{Result, ensure};
use berth::parse::mount_options::Propagation;
use berth::sys::mount::{Detached, make_read_only};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, move_mount};

use super::bind::held_to;
use super::shape::{Place, expect, place};
use super::stage::{CHILD, DESTINATION, Kind, SOURCE, Way, is_mounted, open};
use super::{Case, both, cases};

/// What a copy of A is told to be, and what it is then, as C.
///
/// Left alone it is a peer of what it was copied from: what the container mounts in it would appear
/// on the host.
const ROWS: [(&str, Option<Propagation>, &str); 5] = [
    ("left-alone", None, "A=P=C"),
    ("private", Some(Propagation::Private), "A=P C"),
    ("slave", Some(Propagation::Slave), "A=P>C"),
    ("unbindable", Some(Propagation::Unbindable), "A=P C!"),
    // It is shared already; its group is new only if it comes of a mount that was not.
    ("shared", Some(Propagation::Shared), "A=P=C"),
];

const PLACES: [Place<'_>; 3] = [
    place('A', "a", "a/d/x"),
    place('P', "p", "p/d/x"),
    place('C', "c", "c/d/x"),
];

const PLACES_OF_CHILD: [Place<'_>; 3] = [
    place('A', "a/d/k", "a/d/k/d/x"),
    place('P', "i", "i/d/x"),
    place('C', "c/d/k", "c/d/k/d/x"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (word, propagation, shape) in ROWS {
        for (suffix, is_recursive) in [("", false), ("-recursively", true)] {
            let name = format!("8.copy-{word}{suffix}");
            cases.push(both(name, move |way| {
                copy(way, propagation, is_recursive, shape)
            }));
        }
    }
    cases.extend(cases!["8":
        once "copy-of-private-made-shared" copy_of_private_made_shared,
        once "two-propagations-at-once" two_propagations_at_once,
        once "attributes-of-no-mount-root" attributes_of_no_mount_root,
        once "access-times-by-halves" access_times_by_halves,
        once "tree-with-unbindable-onto-shared" tree_with_unbindable_onto_shared,
        once "into-what-is-detached" into_what_is_detached,
        once "beneath" beneath,
        once "into-a-group" into_a_group,
    ]);
    cases
}

/// `way` is how the original was made.
fn copy(way: Way, propagation: Option<Propagation>, is_recursive: bool, shape: &str) -> Result<()> {
    SOURCE.make_around(Kind::Shared, way, || {
        CHILD.make(Kind::Shared, way).map(drop)
    })?;
    std::fs::create_dir("c")?;
    let copy = Detached::copy_of(open("a")?.as_fd(), true)?;
    if let Some(propagation) = propagation {
        copy.set_propagation(propagation, is_recursive)?;
    }
    copy.attach(open("c")?.as_fd())?;
    expect(&PLACES, shape)?;
    expect(&PLACES_OF_CHILD, if is_recursive { shape } else { "A=P=C" })
}

fn copy_of_private_made_shared() -> Result<()> {
    SOURCE.make(Kind::Private, Way::Descriptor)?;
    std::fs::create_dir("c")?;
    let copy = Detached::copy_of(open("a")?.as_fd(), false)?;
    copy.set_propagation(Propagation::Shared, false)?;
    copy.attach(open("c")?.as_fd())?;
    expect(&PLACES, "A C=")
}

/// `struct mount_attr` of `<linux/mount.h>`.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user: u64,
}

fn two_propagations_at_once() -> Result<()> {
    Way::Path.fresh("a")?;
    let attributes = Attributes {
        set: 0,
        clear: 0,
        propagation: libc::MS_SHARED | libc::MS_PRIVATE,
        user: 0,
    };
    let mount = open("a")?;
    // SAFETY: the path is an empty C string, and the attributes have the size given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    let error = std::io::Error::last_os_error();
    ensure!(
        done == -1 && error.raw_os_error() == Some(libc::EINVAL),
        "{done}, {error}"
    );
    expect(&PLACES, "A")
}

fn attributes_of_no_mount_root() -> Result<()> {
    Way::Path.fresh("a")?;
    held_to(make_read_only(open("a/d")?.as_fd()), Some(Errno::INVAL))?;
    std::fs::write("a/d/file", "")?;
    held_to(make_read_only(open("a")?.as_fd()), None)?;
    ensure!(std::fs::write("a/d/file", "").is_err());
    Ok(())
}

/// The kind of access times is one field, which is set when the whole of it is cleared.
fn access_times_by_halves() -> Result<()> {
    let none = MountAttrFlags::empty();
    let noatime = MountAttrFlags::MOUNT_ATTR_NOATIME;
    let mount = Detached::new("tmpfs", "fresh", &mut std::iter::empty(), none)
        .map_err(super::stage::fault)?;
    held_to(
        mount.change_attributes(noatime, none, false),
        Some(Errno::INVAL),
    )?;
    held_to(
        mount.change_attributes(none, noatime, false),
        Some(Errno::INVAL),
    )?;
    held_to(
        mount.change_attributes(noatime, MountAttrFlags::MOUNT_ATTR__ATIME, false),
        None,
    )
}

fn tree_with_unbindable_onto_shared() -> Result<()> {
    SOURCE.make_around(Kind::Private, Way::Descriptor, || {
        CHILD.make(Kind::Private, Way::Descriptor).map(drop)
    })?;
    DESTINATION.make(Kind::Shared, Way::Descriptor)?;
    let copy = Detached::copy_of(open("a")?.as_fd(), true)?;
    copy.set_propagation(Propagation::Unbindable, true)?;
    held_to(copy.attach(open("b/e")?.as_fd()), Some(Errno::INVAL))?;
    ensure!(!is_mounted("b/e")? && !is_mounted("q/e")?);
    held_to(copy.attach(open("a/e")?.as_fd()), None)
}

/// Kernels before 6.15 do not; so the root of a container is attached first, and all else is
/// attached in it.
fn into_what_is_detached() -> Result<()> {
    let fresh = || {
        Detached::new(
            "tmpfs",
            "fresh",
            &mut std::iter::empty(),
            MountAttrFlags::empty(),
        )
    };
    let [outer, inner] = [
        fresh().map_err(super::stage::fault)?,
        fresh().map_err(super::stage::fault)?,
    ];
    rustix::fs::mkdirat(outer.root(), "e", rustix::fs::Mode::RWXU)?;
    let target = rustix::fs::openat(
        outer.root(),
        "e",
        rustix::fs::OFlags::PATH,
        rustix::fs::Mode::empty(),
    )?;
    let found = inner.attach(target.as_fd());
    println!("kernel into-what-is-detached {}", name_of(found));
    std::fs::create_dir("c")?;
    outer.attach(open("c")?.as_fd())?;
    if found.is_err() {
        inner.attach(target.as_fd())?;
    }
    ensure!(is_mounted("c")? && is_mounted("c/e")?);
    Ok(())
}

fn move_with(mount: BorrowedFd<'_>, target: &str, flag: u32) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::from_bits_retain(flag);
    move_mount(mount, "", rustix::fs::CWD, target, flags)
}

/// MOVE_MOUNT_BENEATH, Linux 6.5.
fn beneath() -> Result<()> {
    const MOVE_MOUNT_BENEATH: u32 = 0x200;
    Way::Path.fresh("c")?;
    std::fs::write("c/above", "")?;
    let mount = Detached::new(
        "tmpfs",
        "fresh",
        &mut std::iter::empty(),
        MountAttrFlags::empty(),
    );
    let mount = mount.map_err(super::stage::fault)?;
    let found = move_with(mount.root(), "c", MOVE_MOUNT_BENEATH);
    println!("kernel beneath {}", name_of(found));
    ensure!(std::fs::exists("c/above")?, "it is covered");
    Way::Path.unmount("c")?;
    ensure!(is_mounted("c")? == found.is_ok());
    Ok(())
}

/// MOVE_MOUNT_SET_GROUP, Linux 5.15: a private mount becomes what another of the same filesystem
/// is.
fn into_a_group() -> Result<()> {
    const MOVE_MOUNT_SET_GROUP: u32 = 0x100;
    let mount = SOURCE.make(Kind::Shared, Way::Descriptor)?;
    Way::Descriptor
        .bind("a", "c", false)?
        .set(Propagation::Private, false)?;
    expect(&PLACES, "A=P C")?;
    drop(mount);
    move_with(open("a")?.as_fd(), "c", MOVE_MOUNT_SET_GROUP)?;
    expect(&PLACES, "A=P=C")
}

fn name_of(found: Result<(), Errno>) -> String {
    found.map_or_else(
        |errno| berth::errno::Name(errno).to_string(),
        |()| "works".to_owned(),
    )
}
