//! `process.rlimits`: what a program may use up (setrlimit(2); `config.md`, "POSIX process").

use heapless::Vec;

use super::error::Field;
use super::members::Takes;
use super::reader::{Reader, Refused};
use crate::parse::json::Value;

const LIST: &str = "process.rlimits";
const TYPE: &str = "process.rlimits[].type";
const SOFT: &str = "process.rlimits[].soft";

/// What there are limits for, in the order of their numbers (include/uapi/asm-generic/resource.h).
const RESOURCES: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

const LIMIT: Takes = Takes::Number(u64::MAX, "0 to 18446744073709551615, which is no limit");

const RESOURCE: Takes = Takes::Word("RLIMIT_", &RESOURCES, "RLIMIT_ and a name of setrlimit(2)");

/// What an item has, and their paths.
pub(super) const NAMES: [&str; 3] = ["type", "soft", "hard"];
const MEMBERS: [(&str, Takes); 3] = [
    (TYPE, RESOURCE),
    (SOFT, LIMIT),
    ("process.rlimits[].hard", LIMIT),
];

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*`, the kernel's number.
    pub resource: u32,
    /// What is enforced; the largest number is none.
    pub soft: u64,
    /// To where the program may raise it.
    pub hard: u64,
}

/// Limits, each resource once.
pub(super) type Rlimits = Vec<Rlimit, { RESOURCES.len() }>;

impl Rlimit {
    /// The name of the resource, without `RLIMIT_`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let number = self.resource as usize;
        RESOURCES.get(number).copied().unwrap_or_default()
    }
}

pub(super) fn read<'a>(reader: &Reader<'a>, list: Value<'a>) -> Result<Rlimits, Refused> {
    let mut rlimits = Rlimits::new();
    for (index, item) in reader.items(list, LIST.into())?.enumerate() {
        let item = reader.object(item, Field::item("process.rlimits[]", index))?;
        let mut values = [0; NAMES.len()];
        let members = item.members(&NAMES).into_iter().zip(&MEMBERS);
        for ((member, (path, takes)), value) in members.zip(&mut values) {
            let field = Field::item(path, index);
            let member = member.ok_or_else(|| reader.missing(field))?;
            *value = takes.read(reader, member, field)?;
        }
        let [resource, soft, hard] = values;
        let refused = |path, needs| {
            let field = Field::item(path, index);
            Err(reader.needs(field, needs))
        };
        if soft > hard {
            return refused(SOFT, "a hard limit that is not below it");
        }
        let rlimit = Rlimit {
            resource: resource as u32,
            soft,
            hard,
        };
        let is_there = |other: &Rlimit| other.resource == rlimit.resource;
        // There are as many places as resources.
        if rlimits.iter().any(is_there) || rlimits.push(rlimit).is_err() {
            return refused(TYPE, "to differ from those before it");
        }
    }
    Ok(rlimits)
}

#[cfg(test)]
mod tests {
    use linux_raw_sys::general as linux;

    use super::RESOURCES;

    #[test]
    fn the_place_of_a_name_is_the_kernels_number() {
        for (name, number) in [
            ("CPU", linux::RLIMIT_CPU),
            ("CORE", linux::RLIMIT_CORE),
            ("NPROC", linux::RLIMIT_NPROC),
            ("NOFILE", linux::RLIMIT_NOFILE),
            ("AS", linux::RLIMIT_AS),
            ("LOCKS", linux::RLIMIT_LOCKS),
            ("RTTIME", linux::RLIMIT_RTTIME),
        ] {
            assert_eq!(RESOURCES[number as usize], name);
        }
    }
}
