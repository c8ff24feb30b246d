//! Lists of `containerID`, `hostID` and `size`: which users and groups outside those of a user
//! namespace are (user_namespaces(7), "User and group ID mappings").

use core::fmt;

use heapless::Vec;

use super::error::Field;
use super::reader::{Reader, Refused, integer};
use crate::parse::json::{Node, Value};
use crate::parse::number::number;

/// Ranges that the kernel takes (`UID_GID_MAP_MAX_EXTENTS`, include/linux/user_namespace.h).
pub const MAX_RANGES: usize = 340;

/// What a range has.
pub(super) const MEMBERS: [&str; 3] = ["containerID", "hostID", "size"];

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

/// A list of ranges that do not overlap, neither inside nor outside; at least one, at most
/// [`MAX_RANGES`]. It stays in the text, and is read there again.
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

    /// Whether it says the same as a map that the kernel shows, however the ranges are cut and
    /// ordered. Those of neither overlap, so it does exactly if as many ids as either has are the
    /// same in both.
    #[must_use]
    pub fn is_shown_as(&self, text: &str) -> bool {
        let [mut asked, mut found, mut same] = [0_u64; 3];
        for range in self.ranges() {
            asked = asked.saturating_add(range.count.into());
            for other in shown(text) {
                same = same.saturating_add(range.in_common(&other).into());
            }
        }
        for other in shown(text) {
            found = found.saturating_add(other.count.into());
        }
        asked == same && found == same
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

/// The ranges of a map as the kernel shows it: three numbers a line (user_namespaces(7),
/// `/proc/pid/uid_map`).
pub fn shown(text: &str) -> impl Iterator<Item = IdRange> {
    let mut numbers = text.split_ascii_whitespace().map_while(number);
    core::iter::from_fn(move || {
        Some(IdRange {
            inside: numbers.next()?,
            outside: numbers.next()?,
            count: numbers.next()?,
        })
    })
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
        let [inside, outside, count] = item.members(&MEMBERS).map(|number| {
            let number = integer(number?, 0..=u32::MAX.into())?;
            Some(number as u32)
        });
        let range = Self {
            inside: inside?,
            outside: outside?,
            count: count?,
        };
        // The last number is nobody's: `(uid_t) -1` means "as it is".
        range.inside.checked_add(range.count)?;
        range.outside.checked_add(range.count)?;
        (range.count != 0).then_some(range)
    }

    /// How many ids are in both, and the same outside.
    fn in_common(&self, other: &Self) -> u32 {
        let shift = |range: &Self| range.outside.wrapping_sub(range.inside);
        let end = |range: &Self| range.inside.saturating_add(range.count);
        let first = self.inside.max(other.inside);
        match shift(self) == shift(other) {
            true => end(self).min(end(other)).saturating_sub(first),
            false => 0,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::json;

    fn is_shown_as(ranges: &[[u32; 3]], text: &str) -> bool {
        let ranges: std::vec::Vec<_> = ranges
            .iter()
            .map(|[inside, outside, size]| {
                std::format!(r#"{{"containerID": {inside}, "hostID": {outside}, "size": {size}}}"#)
            })
            .collect();
        let file = std::format!(r#"{{"x": [{}]}}"#, ranges.join(","));
        let config = json::check(file.as_bytes()).unwrap();
        let mut scratch = [0; 8];
        let reader = Reader::new(&mut scratch);
        let map = IdMap::read(&reader, config.member("x"), "x".into());
        map.unwrap_or_else(|_| panic!()).unwrap().is_shown_as(text)
    }

    #[test]
    fn a_map_is_the_same_however_it_is_cut_and_ordered() {
        const ONE: &str = "         0     100000      65536\n";
        const TWO: &str = "0 100000 1000\n5000 7 1\n";
        assert!(is_shown_as(&[[0, 100_000, 65536]], ONE));
        assert!(is_shown_as(
            &[[1000, 101_000, 64536], [0, 100_000, 1000]],
            ONE
        ));
        assert!(is_shown_as(&[[5000, 7, 1], [0, 100_000, 1000]], TWO));
        assert!(is_shown_as(
            &[[0, 0, 10], [10, 10, 4_294_967_284]],
            "0 0 4294967294"
        ));
        for other in [
            // Less and more, inside and outside, of it.
            &[[0, 100_000, 65535]][..],
            &[[0, 100_000, 65537]],
            &[[1, 100_001, 65535]],
            // As many, elsewhere.
            &[[1, 100_001, 65536]],
            &[[0, 100_001, 65536]],
            &[[1, 100_000, 65536]],
            &[[0, 100_000, 1000], [1000, 102_000, 64536]],
            // All of it, and something else.
            &[[0, 100_000, 65536], [70_000, 5, 1]],
        ] {
            assert!(!is_shown_as(other, ONE), "{other:?}");
        }
        assert!(!is_shown_as(&[[0, 100_000, 1000]], TWO));
        assert!(!is_shown_as(&[[0, 100_000, 1000]], ""));
    }
}
