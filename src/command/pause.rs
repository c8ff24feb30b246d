//! `pause` and `resume`: the control group is frozen, and thawed (cgroup-v2.rst, "cgroup.freeze").

use super::state::Directory;
use super::{Call, OrReport, Reported, Subcommand, group};
use crate::container::Status;
use crate::error::{Code, Op};

pub(super) const PAUSE: Subcommand = Subcommand {
    name: "pause",
    operands: "ID",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &[],
    about: "freeze all processes of a container",
    run: |call| freeze(call, true),
};

pub(super) const RESUME: Subcommand = Subcommand {
    name: "resume",
    operands: "ID",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &[],
    about: "resume all processes of a paused container",
    run: |call| freeze(call, false),
};

fn freeze(call: &Call<'_>, frozen: bool) -> Result<u8, Reported> {
    let id = call.id()?;
    let directory = Directory::open(call, id)?;
    let record = directory.record(call)?;
    let group = group::of(call, &record, id)?;
    if group.is_frozen_with_machine() {
        let detail = "the machine is frozen";
        return Err(call.found(Code::Freeze, Op::Signal, &id, &detail));
    }
    let status = directory.status(&record).or_report(call, Code::State)?;
    let (is_fitting, known) = match frozen {
        true => (
            matches!(status, Status::Created | Status::Running),
            "container not running or created",
        ),
        false => (status == Status::Paused, "container not paused"),
    };
    if !is_fitting {
        return Err(call.wrong_status(Op::Signal, id, status, known));
    }
    let changed = match frozen {
        true => group.freeze(),
        false => group.thaw(),
    };
    changed.or_report(call, Code::Control)?;
    Ok(0)
}
