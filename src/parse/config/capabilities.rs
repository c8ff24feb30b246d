//! `process.capabilities`: what a program may do besides what its user may (capabilities(7);
//! `config.md`, "Linux Process").
//!
//! # What is not given
//!
//! The specification wants a capability that cannot be given to be warned of, not refused: a
//! configuration may be made for a newer kernel. So a name that is none is left away, and so is a
//! capability in a set where the kernel does not take it: nothing is gained outside the bounding
//! set, nothing is effective or ambient that is not permitted, and ambient is only what is
//! inheritable too. Either way the program has less than was asked for, and
//! [`Capabilities::each_warning`] says what.
//!
//! A set that is absent is empty, the bounding set too; and so are all of them without the field,
//! unless the container is `berth.privileged`.

use core::fmt;

use super::annotations::RootSwitch;
use super::error::Field;
use super::members::place;
use super::reader::{Reader, Refused};
use crate::parse::json::{Node, Text, Value};

/// What the names begin with.
pub const PREFIX: &str = "CAP_";

/// All that there are, in the order of their numbers (include/uapi/linux/capability.h). The last
/// came with Linux 5.9: every kernel that can start a container has them.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What leads back to the host's root where that was not unmounted, and so is not to be had there.
const WAYS_BACK: [(u32, &str); 2] = [
    (
        linux_raw_sys::general::CAP_SYS_ADMIN,
        "CAP_SYS_ADMIN in process.capabilities",
    ),
    (
        linux_raw_sys::general::CAP_SYS_CHROOT,
        "CAP_SYS_CHROOT in process.capabilities",
    ),
];

/// The sets, and their paths.
pub(super) const SETS: [&str; 5] = [
    "bounding",
    "effective",
    "inheritable",
    "permitted",
    "ambient",
];
const PATHS: [&str; 5] = [
    "process.capabilities.bounding[]",
    "process.capabilities.effective[]",
    "process.capabilities.inheritable[]",
    "process.capabilities.permitted[]",
    "process.capabilities.ambient[]",
];

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(u64);

impl Set {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// The one with this name, in any case, with or without [`PREFIX`].
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let start = name.get(..PREFIX.len());
        let has_prefix = start.is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
        let name = match has_prefix {
            true => name.get(PREFIX.len()..)?,
            false => name,
        };
        let is_it = |known: &&str| known.eq_ignore_ascii_case(name);
        let number = NAMES.iter().position(is_it)?;
        Some(Self(1 << number))
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Bit `n` is the capability number `n`.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether the capability of this number is in it.
    #[must_use]
    pub const fn has(self, number: u32) -> bool {
        matches!(self.0.checked_shr(number), Some(bits) if bits & 1 != 0)
    }
}

/// Their names.
impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES
            .iter()
            .zip(0..)
            .filter(|(_, number)| self.has(*number));
        for (index, (name, _)) in names.enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{PREFIX}{name}")?;
        }
        Ok(())
    }
}

/// The five sets, as the kernel takes them. By default none has anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities<'a> {
    /// What no program of the container can ever have more than.
    pub bounding: Set,
    /// What is checked.
    pub effective: Set,
    /// What a file's capabilities may give.
    pub inheritable: Set,
    /// What may be made effective.
    pub permitted: Set,
    /// What a program keeps that is not root's and has no file capabilities.
    pub ambient: Set,
    /// What was asked for in some set, and is not in it.
    withheld: Set,
    /// Where they are asked for.
    sets: Option<Value<'a>>,
}

impl<'a> Capabilities<'a> {
    #[inline(never)]
    pub(super) fn read(reader: &Reader<'a>, sets: Value<'a>) -> Result<Self, Refused> {
        reader.object(sets, "process.capabilities")?;
        let mut read = [Set(0); SETS.len()];
        for ((list, path), set) in sets.members(&SETS).into_iter().zip(PATHS).zip(&mut read) {
            if let Some(list) = list {
                *set = read_set(reader, list, path)?;
            }
        }
        let [bounding, effective, inheritable, permitted, ambient] = read;
        let mut withheld = 0;
        let mut limit = |asked: Set, limit: Set| {
            withheld |= asked.0 & !limit.0;
            Set(asked.0 & limit.0)
        };
        let permitted = limit(permitted, bounding);
        let inheritable = limit(inheritable, bounding);
        Ok(Self {
            bounding,
            effective: limit(effective, permitted),
            inheritable,
            permitted,
            ambient: limit(ambient, Set(permitted.0 & inheritable.0)),
            withheld: Set(withheld),
            sets: Some(sets),
        })
    }

    /// What leads back to the host's root is refused where [`RootSwitch`] leaves that behind.
    pub(super) fn check(&self, reader: &Reader<'a>, switch: RootSwitch) -> Result<(), Refused> {
        if switch == RootSwitch::Pivot {
            return Ok(());
        }
        match WAYS_BACK
            .iter()
            .find(|(number, _)| self.bounding.has(*number))
        {
            None => Ok(()),
            Some((_, field)) => Err(reader.needs(
                *field,
                "berth.root-switch pivot: else it leads back to the host's root",
            )),
        }
    }

    /// Has more that a program may have and has, and no more that others inherit from it.
    pub(super) const fn add(&mut self, more: Set) {
        self.bounding = self.bounding.union(more);
        self.permitted = self.permitted.union(more);
        self.effective = self.effective.union(more);
    }

    /// Says what is not given.
    pub fn each_warning(&self, warn: &mut dyn FnMut(fmt::Arguments<'_>)) {
        let lists = self
            .sets
            .map_or([None; SETS.len()], |sets| sets.members(&SETS));
        for (list, path) in lists.into_iter().zip(PATHS) {
            let Some(Node::Array(names)) = list.map(|list| list.node()) else {
                continue;
            };
            for (index, name) in names.enumerate() {
                if let Node::String(name) = name.node()
                    && number(name).is_none()
                {
                    let field = Field::item(path, index);
                    warn(format_args!("{field}: {name} is not known, and not given"));
                }
            }
        }
        if self.withheld != Set(0) {
            warn(format_args!(
                "process.capabilities: not given where another set lacks them: {}",
                self.withheld
            ));
        }
    }
}

fn number(name: Text<'_>) -> Option<usize> {
    place(name, PREFIX, &NAMES)
}

fn read_set<'a>(reader: &Reader<'a>, list: Value<'a>, path: &'static str) -> Result<Set, Refused> {
    let mut set = Set(0);
    for (index, name) in reader.items(list, path.into())?.strings().enumerate() {
        let not_text = || reader.not(Field::item(path, index), "a string");
        if let Some(number) = number(name.ok_or_else(not_text)?) {
            set.0 |= 1 << number;
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use linux_raw_sys::general as linux;

    use super::super::error::ConfigError;
    use super::*;
    use crate::parse::json;

    fn with<T>(sets: &str, user: impl FnOnce(Result<Capabilities<'_>, ConfigError<'_>>) -> T) -> T {
        let reader = Reader::default();
        let capabilities = Capabilities::read(&reader, json::check(sets.as_bytes()).unwrap());
        user(capabilities.map_err(|refused| reader.error(refused)))
    }

    /// Names of the sets, and the warnings.
    fn read(sets: &str) -> ([String; 5], Vec<String>) {
        with(sets, |read| {
            let read = read.unwrap();
            let mut warnings = Vec::new();
            read.each_warning(&mut |text| warnings.push(text.to_string()));
            let sets = [
                read.bounding,
                read.effective,
                read.inheritable,
                read.permitted,
                read.ambient,
            ];
            (sets.map(|set| set.to_string()), warnings)
        })
    }

    #[test]
    fn the_place_of_a_name_is_the_kernels_number() {
        assert_eq!(NAMES.len(), linux::CAP_LAST_CAP as usize + 1);
        for (name, number) in [
            ("CHOWN", linux::CAP_CHOWN),
            ("SETPCAP", linux::CAP_SETPCAP),
            ("NET_RAW", linux::CAP_NET_RAW),
            ("SYS_CHROOT", linux::CAP_SYS_CHROOT),
            ("SYS_ADMIN", linux::CAP_SYS_ADMIN),
            ("MKNOD", linux::CAP_MKNOD),
            ("SETFCAP", linux::CAP_SETFCAP),
            ("SYSLOG", linux::CAP_SYSLOG),
            ("CHECKPOINT_RESTORE", linux::CAP_CHECKPOINT_RESTORE),
        ] {
            assert_eq!(NAMES[number as usize], name);
        }
    }

    #[test]
    fn each_set_is_read_and_an_absent_one_is_empty() {
        let all = r#"["CAP_CHOWN", "CAP_\u004bILL", "CAP_BPF"]"#;
        let (sets, warnings) = read(&format!(
            r#"{{"bounding": {all}, "permitted": {all}, "effective": ["CAP_KILL"],
                "inheritable": ["CAP_KILL", "CAP_BPF"], "ambient": ["CAP_BPF"]}}"#
        ));
        let all = "CAP_CHOWN, CAP_KILL, CAP_BPF";
        assert_eq!(sets, [all, "CAP_KILL", "CAP_KILL, CAP_BPF", all, "CAP_BPF"]);
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(read("{}"), (Default::default(), vec![]));
    }

    #[test]
    fn without_a_bounding_set_nothing_is_given() {
        let all = r#"["CAP_CHOWN", "CAP_KILL"]"#;
        for bounding in ["", r#""bounding": [],"#, r#""bounding": null,"#] {
            let (sets, warnings) = read(&format!(
                r#"{{{bounding} "permitted": {all}, "effective": {all}, "inheritable": {all}, "ambient": {all}}}"#
            ));
            assert_eq!(sets, [""; 5]);
            let warning =
                "process.capabilities: not given where another set lacks them: CAP_CHOWN, CAP_KILL";
            assert_eq!(warnings, [warning]);
        }
    }

    #[test]
    fn a_name_that_is_none_is_warned_of_whatever_its_form() {
        for name in ["CAP_FLY", "chown", "CAP_chown", "CAP CHOWN", ""] {
            let (sets, warnings) = read(&format!(r#"{{"bounding": ["CAP_CHOWN", "{name}"]}}"#));
            assert_eq!(sets[0], "CAP_CHOWN");
            let warning =
                format!("process.capabilities.bounding[1]: {name} is not known, and not given");
            assert_eq!(warnings, [warning]);
        }
        let error = with(r#"{"ambient": [7]}"#, |read| read.unwrap_err().to_string());
        assert_eq!(error, "process.capabilities.ambient[0] is not a string");
        let error = with("[]", |read| {
            read.map(|_| ()).map_err(|error| error.to_string())
        });
        assert_eq!(error, Err("process.capabilities is not an object".into()));
    }
}
