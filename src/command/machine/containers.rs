//! `list` in the machine: what PID 1 knows of each container, what its record says, and what it
//! uses.

use core::fmt::{self, Write as _};

use rustix::fs::CWD;

use super::super::output::Output;
use super::super::record::Record;
use super::super::state::{self, Directory};
use super::super::{Call, OrReport, QUIET, Reported};
use super::ask::{ask, is_there};
use crate::container::{BUNDLES_MAX, Id, Status};
use crate::error::Code;
use crate::parse::request::{Request, Row};
use crate::sys::mapped::Mapped;
use crate::sys::path::path;
use crate::sys::{clock, fs};
use crate::text::{Json, Shown};

/// One line of the list.
struct Line<'l> {
    id: &'l str,
    state: &'l str,
    pid: u32,
    /// How long it has been so, in seconds.
    since: Option<u64>,
    restarts: u32,
    /// In bytes.
    memory: Option<u64>,
    bundle: &'l str,
    /// What its root filesystem is made from.
    image: &'l str,
}

/// Lists the containers; an object a line, if that `is_json`. `None` where PID 1 is not berth.
pub(in crate::command) fn list(call: &Call<'_>, is_json: bool) -> Option<Result<u8, Reported>> {
    is_there().then(|| print(call, is_json))
}

#[inline(never)]
fn print(call: &Call<'_>, is_json: bool) -> Result<u8, Reported> {
    let is_quiet = call.given.has(&QUIET);
    let mut output = Output::new();
    let mut known = Mapped::<Id, BUNDLES_MAX>::new();
    if !is_quiet && !is_json {
        // Failures of the output are told by `finish`.
        let _ = writeln!(
            output,
            "{:24}{:11}{:>8}  {:>6} {:>9} {:>8}  IMAGE",
            "ID", "STATE", "PID", "SINCE", "RESTARTS", "MEMORY"
        );
    }
    let mut show = |line: &Line<'_>| {
        let _ = match (is_quiet, is_json) {
            (true, _) => writeln!(output, "{}", line.id),
            (_, true) => line.write_json(&mut output),
            _ => line.write(&mut output),
        };
    };
    ask(call, Request::List, &mut |row: Row<'_>| {
        // There are as many places as PID 1 can know of.
        let _ = Id::try_from(row.id).map(|id| known.push(id));
        let record = record(call, row.id).map(|(record, _)| record);
        show(&Line {
            id: row.id,
            state: row.condition.name(),
            pid: row.pid.unsigned_abs(),
            since: Some(clock::now().0.saturating_sub(row.since) / 1_000_000),
            restarts: row.restarts,
            memory: record.as_ref().and_then(memory),
            bundle: record.as_ref().map_or("", |record| &record.bundle),
            image: record.as_ref().map_or("", |record| &record.image),
        });
    })?;
    // Those that somebody has started by hand.
    state::each(&call.root, &mut |id| {
        if known.iter().any(|known| known == id) {
            return;
        }
        if let Some((record, status)) = record(call, id) {
            show(&Line {
                id,
                state: status.name(),
                pid: record.pid_if(status),
                since: None,
                restarts: 0,
                memory: memory(&record),
                bundle: &record.bundle,
                image: &record.image,
            });
        }
    })
    .or_report(call, Code::State)?;
    output.finish(call).map(|()| 0)
}

/// What is remembered of a container, and how it is.
fn record(call: &Call<'_>, id: &str) -> Option<(Record, Status)> {
    let directory = Directory::find(call, id).ok()??;
    let record = directory.read().ok()??;
    let status = directory.status(&record).ok()?;
    Some((record, status))
}

fn memory(record: &Record) -> Option<u64> {
    let mut room = [0; 32];
    let file = path(format_args!("{}/memory.current", record.cgroup)).ok()?;
    let text = fs::read_file(CWD, &file, &mut room).ok()?;
    core::str::from_utf8(text.trim_ascii_end())
        .ok()?
        .parse()
        .ok()
}

impl Line<'_> {
    fn write(&self, output: &mut Output) -> fmt::Result {
        write!(output, "{:24}{:11}", self.id, self.state)?;
        match self.pid {
            0 => write!(output, "{:>8}  ", "-")?,
            pid => write!(output, "{pid:>8}  ")?,
        }
        match self.since {
            None => write!(output, "{:>6} ", "-")?,
            Some(seconds) => write!(output, "{:>6} ", Ago(seconds))?,
        }
        write!(output, "{:>9} ", self.restarts)?;
        match self.memory {
            None => write!(output, "{:>8}  ", "-")?,
            Some(bytes) => write!(output, "{:>7}K  ", bytes / 1024)?,
        }
        writeln!(output, "{}", Shown(self.image))
    }

    fn write_json(&self, output: &mut Output) -> fmt::Result {
        let Self {
            id,
            state,
            pid,
            restarts,
            ..
        } = self;
        write!(
            output,
            "{{\"id\":\"{id}\",\"state\":\"{state}\",\"pid\":{pid},\"restarts\":{restarts}"
        )?;
        for (name, number) in [("since", self.since), ("memory", self.memory)] {
            match number {
                Some(number) => write!(output, ",\"{name}\":{number}")?,
                None => write!(output, ",\"{name}\":null")?,
            }
        }
        let (bundle, image) = (Json(self.bundle), Json(self.image));
        writeln!(output, ",\"bundle\":{bundle},\"image\":{image}}}")
    }
}

/// Seconds in the largest unit of which there is one.
struct Ago(u64);

impl fmt::Display for Ago {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self.0 {
            seconds @ ..60 => (seconds, 's'),
            seconds @ ..3600 => (seconds / 60, 'm'),
            seconds @ ..86_400 => (seconds / 3600, 'h'),
            seconds => (seconds / 86_400, 'd'),
        };
        let mut text = heapless::String::<24>::new();
        write!(text, "{count}{unit}")?;
        formatter.pad(&text)
    }
}
