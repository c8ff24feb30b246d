//! `state`: what the specification says of a container (runtime.md, "Query State").

use core::fmt::Write as _;

use rustix::process::Pid;

use super::output::Output;
use super::state::Directory;
use super::{Call, OrReport, Reported, Subcommand};
use crate::container::State;
use crate::error::Code;
use crate::parse::json;
use crate::sys::buffer::Buffer;

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "state",
    operands: "ID",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &[],
    about: "print the state of a container",
    run,
};

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    let id = call.id()?;
    let directory = Directory::open(call, id)?;
    let record = directory.known(call)?;
    let status = directory.status(&record).or_report(call, Code::State)?;
    let mut text = Buffer::new();
    // One that is being created may not have it yet.
    let text = directory.config(&mut text);
    let config = text.ok().and_then(|text| json::check(text).ok());
    let annotations = config.and_then(|config| config.member("annotations"));
    let state = State {
        id,
        status,
        pid: Pid::from_raw(i32::try_from(record.pid_if(status)).unwrap_or(0)),
        bundle: &record.bundle,
        annotations: annotations.map(|annotations| annotations.as_written()),
    };
    let mut output = Output::new();
    // Failures are told by `finish`.
    let _ = writeln!(output, "{state}");
    output.finish(call).map(|()| 0)
}
