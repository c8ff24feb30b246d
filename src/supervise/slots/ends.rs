//! Ends: what becomes of a slot when the container's first process has ended, or has to.

use core::time::Duration;

use rustix::fd::{AsFd, OwnedFd};

use super::Slots;
use super::slot::{Slot, State, Stop, signal_child};
use crate::boot::unmount::KILL_TIMEOUT;
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
    /// To wait for it no longer: it was killed.
    Killing,
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
        slot.stop = Stop::No;
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

    /// When there is something to do about a container next.
    pub(in crate::supervise) fn deadline(&self) -> Option<Moment> {
        let deadlines = self.used().filter_map(Slot::deadline);
        deadlines.map(|(deadline, _)| deadline).min()
    }

    /// One whose deadline has come, and for what.
    pub(in crate::supervise) fn late(&self, now: Moment) -> Option<(usize, Late)> {
        self.slots.iter().enumerate().find_map(|(index, slot)| {
            let (deadline, late) = slot.as_ref()?.deadline()?;
            (deadline <= now).then_some((index, late))
        })
    }

    /// Asks the container at `index` to end, and has it killed when its time is over: what its
    /// bundle says, or else `default`.
    pub(in crate::supervise) fn stop(&mut self, index: usize, default: Duration) {
        if let Some(slot) = self.at(index) {
            slot.signal(signal::TERM);
            let timeout = slot.stop_timeout.unwrap_or(default);
            slot.stop = Stop::Asked(clock::now() + timeout);
        }
    }

    /// Kills the container at `index`, whose time to end is over, and who works on it.
    pub(in crate::supervise) fn kill(&mut self, index: usize) {
        if let Some(slot) = self.at(index) {
            slot.stop = Stop::Killed(clock::now() + KILL_TIMEOUT);
            slot.kill();
            signal_child(slot.starter, signal::KILL);
            signal_child(slot.cleaner, signal::KILL);
        }
    }

    /// The container at `index`, which was killed, keeps nobody waiting any more.
    pub(in crate::supervise) fn stop_waiting_for(&mut self, index: usize) {
        if let Some(slot) = self.at(index) {
            slot.stop = Stop::GivenUp;
        }
    }

    /// Whether there is something of the container at `index` that nobody has asked to end.
    pub(in crate::supervise) fn is_unasked(&self, index: usize) -> bool {
        let slot = self.slots.get(index).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.stop == Stop::No)
    }

    /// Whether those that the container at `index` waited for at its start are still to run: it has
    /// not ended.
    pub(in crate::supervise) fn needs_others(&self, index: usize) -> bool {
        let slot = self.slots.get(index).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.state != State::Over && slot.stop != Stop::GivenUp)
    }

    /// Sends `signal` to the first process of the container at `index`. False if there is none.
    pub(in crate::supervise) fn signal(&mut self, index: usize, signal: u32) -> bool {
        let slot = self.at(index);
        slot.filter(|slot| slot.first_process().is_some())
            .map(|slot| slot.signal(signal))
            .is_some()
    }
}
