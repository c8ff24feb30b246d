//! What the cases are made of: a filesystem to themselves, trees that are mounted in it by path and
//! by descriptor, and mounts of every kind with those that they propagate to and from.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Result, anyhow};
use berth::error::Fault;
use berth::parse::mount_options::Propagation;
use berth::sys::mount::at::unmountat;
use berth::sys::mount::{
    Detached, Flags, mount_bind_recursive, mount_move, mount_new, set_propagation,
    set_propagation_recursive, unmount_detach,
};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, mount_bind};

use super::shape::mount_id;

/// The directory of the cases, which is their working directory.
pub(super) const STAGE: &str = "/tmp/stage";

/// Mounts a fresh filesystem for a case, in a mount namespace that passes nothing on.
pub(super) fn set_up() -> Result<()> {
    set_propagation_recursive("/", Propagation::Private).map_err(fault)?;
    fs::create_dir_all(STAGE)?;
    mount_new("tmpfs", "stage", STAGE, Flags::empty(), c"").map_err(fault)?;
    Ok(std::env::set_current_dir(STAGE)?)
}

/// What a call of berth's said.
pub(super) fn fault(fault: Fault) -> anyhow::Error {
    anyhow!("{fault}")
}

fn errno(fault: Fault) -> Errno {
    fault.errno
}

/// How a mount is made, bound, moved, changed and taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// mount(2) and umount2(2).
    Path,
    /// The calls of Linux 5.2, and mount_setattr(2).
    Descriptor,
}

pub(super) const WAYS: [Way; 2] = [Way::Path, Way::Descriptor];

/// A mount, and what to reach it by.
pub(super) struct Mounted {
    path: String,
    handle: Option<Detached>,
}

impl Way {
    /// A new filesystem on the directory `path`, which is made. In it are the directories `d/x`,
    /// `d/k` and `e`, and a file `f`.
    pub(super) fn fresh(self, path: &str) -> Result<Mounted> {
        fs::create_dir_all(path)?;
        let handle = match self {
            Self::Path => {
                mount_new("tmpfs", "fresh", path, Flags::empty(), c"").map_err(fault)?;
                None
            }
            Self::Descriptor => {
                let none = MountAttrFlags::empty();
                let mount = Detached::new("tmpfs", "fresh", &mut std::iter::empty(), none);
                let mount = mount.map_err(fault)?;
                mount.attach(open(path)?.as_fd())?;
                Some(mount)
            }
        };
        for directory in ["d/x", "d/k", "e"] {
            fs::create_dir_all(format!("{path}/{directory}"))?;
        }
        fs::write(format!("{path}/f"), "")?;
        Ok(Mounted {
            path: path.to_owned(),
            handle,
        })
    }

    /// Binds `source` on the directory `target`, which is made where it can be.
    pub(super) fn bind(
        self,
        source: &str,
        target: &str,
        is_recursive: bool,
    ) -> Result<Mounted, Errno> {
        let _ = fs::create_dir(target);
        let handle = match (self, is_recursive) {
            (Self::Path, false) => {
                mount_bind(source, target)?;
                None
            }
            (Self::Path, true) => {
                mount_bind_recursive(source, target).map_err(errno)?;
                None
            }
            (Self::Descriptor, _) => {
                let copy = Detached::copy_of(open(source)?.as_fd(), is_recursive)?;
                copy.attach(open(target)?.as_fd())?;
                Some(copy)
            }
        };
        Ok(Mounted {
            path: target.to_owned(),
            handle,
        })
    }

    /// Takes away what is mounted on `path`.
    pub(super) fn unmount(self, path: &str) -> Result<(), Errno> {
        match self {
            Self::Path => unmount_detach(path).map_err(errno),
            Self::Descriptor => unmountat(open(".")?.as_fd(), path, None).map_err(errno),
        }
    }
}

impl Mounted {
    pub(super) fn set(&self, propagation: Propagation, is_recursive: bool) -> Result<(), Errno> {
        match &self.handle {
            Some(mount) => mount.set_propagation(propagation, is_recursive),
            None if is_recursive => {
                set_propagation_recursive(&self.path, propagation).map_err(errno)
            }
            None => set_propagation(&self.path, propagation).map_err(errno),
        }
    }

    /// Moves it to the directory `target`.
    pub(super) fn move_to(&self, target: &str) -> Result<(), Errno> {
        match &self.handle {
            // What is attached already is moved.
            Some(mount) => mount.attach(open(target)?.as_fd()),
            None => mount_move(&self.path, target).map_err(errno),
        }
    }
}

/// Opens a file or a directory, as a place.
pub(super) fn open(path: &str) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Whether something is mounted on `path`.
pub(super) fn is_mounted(path: &str) -> Result<bool> {
    Ok(mount_id(path)?.is_some())
}

/// What a mount can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Shared, with a peer.
    Shared,
    /// Shared, with nobody.
    Alone,
    /// A slave of a master.
    Slave,
    /// A slave, shared with a peer, which is a slave too.
    SharedSlave,
    /// A slave, shared with nobody.
    SlaveAlone,
    Private,
    Unbindable,
}

impl Kind {
    /// Its name in the names of cases.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Alone => "shared-alone",
            Self::Slave => "slave",
            Self::SharedSlave => "shared-slave",
            Self::SlaveAlone => "shared-slave-alone",
            Self::Private => "private",
            Self::Unbindable => "unbindable",
        }
    }

    pub(super) const fn is_shared(self) -> bool {
        matches!(
            self,
            Self::Shared | Self::Alone | Self::SharedSlave | Self::SlaveAlone
        )
    }

    const fn has_master(self) -> bool {
        matches!(self, Self::Slave | Self::SharedSlave | Self::SlaveAlone)
    }

    const fn has_peer(self) -> bool {
        matches!(self, Self::Shared | Self::SharedSlave)
    }
}

/// The directories of a mount and of those that are related to it; those that its kind has no use
/// for are not made.
#[derive(Clone, Copy)]
pub(super) struct Family {
    pub(super) main: &'static str,
    pub(super) peer: &'static str,
    pub(super) master: &'static str,
    /// A slave of the mount, if it is shared and one is wanted.
    pub(super) slave: Option<&'static str>,
}

/// What is bound and moved: A, P and Z of the tables.
pub(super) const SOURCE: Family = Family {
    main: "a",
    peer: "p",
    master: "z",
    slave: None,
};

/// Where it goes to: B, with Q, Y and R.
pub(super) const DESTINATION: Family = Family {
    main: "b",
    peer: "q",
    master: "y",
    slave: Some("r"),
};

/// What is mounted inside the source: K, with I and J.
pub(super) const CHILD: Family = Family {
    main: "a/d/k",
    peer: "i",
    master: "j",
    slave: None,
};

impl Family {
    /// Makes a mount of this kind, and those related to it.
    pub(super) fn make(self, kind: Kind, way: Way) -> Result<Mounted> {
        self.make_around(kind, way, || Ok(()))
    }

    /// The same, with mounts inside that none of the relatives has.
    pub(super) fn make_around(
        self,
        kind: Kind,
        way: Way,
        inside: impl FnOnce() -> Result<()>,
    ) -> Result<Mounted> {
        let main = if kind.has_master() {
            way.fresh(self.master)?.set(Propagation::Shared, false)?;
            let main = way.bind(self.master, self.main, false)?;
            main.set(Propagation::Slave, false)?;
            main
        } else {
            way.fresh(self.main)?
        };
        inside()?;
        if kind.is_shared() {
            main.set(Propagation::Shared, false)?;
        }
        if kind.has_peer() {
            way.bind(self.main, self.peer, false)?;
        }
        if let Some(slave) = self.slave.filter(|_| kind.is_shared()) {
            way.bind(self.main, slave, false)?
                .set(Propagation::Slave, false)?;
        }
        if kind == Kind::Unbindable {
            main.set(Propagation::Unbindable, false)?;
        }
        Ok(main)
    }
}
