//! `kill`: a signal to a container (runtime.md, "Kill").

use rustix::io::Errno;

use super::state::Directory;
use super::{Call, OrReport, Reported, Subcommand, group, signals};
use crate::container::Status;
use crate::error::{Code, During, Op};
use crate::parse::arguments::Opt;
use crate::sys::{fs, signal};
use crate::text::Quoted;

const ALL: Opt = Opt {
    long: "all",
    short: Some('a'),
    value: None,
    about: "send the signal to all processes of the container, not only to the first",
};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "kill",
    operands: "ID [SIGNAL]",
    count: (1, 2),
    raw_from: usize::MAX,
    options: &[&ALL],
    about: "send a signal, TERM by default",
    run,
};

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    let id = call.id()?;
    let signal = match call.given.operands.get(1) {
        None => signal::TERM,
        Some(text) => signals::number(text)
            .ok_or_else(|| call.usage(format_args!("there is no signal {}", Quoted(text))))?,
    };
    let record = Directory::open(call, id)?.record(call)?;
    let stopped = || call.wrong_status(Op::Signal, id, Status::Stopped, "");
    let process = record.process().or_report(call, Code::Control)?;
    if call.given.has(&ALL) {
        // What its first process has left behind may be there still.
        if process.is_none() && !fs::is_directory(&record.cgroup) {
            return Err(stopped());
        }
        let group = group::of(call, &record, id)?;
        group::signal_all(&group, signal).or_report(call, Code::Control)?;
        return Ok(0);
    }
    let process = process.ok_or_else(stopped)?;
    match process.signal(signal) {
        // It has just ended, and its parent has collected it.
        Err(Errno::SRCH) => return Err(stopped()),
        signalled => signalled
            .during(Op::Signal, id)
            .or_report(call, Code::Control)?,
    }
    Ok(0)
}
