//! Runs of `berth` that last as long as the machine runs: for the network, and for the log files.
//!
//! One that ends otherwise than well is started again. It ends well when nothing is left to do.

use core::time::Duration;

use rustix::fd::AsFd;

use super::Supervisor;
use super::berth::Task;
use super::jobs;
use super::policy::Phase;
use super::restart::RestartHistory;
use super::workers::Work;
use crate::error::Stage;
use crate::parse::config::Restart;
use crate::sys::clock::{self, Moment};
use crate::sys::process::Status;

/// A run.
pub(super) struct LastingRun {
    history: RestartHistory,
    started: Moment,
    rest_until: Option<Moment>,
}

impl LastingRun {
    /// One that was not started.
    pub(super) const NEW: Self = Self {
        history: RestartHistory::NONE,
        started: Moment(0),
        rest_until: None,
    };

    /// When it is started again.
    pub(super) const fn deadline(&self) -> Option<Moment> {
        self.rest_until
    }

    fn is_due(&self) -> bool {
        self.rest_until.is_some_and(|due| clock::now() >= due)
    }

    /// It has ended.
    fn end(&mut self, status: Status, phase: Phase) {
        let now = clock::now();
        let ran = Duration::from_micros(now - self.started);
        let again = Restart::OnFailure { max: None };
        let delay = self.history.next(again, status, ran, phase);
        self.rest_until = delay.map(|delay| now + delay);
    }
}

impl Supervisor<'_, '_> {
    const fn lasting(&mut self, work: Work) -> &mut LastingRun {
        match work {
            Work::LogFiles => &mut self.log_files,
            _ => &mut self.network,
        }
    }

    /// Starts the run for this.
    #[inline(never)]
    pub(super) fn start_lasting(&mut self, work: Work) {
        let run = self.lasting(work);
        (run.started, run.rest_until) = (clock::now(), None);
        let program = self.machine.berth.as_ref().map(AsFd::as_fd);
        let task = match (work, self.plan.log) {
            (Work::LogFiles, Some(place)) => Task::LogFiles { place },
            _ => Task::Network { plan: self.plan },
        };
        if let Err(fault) = self.workers.start(&self.epoll, program, work, task) {
            let journal = &mut self.machine.journal;
            journal.warn(Stage::Containers, format_args!("{fault}"));
            self.lasting_ended(work, Status::Exited(1));
        }
    }

    /// The run for this has ended.
    pub(super) fn lasting_ended(&mut self, work: Work, status: Status) {
        let phase = self.phase;
        if status != Status::Exited(0) && phase == Phase::Running {
            let what = match work {
                Work::LogFiles => "the log files",
                _ => "the network",
            };
            self.machine.journal.warn(
                Stage::Containers,
                format_args!("{what}: the run for that {status}, and is started again"),
            );
        }
        if (work, status) == (Work::Network, Status::Exited(0)) {
            self.jobs.set_network(jobs::Network::Absent);
        }
        self.lasting(work).end(status, phase);
    }

    /// Starts those again for which it is time.
    pub(super) fn restart_lasting(&mut self) {
        for work in [Work::Network, Work::LogFiles] {
            if self.lasting(work).is_due() {
                self.start_lasting(work);
            }
        }
    }
}
