//! What containers print, on its way to the console.
//!
//! Each line goes out as `<id>: <line>`. The console can be slow, or a terminal that someone has stopped; PID 1 waits for
//! neither. Lines are queued; a full queue makes the containers wait (their pipes are not read), and a console that takes
//! nothing for [`PATIENCE`] is given up until it takes something again: then lines are dropped and counted.

use core::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, write};

use crate::events::Queue;
use crate::sys::clock::{self, Moment};
use crate::sys::console;

/// The size of the queue, in bytes.
const QUEUE: usize = 64 * 1024;

/// Room for what one read of a pipe can bring: the read itself, and the id in front of each line of it.
const HEADROOM: usize = 24 * 1024;

/// How long a console may take nothing before lines are dropped.
const PATIENCE: Duration = Duration::from_secs(5);

/// The console as containers' output sees it.
pub(super) struct Output {
    console: Option<OwnedFd>,
    queue: Queue<QUEUE>,
    stuck_since: Option<Moment>,
    dropped: u64,
}

impl Output {
    /// Output to the console, if there is one that works.
    pub(super) fn new() -> Self {
        Self {
            console: console::open_console(),
            queue: Queue::default(),
            stuck_since: None,
            dropped: 0,
        }
    }

    /// The console, to be watched for room.
    pub(super) fn console(&self) -> Option<BorrowedFd<'_>> {
        self.console.as_ref().map(AsFd::as_fd)
    }

    /// True if a container's pipe may be read now.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() + HEADROOM <= QUEUE || self.is_given_up()
    }

    /// True while something waits for the console.
    pub(super) fn is_pending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// When the console is given up, if it goes on taking nothing.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.stuck_since
            .filter(|_| self.is_pending())
            .map(|since| since + PATIENCE)
    }

    const fn is_given_up(&self) -> bool {
        self.dropped > 0
    }

    /// Adds a line.
    pub(super) fn line(&mut self, id: &str, line: &[u8]) {
        if self.console.is_none() {
            return;
        }
        let len = id.len() + 2 + line.len() + 1;
        let fits = self.queue.len() + len <= QUEUE;
        if !fits || self.is_given_up() {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        // All four fit, as was checked.
        let _ = self.queue.push(id.as_bytes(), 0)
            && self.queue.push(b": ", 0)
            && self.queue.push(line, 0)
            && self.queue.push(b"\n", 0);
    }

    /// Writes what the console takes, and gives it up if it has taken nothing for too long.
    pub(super) fn flush(&mut self) {
        let Some(console) = &self.console else { return };
        while !self.queue.is_empty() {
            match write(console, self.queue.front()) {
                Ok(len) => {
                    self.queue.consume(len);
                    self.stuck_since = None;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let now = clock::now();
                    let since = *self.stuck_since.get_or_insert(now);
                    if now >= since + PATIENCE && self.dropped == 0 {
                        self.dropped = 1;
                    }
                    return;
                }
                // EIO: the line was hung up. It does not come back.
                Err(_) => {
                    self.console = None;
                    self.queue = Queue::default();
                    return;
                }
            }
        }
        if self.dropped > 0 {
            let dropped = core::mem::take(&mut self.dropped);
            let mut line = crate::text::Text::<64>::EMPTY;
            line.push(format_args!(
                "{dropped} lines dropped: the console was too slow"
            ));
            self.line("berth", line.as_str().as_bytes());
        }
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}
