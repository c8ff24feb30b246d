//! What containers print, kept for who asks later.
//!
//! Each container has a file below [`LOGS`] from its first line on ([`Ring`]). A line of it is the
//! time of day in seconds, `o` or `e` for standard output or error, and what was printed, as it
//! came: who shows it escapes what would do something to a terminal.

use core::fmt::Write as _;

use crate::container::{BUNDLES_MAX, Id};
use crate::events::{Ring, Stream};
use crate::parse::log::{LINE_MAX, LOGS};
use crate::sys::clock;
use crate::sys::fs;
use crate::sys::mapped::Mapped;
use crate::sys::path::path;
use crate::text::BoundedWriter;

/// How much is kept of each container, in bytes, at most.
const SIZE: usize = 64 * 1024;

/// The files, by the indices of the containers.
pub(super) struct Logs(Mapped<Ring, BUNDLES_MAX>);

impl Logs {
    /// No file yet.
    pub(super) const fn new() -> Self {
        Self(Mapped::new())
    }

    /// Keeps a line of the container at `index`, whose name is `id`.
    #[inline(never)]
    pub(super) fn push(&mut self, index: usize, id: &Id, stream: Stream, line: &[u8]) {
        // There are as many places as containers.
        while self.0.len() <= index && self.0.push(Ring::new()).is_ok() {}
        let Some(ring) = self.0.get_mut(index) else {
            return;
        };
        if !ring.is_open() {
            // Where no file can be made, nothing is kept, and it is tried again with the next line.
            let file = path(format_args!("{LOGS}/{id}.log"));
            let made = fs::make_directory(LOGS).is_ok();
            let _ = file.map(|file| made && ring.open(file, SIZE).is_ok());
        }
        let mut room = [0; LINE_MAX];
        let (seconds, nanoseconds) = clock::wall();
        let micros = nanoseconds / 1000;
        let stream = match stream {
            Stream::Stdout => 'o',
            Stream::Stderr => 'e',
        };
        let mut writer = BoundedWriter::new(&mut room, 0);
        let begun = write!(writer, "{seconds}.{micros:06} {stream} ");
        if begun.is_ok() && writer.push(line) && writer.push(b"\n") {
            ring.push(writer.written());
        }
    }
}
