//! How it is told that a container could not be started.

use rustix::io::Errno;

use crate::cause::Cause;
use crate::error::{Code, Error, Fault, Op, SUBJECT_MAX};
use crate::parse::config::ConfigError;
use crate::sys::process;
use crate::text::Text;

/// The warning about a container that is `berth.privileged`.
pub const PRIVILEGED: &str = "PRIVILEGED (berth.privileged): ALL CAPABILITIES, ALL DEVICES, NO PATH MASKED OR READ-ONLY, BUT FOR WHAT ITS OWN FIELDS SAY";

/// The warning about a container that has `berth.control`.
pub const CONTROLS: &str = "CONTROL (berth.control): MAY STOP AND START EVERY CONTAINER, RUN ANY PROGRAM IN EACH, AND END THE MACHINE";

/// Why a `config.json` is refused: `path` is its own, or its bundle's.
#[must_use]
pub fn refusal(path: &str, error: &ConfigError<'_>) -> Error {
    let code = match error {
        ConfigError::Unsupported(_)
        | ConfigError::UnsupportedValue { .. }
        | ConfigError::Refused { .. }
        | ConfigError::Impossible { .. } => Code::BundleRefused,
        _ => Code::BundleConfig,
    };
    Error::new(code, Op::Parse, path, error)
}

/// Why there is no program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StartFailure {
    /// The set-up reported it.
    Reported(Fault),
    /// The process ended without a report; with this status, if that is known.
    Died(Option<process::Status>),
}

/// The error of a failed set-up: its code, the container, and the fault if one was reported.
pub fn setup_error(id: &str, why: StartFailure) -> Error {
    let fault = match why {
        StartFailure::Reported(fault) => fault,
        StartFailure::Died(status) => {
            let mut text = Text::<SUBJECT_MAX>::new(
                "the process ended before that, and could not say why: it was killed, or its own linux.seccomp keeps it from writing",
            );
            if let Some(status) = status {
                text.push(format_args!("; it {status}"));
            }
            return Error::new(
                Code::ContainerSetup,
                Op::Exec,
                format_args!("the program of {id}"),
                text.as_str(),
            );
        }
    };
    let code = match fault.op {
        Op::Exec => Code::ContainerExec,
        _ => Code::ContainerSetup,
    };
    let mut error = fault.at(code);
    error.subject = Text::new(format_args!("{} for {id}", fault.subject));
    if (fault.cause, fault.errno) == (Cause::NotInPath, Errno::NOENT) {
        // Engines look for these words.
        error.detail = Text::new("executable file not found in $PATH");
    }
    error
}
