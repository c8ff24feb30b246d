//! `linux.namespaces`: what a container does not share with the host.

use super::annotations::{Annotations, CONTROL, READY, Ready, RootSwitch};
use super::error::Field;
use super::reader::{Reader, Refused, Use};
use super::table::Found;
use crate::parse::json::Value;

/// The kinds of namespaces (namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Users and groups.
    User,
    /// Mounts.
    Mount,
    /// Process IDs.
    Pid,
    /// Network devices, addresses, ports.
    Network,
    /// System V and POSIX message queues, semaphores, shared memory.
    Ipc,
    /// The host's and the domain's name.
    Uts,
    /// What the root of the control groups is.
    Cgroup,
    /// The clocks since boot.
    Time,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::User,
        Self::Mount,
        Self::Pid,
        Self::Network,
        Self::Ipc,
        Self::Uts,
        Self::Cgroup,
        Self::Time,
    ];

    /// The specification's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }
}

/// Which namespace of a kind a container is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Namespace<'a> {
    /// That of the process that starts it.
    #[default]
    Host,
    /// One of its own.
    New,
    /// The one that this file stands for; an absolute path.
    At(&'a str),
}

/// Which namespaces a container is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces<'a>([Namespace<'a>; Kind::ALL.len()]);

const LIST: &str = "linux.namespaces";
const TYPE: &str = "linux.namespaces[].type";
const PATH: &str = "linux.namespaces[].path";
/// What an item has.
pub(super) const MEMBERS: [&str; 2] = ["type", "path"];

/// What is done to the mounts of the namespace that the container is in, or by means of them. In
/// one that others are in too, it would be done to them.
const NEEDS_OWN_MOUNTS: [&str; 7] = [
    "mounts",
    "root.readonly",
    "linux.rootfsPropagation",
    "linux.maskedPaths",
    "linux.readonlyPaths",
    "linux.devices",
    "linux.mountLabel",
];

impl<'a> Namespaces<'a> {
    /// Those of who starts the container.
    pub(super) const NONE: Self = Self([Namespace::Host; Kind::ALL.len()]);

    /// The namespace of this kind.
    #[must_use]
    pub fn get(&self, kind: Kind) -> Namespace<'a> {
        self.0.get(kind as usize).copied().unwrap_or_default()
    }

    /// Whether the container is in another one of this kind than who starts it.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.get(kind) != Namespace::Host
    }

    /// Whether one of this kind is made for the container.
    #[must_use]
    pub fn is_new(&self, kind: Kind) -> bool {
        self.get(kind) == Namespace::New
    }

    /// Those that exist already, and the files that stand for them.
    pub fn joined(&self) -> impl Iterator<Item = (Kind, &'a str)> {
        Kind::ALL
            .into_iter()
            .filter_map(|kind| match self.get(kind) {
                Namespace::At(path) => Some((kind, path)),
                _ => None,
            })
    }

    #[inline(never)]
    pub(super) fn read(reader: &Reader<'a>, list: Value<'a>) -> Result<Self, Refused> {
        let mut namespaces = Self::default();
        let mut items = reader.items(list, LIST.into())?;
        let mut index = 0usize;
        while let Some(item) = items.next() {
            reader.object(item, Field::item("linux.namespaces[]", index))?;
            let field = Field::item(TYPE, index);
            let [value, path] = items.members(item, &MEMBERS);
            let value = value.ok_or_else(|| reader.missing(field))?;
            let name = reader.string(value, field, Use::Name)?;
            let place = Kind::ALL.iter().position(|kind| kind.name() == name);
            let Some(place) = place.and_then(|place| namespaces.0.get_mut(place)) else {
                let accepts = "mount, pid, network, ipc, uts, cgroup, user or time";
                return Err(reader.bad(field, name, accepts));
            };
            if *place != Namespace::Host {
                return Err(reader.bad(field, name, "each type once"));
            }
            let field = Field::item(PATH, index);
            let path = match path {
                Some(value) => reader.string(value, field, Use::Name)?,
                None => "",
            };
            *place = match path {
                "" => Namespace::New,
                path if path.starts_with('/') => Namespace::At(path),
                path => return Err(reader.bad(field, path, "an absolute path")),
            };
            index = index.saturating_add(1);
        }
        Ok(namespaces)
    }

    /// A container whose mounts are not its own is a program in a directory, and nothing more: that
    /// has to be said, and what would change the mounts of others cannot be asked for.
    #[inline(never)]
    pub(super) fn check_mounts(
        &self,
        reader: &Reader<'a>,
        found: &Found<'a>,
        annotations: &Annotations<'a>,
    ) -> Result<(), Refused> {
        if self.is_new(Kind::Mount) {
            return Ok(());
        }
        if annotations.root_switch != RootSwitch::Chroot {
            return Err(reader.needs(
                LIST,
                "the type mount without a path, unless berth.root-switch is chroot",
            ));
        }
        let of_socket = [
            (annotations.ready == Ready::Notify, READY),
            (annotations.control, CONTROL),
        ];
        if let Some((_, key)) = of_socket.into_iter().find(|(is_asked, _)| *is_asked) {
            let needs = "the type mount without a path in linux.namespaces, for the socket";
            return Err(reader.needs(key, needs));
        }
        let says_something = |path: &&str| found.at(path).is_some_and(|value| !value.is_empty());
        let image = annotations.image.map(|_| "berth.image");
        let layer = annotations.overlay.map(|_| "berth.overlay");
        let said = NEEDS_OWN_MOUNTS.into_iter().find(says_something);
        match said.or(image).or(layer) {
            None => Ok(()),
            Some(field) => Err(reader.needs(
                field,
                "a mount namespace of the container's own in linux.namespaces",
            )),
        }
    }

    /// The control is for root of the machine alone. Root of a user namespace is either another
    /// user, or mapped to the machine's root, and then the namespace protects nothing.
    pub(super) fn check_control(
        &self,
        reader: &Reader<'a>,
        annotations: &Annotations<'a>,
    ) -> Result<(), Refused> {
        match annotations.control && self.has(Kind::User) {
            true => Err(reader.impossible(
                CONTROL,
                "the control is for root of the machine, and nobody in a user namespace is that",
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn kinds_keep_their_place_in_the_list() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }
}
