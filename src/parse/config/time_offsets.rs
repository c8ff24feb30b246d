//! `linux.timeOffsets`: how far the clocks of a time namespace are ahead of the host's
//! (time_namespaces(7)).

use super::namespaces::{Kind, Namespaces};
use super::reader::{Reader, Refused, integer};
use crate::parse::json::{Node, Value};

/// A clock that can be ahead of the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Seconds; of a clock that is behind, below 0.
    pub seconds: i64,
    /// Nanoseconds besides, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// The clocks that have an offset, by the names that the kernel knows them by, too.
pub const CLOCKS: [&str; 2] = ["monotonic", "boottime"];

/// The offsets of [`CLOCKS`], in their order.
pub type TimeOffsets = [Option<Offset>; CLOCKS.len()];

const FIELD: &str = "linux.timeOffsets";
/// What an offset has.
pub(super) const MEMBERS: [&str; 2] = ["secs", "nanosecs"];

#[inline(never)]
pub(super) fn read<'a>(
    reader: &Reader<'a>,
    value: Value<'a>,
    namespaces: &Namespaces<'a>,
) -> Result<TimeOffsets, Refused> {
    let mut offsets = TimeOffsets::default();
    let refused = || {
        reader.not(
            FIELD,
            "monotonic and boottime, each with secs and nanosecs below 1000000000",
        )
    };
    let Node::Object(members) = reader.object(value, FIELD)?.node() else {
        return Err(refused());
    };
    for (clock, value) in members {
        let place = CLOCKS.iter().position(|name| clock.is(name));
        let place = place.and_then(|place| offsets.get_mut(place));
        let number = |value: Option<Value<'_>>, range| match value {
            None => Some(0),
            Some(value) => integer(value, range),
        };
        let [seconds, nanoseconds] = value.members(&MEMBERS);
        let seconds = number(seconds, i64::MIN..=i64::MAX).ok_or_else(refused)?;
        let nanoseconds = number(nanoseconds, 0..=999_999_999).ok_or_else(refused)?;
        *place.ok_or_else(refused)? = Some(Offset {
            seconds,
            nanoseconds: nanoseconds as u32,
        });
    }
    if offsets.iter().any(Option::is_some) && !namespaces.is_new(Kind::Time) {
        return Err(reader.needs(FIELD, "a new namespace of type time in linux.namespaces"));
    }
    Ok(offsets)
}
