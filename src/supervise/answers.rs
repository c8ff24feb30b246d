//! What the runs of `berth` that start containers and clear them away answer.
//!
//! `berth` has read what strangers wrote, so it may answer anything. An answer that is wrong costs
//! the start that it is about.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::Pid;

use super::Supervisor;
use super::slots::{GroupOutcome, ProcessOutcome};
use super::start::is_transient;
use super::workers::Work;
use crate::error::{Code, During, Op, Stage};
use crate::parse::answer::{ANSWER_MAX, Answer};
use crate::sys::buffer::Buffer;
use crate::sys::process::Status;
use crate::sys::{clock, kmsg};

/// So many answers are read at once. Others get their turn in between.
pub(super) const ANSWERS_PER_TURN: usize = 16;

/// So many of those that a process has left behind: more than a socket holds.
pub(super) const ANSWERS_LEFT: usize = 4096;

/// What is wrong with an answer.
#[derive(Clone, Copy)]
struct Wrong(&'static str);

/// It cannot be read, or it was not its turn.
const NONSENSE: Wrong = Wrong("has answered what cannot be understood");

/// It names a process, but not one that it has made.
const FOREIGN: Wrong = Wrong("has named a process that it has not made");

impl Supervisor<'_, '_> {
    /// Reads what has been answered of the container at `index`, so many answers at most.
    #[inline(never)]
    pub(super) fn read_answers(&mut self, index: usize, most: usize) {
        let mut buffer = Buffer::<ANSWER_MAX>::new();
        let Ok(room) = buffer.bytes_mut() else {
            // It comes again with the next turn.
            return;
        };
        for _ in 0..most {
            let (len, descriptor) = match self.slots.next_answer(index, room) {
                None => return,
                Some(Ok(packet)) => packet,
                Some(Err(_)) => return self.give_up_start(index, NONSENSE.0),
            };
            if len == 0 {
                return self.slots.close_answers(&self.epoll, index);
            }
            let packet = room.get(..len).unwrap_or_default();
            let accepted = match (Answer::parse(packet), descriptor) {
                (Some(Answer::Group), Some(group)) => self.set_group(index, group),
                (Some(answer), None) => self.accept(index, &answer),
                _ => Err(NONSENSE),
            };
            if let Err(Wrong(why)) = accepted {
                return self.give_up_start(index, why);
            }
        }
    }

    /// Reads what the run of `berth` at `place`, which is of no container, has answered; so many
    /// answers at most.
    #[inline(never)]
    pub(super) fn read_worker(&mut self, place: usize, most: usize) {
        let mut buffer = Buffer::<ANSWER_MAX>::new();
        let Ok(room) = buffer.bytes_mut() else {
            return;
        };
        for _ in 0..most {
            let len = match self.workers.next_answer(place, room) {
                None => return,
                Some(Ok((len, None))) if len > 0 => len,
                // It has ended, and has not read what it was told last. What it has answered is
                // read behind this.
                Some(Err(Errno::CONNRESET)) => continue,
                // The end, or nothing that could be meant for PID 1.
                Some(_) => return self.workers.close_answers(&self.epoll, place),
            };
            let packet = room.get(..len).unwrap_or_default();
            if let (Some(work), Some(answer)) = (self.workers.work(place), Answer::parse(packet)) {
                self.accept_from_worker(work, &answer);
            }
        }
    }

    /// Does what follows from the answer of a run for `work`.
    fn accept_from_worker(&mut self, work: Work, answer: &Answer<'_>) {
        let journal = &mut self.machine.journal;
        match (work, answer) {
            (_, Answer::Warning(text)) => journal.warn(Stage::Containers, format_args!("{text}")),
            (Work::Freeze | Work::Thaw, Answer::Failed(error, _)) => {
                self.freezer.note_failure(error);
            }
            (_, Answer::Failed(error, hint)) => {
                journal.warn_of(error);
                if !hint.is_empty() {
                    kmsg::warning(Stage::Containers, format_args!("  {hint}"));
                }
            }
            (_, Answer::Notice(text)) => kmsg::notice(Stage::Containers, format_args!("{text}")),
            (Work::Network, Answer::Network(change)) => self.network_changed(change),
            (Work::Carry | Work::Freeze, Answer::Machine(change)) => self.machine_changed(change),
            (Work::Thaw, Answer::Machine(change)) => {
                self.machine_changed(change);
                self.let_thaw();
            }
            (Work::Disks, Answer::Disk(disk, failure)) => {
                let failure = failure.as_ref().map(|(error, hint)| (error, *hint));
                journal.disk(disk, failure);
            }
            // Answers about containers are not their business.
            _ => {}
        }
    }

    /// The run of `berth` at `place`, which is of no container, has ended.
    pub(super) fn worker_ended(&mut self, place: usize, status: Status) {
        let work = self.workers.work(place);
        self.workers.remove(&self.epoll, place);
        match work {
            Some(Work::Control) => self.control_ended(status == Status::Exited(0)),
            Some(Work::Disks) => self.disks_ended(status),
            Some(work @ (Work::Network | Work::LogFiles)) => self.lasting_ended(work, status),
            Some(Work::Freeze | Work::Thaw) => self.freeze_ended(status),
            // What it has not done it has told.
            Some(Work::Carry) | None => {}
        }
    }

    /// Keeps the control group of the container at `index`, if no other container has it.
    fn set_group(&mut self, index: usize, group: OwnedFd) -> Result<(), Wrong> {
        let other = match self.slots.set_group(index, group) {
            GroupOutcome::Accepted => return Ok(()),
            GroupOutcome::Unexpected => return Err(NONSENSE),
            GroupOutcome::InUse(other) => other,
        };
        let id = self.jobs.id(index);
        let fault = Err::<(), _>(Errno::BUSY).during(
            Op::Create,
            format_args!("the control group of {id}, which {other} has"),
        );
        if let Err(fault) = fault
            && self.slots.give_up(&self.epoll, index)
        {
            let error = fault.at(Code::ContainerSetup);
            self.start_failed(index, &error, true);
        }
        Ok(())
    }

    /// Does what follows from an answer.
    fn accept(&mut self, index: usize, answer: &Answer<'_>) -> Result<(), Wrong> {
        match answer {
            Answer::Policy(policy) => {
                if !self.slots.set_policy(index, policy) {
                    return Err(NONSENSE);
                }
                self.logs.resize(index, policy.log_size);
                self.follow_policy(index, policy);
            }
            Answer::Warning(text) => self
                .machine
                .journal
                .warn(Stage::Containers, format_args!("{text}")),
            Answer::Notice(text) => kmsg::notice(Stage::Containers, format_args!("{text}")),
            Answer::Group | Answer::Network(_) | Answer::Machine(_) | Answer::Disk(..) => {
                return Err(NONSENSE);
            }
            Answer::Process(pid) => self.set_first_process(index, *pid, false)?,
            Answer::Started(pid) => {
                self.set_first_process(index, *pid, true)?;
                self.started += usize::from(self.jobs.set_running(index, clock::now()));
                let id = self.jobs.id(index);
                self.machine.journal.container_started(&id, *pid);
            }
            Answer::Ready => {
                if !self.jobs.set_ready(index) {
                    return Err(NONSENSE);
                }
                let id = self.jobs.id(index);
                self.machine.journal.container_ready(&id);
                // Before its end is heard of, which may come as soon.
                self.let_go();
            }
            Answer::Failed(error, hint) => match self.slots.set_failed(index) {
                true => self.start_failed_with_hint(index, error, hint, is_transient(error)),
                false => self
                    .machine
                    .journal
                    .warn(Stage::Containers, format_args!("{error}")),
            },
        }
        Ok(())
    }

    /// Keeps which process is the first of the container at `index`.
    fn set_first_process(&mut self, index: usize, pid: i32, runs: bool) -> Result<(), Wrong> {
        let pid = Pid::from_raw(pid).ok_or(NONSENSE)?;
        match self.slots.set_first_process(index, pid, runs) {
            ProcessOutcome::Accepted => Ok(()),
            ProcessOutcome::Foreign => Err(FOREIGN),
            ProcessOutcome::Unexpected => Err(NONSENSE),
        }
    }
}
