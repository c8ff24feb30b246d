//! The orderly end: processes, filesystems, the machine.

use super::watchdog::WatchdogFeeder;
use crate::boot::{Machine, failure, unmount};
use crate::error::Stage;
use crate::events::{EndAction, Event};
use crate::sys::process::End;
use crate::sys::signal::Signals;

/// Ends the machine with `status` in the last event.
pub(super) fn end(
    machine: &mut Machine,
    signals: &Signals,
    watchdog: &mut WatchdogFeeder,
    end: End,
    status: u8,
) -> ! {
    watchdog.feed();
    unmount::kill_rest(signals);
    rustix::fs::sync();
    unmount::unmount_all(&mut machine.journal, &mut machine.mounts);
    machine.journal.complete(
        Stage::Shutdown,
        format_args!("filesystems are synchronised"),
    );
    machine.journal.events.emit(Event::End {
        status,
        action: EndAction::Orderly(end),
    });
    failure::deliver(machine);
    watchdog.disarm();
    failure::end(end)
}
