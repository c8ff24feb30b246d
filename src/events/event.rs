//! What can happen, and how it is written.

use core::fmt;

use crate::error::{Error, SUBJECT_MAX, Stage};
use crate::parse::answer::{Disk, NetworkChange};
use crate::parse::choice::{BreakAt, OnFailure, OnIdle};
use crate::parse::device::DeviceRef;
use crate::parse::machine_change::MachineChange;
use crate::sys::clock::Moment;
use crate::sys::process::{End, Status};
use crate::text::{Json, Text};

/// The status of a failure of berth's own, in [`Event::End`].
pub(crate) const OWN_FAILURE: u8 = 125;

/// Something that happened. The variants are the objects of the stream; see `docs/events.md` for
/// their fields.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    /// A stage of the boot was completed.
    Stage {
        /// Which.
        stage: Stage,
        /// How long it took, in microseconds.
        us: u64,
    },
    /// The root device is not there yet, and is waited for.
    Waiting {
        /// The device, as `root=` names it.
        root: DeviceRef<'a>,
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
        /// The name by which it was asked for: that of `root=` or of `berth.root_fallback=`. None
        /// for the initramfs.
        asked: Option<DeviceRef<'a>>,
        /// What the writable layer above it is on: a device, or `tmpfs`. Empty without one.
        overlay: &'a str,
    },
    /// A candidate for the root cannot be it; the next one of `berth.root_fallback=` is tried, if
    /// there is one.
    Rejected {
        /// The candidate, as it was asked for.
        root: DeviceRef<'a>,
        /// Why.
        error: &'a Error,
    },
    /// The boot has stopped for a shell, as `berth.break=` asks.
    Break {
        /// The stage before which it stopped.
        before: BreakAt,
    },
    /// `/` is the new root.
    Switch {
        /// How it became that.
        method: SwitchMethod,
        /// Files and directories of the initramfs that were removed.
        removed: usize,
    },
    /// A container's program runs.
    Started {
        /// The container.
        id: &'a str,
        /// The PID of its first process, as PID 1 sees it.
        pid: i32,
    },
    /// A container is ready, as its `berth.ready` says; not told of one that is when it is started.
    Ready {
        /// The container.
        id: &'a str,
    },
    /// A container's first process has ended, and so has the container.
    Exited {
        /// The container.
        id: &'a str,
        /// How the process ended.
        status: Status,
        /// Whether the kernel killed a process of it for want of memory.
        oom: bool,
    },
    /// A container that has ended is restarted, after a delay.
    Restarting {
        /// The container.
        id: &'a str,
        /// How often it was started again, this time counted.
        count: u32,
        /// The delay, in microseconds.
        us: u64,
    },
    /// A container was stopped by request, and is started again only by request.
    Stopped {
        /// The container.
        id: &'a str,
    },
    /// A container is not started yet, because what it requires is late.
    Waits {
        /// The container.
        id: &'a str,
        /// What it waits for.
        error: &'a Error,
    },
    /// A container could not be started.
    Failed {
        /// The container.
        id: &'a str,
        /// Why.
        error: &'a Error,
    },
    /// A container wrote a line.
    Output {
        /// The container.
        id: &'a str,
        /// Where to.
        stream: Stream,
        /// The line; a longer one comes in pieces.
        line: &'a str,
    },
    /// Something has become of a disk.
    Disk {
        /// What, and of which.
        disk: &'a Disk<'a>,
        /// Why it could not be mounted.
        error: Option<&'a Error>,
    },
    /// Lines of output that the reader of the stream was too slow for; events, if it read nothing
    /// for long.
    Dropped {
        /// How many.
        lines: u64,
    },
    /// Something is not as it should be; the boot goes on.
    Warning {
        /// The stage.
        stage: Stage,
        /// What it is.
        text: &'a str,
    },
    /// The boot, or what was asked of it, failed.
    Failure {
        /// The stage.
        stage: Stage,
        /// Why.
        error: &'a Error,
    },
    /// A line of the report that follows a failure of the boot.
    Report {
        /// The line.
        line: &'a str,
    },
    /// Something has become of the network.
    Network(NetworkChange<'a>),
    /// Something has become of the machine's clock, its random seed or its sleep.
    Machine(MachineChange<'a>),
    /// The last event: the machine ends.
    End {
        /// 0 if all containers ended well; else the status of the first that did not; 125 for a
        /// failure of the boot.
        status: u8,
        /// How the machine ends.
        action: EndAction,
    },
}

/// How the root was exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SwitchMethod {
    /// By pivot_root(2).
    Pivot,
    /// By moving the new root over the old one (MS_MOVE, and chroot(2)).
    Move,
    /// Not: the initramfs stays the root, bound over itself.
    Bind,
}

impl SwitchMethod {
    /// The name in the log and in the event stream.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pivot => "pivot_root",
            Self::Move => "move",
            Self::Bind => "bind",
        }
    }
}

/// The two streams of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndAction {
    /// In order.
    Orderly(End),
    /// After a failure of the boot, as `berth.on_failure=` says.
    OnFailure(OnFailure),
}

impl EndAction {
    const fn name(self) -> &'static str {
        match self {
            Self::Orderly(End::PowerOff) => OnFailure::PowerOff.name(),
            Self::Orderly(End::Reboot) => OnFailure::Reboot.name(),
            Self::Orderly(End::Halt) => OnFailure::Halt.name(),
            Self::Orderly(End::Kexec) => OnIdle::Kexec.name(),
            Self::OnFailure(action) => action.name(),
        }
    }
}

/// As members of an object.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut event = Members { f, result: Ok(()) };
        match *self {
            Self::Stage { stage, us } => event
                .begin("stage")
                .text("stage", stage.name())
                .number("us", us),
            Self::Waiting { root } => event.begin("waiting").device("root", root),
            Self::Root {
                device,
                fstype,
                ro,
                verified,
                asked,
                overlay,
            } => {
                event
                    .begin("root")
                    .text("device", device)
                    .text("fstype", fstype)
                    .flag("ro", ro)
                    .flag("verified", verified);
                match asked {
                    Some(asked) => event.device("asked", asked),
                    None => event.text("asked", ""),
                };
                event.text("overlay", overlay)
            }
            Self::Rejected { root, error } => event
                .begin("rejected")
                .device("root", root)
                .error("code", error),
            Self::Break { before } => event.begin("break").text("before", before.name()),
            Self::Switch { method, removed } => event
                .begin("switch")
                .text("method", method.name())
                .number("removed", removed as u64),
            Self::Started { id, pid } => event
                .container(id, "started")
                .number("pid", pid.unsigned_abs().into()),
            Self::Ready { id } => event.container(id, "ready"),
            Self::Exited { id, status, oom } => {
                event.container(id, "exited");
                match status {
                    Status::Exited(code) => event.number("code", code.into()).null("signal"),
                    Status::Killed(signal) => event.null("code").number("signal", signal.into()),
                };
                event.flag("oom", oom)
            }
            Self::Stopped { id } => event.container(id, "stopped"),
            Self::Restarting { id, count, us } => event
                .container(id, "restarting")
                .number("count", count.into())
                .number("us", us),
            Self::Waits { id, error } => event.container(id, "waiting").error("failure", error),
            Self::Failed { id, error } => event.container(id, "failed").error("failure", error),
            Self::Output { id, stream, line } => event
                .begin("output")
                .text("id", id)
                .text("stream", stream.name())
                .text("line", line),
            Self::Disk { disk, error } => {
                event
                    .begin("disk")
                    .text("state", disk.state.name())
                    .text("device", disk.device)
                    .text("fstype", disk.fstype)
                    .text("label", disk.label)
                    .text("uuid", disk.uuid)
                    .text("where", disk.place)
                    .flag("ro", disk.is_read_only);
                match error {
                    Some(error) => event.error("failure", error),
                    None => &mut event,
                }
            }
            Self::Dropped { lines } => event.begin("dropped").number("lines", lines),
            Self::Warning { stage, text } => event
                .begin("warning")
                .text("stage", stage.name())
                .text("text", text),
            Self::Failure { stage, error } => event
                .begin("failure")
                .text("code", Text::<8>::new(error.code).as_str())
                .text("stage", stage.name())
                .text("text", text_of(error).as_str()),
            Self::Report { line } => event.begin("report").text("line", line),
            Self::Network(change) => {
                event.begin("network").text("state", change.state.name());
                let texts = [
                    ("device", change.device),
                    ("address", change.address),
                    ("gateway", change.gateway),
                    ("dns", change.dns),
                ];
                for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
                    event.text(name, text);
                }
                match change.lease {
                    0 => &mut event,
                    lease => event.number("lease", lease.into()),
                }
            }
            Self::Machine(MachineChange::Clock(clock)) => {
                event.begin("clock").text("source", clock.name())
            }
            Self::Machine(MachineChange::Seed(seed)) => {
                event.begin("seed").text("state", seed.name())
            }
            Self::Machine(MachineChange::Frozen(containers, filesystems)) => event
                .begin("frozen")
                .number("containers", containers.into())
                .number("filesystems", filesystems.into()),
            Self::Machine(MachineChange::Thawed(clock, entropy, id)) => event
                .begin("thawed")
                .text("clock", clock.name())
                .text("entropy", entropy.name())
                .text("generation", id),
            Self::End { status, action } => event
                .begin("end")
                .number("status", status.into())
                .text("action", action.name()),
        };
        event.result
    }
}

/// An error in one line.
fn text_of(error: &Error) -> Text<{ 3 * SUBJECT_MAX }> {
    Text::new(error)
}

/// The members of an object, one after the other.
struct Members<'m, 'f> {
    f: &'m mut fmt::Formatter<'f>,
    result: fmt::Result,
}

impl Members<'_, '_> {
    /// Every event says first which it is.
    fn begin(&mut self, event: &str) -> &mut Self {
        self.result = write!(self.f, "\"event\":{}", Json(event));
        self
    }

    #[inline(never)]
    fn member(&mut self, name: &str, value: fmt::Arguments<'_>) -> &mut Self {
        self.result = self
            .result
            .and_then(|()| write!(self.f, ",\"{name}\":{value}"));
        self
    }

    #[inline(never)]
    fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.member(name, format_args!("{}", Json(text)))
    }

    #[inline(never)]
    fn number(&mut self, name: &str, number: u64) -> &mut Self {
        self.member(name, format_args!("{number}"))
    }

    fn flag(&mut self, name: &str, is_set: bool) -> &mut Self {
        self.member(name, format_args!("{is_set}"))
    }

    fn null(&mut self, name: &str) -> &mut Self {
        self.member(name, format_args!("null"))
    }

    #[inline(never)]
    fn device(&mut self, name: &str, device: DeviceRef<'_>) -> &mut Self {
        self.text(name, Text::<SUBJECT_MAX>::new(device).as_str())
    }

    /// What a container has come to.
    #[inline(never)]
    fn container(&mut self, id: &str, state: &str) -> &mut Self {
        self.begin("container").text("id", id).text("state", state)
    }

    /// The code of an error, as the member of this name, and its text.
    #[inline(never)]
    fn error(&mut self, code: &str, error: &Error) -> &mut Self {
        self.text(code, Text::<8>::new(error.code).as_str())
            .text("text", text_of(error).as_str())
    }
}

/// Writes the line of an event that happened at `at`.
pub(super) fn write_line(line: &mut dyn fmt::Write, event: Event<'_>, at: Moment) -> fmt::Result {
    writeln!(line, "{{\"t\":{},{event}}}", at.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Op};
    use crate::parse::answer::DiskState;
    use crate::parse::json::{self, Node};

    fn line(event: Event<'_>) -> String {
        let mut line = String::new();
        write_line(&mut line, event, Moment(812_345)).unwrap();
        line
    }

    #[test]
    fn a_stage_is_a_line_of_json() {
        assert_eq!(
            line(Event::Stage {
                stage: Stage::Root,
                us: 5120
            }),
            "{\"t\":812345,\"event\":\"stage\",\"stage\":\"root\",\"us\":5120}\n"
        );
    }

    #[test]
    fn a_container_that_exited_has_a_code_or_a_signal() {
        let event = Event::Exited {
            id: "web",
            status: Status::Exited(0),
            oom: false,
        };
        assert_eq!(
            line(event),
            "{\"t\":812345,\"event\":\"container\",\"id\":\"web\",\"state\":\"exited\",\"code\":0,\
             \"signal\":null,\"oom\":false}\n"
        );
    }

    #[test]
    fn members_have_the_order_that_readers_have_seen() {
        let root = DeviceRef::Label("x");
        let error = &Error::new(Code::RootMount, Op::Mount, "/dev/vda", "no");
        for (event, expected) in [
            (
                Event::Root {
                    device: "/dev/vda",
                    fstype: "ext4",
                    ro: true,
                    verified: false,
                    asked: Some(root),
                    overlay: "tmpfs",
                },
                r#""event":"root","device":"/dev/vda","fstype":"ext4","ro":true,"verified":false,"asked":"LABEL=x","overlay":"tmpfs""#,
            ),
            (
                Event::Root {
                    device: "",
                    fstype: "initramfs",
                    ro: false,
                    verified: false,
                    asked: None,
                    overlay: "",
                },
                r#""event":"root","device":"","fstype":"initramfs","ro":false,"verified":false,"asked":"","overlay":"""#,
            ),
            (
                Event::Rejected { root, error },
                r#""event":"rejected","root":"LABEL=x","code":"B024","text":"mount /dev/vda: no  [B024]""#,
            ),
            (
                Event::Failure {
                    stage: Stage::Root,
                    error,
                },
                r#""event":"failure","code":"B024","stage":"root","text":"mount /dev/vda: no  [B024]""#,
            ),
            (
                Event::Failed { id: "web", error },
                r#""event":"container","id":"web","state":"failed","failure":"B024","text":"mount /dev/vda: no  [B024]""#,
            ),
            (
                Event::Started { id: "web", pid: 81 },
                r#""event":"container","id":"web","state":"started","pid":81"#,
            ),
            (
                Event::Exited {
                    id: "web",
                    status: Status::Killed(9),
                    oom: true,
                },
                r#""event":"container","id":"web","state":"exited","code":null,"signal":9,"oom":true"#,
            ),
            (
                Event::Restarting {
                    id: "web",
                    count: 2,
                    us: 200_000,
                },
                r#""event":"container","id":"web","state":"restarting","count":2,"us":200000"#,
            ),
            (
                Event::Switch {
                    method: SwitchMethod::Pivot,
                    removed: 43,
                },
                r#""event":"switch","method":"pivot_root","removed":43"#,
            ),
            (
                Event::End {
                    status: 125,
                    action: EndAction::OnFailure(OnFailure::Shell),
                },
                r#""event":"end","status":125,"action":"shell""#,
            ),
        ] {
            assert_eq!(event.to_string(), expected);
        }
    }

    #[test]
    fn every_event_is_one_object_and_says_which_it_is() {
        let text = "a\\\"\n\u{e9}";
        let root = DeviceRef::Label(text);
        let stage = Stage::Root;
        let error = &Error::new(Code::RootMount, Op::Mount, text, text);
        let disk = Disk {
            state: DiskState::Failed,
            device: text,
            fstype: text,
            label: text,
            uuid: text,
            place: text,
            is_read_only: false,
        };
        for (event, name, members) in [
            (Event::Stage { stage, us: 1 }, "stage", 4),
            (Event::Waiting { root }, "waiting", 3),
            (
                Event::Root {
                    device: text,
                    fstype: text,
                    ro: true,
                    verified: false,
                    asked: Some(root),
                    overlay: text,
                },
                "root",
                8,
            ),
            (Event::Rejected { root, error }, "rejected", 5),
            (
                Event::Break {
                    before: BreakAt::Containers,
                },
                "break",
                3,
            ),
            (
                Event::Switch {
                    method: SwitchMethod::Move,
                    removed: 1,
                },
                "switch",
                4,
            ),
            (Event::Started { id: text, pid: 1 }, "container", 5),
            (Event::Ready { id: text }, "container", 4),
            (
                Event::Exited {
                    id: text,
                    status: Status::Killed(9),
                    oom: true,
                },
                "container",
                7,
            ),
            (
                Event::Restarting {
                    id: text,
                    count: 1,
                    us: 100_000,
                },
                "container",
                6,
            ),
            (Event::Waits { id: text, error }, "container", 6),
            (Event::Failed { id: text, error }, "container", 6),
            (
                Event::Output {
                    id: text,
                    stream: Stream::Stdout,
                    line: text,
                },
                "output",
                5,
            ),
            (
                Event::Disk {
                    disk: &disk,
                    error: None,
                },
                "disk",
                9,
            ),
            (
                Event::Disk {
                    disk: &disk,
                    error: Some(error),
                },
                "disk",
                11,
            ),
            (Event::Dropped { lines: 1 }, "dropped", 3),
            (Event::Warning { stage, text }, "warning", 4),
            (Event::Failure { stage, error }, "failure", 5),
            (Event::Report { line: text }, "report", 3),
            (
                Event::End {
                    status: 0,
                    action: EndAction::Orderly(End::Halt),
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
            let row = documented(name);
            let has = |field: &&&str| line.contains(&format!("\"{field}\":"));
            let fields: Vec<_> = FIELDS.iter().filter(has).collect();
            for field in &fields {
                assert!(row.contains(&format!("`{field}`")), "{name}: {field}");
            }
            // Besides `t` and `event`.
            assert_eq!(fields.len() + 2, members, "{line}");
        }
    }

    /// All fields that events have.
    const FIELDS: [&str; 29] = [
        "stage", "us", "root", "device", "fstype", "ro", "verified", "asked", "overlay", "code",
        "text", "before", "method", "removed", "id", "state", "pid", "signal", "oom", "count",
        "failure", "stream", "line", "lines", "status", "action", "label", "uuid", "where",
    ];

    /// The row of the event in `docs/events.md`, with those below it that have no name of their
    /// own.
    fn documented(name: &str) -> String {
        let begin = format!("| `{name}` |");
        let rows = include_str!("../../docs/events.md").lines();
        let mut rows = rows.skip_while(|row| !row.starts_with(&begin));
        let first = rows
            .next()
            .unwrap_or_else(|| panic!("{name} is not documented"));
        let more = rows.take_while(|row| row.starts_with("| |"));
        more.fold(first.to_owned(), |all, row| all + row)
    }

    #[test]
    fn output_is_escaped() {
        let event = Event::Output {
            id: "a",
            stream: Stream::Stdout,
            line: "tab\t quote\" bell\u{7}",
        };
        assert!(
            line(event).contains(r#""line":"tab\u0009 quote\" bell\u0007""#),
            "{}",
            line(event)
        );
    }
}
