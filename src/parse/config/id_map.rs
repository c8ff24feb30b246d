//! Lists of `containerID`, `hostID` and `size`: which users and groups outside those of a user namespace are (user_namespaces(7),
//! "User and group ID mappings").

use core::fmt;

use heapless::Vec;

use super::error::Field;
use super::reader::{Reader, Refused, integer};
use crate::parse::json::{Node, Value};

/// Ranges that the kernel takes (`UID_GID_MAP_MAX_EXTENTS`, include/linux/user_namespace.h).
pub const MAX_RANGES: usize = 340;

/// What a list has to be.
const RANGES: &str =
    "a list of containerID, hostID and size, with a size above 0 and no number above 4294967294";

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
        items.filter_map(IdRange::read)
    }

    /// The list `value`, a field of this name; `None` if there is none, or an empty one.
    #[inline(never)]
    pub(super) fn read(
        reader: &Reader<'a>,
        value: Option<Value<'a>>,
        field: Field,
    ) -> Result<Option<Self>, Refused> {
        let Some(value) = value else {
            return Ok(None);
        };
        let Node::Array(items) = value.node() else {
            let expected = "a list";
            return Err(reader.not(field, expected));
        };
        let mut ranges = Vec::<IdRange, MAX_RANGES>::new();
        for item in items {
            let range = IdRange::read(item).ok_or_else(|| reader.not(field, RANGES))?;
            if ranges.iter().any(|other| other.overlaps(&range)) {
                let expected = "a list of ranges that are apart from each other";
                return Err(reader.not(field, expected));
            }
            let limit = MAX_RANGES;
            ranges
                .push(range)
                .map_err(|_| reader.too_many(field, limit))?;
        }
        Ok((!ranges.is_empty()).then_some(Self(value)))
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [inside, outside, count] = [self.inside, self.outside, self.count];
        write!(formatter, "{inside} {outside} {count}")
    }
}

impl IdRange {
    /// `None` for what is not in [`RANGES`].
    fn read(item: Value<'_>) -> Option<Self> {
        let number = |name| {
            let number = integer(item.member(name)?, 0..=u32::MAX.into())?;
            Some(number as u32)
        };
        let range = Self {
            inside: number("containerID")?,
            outside: number("hostID")?,
            count: number("size")?,
        };
        // The last number is nobody's: `(uid_t) -1` means "as it is".
        range.inside.checked_add(range.count)?;
        range.outside.checked_add(range.count)?;
        (range.count != 0).then_some(range)
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
