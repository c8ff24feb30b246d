//! Container engines with berth, beside their usual runtimes, with all commands of the table
//! `commands`: the same outputs and statuses, in a whole Debian. A name chooses engines; the kernel
//! is Debian 13's.

use std::process::ExitCode;

use anyhow::Result;
use berth_tests::{Engine, side_by_side};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let trials = Engine::ALL.map(|engine| {
        Trial::test(engine.name, move || {
            side_by_side(&[engine], true).map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    Ok(libtest_mimic::run(&arguments, trials.into()).exit_code())
}
