//! What becomes of a machine whose boot fails.
//!
//! It is known to the panic handler too, which has no machine to ask.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::plan::{OnFailure, Plan};

/// [`FailurePolicy::action`], for the panic handler.
static ACTION: AtomicU8 = AtomicU8::new(OnFailure::Reboot as u8);

/// Whether `panic=0` was asked for, for the panic handler.
static HOLDS: AtomicBool = AtomicBool::new(false);

/// Whether this process is PID 1 of a machine, for the panic handler: what a command does ends no
/// machine.
static IS_PID_1: AtomicBool = AtomicBool::new(false);

/// What is done after the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FailurePolicy {
    /// `berth.on_failure=`.
    pub(super) action: OnFailure,
    /// The value of `panic=`; the kernel's own where it is not given.
    pub(super) timeout: Option<i32>,
}

impl FailurePolicy {
    /// What holds before the command line is known.
    pub(super) const DEFAULT: Self = Self {
        action: OnFailure::Reboot,
        timeout: None,
    };

    /// What `plan` asks for. From now on it is what the panic handler does, too.
    pub(super) fn adopt(plan: &Plan<'_>) -> Self {
        ACTION.store(plan.on_failure as u8, Ordering::Relaxed);
        HOLDS.store(plan.panic_timeout == Some(0), Ordering::Relaxed);
        Self {
            action: plan.on_failure,
            timeout: plan.panic_timeout,
        }
    }

    /// What was adopted last.
    pub(super) fn adopted() -> Self {
        const ALL: [OnFailure; 5] = [
            OnFailure::PowerOff,
            OnFailure::Reboot,
            OnFailure::Halt,
            OnFailure::Panic,
            OnFailure::Shell,
        ];
        let stored = ACTION.load(Ordering::Relaxed);
        let action = ALL.into_iter().find(|action| *action as u8 == stored);
        Self {
            action: action.unwrap_or(OnFailure::Reboot),
            timeout: HOLDS.load(Ordering::Relaxed).then_some(0),
        }
    }
}

/// Notes that this process is PID 1 of a machine.
pub(super) fn note_pid_1() {
    IS_PID_1.store(true, Ordering::Relaxed);
}

/// Whether this process is PID 1 of a machine.
pub(super) fn is_pid_1() -> bool {
    IS_PID_1.load(Ordering::Relaxed)
}
