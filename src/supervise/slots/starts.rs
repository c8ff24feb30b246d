//! Starts: what becomes of a slot until the container's program runs.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Pid;

use super::slot::{Slot, State, number_of, signal_child};
use super::{Role, Slots};
use crate::container::{Group, Id};
use crate::error::{Code, Error, Fault, Op};
use crate::parse::answer::{Policy, ReadyBy};
use crate::supervise::berth::{Output, Run};
use crate::sys::epoll::Epoll;
use crate::sys::pidfd::Process;
use crate::sys::process::Status;
use crate::sys::{signal, socket};

/// What became of a control group that `berth` has sent.
pub(in crate::supervise) enum GroupOutcome {
    /// It is the container's.
    Accepted,
    /// It is that of this container.
    InUse(Id),
    /// It is no group, or none was expected.
    Unexpected,
}

/// What became of a process that `berth` has named as a container's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervise) enum ProcessOutcome {
    /// It is that.
    Accepted,
    /// It is not a process that this `berth` has made.
    Foreign,
    /// None was expected.
    Unexpected,
}

impl Slots {
    /// Takes a new container in, and watches it.
    ///
    /// # Errors
    /// Those of epoll_ctl(2). Its start is given up then.
    pub(in crate::supervise) fn add(
        &mut self,
        epoll: &Epoll,
        index: usize,
        id: &Id,
        (run, output): (Run, Output),
    ) -> Result<(), Fault> {
        // There are as many slots as bundles.
        while self.slots.len() <= index && self.slots.push(None).is_ok() {}
        let Some(place) = self.slots.get_mut(index) else {
            return Ok(());
        };
        let slot = place.insert(Slot::new(id, run, output));
        let watched = slot.watch(epoll, index, self.is_output_read);
        if watched.is_err() {
            slot.give_up(epoll);
        }
        watched
    }

    /// The next packet of what is answered of the container at `index`, and a descriptor that came
    /// with it; `None` if there is none now. No bytes are the end.
    pub(in crate::supervise) fn next_answer(
        &mut self,
        index: usize,
        room: &mut [u8],
    ) -> Option<Result<socket::Packet, Errno>> {
        let answers = self.at(index)?.answers.as_ref()?;
        socket::packet_if_any(answers, room)
    }

    /// Closes the connection to the `berth` that works on the container at `index`.
    pub(in crate::supervise) fn close_answers(&mut self, epoll: &Epoll, index: usize) {
        if let Some(slot) = self.at(index) {
            slot.close_answers(epoll);
        }
    }

    /// The same, and ends that `berth`: it may have stayed to say something more.
    pub(in crate::supervise) fn dismiss(&mut self, epoll: &Epoll, index: usize) {
        if let Some(slot) = self.at(index) {
            slot.close_answers(epoll);
            signal_child(slot.starter, signal::KILL);
        }
    }

    /// Keeps what the bundle of the container at `index` asks for; it waits for its turn now. False
    /// if it was not being read.
    pub(in crate::supervise) fn set_policy(&mut self, index: usize, policy: &Policy<'_>) -> bool {
        let Some(slot) = self.at(index) else {
            return false;
        };
        if !matches!(slot.state, State::Reading(_)) {
            return false;
        }
        slot.state = State::Waiting;
        slot.on_exit = policy.on_exit;
        slot.stop_timeout = policy.stop_timeout;
        slot.is_raw = policy.raw_output;
        slot.has_listener = policy.ready == ReadyBy::Answer;
        true
    }

    /// Has the start of the container at `index`, which waits, go on.
    pub(in crate::supervise) fn go(&mut self, index: usize) {
        if let Some(slot) = self.at(index) {
            slot.go();
        }
    }

    /// Keeps the control group of the container at `index`.
    pub(in crate::supervise) fn set_group(&mut self, index: usize, group: OwnedFd) -> GroupOutcome {
        let Ok(group) = Group::try_from(group) else {
            return GroupOutcome::Unexpected;
        };
        let has_it = |slot: &&Slot| slot.group.as_ref().is_some_and(|own| own.is(&group));
        if let Some(other) = self.used().find(has_it) {
            return GroupOutcome::InUse(other.id.clone());
        }
        match self.at(index) {
            Some(slot) if matches!(slot.state, State::SettingUp(..)) => {
                slot.group = Some(group);
                slot.send_go();
                GroupOutcome::Accepted
            }
            _ => GroupOutcome::Unexpected,
        }
    }

    /// Keeps which process is the first of the container at `index`; its program `runs` or will.
    ///
    /// `berth` has read what strangers wrote, so PID 1 looks for itself whose process that is
    /// before it signals it or takes its end for the container's.
    #[inline(never)]
    pub(in crate::supervise) fn set_first_process(
        &mut self,
        index: usize,
        pid: Pid,
        runs: bool,
    ) -> ProcessOutcome {
        let Some(Some(slot)) = self.slots.get(index) else {
            return ProcessOutcome::Unexpected;
        };
        let State::SettingUp(deadline, known) = slot.state else {
            return ProcessOutcome::Unexpected;
        };
        let process = match known {
            Some(known) if known == pid => Some(pid),
            Some(_) => return ProcessOutcome::Foreign,
            None => match Process::open(number_of(pid)) {
                Ok(process) if self.is_made_by(slot, pid, &process) => Some(pid),
                // It has failed since then, and was reaped by the `berth` that reports why.
                Err(_) if !runs => None,
                _ => return ProcessOutcome::Foreign,
            },
        };
        let state = match (process, runs) {
            (Some(first), true) => State::Running(first),
            (process, _) => State::SettingUp(deadline, process),
        };
        if let Some(slot) = self.at(index) {
            slot.state = state;
        }
        ProcessOutcome::Accepted
    }

    /// Whether the process with number `pid` was made by the run of `berth` that starts the
    /// container in `slot`.
    ///
    /// * A child of that run was.
    /// * When the run has ended, its children are PID 1's, as those of other runs are. Such a
    ///   process has to be in the control group of the container, and to be no process of a
    ///   container that is known already.
    fn is_made_by(&self, slot: &Slot, pid: Pid, process: &Process) -> bool {
        let parent = process.parent();
        let is_child = |starter: Pid| parent == Some(starter.as_raw_nonzero().get());
        if slot.starter.is_some_and(is_child) {
            return true;
        }
        let is_in = |group: &Group| process.is_in_group(group.as_fd());
        slot.is_parent(parent) && slot.group.as_ref().is_none_or(is_in) && self.find(pid).is_none()
    }

    /// There will be no program of the container at `index`, and what was made of it was undone.
    /// False if one runs, or the start was given up before.
    pub(in crate::supervise) fn set_failed(&mut self, index: usize) -> bool {
        let Some(slot) = self.at(index).filter(|slot| slot.is_starting()) else {
            return false;
        };
        slot.state = State::Over;
        true
    }

    /// Gives up the start of the container at `index`. False if there is none.
    pub(in crate::supervise) fn give_up(&mut self, epoll: &Epoll, index: usize) -> bool {
        let Some(slot) = self.at(index).filter(|slot| slot.is_starting()) else {
            return false;
        };
        slot.give_up(epoll);
        true
    }

    /// Gives up all that wait for their turn.
    pub(in crate::supervise) fn give_up_waiting(&mut self, epoll: &Epoll) {
        for slot in self.slots.iter_mut().flatten() {
            if matches!(slot.state, State::Reading(_) | State::Waiting) {
                slot.give_up(epoll);
            }
        }
    }

    /// The run that started the container at `index` has ended. Why there is no program, if it has
    /// not said so.
    pub(in crate::supervise) fn starter_ended(
        &mut self,
        epoll: &Epoll,
        index: usize,
        status: Status,
    ) -> Option<Error> {
        let slot = self.at(index)?;
        slot.starter = None;
        if !slot.is_starting() {
            slot.close_answers(epoll);
            return None;
        }
        let error = Error::new(
            Code::BerthFailed,
            Op::Wait,
            format_args!("the start of {}", slot.id),
            format_args!("berth, which starts it, {status}, and has not said why"),
        );
        slot.give_up(epoll);
        Some(error)
    }

    /// The index of the container that the process `pid` is of, and its role there.
    pub(in crate::supervise) fn find(&self, pid: Pid) -> Option<(usize, Role)> {
        self.slots.iter().enumerate().find_map(|(index, slot)| {
            let slot = slot.as_ref()?;
            let roles = [
                (slot.first_process(), Role::First),
                (slot.starter, Role::Starter),
                (slot.cleaner, Role::Cleaner),
            ];
            let (_, role) = roles.into_iter().find(|(own, _)| *own == Some(pid))?;
            Some((index, role))
        })
    }
}
