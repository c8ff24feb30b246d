//! `freeze` and `thaw`: the machine stands still, so that it can be copied, and goes on.

use super::super::time::Time;
use super::super::{Call, Reported, Subcommand};
use super::ask::{Patience, ask_and_wait};
use crate::parse::arguments::Opt;
use crate::parse::base64;
use crate::parse::request::{ENTROPY_MAX, Request, Thaw};
use crate::text::Quoted;

const TIME: Opt = Opt {
    long: "time",
    short: None,
    value: Some("TIME"),
    about: "the time of day: RFC 3339, or nanoseconds since 1970; default: that of the clock chip",
};
const ENTROPY: Opt = Opt {
    long: "entropy",
    short: None,
    value: Some("BASE64"),
    about: "up to 512 bytes that nobody else knows; default: from /dev/hwrng",
};

pub(super) const FREEZE: Subcommand = Subcommand {
    name: "freeze",
    operands: "",
    count: (0, 0),
    raw_from: usize::MAX,
    options: &[],
    about: "have all containers and filesystems stand still, so that the machine can be copied",
    run: |call| ask_and_wait(call, Request::Freeze, Patience::Endless, &mut |_| ()).map(|()| 0),
};

pub(super) const THAW: Subcommand = Subcommand {
    name: "thaw",
    options: &[&TIME, &ENTROPY],
    about: "have a frozen machine go on, as a new one: with the time of day, and new randomness",
    run: thaw,
    ..FREEZE
};

fn thaw(call: &Call<'_>) -> Result<u8, Reported> {
    let time = call.given.value(&TIME).map(|text| {
        let why = "--time is RFC 3339 in universal time, or nanoseconds since 1970";
        moment(text).ok_or_else(|| call.usage(format_args!("{why}, not {}", Quoted(text))))
    });
    let mut room = [0; ENTROPY_MAX];
    let entropy = call.given.value(&ENTROPY).map(|text| {
        let why = "--entropy is base64 of at most 512 bytes";
        base64::decode(text, &mut room).ok_or_else(|| call.usage(why))
    });
    let thaw = Thaw {
        time: time.transpose()?,
        entropy: entropy.transpose()?.unwrap_or_default(),
    };
    ask_and_wait(call, Request::Thaw(thaw), Patience::Endless, &mut |_| ()).map(|()| 0)
}

/// The seconds since 1970, and the nanoseconds.
fn moment(text: &str) -> Option<(u64, u32)> {
    const PER_SECOND: u64 = 1_000_000_000;
    if let Ok(nanoseconds) = text.parse::<u64>() {
        let rest = nanoseconds % PER_SECOND;
        return Some((nanoseconds / PER_SECOND, u32::try_from(rest).ok()?));
    }
    Time::parse(text).map(|time| (time.seconds(), time.nanoseconds()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_nanoseconds_or_words() {
        for (text, expected) in [
            ("1793491200000000001", Some((1_793_491_200, 1))),
            ("2026-11-01T00:00:00.5Z", Some((1_793_491_200, 500_000_000))),
            ("0", Some((0, 0))),
            ("-1", None),
            ("1.5", None),
            ("now", None),
        ] {
            assert_eq!(moment(text), expected, "{text}");
        }
    }
}
