//! `linux.maskedPaths`, `linux.readonlyPaths`, `linux.devices` and `linux.sysctl`: lists without a limit, so they are checked
//! once, stay in the document, and are read from there again when the container is set up.

use heapless::String;

use super::error::Field;
use super::namespaces::Namespaces;
use super::reader::{Reader, Refused, Use, integer};
use super::sysctl;
use crate::parse::json::{Node, Text, Value};

/// Bytes that a path in one of these lists may have.
pub const MAX_PATH: usize = 511;

/// What is covered, made read-only, made and set in a container: where the four lists are in the document, which was checked.
#[derive(Clone, Copy, Debug)]
pub struct Confinement<'a> {
    masked: Option<Value<'a>>,
    read_only: Option<Value<'a>>,
    devices: Option<Value<'a>>,
    sysctl: Option<Value<'a>>,
    /// Whether lists of paths that are missing are the usual ones.
    has_usual: bool,
}

/// A path of these lists as it is meant: absolute, without `.` and `..`, which are taken from it as it is written, and without a
/// slash at its end. One that is relative begins at the root of the container, as with runc and crun.
pub type ListedPath = String<MAX_PATH>;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// `c` and `u`, with these numbers.
    Character(u32, u32),
    /// `b`, with these numbers.
    Block(u32, u32),
    /// `p`
    Fifo,
}

/// An item of `linux.devices`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where it is in the container.
    pub path: ListedPath,
    /// What it is.
    pub kind: NodeKind,
    /// `fileMode`: the permissions.
    pub mode: Option<u32>,
    /// `uid`
    pub uid: Option<u32>,
    /// `gid`
    pub gid: Option<u32>,
}

/// Kinds of files in `st_mode` (inode(7)): some tools write them into `fileMode`.
const TYPE_BITS: u32 = 0o170_000;
const PERMISSION_BITS: u32 = 0o7777;

/// The largest major and minor numbers that the kernel has: 12 and 20 bits (include/linux/kdev_t.h).
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

/// What engines cover in a container of which nothing else is said: the lists of podman and of docker together.
const USUALLY_MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// What they make read-only.
const USUALLY_READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

const MASKED: (&str, &str) = ("linux.maskedPaths", "linux.maskedPaths[]");
const READ_ONLY: (&str, &str) = ("linux.readonlyPaths", "linux.readonlyPaths[]");
const DEVICES: &str = "linux.devices";
const SYSCTL: &str = "linux.sysctl";

impl<'a> Confinement<'a> {
    #[inline(never)]
    pub(super) fn read(
        reader: &Reader<'a>,
        config: Value<'a>,
        namespaces: &Namespaces<'_>,
        domainname: Option<&str>,
    ) -> Result<Self, Refused> {
        for (name, item) in [MASKED, READ_ONLY] {
            for (index, value) in reader.list(config, name, name.into())?.enumerate() {
                check_path(reader, value, Field::item(item, index))?;
            }
        }
        for (index, item) in reader.list(config, DEVICES, DEVICES.into())?.enumerate() {
            check_device(reader, item, index)?;
        }
        let confinement = Self {
            masked: config.at(MASKED.0),
            read_only: config.at(READ_ONLY.0),
            devices: config.at(DEVICES),
            sysctl: reader.section(config, SYSCTL)?,
            has_usual: false,
        };
        for (key, value) in confinement.members() {
            sysctl::check(reader, key, value, namespaces, domainname)?;
        }
        Ok(confinement)
    }

    /// From now on, a list of paths that is not there is the usual one. An empty one stays empty.
    pub const fn use_usual_paths(&mut self) {
        self.has_usual = true;
    }

    /// Paths at which nothing is to be seen.
    pub fn masked_paths(&self) -> impl Iterator<Item = ListedPath> + use<'a> {
        paths(self.masked).chain(self.usual(self.masked, &USUALLY_MASKED))
    }

    /// Paths below which nothing is to be written.
    pub fn readonly_paths(&self) -> impl Iterator<Item = ListedPath> + use<'a> {
        paths(self.read_only).chain(self.usual(self.read_only, &USUALLY_READ_ONLY))
    }

    fn usual(
        &self,
        list: Option<Value<'a>>,
        usual: &'static [&str],
    ) -> impl Iterator<Item = ListedPath> + use<'a> {
        let is_meant = self.has_usual && list.is_none();
        let usual = usual.iter().filter(move |_| is_meant);
        usual.filter_map(|path| ListedPath::try_from(*path).ok())
    }

    /// Nodes to make.
    pub fn devices(&self) -> impl Iterator<Item = Device> + use<'a> {
        items(self.devices).filter_map(device)
    }

    /// Parameters to set: the path below `/proc/sys`, and the value as it is written.
    pub fn sysctls(&self) -> impl Iterator<Item = (sysctl::Path, sysctl::Setting)> + use<'a> {
        self.members().filter_map(|(key, value)| {
            let Node::String(value) = value.node() else {
                return None;
            };
            Some((sysctl::path(key)?, value.decode()?))
        })
    }

    fn members(&self) -> impl Iterator<Item = (Text<'a>, Value<'a>)> + use<'a> {
        let members = match self.sysctl.map(|value| value.node()) {
            Some(Node::Object(members)) => Some(members),
            _ => None,
        };
        members.into_iter().flatten()
    }
}

fn items<'a>(list: Option<Value<'a>>) -> impl Iterator<Item = Value<'a>> + use<'a> {
    let items = match list.map(|value| value.node()) {
        Some(Node::Array(items)) => Some(items),
        _ => None,
    };
    items.into_iter().flatten()
}

fn paths<'a>(list: Option<Value<'a>>) -> impl Iterator<Item = ListedPath> + use<'a> {
    items(list).filter_map(|item| match item.node() {
        Node::String(text) => listed(text),
        _ => None,
    })
}

/// `None` for the root itself, and for what is too long.
#[inline(never)]
fn listed(text: Text<'_>) -> Option<ListedPath> {
    let written: ListedPath = text.decode()?;
    let mut path = ListedPath::new();
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." => path.truncate(path.rfind('/').unwrap_or(0)),
            part => {
                path.push('/').ok()?;
                path.push_str(part).ok()?;
            }
        }
    }
    (!path.is_empty()).then_some(path)
}

#[inline(never)]
fn check_path<'a>(reader: &Reader<'a>, value: Value<'a>, field: Field) -> Result<(), Refused> {
    let text = reader.text_for(value, field, Use::Name)?;
    match listed(text) {
        Some(_) => Ok(()),
        None => Err(reader.bad(
            field,
            text.written(),
            "a path below /, of at most 511 bytes",
        )),
    }
}

/// Its numbers: the name, where an error is, and the largest.
const NUMBERS: [(&str, &str, u32); 5] = [
    ("major", "linux.devices[].major", MAX_MAJOR),
    ("minor", "linux.devices[].minor", MAX_MINOR),
    (
        "fileMode",
        "linux.devices[].fileMode",
        TYPE_BITS | PERMISSION_BITS,
    ),
    // All ones is "no change" for chown(2).
    ("uid", "linux.devices[].uid", u32::MAX - 1),
    ("gid", "linux.devices[].gid", u32::MAX - 1),
];

#[inline(never)]
fn check_device<'a>(reader: &Reader<'a>, item: Value<'a>, index: usize) -> Result<(), Refused> {
    let item = reader.object(item, Field::item("linux.devices[]", index))?;
    let field = |path| Field::item(path, index);
    let member = |name, path| item.member(name).ok_or_else(|| reader.missing(field(path)));
    const TYPE: &str = "linux.devices[].type";
    const PATH: &str = "linux.devices[].path";
    let kind = reader.string(member("type", TYPE)?, field(TYPE), Use::Name)?;
    if !matches!(kind, "c" | "b" | "u" | "p") {
        return Err(reader.bad(field(TYPE), kind, "c, b, u or p"));
    }
    check_path(reader, member("path", PATH)?, field(PATH))?;
    for (name, path, limit) in NUMBERS {
        let is_needed = kind != "p" && matches!(name, "major" | "minor");
        match item.member(name) {
            None if is_needed => return Err(reader.missing(field(path))),
            None => {}
            Some(value) => {
                integer(value, 0..=limit.into())
                    .ok_or_else(|| reader.not(field(path), "a number, or too large"))?;
            }
        }
    }
    match device(item) {
        Some(_) => Ok(()),
        // What is left that can be wrong.
        None => Err(reader.not(
            field("linux.devices[].fileMode"),
            "the permissions of a node of this type",
        )),
    }
}

/// `None` for what [`check_device`] refuses.
#[inline(never)]
fn device(item: Value<'_>) -> Option<Device> {
    let text = |name| match item.member(name)?.node() {
        Node::String(text) => Some(text),
        _ => None,
    };
    let number = |name| match item.member(name)?.node() {
        Node::Number(digits) => digits.parse::<u32>().ok(),
        _ => None,
    };
    let numbers = || Some((number("major")?, number("minor")?));
    let kind = text("type")?;
    let (kind, type_bits) = if kind.is("p") {
        (NodeKind::Fifo, 0o010_000)
    } else if kind.is("b") {
        let (major, minor) = numbers()?;
        (NodeKind::Block(major, minor), 0o060_000)
    } else {
        let (major, minor) = numbers()?;
        (NodeKind::Character(major, minor), 0o020_000)
    };
    let mode = number("fileMode");
    if let Some(mode) = mode
        && ![0, type_bits].contains(&(mode & !PERMISSION_BITS))
    {
        return None;
    }
    Some(Device {
        path: listed(text("path")?)?,
        kind,
        mode: mode.map(|mode| mode & PERMISSION_BITS),
        uid: number("uid"),
        gid: number("gid"),
    })
}
