//! `logs`: what a container has printed, as PID 1 has kept it.

use core::fmt::Write as _;

use super::super::events::duration;
use super::super::output::Output;
use super::super::time::Time;
use super::super::{Call, OrReport, Reported, Subcommand};
use super::ask::ask;
use super::follow::Follower;
use super::happened::print_lines;
use super::steer::unknown;
use super::{FOLLOW, JSON};
use crate::error::Code;
use crate::parse::arguments::Opt;
use crate::parse::log::{LOGS, Line};
use crate::parse::number::number;
use crate::parse::request::Request;
use crate::sys::fs;
use crate::text::{Bytes, Json, Quoted, Shown, Text};

const LINES: Opt = Opt {
    long: "lines",
    short: Some('n'),
    value: Some("LINES"),
    about: "the last lines alone, so many",
};
const SINCE: Opt = Opt {
    long: "since",
    short: None,
    value: Some("TIME"),
    about: "lines of the last 90s, 10m or 2h, or from 2026-11-30T08:25:54Z on",
};
const TIMES: Opt = Opt {
    long: "timestamps",
    short: Some('t'),
    value: None,
    about: "put the time of day before each line",
};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "logs",
    operands: "ID",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &[&FOLLOW, &LINES, &SINCE, &TIMES, &JSON],
    about: "print what a container of PID 1's has printed",
    run: logs,
};

#[inline(never)]
fn logs(call: &Call<'_>) -> Result<u8, Reported> {
    let id = call.id()?;
    let last = match call.given.value(&LINES) {
        None | Some("all") => None,
        Some(text) => Some(number::<u64>(text).ok_or_else(|| {
            call.usage(format_args!("--lines is a number, not {}", Quoted(text)))
        })?),
    };
    let since = call.given.value(&SINCE).map(|text| {
        since(text)
            .ok_or_else(|| call.usage(format_args!("--since is a time, not {}", Quoted(text))))
    });
    let since = since.transpose()?.unwrap_or(0);
    let is_followed = call.given.has(&FOLLOW);
    // There is something to watch before the first container has printed anything.
    let made = is_followed.then(|| fs::make_directory(LOGS));
    made.transpose().or_report(call, Code::Control)?;
    let file = Follower::open(format_args!("{LOGS}/{id}.log"), is_followed);
    let mut file = file.or_report(call, Code::Control)?;
    if !file.is_there() {
        // It may not have printed anything yet.
        let mut is_known = false;
        ask(call, Request::List, &mut |row| is_known |= row.id == id)?;
        if !is_known {
            return Err(unknown(call, id));
        }
    }
    let mut skipped = match last {
        Some(last) => file
            .count()
            .or_report(call, Code::Control)?
            .saturating_sub(last),
        None => 0,
    };
    let (is_json, has_times) = (call.given.has(&JSON), call.given.has(&TIMES));
    print_lines(call, &mut file, &mut |line, output| {
        if skipped > 0 {
            skipped -= 1;
            return;
        }
        if let Some(line) = Line::parse(line).filter(|line| line.seconds >= since) {
            show(&line, is_json, has_times, output);
        }
    })
}

/// Prints a line. What would do something to a terminal is escaped.
fn show(line: &Line<'_>, is_json: bool, has_times: bool, output: &mut Output) {
    let time = Time::of(line.seconds, line.micros.saturating_mul(1000));
    // Failures of the output are told by `finish`.
    let _ = if is_json {
        let stream = if line.is_error { "stderr" } else { "stdout" };
        let text = Text::<1024>::from_bytes(line.text);
        let text = Json(text.as_str());
        writeln!(
            output,
            "{{\"time\":\"{time}\",\"stream\":\"{stream}\",\"line\":{text}}}"
        )
    } else if has_times {
        writeln!(output, "{time} {}", Shown(Bytes(line.text)))
    } else {
        writeln!(output, "{}", Shown(Bytes(line.text)))
    };
}

/// From when on, in seconds since 1970.
fn since(text: &str) -> Option<u64> {
    match duration(text) {
        Some(ago) => Some(Time::now().seconds().saturating_sub(ago.as_secs())),
        None => Time::parse(text).map(Time::seconds),
    }
}
