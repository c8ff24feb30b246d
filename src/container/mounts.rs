//! What is mounted in a container besides its root: `mounts` of its `config.json`, in order.
//!
//! Every mount is made detached, where nobody sees it, gets its attributes there, and is attached to a descriptor of its
//! destination. The destination was resolved inside the rootfs once (openat2(2), RESOLVE_IN_ROOT), so that a symbolic link
//! in an image cannot lead the mount elsewhere, neither before nor after the check.

use core::iter::empty;

use linux_raw_sys::general as linux;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::devices;
use crate::error::{During, Fault, Op};
use crate::parse::config::Mount;
use crate::parse::mount_options::Recursive;
use crate::sys::console;
use crate::sys::mount::{
    self, Detached, attributes_to_clear, attributes_to_set, filesystem_flags, resolve_in_root,
};
use crate::sys::path::path;

/// Mounts everything in `mounts` below `root`; sources of bind mounts are relative to `bundle` unless absolute.
pub(super) fn mount_all(
    root: BorrowedFd<'_>,
    bundle: &str,
    mounts: &[Mount<'_>],
) -> Result<(), Fault> {
    for mount in mounts {
        let detached = make(bundle, mount)?;
        let is_dev = !mount.options.is_bind()
            && mount.fstype == Some("tmpfs")
            && mount.destination.trim_matches('/') == "dev";
        let nodes = match is_dev {
            true => Some(devices::populate(detached.root())?),
            false => None,
        };
        let kind = file_type(detached.root()).during(Op::Mount, mount.destination)?;
        let target = prepare_target(root, mount.destination, kind)?;
        detached
            .attach(target.as_fd())
            .during(Op::Mount, mount.destination)?;
        if let Some(nodes) = nodes {
            nodes.bind(detached.root())?;
        }
    }
    Ok(())
}

/// Gives single mounts the propagation they ask for. Called when the container's root is `/`, after the propagation of the
/// whole was set.
pub(super) fn set_propagations(mounts: &[Mount<'_>]) -> Result<(), Fault> {
    for mount in mounts {
        let Some((propagation, recursive)) = mount.options.propagation else {
            continue;
        };
        let path = absolute(mount.destination)?;
        match recursive {
            Recursive::Yes => mount::set_propagation_recursive(&path, propagation)?,
            Recursive::No => mount::set_propagation(&path, propagation)?,
        }
    }
    Ok(())
}

/// What a container has without asking: a proc filesystem of its own PID namespace, and a `/dev` with the default devices
/// (config-linux.md, "Default Filesystems", "Default Devices"). Each only where the rootfs has the directory and the bundle
/// does not say what belongs there. They are mounted first, so that the bundle's mounts may lie in them.
pub(super) fn mount_defaults(root: BorrowedFd<'_>, mounts: &[Mount<'_>]) -> Result<(), Fault> {
    let common = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    if let Some(target) = default_target(root, "proc", mounts) {
        let attributes = common | MountAttrFlags::MOUNT_ATTR_NODEV;
        Detached::new("proc", "proc", &mut empty(), attributes)?
            .attach(target.as_fd())
            .during(Op::Mount, "/proc")?;
    }
    if let Some(target) = default_target(root, "dev", mounts) {
        let mut options = ["mode=755", "size=64m"].into_iter();
        let dev = Detached::new("tmpfs", "tmpfs", &mut options, common)?;
        let nodes = devices::populate(dev.root())?;
        dev.attach(target.as_fd()).during(Op::Mount, "/dev")?;
        nodes.bind(dev.root())?;
    }
    Ok(())
}

/// The directory `name` of the rootfs, unless the bundle mounts something on it.
fn default_target(root: BorrowedFd<'_>, name: &str, mounts: &[Mount<'_>]) -> Option<OwnedFd> {
    let is_it = |mount: &Mount<'_>| mount.destination.trim_matches('/') == name;
    if mounts.iter().any(is_it) {
        return None;
    }
    let target = resolve_in_root(root, name).ok()?;
    (file_type(target.as_fd()) == Ok(FileType::Directory)).then_some(target)
}

/// Binds `terminal` on the container's console, so that it has a name inside.
pub(super) fn bind_console(root: BorrowedFd<'_>, terminal: BorrowedFd<'_>) -> Result<(), Fault> {
    let target = prepare_target(root, console::PATH, FileType::CharacterDevice)?;
    Detached::copy_of(terminal, false)
        .and_then(|copy| copy.attach(target.as_fd()))
        .during(Op::Mount, console::PATH)
}

fn make(bundle: &str, mount: &Mount<'_>) -> Result<Detached, Fault> {
    if mount.options.is_bind() {
        return bind(bundle, mount);
    }
    let fstype = match mount.fstype.unwrap_or_default() {
        // The specification's name for the hierarchy of either version; there is only the second here.
        "cgroup" => "cgroup2",
        fstype => fstype,
    };
    let source = mount.source.unwrap_or(fstype);
    let flags = mount.options.flags;
    // A disk is mounted read-only as a whole; other filesystems may have one superblock for all, whose state is the host's.
    let is_read_only = flags.set & linux::MS_RDONLY != 0 && source.starts_with('/');
    let data = mount
        .options
        .data
        .split(',')
        .filter(|option| !option.is_empty());
    let detached = Detached::new(
        fstype,
        source,
        &mut filesystem_flags(flags)
            .chain(is_read_only.then_some("ro"))
            .chain(data),
        attributes_to_set(flags),
    )?;
    Ok(detached)
}

fn bind(bundle: &str, mount: &Mount<'_>) -> Result<Detached, Fault> {
    let options = &mount.options;
    let source = mount.source.unwrap_or_default();
    let source = if source.starts_with('/') {
        path(format_args!("{source}"))
    } else {
        path(format_args!("{bundle}/{source}"))
    }
    .during(Op::Open, source)?;
    let recursive = options.flags.set & linux::MS_REC != 0;
    let copy = Detached::copy_of(open_source(&source)?.as_fd(), recursive)
        .during(Op::Mount, format_args!("{source} on {}", mount.destination))?;
    let set = attributes_to_set(options.flags);
    let clear = attributes_to_clear(options.flags);
    if !set.is_empty() || !clear.is_empty() {
        // Like mount(8), not recursive: `rbind,ro` makes the top read-only.
        copy.change_attributes(set, clear, false)
            .during(Op::Mount, format_args!("{source} on {}", mount.destination))?;
    }
    Ok(copy)
}

pub(super) fn open_source(path: &str) -> Result<OwnedFd, Fault> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).during(Op::Open, path)
}

fn file_type(file: BorrowedFd<'_>) -> Result<FileType, Errno> {
    fstat(file).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

fn absolute(destination: &str) -> Result<crate::sys::path::Path, Fault> {
    path(format_args!("/{}", destination.trim_start_matches('/'))).during(Op::Mount, destination)
}

/// The destination inside `root` for something of this kind.
fn prepare_target(
    root: BorrowedFd<'_>,
    destination: &str,
    kind: FileType,
) -> Result<OwnedFd, Fault> {
    let target = find_or_create(root, destination, kind)?;
    let found = file_type(target.as_fd()).during(Op::Mount, destination)?;
    // The kernel takes a directory on a directory, else a file on a file, and says EINVAL (move_mount(2)).
    match [kind, found].map(FileType::is_dir) {
        [true, false] => Err(Errno::NOTDIR).during(Op::Mount, destination),
        [false, true] => Err(Errno::ISDIR).during(Op::Mount, destination),
        _ => Ok(target),
    }
}

/// The destination, made if it is missing: a directory for a directory, else an empty file.
fn find_or_create(
    root: BorrowedFd<'_>,
    destination: &str,
    kind: FileType,
) -> Result<OwnedFd, Fault> {
    match resolve_in_root(root, destination) {
        Err(fault) if fault.errno == Errno::NOENT => {}
        result => return result,
    }
    for (at, _) in destination
        .match_indices('/')
        .chain([(destination.len(), "")])
    {
        let part = destination.get(..at).unwrap_or_default();
        if part.trim_matches('/').is_empty() {
            continue;
        }
        match resolve_in_root(root, part) {
            Ok(_) => continue,
            Err(fault) if fault.errno == Errno::NOENT => {}
            Err(fault) => return Err(fault),
        }
        let is_last = at == destination.len();
        create(root, part, is_last && kind != FileType::Directory)?;
    }
    resolve_in_root(root, destination)
}

/// Makes the last component of `path`, whose parent exists inside `root`.
fn create(root: BorrowedFd<'_>, path: &str, as_file: bool) -> Result<(), Fault> {
    let path = path.trim_end_matches('/');
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = resolve_in_root(root, if parent.is_empty() { "/" } else { parent })?;
    let result = if as_file {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(&parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
    } else {
        mkdirat(&parent, name, Mode::from_raw_mode(0o755))
    };
    result.during(Op::Create, format_args!("{path} in the rootfs"))
}
