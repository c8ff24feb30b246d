//! `process.user`: whom a program runs as (`config.md`, "POSIX-platform User").

use super::error::Field;
use super::members::Takes;
use super::reader::{Reader, Refused};
use crate::parse::json::{Node, Value};

/// Items that `additionalGids` may have.
pub const MAX_GROUPS: usize = 1024;

/// What a program's files are not for, unless it says otherwise: writing by others. As the kernel has it for PID 1.
const UMASK: u32 = 0o022;

/// The id above these is none: to setresuid(2) it means "leave as it is", which would be root.
pub(super) const ID: Takes = Takes::Number(u32::MAX as u64 - 1, "0 to 4294967294");

const GROUPS: &str = "process.user.additionalGids[]";

/// Whom a program runs as, as numbers in the container's user namespace. Without `process.user`, root.
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
pub struct Groups<'a>(Option<Value<'a>>);

impl Groups<'_> {
    /// Their numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let items = match self.0.map(|list| list.node()) {
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
    }
}

impl User<'_> {
    /// Whom it runs as where nothing is said.
    pub(super) const ROOT: Self = Self {
        uid: 0,
        gid: 0,
        groups: Groups(None),
        umask: UMASK,
    };
}

impl<'a> Groups<'a> {
    pub(super) fn read(reader: &Reader<'a>, list: Value<'a>) -> Result<Self, Refused> {
        for (index, item) in reader.items(list, GROUPS.into())?.enumerate() {
            if index >= MAX_GROUPS {
                return Err(reader.too_many(GROUPS, MAX_GROUPS));
            }
            ID.read(reader, item, Field::item(GROUPS, index))?;
        }
        Ok(Self(Some(list)))
    }
}
