//! What is to be started, and when: each container once, after those that it waits for
//! (`berth.after`), when those are ready that it requires (`berth.requires`), and perhaps again
//! (`berth.restart`).
//!
//! * To wait for another is an order, not a condition: it is over when it is known whether the
//!   other's program runs. If the other could not be started, this one is started all the same.
//! * To require another is a condition, of a restart too: when the other cannot become ready any
//!   more, this one is not started, and neither is what requires this one.
//! * The network of the machine can be required like a container. If nothing sets it up, it cannot
//!   become ready. If it is late, each container that waits for it is reported, and waits on.
//! * A container that waits for itself, directly or by way of others, is refused. Containers that
//!   wait for it do so no longer.
//!
//! What was started or has ended with status 0 once is ready for good, and so is the network once
//! all was there that is asked for. What is ready because it
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
use crate::parse::request::{Condition, Row};
use crate::sys::clock::{self, Moment};
use crate::sys::mapped::Mapped;
use crate::sys::process::Status;
use crate::text::Text;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits until it is known of some whether their programs run, and until others are ready.
    Waiting {
        after: Set,
        requires: Set,
        network: bool,
    },
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
        network: false,
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

/// How far the network of the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    /// Nothing sets it up.
    Absent,
    /// It is being set up.
    Pending,
    /// It is being set up, and something that `ip=` asks for is late.
    Late,
    /// All that `ip=` asks for was there once.
    Ready,
}

/// What a container requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Required {
    /// The container at this place.
    Container(usize),
    Network,
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
    /// It was reported that this container waits for a network which is late.
    is_late: bool,
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

/// What stands in `berth.requires` for the machine's network, and is no container.
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
            is_late: false,
            since: clock::now(),
        }
    }
}

/// All containers, in the order of their names; those whose bundles came after the boot behind
/// them.
pub(super) struct Jobs {
    all: Mapped<Job, BUNDLES_MAX>,
    network: Network,
}

impl Jobs {
    /// No container yet.
    pub(super) fn new() -> Self {
        Self {
            all: Mapped::new(),
            network: Network::Absent,
        }
    }

    /// The network is so from now on; what was ready once stays so.
    pub(super) fn set_network(&mut self, network: Network) {
        if self.network != Network::Ready {
            self.network = network;
        }
    }

    pub(super) fn indices(&self) -> core::ops::Range<usize> {
        0..self.all.len()
    }

    pub(super) fn id(&self, index: usize) -> Id {
        self.all
            .get(index)
            .map(|job| job.id.clone())
            .unwrap_or_default()
    }

    fn set(&mut self, index: usize, state: State) {
        if let Some(job) = self.all.get_mut(index) {
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
        if let Some(job) = self.all.get_mut(index) {
            (job.restart, job.ready_by) = (policy.restart, policy.ready);
            job.is_late = false;
        }
        let after = match was_read {
            true => Set::EMPTY,
            false => self.places("berth.after", policy.after.iter())?,
        };
        let is_network = |name: &&str| *name == NETWORK;
        let requires = policy.requires.iter().filter(|name| !is_network(name));
        let requires = self.places(REQUIRES, requires)?;
        let state = State::Waiting {
            after,
            requires,
            network: policy.requires.iter().any(|name| is_network(&name)),
        };
        let waits = state != State::FREE;
        if waits {
            self.set(index, state);
            if let Some(job) = self.all.get_mut(index) {
                job.after = job.after.union(&after).union(&requires);
            }
        }
        Ok(waits)
    }

    /// The places of those that an annotation names.
    #[inline(never)]
    fn places<'l>(
        &self,
        key: &'static str,
        names: impl Iterator<Item = &'l str>,
    ) -> Result<Set, Unknown<'l>> {
        let find = |name| self.find(name).ok_or(Unknown { key, name });
        names.map(find).collect()
    }

    /// What the container waits for at first is known now; whether it was before.
    fn set_read(&mut self, index: usize) -> bool {
        let job = self.all.get_mut(index);
        job.is_none_or(|job| core::mem::replace(&mut job.is_read, true))
    }

    /// Whether that is known of all.
    pub(super) fn are_all_read(&self) -> bool {
        self.all.iter().all(|job| job.is_read)
    }

    /// The container is being set up.
    pub(super) fn set_starting(&mut self, index: usize) {
        self.set(index, State::Starting);
        self.set_unready(index);
    }

    /// It is not ready any more, unless it is for good.
    fn set_unready(&mut self, index: usize) {
        let said = |job: &&mut Job| job.ready_by == ReadyBy::Answer;
        if let Some(job) = self.all.get_mut(index).filter(said) {
            job.readiness = Readiness::Pending;
        }
    }

    /// The container's program runs. Whether for the first time.
    pub(super) fn set_running(&mut self, index: usize, now: Moment) -> bool {
        self.set(index, State::Running(now));
        self.become_ready(index, ReadyBy::Started);
        let had_run = |job: &mut Job| core::mem::replace(&mut job.has_run, true);
        !self.all.get_mut(index).is_some_and(had_run)
    }

    /// This has happened to the container, which may make it ready. Whether it does.
    fn become_ready(&mut self, index: usize, by: ReadyBy) -> bool {
        let can_be = |job: &&mut Job| job.ready_by == by && job.readiness == Readiness::Pending;
        let job = self.all.get_mut(index).filter(can_be);
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
        let job = self.all.get_mut(index).filter(matters);
        job.map(|job| job.readiness = Readiness::Unheard).is_some()
    }

    fn is_running(&self, index: usize) -> bool {
        let job = self.all.get(index);
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
        let job = self.all.get_mut(index)?;
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
        self.all.iter().position(|job| job.id == id)
    }

    /// Takes one more container in, to be started. False if there is no room.
    pub(super) fn add(&mut self, id: Id) -> bool {
        self.all.push(Job::new(id)).is_ok()
    }

    /// The container is started when nothing is left of its last run, as if it never had been.
    pub(super) fn start_again(&mut self, index: usize, now: Moment) {
        if let Some(job) = self.all.get_mut(index) {
            job.history = RestartHistory::NONE;
            job.readiness = Readiness::Pending;
            job.follow(Next::Start, now);
        }
    }

    /// The container is to end; `next` says what comes then.
    pub(super) fn stop(&mut self, index: usize, next: Next, now: Moment) -> Ending {
        let Some(job) = self.all.get_mut(index) else {
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
        self.all.get(index).is_some_and(|job| job.is_held)
    }

    /// How the container is.
    pub(super) fn condition(&self, index: usize) -> Condition {
        match self.all.get(index).map(|job| (job.state, job.is_held)) {
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
        let job = self.all.get(index)?;
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
        for job in self.all.iter_mut() {
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
        match self.all.get(index).map(|job| job.state) {
            Some(State::Waiting { after, .. }) => after,
            _ => Set::EMPTY,
        }
    }

    /// What it waits for until it is ready.
    fn required_by(&self, index: usize) -> Set {
        match self.all.get(index).map(|job| job.state) {
            Some(State::Waiting { requires, .. }) => requires,
            _ => Set::EMPTY,
        }
    }

    /// A container that waits, and what it requires that cannot become ready any more.
    #[inline(never)]
    pub(super) fn unmet(&self) -> Option<(usize, Required)> {
        let is_lost = |job: &Job| match job.readiness {
            // The operator who has stopped it may start it again.
            Readiness::Pending => matches!(job.state, State::Over(_)) && !job.is_held,
            Readiness::Ready => false,
            Readiness::Unheard => true,
        };
        let lost = self.those(is_lost);
        self.indices().find_map(|index| {
            let other = self.required_by(index).intersection(&lost).iter().next();
            let network = || self.waits_for_network(index) && self.network == Network::Absent;
            let required = match other {
                Some(other) => Required::Container(other),
                None => network().then_some(Required::Network)?,
            };
            Some((index, required))
        })
    }

    /// A container that waits for a network which is late, if that was not reported yet. From now
    /// on it counts as reported.
    #[inline(never)]
    pub(super) fn take_late(&mut self) -> Option<usize> {
        let is_late = |index: &usize| {
            let job = self.all.get(*index);
            self.waits_for_network(*index) && job.is_some_and(|job| !job.is_late)
        };
        let late = self.indices().filter(|_| self.network == Network::Late);
        let index = late.into_iter().find(is_late)?;
        self.all.get_mut(index)?.is_late = true;
        Some(index)
    }

    fn waits_for_network(&self, index: usize) -> bool {
        let state = self.all.get(index).map(|job| job.state);
        matches!(state, Some(State::Waiting { network: true, .. }))
    }

    /// Why a container cannot become ready any more.
    pub(super) fn loss(&self, index: usize) -> Loss<'_> {
        Loss(self.all.get(index))
    }

    fn those(&self, wanted: impl Fn(&Job) -> bool) -> Set {
        let jobs = self.all.iter().enumerate();
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
        let is_due = |index: &usize| match self.all.get(*index).map(|job| job.state) {
            Some(State::Waiting {
                after,
                requires,
                network,
            }) => {
                after.intersection(&unknown).is_empty()
                    && requires.difference(&ready).is_empty()
                    && (!network || self.network == Network::Ready)
            }
            Some(State::Delayed(until, _)) => until <= now && is_free(*index),
            _ => false,
        };
        self.indices().find(is_due)
    }

    /// When the next delay is over, of those containers that `is_free` says nothing is left of.
    pub(super) fn deadline(&self, is_free: impl Fn(usize) -> bool) -> Option<Moment> {
        let jobs = self.all.iter().enumerate();
        let deadlines = jobs.filter_map(|(index, job)| match job.state {
            State::Delayed(until, _) if is_free(index) => Some(until),
            _ => None,
        });
        deadlines.min()
    }

    /// Those that others waited for at their start which `need` them still.
    pub(super) fn needed(&self, need: impl Fn(usize) -> bool) -> Set {
        let needing = self
            .all
            .iter()
            .enumerate()
            .filter(|(index, _)| need(*index));
        needing.fold(Set::EMPTY, |all, (_, job)| all.union(&job.after))
    }

    /// Of those that `is_wanted`, the one that was started last.
    pub(super) fn youngest(&self, is_wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let jobs = self.all.iter().enumerate();
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
        let mut jobs = self.all.iter();
        jobs.any(|job| matches!(job.state, State::Waiting { .. }))
    }

    /// Whether any will be started, now or later. One that was stopped by request may be: who has
    /// stopped it is still there.
    pub(super) fn are_pending(&self) -> bool {
        let mut jobs = self.all.iter();
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
mod tests;
