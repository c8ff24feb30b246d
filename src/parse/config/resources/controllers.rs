//! What each controller is asked for: from the members of the section to lines for files.

use core::fmt::{self, Write as _};

use super::devices::{MAJOR_MAX, MINOR_MAX};
use super::{Line, Missing, Pass, Setting, convert};
use crate::parse::config::error::{ConfigError, Field};
use crate::parse::json::{self, Value};

const NO_LEAF_WEIGHT: &str = "control groups of version 2 have nothing like leafWeight";
const LIMIT: &str = "linux.resources.memory.limit";
const SWAP: &str = "linux.resources.memory.swap";
const IDLE: &str = "linux.resources.cpu.idle";
const SHARES: &str = "linux.resources.cpu.shares";
const QUOTA: &str = "linux.resources.cpu.quota";
const BURST: &str = "linux.resources.cpu.burst";
const WEIGHT: &str = "linux.resources.blockIO.weight";
const WEIGHTS: &str = "linux.resources.blockIO.weightDevice[]";
const HUGE_PAGES: &str = "linux.resources.hugepageLimits[]";
const LESS_THAN_MEMORY: &str = "it holds memory and swap together, and is less than memory.limit";
const PAGE_SIZE: &str = "pageSize takes a number with KB, MB or GB";
const LONG: &str = "it takes at most 256 bytes";

/// What an item of `blockIO.weightDevice` has, one of the `blockIO.throttle…Device` lists, one of
/// `hugepageLimits`, and a member of `rdma`.
pub(in crate::parse::config) const OF_WEIGHT: [&str; 4] = ["major", "minor", "weight", LEAF_WEIGHT];
pub(in crate::parse::config) const LEAF_WEIGHT: &str = "leafWeight";
pub(in crate::parse::config) const OF_THROTTLE: [&str; 3] = ["major", "minor", "rate"];
pub(in crate::parse::config) const OF_HUGE_PAGES: [&str; 2] = ["pageSize", "limit"];
pub(in crate::parse::config) const OF_RDMA: [&str; 2] = ["hcaHandles", "hcaObjects"];

/// Lists of limits for one block device each, and the key in `io.max`.
const THROTTLES: [(&str, &str); 4] = [
    ("linux.resources.blockIO.throttleReadBpsDevice[]", "rbps"),
    ("linux.resources.blockIO.throttleWriteBpsDevice[]", "wbps"),
    ("linux.resources.blockIO.throttleReadIOPSDevice[]", "riops"),
    ("linux.resources.blockIO.throttleWriteIOPSDevice[]", "wiops"),
];

impl<'a> Pass<'a, '_> {
    #[inline(never)]
    pub(super) fn settings(&mut self) -> Option<()> {
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
            // A group that may use all memory may use all swap.
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
        // An idle group has the least weight, and takes no other (sched_group_set_shares of
        // kernel/sched/fair.c).
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
            // Two numbers. A period alone leaves the quota as it is: see `Setting::line`.
            if quota != 0 {
                let _ = write!(line, "{}", Limit(quota));
            }
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
            self.object(item, field)?;
            let [major, minor, weight, leaf] = item.members(&OF_WEIGHT);
            let device = self.block_device([major, minor], field)?;
            if leaf.is_some_and(|leaf| !leaf.is_empty()) {
                return self.fail(ConfigError::impossible(field, NO_LEAF_WEIGHT));
            }
            if let Some(value) = weight.filter(|value| !value.is_empty()) {
                self.put_weight(field, &device, value)?;
            }
        }
        for (path, key) in THROTTLES {
            for (index, item) in self.list(path)?.enumerate() {
                let field = Field::item(path, index);
                self.object(item, field)?;
                let [major, minor, rate] = item.members(&OF_THROTTLE);
                let device = self.block_device([major, minor], field)?;
                // In version 1, 0 takes a limit away; in version 2 it is an error.
                let rate = match self.needed(rate, field, "rate")? {
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

    /// Of huge pages both what is in use and what is reserved are limited: who has reserved too
    /// many gets a signal when it uses them, and who cannot reserve them an error from mmap(2)
    /// (cgroup-v1/hugetlb.rst).
    fn huge_pages(&mut self) -> Option<()> {
        for (index, item) in self.list(HUGE_PAGES)?.enumerate() {
            let field = Field::item(HUGE_PAGES, index);
            self.object(item, field)?;
            let [size, limit] = item.members(&OF_HUGE_PAGES);
            let size = match size {
                Some(value) => self.text(value, field)?,
                None => return self.wrong(field, PAGE_SIZE),
            };
            let Some(size) = string(size).filter(|size| is_page_size(size)) else {
                return self.wrong(field, PAGE_SIZE);
            };
            let limit = self.needed(limit, field, "limit")?;
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
            let members = value.members(&OF_RDMA).into_iter();
            for (member, key) in members.zip(["hca_handle", "hca_object"]) {
                if let Some(value) = member {
                    let number = self.whole(value, field, u32::MAX.into())?;
                    let _ = write!(line, " {key}={number}");
                }
            }
            self.put(field, "rdma.max", Missing::Refuse, format_args!("{line}"))?;
        }
        Some(())
    }

    /// What is written as it is. Of the files that are no controller's, only the bounds of the
    /// group are the bundle's affair: others would move processes, or stop the container before it
    /// has begun.
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

    /// A weight for the BFQ scheduler, or for what the kernel has in its place. `device` is empty
    /// for all devices.
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
    fn block_device(
        &mut self,
        [major, minor]: [Option<Value<'a>>; 2],
        field: Field,
    ) -> Option<Line> {
        let numbers = [(major, "major", MAJOR_MAX), (minor, "minor", MINOR_MAX)];
        let [major, minor] = numbers.map(|(value, name, max)| {
            let number = self.needed(value, field, name)?;
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
