//! `linux.uidMappings`, `linux.gidMappings`: which users and groups outside those of a user namespace are (user_namespaces(7),
//! "User and group ID mappings").

use heapless::Vec;

use super::error::{ConfigError, Field};
use super::reader::{integer, list, object, push};
use crate::parse::json::{Node, Value};

/// Ranges that the kernel takes (`UID_GID_MAP_MAX_EXTENTS`, include/linux/user_namespace.h).
pub const MAX_RANGES: usize = 340;

/// Users, or groups, that follow each other inside as outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first one, as it is called inside.
    pub inside: u32,
    /// The same, as it is called outside.
    pub outside: u32,
    /// How many there are; at least one.
    pub count: u32,
}

/// A list of ranges that do not overlap, neither inside nor outside; at least one, at most [`MAX_RANGES`]. It stays in the text,
/// and is read there again.
#[derive(Clone, Copy, Debug)]
pub struct IdMap<'a>(Value<'a>);

impl<'a> IdMap<'a> {
    /// The ranges, in the text's order.
    pub fn ranges(&self) -> impl Iterator<Item = IdRange> + use<'a> {
        let items = match self.0.node() {
            Node::Array(items) => Some(items),
            _ => None,
        };
        let items = items.into_iter().flatten();
        // Each was read before.
        items.filter_map(|item| IdRange::read(item, "", 0).ok())
    }

    /// The list at `path`, whose items are fields `item_path`; `None` if there is none, or an empty one.
    #[inline(never)]
    pub(super) fn read(
        object: Value<'a>,
        path: &'static str,
        item_path: &'static str,
    ) -> Result<Option<Self>, ConfigError<'a>> {
        let mut ranges = Vec::<IdRange, MAX_RANGES>::new();
        for (index, item) in list(object, path, path.into())?.enumerate() {
            let range = IdRange::read(item, item_path, index)?;
            if ranges.iter().any(|other| other.overlaps(&range)) {
                return Err(ConfigError::Type {
                    field: Field::item(item_path, index),
                    expected: "apart from the others",
                });
            }
            push(&mut ranges, range, path)?;
        }
        Ok(object.at(path).filter(|_| !ranges.is_empty()).map(Self))
    }
}

impl IdRange {
    fn read<'a>(
        item: Value<'a>,
        path: &'static str,
        index: usize,
    ) -> Result<Self, ConfigError<'a>> {
        let field = Field::item(path, index);
        let item = object(item, field)?;
        // The last number is nobody's: `(uid_t) -1` means "as it is".
        let refused = ConfigError::Type {
            field,
            expected: "containerID, hostID and size, with a size above 0 and no number above 4294967294",
        };
        let number = |name| {
            let value = item.member(name).ok_or(refused)?;
            let number = integer(value, 0..=u32::MAX.into());
            number.map(|number| number as u32).ok_or(refused)
        };
        let range = Self {
            inside: number("containerID")?,
            outside: number("hostID")?,
            count: number("size")?,
        };
        let ends_below = |first: u32| first.checked_add(range.count).is_some();
        if range.count == 0 || !ends_below(range.inside) || !ends_below(range.outside) {
            return Err(refused);
        }
        Ok(range)
    }

    const fn overlaps(&self, other: &Self) -> bool {
        const fn overlap(a: u32, a_count: u32, b: u32, b_count: u32) -> bool {
            // The ends do not overflow, as was checked.
            a < b.saturating_add(b_count) && b < a.saturating_add(a_count)
        }
        overlap(self.inside, self.count, other.inside, other.count)
            || overlap(self.outside, self.count, other.outside, other.count)
    }
}
