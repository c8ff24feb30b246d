//! `create`: a container that waits for `start` (runtime.md, "Create").

use super::launch::{OPTIONS, StartMode, launch};
use super::{Call, Reported, Subcommand};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "create",
    operands: "ID",
    count: (1, 1),
    raw_from: usize::MAX,
    options: OPTIONS,
    about: "make a container, which then waits for `start`",
    run,
};

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    launch(call, StartMode::Hold).map(|_| 0)
}
