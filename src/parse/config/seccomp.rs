//! `linux.seccomp`: which system calls a container's processes may make.
//!
//! A profile is long, Docker's has 15 KiB, and is not copied: [`Seccomp`] is the place in the
//! document where it stands. It was gone over once, so that a mistake anywhere in it is an error
//! here, and is gone over again when it is compiled ([`crate::parse::seccomp`]).

use super::error::Field;
use super::reader::{Reader, Refused, Use};
use crate::parse::json::{Items, Node, Text, Value};
use crate::parse::seccomp::{ARCHITECTURE_NAME, Verdict};

/// A profile.
#[derive(Clone, Copy, Debug)]
pub struct Seccomp<'a> {
    /// `syscalls`
    rules: Option<Value<'a>>,
    /// `defaultAction`, with `defaultErrnoRet`: the fate of calls that no rule matches.
    pub default: Verdict,
    /// `flags`, as seccomp(2) takes them.
    pub flags: u32,
    /// Whether `architectures` has others than this machine's.
    pub has_foreign: bool,
    /// The agent that is asked about calls, where a rule says so.
    pub agent: Option<Agent<'a>>,
}

/// The agent of SCMP_ACT_NOTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agent<'a> {
    /// `listenerPath`: the socket that it listens at, on the host. Absolute, at most 107 bytes.
    pub path: &'a str,
    /// `listenerMetadata`, as it is written, with its quotes.
    pub metadata: Option<&'a str>,
}

/// An item of `syscalls`.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    names: Option<Value<'a>>,
    action: Option<Value<'a>>,
    data: Option<Value<'a>>,
    args: Option<Value<'a>>,
}

/// An item of `args`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// `index`: which argument, 0 to 5.
    pub index: u8,
    /// `op`
    pub operator: Operator,
    /// `value`: what it is compared with; of [`Operator::MaskedEqual`] the mask.
    pub value: u64,
    /// `valueTwo`: what a masked argument is compared with.
    pub value_two: u64,
}

/// How an argument is compared; all numbers are without sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    MaskedEqual,
}

/// Words and what each stands for, and what is said to one that is not among them.
pub type Words = (&'static [(&'static str, u32)], &'static str);

/// Numbers of [`Operator::ALL`].
pub const OPERATORS: Words = (
    &[
        ("SCMP_CMP_NE", 0),
        ("SCMP_CMP_LT", 1),
        ("SCMP_CMP_LE", 2),
        ("SCMP_CMP_EQ", 3),
        ("SCMP_CMP_GE", 4),
        ("SCMP_CMP_GT", 5),
        ("SCMP_CMP_MASKED_EQ", 6),
    ],
    "SCMP_CMP_NE, LT, LE, EQ, GE, GT or MASKED_EQ",
);

impl Operator {
    /// In the order of the specification.
    pub const ALL: [Self; 7] = [
        Self::NotEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Equal,
        Self::GreaterOrEqual,
        Self::Greater,
        Self::MaskedEqual,
    ];
}

/// What can be done with a call, as a filter returns it.
pub const ACTIONS: Words = (
    &[
        ("SCMP_ACT_ALLOW", Verdict::ALLOW.0),
        ("SCMP_ACT_ERRNO", Verdict::ERRNO.0),
        ("SCMP_ACT_KILL", Verdict::KILL_THREAD.0),
        ("SCMP_ACT_KILL_PROCESS", Verdict::KILL_PROCESS.0),
        ("SCMP_ACT_KILL_THREAD", Verdict::KILL_THREAD.0),
        ("SCMP_ACT_LOG", Verdict::LOG.0),
        ("SCMP_ACT_NOTIFY", Verdict::NOTIFY.0),
        ("SCMP_ACT_TRACE", Verdict::TRACE.0),
        ("SCMP_ACT_TRAP", Verdict::TRAP.0),
    ],
    "SCMP_ACT_ALLOW, ERRNO, KILL, KILL_PROCESS, KILL_THREAD, LOG, NOTIFY, TRACE or TRAP",
);

/// Flags (seccomp(2), SECCOMP_SET_MODE_FILTER).
pub const FLAGS: Words = (
    &[
        ("SECCOMP_FILTER_FLAG_TSYNC", 1),
        ("SECCOMP_FILTER_FLAG_LOG", 2),
        ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 4),
        // Of Linux 5.19, and last, as the newest.
        ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE_RECV),
    ],
    "SECCOMP_FILTER_FLAG_TSYNC, LOG, SPEC_ALLOW or WAIT_KILLABLE_RECV",
);

/// Of a filter that asks an agent: who waits for its answer can only be killed.
pub const WAIT_KILLABLE_RECV: u32 = 32;

/// The longest path of a socket, in bytes: there is room for its NUL besides (unix(7), `sun_path`).
const SOCKET_MAX: usize = 107;

const LISTENER: &str = "linux.seccomp.listenerPath";
const METADATA: &str = "linux.seccomp.listenerMetadata";
const PROFILE: &str = "linux.seccomp";
/// What a profile has.
pub(super) const MEMBERS: [&str; 7] = [
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "flags",
    "syscalls",
    "listenerPath",
    "listenerMetadata",
];
/// What an item of `syscalls` has, and one of its `args`.
pub(super) const OF_RULE: [&str; 4] = ["names", "action", "errnoRet", "args"];
pub(super) const OF_COMPARISON: [&str; 4] = ["op", "index", "value", "valueTwo"];
/// What is warned of where it has others than this machine's.
pub(super) const ARCHITECTURES: &str = "linux.seccomp.architectures besides this machine's";

impl<'a> Seccomp<'a> {
    #[inline(never)]
    pub(super) fn read(reader: &Reader<'a>, profile: Value<'a>) -> Result<Self, Refused> {
        reader.object(profile, PROFILE)?;
        let [
            action,
            data,
            architectures,
            flags,
            rules,
            listener,
            metadata,
        ] = profile.members(&MEMBERS);
        let default = Outcome {
            action: "linux.seccomp.defaultAction",
            data: "linux.seccomp.defaultErrnoRet",
        };
        let mut read = Self {
            rules,
            default: default.read(reader, [action, data], None)?,
            flags: 0,
            has_foreign: false,
            agent: None,
        };
        if read.default == Verdict::NOTIFY {
            let why = "SCMP_ACT_NOTIFY here would have the agent asked about the calls by which it is told";
            return Err(reader.impossible(default.action, why));
        }
        let path = "linux.seccomp.architectures[]";
        for (index, item) in reader.items_if_any(architectures, path.into())?.enumerate() {
            let field = Field::item(path, index);
            let name = reader.text(item, field)?;
            if !name.starts_with("SCMP_ARCH_") {
                let name = reader.string(item, field, Use::Name)?;
                return Err(reader.bad(field, name, ARCHITECTURE_NAME));
            }
            read.has_foreign |= !name.is(ARCHITECTURE_NAME) && !name.is("SCMP_ARCH_NATIVE");
        }
        let path = "linux.seccomp.flags[]";
        for (index, item) in reader.items_if_any(flags, path.into())?.enumerate() {
            read.flags |= word(reader, item, Field::item(path, index), FLAGS)?;
        }
        let path = "linux.seccomp.syscalls[]";
        let mut asking = None;
        let mut items = rules
            .map(|rules| reader.items(rules, path.into()))
            .transpose()?;
        let mut index = 0usize;
        while let Some(items) = &mut items
            && let Some(item) = items.next()
        {
            reader.object(item, Field::item(path, index))?;
            let rule = Rule::of(items.members(item, &OF_RULE));
            if check_rule(reader, &rule, index)? == Verdict::NOTIFY {
                asking = Some(index);
            }
            index = index.saturating_add(1);
        }
        read.agent = agent(reader, [listener, metadata], asking)?;
        if read.agent.is_none() {
            // It says how an agent is waited for, and the kernel refuses it where there is none.
            read.flags &= !WAIT_KILLABLE_RECV;
        }
        Ok(read)
    }

    /// `syscalls`
    pub fn rules(&self) -> impl Iterator<Item = Rule<'a>> + use<'a> {
        items(self.rules).map(|item| Rule::of(item.members(&OF_RULE)))
    }
}

impl<'a> Rule<'a> {
    fn of([names, action, data, args]: [Option<Value<'a>>; OF_RULE.len()]) -> Self {
        Self {
            names,
            action,
            data,
            args,
        }
    }

    /// `names`
    pub fn names(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        let items = match self.names.map(|names| names.node()) {
            Some(Node::Array(items)) => Some(items),
            _ => None,
        };
        let strings = items.into_iter().flat_map(Items::strings);
        strings.flatten()
    }

    /// `action`, with `errnoRet`
    pub fn verdict(&self) -> Verdict {
        let action = self.action.and_then(|word| find(word, ACTIONS.0));
        // It was read before, so it is there.
        let action = action.unwrap_or(Verdict::KILL_PROCESS.0);
        with_data(action, self.data)
    }

    /// Whether it has `args`.
    pub fn has_args(&self) -> bool {
        items(self.args).next().is_some()
    }

    /// `args`
    pub fn comparisons(&self) -> impl Iterator<Item = Comparison> + use<'a> {
        items(self.args).filter_map(|item| {
            let [operator, index, value, value_two] = item.members(&OF_COMPARISON);
            let operator = find(operator?, OPERATORS.0)?;
            Some(Comparison {
                index: unsigned(index?)? as u8,
                operator: *Operator::ALL.get(operator as usize)?,
                value: unsigned(value?)?,
                value_two: value_two.and_then(unsigned).unwrap_or(0),
            })
        })
    }

    /// Whether `args` has one argument twice.
    pub fn compares_twice(&self) -> bool {
        let mut seen = 0u64;
        self.comparisons().any(|one| {
            let bit = 1u64.checked_shl(one.index.into()).unwrap_or(0);
            let is_seen = seen & bit != 0;
            seen |= bit;
            is_seen
        })
    }
}

/// The agent, if the rule number `asking` has it asked. If none does, it need not be there: its
/// path is ignored then, as the specification has it.
#[inline(never)]
fn agent<'a>(
    reader: &Reader<'a>,
    [listener, metadata]: [Option<Value<'a>>; 2],
    asking: Option<usize>,
) -> Result<Option<Agent<'a>>, Refused> {
    let is_given = |value: Option<Value<'_>>| value.is_some_and(|value| !value.is_empty());
    if is_given(metadata) && !is_given(listener) {
        return Err(reader.needs(METADATA, LISTENER));
    }
    let Some(index) = asking else {
        return Ok(None);
    };
    let Some(path) = reader.optional(listener, LISTENER.into(), Use::Name)? else {
        let field = Field::item("linux.seccomp.syscalls[].action", index);
        return Err(reader.needs(field, LISTENER));
    };
    if !path.starts_with('/') || path.len() > SOCKET_MAX {
        return Err(reader.bad(LISTENER, path, "an absolute path of at most 107 bytes"));
    }
    if let Some(text) = metadata {
        reader.text(text, METADATA.into())?;
    }
    let metadata = metadata.map(|text| text.as_written());
    Ok(Some(Agent { path, metadata }))
}

/// Goes over a rule; its verdict.
#[inline(never)]
fn check_rule<'a>(reader: &Reader<'a>, rule: &Rule<'a>, index: usize) -> Result<Verdict, Refused> {
    let list = Field::item("linux.seccomp.syscalls[].names", index);
    let names = rule
        .names
        .map(|names| reader.items(names, list))
        .transpose()?;
    let mut has_name = false;
    for name in names.into_iter().flat_map(Items::strings) {
        let field = Field::item("linux.seccomp.syscalls[].names[]", index);
        has_name = !name.ok_or_else(|| reader.not(field, "a string"))?.is("");
        if !has_name {
            break;
        }
    }
    if !has_name {
        return Err(reader.missing(Field::item("linux.seccomp.syscalls[].names[]", index)));
    }
    let outcome = Outcome {
        action: "linux.seccomp.syscalls[].action",
        data: "linux.seccomp.syscalls[].errnoRet",
    };
    let verdict = outcome.read(reader, [rule.action, rule.data], Some(index))?;
    let list = Field::item("linux.seccomp.syscalls[].args", index);
    for item in reader.items_if_any(rule.args, list)? {
        let path = "linux.seccomp.syscalls[].args[]";
        let [operator, numbers @ ..] = reader
            .object(item, Field::item(path, index))?
            .members(&OF_COMPARISON);
        let op = Field::item("linux.seccomp.syscalls[].args[].op", index);
        let operator = operator.ok_or_else(|| reader.missing(op))?;
        word(reader, operator, op, OPERATORS)?;
        for (value, (path, range, is_needed)) in numbers.into_iter().zip(NUMBERS) {
            let field = Field::item(path, index);
            match value {
                Some(value) => number(reader, value, field, range)?,
                None if is_needed => return Err(reader.missing(field)),
                None => {}
            }
        }
    }
    Ok(verdict)
}

/// A largest number, and what a field takes that has it.
type Range = (u64, &'static str);

const WHOLE: Range = (u64::MAX, "0 to 18446744073709551615");

/// The numbers of an item of `args`: their paths, their ranges, and whether they have to be there.
const NUMBERS: [(&str, Range, bool); 3] = [
    ("linux.seccomp.syscalls[].args[].index", (5, "0 to 5"), true),
    ("linux.seccomp.syscalls[].args[].value", WHOLE, true),
    ("linux.seccomp.syscalls[].args[].valueTwo", WHOLE, false),
];

/// An action and the number that it returns, by their paths.
struct Outcome {
    action: &'static str,
    data: &'static str,
}

impl Outcome {
    #[inline(never)]
    fn read<'a>(
        &self,
        reader: &Reader<'a>,
        [action, data]: [Option<Value<'a>>; 2],
        index: Option<usize>,
    ) -> Result<Verdict, Refused> {
        let field = |path| match index {
            Some(index) => Field::item(path, index),
            None => Field::from(path),
        };
        let at = field(self.action);
        let action = action.ok_or_else(|| reader.missing(at))?;
        let action = word(reader, action, at, ACTIONS)?;
        let path = self.data;
        if let Some(data) = data {
            let range = match largest_data(action) {
                Some(4095) => (4095, "0 to 4095"),
                Some(largest) => (largest.into(), "0 to 65535"),
                None => {
                    return Err(reader.needs(
                        field(path),
                        "SCMP_ACT_ERRNO or SCMP_ACT_TRACE as its action",
                    ));
                }
            };
            number(reader, data, field(path), range)?;
        }
        Ok(with_data(action, data))
    }
}

/// The largest number that the action returns, if it returns one: the kernel has no larger error
/// number than this (include/linux/err.h, MAX_ERRNO), and a tracer gets what it can tell from
/// nothing.
fn largest_data(action: u32) -> Option<u16> {
    match Verdict(action) {
        Verdict::ERRNO => Some(4095),
        Verdict::TRACE => Some(u16::MAX),
        _ => None,
    }
}

/// The verdict of the action with its number, which is EPERM unless it is given.
fn with_data(action: u32, data: Option<Value<'_>>) -> Verdict {
    let data = match (largest_data(action), data) {
        (Some(_), None) => linux_raw_sys::errno::EPERM,
        (Some(largest), Some(data)) => {
            unsigned(data).map_or(0, |data| data as u32 & u32::from(largest))
        }
        (None, _) => 0,
    };
    Verdict(action | data)
}

/// What a word stands for.
#[inline(never)]
fn word<'a>(
    reader: &Reader<'a>,
    value: Value<'a>,
    field: Field,
    (words, accepts): Words,
) -> Result<u32, Refused> {
    if let Some(found) = find(value, words) {
        return Ok(found);
    }
    let value = reader.string(value, field, Use::Name)?;
    Err(reader.bad(field, value, accepts))
}

fn find(value: Value<'_>, words: &[(&str, u32)]) -> Option<u32> {
    let Node::String(text) = value.node() else {
        return None;
    };
    let found = words.iter().find(|(word, _)| text.is(word));
    found.map(|(_, meaning)| *meaning)
}

#[inline(never)]
fn number<'a>(
    reader: &Reader<'a>,
    value: Value<'a>,
    field: Field,
    (largest, accepts): Range,
) -> Result<(), Refused> {
    match value.node() {
        _ if unsigned(value).is_some_and(|number| number <= largest) => Ok(()),
        Node::Number(digits) => Err(reader.bad(field, digits, accepts)),
        _ => Err(reader.not(field, "a number")),
    }
}

#[inline(never)]
fn unsigned(value: Value<'_>) -> Option<u64> {
    match value.node() {
        Node::Number(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// The items of a list that was read before.
#[inline(never)]
fn items<'a>(list: Option<Value<'a>>) -> impl Iterator<Item = Value<'a>> + use<'a> {
    match list.map(|list| list.node()) {
        Some(Node::Array(items)) => Some(items).into_iter().flatten(),
        _ => None.into_iter().flatten(),
    }
}
