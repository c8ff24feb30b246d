//! `linux.resources`: what a container may use, as files of its control group and the lines that
//! are written to them (config-linux.md, "Control groups";
//! Documentation/admin-guide/cgroup-v2.rst).
//!
//! The specification speaks of version 1 of control groups; what version 2 calls otherwise is
//! converted ([`convert`]), and what it does not have is refused. A limit of -1 is no limit; 0 says
//! nothing, where the specification does not give it a meaning.
//!
//! The section is not copied: it is gone over twice, once to check it and once to write it.

mod controllers;
mod convert;
mod devices;
mod values;

use heapless::Vec;

use super::error::{ConfigError, Field};
use crate::parse::device_policy::{MAX_RULES, Rule};
use crate::parse::json::{self, Branch, Node, Value};

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
    /// The line, without its end. Where it begins with a space, what stands in the file before the
    /// first space belongs before it: the kernel takes a quota without a period, and not the other
    /// way round.
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

/// What is looked at in the section.
pub(super) const PATHS: [&str; 35] = [
    "memory",
    "memory.limit",
    "memory.swap",
    "memory.reservation",
    "memory.swappiness",
    "memory.disableOOMKiller",
    "memory.useHierarchy",
    "memory.checkBeforeUpdate",
    "cpu",
    "cpu.shares",
    "cpu.quota",
    "cpu.burst",
    "cpu.period",
    "cpu.idle",
    "cpu.cpus",
    "cpu.mems",
    "cpu.realtimePeriod",
    "cpu.realtimeRuntime",
    "pids",
    "pids.limit",
    "blockIO",
    "blockIO.weight",
    "blockIO.leafWeight",
    "blockIO.weightDevice",
    "blockIO.throttleReadBpsDevice",
    "blockIO.throttleWriteBpsDevice",
    "blockIO.throttleReadIOPSDevice",
    "blockIO.throttleWriteIOPSDevice",
    "network",
    "network.classID",
    "network.priorities",
    "hugepageLimits",
    "rdma",
    "unified",
    "devices",
];

pub(super) use controllers::{LEAF_WEIGHT, OF_HUGE_PAGES, OF_RDMA, OF_THROTTLE, OF_WEIGHT};
pub(super) use devices::MEMBERS as OF_DEVICE_RULE;

static TREE: [Branch; PATHS.len() + 1] = json::tree(&PATHS);

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

/// The same, as [`PATHS`] have them.
pub(super) const OF_VERSION_1: [&str; 7] = within_section(&ONLY_VERSION_1);

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "it is made when it is compiled"
)]
const fn within_section<const N: usize>(paths: &[&'static str; N]) -> [&'static str; N] {
    let mut within = [""; N];
    let mut i = 0;
    while i < N {
        (_, within[i]) = paths[i].split_at(SECTION.len());
        i += 1;
    }
    within
}

/// Of this one 0 is a value.
const SWAPPINESS: &str = "linux.resources.memory.swappiness";

const NOT_IN_VERSION_2: &str = "control groups of version 2 have nothing like it";

const DEVICES: &str = "linux.resources.devices[]";

impl<'a> Resources<'a> {
    /// Nothing asked for.
    pub(super) const NONE: Self = Self(None);

    /// Checks a whole section.
    ///
    /// # Errors
    /// The first field that is malformed, or asks for what version 2 of control groups does not
    /// have.
    #[inline(never)]
    pub fn check(section: Option<Value<'a>>) -> Result<Self, ConfigError<'a>> {
        let resources = Self(section);
        let mut count = 0usize;
        resources.pass(&mut |_| {}, |pass| {
            pass.shape()?.settings()?;
            pass.devices(&mut |_| count = count.saturating_add(1))
        })?;
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

    /// Whether it asks for a line in some file, besides what it says of devices.
    #[must_use]
    pub fn has_settings(&self) -> bool {
        let mut has = false;
        let checked = self.each_setting(&mut |_| has = true);
        has || checked.is_err()
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
            found: Vec::new(),
            see,
            error: None,
        };
        let mut found = [None; PATHS.len()];
        section.find(&TREE, &mut found);
        for (path, value) in PATHS.iter().zip(&found) {
            if let Some(value) = value {
                // There are as many places as paths.
                let _ = pass.found.push((path, *value));
            }
        }
        match go(&mut pass) {
            Some(()) => Ok(()),
            None => Err(pass.error.unwrap_or(ConfigError::ScratchFull)),
        }
    }
}

/// The way through a section. What fails leaves its error here and `None` behind: an error on every
/// way back would be most of the code.
struct Pass<'a, 's> {
    section: Value<'a>,
    /// What it has of the [`PATHS`].
    found: Vec<(&'static str, Value<'a>), { PATHS.len() }>,
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
}

#[cfg(test)]
mod tests;
