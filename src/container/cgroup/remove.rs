//! The end of a group, and of those that the container made in it.
//!
//! A group can be removed when nothing is in it, neither processes nor groups: EBUSY otherwise. A container that may write to
//! its own group can leave as many groups there as it likes, and as deep, so what is walked here is neither held in memory nor
//! on the stack: down into the first group, up again when a group is empty.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, fgetxattr, openat, readlinkat_raw, seek,
    unlinkat,
};
use rustix::io::Errno;

use super::{Group, MARK, ROOT};
use crate::error::{During, Fault, Op};
use crate::sys::fs::{each_entry, open_directory};
use crate::sys::path::{PATH_MAX, Path, path};
use crate::text::split_last;

/// As many groups are removed at once; the rest at the next end of a process.
const GROUPS_MAX: usize = 1 << 16;

/// What became of the first group in a group.
enum First {
    /// There is none, any more or as it was before.
    None {
        /// Whether there were some.
        removed: bool,
    },
    /// It holds something.
    Entered(OwnedFd),
    /// It could not be removed.
    Failed(Errno),
}

impl Group {
    /// Removes it, all groups in it, and those that were made on the way to it and hold nothing else.
    ///
    /// # Errors
    /// `EBUSY` while a process is in it; those of unlinkat(2).
    pub fn remove(&self) -> Result<(), Fault> {
        let path = self.path().during(Op::Remove, "a control group")?;
        match unlink(&path) {
            Err(Errno::BUSY) => {}
            result => return self.removed(&path, result),
        }
        let removed = remove_nested(self.as_fd()).and_then(|()| unlink(&path));
        self.removed(&path, removed)
    }

    fn removed(&self, path: &str, result: Result<(), Errno>) -> Result<(), Fault> {
        result.during(Op::Remove, path)?;
        let mut path = path;
        while let Some((parent, _)) = split_last(path, b'/') {
            if !parent.starts_with(ROOT) || !is_marked(parent) || unlink(parent).is_err() {
                break;
            }
            path = parent;
        }
        Ok(())
    }

    /// Where it is, as the kernel knows it.
    fn path(&self) -> Result<Path, Errno> {
        let link = path(format_args!("/proc/self/fd/{}", self.0.as_raw_fd()))?;
        let mut target = [0; PATH_MAX + 1];
        let len = readlinkat_raw(CWD, link.as_str(), &mut target[..])?;
        let target = target.get(..len).unwrap_or_default();
        path(format_args!(
            "{}",
            core::str::from_utf8(target).map_err(|_| Errno::INVAL)?
        ))
    }
}

fn is_marked(group: &str) -> bool {
    open_directory(CWD, group).is_ok_and(|group| fgetxattr(group, MARK, &mut [0u8; 0][..]).is_ok())
}

/// A group that is gone is removed.
fn unlink(path: &str) -> Result<(), Errno> {
    match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

fn remove_nested(top: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut below: Option<OwnedFd> = None;
    let mut depth = 0usize;
    let mut is_entered = false;
    for _ in 0..GROUPS_MAX {
        let here = below.as_ref().map_or(top, AsFd::as_fd);
        match remove_first(here)? {
            First::Failed(errno) => return Err(errno),
            First::Entered(group) => {
                below = Some(group);
                depth += 1;
                is_entered = true;
            }
            First::None { .. } if depth == 0 => return Ok(()),
            // It could not be removed, and no group is in it: a process is.
            First::None { removed: false } if is_entered => return Err(Errno::BUSY),
            First::None { .. } => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                below = Some(openat(here, c"..", flags, Mode::empty())?);
                depth -= 1;
                is_entered = false;
            }
        }
    }
    Err(Errno::BUSY)
}

/// Removes the groups in `group`, up to the first that holds something.
fn remove_first(group: BorrowedFd<'_>) -> Result<First, Errno> {
    // It may have been listed before.
    seek(group, SeekFrom::Start(0))?;
    let mut first = First::None { removed: false };
    each_entry(group, |name, kind| {
        if kind != FileType::Directory {
            return true;
        }
        first = match unlinkat(group, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {
                first = First::None { removed: true };
                return true;
            }
            Err(Errno::BUSY) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                openat(group, name, flags, Mode::empty()).map_or_else(First::Failed, First::Entered)
            }
            Err(errno) => First::Failed(errno),
        };
        false
    })?;
    Ok(first)
}
