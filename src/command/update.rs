//! `update`: other limits for a container that there is. What is not mentioned stays as it is.

use rustix::fs::CWD;

use super::limits::{self, OPTIONS, RESOURCES};
use super::state::Directory;
use super::{Call, OrReport, Reported, Subcommand, group, systemd};
use crate::container::{Group, Status, refusal};
use crate::error::{Code, During, Fault, Op};
use crate::parse::config::{ConfigError, MAX_SIZE, Resources};
use crate::parse::json;
use crate::sys::buffer::Buffer;
use crate::sys::{console, fs};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "update",
    operands: "ID",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &OPTIONS,
    about: "change the limits of a container",
    run,
};

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    let id = call.id()?;
    let section = limits::section(&call.given).map_err(|wrong| call.usage(wrong))?;
    let path = match (call.given.value(&RESOURCES), &section) {
        (Some(path), None) => path,
        (None, Some(_)) => "the command line",
        (Some(_), Some(_)) => {
            return Err(call.usage("--resources sets all limits: remove the other options"));
        }
        (None, None) => return Err(call.usage("--resources or a limit is missing")),
    };
    let directory = Directory::open(call, id)?;
    let record = directory.record(call)?;
    let mut buffer = Buffer::<{ MAX_SIZE + 1 }>::new();
    let text = match &section {
        Some(section) => section.as_bytes(),
        None => read(path, &mut buffer).or_report(call, Code::BundleConfig)?,
    };
    let resources = json::check(text).map_err(ConfigError::Json);
    let resources = resources
        .and_then(|section| Resources::check(Some(section)))
        .map_err(|error| call.fail(&refusal(path, &error)))?;
    let status = directory.status(&record).or_report(call, Code::State)?;
    if status == Status::Stopped {
        return Err(call.wrong_status(Op::Configure, id, status, ""));
    }
    let group = group::of(call, &record, id)?;
    if !record.unit.is_empty() {
        systemd::set(call, &record.unit, &resources)?;
    }
    Group::enable(&record.cgroup, &resources)
        .and_then(|()| group.apply(&resources))
        .or_report(call, Code::Control)?;
    Ok(0)
}

fn read<'b>(path: &str, buffer: &'b mut Buffer<{ MAX_SIZE + 1 }>) -> Result<&'b mut [u8], Fault> {
    if path == "-" {
        let [input, ..] = console::standard_descriptors();
        return buffer.fill_from(input).during(Op::Read, "standard input");
    }
    let file = fs::open_file(CWD, path)?;
    buffer.fill_from(&file).during(Op::Read, path)
}
