//! Numbers, and words that stand for numbers.

use super::error::Field;
use super::reader::{Reader, Refused};
use crate::parse::json::{Node, Text, Value};

/// What a member may be, and that as words.
pub(super) enum Takes {
    /// A whole number, up to this one.
    Number(u64, &'static str),
    /// A whole number from the first to the second; in two's complement.
    Signed(i64, i64, &'static str),
    /// A prefix and one of these words, which stands for its place.
    Word(&'static str, &'static [&'static str], &'static str),
}

impl Takes {
    /// What it may be, as words.
    pub(super) const fn accepts(&self) -> &'static str {
        match *self {
            Self::Number(_, accepts) | Self::Signed(_, _, accepts) | Self::Word(_, _, accepts) => {
                accepts
            }
        }
    }

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

/// More than the longest of the words has, with its prefix.
const WORD_MAX: usize = 64;

/// The place in `names` of what follows `prefix` in the text.
pub(super) fn place(text: Text<'_>, prefix: &str, names: &[&str]) -> Option<usize> {
    let mut room = heapless::String::<WORD_MAX>::new();
    let word = match text.plain() {
        Some(plain) => plain,
        None => {
            text.chars().try_for_each(|c| room.push(c)).ok()?;
            &room
        }
    };
    let name = word.strip_prefix(prefix)?;
    names
        .iter()
        .position(|known| known.len() == name.len() && *known == name)
}
