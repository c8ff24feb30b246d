//! Lines as they are written to files: `2026-11-30T08:25:54.000123000Z stdout text`.

use core::fmt::Write as _;

use crate::command::time::Time;
use crate::error::{During, Fault, Op};
use crate::parse::log::Line;
use crate::sys::buffer::Buffer;
use crate::text::{BoundedWriter, Bytes, Shown};

/// How much is written at once, in bytes, at most.
const ROOM: usize = 64 * 1024;

/// What one look at PID 1's lines can bring: 4 KiB and a line that was begun before, of which each
/// byte is shown as four.
const HEADROOM: usize = 24 * 1024;

/// Lines that are written together.
pub(super) struct Batch {
    room: Buffer<ROOM>,
    len: usize,
}

impl Batch {
    /// No lines.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Self, Fault> {
        let mut room = Buffer::new();
        room.bytes_mut().during(Op::Map, "room for lines")?;
        Ok(Self { room, len: 0 })
    }

    pub(super) const fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is room for what one look brings.
    pub(super) const fn has_room(&self) -> bool {
        self.len + HEADROOM <= ROOM
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.room.bytes().get(..self.len).unwrap_or_default()
    }

    /// Adds a line, and before it how many were `lost`. What would do something to a terminal, or
    /// end the line, is escaped.
    pub(super) fn push(&mut self, line: &Line<'_>, lost: u64) {
        let time = Time::of(line.seconds, line.micros.saturating_mul(1000));
        let Ok(room) = self.room.bytes_mut() else {
            return;
        };
        let mut writer = BoundedWriter::new(room, self.len);
        let stream = match line.is_error {
            true => "stderr",
            false => "stdout",
        };
        let note = match lost {
            0 => Ok(()),
            _ => writeln!(writer, "{time} berth lines lost: {lost}"),
        };
        let text = Shown(Bytes(line.text));
        if note.is_ok() && writeln!(writer, "{time} {stream} {text}").is_ok() {
            self.len = writer.written().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> Line<'_> {
        Line::parse(bytes).unwrap()
    }

    #[test]
    fn lines_have_time_and_stream_and_nothing_for_a_terminal() {
        let mut batch = Batch::new().unwrap();
        batch.push(&line(b"1798761599.000123 1 o one\ttwo"), 0);
        batch.push(&line(b"1798761600.500000 5 e \x1b[2J\rweb \xff"), 3);
        let expected = "2026-12-31T23:59:59.000123000Z stdout one\ttwo\n\
                        2027-01-01T00:00:00.500000000Z berth lines lost: 3\n\
                        2027-01-01T00:00:00.500000000Z stderr \\x1b[2J\\x0dweb \\xff\n";
        assert_eq!(batch.bytes(), expected.as_bytes());
        batch.clear();
        assert!(batch.is_empty());
    }

    #[test]
    fn what_one_look_brings_fits() {
        // As many of the shortest lines as there can be in it, and as many bytes as can be shown.
        for text in [&b""[..], &[0xff; 512]] {
            let kept = [b"1764491154.000123 1000000 o ", text].concat();
            let mut batch = Batch::new().unwrap();
            while batch.has_room() {
                batch.push(&line(&kept), 0);
            }
            let before = batch.bytes().len();
            let count = (4096 + 640) / (kept.len() + 1);
            for _ in 0..count {
                batch.push(&line(&kept), 1);
            }
            let each = (batch.bytes().len() - before) / count;
            assert!(each > text.len() * 4 + 2 * "2025-11-30T08:25:54.000123000Z ".len());
        }
    }
}
