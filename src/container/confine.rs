//! What a container may not see or not change of its own tree (`linux.maskedPaths`,
//! `linux.readonlyPaths`), and the kernel parameters of its namespaces (`linux.sysctl`).
//!
//! # How a path is found
//!
//! Nearly all of these paths are below `/proc` and `/sys`. They are not looked up by name there:
//! another container that shares a directory of the rootfs can rename a mount point at any moment,
//! and the mask would land beside the procfs (CVE-2025-31133, CVE-2023-27561). [`ProcSysMounts`]
//! keeps descriptors of what was mounted at the two, and the rest of the path is walked from there.
//!
//! All other paths are resolved inside the rootfs. A symbolic link is followed, since a program
//! could read what it leads to. A path that does not exist needs no mask, and is skipped; no other
//! error is.
//!
//! # What a mask is
//!
//! * On a file, it is the host's `/dev/null`, which was checked to be the null device: what an
//!   image has by that name is not used. It is bound read-only, since chmod(2) of a mask would
//!   change the host's.
//! * On a directory, it is an empty read-only filesystem, one for all.
//!
//! # The order
//!
//! Paths become read-only first, because a mask lies on top of that. [`super::setup`] says when all
//! of this is done.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::error::{During, Fault, Op};
use crate::parse::config::Confinement;
use crate::parse::mount_options::Propagation;
use crate::sys::mount::{Detached, resolve_in_root};
use crate::sys::node;
use crate::sys::path::path;
use crate::sys::procfs::Procfs;

/// The mount points that are remembered.
const PLACES: [&str; 2] = ["proc", "sys"];

/// The topmost mounts at `/proc` and `/sys`, where the bundle or berth has mounted something there.
#[derive(Default)]
pub(super) struct ProcSysMounts([Option<OwnedFd>; PLACES.len()]);

impl ProcSysMounts {
    /// Remembers what was mounted at `destination`, if it is one of the two places.
    pub(super) fn record(&mut self, destination: &str, mount: OwnedFd) {
        let is_it = |(place, _): &(&&str, _)| destination.trim_matches('/') == **place;
        if let Some((_, top)) = PLACES.iter().zip(&mut self.0).find(is_it) {
            *top = Some(mount);
        }
    }

    /// What `path` names in the container; `None` if there is nothing.
    fn find(&self, root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Fault> {
        let (first, rest) = match path.trim_start_matches('/').split_once('/') {
            Some((first, rest)) => (first, rest.trim_start_matches('/')),
            None => (path.trim_start_matches('/'), ""),
        };
        let mut places = PLACES.iter().zip(&self.0);
        let top = places.find_map(|(place, top)| top.as_ref().filter(|_| *place == first));
        let found = match top {
            Some(top) if rest.is_empty() => resolve_in_root(top.as_fd(), "."),
            Some(top) => resolve_in_root(top.as_fd(), rest),
            None => resolve_in_root(root, path),
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(fault) if fault.errno == Errno::NOENT => Ok(None),
            Err(fault) => Err(fault.errno).during(Op::Open, path),
        }
    }
}

/// Makes paths read-only and masks paths, as the bundle says; `label` is the option that labels a
/// new filesystem, if that is asked for.
#[inline(never)]
pub(super) fn apply(
    root: BorrowedFd<'_>,
    mut proc_and_sys: ProcSysMounts,
    confinement: &Confinement<'_>,
    label: Option<&str>,
) -> Result<(), Fault> {
    confinement.each_readonly_path(&mut |path| {
        if let Some(target) = proc_and_sys.find(root, path)? {
            let copy = make_read_only(target.as_fd())
                .during(Op::Mount, format_args!("{path} read-only"))?;
            // Later paths below it are found in the copy.
            proc_and_sys.record(path, copy.into_root());
        }
        Ok(())
    })?;
    let mut masks = Masks {
        null: None,
        empty: None,
        label,
    };
    confinement.each_masked_path(&mut |path| match proc_and_sys.find(root, path)? {
        Some(target) => masks
            .cover(target.as_fd())
            .during(Op::Mount, format_args!("a mask on {path}")),
        None => Ok(()),
    })
}

/// Mounts a read-only copy of `target`, with all mounts below it, on top of it.
fn make_read_only(target: BorrowedFd<'_>) -> Result<Detached, Errno> {
    let copy = Detached::copy_of(target, true)?;
    let none = MountAttrFlags::empty();
    copy.change_attributes(MountAttrFlags::MOUNT_ATTR_RDONLY, none, true)?;
    copy.attach(target)?;
    Ok(copy)
}

/// What masks are made of, once there is one.
struct Masks<'l> {
    null: Option<OwnedFd>,
    empty: Option<Detached>,
    /// The option that labels the empty one.
    label: Option<&'l str>,
}

/// Nothing on a mask can be written, executed, or be a device; but for the null device itself.
const FILE_MASK: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

impl Masks<'_> {
    fn cover(&mut self, target: BorrowedFd<'_>) -> Result<(), Errno> {
        match FileType::from_raw_mode(fstat(target)?.st_mode) {
            FileType::Directory => self.cover_directory(target),
            _ => self.cover_file(target),
        }
    }

    fn cover_file(&mut self, target: BorrowedFd<'_>) -> Result<(), Errno> {
        let null = match self.null.take() {
            Some(null) => null,
            None => node::null_of_host()?,
        };
        let mask = Detached::copy_of(null.as_fd(), false)?;
        // A mount of the host's on its own /dev/null does not reach the mask.
        mask.set_propagation(Propagation::Private, false)?;
        mask.change_attributes(FILE_MASK, MountAttrFlags::empty(), false)?;
        mask.attach(target)?;
        self.null = Some(null);
        Ok(())
    }

    fn cover_directory(&mut self, target: BorrowedFd<'_>) -> Result<(), Errno> {
        if let Some(first) = &self.empty {
            // A mount that is attached can be copied (open_tree(2) wants a mount of this
            // namespace).
            return Detached::copy_of(first.root(), false)?.attach(target);
        }
        let attributes = FILE_MASK | MountAttrFlags::MOUNT_ATTR_NODEV;
        let mut options = ["ro", "mode=555"].into_iter().chain(self.label);
        let first = Detached::new("tmpfs", "tmpfs", &mut options, attributes)
            .map_err(|fault| fault.errno)?;
        first.attach(target)?;
        self.empty = Some(first);
        Ok(())
    }
}

/// Sets the parameters, through a procfs that no other process sees: a path in the container may
/// lead elsewhere (CVE-2025-52881). This process is in the container's namespaces, so the files are
/// those of the container.
#[inline(never)]
pub(super) fn set_parameters(confinement: &Confinement<'_>) -> Result<(), Fault> {
    let mut procfs = None;
    for (name, value) in confinement.sysctls() {
        let procfs = match &procfs {
            Some(procfs) => procfs,
            None => procfs.insert(Procfs::new()?),
        };
        let file = path(format_args!("sys/{name}")).during(Op::Open, &name)?;
        procfs.write(&file, value.as_bytes())?;
    }
    Ok(())
}
