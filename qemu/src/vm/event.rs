//! The event stream of a guest: one JSON object a line on the port `org.berth.events`.
//!
//! This is what a test looks at; the console's prose may change, the events may only grow. Fields
//! and events that are not known here are kept in [`Event::raw`].

use serde::Deserialize;
use serde_json::Value;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// µs of the guest's `CLOCK_BOOTTIME`.
    pub t: u64,
    /// What happened.
    pub what: What,
    /// The whole object as it came.
    pub raw: Value,
}

/// What an event tells.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum What {
    /// A stage of the boot is complete.
    Stage {
        /// `early`, `modules`, `root`, `switch`, `containers` or `shutdown`.
        stage: String,
        /// µs that it took.
        us: u64,
    },
    /// A container changed its state.
    Container {
        /// The bundle's name.
        id: String,
        /// `started`, `exited` and what else there may be.
        state: String,
        /// Its first process, in the host's numbers.
        pid: Option<u32>,
        /// The exit code, unless a signal ended it.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// Whether it ran out of memory.
        #[serde(default)]
        oom: bool,
    },
    /// Something failed for good.
    Failure {
        /// The stable code, `B012`.
        code: String,
        /// Where it failed.
        stage: String,
        /// The report.
        text: String,
    },
    /// The last event: the machine is about to end.
    End {
        /// 0 when all went well, a container's status, or 125 for berth's own failure.
        status: i32,
        /// `poweroff`, `reboot`, `halt` or `panic`.
        action: String,
    },
    /// An event that is not known here.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Line {
    t: u64,
    #[serde(flatten)]
    what: What,
}

impl Event {
    /// Reads one line. The error says what is wrong with it.
    pub(crate) fn parse(line: &str) -> serde_json::Result<Self> {
        let raw: Value = serde_json::from_str(line)?;
        let Line { t, what } = Line::deserialize(&raw)?;
        Ok(Self { t, what, raw })
    }

    /// The event's name: `stage`, `container`, `failure`, `end`, or a newer one.
    pub fn name(&self) -> &str {
        self.raw["event"].as_str().unwrap_or_default()
    }

    /// Whether it says that the container reached the state.
    pub fn is_container(&self, id: &str, state: &str) -> bool {
        matches!(&self.what, What::Container { id: i, state: s, .. } if i == id && s == state)
    }

    /// Whether it says that the stage is complete.
    pub fn is_stage(&self, stage: &str) -> bool {
        matches!(&self.what, What::Stage { stage: s, .. } if s == stage)
    }

    /// Whether it is a failure with this code.
    pub fn is_failure(&self, code: &str) -> bool {
        matches!(&self.what, What::Failure { code: c, .. } if c == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_the_contract_are_read() {
        let stage =
            Event::parse(r#"{"t":812345,"event":"stage","stage":"root","us":5120}"#).unwrap();
        assert_eq!(stage.t, 812_345);
        assert_eq!(
            stage.what,
            What::Stage {
                stage: "root".into(),
                us: 5120
            }
        );
        let line = r#"{"t":1,"event":"container","id":"web","state":"exited","code":0,"signal":null,"oom":false}"#;
        let exited = Event::parse(line).unwrap();
        assert!(exited.is_container("web", "exited") && !exited.is_container("web", "started"));
        let end =
            Event::parse(r#"{"t":1234567,"event":"end","status":0,"action":"poweroff"}"#).unwrap();
        assert_eq!(
            end.what,
            What::End {
                status: 0,
                action: "poweroff".into()
            }
        );
    }

    #[test]
    fn field_that_is_not_known_is_kept() {
        let event =
            Event::parse(r#"{"t":1,"event":"stage","stage":"switch","us":2,"by":"move"}"#).unwrap();
        assert!(event.is_stage("switch"));
        assert_eq!(event.raw["by"], "move");
    }

    #[test]
    fn event_that_is_not_known_is_kept() {
        let event = Event::parse(r#"{"t":1,"event":"note","text":"x"}"#).unwrap();
        assert_eq!((event.name(), &event.what), ("note", &What::Other));
    }

    #[test]
    fn event_without_its_fields_is_refused() {
        for line in [
            r#"{"t":1,"event":"end"}"#,
            r#"{"event":"note"}"#,
            r#"{"t":1}"#,
            "[]",
            "{",
        ] {
            assert!(Event::parse(line).is_err(), "{line}");
        }
    }
}
