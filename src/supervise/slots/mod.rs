//! The containers. Each has a slot from its start until nothing is left of it.
//!
//! The slot of a container has the index that the container has in the list of bundles. It is used
//! again at the end of a turn only, so that a [token](super::token) which epoll has delivered stays
//! true.

mod ends;
mod output;
mod slot;
mod starts;

use rustix::process::Pid;

use super::Printer;
use crate::container::{BUNDLES_MAX, Id};
use crate::sys::mapped::Mapped;
pub(super) use ends::Late;
pub(super) use output::READ;
use slot::{Slot, State, Stop};
pub(super) use starts::{GroupOutcome, ProcessOutcome};

/// What a process is to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Its first process, whose end is the container's.
    First,
    /// The run of `berth` that starts it.
    Starter,
    /// The run of `berth` that clears it away.
    Cleaner,
}

/// All slots.
pub(super) struct Slots {
    slots: Mapped<Option<Slot>, BUNDLES_MAX>,
    /// The containers' output is read, and does not wait in their pipes.
    is_output_read: bool,
}

impl Slots {
    /// All are empty.
    pub(super) const fn new() -> Self {
        Self {
            slots: Mapped::new(),
            is_output_read: true,
        }
    }

    fn used(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    fn at(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)?.as_mut()
    }

    /// True while of one it is not known yet whether its program runs.
    pub(super) fn are_starting(&self) -> bool {
        self.used().any(Slot::is_starting)
    }

    /// True while PID 1 works on a start: one that waits for others may do so for long.
    pub(super) fn are_busy(&self) -> bool {
        self.used()
            .any(|slot| slot.is_starting() && slot.state != State::Waiting)
    }

    /// True while one is being started, stopped or cleared away.
    pub(super) fn are_changing(&self) -> bool {
        let is_stopping = |slot: &Slot| matches!(slot.stop, Stop::Asked(_) | Stop::Killed(_));
        self.are_busy()
            || self
                .used()
                .any(|slot| slot.cleaner.is_some() || is_stopping(slot))
    }

    /// True if none runs. What could not be cleared away or killed does not keep the machine up: it
    /// may lack for good what that takes.
    pub(super) fn are_idle(&self) -> bool {
        self.used()
            .all(|slot| slot.clear_at.is_some() || slot.stop == Stop::GivenUp)
    }

    /// The container's name; empty if it has ended.
    pub(super) fn id(&mut self, index: usize) -> Id {
        self.at(index)
            .map(|slot| slot.id.clone())
            .unwrap_or_default()
    }

    /// The first process of the container, once that is known.
    pub(super) fn first_process(&self, index: usize) -> Option<Pid> {
        let slot = self.slots.get(index)?.as_ref();
        slot.and_then(Slot::first_process)
    }

    /// What is known of the container where it prints something.
    pub(super) fn printer(&mut self, index: usize) -> Printer {
        Printer {
            index,
            id: self.id(index),
            is_raw: self.at(index).is_some_and(|slot| slot.is_raw),
        }
    }

    /// Whether nothing is left of the container at `index`.
    pub(super) fn is_free(&self, index: usize) -> bool {
        !matches!(self.slots.get(index), Some(Some(_)))
    }

    /// Whether the start of the container at `index` waits for its turn.
    pub(super) fn is_waiting(&self, index: usize) -> bool {
        let slot = self.slots.get(index).and_then(Option::as_ref);
        slot.is_some_and(|slot| slot.state == State::Waiting)
    }
}
