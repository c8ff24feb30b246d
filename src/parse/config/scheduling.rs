//! `process.scheduler` and `process.ioPriority`: when a program gets the processor and the disks
//! (sched(7), ioprio_set(2); `config.md`, "Linux Process"); and `linux.personality`.

use super::error::{ConfigError, Field};
use super::members::{Takes, place};
use super::reader::{Reader, Refused};
use crate::parse::json::Value;

/// In the order of their numbers (include/uapi/linux/sched.h). The kernel has reserved that of ISO,
/// and has none.
const POLICIES: [&str; 7] = ["OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE"];

pub(super) const POLICY: Takes = Takes::Word("SCHED_", &POLICIES, "a SCHED_ policy of sched(7)");

pub(super) const TIME: Takes = Takes::Number(u64::MAX, "nanoseconds");

pub(super) const IO_CLASS: Takes = Takes::Word(
    "IOPRIO_CLASS_",
    &["RT", "BE", "IDLE"],
    "IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE",
);

pub(super) const DOMAIN: Takes = Takes::Word("", &["LINUX", "LINUX32"], "LINUX or LINUX32");

/// In the order of their bits. The last two are about values that the specification has no fields
/// for.
const FLAGS: [&str; 7] = [
    "RESET_ON_FORK",
    "RECLAIM",
    "DL_OVERRUN",
    "KEEP_POLICY",
    "KEEP_PARAMS",
    "UTIL_CLAMP_MIN",
    "UTIL_CLAMP_MAX",
];
const FIRST_WITHOUT_VALUE: usize = 5;

/// `process.scheduler`, as sched_setattr(2) takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduler {
    /// `SCHED_*`, the kernel's number.
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// `nice`
    pub nice: i32,
    /// `priority`
    pub priority: u32,
    /// `runtime`, in ns.
    pub runtime: u64,
    /// `deadline`, in ns.
    pub deadline: u64,
    /// `period`, in ns.
    pub period: u64,
}

impl Scheduler {
    /// The name of its policy, without `SCHED_`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let number = self.policy as usize;
        POLICIES.get(number).copied().unwrap_or_default()
    }
}

/// `process.scheduler.flags`
pub(super) fn flags<'a>(reader: &Reader<'a>, list: Value<'a>) -> Result<u64, Refused> {
    const LIST: &str = "process.scheduler.flags[]";
    let mut flags = 0;
    for (index, item) in reader.items(list, LIST.into())?.enumerate() {
        let field = Field::item(LIST, index);
        let flag = reader.text(item, field)?;
        let value = flag.written();
        match place(flag, "SCHED_FLAG_", &FLAGS) {
            Some(bit) if bit < FIRST_WITHOUT_VALUE => flags |= 1 << bit,
            Some(_) => {
                return Err(reader.refuse(ConfigError::UnsupportedValue { field, value }));
            }
            None => {
                return Err(reader.bad(field, value, "the SCHED_FLAG_ of sched_setattr(2)"));
            }
        }
    }
    Ok(flags)
}

/// A class of `process.ioPriority`, as it is in the number that ioprio_set(2) takes: above the
/// priority.
pub(super) const fn io_class(class: u64) -> u16 {
    // The classes' numbers begin with 1 (include/uapi/linux/ioprio.h).
    (class as u16).saturating_add(1) << 13
}

/// `linux.personality.domain`, as personality(2) takes it (`config-linux.md`, "Personality").
pub(super) const fn personality(domain: u64) -> u32 {
    // PER_LINUX and PER_LINUX32 (include/uapi/linux/personality.h).
    if domain == 0 { 0 } else { 8 }
}
