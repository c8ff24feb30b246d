//! The console, and the lines of containers on their way to it.
//!
//! Each line goes out as `<id>: <line>`. What would do something to a terminal is escaped. The
//! console can be slow, or someone has stopped the terminal; PID 1 does not wait for it:
//!
//! * Lines are queued. While the queue is full, the containers' pipes are not read.
//! * A console that takes nothing for [`PATIENCE`] is given up until it takes something again.
//!   Until then lines are dropped and counted.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, write};

use super::lines::LINE_MAX;
use super::slots::READ;
use crate::container::ID_MAX;
use crate::events::Queue;
use crate::sys::clock::{self, Moment};
use crate::sys::{console, kmsg};
use crate::text::{Bytes, Shown, Text};

/// The size of the queue, in bytes.
const QUEUE: usize = 64 * 1024;

/// Room for what one read of a pipe can bring: the end of a line that has come before, and then
/// nothing but ends of lines, each with the longest id in front of it.
const HEADROOM: usize = READ * (ID_MAX + SEPARATOR.len() + 1) + SHOWN_MAX;

/// The longest that a line becomes when it is shown: no byte takes more than `\xNN` does.
const SHOWN_MAX: usize = 4 * LINE_MAX;

/// Between the id and the line.
const SEPARATOR: &[u8] = b": ";

/// How long a console may take nothing before lines are dropped.
const PATIENCE: Duration = Duration::from_secs(5);

/// The console, and the lines that wait for it.
pub(super) struct Console {
    console: Option<OwnedFd>,
    queue: Queue<QUEUE>,
    /// Since when the console has taken nothing.
    stuck_since: Option<Moment>,
    is_given_up: bool,
    dropped: u64,
}

impl Console {
    /// Output to the console, if there is one that works.
    pub(super) fn new() -> Self {
        Self {
            console: console::open_console(),
            queue: Queue::default(),
            stuck_since: None,
            is_given_up: false,
            dropped: 0,
        }
    }

    /// The console, to be watched for room.
    pub(super) fn console(&self) -> Option<BorrowedFd<'_>> {
        self.console.as_ref().map(AsFd::as_fd)
    }

    /// True if there is room for what one read of a pipe brings.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() + HEADROOM <= QUEUE || self.is_given_up
    }

    /// True while something waits for the console.
    pub(super) fn is_pending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// When the console is given up, if it goes on taking nothing.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.stuck_since
            .filter(|_| self.is_pending() && !self.is_given_up)
            .map(|since| since + PATIENCE)
    }

    /// Adds a line. What would do something to the terminal, or end the line, is escaped, unless it
    /// `is_raw`.
    pub(super) fn line(&mut self, id: &str, line: &[u8], is_raw: bool) {
        if self.console.is_none() {
            return;
        }
        self.note_dropped();
        let mut shown = Text::<SHOWN_MAX>::EMPTY;
        let line = match is_raw {
            true => line,
            false => {
                shown.push(format_args!("{}", Shown(Bytes(line))));
                shown.as_str().as_bytes()
            }
        };
        if self.dropped > 0 || !self.push(id, line) {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    fn push(&mut self, id: &str, line: &[u8]) -> bool {
        let len = id.len() + SEPARATOR.len() + line.len() + 1;
        if self.is_given_up || self.queue.len() + len > QUEUE {
            return false;
        }
        // All four fit, as was checked.
        [id.as_bytes(), SEPARATOR, line, b"\n"]
            .into_iter()
            .all(|part| self.queue.push(part, 0))
    }

    fn note_dropped(&mut self) {
        if self.dropped > 0 {
            let mut note = Text::<64>::EMPTY;
            note.push(format_args!(
                "{} lines dropped: the console was too slow",
                self.dropped
            ));
            if self.push("berth", note.as_str().as_bytes()) {
                self.dropped = 0;
            }
        }
    }

    /// Writes what the console takes, and gives it up if it has taken nothing for too long.
    pub(super) fn flush(&mut self) {
        while let (Some(console), true) = (&self.console, self.is_pending()) {
            match write(console, self.queue.front()) {
                Ok(len) => {
                    let written = self.queue.front().get(..len).unwrap_or_default();
                    kmsg::pause_progress(!written.ends_with(b"\n"));
                    self.queue.consume(len);
                    self.stuck_since = None;
                    self.is_given_up = false;
                    self.note_dropped();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let now = clock::now();
                    let since = *self.stuck_since.get_or_insert(now);
                    self.is_given_up = now >= since + PATIENCE;
                    return;
                }
                // EIO: the line was hung up. It does not come back.
                Err(_) => {
                    self.console = None;
                    kmsg::pause_progress(false);
                    self.queue = Queue::default();
                    return;
                }
            }
        }
    }

    /// Waits until the console has taken everything, but no longer than [`PATIENCE`]. The machine
    /// ends next, and the last lines are often the ones that matter.
    pub(super) fn finish(&mut self) {
        let deadline = clock::now() + PATIENCE;
        while !self.is_given_up && clock::now() < deadline {
            self.flush();
            let Some(console) = &self.console else { return };
            // A terminal is ready when next to nothing waits in it, too (n_tty.c, `n_tty_poll`).
            let ready = poll(
                &mut [PollFd::new(console, PollFlags::OUT)],
                Some(&deadline.from_now()),
            );
            if ready == Ok(1) && !self.is_pending() {
                return;
            }
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}
