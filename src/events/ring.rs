//! Lines that are kept for later readers: a file in `/run`, and the one before it.
//!
//! The file is in a tmpfs, so what is written takes memory and no disk, and PID 1 never waits for
//! it. When it is half of what may be kept, it becomes `<name>.1`, in the place of the one before,
//! and a new one is begun. A reader that follows it watches the directory (inotify(7)).

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat, renameat};
use rustix::io::{Errno, write};

use crate::sys::path::{Path, path};

/// A file of lines, once there is one.
pub(crate) struct Ring {
    file: Option<OwnedFd>,
    path: Path,
    len: usize,
    /// Half of what is kept at most, in bytes.
    half: usize,
}

impl Ring {
    /// One that keeps nothing yet, and then `size` bytes at most, with the file before it.
    pub(crate) const fn new(size: usize) -> Self {
        Self {
            file: None,
            path: Path::new(),
            len: 0,
            half: size / 2,
        }
    }

    /// Keeps so much from now on.
    pub(crate) const fn resize(&mut self, size: usize) {
        self.half = size / 2;
    }

    /// Keeps lines in a new file at `path` from now on.
    ///
    /// # Errors
    /// Those of openat(2).
    pub(crate) fn open(&mut self, path: Path) -> Result<(), Errno> {
        self.path = path;
        let begun = self.begin();
        if begun.is_err() {
            self.path = Path::new();
        }
        begun
    }

    /// Whether lines are kept.
    pub(crate) fn is_open(&self) -> bool {
        !self.path.is_empty()
    }

    /// Has no descriptor open until the next line comes.
    pub(crate) fn rest(&mut self) {
        self.file = None;
    }

    fn begin(&mut self) -> Result<(), Errno> {
        self.len = 0;
        self.open_file(OFlags::TRUNC)
    }

    fn open_file(&mut self, how: OFlags) -> Result<(), Errno> {
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let only_root = Mode::from_raw_mode(0o600);
        self.file = Some(openat(CWD, self.path.as_str(), flags | how, only_root)?);
        Ok(())
    }

    /// Keeps `line`, which has an end. One that cannot be kept is lost: memory may be full.
    #[inline(never)]
    pub(crate) fn push(&mut self, line: &[u8]) {
        if self.file.is_none() && self.is_open() {
            let _ = self.open_file(OFlags::empty());
        }
        if self.len >= self.half && self.file.is_some() {
            let before = path(format_args!("{}.1", self.path));
            let moved = before.and_then(|before| renameat(CWD, &*self.path, CWD, &*before));
            self.file = None;
            // Without either the file would be truncated under its readers.
            let _ = moved.and_then(|()| self.begin());
        }
        if let Some(file) = &self.file {
            // A part of a line is better than none, and a file in memory takes all or nothing.
            let _ = write(file, line);
            self.len += line.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let place = std::env::temp_dir().join(format!("berth-ring-{}", std::process::id()));
        let place = place.to_str().unwrap();
        let mut ring = Ring::new(16);
        ring.push(b"lost\n");
        ring.open(path(format_args!("{place}")).unwrap()).unwrap();
        for number in 0..9 {
            ring.rest();
            ring.push(format!("{number}..\n").as_bytes());
        }
        let before = std::fs::read_to_string(format!("{place}.1")).unwrap();
        let now = std::fs::read_to_string(place).unwrap();
        assert_eq!((&*before, &*now), ("6..\n7..\n", "8..\n"));
        std::fs::remove_file(format!("{place}.1")).unwrap();
        std::fs::remove_file(place).unwrap();
    }
}
