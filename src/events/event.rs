//! What can happen, and how it is written.

use core::fmt;

use crate::sys::clock::Moment;
use crate::text::Json;

/// The status of a failure of berth's own, in [`Event::End`].
pub const OWN_FAILURE: u8 = 125;

/// Something that happened. The variants are the objects of the stream; see `docs/events.md` for their fields.
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

/// Writes the line of an event that happened at `at`.
pub(super) fn write_line(line: &mut dyn fmt::Write, event: Event<'_>, at: Moment) -> fmt::Result {
    writeln!(line, "{{\"t\":{},{event}}}", at.0)
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let told = documented(name);
            let has = |field: &&&str| line.contains(&format!("\"{field}\":"));
            let fields: Vec<_> = FIELDS.iter().filter(has).collect();
            for field in &fields {
                assert!(told.contains(&format!("`{field}`")), "{name}: {field}");
            }
            // Besides `t` and `event`.
            assert_eq!(fields.len() + 2, members, "{line}");
        }
    }

    /// All fields that events have.
    const FIELDS: [&str; 26] = [
        "stage", "us", "root", "device", "fstype", "ro", "verified", "asked", "overlay", "code",
        "text", "before", "method", "removed", "id", "state", "pid", "signal", "oom", "count",
        "failure", "stream", "line", "lines", "status", "action",
    ];

    /// The row of the event in `docs/events.md`, with those below it that have no name of their own.
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
            stream: "stdout",
            line: "tab\t quote\" bell\u{7}",
        };
        assert!(
            line(event).contains(r#""line":"tab\u0009 quote\" bell\u0007""#),
            "{}",
            line(event)
        );
    }
}
