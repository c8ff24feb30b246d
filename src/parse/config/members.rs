//! Members of an object that are numbers, or words that stand for numbers: as a table.

use super::error::Field;
use super::reader::{Reader, Refused};
use crate::parse::json::{Node, Text, Value};
use crate::text::split_last;

/// One member.
pub(super) struct Member {
    /// Its path in the document.
    path: &'static str,
    is_required: bool,
    takes: Takes,
}

/// What a member may be, and that as words.
pub(super) enum Takes {
    /// A whole number, up to this one.
    Number(u64, &'static str),
    /// A whole number from the first to the second; in two's complement.
    Signed(i64, i64, &'static str),
    /// A prefix and one of these words, which stands for its place.
    Word(&'static str, &'static [&'static str], &'static str),
}

/// The object's own name for the member at `path`: what follows the last dot.
pub(super) fn last_name(path: &str) -> &str {
    split_last(path, b'.').map_or(path, |(_, name)| name)
}

impl Member {
    pub(super) const fn required(path: &'static str, takes: Takes) -> Self {
        Self {
            path,
            is_required: true,
            takes,
        }
    }

    pub(super) const fn optional(path: &'static str, takes: Takes) -> Self {
        Self {
            path,
            is_required: false,
            takes,
        }
    }
}

impl Takes {
    #[inline(never)]
    pub(super) fn read<'a>(
        &self,
        reader: &Reader<'a>,
        value: Value<'a>,
        field: Field,
    ) -> Result<u64, Refused> {
        if let Self::Word(prefix, words, accepts) = *self {
            let word = reader.text(value, field)?;
            let place = place(word, prefix, words).map(|place| place as u64);
            return place.ok_or_else(|| reader.bad(field, word.written(), accepts));
        }
        let Node::Number(digits) = value.node() else {
            let expected = "a number";
            return Err(reader.not(field, expected));
        };
        // One with a fraction or an exponent is no number of anything here, and does not parse.
        let (number, accepts) = match *self {
            Self::Signed(min, max, accepts) => {
                let number = digits.parse::<i64>().ok();
                let in_range = number.filter(|number| (min..=max).contains(number));
                (in_range.map(|number| number as u64), accepts)
            }
            Self::Number(max, accepts) => {
                let number = digits.parse().ok();
                (number.filter(|number| *number <= max), accepts)
            }
            Self::Word(_, _, accepts) => (None, accepts),
        };
        number.ok_or_else(|| reader.bad(field, digits, accepts))
    }
}

/// The values of the members in `table`; of the item number `index`, if the object is one of a list.
pub(super) fn read<'a, const N: usize>(
    reader: &Reader<'a>,
    object: Value<'a>,
    index: Option<usize>,
    table: &[Member; N],
) -> Result<[Option<u64>; N], Refused> {
    let mut values = [None; N];
    read_into(reader, object, index, table, &mut values)?;
    Ok(values)
}

#[inline(never)]
fn read_into<'a>(
    reader: &Reader<'a>,
    object: Value<'a>,
    index: Option<usize>,
    table: &[Member],
    values: &mut [Option<u64>],
) -> Result<(), Refused> {
    for (member, place) in table.iter().zip(values) {
        let field = match index {
            Some(index) => Field::item(member.path, index),
            None => member.path.into(),
        };
        let name = last_name(member.path);
        match object.member(name) {
            Some(value) => *place = Some(member.takes.read(reader, value, field)?),
            None if member.is_required => return Err(reader.missing(field)),
            None => {}
        }
    }
    Ok(())
}

/// The place in `names` of what follows `prefix` in the text.
pub(super) fn place(text: Text<'_>, prefix: &str, names: &[&str]) -> Option<usize> {
    let mut rest = text.chars();
    if !prefix.chars().all(|c| rest.next() == Some(c)) {
        return None;
    }
    names.iter().position(|name| rest.clone().eq(name.chars()))
}
