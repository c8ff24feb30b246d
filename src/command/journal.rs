//! What goes to standard error and to the file of `--log`.
//!
//! A failure goes to both: who typed the command reads the one, the engine that called it the
//! other. The file has a record a line, as the runtimes have that engines were written for: JSON
//! with `level`, `msg` and `time`, or the same as text. Everything else is told only to the file,
//! and with `--debug` to standard error too. JSON without a file is for who reads standard error,
//! and then there is nothing else.

use core::fmt;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::output::write_all;
use super::supervised::Supervisor;
use super::time::Time;
use crate::error::{During, Error, Explained, Fault, Op};
use crate::hint::of_command;
use crate::sys::console;
use crate::text::{Json, Shown, Text};

/// Room for one record, in bytes.
const RECORD: usize = 2048;

/// Where records go.
#[derive(Default)]
pub(super) struct Journal {
    file: Option<OwnedFd>,
    is_json: bool,
    is_debug: bool,
    /// The supervisor, which gets the messages in place of those.
    supervisor: Option<Supervisor>,
}

impl Journal {
    /// Has PID 1 be told, and nobody else.
    pub(super) fn tell_to(&mut self, supervisor: Option<Supervisor>) {
        self.supervisor = supervisor;
    }

    /// PID 1, where that is to be told.
    pub(super) const fn supervisor(&self) -> Option<&Supervisor> {
        self.supervisor.as_ref()
    }

    /// The same, for another journal.
    pub(super) fn into_supervisor(self) -> Option<Supervisor> {
        self.supervisor
    }

    /// Opens the file, if there is to be one.
    ///
    /// # Errors
    /// Those of openat(2); `ELOOP` for a link that is not [the kernel's](is_descriptor).
    pub(super) fn open(path: Option<&str>, is_json: bool, is_debug: bool) -> Result<Self, Fault> {
        // Nobody but the kernel can lead it elsewhere.
        let follow = match path.is_some_and(is_descriptor) {
            true => OFlags::empty(),
            false => OFlags::NOFOLLOW,
        };
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::APPEND
            | OFlags::CLOEXEC
            | OFlags::NOCTTY
            | follow;
        let file = path.filter(|path| !path.is_empty()).map(|path| {
            openat(CWD, path, flags, Mode::from_raw_mode(0o644)).during(Op::Open, path)
        });
        Ok(Self {
            file: file.transpose()?,
            is_json,
            is_debug,
            supervisor: None,
        })
    }

    /// Something that was asked for is not done, and the container works without.
    pub(super) fn warn(&self, text: impl fmt::Display) {
        if let Some(supervisor) = &self.supervisor {
            return supervisor.warn(&text);
        }
        self.record("warning", &text);
        if self.is_debug {
            self.complain(&text, "");
        }
    }

    /// Something that PID 1 is to show.
    pub(super) fn notice(&self, text: impl fmt::Display) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.notice(&text);
        }
    }

    /// Something that helps to understand what was done.
    pub(super) fn debug(&self, text: impl fmt::Display) {
        if self.is_debug {
            self.record("debug", &text);
            self.complain(&text, "");
        }
    }

    /// The end of the command `name`.
    #[inline(never)]
    pub(super) fn fail(&self, name: &str, error: &Error) {
        if let Some(supervisor) = &self.supervisor {
            return supervisor.fail(error);
        }
        let hint = of_command(error);
        // Engines know some failures by the words of the C library, in the log or on standard
        // error.
        let error = Explained(error);
        self.complain(&format_args!("error: {name}: {error}"), hint);
        self.record("error", &format_args!("{name}: {error}; {hint}"));
    }

    /// A failure that another run of the command has reported, in that run's words.
    pub(super) fn pass_on(&self, name: &str, text: &dyn fmt::Display, hint: &str) {
        self.complain(&format_args!("error: {name}: {text}"), hint);
        self.record("error", &format_args!("{name}: {text}; {hint}"));
    }

    fn record(&self, level: &str, text: &dyn fmt::Display) {
        if self.file.is_none() && !self.is_json {
            return;
        }
        let text = Text::<{ RECORD / 2 }>::new(text);
        let (text, time) = (Json(text.as_str()), Time::now());
        let mut line = Text::<RECORD>::EMPTY;
        match self.is_json {
            true => line.push(format_args!(
                "{{\"level\":\"{level}\",\"msg\":{text},\"time\":\"{time}\"}}\n"
            )),
            false => line.push(format_args!("time=\"{time}\" level={level} msg={text}\n")),
        }
        match &self.file {
            // Nothing is left to tell it to.
            Some(file) => drop(write_all(file, line.as_str().as_bytes())),
            None => console::complain(line.as_str()),
        }
    }

    fn complain(&self, text: &dyn fmt::Display, hint: &str) {
        if self.file.is_none() && self.is_json {
            return;
        }
        let separator = if hint.is_empty() { "" } else { "\n  " };
        let mut line = Text::<RECORD>::EMPTY;
        line.push(format_args!("berth: {}{separator}{hint}\n", Shown(text)));
        console::complain(line.as_str());
    }
}

/// Whether `path` names an open descriptor, which only the kernel makes links to.
fn is_descriptor(path: &str) -> bool {
    let names = |directory: &str| {
        let number = path.strip_prefix(directory);
        number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    matches!(path, "/dev/stdout" | "/dev/stderr") || names("/dev/fd/") || names("/proc/self/fd/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_to_descriptors_are_the_kernels() {
        for path in [
            "/dev/stderr",
            "/dev/stdout",
            "/dev/fd/2",
            "/proc/self/fd/17",
        ] {
            assert!(is_descriptor(path), "{path}");
        }
        for path in [
            "",
            "log",
            "/dev/shm/log",
            "/dev/fd/",
            "/dev/fd/../shm/log",
            "/proc/self/fd/2/x",
            "/proc/self/cwd/log",
        ] {
            assert!(!is_descriptor(path), "{path}");
        }
    }
}
