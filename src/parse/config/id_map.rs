//! Lists of `containerID`, `hostID` and `size`: which users and groups outside those of a user namespace are (user_namespaces(7),
//! "User and group ID mappings").

use heapless::Vec;

use super::error::{ConfigError, Field};
use super::reader::{integer, object};
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
        items.filter_map(|item| IdRange::read(item, "".into()).ok())
    }

    /// The list `value`, a field of this name; `None` if there is none, or an empty one.
    #[inline(never)]
    pub(super) fn read(
        value: Option<Value<'a>>,
        field: Field,
    ) -> Result<Option<Self>, ConfigError<'a>> {
        let Some(value) = value else {
            return Ok(None);
        };
        let Node::Array(items) = value.node() else {
            let expected = "a list";
            return Err(ConfigError::Type { field, expected });
        };
        let mut ranges = Vec::<IdRange, MAX_RANGES>::new();
        for item in items {
            let range = IdRange::read(item, field)?;
            if ranges.iter().any(|other| other.overlaps(&range)) {
                let expected = "a list of ranges that are apart from each other";
                return Err(ConfigError::Type { field, expected });
            }
            let limit = MAX_RANGES;
            ranges
                .push(range)
                .map_err(|_| ConfigError::TooMany { field, limit })?;
        }
        Ok((!ranges.is_empty()).then_some(Self(value)))
    }
}

impl IdRange {
    fn read(item: Value<'_>, field: Field) -> Result<Self, ConfigError<'_>> {
        // The last number is nobody's: `(uid_t) -1` means "as it is".
        let refused = ConfigError::Type {
            field,
            expected: "a list of containerID, hostID and size, with a size above 0 and no number above 4294967294",
        };
        let item = object(item, field).map_err(|_| refused)?;
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
