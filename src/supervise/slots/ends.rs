//! Ends: what becomes of a slot when the container's first process has ended, or has to.

use core::time::Duration;

use rustix::fd::{AsFd, OwnedFd};

use super::Slots;
use super::slot::{Slot, State, signal_child};
use crate::container::Group;
use crate::error::Fault;
use crate::parse::config::OnExit;
use crate::supervise::berth;
use crate::sys::clock::{self, Moment};
use crate::sys::epoll::Epoll;
use crate::sys::signal;

/// How long it is until it is tried again to clear a container away.
const CLEARING: Duration = Duration::from_secs(1);

/// What the time has come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervise) enum Late {
    /// To give its start up.
    Start,
    /// To kill it: it was asked to end.
    Stop,
    /// To clear away what is left of it.
    Clearing,
}

/// A container whose first process has ended.
pub(in crate::supervise) struct Ended {
    pub(in crate::supervise) out_of_memory: bool,
    pub(in crate::supervise) on_exit: OnExit,
}

impl Slots {
    /// The first process of the container at `index` has ended. Kills what is left of it. `None` if
    /// its program did not run.
    pub(in crate::supervise) fn end(&mut self, epoll: &Epoll, index: usize) -> Option<Ended> {
        let slot = self.at(index)?;
        let State::Running(_) = slot.state else {
            // The `berth` that starts it reports why.
            if let State::SettingUp(deadline, _) = slot.state {
                slot.state = State::SettingUp(deadline, None);
            }
            return None;
        };
        slot.state = State::Over;
        slot.is_left = true;
        slot.output
            .iter_mut()
            .for_each(|output| output.close(epoll));
        let group = slot.group.take();
        if let Some(group) = &group {
            // Without a PID namespace its children outlive the first process.
            let _ = group.kill();
        }
        Some(Ended {
            out_of_memory: group.as_ref().is_some_and(Group::had_oom_kill),
            on_exit: slot.on_exit,
        })
    }

    /// Has what is left of the container at `index` cleared away, or empties the slot: if it is
    /// over, and nobody works on it any more.
    ///
    /// # Errors
    /// Those of a start of `berth`, the first time. It is tried again later.
    pub(in crate::supervise) fn clear(
        &mut self,
        epoll: &Epoll,
        index: usize,
        program: Option<&OwnedFd>,
    ) -> Result<(), Fault> {
        let Some(place) = self.slots.get_mut(index) else {
            return Ok(());
        };
        let Some(slot) = place else { return Ok(()) };
        let is_busy = slot.starter.is_some() || slot.cleaner.is_some();
        if slot.state != State::Over || is_busy {
            return Ok(());
        }
        let is_left = core::mem::take(&mut slot.is_left);
        let was_tried = slot.clear_at.take().is_some();
        let Some(program) = program.filter(|_| is_left) else {
            *place = None;
            return Ok(());
        };
        slot.close_answers(epoll);
        match berth::end(program.as_fd(), &slot.id) {
            Ok(run) => {
                slot.cleaner = Some(run.pid);
                slot.answers = Some(run.answers);
                slot.watch_answers(epoll, index)
            }
            Err(fault) => {
                // The machine lacks something that may be there later.
                slot.is_left = true;
                slot.clear_at = Some(clock::now() + CLEARING);
                if was_tried { Ok(()) } else { Err(fault) }
            }
        }
    }

    /// The run that cleared the container at `index` away has ended.
    pub(in crate::supervise) fn cleaner_ended(&mut self, epoll: &Epoll, index: usize) {
        if let Some(slot) = self.at(index) {
            slot.cleaner = None;
            slot.close_answers(epoll);
        }
    }

    /// When the next start has taken too long, or the next container is to be cleared away.
    pub(in crate::supervise) fn deadline(&self) -> Option<Moment> {
        self.used().filter_map(Slot::deadline).min()
    }

    /// One whose deadline has come, and for what.
    pub(in crate::supervise) fn late(&self, now: Moment) -> Option<(usize, Late)> {
        self.slots.iter().enumerate().find_map(|(index, slot)| {
            let slot = slot.as_ref()?;
            slot.deadline().filter(|deadline| *deadline <= now)?;
            let late = match slot.state {
                State::Over => Late::Clearing,
                State::Running(_) => Late::Stop,
                _ => Late::Start,
            };
            Some((index, late))
        })
    }

    /// Asks the container at `index` to end, and has it killed when its time is over: what its
    /// bundle says, or else `default`.
    pub(in crate::supervise) fn stop(&mut self, index: usize, default: Duration) {
        if let Some(slot) = self.at(index) {
            slot.signal(signal::TERM);
            let timeout = slot.stop_timeout.unwrap_or(default);
            slot.kill_at = Some(clock::now() + timeout);
        }
    }

    /// Kills the container at `index`, whose time to end is over.
    pub(in crate::supervise) fn kill(&mut self, index: usize) {
        if let Some(slot) = self.at(index) {
            slot.kill_at = None;
            slot.kill();
        }
    }

    /// Sends `signal` to the first process of the container at `index`. False if there is none.
    pub(in crate::supervise) fn signal(&mut self, index: usize, signal: u32) -> bool {
        let slot = self.at(index);
        slot.filter(|slot| slot.first_process().is_some())
            .map(|slot| slot.signal(signal))
            .is_some()
    }

    /// Asks every container to end.
    pub(in crate::supervise) fn ask_all(&self) {
        self.used().for_each(|slot| slot.signal(signal::TERM));
    }

    /// Kills every container.
    pub(in crate::supervise) fn kill_all(&self) {
        for slot in self.used() {
            slot.kill();
            signal_child(slot.starter, signal::KILL);
            signal_child(slot.cleaner, signal::KILL);
        }
    }

    /// The longest time that any container has to end.
    pub(in crate::supervise) fn longest_stop_timeout(&self, default: Duration) -> Duration {
        let timeouts = self.used().map(|slot| slot.stop_timeout);
        timeouts
            .map(|timeout| timeout.unwrap_or(default))
            .max()
            .unwrap_or(default)
    }
}
