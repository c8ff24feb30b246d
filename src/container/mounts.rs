//! What is mounted in a container besides its root: `mounts` of its `config.json`, in order.
//!
//! Every mount is made detached, where nobody sees it, gets its attributes there, and is attached to a descriptor of its
//! destination. The destination was resolved inside the rootfs once (openat2(2), RESOLVE_IN_ROOT), so that a symbolic link
//! in an image cannot lead the mount elsewhere, neither before nor after the check.

use linux_raw_sys::general as linux;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::devices;
use crate::error::{During, Fault, Op};
use crate::parse::config::mount_options::Recursive;
use crate::parse::config::{Mount, MountOptions};
use crate::sys::console;
use crate::sys::mount::{self, Detached, resolve_in_root};
use crate::sys::path::path;

/// The attributes of a mount, each as a flag of mount(2) and as one of mount_setattr(2).
const ATTRIBUTES: &[(u32, MountAttrFlags)] = &[
    (linux::MS_RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
    (linux::MS_NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
    (linux::MS_NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
    (linux::MS_NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    (linux::MS_NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
    (
        linux::MS_STRICTATIME,
        MountAttrFlags::MOUNT_ATTR_STRICTATIME,
    ),
    (linux::MS_NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    (
        linux::MS_NOSYMFOLLOW,
        MountAttrFlags::from_bits_retain(linux::MOUNT_ATTR_NOSYMFOLLOW),
    ),
];

/// Flags of mount(2) that belong to the filesystem, as fsconfig(2) names them.
const FILESYSTEM_FLAGS: &[(u32, &str)] = &[
    (linux::MS_SYNCHRONOUS, "sync"),
    (linux::MS_DIRSYNC, "dirsync"),
    (linux::MS_LAZYTIME, "lazytime"),
    (linux::MS_MANDLOCK, "mand"),
];

/// Mounts everything in `mounts` below `root`; sources of bind mounts are relative to `bundle` unless absolute.
pub(super) fn mount_all(
    root: BorrowedFd<'_>,
    bundle: &str,
    mounts: &[Mount<'_>],
) -> Result<(), Fault> {
    for mount in mounts {
        let detached = make(bundle, mount)?;
        let kind = file_type(detached.root()).during(Op::Mount, mount.destination)?;
        let target = prepare_target(root, mount.destination, kind)?;
        detached
            .attach(target.as_fd())
            .during(Op::Mount, mount.destination)?;
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
        Detached::new("proc", "proc", &[], "", attributes)?
            .attach(target.as_fd())
            .during(Op::Mount, "/proc")?;
    }
    if let Some(target) = default_target(root, "dev", mounts) {
        let dev = Detached::new("tmpfs", "tmpfs", &[], "mode=755,size=64m", common)?;
        devices::populate(dev.root())?;
        dev.attach(target.as_fd()).during(Op::Mount, "/dev")?;
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

/// Binds the host's console on the container's, so that the terminal has a name inside.
pub(super) fn bind_console(root: BorrowedFd<'_>) -> Result<(), Fault> {
    let source = open_source(console::PATH)?;
    let target = prepare_target(root, console::PATH, FileType::CharacterDevice)?;
    Detached::copy_of(source.as_fd(), false)
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
    let mut flags = heapless::Vec::<&str, 8>::new();
    for (bit, name) in FILESYSTEM_FLAGS {
        if mount.options.set & bit != 0 {
            // There are fewer than places.
            let _ = flags.push(name);
        }
    }
    // A disk is mounted read-only as a whole; other filesystems may have one superblock for all, whose state is the host's.
    if mount.options.set & linux::MS_RDONLY != 0 && source.starts_with('/') {
        let _ = flags.push("ro");
    }
    let detached = Detached::new(
        fstype,
        source,
        &flags,
        mount.options.data,
        set(&mount.options),
    )?;
    if fstype == "tmpfs" && mount.destination.trim_matches('/') == "dev" {
        devices::populate(detached.root())?;
    }
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
    let recursive = options.set & linux::MS_REC != 0;
    let copy = Detached::copy_of(open_source(&source)?.as_fd(), recursive)
        .during(Op::Mount, format_args!("{source} on {}", mount.destination))?;
    let (set, clear) = (set(options), clear(options));
    if !set.is_empty() || !clear.is_empty() {
        // Like mount(8), not recursive: `rbind,ro` makes the top read-only.
        copy.change_attributes(set, clear, false)
            .during(Op::Mount, format_args!("{source} on {}", mount.destination))?;
    }
    Ok(copy)
}

fn set(options: &MountOptions<'_>) -> MountAttrFlags {
    attributes(options.set)
}

/// What a bind mount shall not inherit. The kind of access times is one field of the kernel's, cleared as a whole whenever
/// any of it is set (mount_setattr(2)).
fn clear(options: &MountOptions<'_>) -> MountAttrFlags {
    const ACCESS_TIMES: u32 = linux::MS_NOATIME | linux::MS_STRICTATIME | linux::MS_RELATIME;
    let mut clear = attributes(options.clear);
    clear.remove(MountAttrFlags::MOUNT_ATTR__ATIME);
    if (options.set | options.clear) & ACCESS_TIMES != 0 {
        clear.insert(MountAttrFlags::MOUNT_ATTR__ATIME);
    }
    clear
}

fn attributes(bits: u32) -> MountAttrFlags {
    ATTRIBUTES
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, attribute)| *attribute)
        .collect()
}

fn open_source(path: &str) -> Result<OwnedFd, Fault> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn options(set: u32, clear: u32) -> MountOptions<'static> {
        MountOptions {
            set,
            clear,
            ..MountOptions::default()
        }
    }

    #[test]
    fn flags_become_attributes() {
        let asked = options(
            linux::MS_RDONLY | linux::MS_NODEV | linux::MS_BIND | linux::MS_REC,
            0,
        );
        let expected = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
        assert_eq!(set(&asked), expected);
        assert!(clear(&asked).is_empty());
    }

    #[test]
    fn the_kind_of_access_times_is_cleared_as_a_whole() {
        for asked in [
            options(linux::MS_NOATIME, 0),
            options(linux::MS_RELATIME, 0),
            options(0, linux::MS_NOATIME),
        ] {
            assert!(clear(&asked).contains(MountAttrFlags::MOUNT_ATTR__ATIME));
        }
        let exec = options(0, linux::MS_NOEXEC);
        assert_eq!(clear(&exec), MountAttrFlags::MOUNT_ATTR_NOEXEC);
    }
}
