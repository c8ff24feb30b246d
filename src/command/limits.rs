//! The limits that `update` takes as options, by the names that other runtimes and engines have for
//! them; written as the section of a `config.json` that says the same, so that they are read as
//! that is.

use core::fmt::{self, Write};

use crate::parse::arguments::{Given, Opt};
use crate::parse::number::number;
use crate::text::{Json, Quoted};

/// How a value is written on the command line.
#[derive(Clone, Copy)]
enum Kind {
    /// A whole number.
    Number,
    /// Bytes, perhaps with k, m, g or t behind: of 1024.
    Size,
    /// Text as it is.
    Text,
    /// Processors, perhaps a part of one: as the time that is used of [`PERIOD`].
    Processors,
}

pub(super) const RESOURCES: Opt = Opt {
    long: "resources",
    short: Some('r'),
    value: Some("FILE"),
    about: "a file with limits, as `linux.resources`; -: standard input",
};

/// An option, and the object and its member that it stands for.
struct Limit {
    option: Opt,
    kind: Kind,
    object: &'static str,
    member: &'static str,
}

/// In microseconds; what the kernel has.
const PERIOD: u64 = 100_000;

const fn limit(
    (object, member): (&'static str, &'static str),
    long: &'static str,
    kind: Kind,
    about: &'static str,
) -> Limit {
    let value = match kind {
        Kind::Number => "N",
        Kind::Size => "BYTES",
        Kind::Text => "LIST",
        Kind::Processors => "N.N",
    };
    Limit {
        option: Opt {
            long,
            short: None,
            value: Some(value),
            about,
        },
        kind,
        object,
        member,
    }
}

/// Those of an object stand together.
static LIMITS: [Limit; 14] = [
    limit(
        ("memory", "limit"),
        "memory",
        Kind::Size,
        "memory; -1: no limit",
    ),
    limit(
        ("memory", "reservation"),
        "memory-reservation",
        Kind::Size,
        "memory that is reclaimed last",
    ),
    limit(
        ("memory", "swap"),
        "memory-swap",
        Kind::Size,
        "memory and swap together; needs --memory",
    ),
    limit(
        ("cpu", "quota"),
        "cpus",
        Kind::Processors,
        "CPU time, in processors",
    ),
    limit(
        ("cpu", "quota"),
        "cpu-quota",
        Kind::Number,
        "CPU time in each period, in µs",
    ),
    limit(
        ("cpu", "period"),
        "cpu-period",
        Kind::Number,
        "the length of a period, in µs",
    ),
    limit(
        ("cpu", "burst"),
        "cpu-burst",
        Kind::Number,
        "unused CPU time to save up, in µs",
    ),
    limit(
        ("cpu", "shares"),
        "cpu-shares",
        Kind::Number,
        "share of CPU time, 2 to 262144",
    ),
    limit(
        ("cpu", "shares"),
        "cpu-share",
        Kind::Number,
        "the same as --cpu-shares",
    ),
    limit(
        ("cpu", "idle"),
        "cpu-idle",
        Kind::Number,
        "1: run only when no other group wants to",
    ),
    limit(
        ("cpu", "cpus"),
        "cpuset-cpus",
        Kind::Text,
        "processors, such as 0-3,7",
    ),
    limit(("cpu", "mems"), "cpuset-mems", Kind::Text, "memory nodes"),
    limit(
        ("pids", "limit"),
        "pids-limit",
        Kind::Number,
        "processes and threads; -1: no limit",
    ),
    limit(
        ("blockIO", "weight"),
        "blkio-weight",
        Kind::Number,
        "share of disk I/O, 10 to 1000",
    ),
];

/// All options of the command.
pub(super) static OPTIONS: [&Opt; 15] = {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = &LIMITS;
    [
        &RESOURCES, &a.option, &b.option, &c.option, &d.option, &e.option, &f.option, &g.option,
        &h.option, &i.option, &j.option, &k.option, &l.option, &m.option, &n.option,
    ]
};

/// The section, as it is written.
pub(super) type Section = heapless::String<1024>;

/// Why there is no section.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong<'a> {
    /// The option's value is none.
    Value(&'static str, &'a str),
    /// Two options say the same thing.
    Twice(&'static str, &'static str),
    /// There is no room for the option's value.
    Long(&'static str),
}

impl fmt::Display for Wrong<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(option, value) => write!(f, "--{option} cannot be {}", Quoted(value)),
            Self::Twice(one, other) => write!(f, "--{one} and --{other} set the same limit"),
            Self::Long(option) => write!(f, "--{option} is too long"),
        }
    }
}

/// A value, as JSON has it.
enum Shown<'a> {
    Number(i64),
    /// Of a period of [`PERIOD`]: of another it would be another share.
    OfPeriod(i64),
    Text(&'a str),
}

/// The time that processors have in the period that is given, else in [`PERIOD`].
fn in_period<'a>(time: i64, given: &Given<'a>) -> Shown<'a> {
    let mut limits = LIMITS.iter().filter(|limit| limit.member == "period");
    let period = limits.find_map(|limit| number(given.value(&limit.option)?));
    match period {
        Some(period) => Shown::Number(time.saturating_mul(period) / PERIOD.cast_signed()),
        None => Shown::OfPeriod(time),
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::OfPeriod(number) => write!(f, "{number},\"period\":{PERIOD}"),
            Self::Text(text) => write!(f, "{}", Json(text)),
        }
    }
}

/// The section for the options that are given; `None` if there are none.
#[inline(never)]
pub(super) fn section<'a>(given: &Given<'a>) -> Result<Option<Section>, Wrong<'a>> {
    let mut section = Section::new();
    let mut before: Option<&Limit> = None;
    for limit in &LIMITS {
        let Some(value) = given.value(&limit.option) else {
            continue;
        };
        let name = limit.option.long;
        let same_object = before.is_some_and(|before| before.object == limit.object);
        if let Some(before) = before.filter(|before| same_object && before.member == limit.member) {
            return Err(Wrong::Twice(before.option.long, name));
        }
        let as_number = match limit.kind {
            Kind::Text => None,
            Kind::Number => number(value),
            Kind::Size => size(value),
            Kind::Processors => processors(value),
        };
        let shown = match (limit.kind, as_number) {
            (Kind::Text, _) => Shown::Text(value),
            (Kind::Processors, Some(number)) => in_period(number, given),
            (_, Some(number)) => Shown::Number(number),
            (_, None) => return Err(Wrong::Value(name, value)),
        };
        let Limit { object, member, .. } = limit;
        let written = match before {
            None => write!(section, "{{\"{object}\":{{\"{member}\":{shown}"),
            Some(_) if same_object => write!(section, ",\"{member}\":{shown}"),
            Some(_) => write!(section, "}},\"{object}\":{{\"{member}\":{shown}"),
        };
        written.map_err(|_| Wrong::Long(name))?;
        before = Some(limit);
    }
    match before {
        None => Ok(None),
        Some(last) => {
            let end = section.push_str("}}");
            end.map_err(|_| Wrong::Long(last.option.long))?;
            Ok(Some(section))
        }
    }
}

/// A number of bytes: `-1`, `4096`, `64m`, `1G`, `64kb`.
fn size(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at_checked(end.unwrap_or(text.len()))?;
    let shift = match unit {
        "" | "b" | "B" => 0,
        "k" | "K" | "kb" | "KB" => 10,
        "m" | "M" | "mb" | "MB" => 20,
        "g" | "G" | "gb" | "GB" => 30,
        "t" | "T" | "tb" | "TB" => 40,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

/// The time of a [`PERIOD`] that so many processors have: `2`, `0.5`.
fn processors(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // Five digits make a microsecond.
    if !are_digits(whole)
        || !are_digits(part)
        || part.len() > 5
        || text.len() > 9
        || whole.is_empty()
    {
        return None;
    }
    let mut time = whole.parse::<u64>().ok()?.checked_mul(PERIOD)?;
    let mut unit = PERIOD;
    for digit in part.bytes() {
        unit /= 10;
        time = time.checked_add(u64::from(digit & 0xf).checked_mul(unit)?)?;
    }
    i64::try_from(time).ok().filter(|time| *time > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(words: &[&'a str]) -> Result<Option<String>, Wrong<'a>> {
        let mut given = Given::default();
        given
            .read(&mut words.iter().copied(), &[&OPTIONS], 9)
            .unwrap();
        section(&given).map(|section| section.map(|section| section.to_string()))
    }

    #[test]
    fn options_become_the_section_that_says_the_same() {
        assert_eq!(read(&[]), Ok(None));
        let one = r#"{"pids":{"limit":-1}}"#;
        assert_eq!(read(&["--pids-limit=-1"]), Ok(Some(one.into())));
        let many = r#"{"memory":{"limit":67108864,"swap":-1},"cpu":{"quota":150000,"period":100000,"shares":512,"cpus":"0-3\"","mems":"0"},"blockIO":{"weight":500}}"#;
        let words = "--cpuset-mems 0 --blkio-weight 500 --cpus 1.5 --memory=64m --cpu-share 512 --memory-swap -1 --cpuset-cpus 0-3\"";
        let words: Vec<_> = words.split(' ').collect();
        assert_eq!(read(&words), Ok(Some(many.into())));
    }

    #[test]
    fn processors_are_a_share_of_the_period() {
        let both = r#"{"cpu":{"quota":25000,"period":50000}}"#;
        let words = ["--cpus=0.5", "--cpu-period=50000"];
        assert_eq!(read(&words), Ok(Some(both.into())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |words: &[&str]| read(words).unwrap_err().to_string();
        assert_eq!(wrong(&["--memory", "lots"]), "--memory cannot be \"lots\"");
        assert_eq!(
            wrong(&["--pids-limit", "1m"]),
            "--pids-limit cannot be \"1m\""
        );
        assert_eq!(
            wrong(&["--cpus=1", "--cpu-quota=5"]),
            "--cpus and --cpu-quota set the same limit"
        );
        let long = "0,".repeat(600);
        assert_eq!(
            wrong(&["--cpuset-cpus", &long]),
            "--cpuset-cpus is too long"
        );
    }

    #[test]
    fn sizes_have_units_and_processors_have_parts() {
        for (text, expected) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("64k", Some(65536)),
            ("1G", Some(1 << 30)),
            ("2tb", Some(2 << 40)),
            ("-1", Some(-1)),
            ("-2", None),
            ("", None),
            ("k", None),
            ("1x", None),
            ("99999999t", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
        for (text, expected) in [
            ("1", Some(100_000)),
            ("0.5", Some(50_000)),
            ("2.00001", Some(200_001)),
            ("0", None),
            ("0.000001", None),
            (".5", None),
            ("1.", Some(100_000)),
            ("-1", None),
            ("1e3", None),
        ] {
            assert_eq!(processors(text), expected, "{text}");
        }
    }
}
