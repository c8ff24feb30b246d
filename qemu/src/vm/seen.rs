//! What has been seen of a machine so far, and what follows from it.
//!
//! A machine is over when QEMU has ended *and* all that it said has been read: only then is a
//! missing event really missing.

use std::collections::BTreeSet;
use std::process::ExitStatus;
use std::time::Instant;

use qapi_qmp::{MigrationStatus, ShutdownCause};

use super::event::Event;
use super::failure::VmFailure;
use super::outcome::Ended;

/// The kernel's last words, from its `panic()` and `kernel_halt()`.
const PANIC: &str = "Kernel panic - not syncing";
const PANIC_COMPLETE: &str = "---[ end Kernel panic";
const HALTED: &str = "reboot: System halted";

/// All that has been seen of a machine so far.
pub(crate) struct Seen {
    /// The console's output, without carriage returns.
    pub(crate) console: String,
    /// The beginning of a character of the console whose rest has not come yet.
    begun: Vec<u8>,
    /// The events in order.
    pub(crate) events: Vec<Event>,
    /// A line on the event port that is no event, and why.
    garbled: Option<String>,
    /// What the harness could not make QEMU do.
    broken: Option<String>,
    /// The devices that were pulled out, and that QEMU has let go of.
    pub(super) gone: BTreeSet<String>,
    /// Why the hypervisor says that the machine stopped.
    pub(crate) shutdown: Option<ShutdownCause>,
    /// How far the machine is saved, or brought back.
    pub(crate) migration: Option<MigrationStatus>,
    /// How QEMU ended.
    exit: Option<ExitStatus>,
    /// QEMU's own messages, known when it has ended.
    complaint: String,
    /// Streams from QEMU that have not been read to their end.
    open: usize,
    /// When the guest last said something.
    pub(super) last_sign: Instant,
}

impl Seen {
    /// Nothing yet, of a machine with that many streams to read.
    pub(super) fn new(streams: usize) -> Self {
        Self {
            console: String::new(),
            begun: Vec::new(),
            events: Vec::new(),
            garbled: None,
            broken: None,
            gone: BTreeSet::new(),
            shutdown: None,
            migration: None,
            exit: None,
            complaint: String::new(),
            open: streams,
            last_sign: Instant::now(),
        }
    }

    /// Whether the machine is gone and all that it said has been read.
    pub(super) fn is_over(&self) -> bool {
        self.exit.is_some() && self.open == 0
    }

    /// Whether the guest's kernel has stopped for good, with the power on.
    fn is_halted(&self) -> bool {
        self.console.contains(HALTED)
    }

    /// The kernel's panic line, once all that belongs to it is there.
    fn panic(&self) -> Option<String> {
        let at = self.console.find(PANIC)?;
        let rest = &self.console[at..];
        let is_complete = rest.contains(PANIC_COMPLETE) || self.is_over();
        is_complete.then(|| rest.lines().next().unwrap_or_default().to_owned())
    }

    /// How the machine ended, if it has, and nothing went wrong.
    pub(crate) fn ended(&self) -> Option<Ended> {
        if self.panic().is_some() || self.garbled.is_some() || self.broken.is_some() {
            return None;
        }
        if self.is_halted() {
            return Some(Ended::Halt);
        }
        let is_orderly = self.is_over() && self.exit.is_some_and(|exit| exit.success());
        let cause = self.shutdown.filter(|_| is_orderly)?;
        Some(match cause {
            ShutdownCause::guest_shutdown => Ended::PowerOff,
            ShutdownCause::guest_reset => Ended::Reboot,
            _ => Ended::Killed,
        })
    }

    /// What has already gone wrong, whoever waits for whatever.
    pub(super) fn failure(&self, expected: &str) -> Option<VmFailure> {
        let expected = || expected.to_owned();
        if let Some(line) = self.panic() {
            return Some(VmFailure::KernelPanic(line));
        }
        if let Some(line) = &self.garbled {
            let found = format!("the line {line} on the event port");
            return Some(VmFailure::Assertion {
                expected: expected(),
                found,
            });
        }
        if let Some(what) = &self.broken {
            return Some(VmFailure::BrokeDown(what.clone()));
        }
        if self.is_halted() {
            return Some(VmFailure::Assertion {
                expected: expected(),
                found: "a halted machine".into(),
            });
        }
        let exit = self.exit.filter(|_| self.is_over())?;
        let silent = self.console.is_empty() && self.events.is_empty();
        Some(match (self.shutdown, exit.success()) {
            (None, _) if silent => VmFailure::FailedToStart(self.complaint(exit)),
            (None, _) | (_, false) => VmFailure::BrokeDown(self.complaint(exit)),
            (Some(cause), true) => {
                let last = self
                    .events
                    .last()
                    .map_or("none".into(), |event| event.raw.to_string());
                let found = format!("the machine's end ({cause:?}; last event: {last})");
                VmFailure::Assertion {
                    expected: expected(),
                    found,
                }
            }
        })
    }

    fn complaint(&self, exit: ExitStatus) -> String {
        format!("{exit}: {}", self.complaint.trim())
    }

    /// Adds to the console.
    pub(crate) fn add_console(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.begun.len(),
        };
        let begun = self.begun.split_off(whole);
        let said = std::mem::replace(&mut self.begun, begun);
        let said = String::from_utf8_lossy(&said);
        self.console.extend(said.chars().filter(|&c| c != '\r'));
        self.last_sign = Instant::now();
    }

    /// Adds a line of the event port.
    pub(crate) fn add_event(&mut self, line: &str) {
        match Event::parse(line) {
            Ok(event) => self.events.push(event),
            Err(e) => self.garbled = Some(format!("{line:?} ({e})")),
        }
        self.last_sign = Instant::now();
    }

    /// The machine cannot go on: QEMU has refused what it needs, or the host has no room.
    pub(crate) fn set_broken(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// One stream is at its end.
    pub(crate) fn close_stream(&mut self) {
        self.open -= 1;
    }

    /// QEMU has ended.
    pub(crate) fn set_exit(&mut self, status: ExitStatus, complaint: String) {
        self.exit = Some(status);
        self.complaint = complaint;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn console_may_come_in_any_pieces() {
        let said = "a\u{9b}\u{202e}\u{1f6a2}z";
        let mut seen = Seen::new(1);
        for byte in said.bytes() {
            seen.add_console(&[byte]);
        }
        assert_eq!(seen.console, said);
        seen.add_console(b"\xe2\x80x\xff");
        assert_eq!(seen.console, format!("{said}\u{fffd}x\u{fffd}"));
    }

    #[test]
    fn end_is_known_once_all_is_read() {
        let mut seen = Seen::new(1);
        seen.set_exit(ExitStatus::from_raw(0), String::new());
        seen.shutdown = Some(ShutdownCause::guest_reset);
        assert_eq!(seen.ended(), None);
        seen.close_stream();
        assert_eq!(seen.ended(), Some(Ended::Reboot));
        seen.add_console(b"[1.0] Kernel panic - not syncing: No init\n");
        assert_eq!(seen.ended(), None, "a reboot after a panic is the panic's");
    }
}
