//! The shell of the image, if it has one: the end of `berth.on_failure=shell`, and the pause of
//! `berth.break=`.
//!
//! It is opened early and kept open, because at a pause before the containers the initramfs is
//! gone. A shell that needs other files of the image, such as a dynamic loader, cannot run then.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};

use super::journal::Journal;
use crate::error::{During, Op, Stage};
use crate::events::Event;
use crate::parse::choice::BreakAt;
use crate::plan::Plan;
use crate::sys::process::{self, Forked};
use crate::sys::strings::Strings;
use crate::sys::{console, kmsg, signal};

const SHELL: &str = "/bin/sh";

/// The shell of the image.
pub(super) struct Shell(OwnedFd);

impl Shell {
    /// The shell, if there is one that may be executed.
    pub(super) fn find() -> Option<Self> {
        rustix::fs::access(SHELL, rustix::fs::Access::EXEC_OK).ok()?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        open(SHELL, flags, Mode::empty()).ok().map(Self)
    }

    /// The shell, if `plan` stops before the stage `at`.
    pub(super) fn for_break(journal: &mut Journal, plan: &Plan<'_>, at: BreakAt) -> Option<Self> {
        if plan.break_at != Some(at) {
            return None;
        }
        let shell = Self::find();
        if shell.is_none() {
            journal.warn(
                Stage::Early,
                format_args!(
                    "berth.break={at}: the image has no shell at {SHELL}, so the boot goes on"
                ),
            );
        }
        shell
    }

    /// Stops before the stage `at`, until the shell ends.
    pub(super) fn pause(&self, journal: &mut Journal, at: BreakAt) {
        kmsg::notice(
            Stage::Early,
            format_args!("berth.break={at}: `exit` goes on with the boot"),
        );
        journal.events.emit(Event::Break { before: at });
        self.run();
    }

    /// Runs it on the console and waits until it ends.
    pub(super) fn run(&self) {
        match process::fork(0, None) {
            Ok(Forked::Parent(shell)) => loop {
                // Any child is reaped: the orphans of the shell become children of PID 1.
                match rustix::process::wait(rustix::process::WaitOptions::empty()) {
                    Ok(Some((pid, _))) if pid == shell => return,
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return,
                }
            },
            Ok(Forked::Child) => self.execute(),
            Err(_) => {}
        }
    }

    fn execute(&self) -> ! {
        signal::reset();
        let _ = rustix::process::setsid();
        if let Some(terminal) = console::open_terminal() {
            let _ = rustix::process::ioctl_tiocsctty(&terminal);
            let _ = console::become_standard_descriptors(&terminal);
        }
        // As large as others are, so that the code is there once.
        let mut arguments = Strings::<8192, 64>::new();
        let mut variables = Strings::<8192, 64>::new();
        let _ = arguments.push(format_args!("{SHELL}"));
        let _ = variables.push(format_args!("PATH=/bin:/sbin:/usr/bin:/usr/sbin"));
        let _ = variables.push(format_args!("TERM=linux"));
        let errno = variables.with_list(|variables| {
            arguments.with_list(|arguments| {
                process::execute_descriptor(self.0.as_fd(), arguments, variables)
            })
        });
        if let Err(fault) = Err::<(), _>(errno).during(Op::Exec, SHELL) {
            kmsg::error(Stage::Early, format_args!("{fault}"));
        }
        process::exit(127)
    }
}
