//! The devices that a container finds in its `/dev` (OCI runtime specification, config-linux.md,
//! "Default Devices" and "Dev symbolic links"), and those of `linux.devices`.
//!
//! A process that is root only in a user namespace cannot make device nodes (`EPERM`,
//! user_namespaces(7)). There, the host's nodes are bound on empty files; each is checked to be the
//! device of its name first. Until Linux 6.15, a bind mount can be attached only to a tree that is
//! attached itself. So this comes in two steps: [`populate`], and [`Nodes::bind`].

use core::ffi::CStr;

use heapless::Vec;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, accessat, makedev, mkdirat, mknodat, openat,
    symlinkat,
};
use rustix::io::Errno;

use super::target;
use crate::error::{During, Fault, Op};
use crate::parse::config::{Confinement, Device, NodeKind};
use crate::sys::mount::{Detached, resolve_in_root};
use crate::sys::node::Node;
use crate::sys::path::path;
use crate::text::split_last;

/// Name, major and minor number (Documentation/admin-guide/devices.txt). All are for everybody.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Name and what it points to.
const LINKS: &[(&CStr, &CStr)] = &[
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
];

/// The machine's memory, which is masked by default: where the kernel has it, runc and crun have a
/// link to it.
const CORE: (&CStr, &CStr) = (c"core", c"/proc/kcore");

const DIRECTORIES: &[&str] = &["pts", "shm", "mqueue"];

/// The host's nodes, where the container could not get its own: each with its name, mounted nowhere
/// yet.
#[must_use = "nodes that could not be made are there only when they are bound"]
pub struct Nodes(Vec<(&'static str, Detached), { NODES.len() }>);

/// Fills a fresh tmpfs, which nobody else sees yet, as a container's `/dev`. The host's `/dev` must
/// still be there.
///
/// # Errors
/// Those of mknodat(2), symlinkat(2) and mkdirat(2); where nodes cannot be made, those of opening
/// the host's, `ENODEV` for one that is another device.
pub fn populate(dev: BorrowedFd<'_>) -> Result<Nodes, Fault> {
    let mut nodes = Nodes(Vec::new());
    for (name, major, minor) in NODES {
        let device = makedev(major, minor);
        let mode = Mode::from_raw_mode(0o666);
        let shown = format_args!("/dev/{name}");
        match mknodat(dev, name, FileType::CharacterDevice, mode, device) {
            Err(Errno::PERM) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                openat(dev, name, flags, mode).during(Op::Create, shown)?;
                let node = Node::of(NodeKind::Character(major, minor));
                let node = path(shown).and_then(|path| node.of_host(&path));
                let node = node.during(Op::Open, shown)?;
                let copy = Detached::copy_of(node.as_fd(), false).during(Op::Mount, shown)?;
                // There is a place for each.
                let _ = nodes.0.push((name, copy));
            }
            result => result.during(Op::Create, shown)?,
        }
    }
    let (_, core) = CORE;
    let core = accessat(CWD, core, Access::EXISTS, AtFlags::empty()).map(|()| &CORE);
    for (name, leads_to) in LINKS.iter().chain(core.ok()) {
        let shown = name.to_str().unwrap_or_default();
        symlinkat(*leads_to, dev, *name).during(Op::Create, format_args!("/dev/{shown}"))?;
    }
    for name in DIRECTORIES {
        match mkdirat(dev, *name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => {}
            result => result.during(Op::Create, format_args!("/dev/{name}"))?,
        }
    }
    Ok(nodes)
}

impl Nodes {
    /// Binds the host's nodes into `dev`, which is attached by now; nothing where nodes could be
    /// made.
    ///
    /// # Errors
    /// Those of openat(2) and move_mount(2).
    pub fn bind(self, dev: BorrowedFd<'_>) -> Result<(), Fault> {
        for (name, node) in self.0 {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(dev, name, flags, Mode::empty())
                .and_then(|place| node.attach(place.as_fd()))
                .during(Op::Mount, format_args!("/dev/{name}"))?;
        }
        Ok(())
    }
}

/// Makes what `linux.devices` lists, and the directories that lead there.
///
/// # Errors
/// `EEXIST` where something else is, which is no link to such a device either; `EPERM` where it can
/// neither be made nor bound.
#[inline(never)]
pub(super) fn make_all(
    root: BorrowedFd<'_>,
    confinement: &Confinement<'_>,
    has_nodev: bool,
) -> Result<(), Fault> {
    confinement
        .devices()
        .try_for_each(|device| make(root, &device, has_nodev))
}

fn make(root: BorrowedFd<'_>, device: &Device, has_nodev: bool) -> Result<(), Fault> {
    let path = device.path.as_str();
    let node = Node {
        kind: device.kind,
        mode: device.mode,
        uid: device.uid,
        gid: device.gid,
    };
    // It begins with a slash.
    let (directory, name) = split_last(path, b'/').unwrap_or(("", path));
    let directory = match directory {
        "" => resolve_in_root(root, "/")?,
        directory => target::prepare(root, directory, FileType::Directory)?,
    };
    match node.make(directory.as_fd(), name) {
        // Why it could not be made says more than that the host has none.
        made @ Err(Errno::PERM | Errno::EXIST) => {
            let is_there = || resolve_in_root(root, path).is_ok_and(|found| node.is_at(&found));
            match is_there() {
                true => Ok(()),
                false => node.bind(path, directory.as_fd(), name).or(made),
            }
        }
        // Outside of `/dev`, it is on a mount where none is of use.
        Ok(()) if has_nodev => node.allow(directory.as_fd(), name),
        made => made,
    }
    .during(Op::Create, path)
}
