//! Files of lines that PID 1 keeps in `/run`: [`crate::events::Ring`] writes them.
//!
//! There is the file, and the one before it, `<name>.1`. When the file is full it takes that name,
//! and a new one is begun. Nobody asks PID 1 for anything: inotify(7) tells when there is more.
//!
//! A reader that looks only now and then finds its unread lines in these two files; lines of older
//! files are lost to it.

use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{SeekFrom, fstat, seek, stat};
use rustix::io::{Errno, read};

use crate::error::{During, Fault, Op};
use crate::sys::fs;
use crate::sys::path::{Path, path};
use crate::text::split_last;

/// The longest line, in bytes.
const LINE_MAX: usize = 4096;

/// What becomes of a line: whether to go on.
pub(in crate::command) type Line<'l> = dyn FnMut(&[u8]) -> bool + 'l;

/// What a look at a file has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) enum Look {
    /// There may be more.
    More,
    /// All that is there was read.
    AtEnd,
    /// Nothing more is wanted.
    Stopped,
}

/// A file that is read to its end, and on.
pub(in crate::command) struct Follower {
    path: Path,
    /// The one before it, until it was read.
    before: Option<OwnedFd>,
    file: Option<OwnedFd>,
    watch: Option<OwnedFd>,
    line: heapless::Vec<u8, LINE_MAX>,
}

impl Follower {
    /// The file at `path`, from its first line that is kept. If it `is_followed`, what comes later
    /// is noticed.
    ///
    /// # Errors
    /// Those of openat(2) but `ENOENT`, and of inotify_add_watch(2).
    pub(in crate::command) fn open(
        file: core::fmt::Arguments<'_>,
        is_followed: bool,
    ) -> Result<Self, Fault> {
        let path = path(file).during(Op::Open, "a file of PID 1's")?;
        let watch = match is_followed {
            true => {
                let watch = inotify::init(CreateFlags::CLOEXEC).during(Op::Watch, &path)?;
                add_watch(&watch, directory_of(&path))?;
                Some(watch)
            }
            false => None,
        };
        let mut follower = Self {
            path,
            before: None,
            file: None,
            watch,
            line: heapless::Vec::new(),
        };
        follower.open_next()?;
        Ok(follower)
    }

    /// Whether there is such a file.
    pub(super) const fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// Skips what is there.
    ///
    /// # Errors
    /// Those of lseek(2).
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        self.before = None;
        let end = |file: &OwnedFd| seek(file, SeekFrom::End(0)).map(drop);
        self.file
            .as_ref()
            .map_or(Ok(()), end)
            .during(Op::Read, &self.path)
    }

    /// How many lines are there now.
    ///
    /// # Errors
    /// Those of read(2) and lseek(2).
    pub(super) fn count(&mut self) -> Result<u64, Fault> {
        let mut count = 0;
        let files = self.before.iter().chain(&self.file);
        for file in files {
            let mut room = [0; LINE_MAX];
            loop {
                let len = fs::read_up_to(file, &mut room).during(Op::Read, &self.path)?;
                let bytes = room.get(..len).unwrap_or_default();
                count += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
                if len == 0 {
                    break;
                }
            }
            seek(file, SeekFrom::Start(0)).during(Op::Read, &self.path)?;
        }
        Ok(count)
    }

    /// Calls `line` with some of the lines that are there and were not read.
    ///
    /// # Errors
    /// Those of read(2) and openat(2).
    pub(in crate::command) fn read_some(&mut self, line: &mut Line<'_>) -> Result<Look, Fault> {
        let Some(file) = self.before.as_ref().or(self.file.as_ref()) else {
            return self.open_next();
        };
        // Asked first: PID 1 writes nothing more to a file that it has moved away.
        let is_old = self.before.is_some() || self.is_moved(file);
        let mut room = [0; LINE_MAX];
        let len = fs::read_up_to(file, &mut room).during(Op::Read, &self.path)?;
        if len == 0 {
            return match is_old {
                true => self.open_next(),
                false => Ok(Look::AtEnd),
            };
        }
        let bytes = room.get(..len).unwrap_or_default();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            // One that is too long is none of PID 1's.
            let _ = self.line.extend_from_slice(piece);
            if let Some((b'\n', whole)) = self.line.split_last() {
                let goes_on = line(whole);
                self.line.clear();
                if !goes_on {
                    return Ok(Look::Stopped);
                }
            }
        }
        Ok(Look::More)
    }

    /// Calls `line` with each line that is there and was not read. If the file is followed, waits
    /// for more, until `line` says to stop.
    ///
    /// # Errors
    /// Those of [`Self::read_some`], and of reading what tells of more.
    pub(super) fn follow(&mut self, line: &mut Line<'_>) -> Result<(), Fault> {
        loop {
            match (self.read_some(line)?, &self.watch) {
                (Look::More, _) => {}
                (Look::AtEnd, Some(watch)) => match read(watch, &mut [0; LINE_MAX]) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno).during(Op::Wait, &self.path),
                },
                (Look::AtEnd, None) | (Look::Stopped, _) => return Ok(()),
            }
        }
    }

    fn is_moved(&self, file: &OwnedFd) -> bool {
        match (fstat(file), stat(self.path.as_str())) {
            (Ok(ours), Ok(now)) => ours.st_ino != now.st_ino,
            // It is between two files.
            _ => false,
        }
    }

    /// Goes on with what is behind the file that was read to its end.
    fn open_next(&mut self) -> Result<Look, Fault> {
        self.line.clear();
        if self.before.take().is_some() {
            return Ok(Look::More);
        }
        let read = self.file.as_ref().and_then(inode);
        let path = self.path.as_str();
        let before = crate::sys::path::path(format_args!("{path}.1")).during(Op::Open, path)?;
        loop {
            let Some(file) = open(path)? else {
                // PID 1 is between two files, or there is none yet.
                if self.file.is_none() {
                    self.file = open(&before)?;
                }
                return Ok(Look::AtEnd);
            };
            let before = open(&before)?;
            // The one before this, unless PID 1 has begun another one meanwhile.
            if stat(path).is_ok_and(|now| Some(now.st_ino) == inode(&file)) {
                self.before = before.filter(|before| inode(before) != read);
                self.file = Some(file);
                return Ok(Look::More);
            }
        }
    }
}

fn inode(file: &OwnedFd) -> Option<u64> {
    fstat(file).ok().map(|file| file.st_ino)
}

fn open(path: &str) -> Result<Option<OwnedFd>, Fault> {
    match fs::open_file(rustix::fs::CWD, path) {
        Ok(file) => Ok(Some(file)),
        Err(fault) if fault.errno == Errno::NOENT => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// The directory that the file is in: it is the file's name that stays.
fn directory_of(file: &str) -> &str {
    split_last(file, b'/').map_or("/", |(directory, _)| directory)
}

/// Has `watch` tell of what is written to the files in a directory, and of new ones.
///
/// # Errors
/// Those of inotify_add_watch(2).
pub(in crate::command) fn add_watch(watch: &OwnedFd, directory: &str) -> Result<(), Fault> {
    inotify::add_watch(watch, directory, WatchFlags::MODIFY | WatchFlags::CREATE)
        .map(drop)
        .during(Op::Watch, directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Ring;

    /// A ring of two files of three lines each, and its reader.
    fn scratch(name: &str) -> (std::path::PathBuf, Ring, Follower) {
        let place = std::env::temp_dir().join(format!("berth-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir(&place).unwrap();
        let file = format!("{}/x.log", place.display());
        let mut ring = Ring::new(24);
        ring.open(path(format_args!("{file}")).unwrap()).unwrap();
        let follower = Follower::open(format_args!("{file}"), false).unwrap();
        (place, ring, follower)
    }

    fn push(ring: &mut Ring, numbers: core::ops::Range<u32>) {
        numbers.for_each(|number| ring.push(format!("{number:03}\n").as_bytes()));
    }

    /// All that is there.
    fn read(follower: &mut Follower) -> Vec<u32> {
        let mut seen = Vec::new();
        let mut line = |line: &[u8]| {
            seen.push(std::str::from_utf8(line).unwrap().parse().unwrap());
            true
        };
        while follower.read_some(&mut line).unwrap() == Look::More {}
        seen
    }

    #[test]
    fn what_is_kept_is_read_once_however_often_the_file_was_exchanged() {
        let (place, mut ring, mut follower) = scratch("follow");
        assert_eq!(read(&mut follower), []);
        // At each look: the same file, the next one, the one after that, and a much later one.
        for (numbers, expected) in [
            (0..2, vec![0, 1]),
            (2..5, vec![2, 3, 4]),
            (5..5, vec![]),
            (5..11, vec![5, 6, 7, 8, 9, 10]),
            (11..29, vec![11, 24, 25, 26, 27, 28]),
            (29..30, vec![29]),
        ] {
            push(&mut ring, numbers.clone());
            assert_eq!(read(&mut follower), expected, "{numbers:?}");
        }
        std::fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn reader_that_comes_between_two_files_sees_the_first() {
        let (place, mut ring, _) = scratch("between");
        push(&mut ring, 0..2);
        let file = place.join("x.log");
        std::fs::rename(&file, place.join("x.log.1")).unwrap();
        let mut follower = Follower::open(format_args!("{}", file.display()), false).unwrap();
        assert!(follower.is_there());
        assert_eq!(read(&mut follower), [0, 1]);
        std::fs::write(&file, "002\n").unwrap();
        assert_eq!(read(&mut follower), [2]);
        std::fs::remove_dir_all(place).unwrap();
    }
}
