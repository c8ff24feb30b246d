//! `berth.restart`: whether a container is restarted, and after which delay.
//!
//! The delay is 100 ms at first and twice as long each time, up to a minute, so that a container
//! that cannot run does not keep the machine busy. After a run of ten seconds it begins anew.

use core::time::Duration;

use super::policy::Phase;
use crate::parse::config::Restart;
use crate::sys::process::Status;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
const RAN_WELL: Duration = Duration::from_secs(10);

/// How often a container was restarted, and how long it is delayed the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RestartHistory {
    /// How often it was restarted.
    pub(super) count: u32,
    delay: Duration,
}

impl RestartHistory {
    /// That of a container which was started once.
    pub(super) const NONE: Self = Self {
        count: 0,
        delay: FIRST,
    };

    /// The delay after which the container is restarted, which is counted; `None` if it is not. It
    /// ran for so long and ended with `status`.
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
        let delay = if ran >= RAN_WELL { FIRST } else { self.delay };
        self.count = self.count.saturating_add(1);
        self.delay = delay.saturating_mul(2).min(LONGEST);
        Some(delay)
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
    fn the_table_of_what_is_restarted() {
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
            let before = RestartHistory {
                count,
                ..RestartHistory::NONE
            };
            let mut restarts = before;
            let delay = restarts.next(restart, status, SHORT, phase);
            assert_eq!(
                delay.is_some(),
                expected,
                "{restart:?} {status:?} {phase:?}"
            );
            assert_eq!(restarts.count, before.count + u32::from(expected));
        }
    }

    #[test]
    fn the_delay_doubles_until_a_run_went_well() {
        let mut restarts = RestartHistory::NONE;
        let mut delay = |ran| {
            let delay = restarts.next(Restart::Always, GOOD, ran, Phase::Running);
            delay.unwrap().as_millis()
        };
        let delays: Vec<_> = (0..12).map(|_| delay(SHORT)).collect();
        assert_eq!(delays[..5], [100, 200, 400, 800, 1600]);
        assert_eq!(delays[9..], [51_200, 60_000, 60_000]);
        assert_eq!([delay(RAN_WELL), delay(SHORT)], [100, 200]);
    }
}
