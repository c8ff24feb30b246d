//! `process.user`: whom a program runs as (`config.md`, "POSIX-platform User").

use super::error::Field;
use super::members::Takes;
use super::reader::{Reader, Refused};
use crate::parse::json::{Node, Value};

/// Items that `additionalGids` may have.
pub const MAX_GROUPS: usize = 1024;

/// What a program's files are not for, unless it says otherwise: writing by others. As the kernel
/// has it for PID 1.
const UMASK: u32 = 0o022;

/// The id above these is none: to setresuid(2) it means "leave as it is", which would be root.
pub(super) const ID: Takes = Takes::Number(u32::MAX as u64 - 1, "0 to 4294967294");

const GROUPS: &str = "process.user.additionalGids[]";

/// Whom a program runs as, as numbers in the container's user namespace. Without `process.user`,
/// root.
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    /// `uid`
    pub uid: u32,
    /// `gid`
    pub gid: u32,
    /// `additionalGids`
    pub groups: Groups<'a>,
    /// `umask`, 022 without it.
    pub umask: u32,
}

/// Groups besides the first; at most [`MAX_GROUPS`]. They stay in the document.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'a> {
    list: Option<Value<'a>>,
    /// What comes behind those of the list.
    more: &'a [u32],
}

impl Groups<'_> {
    /// Their numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let items = match self.list.map(|list| list.node()) {
            Some(Node::Array(items)) => Some(items),
            _ => None,
        };
        items
            .into_iter()
            .flatten()
            .filter_map(|item| match item.node() {
                Node::Number(digits) => digits.parse().ok(),
                // There are none: all were looked at.
                _ => None,
            })
            .chain(self.more.iter().copied())
    }
}

impl User<'_> {
    /// Whom it runs as where nothing is said.
    pub(super) const ROOT: Self = Self {
        uid: 0,
        gid: 0,
        groups: Groups::NONE,
        umask: UMASK,
    };
}

impl<'a> User<'a> {
    /// Becomes another user, who has none of the additional groups, or gets more groups.
    pub(super) fn change(
        &mut self,
        reader: &Reader<'a>,
        user: Option<(u32, Option<u32>)>,
        groups: &'a [u32],
    ) -> Result<(), Refused> {
        if let Some((uid, gid)) = user {
            self.uid = uid;
            self.gid = gid.unwrap_or(self.gid);
            self.groups = Groups::NONE;
        }
        let before = self.groups.iter().count();
        if before.saturating_add(groups.len()) > MAX_GROUPS {
            return Err(reader.too_many(GROUPS, MAX_GROUPS));
        }
        self.groups.more = groups;
        let more = groups.iter().zip(before..);
        let more = more.map(|(id, index)| (Field::item(GROUPS, index), *id));
        let own = [
            ("process.user.uid".into(), self.uid),
            ("process.user.gid".into(), self.gid),
        ];
        match own.into_iter().chain(more).find(|(_, id)| *id == u32::MAX) {
            Some((field, _)) => Err(reader.wrong(field, "it takes 0 to 4294967294")),
            None => Ok(()),
        }
    }
}

impl<'a> Groups<'a> {
    /// None.
    const NONE: Self = Self {
        list: None,
        more: &[],
    };

    pub(super) fn read(reader: &Reader<'a>, list: Value<'a>) -> Result<Self, Refused> {
        for (index, item) in reader.items(list, GROUPS.into())?.enumerate() {
            if index >= MAX_GROUPS {
                return Err(reader.too_many(GROUPS, MAX_GROUPS));
            }
            ID.read(reader, item, Field::item(GROUPS, index))?;
        }
        Ok(Self {
            list: Some(list),
            more: &[],
        })
    }
}
