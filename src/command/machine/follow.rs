//! Files of lines that PID 1 keeps in `/run`: [`crate::events::Ring`] writes them.
//!
//! There is the file, and the one before it, `<name>.1`. When the file is full it takes that name,
//! and a new one is begun. Nobody asks PID 1 for anything: inotify(7) tells when there is more.

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
pub(super) type Line<'l> = dyn FnMut(&[u8]) -> bool + 'l;

/// A file that is read to its end, and on.
pub(super) struct Follower {
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
    pub(super) fn open(file: core::fmt::Arguments<'_>, is_followed: bool) -> Result<Self, Fault> {
        let file = path(file).during(Op::Open, "a file of PID 1's")?;
        let watch = match is_followed {
            true => Some(watch(&file).during(Op::Watch, &file)?),
            false => None,
        };
        let before = path(format_args!("{file}.1")).during(Op::Open, &file)?;
        Ok(Self {
            before: open(&before)?,
            file: open(&file)?,
            path: file,
            watch,
            line: heapless::Vec::new(),
        })
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

    /// Calls `line` with each line that is there and was not read; `false` if it said to stop.
    ///
    /// # Errors
    /// Those of read(2) and openat(2).
    pub(super) fn read(&mut self, line: &mut Line<'_>) -> Result<bool, Fault> {
        if let Some(before) = self.before.take()
            && !self.drain(&before, line)?
        {
            return Ok(false);
        }
        loop {
            let Some(file) = self.file.take() else {
                self.file = open(&self.path)?;
                if self.file.is_none() {
                    return Ok(true);
                }
                continue;
            };
            // Asked first: PID 1 writes nothing more to a file that it has moved away.
            let is_old = self.is_moved(&file);
            let goes_on = self.drain(&file, line)?;
            if !is_old || !goes_on {
                self.file = Some(file);
                return Ok(goes_on);
            }
        }
    }

    /// The same, and waits for more, until `line` says to stop.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub(super) fn follow(&mut self, line: &mut Line<'_>) -> Result<(), Fault> {
        while self.read(line)? {
            let Some(watch) = &self.watch else {
                return Ok(());
            };
            match read(watch, &mut [0; LINE_MAX]) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).during(Op::Wait, &self.path),
            }
        }
        Ok(())
    }

    fn is_moved(&self, file: &OwnedFd) -> bool {
        match (fstat(file), stat(self.path.as_str())) {
            (Ok(ours), Ok(now)) => ours.st_ino != now.st_ino,
            // It is between two files.
            _ => false,
        }
    }

    fn drain(&mut self, file: &OwnedFd, line: &mut Line<'_>) -> Result<bool, Fault> {
        let mut room = [0; LINE_MAX];
        loop {
            let len = fs::read_up_to(file, &mut room).during(Op::Read, &self.path)?;
            let bytes = room.get(..len).unwrap_or_default();
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                // One that is too long is none of PID 1's.
                let _ = self.line.extend_from_slice(piece);
                if let Some((b'\n', whole)) = self.line.split_last() {
                    let goes_on = line(whole);
                    self.line.clear();
                    if !goes_on {
                        return Ok(false);
                    }
                }
            }
            if len == 0 {
                return Ok(true);
            }
        }
    }
}

fn open(path: &str) -> Result<Option<OwnedFd>, Fault> {
    match fs::open_file(rustix::fs::CWD, path) {
        Ok(file) => Ok(Some(file)),
        Err(fault) if fault.errno == Errno::NOENT => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Watches the directory that the file is in: it is the file's name that stays.
fn watch(file: &str) -> Result<OwnedFd, Errno> {
    let directory = split_last(file, b'/').map_or("/", |(directory, _)| directory);
    let watch = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, directory, WatchFlags::MODIFY | WatchFlags::CREATE)?;
    Ok(watch)
}
