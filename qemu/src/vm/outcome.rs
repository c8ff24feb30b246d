//! How a machine ended.

use std::path::PathBuf;

use super::event::{Event, What};
use super::failure::{Failure, VmFailure};

/// The way in which a machine came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The guest switched the power off.
    PowerOff,
    /// The guest reset the machine. It is not started again.
    Reboot,
    /// The kernel has halted, with the power on.
    Halt,
    /// Somebody on the host ended it.
    Killed,
}

/// All that a machine did, after its end.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The machine's name.
    pub machine: String,
    /// How it ended.
    pub ended: Ended,
    /// Its events.
    pub events: Vec<Event>,
    /// The console's output, without carriage returns.
    pub console: String,
    /// The console's log.
    pub log: PathBuf,
}

impl Outcome {
    /// The status in the last event. None where the guest did not report its end.
    pub fn status(&self) -> Option<i32> {
        self.events.iter().rev().find_map(|event| match event.what {
            What::End { status, .. } => Some(status),
            _ => None,
        })
    }

    /// Holds the machine to an end and a status.
    ///
    /// # Errors
    /// An assertion that says how it ended instead.
    pub fn assert(&self, ended: Ended, status: i32) -> Result<(), Failure> {
        self.assert_ended(ended)?;
        if self.status() == Some(status) {
            return Ok(());
        }
        let found = match self.status() {
            Some(status) => format!("status {status}"),
            None => "no event `end`".to_owned(),
        };
        Err(self.failure(format!("status {status} at the end"), found))
    }

    /// Holds the machine to an end.
    ///
    /// # Errors
    /// An assertion that says how it ended instead.
    pub fn assert_ended(&self, ended: Ended) -> Result<(), Failure> {
        if self.ended == ended {
            return Ok(());
        }
        Err(self.failure(format!("{ended:?} at the end"), format!("{:?}", self.ended)))
    }

    /// A failure of the caller's making.
    pub fn failure(&self, expected: impl Into<String>, found: impl Into<String>) -> Failure {
        Failure {
            machine: self.machine.clone(),
            why: VmFailure::Assertion {
                expected: expected.into(),
                found: found.into(),
            },
            console: self.console.clone(),
            log: self.log.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: &[&str]) -> Outcome {
        Outcome {
            machine: "web".into(),
            ended: Ended::PowerOff,
            events: lines
                .iter()
                .map(|line| Event::parse(line).unwrap())
                .collect(),
            console: String::new(),
            log: PathBuf::new(),
        }
    }

    #[test]
    fn end_and_status_are_held_to() {
        let outcome = outcome(&[r#"{"t":1,"event":"end","status":3,"action":"poweroff"}"#]);
        assert!(outcome.assert(Ended::PowerOff, 3).is_ok());
        let status = outcome.assert(Ended::PowerOff, 0).unwrap_err().to_string();
        assert!(
            status.contains("expected status 0 at the end, found status 3"),
            "{status}"
        );
        let ended = outcome.assert(Ended::Reboot, 3).unwrap_err().to_string();
        assert!(
            ended.contains("expected Reboot at the end, found PowerOff"),
            "{ended}"
        );
    }

    #[test]
    fn end_without_a_report_is_not_status_zero() {
        let error = outcome(&[])
            .assert(Ended::PowerOff, 0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("found no event `end`"), "{error}");
    }
}
