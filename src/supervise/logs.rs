//! What containers print, kept for later readers.
//!
//! Each container has a file below [`LOGS`] from its first line on ([`Ring`]). A line of it is the
//! time of day in seconds, its number, `o` or `e` for standard output or error, and what was
//! printed, as it came: a reader that shows it escapes what would do something to a terminal. By
//! the numbers a reader that was too slow knows how many lines it has missed.

use core::fmt::Write as _;

use crate::container::{BUNDLES_MAX, Id};
use crate::events::{Ring, Stream};
use crate::parse::log::{LINE_MAX, LOGS, SIZE};
use crate::sys::clock;
use crate::sys::fs;
use crate::sys::mapped::Mapped;
use crate::sys::path::path;
use crate::text::BoundedWriter;

/// The lines of a container.
struct Log {
    ring: Ring,
    /// How many there were.
    count: u64,
}

/// All of them, by the indices of the containers.
pub(super) struct Logs(Mapped<Log, BUNDLES_MAX>);

impl Logs {
    /// No lines yet.
    pub(super) const fn new() -> Self {
        Self(Mapped::new())
    }

    fn at(&mut self, index: usize) -> Option<&mut Log> {
        let new = || Log {
            ring: Ring::new(SIZE as usize),
            count: 0,
        };
        // There are as many places as containers.
        while self.0.len() <= index && self.0.push(new()).is_ok() {}
        self.0.get_mut(index)
    }

    /// Keeps so many bytes of the container at `index` from now on.
    pub(super) fn resize(&mut self, index: usize, size: u32) {
        // Most bundles ask for no other size, and some containers never print.
        if size == SIZE && self.0.len() <= index {
            return;
        }
        if let Some(log) = self.at(index) {
            log.ring.resize(size as usize);
        }
    }

    /// The container at `index` has ended: its file is closed until it prints again.
    pub(super) fn rest(&mut self, index: usize) {
        if let Some(log) = self.0.get_mut(index) {
            log.ring.rest();
        }
    }

    /// Keeps a line of the container at `index`, whose name is `id`.
    #[inline(never)]
    pub(super) fn push(&mut self, index: usize, id: &Id, stream: Stream, line: &[u8]) {
        let Some(Log { ring, count }) = self.at(index) else {
            return;
        };
        *count = count.saturating_add(1);
        if !ring.is_open() {
            // Where no file can be made, nothing is kept, and it is tried again with the next line.
            let file = path(format_args!("{LOGS}/{id}.log"));
            let made = fs::make_directory(LOGS).is_ok();
            let _ = file.map(|file| made && ring.open(file).is_ok());
        }
        let mut room = [0; LINE_MAX];
        let (seconds, nanoseconds) = clock::wall();
        let micros = nanoseconds / 1000;
        let stream = match stream {
            Stream::Stdout => 'o',
            Stream::Stderr => 'e',
        };
        let mut writer = BoundedWriter::new(&mut room, 0);
        let begun = write!(writer, "{seconds}.{micros:06} {count} {stream} ");
        if begun.is_ok() && writer.push(line) && writer.push(b"\n") {
            ring.push(writer.written());
        }
    }
}
