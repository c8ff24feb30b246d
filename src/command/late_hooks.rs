//! Hooks that are run when the container's program runs, and when the container has ended
//! (config.md, "poststart", "poststop").
//!
//! By then nothing can be taken back, so one that fails is a warning (runtime.md, "Lifecycle").

use rustix::io::Errno;
use rustix::process::Pid;

use super::launch::ConfigText;
use super::record::Record;
use super::state::Directory;
use super::{Call, resctrl};
use crate::container::{State, Status, run_hooks};
use crate::error::{During, Explained, Fault, Op};
use crate::parse::config::{Config, HookKind};

/// Runs those of `moment`, of a container that is in `status` then.
pub(super) fn run(call: &Call<'_>, directory: &Directory, record: &Record, moment: HookKind) {
    if let Err(fault) = run_all(call, directory, record, moment) {
        call.journal
            .warn(format_args!("{}: {}", directory.id, Explained(&fault)));
    }
}

#[inline(never)]
fn run_all(
    call: &Call<'_>,
    directory: &Directory,
    record: &Record,
    moment: HookKind,
) -> Result<(), Fault> {
    let mut text = ConfigText::default();
    let len = match directory.config(&mut text.file) {
        // Its maker was killed before it was kept, and nothing was made.
        Err(fault) if fault.errno == Errno::NOENT => return Ok(()),
        file => file?.len(),
    };
    let (file, scratch, places) = text.parts(len).during(Op::Parse, &directory.id)?;
    let config = match Config::parse(file, scratch, places) {
        Ok(config) => config,
        // It was read when the container was created, by an older berth perhaps.
        Err(error) => {
            call.journal.warn(format_args!("{}: {error}", directory.id));
            return Ok(());
        }
    };
    let (status, pid) = match moment {
        HookKind::Poststop => (Status::Stopped, None),
        _ => (
            Status::Running,
            Pid::from_raw(i32::try_from(record.pid).unwrap_or(0)),
        ),
    };
    let state = State {
        id: &directory.id,
        status,
        pid,
        bundle: &record.bundle,
        annotations: config.all_annotations,
    };
    if let Some(rdt) = config.intel_rdt.filter(|_| moment == HookKind::Poststop)
        && let Err(fault) = resctrl::remove(&rdt, &directory.id)
    {
        call.journal
            .warn(format_args!("{}: {}", directory.id, Explained(&fault)));
    }
    run_hooks(&config, moment, &state, &mut |fault| {
        call.journal
            .warn(format_args!("{}: {}", directory.id, Explained(fault)));
    });
    Ok(())
}
