//! The end of a group, and of those that the container made in it.
//!
//! A group can be removed when nothing is in it, neither processes nor groups: EBUSY otherwise. A
//! container that may write to its own group can leave as many groups there as it likes, and as
//! deep, so what is walked here is neither held in memory nor on the stack: down into the first
//! group, up again when a group is empty. It is walked [so many steps](STEPS) at a time, and [so
//! often](ROUNDS) at most: a container that makes groups faster than they are removed holds nobody
//! up for ever.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, fgetxattr, openat, seek, unlinkat,
};
use rustix::io::Errno;

use super::{Group, MARK, ROOT};
use crate::error::{During, Fault, Op};
use crate::sys::fs::{each_entry, open_directory};
use crate::sys::path::place_of;
use crate::text::split_last;

/// How many groups are removed, or entered, at once.
pub(super) const STEPS: usize = 16;

/// How many times, at most.
const ROUNDS: usize = 1 << 14;

/// What became of the first group below a group.
enum FirstChild {
    /// There is none: it was removed, or there never was one.
    None {
        /// Whether some were removed.
        removed: bool,
    },
    /// It holds something, and was opened.
    Entered(OwnedFd),
    /// It could not be removed.
    Failed(Errno),
    /// There may be more, and no steps are left.
    Paused,
}

/// How far the removal of a group has come.
#[derive(Debug, Default)]
pub(super) struct Removal {
    /// The group in which the removal goes on, unless that is the group to be removed; and how deep
    /// that is.
    below: Option<OwnedFd>,
    depth: usize,
    /// Whether that was entered because it could not be removed, and nothing was removed in it
    /// since.
    is_entered: bool,
}

impl Group {
    /// Removes it, all groups in it, and those that were made on the way to it and hold nothing
    /// else.
    ///
    /// # Errors
    /// `EBUSY` while a process is in it; those of unlinkat(2).
    pub fn remove(&self) -> Result<(), Fault> {
        let mut removal = Removal::default();
        for _ in 0..ROUNDS {
            if self.remove_some(&mut removal, &mut { STEPS })? {
                return Ok(());
            }
        }
        Err(Errno::BUSY).during(Op::Remove, "a control group")
    }

    /// The same for as many `steps`, which are counted down. Whether the group is gone.
    pub(super) fn remove_some(
        &self,
        removal: &mut Removal,
        steps: &mut usize,
    ) -> Result<bool, Fault> {
        let path = place_of(self)?;
        let mut result = match removal.below {
            Some(_) => Err(Errno::BUSY),
            None => unlink(&path),
        };
        if result == Err(Errno::BUSY) {
            result = match removal.resume(self.as_fd(), steps) {
                Ok(false) => return Ok(false),
                Ok(true) => unlink(&path),
                Err(errno) => Err(errno),
            };
            *removal = Removal::default();
        }
        Self::remove_empty_parents(&path, usize::MAX, result).map(|()| true)
    }

    /// Removes it if nothing was ever in it, and those that were made on the way to it and hold
    /// nothing else.
    pub fn discard(&self) {
        if let Ok(path) = place_of(self) {
            Self::discard_at(&path, usize::MAX);
        }
    }

    /// The same for a group that was to be made at `path`. The first `existing` bytes of that name
    /// groups that were there before.
    pub fn discard_at(path: &str, existing: usize) {
        // A group that was there before may hold something, and is not removed then.
        let _ = Self::remove_empty_parents(path, existing, unlink(path));
    }

    fn remove_empty_parents(
        path: &str,
        existing: usize,
        result: Result<(), Errno>,
    ) -> Result<(), Fault> {
        result.during(Op::Remove, path)?;
        let mut path = path;
        while let Some((parent, _)) = split_last(path, b'/') {
            let is_ours = parent.len() > existing || is_marked(parent);
            if !parent.starts_with(ROOT) || !is_ours || unlink(parent).is_err() {
                break;
            }
            path = parent;
        }
        Ok(())
    }
}

fn is_marked(group: &str) -> bool {
    open_directory(CWD, group)
        .is_ok_and(|group| fgetxattr(group.as_fd(), MARK, &mut [0u8; 0][..]).is_ok())
}

/// Removes the group at `path`, or finds that it is gone.
fn unlink(path: &str) -> Result<(), Errno> {
    match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

impl Removal {
    /// Removes groups below `top`. Whether there are none left.
    fn resume(&mut self, top: BorrowedFd<'_>, steps: &mut usize) -> Result<bool, Errno> {
        loop {
            let here = self.below.as_ref().map_or(top, AsFd::as_fd);
            match remove_first(here, steps)? {
                FirstChild::Failed(errno) => return Err(errno),
                FirstChild::Paused => {
                    self.is_entered = false;
                    return Ok(false);
                }
                FirstChild::Entered(group) => {
                    self.below = Some(group);
                    self.depth += 1;
                    self.is_entered = true;
                }
                FirstChild::None { .. } if self.depth == 0 => return Ok(true),
                // It could not be removed, and has no groups: so it holds a process.
                FirstChild::None { removed: false } if self.is_entered => return Err(Errno::BUSY),
                FirstChild::None { .. } => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    self.below = Some(openat(here, c"..", flags, Mode::empty())?);
                    self.depth -= 1;
                    self.is_entered = false;
                }
            }
        }
    }
}

/// Removes the groups below `group`, up to the first that holds something.
fn remove_first(group: BorrowedFd<'_>, steps: &mut usize) -> Result<FirstChild, Errno> {
    // It may have been listed before.
    seek(group, SeekFrom::Start(0))?;
    let mut first = FirstChild::None { removed: false };
    each_entry(group, |name, kind| {
        if kind != FileType::Directory {
            return true;
        }
        let Some(left) = steps.checked_sub(1) else {
            first = FirstChild::Paused;
            return false;
        };
        *steps = left;
        first = match unlinkat(group, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {
                first = FirstChild::None { removed: true };
                return true;
            }
            Err(Errno::BUSY) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                openat(group, name, flags, Mode::empty())
                    .map_or_else(FirstChild::Failed, FirstChild::Entered)
            }
            Err(errno) => FirstChild::Failed(errno),
        };
        false
    })?;
    Ok(first)
}
