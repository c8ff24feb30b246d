//! A control group for each container (Documentation/admin-guide/cgroup-v2.rst).
//!
//! The container's first process is born in it, so it holds all of its processes whatever they do,
//! with or without a PID namespace: they can be killed in one write, and the kernel counts there
//! whom it killed for want of memory.
//!
//! # Where it is
//!
//! `berth/<id>`, or where `linux.cgroupsPath` says: below `berth` too when it begins with no `/`,
//! else below the root of the hierarchy. Groups on the way that are missing are made, and marked as
//! ours by an extended attribute, so that whoever removes the last group below them knows that they
//! may go too, in another process as well.
//!
//! # Controllers
//!
//! A controller counts in a group when the group above has it in its `cgroup.subtree_control`. The
//! kernel refuses that where the group above holds processes itself ("No Internal Process
//! Constraint"); the root of the hierarchy, where PID 1 is, may. What [`Resources`] ask for must be
//! enabled; memory and pids are, where it is possible, so that containers are counted.

mod devices;
mod freeze;
mod processes;
mod remove;
mod resources;

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, XattrFlags, fgetxattr, fsetxattr, fstat, mkdirat};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{During, Fault, Op};
use crate::parse::config::{CgroupsPath, Resources};
use crate::sys::fs;
use crate::sys::path::{Path, path};

/// Where the hierarchy is mounted.
pub const ROOT: &str = "/sys/fs/cgroup";

/// The group below which containers have theirs.
pub const PARENT: &str = "berth";

/// The extended attribute of a group that was made on the way to another.
const MARK: &CStr = c"user.berth";

/// The extended attribute of a container's group that names its owner.
const OWNER: &CStr = c"user.berth.owner";

/// An owner of groups: a number that no other owner has while both exist.
pub type Owner = [u64; 2];

/// The controllers that containers are counted by, as far as the kernel has them.
const CONTROLLERS: &[&[u8]] = &[b"+memory", b"+pids"];

/// The groups of all containers.
pub struct Groups {
    root: OwnedFd,
}

/// The group of one container.
#[derive(Debug)]
pub struct Group(OwnedFd);

impl Groups {
    /// Prepares the hierarchy; `None` where no cgroup2 filesystem is mounted.
    ///
    /// # Errors
    /// Those of mkdir(2) and open(2).
    pub fn open() -> Result<Option<Self>, Fault> {
        if rustix::fs::access(c"/sys/fs/cgroup/cgroup.procs", rustix::fs::Access::EXISTS).is_err() {
            return Ok(None);
        }
        let root = fs::open_directory(CWD, ROOT)?;
        enable_counting(root.as_fd());
        match make(root.as_fd(), PARENT) {
            Ok((parent, _)) => enable_counting(parent.as_fd()),
            // A user may have a group elsewhere.
            Err(fault) if matches!(fault.errno, Errno::ACCESS | Errno::PERM) => {}
            Err(fault) => return Err(fault),
        }
        Ok(Some(Self { root }))
    }

    /// Makes the group of the container `id`, and puts the limits in force that its bundle asks
    /// for; `prepare` sets others before.
    ///
    /// # Errors
    /// Those of [`Group::create`] and [`Group::apply`]. Then there is no group.
    #[inline(never)]
    pub fn create(
        &self,
        id: &str,
        place: Option<CgroupsPath<'_>>,
        resources: &Resources<'_>,
        prepare: fn(&Group),
    ) -> Result<Group, Fault> {
        if let Some(CgroupsPath::Unit { .. }) = place {
            let why = "linux.cgroupsPath as slice:prefix:name, which is for --systemd-cgroup";
            return Err(Errno::OPNOTSUPP).during(Op::Configure, why);
        }
        let path = group_path(id, place).during(Op::Create, id)?;
        let group = Group::create(self.root.as_fd(), &path, resources)?;
        prepare(&group);
        match group.apply(resources) {
            Ok(()) => Ok(group),
            Err(fault) => {
                group.discard();
                Err(fault)
            }
        }
    }
}

/// Where the group of the container `id` is, below the root of the hierarchy.
///
/// # Errors
/// `ENAMETOOLONG`; `EOPNOTSUPP` where systemd is to make it.
pub fn group_path(id: &str, place: Option<CgroupsPath<'_>>) -> Result<Path, Errno> {
    match place {
        None => path(format_args!("{PARENT}/{id}")),
        Some(CgroupsPath::Path {
            names,
            is_absolute: true,
        }) => path(format_args!("{names}")),
        Some(CgroupsPath::Path { names, .. }) => path(format_args!("{PARENT}/{names}")),
        Some(CgroupsPath::Unit { .. }) => Err(Errno::OPNOTSUPP),
    }
}

impl Group {
    /// Makes the group at `path` below `root`, and those on the way to it, with the controllers
    /// that `resources` need.
    ///
    /// # Errors
    /// `EBUSY` if there are processes in it already; `EOPNOTSUPP` for a controller that there is
    /// not, with the field that needs it; those of mkdirat(2) but `EEXIST`, of openat(2), and of
    /// enabling a controller.
    pub fn create(
        root: BorrowedFd<'_>,
        path: &str,
        resources: &Resources<'_>,
    ) -> Result<Self, Fault> {
        let needed = resources::controllers(root, resources)?;
        let mut group: Option<OwnedFd> = None;
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            let parent = group.as_ref().map_or(root, AsFd::as_fd);
            let (below, is_new) = make(parent, name)?;
            resources::enable(parent, below.as_fd(), &needed)?;
            match names.peek() {
                // The group itself is not marked: it is removed in any case.
                Some(_) if is_new => {
                    // Without the mark it is not removed.
                    let _ = fsetxattr(below.as_fd(), MARK, b"", XattrFlags::empty());
                    enable_counting(below.as_fd());
                }
                None if !is_new && is_populated(below.as_fd()) => {
                    return Err(Errno::BUSY).during(Op::Create, format_args!("{ROOT}/{path}"));
                }
                _ => {}
            }
            group = Some(below);
        }
        group.map(Self).ok_or(Errno::INVAL).during(Op::Create, path)
    }

    /// The group `name` in the group at `path` below the root, which another process (systemd) has
    /// made and which holds the process `holder` until there are others; with the limits that
    /// `resources` ask for in force. Without a name, it is that group itself.
    ///
    /// # Errors
    /// Those of [`Self::create`] and [`Self::apply`]; `EINVAL` for what is no name.
    #[inline(never)]
    pub fn delegated(
        path: &str,
        name: &str,
        holder: Pid,
        resources: &Resources<'_>,
    ) -> Result<Self, Fault> {
        let (mut group, needed) = Self::enable_below_root(path, resources)?;
        if !name.is_empty() {
            if name.as_bytes().contains(&b'/') || matches!(name, "." | "..") {
                return Err(Errno::INVAL).during(Op::Create, name);
            }
            let (below, _) = make(group.as_fd(), name)?;
            // A group with processes in it cannot have others counted below it.
            let number = heapless::String::<16>::try_from(holder.as_raw_nonzero().get());
            fs::write_file(
                &below,
                "cgroup.procs",
                number.unwrap_or_default().as_bytes(),
            )?;
            resources::enable_all(group.as_fd());
            resources::enable(group.as_fd(), below.as_fd(), &needed)?;
            group = below;
        }
        let group = Self(group);
        group.apply(resources)?;
        Ok(group)
    }

    /// Enables the controllers that new limits need for the group at `path`, from the host's root:
    /// when it was made, these limits were not asked for.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a controller that there is not, with the field that needs it; those of
    /// openat(2), and of enabling a controller.
    pub fn enable(path: &str, resources: &Resources<'_>) -> Result<(), Fault> {
        let path = path.strip_prefix(ROOT).unwrap_or(path);
        Self::enable_below_root(path, resources).map(drop)
    }

    /// The group at `below`, from the root of the hierarchy, with the controllers enabled that
    /// `resources` need.
    fn enable_below_root(
        below: &str,
        resources: &Resources<'_>,
    ) -> Result<(OwnedFd, resources::Controllers), Fault> {
        let mut parent = fs::open_directory(CWD, ROOT)?;
        let needed = resources::controllers(parent.as_fd(), resources)?;
        for name in below.split('/').filter(|name| !name.is_empty()) {
            let group = fs::open_directory(&parent, name)?;
            resources::enable(parent.as_fd(), group.as_fd(), &needed)?;
            parent = group;
        }
        Ok((parent, needed))
    }

    /// Whether both are the same group.
    pub fn is(&self, other: &Self) -> bool {
        match (fstat(self), fstat(other)) {
            (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
            _ => false,
        }
    }

    /// Records the owner. A group may be there that another owner has made, and nothing in that may
    /// be killed.
    pub fn set_owner(&self, owner: Owner) {
        // Before Linux 5.7 groups have no attributes. Then the processes in the group are left to
        // end by themselves.
        let _ = fsetxattr(self.as_fd(), OWNER, &bytes_of(owner), XattrFlags::empty());
    }

    /// Whether `owner` is recorded as the owner.
    pub fn belongs_to(&self, owner: Owner) -> bool {
        let expected = bytes_of(owner);
        let mut found = [0; size_of::<Owner>()];
        fgetxattr(self.as_fd(), OWNER, &mut found[..]) == Ok(found.len()) && found == expected
    }

    /// The group that there is at `path` below `root`.
    ///
    /// # Errors
    /// Those of openat(2).
    pub fn open(root: BorrowedFd<'_>, path: &str) -> Result<Self, Fault> {
        fs::open_directory(root, path).map(Self)
    }
}

impl TryFrom<OwnedFd> for Group {
    type Error = Errno;

    /// The group that `directory` is; `EINVAL` if it is none.
    fn try_from(directory: OwnedFd) -> Result<Self, Errno> {
        /// statfs(2), CGROUP2_SUPER_MAGIC.
        const MAGIC: u64 = 0x6367_7270;
        match rustix::fs::fstatfs(&directory)?.f_type as u64 {
            MAGIC => Ok(Self(directory)),
            _ => Err(Errno::INVAL),
        }
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn bytes_of([first, second]: Owner) -> [u8; size_of::<Owner>()] {
    (u128::from(first) << 64 | u128::from(second)).to_ne_bytes()
}

/// Makes the group `name`, or opens the one that there is; whether it is new.
fn make(parent: BorrowedFd<'_>, name: &str) -> Result<(OwnedFd, bool), Fault> {
    let is_new = match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => {
            return Err(errno).during(Op::Create, format_args!("the control group {name}"));
        }
    };
    Ok((fs::open_directory(parent, name)?, is_new))
}

/// Enables the controllers by which containers are counted for the groups below this one.
fn enable_counting(group: BorrowedFd<'_>) {
    for controller in CONTROLLERS {
        // A controller that the kernel lacks, or does not give here, is done without.
        let _ = fs::write_file(group, SUBTREE, controller);
    }
}

const SUBTREE: &str = "cgroup.subtree_control";

fn is_populated(group: BorrowedFd<'_>) -> bool {
    processes::event(group, b"populated ") == Ok(true)
}
