//! Descriptors of the caller that are the program's: those of `--preserve-fds`, and the sockets of
//! `LISTEN_FDS`.

use super::{Call, Reported};
use crate::parse::arguments::Opt;
use crate::sys::descriptors::is_inherited;
use crate::text::Quoted;

pub(super) const PRESERVE_FDS: Opt = Opt {
    long: "preserve-fds",
    short: None,
    value: Some("N"),
    about: "keep so many descriptors open for the program, from 3 on",
};
/// How many descriptors are left open for the program. All of them must be open: berth's own would
/// come in their place.
///
/// `listening` of them are those of `LISTEN_FDS`, which come first.
pub(super) fn preserved(call: &Call<'_>, listening: u32) -> Result<u32, Reported> {
    let text = call.given.value(&PRESERVE_FDS).unwrap_or("0");
    let more = text
        .parse::<u32>()
        .ok()
        .filter(|more| *more <= PRESERVED_MAX);
    let more = more.ok_or_else(|| call.usage("--preserve-fds is a number, 0 to 1024"))?;
    let all = more + listening;
    match (3..3 + all).find(|number| !is_inherited(*number)) {
        None => Ok(all),
        Some(number) if number < 3 + listening => Err(call.usage(format_args!(
            "LISTEN_FDS is {listening}, and descriptor {number} is not open"
        ))),
        Some(number) => Err(call.usage(format_args!(
            "--preserve-fds is {more}, and descriptor {number} is not open"
        ))),
    }
}

/// The most descriptors that are left open.
const PRESERVED_MAX: u32 = 1024;

/// How many sockets are handed on (sd_listen_fds(3)): they are meant for this process, or as runc
/// and crun have it, for one that an engine started it for.
pub(super) fn listening(call: &Call<'_>) -> Result<u32, Reported> {
    let Some(text) = call.environment.value("LISTEN_FDS") else {
        return Ok(0);
    };
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let meant = call.environment.value("LISTEN_PID").unwrap_or("1");
    if meant != "1" && meant.parse() != Ok(own) {
        call.journal.debug(format_args!(
            "LISTEN_FDS is left alone: LISTEN_PID is of another process"
        ));
        return Ok(0);
    }
    let count = text.parse::<u32>().ok();
    let count = count.filter(|count| *count <= PRESERVED_MAX);
    count.ok_or_else(|| {
        call.usage(format_args!(
            "LISTEN_FDS is {}, not a number up to 1024",
            Quoted(text)
        ))
    })
}
