//! The event stream: what happened, for programs to read.
//!
//! One JSON object a line, on a character device:
//! `{"t":812345,"event":"stage","stage":"root","us":5120}`, where `t` is microseconds of
//! CLOCK_BOOTTIME. The fields of an event never change their meaning; more fields and more events
//! may come.
//!
//! # Nothing waits for a reader
//!
//! Lines are queued in a bounded [`queue::Queue`] and written when the device takes them. A reader
//! that does not keep up loses lines of container output first. A part of the queue is kept free
//! for events about the boot and about the state of containers, and a part of that for the end.

mod event;
mod queue;
mod ring;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, write};

use crate::sys::path::path;
use crate::sys::{clock, fs};
use crate::text::BoundedWriter;
use event::write_line;
pub(crate) use event::{EndAction, Event, OWN_FAILURE, Stream, SwitchMethod};
pub(crate) use queue::Queue;
pub(crate) use ring::Ring;

/// The longest line, in bytes: a container's line of output with every byte escaped is shorter.
const LINE_MAX: usize = 4096;

/// The size of the queue, in bytes.
const QUEUE: usize = 64 * 1024;

/// What output may not use of it.
const RESERVED: usize = 16 * 1024;

/// What is kept of that for how the machine ends.
const LAST: usize = 8 * 1024;

/// Where PID 1 keeps files of its own.
pub(crate) const DIRECTORY: &str = "/run/berth-boot";

/// How much of the stream, without output, is kept in `events` there, in bytes, at most.
const KEPT: usize = 128 * 1024;

/// The stream: lines on their way to the device.
pub(crate) struct Events {
    queue: Queue<QUEUE>,
    device: Option<OwnedFd>,
    /// As far as is known, nobody reads on the other side.
    has_no_reader: bool,
    dropped: u64,
    /// For who asks later.
    kept: Ring,
}

impl Events {
    /// A stream without a device: events wait for one.
    pub(crate) fn new() -> Self {
        Self {
            queue: Queue::default(),
            device: None,
            has_no_reader: false,
            dropped: 0,
            kept: Ring::new(KEPT),
        }
    }

    /// Keeps events in a file in `/run` from now on. A machine without it runs as well.
    pub(crate) fn keep(&mut self) {
        let file = path(format_args!("{DIRECTORY}/events"));
        let made = fs::make_directory(DIRECTORY).is_ok();
        let _ = file.map(|file| made && self.kept.open(file).is_ok());
    }

    /// The device, once there is one.
    pub(crate) fn device(&self) -> Option<BorrowedFd<'_>> {
        self.device.as_ref().map(AsFd::as_fd)
    }

    /// The device, if lines wait for it and a reader is there: a port without a reader is always
    /// "ready" (POLLHUP), and waiting for it would be a busy loop.
    pub(crate) fn device_to_watch(&self) -> Option<BorrowedFd<'_>> {
        self.device()
            .filter(|_| self.is_pending() && !self.has_no_reader)
    }

    /// Something happened to a port: a reader may have opened it.
    pub(crate) const fn reader_may_have_come(&mut self) {
        self.has_no_reader = false;
    }

    /// From now on lines go to `device`, which must be open non-blocking.
    pub(crate) fn attach(&mut self, device: OwnedFd) {
        self.device = Some(device);
        self.flush();
    }

    /// Adds an event, at this moment, and writes what the device takes.
    pub(crate) fn emit(&mut self, event: Event<'_>) {
        self.note_dropped();
        // Containers that are restarted for days while nobody reads fill what is reserved, but for
        // the part of the end.
        let keep_free = match event {
            Event::Failure { .. } | Event::Report { .. } | Event::End { .. } => 0,
            _ => LAST,
        };
        if !self.enqueue(event, keep_free) {
            self.dropped = self.dropped.saturating_add(1);
        }
        self.flush();
    }

    /// Adds a line of a container's output, or counts it as dropped if the reader does not keep up.
    pub(crate) fn output(&mut self, id: &str, stream: Stream, line: &str) {
        self.note_dropped();
        if self.dropped > 0 || !self.enqueue(Event::Output { id, stream, line }, RESERVED) {
            self.dropped = self.dropped.saturating_add(1);
        }
        self.flush();
    }

    /// True while lines wait for the device.
    pub(crate) fn is_pending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Writes what the device takes without blocking.
    pub(crate) fn flush(&mut self) {
        let Some(device) = &self.device else { return };
        while !self.queue.is_empty() {
            match write(device, self.queue.front()) {
                Ok(len) => self.queue.consume(len),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.has_no_reader = !self.queue.is_empty() && !is_writable_later(device);
    }

    fn note_dropped(&mut self) {
        if self.dropped > 0
            && self.enqueue(
                Event::Dropped {
                    lines: self.dropped,
                },
                RESERVED,
            )
        {
            self.dropped = 0;
        }
    }

    fn enqueue(&mut self, event: Event<'_>, keep_free: usize) -> bool {
        let mut room = [0; LINE_MAX];
        let mut line = BoundedWriter::new(&mut room, 0);
        // One that does not fit is left out.
        if write_line(&mut line, event, clock::now()).is_err() {
            return false;
        }
        // What containers print is kept elsewhere.
        if !matches!(event, Event::Output { .. } | Event::Dropped { .. }) {
            self.kept.push(line.written());
        }
        self.queue.push(line.written(), keep_free)
    }
}

/// After a write that took nothing: whether the device is only slow (it is connected), or nobody is
/// there (POLLHUP).
fn is_writable_later(device: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(device, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // poll(2) reports a hang-up whether it was asked for or not.
    poll(&mut polled, Some(&now)).is_ok() && !polled[0].revents().contains(PollFlags::HUP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Stage;
    use crate::sys::process::End;

    #[test]
    fn events_wait_for_a_device_and_keep_their_order() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut events = Events::new();
        events.emit(Event::Stage {
            stage: Stage::Early,
            us: 1,
        });
        events.emit(Event::Stage {
            stage: Stage::Modules,
            us: 2,
        });
        assert!(events.is_pending());
        events.attach(writer);
        assert!(!events.is_pending());
        let mut buffer = [0; 256];
        let len = rustix::io::read(&reader, &mut buffer).unwrap();
        let text = core::str::from_utf8(&buffer[..len]).unwrap();
        assert!(text.find("early").unwrap() < text.find("modules").unwrap());
    }

    #[test]
    fn containers_that_are_started_again_for_days_leave_room_for_the_end() {
        let mut events = Events::new();
        for count in 0..10_000 {
            events.emit(Event::Restarting {
                id: "restless",
                count,
                us: 60_000_000,
            });
        }
        assert!(events.dropped > 0);
        let before = events.queue.len();
        events.emit(Event::End {
            status: 0,
            action: EndAction::Orderly(End::PowerOff),
        });
        assert!(events.queue.len() > before);
    }

    #[test]
    fn a_flood_of_output_leaves_room_for_events_and_is_counted() {
        let mut events = Events::new();
        let line = "x".repeat(200);
        for _ in 0..1000 {
            events.output("noisy", Stream::Stdout, &line);
        }
        assert!(events.dropped > 0);
        let before = events.queue.len();
        events.emit(Event::End {
            status: 0,
            action: EndAction::Orderly(End::PowerOff),
        });
        assert!(events.queue.len() > before);
    }
}
