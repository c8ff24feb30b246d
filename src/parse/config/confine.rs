//! `linux.maskedPaths`, `linux.readonlyPaths`, `linux.devices` and `linux.sysctl`: lists without a
//! limit, so they are checked once, stay in the document, and are read from there again when the
//! container is set up.

use heapless::String;
use heapless::string::StringView;

use super::error::Field;
use super::namespaces::Namespaces;
use super::reader::{Reader, Refused, Use, integer};
use super::sysctl;
use crate::parse::json::{Node, Text, Value};
use crate::text::split_last;

/// Bytes that a path of what is masked or read-only may have: as many as the kernel takes.
pub(super) const MAX_PATH: usize = linux_raw_sys::general::PATH_MAX as usize - 1;
/// Bytes that the path of a device may have.
pub(super) const MAX_DEVICE_PATH: usize = 511;

/// What is covered, made read-only, made and set in a container: where the four lists are in the
/// document, which was checked.
#[derive(Clone, Copy, Debug)]
pub struct Confinement<'a> {
    pub(super) masked: Option<Value<'a>>,
    pub(super) read_only: Option<Value<'a>>,
    pub(super) devices: Option<Value<'a>>,
    pub(super) sysctl: Option<Value<'a>>,
    /// Whether lists of paths that are missing are the usual ones.
    has_usual: bool,
}

/// The path of a device as it is meant: absolute, without `.` and `..`, which are taken from it as
/// it is written, and without a slash at its end. One that is relative begins at the root of the
/// container, as with runc and crun.
pub(super) type DevicePath = String<MAX_DEVICE_PATH>;

/// What is called with each path.
type See<'s, E> = &'s mut dyn FnMut(&str) -> Result<(), E>;

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
    pub path: DevicePath,
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

/// The largest major and minor numbers that the kernel has: 12 and 20 bits
/// (include/linux/kdev_t.h).
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

/// What engines cover in a container of which nothing else is said: the lists of podman and of
/// docker together.
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

pub(super) const MASKED: (&str, &str) = ("linux.maskedPaths", "linux.maskedPaths[]");
pub(super) const READ_ONLY: (&str, &str) = ("linux.readonlyPaths", "linux.readonlyPaths[]");
pub(super) const DEVICES: &str = "linux.devices";
pub(super) const SYSCTL: &str = "linux.sysctl";

impl<'a> Confinement<'a> {
    /// Nothing.
    pub(super) const NONE: Self = Self {
        masked: None,
        read_only: None,
        devices: None,
        sysctl: None,
        has_usual: false,
    };

    #[inline(never)]
    pub(super) fn check_sysctls(
        &self,
        reader: &Reader<'a>,
        namespaces: &Namespaces<'_>,
        domainname: Option<&str>,
    ) -> Result<(), Refused> {
        self.members()
            .try_for_each(|(key, value)| sysctl::check(reader, key, value, namespaces, domainname))
    }

    /// From now on, a list of paths that is not there is the usual one. An empty one stays empty.
    pub const fn use_usual_paths(&mut self) {
        self.has_usual = true;
    }

    /// Calls `see` with each path at which nothing is to be seen, as it is meant: as [`DevicePath`]
    /// has it.
    ///
    /// # Errors
    /// The first that `see` returns.
    pub fn each_masked_path<E>(&self, see: See<'_, E>) -> Result<(), E> {
        self.each_path(self.masked, &USUALLY_MASKED, see)
    }

    /// The same with each path below which nothing is to be written.
    ///
    /// # Errors
    /// The first that `see` returns.
    pub fn each_readonly_path<E>(&self, see: See<'_, E>) -> Result<(), E> {
        self.each_path(self.read_only, &USUALLY_READ_ONLY, see)
    }

    fn each_path<E>(
        &self,
        list: Option<Value<'a>>,
        usual: &[&str],
        see: See<'_, E>,
    ) -> Result<(), E> {
        match list.map(|list| list.node()) {
            Some(Node::Array(items)) => {
                let mut texts = items.strings().flatten();
                texts.try_for_each(|text| see_listed(text, see))
            }
            Some(_) => Ok(()),
            None if self.has_usual => usual.iter().try_for_each(|path| see(path)),
            None => Ok(()),
        }
    }

    /// Nodes to make.
    pub fn devices(&self) -> impl Iterator<Item = Device> + use<'a> {
        items(self.devices).filter_map(|item| device(item.members(&MEMBERS)))
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

/// Calls it with the path, in a room of its own if it is written in another way than it is meant.
fn see_listed<E>(text: Text<'_>, see: See<'_, E>) -> Result<(), E> {
    match text.plain().filter(|_| is_listed(text)) {
        Some(path) => see(path),
        None => see_other(text, see),
    }
}

#[cold]
#[inline(never)]
fn see_other<E>(text: Text<'_>, see: See<'_, E>) -> Result<(), E> {
    let mut room = String::<MAX_PATH>::new();
    // Each was looked at before.
    listed(text, &mut room).map_or(Ok(()), |()| see(&room))
}

/// Puts the path as it is meant into `path`. `None` for the root itself, and for what is too long.
#[inline(never)]
fn listed(text: Text<'_>, path: &mut StringView) -> Option<()> {
    match text.plain() {
        Some(plain) => normalize(plain, path),
        None => listed_of_escaped(text, path),
    }
}

#[cold]
#[inline(never)]
fn listed_of_escaped(text: Text<'_>, path: &mut StringView) -> Option<()> {
    normalize(&text.decode::<MAX_PATH>()?, path)
}

fn normalize(written: &str, path: &mut StringView) -> Option<()> {
    if written.len() > path.capacity() {
        return None;
    }
    // By bytes, which costs less: a slash is none of any other character.
    for part in written.as_bytes().split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let parent = split_last(path, b'/').map_or(0, |(parent, _)| parent.len());
                path.truncate(parent);
            }
            part => {
                path.push('/').ok()?;
                path.push_str(core::str::from_utf8(part).ok()?).ok()?;
            }
        }
    }
    (!path.is_empty()).then_some(())
}

/// Sees that it is a list of paths; with its own field, and that of its items.
pub(super) fn paths_of<'a>(
    reader: &Reader<'a>,
    list: Value<'a>,
    (name, item): (&'static str, &'static str),
) -> Result<Value<'a>, Refused> {
    for (index, text) in reader.items(list, name.into())?.strings().enumerate() {
        let field = Field::item(item, index);
        let text = text.ok_or_else(|| reader.not(field, "a string"))?;
        check_path(reader, text, field, LONG_PATH)?;
    }
    Ok(list)
}

/// Sees that it is a list of devices.
pub(super) fn devices_of<'a>(reader: &Reader<'a>, list: Value<'a>) -> Result<Value<'a>, Refused> {
    let mut items = reader.items(list, DEVICES.into())?;
    let mut index = 0usize;
    while let Some(item) = items.next() {
        reader.object(item, Field::item("linux.devices[]", index))?;
        let members = items.members(item, &MEMBERS);
        if read_device(members).is_none_or(|read| !is_device_path(read.path)) {
            refuse_device(reader, members, index)?;
        }
        index = index.saturating_add(1);
    }
    Ok(list)
}

/// Whether it is written as it is meant.
fn is_listed(text: Text<'_>) -> bool {
    text.plain().is_some_and(|plain| {
        plain.len() <= MAX_PATH
            && plain.len() > 1
            && plain.starts_with('/')
            && !plain.ends_with('/')
            && !plain
                .as_bytes()
                .windows(2)
                .any(|pair| matches!(pair, b"/." | b"//"))
    })
}

#[cold]
#[inline(never)]
fn is_path(text: Text<'_>) -> bool {
    listed(text, &mut String::<MAX_PATH>::new()).is_some()
}

/// What a path may be.
const LONG_PATH: &str = "a path below /, of at most 4095 bytes";
const DEVICE_PATH: &str = "a path below /, of at most 511 bytes";

#[inline(never)]
fn check_path<'a>(
    reader: &Reader<'a>,
    text: Text<'a>,
    field: Field,
    accepts: &'static str,
) -> Result<(), Refused> {
    if Use::Name.refuses(text) {
        return Err(reader.control(field));
    }
    let is_path = match accepts {
        DEVICE_PATH => listed(text, &mut DevicePath::new()).is_some(),
        _ => is_listed(text) || is_path(text),
    };
    match is_path {
        true => Ok(()),
        false => Err(reader.bad(field, text.written(), accepts)),
    }
}

/// What a device has. The numbers follow, in the order of [`NUMBERS`].
pub(super) const MEMBERS: [&str; 7] = ["type", "path", "major", "minor", "fileMode", "uid", "gid"];

/// Its numbers: where an error is, and the largest.
const NUMBERS: [(&str, u32); 5] = [
    ("linux.devices[].major", MAX_MAJOR),
    ("linux.devices[].minor", MAX_MINOR),
    ("linux.devices[].fileMode", TYPE_BITS | PERMISSION_BITS),
    // All ones is "no change" for chown(2).
    ("linux.devices[].uid", u32::MAX - 1),
    ("linux.devices[].gid", u32::MAX - 1),
];

/// Says what is wrong with what is no [`device`].
#[cold]
#[inline(never)]
fn refuse_device<'a>(
    reader: &Reader<'a>,
    members: [Option<Value<'a>>; MEMBERS.len()],
    index: usize,
) -> Result<(), Refused> {
    let [kind, path, numbers @ ..] = members;
    let field = |path| Field::item(path, index);
    const TYPE: &str = "linux.devices[].type";
    const PATH: &str = "linux.devices[].path";
    let kind = kind.ok_or_else(|| reader.missing(field(TYPE)))?;
    let kind = reader.string(kind, field(TYPE), Use::Name)?;
    if !matches!(kind, "c" | "b" | "u" | "p") {
        return Err(reader.bad(field(TYPE), kind, "c, b, u or p"));
    }
    let path = path.ok_or_else(|| reader.missing(field(PATH)))?;
    let path = reader.text(path, field(PATH))?;
    check_path(reader, path, field(PATH), DEVICE_PATH)?;
    // The first two are those that the kernel knows the device by.
    for (place, (number, (path, limit))) in numbers.into_iter().zip(NUMBERS).enumerate() {
        match number {
            None if kind != "p" && place < 2 => return Err(reader.missing(field(path))),
            None => {}
            Some(value) => {
                integer(value, 0..=limit.into())
                    .ok_or_else(|| reader.not(field(path), "a number, or too large"))?;
            }
        }
    }
    // What is left that can be wrong.
    Err(reader.not(
        field("linux.devices[].fileMode"),
        "the permissions of a node of this type",
    ))
}

/// A [`Device`] whose path was not looked at yet.
struct ReadDevice<'a> {
    path: Text<'a>,
    kind: NodeKind,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

fn is_device_path(path: Text<'_>) -> bool {
    !Use::Name.refuses(path)
        && (is_listed(path) && path.written().len() <= MAX_DEVICE_PATH
            || listed(path, &mut DevicePath::new()).is_some())
}

/// `None` for what is none; what is wrong then, [`refuse_device`] says.
fn device(members: [Option<Value<'_>>; MEMBERS.len()]) -> Option<Device> {
    let read = read_device(members)?;
    let mut path = DevicePath::new();
    listed(read.path, &mut path)?;
    Some(Device {
        path,
        kind: read.kind,
        mode: read.mode,
        uid: read.uid,
        gid: read.gid,
    })
}

/// `None` for what is no device.
#[inline(never)]
fn read_device<'a>(
    [kind, path, numbers @ ..]: [Option<Value<'a>>; MEMBERS.len()],
) -> Option<ReadDevice<'a>> {
    let mut read = [None; NUMBERS.len()];
    for ((number, (_, limit)), read) in numbers.into_iter().zip(NUMBERS).zip(&mut read) {
        if let Some(number) = number {
            *read = Some(integer(number, 0..=limit.into())? as u32);
        }
    }
    let [major, minor, mode, uid, gid] = read;
    let [kind, path] = [kind, path].map(|text| match text?.node() {
        Node::String(text) => Some(text),
        _ => None,
    });
    let kind = kind?;
    let mut letters = kind.chars();
    let (kind, type_bits) = match (letters.next(), letters.next()) {
        (Some('p'), None) => (NodeKind::Fifo, 0o010_000),
        (Some('b'), None) => (NodeKind::Block(major?, minor?), 0o060_000),
        (Some('c' | 'u'), None) => (NodeKind::Character(major?, minor?), 0o020_000),
        _ => return None,
    };
    if let Some(mode) = mode
        && ![0, type_bits].contains(&(mode & !PERMISSION_BITS))
    {
        return None;
    }
    Some(ReadDevice {
        path: path?,
        kind,
        mode: mode.map(|mode| mode & PERMISSION_BITS),
        uid,
        gid,
    })
}
