//! Files of what containers print (`berth.log=`): one run of `berth` for as long as the machine
//! runs ([`super::lasting`]).
//!
//! PID 1 keeps the last lines in memory ([`super::logs`]), and waits for no disk. The run follows
//! them there, so that PID 1 need not tell it anything but that the machine ends. Then it writes
//! what is left, and PID 1 waits for that before it unmounts filesystems, though not for long: the
//! disk may be dead.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::Supervisor;
use super::answers::ANSWERS_LEFT;
use super::workers::Work;
use crate::error::{Code, Error, Op};
use crate::parse::answer::GO;
use crate::sys::clock;

/// How long the machine's end waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(5);

impl Supervisor<'_, '_> {
    /// Has the files written, if there are to be any.
    pub(super) fn open_log_files(&mut self) {
        if self.plan.log.is_some() {
            self.start_lasting(Work::LogFiles);
        }
    }

    /// Has the last lines written: no container is left that could print more.
    pub(super) fn finish_log_files(&mut self) {
        if self.plan.log.is_some() && !self.workers.tell(Work::LogFiles, GO) {
            // It has died, and those lines are often the ones that matter.
            self.start_lasting(Work::LogFiles);
            self.workers.tell(Work::LogFiles, GO);
        }
    }

    /// Waits until they are written.
    #[inline(never)]
    pub(super) fn await_log_files(&mut self) {
        let deadline = clock::now() + PATIENCE;
        while let Some((place, answers)) = self.workers.answers(Work::LogFiles) {
            if clock::now() >= deadline {
                let detail = "the last lines are not written: the disk may not answer";
                let place = self.plan.log.unwrap_or_default();
                let error = Error::new(Code::LogFiles, Op::Wait, place, detail);
                return self.machine.journal.warn_of(&error);
            }
            let due = self.watchdog.deadline().into_iter();
            let until = due.fold(deadline, Ord::min);
            // The end of the run, or what it has to say.
            let _ = poll(
                &mut [PollFd::from_borrowed_fd(answers, PollFlags::IN)],
                Some(&until.from_now()),
            );
            self.watchdog.feed_if_due();
            self.read_worker(place, ANSWERS_LEFT);
        }
    }
}
