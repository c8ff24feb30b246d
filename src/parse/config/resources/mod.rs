//! `linux.resources`: what a container may use, as files of its control group and the lines that are written to them
//! (config-linux.md, "Control groups"; Documentation/admin-guide/cgroup-v2.rst).
//!
//! The specification speaks of version 1 of control groups; what version 2 calls otherwise is converted ([`convert`]), and
//! what it does not have is refused. A limit of -1 is no limit; 0 says nothing, where the specification does not give it a
//! meaning.
//!
//! The section is not copied: it is gone over twice, once to check it and once to write it.

use core::fmt::{self, Write as _};

mod convert;
mod devices;

use devices::{MAJOR_MAX, MINOR_MAX};

use super::error::{ConfigError, Field};
use super::reader::Reader;
use crate::parse::device_policy::{MAX_RULES, Rule};
use crate::parse::json::{self, Node, Value};

/// The longest line that is written to a file of a control group, in bytes.
pub const LINE_MAX: usize = 256;

/// Room for a line.
type Line = heapless::String<LINE_MAX>;

/// A line for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting<'s> {
    /// What asks for it.
    pub field: Field,
    /// The file's name, which begins with that of its controller: `memory.max`.
    pub file: &'s str,
    /// The line, without its end.
    pub line: &'s str,
    /// What it means when there is no such file.
    pub missing: Missing<'s>,
}

/// What it means that a file is missing, of a controller that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing<'s> {
    /// The kernel cannot do it.
    Refuse,
    /// What was asked for is what happens anyway.
    Fine,
    /// This line for this file does the same.
    Instead(&'s str, &'s str),
}

impl Missing<'_> {
    const fn fine_if(is_default: bool) -> Self {
        match is_default {
            true => Self::Fine,
            false => Self::Refuse,
        }
    }
}

impl Setting<'_> {
    /// The controller that it needs: none for `cgroup.max.depth`.
    #[must_use]
    pub fn controller(&self) -> Option<&str> {
        let (controller, _) = self.file.split_once('.')?;
        Some(controller).filter(|name| *name != "cgroup")
    }
}

/// `linux.resources`, checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resources<'a>(Option<Value<'a>>);

/// What is called with each setting.
type See<'s> = &'s mut dyn FnMut(&Setting<'_>);

/// Of these the first is how version 2 always is, and the second is no setting.
const BOOLEANS: [&str; 2] = [
    "linux.resources.memory.useHierarchy",
    "linux.resources.memory.checkBeforeUpdate",
];

/// Where the section is in a configuration. All paths here begin with it.
const SECTION: &str = "linux.resources.";

/// What must be objects, if they are there.
const OBJECTS: [&str; 7] = [
    "linux.resources.memory",
    "linux.resources.cpu",
    "linux.resources.pids",
    "linux.resources.blockIO",
    "linux.resources.network",
    "linux.resources.rdma",
    "linux.resources.unified",
];

/// What version 2 does not have.
const ONLY_VERSION_1: [&str; 7] = [
    SWAPPINESS,
    "linux.resources.memory.disableOOMKiller",
    "linux.resources.cpu.realtimePeriod",
    "linux.resources.cpu.realtimeRuntime",
    "linux.resources.blockIO.leafWeight",
    "linux.resources.network.classID",
    "linux.resources.network.priorities",
];

/// Of this one 0 is a value.
const SWAPPINESS: &str = "linux.resources.memory.swappiness";

const NOT_IN_VERSION_2: &str = "control groups of version 2 have nothing like it";
const LEAF_WEIGHT: &str = "control groups of version 2 have nothing like leafWeight";

const LIMIT: &str = "linux.resources.memory.limit";
const SWAP: &str = "linux.resources.memory.swap";
const DEVICES: &str = "linux.resources.devices[]";

const IDLE: &str = "linux.resources.cpu.idle";
const SHARES: &str = "linux.resources.cpu.shares";
const QUOTA: &str = "linux.resources.cpu.quota";
const BURST: &str = "linux.resources.cpu.burst";
const WEIGHT: &str = "linux.resources.blockIO.weight";
const WEIGHTS: &str = "linux.resources.blockIO.weightDevice[]";
const HUGE_PAGES: &str = "linux.resources.hugepageLimits[]";

/// Lists of limits for one block device each, and the key in `io.max`.
const THROTTLES: [(&str, &str); 4] = [
    ("linux.resources.blockIO.throttleReadBpsDevice[]", "rbps"),
    ("linux.resources.blockIO.throttleWriteBpsDevice[]", "wbps"),
    ("linux.resources.blockIO.throttleReadIOPSDevice[]", "riops"),
    ("linux.resources.blockIO.throttleWriteIOPSDevice[]", "wiops"),
];

const LESS_THAN_MEMORY: &str = "it holds memory and swap together, and is less than memory.limit";
const PAGE_SIZE: &str = "pageSize takes a number with KB, MB or GB";
const LONG: &str = "it takes at most 256 bytes";

impl<'a> Resources<'a> {
    /// Checks a whole section.
    ///
    /// # Errors
    /// The first field that is malformed, or asks for what version 2 of control groups does not have.
    #[inline(never)]
    pub fn check(section: Option<Value<'a>>) -> Result<Self, ConfigError<'a>> {
        let resources = Self(section);
        resources.pass(&mut |_| {}, |pass| pass.shape()?.settings())?;
        let mut count = 0usize;
        resources.each_device_rule(&mut |_| count = count.saturating_add(1))?;
        match count > MAX_RULES {
            true => Err(ConfigError::TooMany {
                field: DEVICES.into(),
                limit: MAX_RULES,
            }),
            false => Ok(resources),
        }
    }

    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none_or(|section| section.is_empty())
    }

    /// Whether it says something of devices. An empty list does not.
    #[must_use]
    pub fn has_device_rules(&self) -> bool {
        let devices = self.0.and_then(|section| section.at("devices"));
        devices.is_some_and(|devices| !devices.is_empty())
    }

    /// Calls `see` with each rule for devices, in order.
    ///
    /// # Errors
    /// What [`Self::check`] finds in it; none, for a section that was checked.
    pub fn each_device_rule(&self, see: &mut dyn FnMut(&Rule)) -> Result<(), ConfigError<'a>> {
        self.pass(&mut |_| {}, |pass| pass.devices(see))
    }

    /// `memory.checkBeforeUpdate`: the limit that must not be set when more is in use already.
    #[must_use]
    pub fn limit_to_check(&self) -> Option<u64> {
        let section = self.0?;
        match section.at("memory.checkBeforeUpdate")?.node() {
            Node::Bool(true) => match section.at("memory.limit")?.node() {
                Node::Number(digits) => digits.parse().ok().filter(|limit| *limit != 0),
                _ => None,
            },
            _ => None,
        }
    }

    /// Calls `see` with each line that is to be written, in that order.
    ///
    /// # Errors
    /// What [`Self::check`] finds in it; none, for a section that was checked.
    pub fn each_setting(&self, see: See<'_>) -> Result<(), ConfigError<'a>> {
        self.pass(see, Pass::settings)
    }

    fn pass<'s>(
        &self,
        see: See<'s>,
        go: impl FnOnce(&mut Pass<'a, 's>) -> Option<()>,
    ) -> Result<(), ConfigError<'a>> {
        let Some(section) = self.0 else {
            return Ok(());
        };
        let mut pass = Pass {
            section,
            see,
            error: None,
        };
        match go(&mut pass) {
            Some(()) => Ok(()),
            None => Err(pass.error.unwrap_or(ConfigError::ScratchFull)),
        }
    }
}

/// The way through a section. What fails leaves its error here and `None` behind: an error on every way back would be most of
/// the code.
struct Pass<'a, 's> {
    section: Value<'a>,
    see: See<'s>,
    error: Option<ConfigError<'a>>,
}

impl<'a> Pass<'a, '_> {
    /// What is no setting.
    fn shape(&mut self) -> Option<&mut Self> {
        self.object(self.section, "linux.resources".into())?;
        for path in OBJECTS {
            if let Some(value) = self.at(path) {
                self.object(value, path.into())?;
            }
        }
        for path in ONLY_VERSION_1 {
            let asked = self.at(path);
            if asked.is_some_and(|value| path == SWAPPINESS || !value.is_empty()) {
                return self.fail(ConfigError::impossible(path, NOT_IN_VERSION_2));
            }
        }
        for path in BOOLEANS {
            if let Some(value) = self.at(path) {
                self.boolean(value, path.into())?;
            }
        }
        Some(self)
    }

    #[inline(never)]
    fn settings(&mut self) -> Option<()> {
        self.put_limit("linux.resources.pids.limit", "pids.max")?;
        self.memory()?;
        self.cpu()?;
        self.put_numbers("linux.resources.cpu.cpus", "cpuset.cpus")?;
        self.put_numbers("linux.resources.cpu.mems", "cpuset.mems")?;
        self.block_io()?;
        self.huge_pages()?;
        self.rdma()?;
        self.unified()
    }

    fn memory(&mut self) -> Option<()> {
        let limit = self.limit(LIMIT)?;
        let swap = match (self.limit(SWAP)?, limit) {
            // Who may use all memory may use all swap.
            (0, -1) | (-1, _) => Some(-1),
            (0, _) => None,
            // Memory and swap together, in version 1.
            (both, 1..) => match both.checked_sub(limit) {
                Some(swap @ 0..) => Some(swap),
                _ => return self.wrong(SWAP, LESS_THAN_MEMORY),
            },
            _ => {
                return self.fail(ConfigError::Needs {
                    field: SWAP.into(),
                    needs: LIMIT,
                });
            }
        };
        if let Some(swap) = swap {
            // A kernel without swap has no limit to lift.
            let missing = Missing::fine_if(swap == -1);
            let line = format_args!("{}", Limit(swap));
            self.put(SWAP, "memory.swap.max", missing, line)?;
        }
        self.put_limit(LIMIT, "memory.max")?;
        self.put_limit("linux.resources.memory.reservation", "memory.low")
    }

    fn cpu(&mut self) -> Option<()> {
        let idle = self.number(IDLE, 1)?;
        if self.at(IDLE).is_some() {
            let missing = Missing::fine_if(idle == 0);
            self.put(IDLE, "cpu.idle", missing, format_args!("{idle}"))?;
        }
        let shares = self.number(SHARES, u64::MAX)?;
        // An idle group has the least weight, and takes no other (sched_group_set_shares of kernel/sched/fair.c).
        if shares != 0 && idle == 0 {
            let weight = convert::cpu_weight(shares);
            self.put(
                SHARES,
                "cpu.weight",
                Missing::Refuse,
                format_args!("{weight}"),
            )?;
        }
        let quota = match self.at(QUOTA) {
            Some(value) => self.signed(value, QUOTA.into())?,
            None => 0,
        };
        let period = self.number("linux.resources.cpu.period", u64::MAX)?;
        let burst = self.number(BURST, u64::MAX)?;
        let has_burst = self.at(BURST).is_some();
        if quota != 0 || period != 0 {
            if has_burst {
                // The old one may be more than the new quota allows.
                self.put(BURST, "cpu.max.burst", Missing::Fine, format_args!("0"))?;
            }
            let mut line = Line::new();
            // Two numbers.
            let _ = write!(line, "{}", Limit(if quota == 0 { -1 } else { quota }));
            if period != 0 {
                let _ = write!(line, " {period}");
            }
            self.put(QUOTA, "cpu.max", Missing::Refuse, format_args!("{line}"))?;
        }
        if has_burst {
            let missing = Missing::fine_if(burst == 0);
            self.put(BURST, "cpu.max.burst", missing, format_args!("{burst}"))?;
        }
        Some(())
    }

    fn block_io(&mut self) -> Option<()> {
        if let Some(value) = self.at(WEIGHT).filter(|value| !value.is_empty()) {
            self.put_weight(WEIGHT.into(), "", value)?;
        }
        for (index, item) in self.list(WEIGHTS)?.enumerate() {
            let field = Field::item(WEIGHTS, index);
            let device = self.block_device(item, field)?;
            let leaf = item.member("leafWeight");
            if leaf.is_some_and(|leaf| !leaf.is_empty()) {
                return self.fail(ConfigError::impossible(field, LEAF_WEIGHT));
            }
            if let Some(value) = item.member("weight").filter(|value| !value.is_empty()) {
                self.put_weight(field, &device, value)?;
            }
        }
        for (path, key) in THROTTLES {
            for (index, item) in self.list(path)?.enumerate() {
                let field = Field::item(path, index);
                let device = self.block_device(item, field)?;
                // In version 1, 0 takes a limit away; in version 2 it is an error.
                let rate = match self.member(item, field, "rate")? {
                    0 => u64::MAX,
                    rate => rate,
                };
                self.put(
                    field,
                    "io.max",
                    Missing::Refuse,
                    format_args!("{device}{key}={rate}"),
                )?;
            }
        }
        Some(())
    }

    /// Of huge pages both what is in use and what is reserved are limited: who has reserved too many gets a signal when it
    /// uses them, and who cannot reserve them an error from mmap(2) (cgroup-v1/hugetlb.rst).
    fn huge_pages(&mut self) -> Option<()> {
        for (index, item) in self.list(HUGE_PAGES)?.enumerate() {
            let field = Field::item(HUGE_PAGES, index);
            self.object(item, field)?;
            let size = match item.member("pageSize") {
                Some(value) => self.text(value, field)?,
                None => return self.wrong(field, PAGE_SIZE),
            };
            let Some(size) = string(size).filter(|size| is_page_size(size)) else {
                return self.wrong(field, PAGE_SIZE);
            };
            let limit = self.member(item, field, "limit")?;
            for (kind, missing) in [(".rsvd", Missing::Fine), ("", Missing::Refuse)] {
                let mut file = Line::new();
                // 30 bytes at most.
                let _ = write!(file, "hugetlb.{size}{kind}.max");
                self.put(field, &file, missing, format_args!("{limit}"))?;
            }
        }
        Some(())
    }

    fn rdma(&mut self) -> Option<()> {
        for (index, (name, value)) in self.members("linux.resources.rdma").enumerate() {
            let field = Field::item("linux.resources.rdma[]", index);
            self.object(value, field)?;
            let Some(name) = string(name).filter(|name| is_word(name) && name.len() <= 64) else {
                return self.wrong(field, "its key is no name of a device");
            };
            // Two numbers more fit: a device's name has 64 bytes at most (IB_DEVICE_NAME_MAX).
            let mut line = name;
            for (member, key) in [("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object")] {
                if let Some(value) = value.member(member) {
                    let number = self.whole(value, field, u32::MAX.into())?;
                    let _ = write!(line, " {key}={number}");
                }
            }
            self.put(field, "rdma.max", Missing::Refuse, format_args!("{line}"))?;
        }
        Some(())
    }

    /// What is written as it is. Of the files that are no controller's, only the bounds of the group are the bundle's affair:
    /// others would move processes, or stop the container before it has begun.
    fn unified(&mut self) -> Option<()> {
        for (index, (file, value)) in self.members("linux.resources.unified").enumerate() {
            let field = Field::item("linux.resources.unified[]", index);
            let file = string(file).filter(|file| is_controllers_file(file));
            let Some(file) = file else {
                return self.wrong(field, "its key is no file of a controller, as memory.high");
            };
            let mut line = Line::new();
            // The kernel takes one line at a time. The last one need not end.
            for c in self.text(value, field)?.chars().chain(['\n']) {
                if c == '\n' {
                    if !line.is_empty() {
                        self.put(field, &file, Missing::Refuse, format_args!("{line}"))?;
                    }
                    line.clear();
                } else if c.is_control() {
                    return self.fail(ConfigError::Control(field));
                } else if line.push(c).is_err() {
                    return self.wrong(field, LONG);
                }
            }
        }
        Some(())
    }

    fn put_limit(&mut self, path: &'static str, file: &str) -> Option<()> {
        match self.limit(path)? {
            0 => Some(()),
            limit => self.put(
                path,
                file,
                Missing::Refuse,
                format_args!("{}", Limit(limit)),
            ),
        }
    }

    /// A list of numbers of processors or of memory nodes (cpuset(7), "List format").
    fn put_numbers(&mut self, path: &'static str, file: &str) -> Option<()> {
        let Some(value) = self.at(path) else {
            return Some(());
        };
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, ',' | '-');
        let Some(list) = string(self.text(value, path.into())?) else {
            return self.wrong(path, LONG);
        };
        match list.chars().all(is_number) {
            true if list.is_empty() => Some(()),
            true => self.put(path, file, Missing::Refuse, format_args!("{list}")),
            false => self.wrong(path, "it takes numbers, as 0-3,7"),
        }
    }

    /// A weight for the BFQ scheduler, or for what the kernel has in its place. `device` is empty for all devices.
    fn put_weight(&mut self, field: Field, device: &str, value: Value<'a>) -> Option<()> {
        let weight = self.whole(value, field, 1000)?;
        if weight < 10 {
            return self.wrong(field, "weight takes 10 to 1000");
        }
        let mut instead = Line::new();
        // Three numbers.
        let _ = write!(instead, "{device}{}", convert::io_weight(weight));
        let missing = Missing::Instead("io.weight", &instead);
        self.put(
            field,
            "io.bfq.weight",
            missing,
            format_args!("{device}{weight}"),
        )
    }

    /// Spells a line and hands it on.
    fn put(
        &mut self,
        field: impl Into<Field>,
        file: &str,
        missing: Missing<'_>,
        arguments: fmt::Arguments<'_>,
    ) -> Option<()> {
        self.put_line(field.into(), file, missing, arguments)
    }

    #[inline(never)]
    fn put_line(
        &mut self,
        field: Field,
        file: &str,
        missing: Missing<'_>,
        arguments: fmt::Arguments<'_>,
    ) -> Option<()> {
        let mut line = Line::new();
        if line.write_fmt(arguments).is_err() {
            return self.wrong(field, LONG);
        }
        (self.see)(&Setting {
            field,
            file,
            line: &line,
            missing,
        });
        Some(())
    }

    /// `8:16 `, as it stands before what is said of a device.
    fn block_device(&mut self, item: Value<'a>, field: Field) -> Option<Line> {
        self.object(item, field)?;
        let [major, minor] = [("major", MAJOR_MAX), ("minor", MINOR_MAX)].map(|(name, max)| {
            let number = self.member(item, field, name)?;
            match number > max {
                true => self.wrong(field, "no device has such numbers"),
                false => Some(number),
            }
        });
        let mut device = Line::new();
        // 13 bytes at most.
        let _ = write!(device, "{}:{} ", major?, minor?);
        Some(device)
    }

    /// What this path leads to, from the whole configuration's root.
    fn at(&self, path: &str) -> Option<Value<'a>> {
        self.section.at(path.strip_prefix(SECTION)?)
    }

    /// The items of a list, whose path ends in `[]`.
    #[inline(never)]
    fn list(&mut self, path: &'static str) -> Option<impl Iterator<Item = Value<'a>> + use<'a>> {
        let name = path.strip_prefix(SECTION)?.strip_suffix("[]")?;
        let reader = Reader::default();
        match reader.list(self.section, name, path.into()) {
            Ok(items) => Some(items),
            Err(refused) => self.fail(reader.error(refused)),
        }
    }

    fn members(&self, path: &str) -> impl Iterator<Item = (json::Text<'a>, Value<'a>)> + use<'a> {
        let members = match self.at(path).map(|value| value.node()) {
            Some(Node::Object(members)) => Some(members),
            _ => None,
        };
        members.into_iter().flatten()
    }

    /// A limit: -1 for none, 0 when nothing is said.
    fn limit(&mut self, path: &'static str) -> Option<i64> {
        match self.at(path) {
            None => Some(0),
            Some(value) => match self.signed(value, path.into())? {
                limit @ -1.. => Some(limit),
                _ => self.wrong(path, "it takes -1 or more"),
            },
        }
    }

    /// A number, 0 when nothing is said.
    fn number(&mut self, path: &'static str, max: u64) -> Option<u64> {
        match self.at(path) {
            None => Some(0),
            Some(value) => self.whole(value, path.into(), max),
        }
    }

    /// A number that has to be there.
    fn member(&mut self, item: Value<'a>, field: Field, name: &'static str) -> Option<u64> {
        match item.member(name) {
            Some(value) => self.whole(value, field, u64::MAX),
            None => self.fail(ConfigError::Needs { field, needs: name }),
        }
    }

    fn signed(&mut self, value: Value<'a>, field: Field) -> Option<i64> {
        let digits = self.digits(value, field)?;
        let accepts = "a whole number of 64 bits";
        let number = digits.parse().ok();
        number.or_else(|| self.fail(ConfigError::bad(field, digits, accepts)))
    }

    fn whole(&mut self, value: Value<'a>, field: Field, max: u64) -> Option<u64> {
        let digits = self.digits(value, field)?;
        let accepts = match max {
            u64::MAX => "a whole number of 64 bits, 0 or more",
            _ => "a smaller number, 0 or more",
        };
        let number = digits.parse().ok().filter(|number| *number <= max);
        number.or_else(|| self.fail(ConfigError::bad(field, digits, accepts)))
    }

    fn digits(&mut self, value: Value<'a>, field: Field) -> Option<&'a str> {
        match value.node() {
            Node::Number(digits) => Some(digits),
            _ => self.mistyped(field, "a number"),
        }
    }

    fn text(&mut self, value: Value<'a>, field: Field) -> Option<json::Text<'a>> {
        match value.node() {
            Node::String(text) => Some(text),
            _ => self.mistyped(field, "a string"),
        }
    }

    fn boolean(&mut self, value: Value<'a>, field: Field) -> Option<bool> {
        match value.node() {
            Node::Bool(value) => Some(value),
            _ => self.mistyped(field, "true or false"),
        }
    }

    fn object(&mut self, value: Value<'a>, field: Field) -> Option<()> {
        match value.node() {
            Node::Object(_) => Some(()),
            _ => self.mistyped(field, "an object"),
        }
    }

    #[cold]
    #[inline(never)]
    fn mistyped<T>(&mut self, field: Field, expected: &'static str) -> Option<T> {
        self.fail(ConfigError::Type { field, expected })
    }

    fn wrong<T>(&mut self, field: impl Into<Field>, why: &'static str) -> Option<T> {
        self.fail(ConfigError::wrong(field, why))
    }

    #[cold]
    fn fail<T>(&mut self, error: ConfigError<'a>) -> Option<T> {
        self.error = Some(error);
        None
    }
}

/// A limit as the kernel reads it; negative ones are none.
struct Limit(i64);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ..0 => f.write_str("max"),
            limit => write!(f, "{limit}"),
        }
    }
}

/// The text that is meant, if it is no longer than a line.
fn string(text: json::Text<'_>) -> Option<Line> {
    let mut string = Line::new();
    text.chars().try_for_each(|c| string.push(c)).ok()?;
    Some(string)
}

/// `2MB`, as `/sys/fs/cgroup` has it in the names of files.
fn is_page_size(size: &str) -> bool {
    let units = ["KB", "MB", "GB"];
    let number = units.iter().find_map(|unit| size.strip_suffix(unit));
    let is_number = |number: &str| number.bytes().all(|b| b.is_ascii_digit());
    number.is_some_and(|number| (1..=9).contains(&number.len()) && is_number(number))
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether it is the name of a file that a bundle may write to.
fn is_controllers_file(file: &str) -> bool {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let is_allowed = match file.split_once('.') {
        Some(("cgroup", rest)) => matches!(rest, "max.depth" | "max.descendants"),
        Some((controller, rest)) => !controller.is_empty() && !rest.is_empty(),
        None => false,
    };
    is_allowed && file.bytes().all(is_name)
}

#[cfg(test)]
mod tests;
