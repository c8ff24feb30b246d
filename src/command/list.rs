//! `list`: which containers there are.

use core::fmt::Write as _;

use super::output::Output;
use super::record::Record;
use super::state::{self, BROKEN, Directory};
use super::{Call, OrReport, QUIET, ROOT, Reported, Subcommand, machine};
use crate::container::Status;
use crate::error::Code;
use crate::parse::arguments::Opt;
use crate::parse::config::SPECIFICATION;
use crate::parse::request::RECORDS;
use crate::text::{Json, Quoted, Shown};

pub(super) const FORMAT: Opt = Opt {
    long: "format",
    short: Some('f'),
    value: Some("table|json"),
    about: "the format; default: table",
};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "list",
    operands: "",
    count: (0, 0),
    raw_from: usize::MAX,
    options: &[&FORMAT, &QUIET, &machine::JSON],
    about: "list the containers",
    run: list,
};

pub(super) fn is_json(call: &Call<'_>) -> Result<bool, Reported> {
    match call.given.value(&FORMAT) {
        None | Some("table") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => {
            let other = Quoted(other);
            Err(call.usage(format_args!("--format is table or json, not {other}")))
        }
    }
}

fn list(call: &Call<'_>) -> Result<u8, Reported> {
    let (is_json, is_quiet) = (is_json(call)?, call.given.has(&QUIET));
    // Engines give a directory, or want JSON.
    if call.given.value(&ROOT).is_none_or(|root| root == RECORDS)
        && !is_json
        && let Some(listed) = machine::list(call, call.given.has(&machine::JSON))
    {
        return listed;
    }
    let mut output = Output::new();
    let mut separator = '[';
    // Failures of the output are told by `finish`.
    if !is_json && !is_quiet {
        let _ = writeln!(output, "{:24}{:>8} {:9}BUNDLE", "ID", "PID", "STATUS");
    }
    state::each(&call.root, &mut |id| {
        if is_quiet {
            let _ = writeln!(output, "{id}");
            return;
        }
        // One that goes at this moment is not shown.
        let Ok(Some(directory)) = Directory::find(call, id) else {
            return;
        };
        let (record, status) = match directory.read() {
            Ok(record) => {
                let record = record.unwrap_or_else(Record::lost);
                let status = directory.status(&record);
                (record, status.ok())
            }
            Err(_) => (Record::lost(), None),
        };
        let pid = status.map_or(0, |status| record.pid_if(status));
        let status = status.map_or(BROKEN, Status::name);
        let (bundle, created) = (&record.bundle, record.created);
        if is_json {
            let (bundle, start) = (Json(bundle), core::mem::replace(&mut separator, ','));
            let _ = write!(
                output,
                "{start}{{\"ociVersion\":\"{SPECIFICATION}\",\"id\":\"{id}\",\"pid\":{pid},\"status\":\"{status}\",\"bundle\":{bundle},\"created\":\"{created}\"}}"
            );
        } else {
            let bundle = Shown(bundle);
            let _ = writeln!(output, "{id:24}{pid:>8} {status:9}{bundle}");
        }
    })
    .or_report(call, Code::State)?;
    if is_json && !is_quiet {
        let _ = writeln!(output, "{}]", if separator == '[' { "[" } else { "" });
    }
    output.finish(call).map(|()| 0)
}
