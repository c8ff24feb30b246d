//! `berth.restart`: whether a container is started again, and how long it rests before.
//!
//! It rests for 100 ms at first and for twice as long each time, up to a minute, so that one which cannot run does not keep the
//! machine busy; one that ran for ten seconds could run, and begins anew.

use core::time::Duration;

use super::policy::Phase;
use crate::parse::config::Restart;
use crate::sys::process::Status;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
const RAN_WELL: Duration = Duration::from_secs(10);

/// The history of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Restarts {
    /// How often it was started again.
    pub(super) count: u32,
    rest: Duration,
}

impl Restarts {
    /// That of a container which was started once.
    pub(super) const NONE: Self = Self {
        count: 0,
        rest: FIRST,
    };

    /// How long it rests before it is started again, which is counted; `None` if it is not. It ran for so long and ended with
    /// `status`.
    pub(super) fn next(
        &mut self,
        restart: Restart,
        status: Status,
        ran: Duration,
        phase: Phase,
    ) -> Option<Duration> {
        let has_failed = status.as_shell() != 0;
        let is_wanted = match restart {
            Restart::No => false,
            Restart::OnFailure { max } => has_failed && max.is_none_or(|max| self.count < max),
            Restart::Always => true,
        };
        // What ends with the machine stays ended.
        if !is_wanted || phase != Phase::Running {
            return None;
        }
        let rest = if ran >= RAN_WELL { FIRST } else { self.rest };
        self.count = self.count.saturating_add(1);
        self.rest = rest.saturating_mul(2).min(LONGEST);
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::End;

    const SHORT: Duration = Duration::from_millis(9_999);
    const GOOD: Status = Status::Exited(0);
    const BAD: Status = Status::Exited(1);

    #[test]
    fn the_table_of_who_is_started_again() {
        let [unlimited, twice] = [None, Some(2)].map(|max| Restart::OnFailure { max });
        let stopping = Phase::Stopping(End::PowerOff);
        for (restart, count, status, phase, expected) in [
            (Restart::No, 0, BAD, Phase::Running, false),
            (unlimited, 0, GOOD, Phase::Running, false),
            (unlimited, 1000, BAD, Phase::Running, true),
            (unlimited, 0, Status::Killed(9), Phase::Running, true),
            (twice, 1, BAD, Phase::Running, true),
            (twice, 2, BAD, Phase::Running, false),
            (Restart::Always, 1000, GOOD, Phase::Running, true),
            (Restart::Always, 0, BAD, Phase::Running, true),
            (Restart::Always, 0, BAD, stopping, false),
            (unlimited, 0, Status::Killed(15), stopping, false),
        ] {
            let before = Restarts {
                count,
                ..Restarts::NONE
            };
            let mut restarts = before;
            let rest = restarts.next(restart, status, SHORT, phase);
            assert_eq!(rest.is_some(), expected, "{restart:?} {status:?} {phase:?}");
            assert_eq!(restarts.count, before.count + u32::from(expected));
        }
    }

    #[test]
    fn it_rests_twice_as_long_each_time_until_it_ran_well() {
        let mut restarts = Restarts::NONE;
        let mut rest = |ran| {
            let rest = restarts.next(Restart::Always, GOOD, ran, Phase::Running);
            rest.unwrap().as_millis()
        };
        let rests: Vec<_> = (0..12).map(|_| rest(SHORT)).collect();
        assert_eq!(rests[..5], [100, 200, 400, 800, 1600]);
        assert_eq!(rests[9..], [51_200, 60_000, 60_000]);
        assert_eq!([rest(RAN_WELL), rest(SHORT)], [100, 200]);
    }
}
