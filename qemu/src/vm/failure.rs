//! How a virtual machine can disappoint, each way with a message of its own.
//!
//! A [`Failure`] prints the machine's name, what went wrong, the last lines of the console and
//! where the whole log is. Its `Debug` is that text too, since that is what a failed test shows.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The lines of console that a message ends with.
const TAIL_LINES: usize = 30;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VmFailure {
    /// The guest's kernel gave up. Holds its line.
    #[error("kernel panic: {0}")]
    KernelPanic(String),
    /// The guest has said nothing for too long, neither on the console nor by an event.
    #[error("hang: the guest has been silent for {} s while {expected} was awaited", silent.as_secs())]
    Hang {
        /// How long it was silent.
        silent: Duration,
        /// What was awaited.
        expected: String,
    },
    /// The guest is alive and yet did not do what was awaited before the machine's deadline.
    #[error("deadline: {} s are over and {expected} has not come", deadline.as_secs())]
    Deadline {
        /// What the machine was given.
        deadline: Duration,
        /// What was awaited.
        expected: String,
    },
    /// The guest's console says more than any machine has to say: its kernel complains without an
    /// end.
    #[error("flood: the console has said {said} bytes while {expected} was awaited")]
    Flood {
        /// How many bytes it said.
        said: usize,
        /// What was awaited.
        expected: String,
    },
    /// QEMU ended before the guest said anything. Holds QEMU's own words.
    #[error("failed to start: QEMU ended before the guest said anything: {0}")]
    FailedToStart(String),
    /// QEMU ended by itself in the middle of a run. Holds QEMU's own words.
    #[error("QEMU broke down: {0}")]
    BrokeDown(String),
    /// The machine ran, and did something else than the caller expected.
    #[error("assertion failed: expected {expected}, found {found}")]
    Assertion {
        /// What the caller expected.
        expected: String,
        /// What came instead.
        found: String,
    },
}

/// A failure of one machine, with what it takes to look into it.
#[derive(Clone)]
pub struct Failure {
    /// The machine's name.
    pub machine: String,
    /// What went wrong.
    pub why: VmFailure,
    /// All that the console showed.
    pub console: String,
    /// The file with the console's output; the events and QEMU's messages are beside it.
    pub log: PathBuf,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine {}: {}", self.machine, self.why)?;
        let lines: Vec<&str> = self.console.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        match tail {
            [] => writeln!(f, "  the console stayed empty")?,
            _ => writeln!(f, "  the console's last {} lines:", tail.len())?,
        }
        for line in tail {
            writeln!(f, "  | {}", line.trim_end())?;
        }
        write!(f, "  the whole log: {}", self.log.display())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(why: VmFailure, console: &str) -> String {
        let log = PathBuf::from("target/vm/web/console.log");
        Failure {
            machine: "web".into(),
            why,
            console: console.into(),
            log,
        }
        .to_string()
    }

    #[test]
    fn each_way_to_fail_has_its_own_words() {
        let second = Duration::from_secs(1);
        let expected = || "an event".to_owned();
        let ways = [
            VmFailure::KernelPanic("Kernel panic - not syncing: x".into()),
            VmFailure::Hang {
                silent: second,
                expected: expected(),
            },
            VmFailure::Deadline {
                deadline: second,
                expected: expected(),
            },
            VmFailure::Flood {
                said: 1,
                expected: expected(),
            },
            VmFailure::FailedToStart("no such file".into()),
            VmFailure::BrokeDown("signal: 11".into()),
            VmFailure::Assertion {
                expected: expected(),
                found: "another".into(),
            },
        ];
        let mut texts: Vec<_> = ways.iter().map(|way| way.to_string()).collect();
        texts.iter_mut().for_each(|text| text.truncate(8));
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), ways.len(), "{texts:?}");
    }

    #[test]
    fn message_ends_with_the_tail_of_the_console_and_the_log() {
        let console: String = (0..100).map(|line| format!("line {line}\r\n")).collect();
        let text = failure(VmFailure::FailedToStart("x".into()), &console);
        assert!(!text.contains("| line 69\n"), "{text}");
        assert!(
            text.contains("| line 70\n") && text.contains("| line 99\n"),
            "{text}"
        );
        assert!(text.ends_with("target/vm/web/console.log"), "{text}");
    }

    #[test]
    fn empty_console_is_said_to_be_empty() {
        let text = failure(VmFailure::FailedToStart("x".into()), "");
        assert!(text.contains("the console stayed empty"), "{text}");
    }
}
