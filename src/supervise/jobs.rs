//! What is to be started, and when: each container once, after those that it waits for
//! (`berth.after`), and perhaps again (`berth.restart`).
//!
//! * To wait for another is an order, not a condition: it is over when it is known whether the
//!   other's program runs. If the other could not be started, this one is started all the same.
//! * A container that waits for itself, directly or by way of others, is refused. Containers that
//!   wait for it do so no longer.
//!
//! There are only values here. The loop in [`super`] starts what is due.

use core::time::Duration;

use rustix::process::Pid;

use super::policy::Phase;
use super::restart::RestartHistory;
use super::set::Set;
use crate::container::{BUNDLES_MAX, Id};
use crate::error::SUBJECT_MAX;
use crate::parse::config::Restart;
use crate::parse::list::List;
use crate::parse::request::{Condition, Row};
use crate::sys::clock::{self, Moment};
use crate::sys::mapped::Mapped;
use crate::sys::process::Status;
use crate::text::Text;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits until it is known of all these whether their programs run.
    Waiting(Set),
    /// It is being set up.
    Starting,
    /// Its program runs, since then.
    Running(Moment),
    /// It has ended so, and is restarted then.
    Delayed(Moment, Status),
    /// It will not be started any more.
    Over,
}

struct Job {
    id: Id,
    state: State,
    history: RestartHistory,
    /// As its bundle said when it could last be read.
    restart: Restart,
    /// Its program ran once.
    has_run: bool,
    /// It is known what it waits for at first, or that it is not started.
    is_read: bool,
    /// What it waited for at first. These end after it.
    after: Set,
    /// What comes when it has ended, if that was asked for.
    next: Option<Next>,
    /// It was stopped by request.
    is_held: bool,
    /// Since when its state is as it is.
    since: Moment,
}

/// What comes after a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It stays stopped.
    Nothing,
    /// It is started again.
    Start,
}

/// When a container that is stopped has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It does not run.
    Now,
    /// When its first process has ended.
    Later,
}

/// The restart policy of a bundle that could not be read for want of something: what it asks for is
/// not known.
const UNREAD: Restart = Restart::OnFailure { max: Some(5) };

impl Job {
    fn new(id: Id) -> Self {
        Self {
            id,
            state: State::Waiting(Set::EMPTY),
            history: RestartHistory::NONE,
            restart: UNREAD,
            has_run: false,
            is_read: false,
            after: Set::EMPTY,
            next: None,
            is_held: false,
            since: clock::now(),
        }
    }
}

/// All containers, in the order of their names; those whose bundles came after the boot behind
/// them.
pub(super) struct Jobs(Mapped<Job, BUNDLES_MAX>);

impl Jobs {
    /// Containers that are all to be started at once.
    pub(super) fn new(ids: impl Iterator<Item = Id>) -> Self {
        let mut jobs = Mapped::new();
        let all = ids.map(Job::new);
        // There are as many places as names.
        all.for_each(|job| drop(jobs.push(job)));
        Self(jobs)
    }

    pub(super) fn indices(&self) -> core::ops::Range<usize> {
        0..self.0.len()
    }

    pub(super) fn id(&self, index: usize) -> Id {
        self.0
            .get(index)
            .map(|job| job.id.clone())
            .unwrap_or_default()
    }

    fn set(&mut self, index: usize, state: State) {
        if let Some(job) = self.0.get_mut(index) {
            job.state = state;
            job.since = clock::now();
        }
    }

    /// The container waits for those with these names before its first start; whether there are
    /// any.
    ///
    /// # Errors
    /// The name that none has.
    pub(super) fn wait_for<'l>(&mut self, index: usize, ids: List<'l>) -> Result<bool, &'l str> {
        if self.set_read(index) {
            return Ok(false);
        }
        let find = |id: &'l str| self.0.iter().position(|job| job.id == id).ok_or(id);
        let others = ids.iter().map(find).collect::<Result<Set, _>>()?;
        if !others.is_empty() {
            self.set(index, State::Waiting(others));
            if let Some(job) = self.0.get_mut(index) {
                job.after = others;
            }
        }
        Ok(!others.is_empty())
    }

    /// What the container waits for at first is known now; whether it was before.
    fn set_read(&mut self, index: usize) -> bool {
        let job = self.0.get_mut(index);
        job.is_none_or(|job| core::mem::replace(&mut job.is_read, true))
    }

    /// Whether that is known of all.
    pub(super) fn are_all_read(&self) -> bool {
        self.0.iter().all(|job| job.is_read)
    }

    /// The container is being set up.
    pub(super) fn set_starting(&mut self, index: usize) {
        self.set(index, State::Starting);
    }

    /// The bundle of the container asks for this restart policy.
    pub(super) fn set_restart(&mut self, index: usize, restart: Restart) {
        if let Some(job) = self.0.get_mut(index) {
            job.restart = restart;
        }
    }

    /// The container's program runs. Whether for the first time.
    pub(super) fn set_running(&mut self, index: usize, now: Moment) -> bool {
        self.set(index, State::Running(now));
        let had_run = |job: &mut Job| core::mem::replace(&mut job.has_run, true);
        !self.0.get_mut(index).is_some_and(had_run)
    }

    /// The container could not be started, and is not tried again.
    pub(super) fn set_failed(&mut self, index: usize) {
        self.set_read(index);
        self.set(index, State::Over);
    }

    /// The container's program has ended, or could not be started for want of something, which
    /// counts as [`crate::events::OWN_FAILURE`]. If it is restarted: for which time, and after
    /// which delay.
    pub(super) fn set_ended(
        &mut self,
        index: usize,
        status: Status,
        phase: Phase,
        now: Moment,
    ) -> Option<(u32, Duration)> {
        self.set_read(index);
        let job = self.0.get_mut(index)?;
        let ran = match job.state {
            State::Running(since) => Duration::from_micros(now - since),
            _ => Duration::ZERO,
        };
        job.since = now;
        if let Some(next) = job.next.take() {
            job.follow(next, now);
            return (next == Next::Start).then_some((job.history.count, Duration::ZERO));
        }
        let delay = job.history.next(job.restart, status, ran, phase);
        job.state = delay.map_or(State::Over, |delay| State::Delayed(now + delay, status));
        delay.map(|delay| (job.history.count, delay))
    }

    /// The container of this name.
    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.0.iter().position(|job| job.id == id)
    }

    /// Takes one more container in, to be started. False if there is no room.
    pub(super) fn add(&mut self, id: Id) -> bool {
        self.0.push(Job::new(id)).is_ok()
    }

    /// The container is started when nothing is left of its last run, as if it never had been.
    pub(super) fn start_again(&mut self, index: usize, now: Moment) {
        if let Some(job) = self.0.get_mut(index) {
            job.history = RestartHistory::NONE;
            job.follow(Next::Start, now);
        }
    }

    /// The container shall end, and what comes `next`.
    pub(super) fn stop(&mut self, index: usize, next: Next, now: Moment) -> Ending {
        let Some(job) = self.0.get_mut(index) else {
            return Ending::Now;
        };
        if matches!(job.state, State::Running(_)) {
            job.next = Some(next);
            return Ending::Later;
        }
        job.is_read = true;
        job.follow(next, now);
        Ending::Now
    }

    /// Whether the container was stopped by request.
    pub(super) fn is_held(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|job| job.is_held)
    }

    /// How the container is.
    pub(super) fn condition(&self, index: usize) -> Condition {
        match self.0.get(index).map(|job| (job.state, job.is_held)) {
            Some((State::Waiting(_), _)) => Condition::Waiting,
            Some((State::Starting, _)) => Condition::Starting,
            Some((State::Running(_), _)) => Condition::Running,
            Some((State::Delayed(..), _)) => Condition::Restarting,
            Some((State::Over, true)) => Condition::Stopped,
            Some((State::Over, false)) | None => Condition::Ended,
        }
    }

    /// What is known of the container at `index`, whose first process this is.
    pub(super) fn row<'i>(&self, index: usize, id: &'i str, pid: Option<Pid>) -> Option<Row<'i>> {
        let job = self.0.get(index)?;
        Some(Row {
            id,
            condition: self.condition(index),
            pid: Pid::as_raw(pid),
            restarts: job.history.count,
            since: job.since.0,
        })
    }

    /// No container is started any more. Calls `ended` with how those ended that wait for their
    /// restart.
    pub(super) fn abandon(&mut self, mut ended: impl FnMut(Status)) {
        for job in self.0.iter_mut() {
            (job.is_held, job.next) = (false, None);
            match job.state {
                State::Waiting(_) => job.state = State::Over,
                State::Delayed(_, status) => {
                    job.state = State::Over;
                    ended(status);
                }
                _ => {}
            }
        }
    }

    /// Those that wait for themselves, directly or by way of others.
    pub(super) fn cycles(&self) -> Set {
        let is_on_one = |index: &usize| self.distance(self.awaited_by(*index), *index).is_some();
        self.indices().filter(is_on_one).collect()
    }

    /// The shortest way from a container on a cycle back to it: `a, b, a`.
    #[inline(never)]
    pub(super) fn cycle_through(&self, start: usize) -> Text<SUBJECT_MAX> {
        let mut way = Text::new(self.id(start));
        let mut here = start;
        for _ in self.indices() {
            let next = self.awaited_by(here).iter().min_by_key(|next| {
                let only = Set::from_iter([*next]);
                // One that leads nowhere comes last.
                self.distance(only, start).unwrap_or(usize::MAX)
            });
            here = next.unwrap_or(start);
            way.push(format_args!(", {}", self.id(here)));
            if here == start {
                break;
            }
        }
        way
    }

    /// How many steps it takes from the nearest of these to the container, from one that waits to
    /// one that it waits for; `None` if there is no way.
    #[inline(never)]
    fn distance(&self, from: Set, to: usize) -> Option<usize> {
        let (mut reached, mut new) = (from, from);
        for steps in self.indices() {
            if new.contains(to) {
                return Some(steps);
            }
            let awaited = |set: Set, index| set.union(&self.awaited_by(index));
            new = new.iter().fold(Set::EMPTY, awaited).difference(&reached);
            reached = reached.union(&new);
        }
        None
    }

    /// What the container waits for, started or not.
    #[inline(never)]
    fn awaited_by(&self, index: usize) -> Set {
        match self.0.get(index).map(|job| job.state) {
            Some(State::Waiting(others)) => others,
            _ => Set::EMPTY,
        }
    }

    /// One that can be started now: it waits for no other any more, or its delay is over and
    /// `is_free` says that nothing is left of its last run.
    pub(super) fn due(&self, now: Moment, is_free: impl Fn(usize) -> bool) -> Option<usize> {
        let is_unknown = |state: &State| matches!(state, State::Waiting(_) | State::Starting);
        let jobs = self.0.iter().enumerate();
        let unknown = jobs.filter(|(_, job)| is_unknown(&job.state));
        let unknown: Set = unknown.map(|(index, _)| index).collect();
        let is_due = |index: &usize| match self.0.get(*index).map(|job| job.state) {
            Some(State::Waiting(others)) => others.intersection(&unknown).is_empty(),
            Some(State::Delayed(until, _)) => until <= now && is_free(*index),
            _ => false,
        };
        self.indices().find(is_due)
    }

    /// When the next delay is over, of those containers that `is_free` says nothing is left of.
    pub(super) fn deadline(&self, is_free: impl Fn(usize) -> bool) -> Option<Moment> {
        let jobs = self.0.iter().enumerate();
        let deadlines = jobs.filter_map(|(index, job)| match job.state {
            State::Delayed(until, _) if is_free(index) => Some(until),
            _ => None,
        });
        deadlines.min()
    }

    /// Those that others waited for at their start which `need` them still.
    pub(super) fn needed(&self, need: impl Fn(usize) -> bool) -> Set {
        let needing = self.0.iter().enumerate().filter(|(index, _)| need(*index));
        needing.fold(Set::EMPTY, |all, (_, job)| all.union(&job.after))
    }

    /// Of those that `is_wanted`, the one that was started last.
    pub(super) fn youngest(&self, is_wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let jobs = self.0.iter().enumerate();
        let wanted = jobs.filter(|(index, _)| is_wanted(*index));
        let youngest = wanted.max_by_key(|(_, job)| match job.state {
            State::Running(since) => since,
            State::Starting => Moment(u64::MAX),
            _ => Moment(0),
        });
        youngest.map(|(index, _)| index)
    }

    /// Whether any has not been started yet because it waits for others.
    pub(super) fn are_waiting(&self) -> bool {
        let mut jobs = self.0.iter();
        jobs.any(|job| matches!(job.state, State::Waiting(_)))
    }

    /// Whether any will be started, now or later. One that was stopped by request may be: who has
    /// stopped it is still there.
    pub(super) fn are_pending(&self) -> bool {
        let mut jobs = self.0.iter();
        jobs.any(|job| job.is_held || matches!(job.state, State::Waiting(_) | State::Delayed(..)))
    }
}

impl Job {
    /// It does not run, and comes to what was asked for.
    fn follow(&mut self, next: Next, now: Moment) {
        self.is_held = next == Next::Nothing;
        self.since = now;
        self.state = match next {
            Next::Nothing => State::Over,
            Next::Start => State::Delayed(now, Status::Exited(0)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::OWN_FAILURE;

    const NOW: Moment = Moment(0);

    fn jobs(names: &[&str]) -> Jobs {
        Jobs::new(names.iter().map(|name| Id::try_from(*name).unwrap()))
    }

    fn list(text: &str) -> List<'_> {
        List::parse(text, |_| true).unwrap_or_default()
    }

    /// Jobs `a`, `b`, … that wait for those whose letters follow.
    fn waiting(waits: &[&str]) -> Jobs {
        let mut jobs = jobs(&["a", "b", "c", "d", "e"][..waits.len()]);
        for (index, others) in waits.iter().enumerate() {
            assert!(!jobs.are_all_read());
            let ids: Vec<_> = others.chars().map(String::from).collect();
            let ids = ids.join(",");
            let waits = jobs.wait_for(index, list(&ids));
            assert_eq!(waits, Ok(!others.is_empty()));
        }
        assert!(jobs.are_all_read());
        jobs
    }

    fn due(jobs: &Jobs) -> Option<usize> {
        jobs.due(NOW, |_| true)
    }

    #[test]
    fn containers_are_found_by_their_names() {
        let mut jobs = jobs(&["db", "web", "www"]);
        assert_eq!(jobs.wait_for(0, list("web,www")), Ok(true));
        assert_eq!(jobs.awaited_by(0), Set::from_iter([1, 2]));
        assert_eq!(jobs.wait_for(1, List::default()), Ok(false));
        assert_eq!(jobs.wait_for(2, list("db,wep")), Err("wep"));
        // The order is that of the first start alone.
        assert_eq!(jobs.wait_for(0, list("web")), Ok(false));
    }

    #[test]
    fn one_is_started_when_it_is_known_of_the_others_whether_they_run() {
        let mut jobs = waiting(&["bc", "", ""]);
        assert_eq!(due(&jobs), Some(1));
        jobs.set_starting(1);
        assert_eq!(due(&jobs), Some(2));
        jobs.set_failed(2);
        assert_eq!(due(&jobs), None);
        assert!(jobs.are_waiting() && jobs.are_pending());
        assert!(jobs.set_running(1, NOW));
        assert_eq!(due(&jobs), Some(0));
        jobs.set_starting(0);
        assert!(!jobs.are_waiting() && !jobs.are_pending());
        assert_eq!(due(&jobs), None);
    }

    #[test]
    fn a_container_that_waits_for_itself_is_told_by_which_way() {
        for (waits, expected) in [
            (&["a"][..], &[(0, "a, a")][..]),
            (&["b", "a"], &[(0, "a, b, a"), (1, "b, a, b")]),
            (&["b", "c", "b"], &[(1, "b, c, b"), (2, "c, b, c")]),
            (
                &["be", "c", "a", "", "d"],
                &[(0, "a, b, c, a"), (1, "b, c, a, b"), (2, "c, a, b, c")],
            ),
            (
                &["bc", "d", "a", "a"],
                &[
                    (0, "a, c, a"),
                    (1, "b, d, a, b"),
                    (2, "c, a, c"),
                    (3, "d, a, b, d"),
                ],
            ),
            (&["b", "c", "", "abc"], &[]),
        ] {
            let jobs = waiting(waits);
            let found: Vec<_> = jobs
                .cycles()
                .iter()
                .map(|index| (index, jobs.cycle_through(index)))
                .collect();
            let found: Vec<_> = found
                .iter()
                .map(|(index, way)| (*index, way.as_str()))
                .collect();
            assert_eq!(found, expected, "{waits:?}");
        }
    }

    #[test]
    fn what_waits_for_a_cycle_is_started_when_that_was_refused() {
        let mut jobs = waiting(&["b", "c", "b"]);
        assert_eq!(due(&jobs), None);
        let cycles = jobs.cycles();
        cycles.iter().for_each(|index| jobs.set_failed(index));
        assert_eq!(due(&jobs), Some(0));
    }

    #[test]
    fn one_is_restarted_when_its_delay_is_over_and_nothing_is_left_of_it() {
        let mut jobs = jobs(&["a"]);
        jobs.set_starting(0);
        assert!(jobs.set_running(0, NOW));
        jobs.set_restart(0, Restart::Always);
        let bad = Status::Exited(1);
        let again = jobs.set_ended(0, bad, Phase::Running, NOW);
        assert_eq!(again, Some((1, Duration::from_millis(100))));
        let until = Moment(100_000);
        assert_eq!(jobs.deadline(|_| true), Some(until));
        assert_eq!(jobs.deadline(|_| false), None);
        assert_eq!(jobs.due(Moment(99_999), |_| true), None);
        assert_eq!(jobs.due(until, |_| false), None);
        assert_eq!(jobs.due(until, |_| true), Some(0));
        assert!(jobs.are_pending() && !jobs.are_waiting());
        jobs.set_starting(0);
        assert!(!jobs.set_running(0, until));
        let again = jobs.set_ended(0, bad, Phase::Running, Moment(20_000_000));
        assert_eq!(again, Some((2, Duration::from_millis(100))));

        let mut statuses = Vec::new();
        jobs.abandon(|status| statuses.push(status));
        assert_eq!(statuses, [bad]);
        assert!(!jobs.are_pending());
    }

    #[test]
    fn one_that_lacks_something_at_its_first_start_is_started_as_its_bundle_says() {
        let starved = Status::Exited(OWN_FAILURE);
        for (policy, expected) in [
            (None, 5),
            (Some(Restart::No), 0),
            (Some(Restart::OnFailure { max: Some(2) }), 2),
        ] {
            let mut jobs = jobs(&["a"]);
            if let Some(restart) = policy {
                jobs.set_restart(0, restart);
            }
            let mut lack = || jobs.set_ended(0, starved, Phase::Running, NOW);
            let counts = core::iter::from_fn(|| lack().map(|(count, _)| count));
            assert_eq!(counts.count(), expected, "{policy:?}");
            assert!(!jobs.are_pending());
        }
        let mut jobs = jobs(&["a"]);
        jobs.set_restart(0, Restart::Always);
        assert!(jobs.set_ended(0, starved, Phase::Running, NOW).is_some());
        // It counts among those that were started all the same, and once.
        assert!(jobs.set_running(0, NOW) && !jobs.set_running(0, NOW));
    }

    #[test]
    fn the_end_is_in_the_reverse_order_of_the_start() {
        let mut jobs = waiting(&["bc", "c", "", "c", ""]);
        for (index, since) in [(2, 1), (4, 2), (1, 4), (3, 4), (0, 5)] {
            jobs.set_running(index, Moment(since));
        }
        let order = |needed: Set| {
            let asked = std::cell::RefCell::new(Vec::new());
            let is_wanted = |index| !needed.contains(index) && !asked.borrow().contains(&index);
            while let Some(next) = jobs.youngest(is_wanted) {
                asked.borrow_mut().push(next);
            }
            asked.into_inner()
        };
        assert_eq!(order(Set::EMPTY), [0, 3, 1, 4, 2]);
        assert_eq!(order(jobs.needed(|_| true)), [0, 3, 4]);
        assert_eq!(order(jobs.needed(|index| index == 3)), [0, 3, 1, 4]);
        assert_eq!(
            jobs.needed(|index| index == 0),
            [1, 2].into_iter().collect()
        );
    }

    #[test]
    fn one_that_is_stopped_stays_stopped_until_it_is_started_by_request() {
        let mut jobs = jobs(&["a"]);
        jobs.set_restart(0, Restart::Always);
        jobs.set_running(0, NOW);
        assert_eq!(jobs.condition(0), Condition::Running);
        assert_eq!(jobs.stop(0, Next::Nothing, NOW), Ending::Later);
        assert!(!jobs.is_held(0));
        let killed = Status::Killed(15);
        assert_eq!(jobs.set_ended(0, killed, Phase::Running, NOW), None);
        assert_eq!(jobs.condition(0), Condition::Stopped);
        // The machine waits for who has stopped it.
        assert!(jobs.is_held(0) && jobs.are_pending() && due(&jobs).is_none());

        jobs.start_again(0, NOW);
        assert_eq!(jobs.due(NOW, |_| false), None);
        assert_eq!(due(&jobs), Some(0));
        jobs.set_running(0, NOW);
        let again = jobs.set_ended(0, killed, Phase::Running, NOW);
        assert!(again.is_some() && !jobs.is_held(0));
    }

    #[test]
    fn one_that_is_restarted_by_request_is_started_at_once_whatever_its_policy() {
        let mut jobs = jobs(&["a"]);
        jobs.set_restart(0, Restart::No);
        jobs.set_running(0, NOW);
        assert_eq!(jobs.stop(0, Next::Start, NOW), Ending::Later);
        let again = jobs.set_ended(0, Status::Exited(0), Phase::Running, NOW);
        assert_eq!(again, Some((0, Duration::ZERO)));
        assert_eq!(due(&jobs), Some(0));
        jobs.set_running(0, NOW);
        assert_eq!(
            jobs.set_ended(0, Status::Exited(0), Phase::Running, NOW),
            None
        );
        assert_eq!(jobs.condition(0), Condition::Ended);
    }

    #[test]
    fn one_that_does_not_run_stops_at_once_and_ends_with_the_machine() {
        let mut jobs = waiting(&["b", ""]);
        assert_eq!(jobs.stop(0, Next::Nothing, NOW), Ending::Now);
        assert_eq!(jobs.condition(0), Condition::Stopped);
        assert_eq!(due(&jobs), Some(1));
        jobs.set_starting(1);
        assert!(jobs.are_pending());
        jobs.abandon(|_| ());
        assert!(!jobs.are_pending());
        assert_eq!(jobs.condition(0), Condition::Ended);
    }

    #[test]
    fn one_whose_bundle_has_come_later_is_started() {
        let mut jobs = waiting(&[""]);
        jobs.set_running(0, NOW);
        assert_eq!(jobs.find("late"), None);
        assert!(jobs.add(Id::try_from("late").unwrap()));
        assert_eq!((jobs.find("late"), due(&jobs)), (Some(1), Some(1)));
        for number in jobs.0.len()..BUNDLES_MAX {
            assert!(jobs.add(Id::try_from(format!("n{number}").as_str()).unwrap()));
        }
        assert!(!jobs.add(Id::try_from("more").unwrap()));
    }
}
