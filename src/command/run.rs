//! `run`: create, start, and, in the foreground, stay and delete.

use super::attend::{attend, listen};
use super::delete;
use super::descriptors::PRESERVE_FDS;
use super::launch::{self, Launched, StartMode, launch, undo};
use super::notify::Notify;
use super::relay::Relay;
use super::start::go;
use super::{Call, DETACH, OrReport, Reported, Subcommand};
use crate::error::Code;

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "run",
    operands: "ID",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &[
        &DETACH,
        &launch::KEEP,
        &launch::BUNDLE,
        &launch::PID_FILE,
        &launch::CONSOLE_SOCKET,
        &PRESERVE_FDS,
        &launch::NO_PIVOT,
        &launch::NO_NEW_KEYRING,
    ],
    about: "make a container, run its program, and exit with its status",
    run,
};

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    if call.given.has(&DETACH) {
        let launched = launch(call, StartMode::Detach)?;
        if let (_, Some(notify)) = begin(call, &launched)? {
            notify.wait(call, &launched.record)?;
        }
        return Ok(0);
    }
    // Before there is a program: a signal that comes while it is made is for it.
    let signals = listen(call)?;
    let launched = launch(call, StartMode::Stay)?;
    let (relay, notify) = begin(call, &launched)?;
    let status = attend(call, &signals, launched.record.pid, relay, notify);
    if call.given.has(&launch::KEEP) {
        return status;
    }
    delete::clear(call, &launched.directory, &launched.record).or_report(call, Code::Control)?;
    launched.directory.remove();
    status
}

/// Has the program run, with its terminal served and what it notifies heard; where it cannot,
/// nothing is left.
fn begin(
    call: &Call<'_>,
    launched: &Launched,
) -> Result<(Option<Relay>, Option<Notify>), Reported> {
    let Launched {
        directory,
        record,
        terminal,
        ..
    } = launched;
    let relay = terminal
        .as_ref()
        .map(|terminal| Relay::start(call, terminal))
        .transpose();
    let begun = relay.and_then(|relay| {
        let notify = Notify::open(call, directory)?;
        go(call, directory, record)?;
        Ok((relay, notify))
    });
    if begun.is_err() {
        undo(call, directory, record);
        directory.remove();
    }
    begun
}
