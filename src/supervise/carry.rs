//! What the machine carries over a reboot: the time of day, and randomness.
//!
//! PID 1 reads no file of the root, so a run of `berth` does it, beside the start of the
//! containers. None of them waits for it.

use rustix::fd::AsFd;

use super::Supervisor;
use super::berth::Task;
use super::workers::Work;
use crate::error::Stage;
use crate::events::Event;
use crate::parse::machine_change::MachineChange;
use crate::sys::kmsg;

impl Supervisor<'_, '_> {
    /// Has the clock set if it shows a time that cannot be, and the random seed carried over.
    #[inline(never)]
    pub(super) fn carry_over(&mut self) {
        let program = self.machine.berth.as_ref().map(AsFd::as_fd);
        if program.is_none() {
            // Which is told where it is missed: of containers.
            return;
        }
        let task = Task::Carry { is_end: false };
        let started = self.workers.start(&self.epoll, program, Work::Carry, task);
        if let Err(fault) = started {
            let journal = &mut self.machine.journal;
            journal.warn(Stage::Containers, format_args!("{fault}"));
        }
    }

    /// Something has become of the clock, the seed, or the machine's sleep.
    #[inline(never)]
    pub(super) fn machine_changed(&mut self, change: &MachineChange<'_>) {
        let event = Event::Machine(*change);
        match *change {
            MachineChange::Clock(clock) => kmsg::notice(
                Stage::Containers,
                format_args!("the clock is set: {}", clock.name()),
            ),
            MachineChange::Seed(seed) => kmsg::info(
                Stage::Containers,
                format_args!("the random seed: {}", seed.name()),
            ),
            MachineChange::Frozen(..) => kmsg::notice(Stage::Containers, format_args!("frozen")),
            MachineChange::Thawed(..) => kmsg::notice(Stage::Containers, format_args!("thawed")),
        }
        self.machine.journal.events.emit(event);
    }
}
