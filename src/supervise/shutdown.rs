//! The orderly end: processes, filesystems, the machine.

use rustix::fd::AsFd;

use super::berth::{self, Task};
use super::watchdog::WatchdogFeeder;
use crate::boot::patience::Patience;
use crate::boot::{Machine, failure, unmount};
use crate::error::{Code, Error, Op, Stage};
use crate::events::{EndAction, Event};
use crate::sys::process::{self, End};
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
    let feed = &mut || watchdog.feed();
    let patience = &mut Patience::new(feed);
    keep_seed(machine, patience);
    unmount::leave_in_order(&mut machine.journal, &mut machine.mounts, patience);
    let end = possible(machine, end);
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

/// Has the random seed for the next boot written, while the root can be.
fn keep_seed(machine: &mut Machine, patience: &mut Patience<'_>) {
    let Some(program) = &machine.berth else {
        return;
    };
    let task = Task::Carry { is_end: true };
    let written = patience.wait_for(&|| Err(berth::execute(program.as_fd(), task, None)));
    if written.is_err() {
        let detail = "it is not written for the next boot";
        let error = Error::new(Code::Seed, Op::Write, "the random seed", detail);
        machine.journal.warn_of(&error);
    }
}

/// What is done where `end` is asked for.
fn possible(machine: &mut Machine, end: End) -> End {
    match check(end) {
        Ok(()) => end,
        Err(error) => {
            let detail = format_args!("{}: the machine is rebooted instead", error.detail);
            machine.journal.warn_of(&error.with_detail(detail));
            End::Reboot
        }
    }
}

/// Makes sure that the machine can end so.
///
/// # Errors
/// [`Code::NoKernel`].
pub(super) fn check(end: End) -> Result<(), Error> {
    if end != End::Kexec || process::has_loaded_kernel() {
        return Ok(());
    }
    let detail = "there is none in /sys/kernel/kexec_loaded";
    Err(Error::new(
        Code::NoKernel,
        Op::Exec,
        "another kernel",
        detail,
    ))
}
