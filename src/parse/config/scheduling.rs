//! `process.scheduler` and `process.ioPriority`: when a program gets the processor and the disks (sched(7), ioprio_set(2);
//! `config.md`, "Linux Process"); and `linux.personality`.

use super::error::{ConfigError, Field};
use super::members::{self, Member, Takes, place};
use super::reader::{Reader, Refused};
use crate::parse::json::Value;

/// In the order of their numbers (include/uapi/linux/sched.h). The kernel has reserved that of ISO, and has none.
const POLICIES: [&str; 7] = ["OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE"];

const TIME: Takes = Takes::Number(u64::MAX, "nanoseconds");

const SCHEDULER: [Member; 6] = [
    Member::required(
        "process.scheduler.policy",
        Takes::Word("SCHED_", &POLICIES, "a SCHED_ policy of sched(7)"),
    ),
    Member::optional(
        "process.scheduler.nice",
        Takes::Signed(-20, 19, "-20 to 19"),
    ),
    Member::optional("process.scheduler.priority", Takes::Number(99, "0 to 99")),
    Member::optional("process.scheduler.runtime", TIME),
    Member::optional("process.scheduler.deadline", TIME),
    Member::optional("process.scheduler.period", TIME),
];

const IO_PRIORITY: [Member; 2] = [
    Member::required(
        "process.ioPriority.class",
        Takes::Word(
            "IOPRIO_CLASS_",
            &["RT", "BE", "IDLE"],
            "IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE",
        ),
    ),
    Member::optional("process.ioPriority.priority", Takes::Number(7, "0 to 7")),
];

const PERSONALITY: [Member; 1] = [Member::required(
    "linux.personality.domain",
    Takes::Word("", &["LINUX", "LINUX32"], "LINUX or LINUX32"),
)];

/// In the order of their bits. The last two are about values that the specification has no fields for.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    #[inline(never)]
    pub(super) fn read<'a>(
        reader: &Reader<'a>,
        config: Value<'a>,
    ) -> Result<Option<Self>, Refused> {
        let Some(scheduler) = reader.section(config, "process.scheduler")? else {
            return Ok(None);
        };
        let values = members::read(reader, scheduler, None, &SCHEDULER)?;
        let mut flags = 0;
        const LIST: &str = "process.scheduler.flags[]";
        for (index, item) in reader.list(scheduler, "flags", LIST.into())?.enumerate() {
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
        let [policy, nice, priority, runtime, deadline, period] =
            values.map(Option::unwrap_or_default);
        Ok(Some(Self {
            policy: policy as u32,
            flags,
            nice: nice as i32,
            priority: priority as u32,
            runtime,
            deadline,
            period,
        }))
    }
}

/// `process.ioPriority`, as ioprio_set(2) takes it: class and priority in one number.
pub(super) fn io_priority<'a>(
    reader: &Reader<'a>,
    config: Value<'a>,
) -> Result<Option<u16>, Refused> {
    let Some(io) = reader.section(config, "process.ioPriority")? else {
        return Ok(None);
    };
    let values = members::read(reader, io, None, &IO_PRIORITY)?;
    let [class, priority] = values.map(|value| value.unwrap_or_default() as u16);
    // The classes' numbers begin with 1 (include/uapi/linux/ioprio.h).
    Ok(Some((class.saturating_add(1) << 13) | priority))
}

/// `linux.personality`, as personality(2) takes it (`config-linux.md`, "Personality").
pub(super) fn personality<'a>(
    reader: &Reader<'a>,
    config: Value<'a>,
) -> Result<Option<u32>, Refused> {
    let Some(personality) = reader.section(config, "linux.personality")? else {
        return Ok(None);
    };
    let [domain] = members::read(reader, personality, None, &PERSONALITY)?;
    // The specification has none so far.
    if personality
        .member("flags")
        .is_some_and(|flags| !flags.is_empty())
    {
        return Err(reader.unsupported("linux.personality.flags"));
    }
    // PER_LINUX and PER_LINUX32 (include/uapi/linux/personality.h).
    Ok(Some(if domain == Some(0) { 0 } else { 8 }))
}
