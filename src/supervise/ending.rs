//! The containers' end, when the machine ends.
//!
//! * They are asked to end in the reverse order of their starts, with SIGTERM. One that others
//!   waited for (`berth.after`) is asked when those have ended, by themselves or killed: what
//!   writes to a database ends before the database.
//! * Each has its own time (`berth.stop-timeout`), from when it is asked. Then it is killed, with
//!   all that is in its control group.
//! * One that cannot be killed, because a process of it sleeps where no signal reaches it, does not
//!   keep the machine up.
//! * After [`ORDER_TIMEOUT`] those that are left are asked at once, whoever needs them: the end of
//!   a long chain does not take longer than that, and the time of the slowest.

use core::time::Duration;

use super::policy::{Input, Phase};
use super::set::Set;
use super::{STOP_TIMEOUT, Supervisor};
use crate::sys::clock::{self, Moment};

/// How long the order is kept.
const ORDER_TIMEOUT: Duration = Duration::from_secs(60);

impl Supervisor<'_, '_> {
    /// No container is started any more; those that there are have to end.
    #[inline(never)]
    pub(super) fn begin_ending(&mut self) {
        // Those that wait for their restart did not end because the machine does.
        let status = &mut self.status;
        self.jobs
            .abandon(|ended| status.note(ended, Phase::Running));
        self.slots.give_up_waiting(&self.epoll);
        self.order_until = Some(clock::now() + ORDER_TIMEOUT);
        self.thaw_for_end();
        self.go_on_ending();
    }

    /// Asks those whose turn has come. Without any that is waited for, the machine ends.
    #[inline(never)]
    pub(super) fn go_on_ending(&mut self) {
        let Some(until) = self.order_until.filter(|_| !self.freezer.holds_up_end()) else {
            return;
        };
        let (jobs, slots) = (&self.jobs, &mut self.slots);
        let needed = match clock::now() < until {
            true => jobs.needed(|index| slots.needs_others(index)),
            false => Set::EMPTY,
        };
        let is_next =
            |slots: &super::Slots, index| slots.is_unasked(index) && !needed.contains(index);
        while let Some(index) = jobs.youngest(|index| is_next(slots, index)) {
            slots.stop(index, STOP_TIMEOUT);
        }
        if slots.are_idle() {
            self.decide(Input::NothingLeft);
        }
    }

    /// When the order is kept no longer, if any waits for its turn.
    pub(super) fn ending_deadline(&self) -> Option<Moment> {
        let is_unasked = |index| self.slots.is_unasked(index);
        self.order_until
            .filter(|_| self.jobs.indices().any(is_unasked))
    }
}
