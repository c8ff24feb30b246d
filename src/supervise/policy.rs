//! What the supervisor does when: a pure function, tested as a table.
//!
//! The machine runs; then containers are asked to end, and killed if they do not; then the machine
//! ends.
//! [`next`] knows nothing of processes or clocks. The loop in [`super`] calls it with what happened
//! and does what it returns.

use crate::events::OWN_FAILURE;
use crate::plan::OnIdle;
use crate::sys::process::{End, Status};

/// How far the life of the machine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Containers run, or are waited for.
    Running,
    /// Containers are asked to end; the machine ends so when none is left.
    Stopping(End),
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The machine is to end: a signal, or a container with `berth.on-exit` = `shutdown` has ended.
    EndRequested(End),
    /// No container is left that is waited for.
    NothingLeft,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing.
    Wait,
    /// Have every container end.
    StopAll,
    /// End the machine.
    EndMachine(End),
}

/// Decides. `on_idle` is what happens when nothing is left to run.
pub(super) const fn next(phase: Phase, input: Input, on_idle: OnIdle) -> (Phase, Action) {
    match (phase, input) {
        (Phase::Running, Input::EndRequested(end)) => (Phase::Stopping(end), Action::StopAll),
        (Phase::Running, Input::NothingLeft) => match idle_end(on_idle) {
            Some(end) => (Phase::Stopping(end), Action::EndMachine(end)),
            None => (Phase::Running, Action::Wait),
        },
        // The last request counts: a reboot that is asked for during a power-off is meant.
        (Phase::Stopping(_), Input::EndRequested(end)) => (Phase::Stopping(end), Action::Wait),
        (Phase::Stopping(end), Input::NothingLeft) => (phase, Action::EndMachine(end)),
    }
}

/// How the machine ends when a container with `berth.on-exit` = `shutdown` has ended: as it does
/// when nothing is left.
pub(super) const fn end_with_container(on_idle: OnIdle) -> End {
    match idle_end(on_idle) {
        Some(end) => end,
        None => End::PowerOff,
    }
}

/// How the machine ends by these words; `None` if it does not.
pub(super) const fn idle_end(on_idle: OnIdle) -> Option<End> {
    match on_idle {
        OnIdle::PowerOff => Some(End::PowerOff),
        OnIdle::Reboot => Some(End::Reboot),
        OnIdle::Halt => Some(End::Halt),
        OnIdle::Kexec => Some(End::Kexec),
        OnIdle::Wait => None,
    }
}

/// The status with which the machine ends: that of the first container that did not end well, else
/// 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EndStatus(u8);

impl EndStatus {
    /// Takes note of how a container ended. Containers that end because the machine does are not
    /// counted.
    pub(super) const fn note(&mut self, status: Status, phase: Phase) {
        if self.0 == 0 && matches!(phase, Phase::Running) {
            self.0 = status.as_shell();
        }
    }

    /// Takes note of a container that could not be started.
    pub(super) const fn note_failure(&mut self) {
        if self.0 == 0 {
            self.0 = OWN_FAILURE;
        }
    }

    /// The status.
    pub(super) const fn value(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: End = End::PowerOff;
    const BOOT: End = End::Reboot;

    #[test]
    fn the_table_of_decisions() {
        use Action::*;
        use Input::*;
        use Phase::*;
        let table = [
            (Running, EndRequested(BOOT), Stopping(BOOT), StopAll),
            (Running, NothingLeft, Stopping(OFF), EndMachine(OFF)),
            (Stopping(OFF), EndRequested(BOOT), Stopping(BOOT), Wait),
            (
                Stopping(BOOT),
                NothingLeft,
                Stopping(BOOT),
                EndMachine(BOOT),
            ),
        ];
        for (phase, input, then, action) in table {
            assert_eq!(
                next(phase, input, OnIdle::PowerOff),
                (then, action),
                "{phase:?} {input:?}"
            );
        }
    }

    #[test]
    fn an_idle_machine_does_what_was_asked_for() {
        let idle = |on_idle| next(Phase::Running, Input::NothingLeft, on_idle).1;
        assert_eq!(idle(OnIdle::Wait), Action::Wait);
        assert_eq!(idle(OnIdle::Halt), Action::EndMachine(End::Halt));
        assert_eq!(idle(OnIdle::Reboot), Action::EndMachine(End::Reboot));
        assert_eq!(idle(OnIdle::Kexec), Action::EndMachine(End::Kexec));
    }

    #[test]
    fn a_container_that_ends_the_machine_ends_it_as_idleness_would() {
        assert_eq!(end_with_container(OnIdle::Reboot), End::Reboot);
        assert_eq!(end_with_container(OnIdle::Wait), End::PowerOff);
    }

    #[test]
    fn waiting_does_not_keep_a_machine_that_was_told_to_end() {
        let (phase, _) = next(Phase::Running, Input::EndRequested(OFF), OnIdle::Wait);
        assert_eq!(
            next(phase, Input::NothingLeft, OnIdle::Wait).1,
            Action::EndMachine(OFF)
        );
    }

    #[test]
    fn the_first_failure_is_the_status() {
        let mut status = EndStatus::default();
        status.note(Status::Exited(0), Phase::Running);
        assert_eq!(status.value(), 0);
        status.note(Status::Killed(9), Phase::Running);
        status.note(Status::Exited(1), Phase::Running);
        status.note_failure();
        assert_eq!(status.value(), 137);
    }

    #[test]
    fn a_container_that_is_stopped_with_the_machine_did_not_fail() {
        let mut status = EndStatus::default();
        status.note(Status::Killed(15), Phase::Stopping(OFF));
        assert_eq!(status.value(), 0);
        status.note_failure();
        assert_eq!(status.value(), OWN_FAILURE);
    }
}
