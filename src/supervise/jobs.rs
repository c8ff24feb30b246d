//! What is to be started, and when: each container once, after those that it waits for
//! (`berth.after`), when those are ready that it requires (`berth.requires`), and perhaps again
//! (`berth.restart`).
//!
//! * To wait for another is an order, not a condition: it is over when it is known whether the
//!   other's program runs. If the other could not be started, this one is started all the same.
//! * To require another is a condition, of a restart too: when the other cannot become ready any
//!   more, this one is not started, and neither is what requires this one.
//! * A container that waits for itself, directly or by way of others, is refused. Containers that
//!   wait for it do so no longer.
//!
//! What was started or has ended with status 0 once is ready for good. What is ready because it
//! said so, or because of a file, is ready until it ends.
//!
//! There are only values here. The loop in [`super`] starts what is due.

use core::time::Duration;

use rustix::process::Pid;

use super::policy::Phase;
use super::restart::RestartHistory;
use super::set::Set;
use crate::container::{BUNDLES_MAX, Id};
use crate::error::SUBJECT_MAX;
use crate::parse::answer::{Policy, ReadyBy};
use crate::parse::config::Restart;
use crate::parse::list::List;
use crate::parse::request::{Condition, Row};
use crate::sys::clock::{self, Moment};
use crate::sys::mapped::Mapped;
use crate::sys::process::Status;
use crate::text::Text;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits until it is known of some whether their programs run, and until others are ready.
    Waiting { after: Set, requires: Set },
    /// It is being set up.
    Starting,
    /// Its program runs, since then.
    Running(Moment),
    /// It has ended so, and is restarted then.
    Delayed(Moment, Status),
    /// It will not be started any more; how it ended, if it was started.
    Over(Option<Status>),
}

impl State {
    /// It waits for nobody.
    const FREE: Self = Self::Waiting {
        after: Set::EMPTY,
        requires: Set::EMPTY,
    };
}

/// Whether a container is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// Not yet.
    Pending,
    Ready,
    /// The `berth` that would find it out has ended.
    Unheard,
}

struct Job {
    id: Id,
    state: State,
    history: RestartHistory,
    /// As its bundle said when it could last be read.
    restart: Restart,
    /// The same.
    ready_by: ReadyBy,
    readiness: Readiness,
    /// Its program ran once.
    has_run: bool,
    /// It is known what it waits for at first, or that it is not started.
    is_read: bool,
    /// What it has waited for. These end after it.
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

/// What a container can require that is none: the addresses of the machine. Nothing in it makes it
/// ready yet, so it is as good as unknown.
const NETWORK: &str = "network";

const REQUIRES: &str = "berth.requires";

/// A container that one waits for, and that there is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown<'l> {
    /// The annotation that names it.
    pub(super) key: &'static str,
    pub(super) name: &'l str,
}

impl Job {
    fn new(id: Id) -> Self {
        Self {
            id,
            state: State::FREE,
            history: RestartHistory::NONE,
            restart: UNREAD,
            ready_by: ReadyBy::Started,
            readiness: Readiness::Pending,
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

    /// The bundle of the container asks for this: it waits for those that it names, before its
    /// first start or before each. Whether there are any.
    ///
    /// # Errors
    /// The name that none has.
    pub(super) fn follow<'l>(
        &mut self,
        index: usize,
        policy: &Policy<'l>,
    ) -> Result<bool, Unknown<'l>> {
        let was_read = self.set_read(index);
        if let Some(job) = self.0.get_mut(index) {
            (job.restart, job.ready_by) = (policy.restart, policy.ready);
        }
        let after = match was_read {
            true => Set::EMPTY,
            false => self.places("berth.after", policy.after)?,
        };
        let requires = self.places(REQUIRES, policy.requires)?;
        let state = State::Waiting { after, requires };
        let waits = state != State::FREE;
        if waits {
            self.set(index, state);
            if let Some(job) = self.0.get_mut(index) {
                job.after = job.after.union(&after).union(&requires);
            }
        }
        Ok(waits)
    }

    /// The places of those that an annotation names.
    #[inline(never)]
    fn places<'l>(&self, key: &'static str, names: List<'l>) -> Result<Set, Unknown<'l>> {
        let find = |name: &'l str| {
            let is_reserved = key == REQUIRES && name == NETWORK;
            let place = self.find(name).filter(|_| !is_reserved);
            place.ok_or(Unknown { key, name })
        };
        names.iter().map(find).collect()
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
        self.set_unready(index);
    }

    /// It is not ready any more, unless it is for good.
    fn set_unready(&mut self, index: usize) {
        let said = |job: &&mut Job| job.ready_by == ReadyBy::Answer;
        if let Some(job) = self.0.get_mut(index).filter(said) {
            job.readiness = Readiness::Pending;
        }
    }

    /// The container's program runs. Whether for the first time.
    pub(super) fn set_running(&mut self, index: usize, now: Moment) -> bool {
        self.set(index, State::Running(now));
        self.become_ready(index, ReadyBy::Started);
        let had_run = |job: &mut Job| core::mem::replace(&mut job.has_run, true);
        !self.0.get_mut(index).is_some_and(had_run)
    }

    /// This has happened to the container, which may make it ready. Whether it does.
    fn become_ready(&mut self, index: usize, by: ReadyBy) -> bool {
        let can_be = |job: &&mut Job| job.ready_by == by && job.readiness == Readiness::Pending;
        let job = self.0.get_mut(index).filter(can_be);
        job.map(|job| job.readiness = Readiness::Ready).is_some()
    }

    /// The container has said that it is ready. False if it was not its turn to.
    pub(super) fn set_ready(&mut self, index: usize) -> bool {
        self.is_running(index) && self.become_ready(index, ReadyBy::Answer)
    }

    /// The container's program has ended so; whether it is ready by that.
    pub(super) fn is_ready_by_end(&mut self, index: usize, status: Status) -> bool {
        status == Status::Exited(0) && self.become_ready(index, ReadyBy::Exited)
    }

    /// Nobody will say of the run of the container whether it is ready. False if that does not
    /// matter.
    pub(super) fn set_unheard(&mut self, index: usize) -> bool {
        let is_running = self.is_running(index);
        let matters = |job: &&mut Job| {
            is_running && job.ready_by == ReadyBy::Answer && job.readiness == Readiness::Pending
        };
        let job = self.0.get_mut(index).filter(matters);
        job.map(|job| job.readiness = Readiness::Unheard).is_some()
    }

    fn is_running(&self, index: usize) -> bool {
        let job = self.0.get(index);
        job.is_some_and(|job| matches!(job.state, State::Running(_)))
    }

    /// The container could not be started, and is not tried again.
    pub(super) fn set_failed(&mut self, index: usize) {
        self.set_read(index);
        self.set(index, State::Over(None));
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
        self.set_unready(index);
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
        let over = State::Over(job.has_run.then_some(status));
        job.state = delay.map_or(over, |delay| State::Delayed(now + delay, status));
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
            job.readiness = Readiness::Pending;
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
            Some((State::Waiting { .. }, _)) => Condition::Waiting,
            Some((State::Starting, _)) => Condition::Starting,
            Some((State::Running(_), _)) => Condition::Running,
            Some((State::Delayed(..), _)) => Condition::Restarting,
            Some((State::Over(_), true)) => Condition::Stopped,
            Some((State::Over(_), false)) | None => Condition::Ended,
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
                State::Waiting { .. } => job.state = State::Over(None),
                State::Delayed(_, status) => {
                    job.state = State::Over(Some(status));
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

    /// The shortest way from a container on a cycle back to it, and the annotations that make it:
    /// `berth.after forms a cycle: a, b, a`.
    #[inline(never)]
    pub(super) fn cycle_through(&self, start: usize) -> Text<SUBJECT_MAX> {
        let mut way = Text::<SUBJECT_MAX>::new(self.id(start));
        let mut here = start;
        let (mut has_after, mut has_requires) = (false, false);
        for _ in self.indices() {
            let next = self.awaited_by(here).iter().min_by_key(|next| {
                let only = Set::from_iter([*next]);
                // One that leads nowhere comes last.
                self.distance(only, start).unwrap_or(usize::MAX)
            });
            let next = next.unwrap_or(start);
            let is_after = self.after(here).contains(next);
            has_after |= is_after;
            has_requires |= !is_after;
            here = next;
            way.push(format_args!(", {}", self.id(here)));
            if here == start {
                break;
            }
        }
        let form = match (has_after, has_requires) {
            (true, true) => "berth.after and berth.requires form",
            (true, false) => "berth.after forms",
            _ => "berth.requires forms",
        };
        Text::new(format_args!("{form} a cycle: {way}"))
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
            if new.is_empty() {
                break;
            }
            let awaited = |set: Set, index| set.union(&self.awaited_by(index));
            new = new.iter().fold(Set::EMPTY, awaited).difference(&reached);
            reached = reached.union(&new);
        }
        None
    }

    /// What the container waits for, started or not, or ready.
    #[inline(never)]
    fn awaited_by(&self, index: usize) -> Set {
        self.after(index).union(&self.required_by(index))
    }

    /// What it waits for, started or not.
    fn after(&self, index: usize) -> Set {
        match self.0.get(index).map(|job| job.state) {
            Some(State::Waiting { after, .. }) => after,
            _ => Set::EMPTY,
        }
    }

    /// What it waits for until it is ready.
    fn required_by(&self, index: usize) -> Set {
        match self.0.get(index).map(|job| job.state) {
            Some(State::Waiting { requires, .. }) => requires,
            _ => Set::EMPTY,
        }
    }

    /// A container that waits for one which cannot become ready any more, and that one.
    #[inline(never)]
    pub(super) fn unmet(&self) -> Option<(usize, usize)> {
        let is_lost = |job: &Job| match job.readiness {
            // Who has stopped it may start it again.
            Readiness::Pending => matches!(job.state, State::Over(_)) && !job.is_held,
            Readiness::Ready => false,
            Readiness::Unheard => true,
        };
        let lost = self.those(is_lost);
        self.indices().find_map(|index| {
            let other = self.required_by(index).intersection(&lost).iter().next()?;
            Some((index, other))
        })
    }

    /// Why a container cannot become ready any more.
    pub(super) fn loss(&self, index: usize) -> Loss<'_> {
        Loss(self.0.get(index))
    }

    fn those(&self, wanted: impl Fn(&Job) -> bool) -> Set {
        let jobs = self.0.iter().enumerate();
        jobs.filter(|(_, job)| wanted(job))
            .map(|(index, _)| index)
            .collect()
    }

    /// One that can be started now: it waits for no other any more, or its delay is over and
    /// `is_free` says that nothing is left of its last run.
    #[inline(never)]
    pub(super) fn due(&self, now: Moment, is_free: &dyn Fn(usize) -> bool) -> Option<usize> {
        let unknown =
            self.those(|job| matches!(job.state, State::Waiting { .. } | State::Starting));
        let ready = self.those(|job| job.readiness == Readiness::Ready);
        let is_due = |index: &usize| match self.0.get(*index).map(|job| job.state) {
            Some(State::Waiting { after, requires }) => {
                after.intersection(&unknown).is_empty() && requires.difference(&ready).is_empty()
            }
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
        jobs.any(|job| matches!(job.state, State::Waiting { .. }))
    }

    /// Whether any will be started, now or later. One that was stopped by request may be: who has
    /// stopped it is still there.
    pub(super) fn are_pending(&self) -> bool {
        let mut jobs = self.0.iter();
        let is_pending = |state| matches!(state, State::Waiting { .. } | State::Delayed(..));
        jobs.any(|job| job.is_held || is_pending(job.state))
    }
}

impl Job {
    /// It does not run, and comes to what was asked for.
    fn follow(&mut self, next: Next, now: Moment) {
        self.is_held = next == Next::Nothing;
        self.since = now;
        self.state = match next {
            Next::Nothing => State::Over(None),
            Next::Start => State::Delayed(now, Status::Exited(0)),
        };
    }
}

/// Why a container cannot become ready any more.
pub(super) struct Loss<'j>(Option<&'j Job>);

impl core::fmt::Display for Loss<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Some(job) = self.0 else { return Ok(()) };
        let id = &job.id;
        match job.state {
            State::Over(Some(status)) => write!(f, "{id} {status}, and is not ready"),
            State::Over(None) => write!(f, "{id} is not started"),
            _ => write!(f, "nobody hears any more whether {id} is ready"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::OWN_FAILURE;
    use crate::parse::config::OnExit;

    const NOW: Moment = Moment(0);

    fn jobs(names: &[&str]) -> Jobs {
        Jobs::new(names.iter().map(|name| Id::try_from(*name).unwrap()))
    }

    fn list(text: &str) -> List<'_> {
        List::parse(text, |_| true).unwrap_or_default()
    }

    fn policy<'l>(after: &'l str, requires: &'l str) -> Policy<'l> {
        Policy {
            restart: Restart::No,
            on_exit: OnExit::Continue,
            stop_timeout: None,
            raw_output: false,
            ready: ReadyBy::Started,
            after: list(after),
            requires: list(requires),
        }
    }

    /// The bundle of the first asks for this.
    fn set_restart(jobs: &mut Jobs, restart: Restart) {
        let policy = Policy {
            restart,
            ..policy("", "")
        };
        assert_eq!(jobs.follow(0, &policy), Ok(false));
    }

    /// Jobs `a`, `b`, … that wait for those whose letters follow: capital ones are required.
    fn waiting(waits: &[&str]) -> Jobs {
        let mut jobs = jobs(&["a", "b", "c", "d", "e"][..waits.len()]);
        for (index, others) in waits.iter().enumerate() {
            assert!(!jobs.are_all_read());
            let ids = |wanted: fn(&char) -> bool| {
                let ids = others.chars().filter(wanted);
                let ids: Vec<_> = ids.map(|id| id.to_lowercase().to_string()).collect();
                ids.join(",")
            };
            let (after, requires) = (ids(char::is_ascii_lowercase), ids(char::is_ascii_uppercase));
            let waits = jobs.follow(index, &policy(&after, &requires));
            assert_eq!(waits, Ok(!others.is_empty()));
        }
        assert!(jobs.are_all_read());
        jobs
    }

    /// The same, of which the last is ready by this, and restarted if it fails.
    fn ready_by(ready: ReadyBy, waits: &[&str]) -> Jobs {
        let mut jobs = waiting(waits);
        let last = waits.len() - 1;
        let policy = Policy {
            restart: Restart::OnFailure { max: Some(1) },
            ready,
            ..policy("", "")
        };
        assert_eq!(jobs.follow(last, &policy), Ok(false));
        jobs.set_starting(last);
        jobs
    }

    fn due(jobs: &Jobs) -> Option<usize> {
        jobs.due(NOW, &|_| true)
    }

    #[test]
    fn containers_are_found_by_their_names() {
        let mut jobs = jobs(&["db", "web", "www"]);
        assert_eq!(jobs.follow(0, &policy("web,www", "www")), Ok(true));
        assert_eq!(jobs.after(0), Set::from_iter([1, 2]));
        assert_eq!(jobs.required_by(0), Set::from_iter([2]));
        assert_eq!(jobs.follow(1, &policy("", "")), Ok(false));
        let unknown = |key, name| Err(Unknown { key, name });
        let found = jobs.follow(2, &policy("db,wep", ""));
        assert_eq!(found, unknown("berth.after", "wep"));
        let found = jobs.follow(1, &policy("", "db,dp"));
        assert_eq!(found, unknown("berth.requires", "dp"));
        // The order is that of the first start alone, and what is required is of each.
        assert_eq!(jobs.follow(0, &policy("web", "")), Ok(false));
        assert_eq!(jobs.follow(0, &policy("web", "www")), Ok(true));
    }

    #[test]
    fn the_network_is_no_container() {
        let mut jobs = jobs(&["network", "web"]);
        let unknown = Err(Unknown {
            key: "berth.requires",
            name: "network",
        });
        assert_eq!(jobs.follow(1, &policy("network", "network")), unknown);
        assert_eq!(jobs.follow(0, &policy("", "")), Ok(false));
    }

    #[test]
    fn one_that_requires_another_is_started_when_that_is_ready() {
        let ended = |status| Status::Exited(status);
        for (ready, is_started) in [
            (ReadyBy::Started, true),
            (ReadyBy::Exited, false),
            (ReadyBy::Answer, false),
        ] {
            let mut jobs = ready_by(ready, &["B", ""]);
            assert_eq!((due(&jobs), jobs.unmet()), (None, None), "{ready:?}");
            assert!(!jobs.set_ready(1), "{ready:?}");
            jobs.set_running(1, NOW);
            assert_eq!(due(&jobs).is_some(), is_started, "{ready:?}");
            let is_told = jobs.set_ready(1);
            assert_eq!(is_told, ready == ReadyBy::Answer);
            assert_eq!(due(&jobs).is_some(), ready != ReadyBy::Exited, "{ready:?}");
            assert!(!jobs.set_ready(1), "{ready:?}");

            // It fails, and is restarted: what was said has to be said again.
            assert!(!jobs.is_ready_by_end(1, ended(7)));
            assert!(jobs.set_ended(1, ended(7), Phase::Running, NOW).is_some());
            assert_eq!(due(&jobs).is_some(), is_started, "{ready:?}");
            assert_eq!(jobs.unmet(), None);
            jobs.set_starting(1);
            jobs.set_running(1, NOW);
            assert_eq!(due(&jobs).is_some(), is_started, "{ready:?}");

            // It ends well.
            let is_ready = jobs.is_ready_by_end(1, ended(0));
            assert_eq!(is_ready, ready == ReadyBy::Exited);
            assert_eq!(jobs.set_ended(1, ended(0), Phase::Running, NOW), None);
            let is_lost = ready == ReadyBy::Answer;
            assert_eq!(due(&jobs).is_some(), !is_lost, "{ready:?}");
            assert_eq!(jobs.unmet(), is_lost.then_some((0, 1)), "{ready:?}");
        }
    }

    #[test]
    fn what_was_ready_once_stays_so_while_it_is_restarted() {
        let mut jobs = ready_by(ReadyBy::Exited, &["B", ""]);
        jobs.set_running(1, NOW);
        assert!(jobs.is_ready_by_end(1, Status::Exited(0)));
        jobs.set_starting(1);
        assert_eq!(due(&jobs), Some(0));
        assert!(!jobs.is_ready_by_end(1, Status::Exited(0)));
    }

    #[test]
    fn what_requires_one_that_failed_is_given_up_with_what_requires_that() {
        let mut jobs = waiting(&["B", "C", "", "b"]);
        jobs.set_starting(2);
        assert_eq!(jobs.unmet(), None);
        jobs.set_failed(2);
        let mut given_up = Vec::new();
        while let Some((index, other)) = jobs.unmet() {
            given_up.push((index, jobs.loss(other).to_string()));
            jobs.set_failed(index);
        }
        let expected = [(1, "c is not started"), (0, "b is not started")];
        assert_eq!(
            given_up,
            expected.map(|(index, why)| (index, why.to_owned()))
        );
        // To be started after it is an order and no condition.
        assert_eq!(due(&jobs), Some(3));
    }

    #[test]
    fn it_is_told_why_a_container_cannot_become_ready() {
        let bad = Status::Exited(7);
        let mut jobs = ready_by(ReadyBy::Exited, &["B", ""]);
        for _ in 0..2 {
            assert_eq!(jobs.unmet(), None);
            jobs.set_running(1, NOW);
            jobs.set_ended(1, bad, Phase::Running, NOW);
        }
        assert_eq!(jobs.unmet(), Some((0, 1)));
        let loss = jobs.loss(1).to_string();
        assert_eq!(loss, "b ended with status 7, and is not ready");

        let mut jobs = ready_by(ReadyBy::Answer, &["B", ""]);
        assert!(!jobs.set_unheard(1));
        jobs.set_running(1, NOW);
        assert!(jobs.set_unheard(1) && !jobs.set_ready(1));
        assert_eq!(jobs.unmet(), Some((0, 1)));
        let loss = jobs.loss(1).to_string();
        assert_eq!(loss, "nobody hears any more whether b is ready");
        // The next run has another who listens.
        jobs.set_ended(1, bad, Phase::Running, NOW);
        assert_eq!(jobs.unmet(), None);
        jobs.set_starting(1);
        jobs.set_running(1, NOW);
        assert!(jobs.set_ready(1) && !jobs.set_unheard(1));
        assert_eq!(due(&jobs), Some(0));
    }

    #[test]
    fn what_was_stopped_by_request_may_be_ready_when_it_is_started_again() {
        let mut jobs = ready_by(ReadyBy::Answer, &["B", ""]);
        jobs.set_running(1, NOW);
        assert!(jobs.set_ready(1));
        assert_eq!(jobs.stop(1, Next::Nothing, NOW), Ending::Later);
        assert_eq!(
            jobs.set_ended(1, Status::Killed(15), Phase::Running, NOW),
            None
        );
        assert_eq!((due(&jobs), jobs.unmet()), (None, None));
        jobs.start_again(1, NOW);
        jobs.set_starting(1);
        jobs.set_running(1, NOW);
        assert_eq!(due(&jobs), None);
        assert!(jobs.set_ready(1));
        assert_eq!(due(&jobs), Some(0));
    }

    #[test]
    fn machine_that_ends_has_nobody_wait_for_what_is_not_ready() {
        let mut jobs = ready_by(ReadyBy::Answer, &["B", ""]);
        jobs.set_running(1, NOW);
        jobs.abandon(|_| unreachable!("none rests"));
        jobs.set_ended(1, Status::Killed(15), Phase::Running, NOW);
        assert!(!jobs.are_waiting() && jobs.unmet().is_none() && due(&jobs).is_none());
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
        const AFTER: &str = "berth.after forms a cycle: ";
        const REQUIRES: &str = "berth.requires forms a cycle: ";
        const BOTH: &str = "berth.after and berth.requires form a cycle: ";
        for (waits, keys, expected) in [
            (&["a"][..], AFTER, &[(0, "a, a")][..]),
            (&["A"], REQUIRES, &[(0, "a, a")]),
            (&["b", "a"], AFTER, &[(0, "a, b, a"), (1, "b, a, b")]),
            (&["B", "A"], REQUIRES, &[(0, "a, b, a"), (1, "b, a, b")]),
            (&["B", "a"], BOTH, &[(0, "a, b, a"), (1, "b, a, b")]),
            (&["B", "cC", "b"], AFTER, &[(1, "b, c, b"), (2, "c, b, c")]),
            (
                &["be", "c", "a", "", "d"],
                AFTER,
                &[(0, "a, b, c, a"), (1, "b, c, a, b"), (2, "c, a, b, c")],
            ),
            (
                &["bc", "d", "a", "a"],
                AFTER,
                &[
                    (0, "a, c, a"),
                    (1, "b, d, a, b"),
                    (2, "c, a, c"),
                    (3, "d, a, b, d"),
                ],
            ),
            (&["b", "c", "", "abc"], AFTER, &[]),
            (&["B", "c", "", "aBC"], BOTH, &[]),
        ] {
            let jobs = waiting(waits);
            let found: Vec<_> = jobs
                .cycles()
                .iter()
                .map(|index| (index, jobs.cycle_through(index).as_str().to_owned()))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(index, way)| (*index, format!("{keys}{way}")))
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
        set_restart(&mut jobs, Restart::Always);
        let bad = Status::Exited(1);
        let again = jobs.set_ended(0, bad, Phase::Running, NOW);
        assert_eq!(again, Some((1, Duration::from_millis(100))));
        let until = Moment(100_000);
        assert_eq!(jobs.deadline(|_| true), Some(until));
        assert_eq!(jobs.deadline(|_| false), None);
        assert_eq!(jobs.due(Moment(99_999), &|_| true), None);
        assert_eq!(jobs.due(until, &|_| false), None);
        assert_eq!(jobs.due(until, &|_| true), Some(0));
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
        for (restart, expected) in [
            (None, 5),
            (Some(Restart::No), 0),
            (Some(Restart::OnFailure { max: Some(2) }), 2),
        ] {
            let mut jobs = jobs(&["a"]);
            if let Some(restart) = restart {
                set_restart(&mut jobs, restart);
            }
            let mut lack = || jobs.set_ended(0, starved, Phase::Running, NOW);
            let counts = core::iter::from_fn(|| lack().map(|(count, _)| count));
            assert_eq!(counts.count(), expected, "{restart:?}");
            assert!(!jobs.are_pending());
        }
        let mut jobs = jobs(&["a"]);
        set_restart(&mut jobs, Restart::Always);
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
        set_restart(&mut jobs, Restart::Always);
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
        assert_eq!(jobs.due(NOW, &|_| false), None);
        assert_eq!(due(&jobs), Some(0));
        jobs.set_running(0, NOW);
        let again = jobs.set_ended(0, killed, Phase::Running, NOW);
        assert!(again.is_some() && !jobs.is_held(0));
    }

    #[test]
    fn one_that_is_restarted_by_request_is_started_at_once_whatever_its_policy() {
        let mut jobs = jobs(&["a"]);
        set_restart(&mut jobs, Restart::No);
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
