//! Destinations: resolved inside the rootfs, and made where they are missing.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, mkdirat, openat, readlinkat_raw};
use rustix::io::Errno;

use crate::error::{During, Fault, Op};
use crate::sys::fs::mount_id;
use crate::sys::mount::{kind_and_mount_root, resolve_in_root};
use crate::sys::path::{LONG_PATH_MAX, LongPath, long_path};
use crate::text::split_last;

/// How many dangling symbolic links are followed: as many as the kernel follows in a path
/// (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// A destination, looked at once.
pub(super) struct Target {
    file: OwnedFd,
    kind: FileType,
    is_mount_root: bool,
}

/// The destination inside `root` for something of this kind, made if it is missing: a directory for
/// a directory, else an empty file.
pub(super) fn prepare(
    root: BorrowedFd<'_>,
    destination: &str,
    kind: FileType,
) -> Result<OwnedFd, Fault> {
    Target::new(find_or_create(root, destination, kind)?, destination)?.accept(
        root,
        destination,
        kind,
    )
}

impl Target {
    /// The destination inside `root`, if there is one.
    pub(super) fn find(root: BorrowedFd<'_>, destination: &str) -> Result<Self, Fault> {
        Self::new(resolve_in_root(root, destination)?, destination)
    }

    fn new(file: OwnedFd, destination: &str) -> Result<Self, Fault> {
        let (kind, is_mount_root) =
            kind_and_mount_root(file.as_fd()).during(Op::Mount, destination)?;
        Ok(Self {
            file,
            kind,
            is_mount_root,
        })
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind.is_dir()
    }

    /// The file, if something of this kind can be mounted on it. It is `destination` inside `root`.
    pub(super) fn accept(
        self,
        root: BorrowedFd<'_>,
        destination: &str,
        kind: FileType,
    ) -> Result<OwnedFd, Fault> {
        // The kernel takes a directory on a directory, else a file on a file, and says EINVAL
        // (move_mount(2)).
        match [kind, self.kind].map(FileType::is_dir) {
            [true, false] => return Err(Errno::NOTDIR).during(Op::Mount, destination),
            [false, true] => return Err(Errno::ISDIR).during(Op::Mount, destination),
            _ => {}
        }
        // A mount on the root itself would never be seen: `/` stays what it was mounted on.
        let is_root =
            || Ok(self.is_mount_root && mount_id(&self.file, c"")? == mount_id(root, c"")?);
        if is_root().during(Op::Mount, destination)? {
            let what = format_args!("{destination}, which is the root of the container");
            return Err(Errno::BUSY).during(Op::Mount, what);
        }
        Ok(self.file)
    }
}

fn find_or_create(
    root: BorrowedFd<'_>,
    destination: &str,
    kind: FileType,
) -> Result<OwnedFd, Fault> {
    match resolve_in_root(root, destination) {
        Err(fault) if fault.errno == Errno::NOENT => find_missing(root, destination, kind),
        result => result,
    }
}

/// The same of one that is not there yet.
#[inline(never)]
fn find_missing(root: BorrowedFd<'_>, destination: &str, kind: FileType) -> Result<OwnedFd, Fault> {
    let mut rooms = [LongPath::new(), LongPath::new()];
    let [wanted, led_to] = &mut rooms;
    long_path(wanted, format_args!("{destination}")).during(Op::Mount, destination)?;
    for _ in 0..LINKS_MAX {
        if create_missing(root, wanted, kind, led_to)? {
            core::mem::swap(wanted, led_to);
        }
        match resolve_in_root(root, wanted) {
            Err(fault) if fault.errno == Errno::NOENT => {}
            result => return result,
        }
    }
    Err(Errno::LOOP).during(Op::Mount, destination)
}

/// Makes what is missing on the way to `wanted`, and itself. A symbolic link on the way that leads
/// nowhere ends it, which is the answer: where the whole path leads with it, inside the root, is
/// `led_to` then.
fn create_missing(
    root: BorrowedFd<'_>,
    wanted: &str,
    kind: FileType,
    led_to: &mut LongPath,
) -> Result<bool, Fault> {
    let ends = wanted.match_indices('/').map(|(at, _)| at);
    for (part, rest) in ends
        .chain([wanted.len()])
        .filter_map(|end| wanted.split_at_checked(end))
    {
        if part.trim_matches('/').is_empty() {
            continue;
        }
        match resolve_in_root(root, part) {
            Ok(_) => continue,
            Err(fault) if fault.errno == Errno::NOENT => {}
            Err(fault) => return Err(fault),
        }
        let part = part.trim_end_matches('/');
        let (parent, name) = split_last(part, b'/').unwrap_or(("", part));
        let directory = resolve_in_root(root, if parent.is_empty() { "/" } else { parent })?;
        let is_last = rest.trim_matches('/').is_empty();
        match create(directory.as_fd(), name, is_last && !kind.is_dir()) {
            Ok(()) => {}
            Err(Errno::EXIST) => return follow(directory.as_fd(), parent, name, rest, led_to),
            Err(errno) => {
                return Err(errno).during(Op::Create, format_args!("{part} in the rootfs"));
            }
        }
    }
    Ok(false)
}

fn create(directory: BorrowedFd<'_>, name: &str, as_file: bool) -> Result<(), Errno> {
    if as_file {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(directory, name, flags, Mode::from_raw_mode(0o644)).map(drop)
    } else {
        mkdirat(directory, name, Mode::from_raw_mode(0o755))
    }
}

/// The path to which `rest` behind the link `name` in `parent` leads. If `name` is no link, another
/// process has just made it, and it will be found.
#[inline(never)]
fn follow(
    directory: BorrowedFd<'_>,
    parent: &str,
    name: &str,
    rest: &str,
    led_to: &mut LongPath,
) -> Result<bool, Fault> {
    let mut link = [0; LONG_PATH_MAX];
    let len = match readlinkat_raw(directory, name, &mut link) {
        Err(Errno::INVAL) => return Ok(false),
        result => result.during(Op::Open, name)?,
    };
    // One that fills the room may be longer.
    let link = link.get(..len).filter(|_| len < LONG_PATH_MAX);
    let link = link.and_then(|link| core::str::from_utf8(link).ok());
    let from = match link {
        Some(link) if link.starts_with('/') => "",
        _ => parent,
    };
    link.ok_or(Errno::NAMETOOLONG)
        .and_then(|link| long_path(led_to, format_args!("{from}/{link}{rest}")))
        .map(|_| true)
        .during(Op::Open, name)
}
