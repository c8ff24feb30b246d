//! The event stream: what happened, for programs to read.
//!
//! One JSON object a line, on a character device: `{"t":812345,"event":"stage","stage":"root","us":5120}`, where `t` is
//! microseconds of CLOCK_BOOTTIME. The fields of an event never change their meaning; more fields and more events may
//! come.
//!
//! # Nothing waits for a reader
//!
//! Lines are queued in a bounded [`queue::Queue`] and written when the device takes them. A reader that does not keep up
//! loses lines of container output before any event about the boot or about the life of a container: a part of the queue is kept
//! free for those, and a part of that for the end.

pub mod queue;

use core::fmt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, write};

use crate::sys::clock::{self, Moment};
use crate::text::Json;
pub use queue::Queue;

/// The longest line, in bytes: a container's line of output with every byte escaped is shorter.
const LINE_MAX: usize = 4096;

/// The size of the queue, in bytes.
const QUEUE: usize = 64 * 1024;

/// What output may not use of it.
const RESERVED: usize = 16 * 1024;

/// What is kept of that for how the machine ends.
const LAST: usize = 8 * 1024;

/// The status of a failure of berth's own, in [`Event::End`].
pub const OWN_FAILURE: u8 = 125;

/// Something that happened. The variants are the objects of the stream; see the README for their fields.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A stage of the boot was completed.
    Stage {
        /// Its name.
        stage: &'a str,
        /// How long it took, in microseconds.
        us: u64,
    },
    /// The root device is not there yet, and is waited for.
    Waiting {
        /// The device, as `root=` names it.
        root: &'a str,
    },
    /// The root filesystem was mounted.
    Root {
        /// The device, as its node in `/dev`; empty for the initramfs.
        device: &'a str,
        /// The type of filesystem.
        fstype: &'a str,
        /// Whether it is read-only.
        ro: bool,
        /// Whether each block is held against a hash tree (`berth.verity=`).
        verified: bool,
        /// The name by which it was asked for: that of `root=` or of `berth.root_fallback=`. Empty for the initramfs.
        asked: &'a str,
        /// What the writable layer above it is on: a device, or `tmpfs`. Empty without one.
        overlay: &'a str,
    },
    /// A candidate for the root cannot be it; the next one of `berth.root_fallback=` is tried, if there is one.
    Rejected {
        /// The candidate, as it was asked for.
        root: &'a str,
        /// The code of the failure.
        code: &'a str,
        /// The failure in one line.
        text: &'a str,
    },
    /// The boot has stopped for a shell, as `berth.break=` asks.
    Break {
        /// The stage before which it stopped.
        before: &'a str,
    },
    /// `/` is the new root.
    Switch {
        /// `pivot_root`, `move` (MS_MOVE and chroot) or `bind` (the initramfs stays the root).
        method: &'a str,
        /// Files and directories of the initramfs that were removed.
        removed: usize,
    },
    /// A container's program runs.
    Started {
        /// The container.
        id: &'a str,
        /// `started`.
        state: &'a str,
        /// The PID of its first process, as PID 1 sees it.
        pid: i32,
    },
    /// A container's first process has ended, and so has the container.
    Exited {
        /// The container.
        id: &'a str,
        /// `exited`.
        state: &'a str,
        /// The status, if the process ended by itself.
        code: Option<u8>,
        /// The signal, if one ended it.
        signal: Option<u8>,
        /// Whether the kernel killed a process of it for want of memory.
        oom: bool,
    },
    /// A container that has ended is started again, after a rest.
    Restarting {
        /// The container.
        id: &'a str,
        /// `restarting`.
        state: &'a str,
        /// How often it was started again, this time counted.
        count: u32,
        /// How long it rests before, in microseconds.
        us: u64,
    },
    /// A container could not be started.
    Failed {
        /// The container.
        id: &'a str,
        /// `failed`.
        state: &'a str,
        /// The code of the failure; `code` is the status of a container that ran.
        failure: &'a str,
        /// The failure in one line.
        text: &'a str,
    },
    /// A container wrote a line.
    Output {
        /// The container.
        id: &'a str,
        /// `stdout` or `stderr`.
        stream: &'a str,
        /// The line; a longer one comes in pieces.
        line: &'a str,
    },
    /// Lines of output that the reader of the stream was too slow for; events, if it read nothing for long.
    Dropped {
        /// How many.
        lines: u64,
    },
    /// Something is not as it should be; the boot goes on.
    Warning {
        /// The stage.
        stage: &'a str,
        /// What it is.
        text: &'a str,
    },
    /// The boot, or what was asked of it, failed.
    Failure {
        /// The stable code.
        code: &'a str,
        /// The stage.
        stage: &'a str,
        /// The failure in one line.
        text: &'a str,
    },
    /// A line of the report that follows a failure of the boot.
    Report {
        /// The line.
        line: &'a str,
    },
    /// The last event: the machine ends.
    End {
        /// 0 if all containers ended well; else the status of the first that did not; 125 for a failure of the boot.
        status: u8,
        /// How the machine ends.
        action: &'a str,
    },
}

/// As members of an object.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Stage { stage, us } => {
                write!(f, r#""event":"stage","stage":{},"us":{us}"#, Json(stage))
            }
            Self::Waiting { root } => write!(f, r#""event":"waiting","root":{}"#, Json(root)),
            Self::Root {
                device,
                fstype,
                ro,
                verified,
                asked,
                overlay,
            } => {
                let [device, fstype, asked, overlay] = [device, fstype, asked, overlay].map(Json);
                write!(
                    f,
                    r#""event":"root","device":{device},"fstype":{fstype},"ro":{ro},"verified":{verified},"asked":{asked},"overlay":{overlay}"#
                )
            }
            Self::Rejected { root, code, text } => {
                let [root, code, text] = [root, code, text].map(Json);
                write!(
                    f,
                    r#""event":"rejected","root":{root},"code":{code},"text":{text}"#
                )
            }
            Self::Break { before } => write!(f, r#""event":"break","before":{}"#, Json(before)),
            Self::Switch { method, removed } => {
                let method = Json(method);
                write!(
                    f,
                    r#""event":"switch","method":{method},"removed":{removed}"#
                )
            }
            Self::Started { id, state, pid } => {
                let [id, state] = [id, state].map(Json);
                write!(
                    f,
                    r#""event":"container","id":{id},"state":{state},"pid":{pid}"#
                )
            }
            Self::Exited {
                id,
                state,
                code,
                signal,
                oom,
            } => {
                let [id, state] = [id, state].map(Json);
                let [code, signal] = [code, signal].map(OrNull);
                write!(
                    f,
                    r#""event":"container","id":{id},"state":{state},"code":{code},"signal":{signal},"oom":{oom}"#
                )
            }
            Self::Restarting {
                id,
                state,
                count,
                us,
            } => {
                let [id, state] = [id, state].map(Json);
                write!(
                    f,
                    r#""event":"container","id":{id},"state":{state},"count":{count},"us":{us}"#
                )
            }
            Self::Failed {
                id,
                state,
                failure,
                text,
            } => {
                let [id, state, failure, text] = [id, state, failure, text].map(Json);
                write!(
                    f,
                    r#""event":"container","id":{id},"state":{state},"failure":{failure},"text":{text}"#
                )
            }
            Self::Output { id, stream, line } => {
                let [id, stream, line] = [id, stream, line].map(Json);
                write!(
                    f,
                    r#""event":"output","id":{id},"stream":{stream},"line":{line}"#
                )
            }
            Self::Dropped { lines } => write!(f, r#""event":"dropped","lines":{lines}"#),
            Self::Warning { stage, text } => {
                let [stage, text] = [stage, text].map(Json);
                write!(f, r#""event":"warning","stage":{stage},"text":{text}"#)
            }
            Self::Failure { code, stage, text } => {
                let [code, stage, text] = [code, stage, text].map(Json);
                write!(
                    f,
                    r#""event":"failure","code":{code},"stage":{stage},"text":{text}"#
                )
            }
            Self::Report { line } => write!(f, r#""event":"report","line":{}"#, Json(line)),
            Self::End { status, action } => {
                let action = Json(action);
                write!(f, r#""event":"end","status":{status},"action":{action}"#)
            }
        }
    }
}

/// A number that may not be there.
struct OrNull(Option<u8>);

impl fmt::Display for OrNull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("null"),
        }
    }
}

/// The stream: lines on their way to the device.
#[derive(Default)]
pub struct Events {
    queue: Queue<QUEUE>,
    device: Option<OwnedFd>,
    /// Nobody reads on the other side, as far as is known.
    unread: bool,
    dropped: u64,
}

impl Events {
    /// A stream without a device: events wait for one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The device, once there is one.
    pub fn device(&self) -> Option<BorrowedFd<'_>> {
        self.device.as_ref().map(AsFd::as_fd)
    }

    /// The device, if lines wait for it and a reader is there: a port without a reader is always "ready" (POLLHUP), and
    /// waiting for it would be a busy loop.
    pub fn device_to_watch(&self) -> Option<BorrowedFd<'_>> {
        self.device().filter(|_| self.is_pending() && !self.unread)
    }

    /// Something happened to a port: a reader may have opened it.
    pub const fn reader_may_have_come(&mut self) {
        self.unread = false;
    }

    /// From now on lines go to `device`, which must be open non-blocking.
    pub fn attach(&mut self, device: OwnedFd) {
        self.device = Some(device);
        self.flush();
    }

    /// Adds an event, at this moment, and writes what the device takes.
    pub fn emit(&mut self, event: Event<'_>) {
        self.note_dropped();
        // Containers that are started again for days while nobody reads fill even what is reserved, but not that for the end.
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
    pub fn output(&mut self, id: &str, stream: &str, line: &str) {
        self.note_dropped();
        if self.dropped > 0 || !self.enqueue(Event::Output { id, stream, line }, RESERVED) {
            self.dropped = self.dropped.saturating_add(1);
        }
        self.flush();
    }

    /// True while lines wait for the device.
    pub fn is_pending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Writes what the device takes without blocking.
    pub fn flush(&mut self) {
        let Some(device) = &self.device else { return };
        while !self.queue.is_empty() {
            match write(device, self.queue.front()) {
                Ok(len) => self.queue.consume(len),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.unread = !self.queue.is_empty() && !is_writable_later(device);
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
        // Written where it is pushed from: it is a page, and would be copied on its way.
        let mut line = heapless::String::<LINE_MAX>::new();
        // One that does not fit is left out.
        write_line(&mut line, event, clock::now()).is_ok()
            && self.queue.push(line.as_bytes(), keep_free)
    }
}

/// After a write that took nothing: whether the device is only slow (it is connected), or nobody is there (POLLHUP).
fn is_writable_later(device: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(device, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // poll(2) reports a hang-up whether it was asked for or not.
    poll(&mut polled, Some(&now)).is_ok() && !polled[0].revents().contains(PollFlags::HUP)
}

fn write_line(line: &mut dyn fmt::Write, event: Event<'_>, at: Moment) -> fmt::Result {
    writeln!(line, "{{\"t\":{},{event}}}", at.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::json::{self, Node};

    fn line(event: Event<'_>) -> String {
        let mut line = String::new();
        super::write_line(&mut line, event, Moment(812_345)).unwrap();
        line
    }

    #[test]
    fn a_stage_is_a_line_of_json() {
        assert_eq!(
            line(Event::Stage {
                stage: "root",
                us: 5120
            }),
            "{\"t\":812345,\"event\":\"stage\",\"stage\":\"root\",\"us\":5120}\n"
        );
    }

    #[test]
    fn a_container_that_exited_has_a_code_or_a_signal() {
        let event = Event::Exited {
            id: "web",
            state: "exited",
            code: Some(0),
            signal: None,
            oom: false,
        };
        assert_eq!(
            line(event),
            "{\"t\":812345,\"event\":\"container\",\"id\":\"web\",\"state\":\"exited\",\"code\":0,\
             \"signal\":null,\"oom\":false}\n"
        );
    }

    #[test]
    fn every_event_is_one_object_and_says_which_it_is() {
        let text = "a\\\"\n\u{e9}";
        for (event, name, members) in [
            (Event::Stage { stage: text, us: 1 }, "stage", 4),
            (Event::Waiting { root: text }, "waiting", 3),
            (
                Event::Root {
                    device: text,
                    fstype: text,
                    ro: true,
                    verified: false,
                    asked: text,
                    overlay: text,
                },
                "root",
                8,
            ),
            (
                Event::Rejected {
                    root: text,
                    code: text,
                    text,
                },
                "rejected",
                5,
            ),
            (Event::Break { before: text }, "break", 3),
            (
                Event::Switch {
                    method: text,
                    removed: 1,
                },
                "switch",
                4,
            ),
            (
                Event::Started {
                    id: text,
                    state: text,
                    pid: 1,
                },
                "container",
                5,
            ),
            (
                Event::Exited {
                    id: text,
                    state: text,
                    code: None,
                    signal: Some(9),
                    oom: true,
                },
                "container",
                7,
            ),
            (
                Event::Restarting {
                    id: text,
                    state: text,
                    count: 1,
                    us: 100_000,
                },
                "container",
                6,
            ),
            (
                Event::Failed {
                    id: text,
                    state: text,
                    failure: text,
                    text,
                },
                "container",
                6,
            ),
            (
                Event::Output {
                    id: text,
                    stream: text,
                    line: text,
                },
                "output",
                5,
            ),
            (Event::Dropped { lines: 1 }, "dropped", 3),
            (Event::Warning { stage: text, text }, "warning", 4),
            (
                Event::Failure {
                    code: text,
                    stage: text,
                    text,
                },
                "failure",
                5,
            ),
            (Event::Report { line: text }, "report", 3),
            (
                Event::End {
                    status: 0,
                    action: text,
                },
                "end",
                4,
            ),
        ] {
            let line = line(event);
            let object = json::check(line.as_bytes()).unwrap();
            let Node::Object(all) = object.node() else {
                panic!("{line}")
            };
            assert_eq!(all.count(), members, "{line}");
            let Node::String(said) = object.member("event").unwrap().node() else {
                panic!("{line}")
            };
            assert!(said.is(name), "{line}");
        }
    }

    #[test]
    fn output_is_escaped() {
        let event = Event::Output {
            id: "a",
            stream: "stdout",
            line: "tab\t quote\" bell\u{7}",
        };
        assert!(
            line(event).contains(r#""line":"tab\u0009 quote\" bell\u0007""#),
            "{}",
            line(event)
        );
    }

    #[test]
    fn events_wait_for_a_device_and_keep_their_order() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut events = Events::new();
        events.emit(Event::Stage {
            stage: "early",
            us: 1,
        });
        events.emit(Event::Stage {
            stage: "modules",
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
                state: "restarting",
                count,
                us: 60_000_000,
            });
        }
        assert!(events.dropped > 0);
        let before = events.queue.len();
        events.emit(Event::End {
            status: 0,
            action: "poweroff",
        });
        assert!(events.queue.len() > before);
    }

    #[test]
    fn a_flood_of_output_leaves_room_for_events_and_is_counted() {
        let mut events = Events::new();
        let line = "x".repeat(200);
        for _ in 0..1000 {
            events.output("noisy", "stdout", &line);
        }
        assert!(events.dropped > 0);
        let before = events.queue.len();
        events.emit(Event::End {
            status: 0,
            action: "poweroff",
        });
        assert!(events.queue.len() > before);
    }
}
