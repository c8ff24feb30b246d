//! Fields of a document as values of their types, or errors that name the field.

use core::ops::RangeInclusive;

use heapless::Vec;

use super::error::{ConfigError, Field};
use crate::parse::json::{Node, Scratch, Text, Value};

/// What a string will be used for, which decides the characters that it may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A name or a path, which is also shown in logs: no control characters.
    Name,
    /// An argument or a variable of a program: anything but NUL, which ends a C string.
    Argument,
}

pub(super) struct Reader<'a> {
    scratch: Scratch<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(scratch: &'a mut [u8]) -> Self {
        Self {
            scratch: Scratch::new(scratch),
        }
    }

    /// A string that has to be there and not be empty.
    pub(super) fn required(
        &mut self,
        object: Value<'a>,
        path: &'static str,
        used: Use,
    ) -> Result<&'a str, ConfigError<'a>> {
        self.optional(object, path, used)?
            .ok_or(ConfigError::Missing(path.into()))
    }

    /// A string; an empty one is as good as none.
    pub(super) fn optional(
        &mut self,
        object: Value<'a>,
        path: &'static str,
        used: Use,
    ) -> Result<Option<&'a str>, ConfigError<'a>> {
        let Some(value) = object.at(path) else {
            return Ok(None);
        };
        let text = self.string(value, path.into(), used)?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    pub(super) fn string(
        &mut self,
        value: Value<'a>,
        field: Field,
        used: Use,
    ) -> Result<&'a str, ConfigError<'a>> {
        self.store(text_for(value, field, used)?)
    }

    /// The text that is meant, whatever its characters.
    pub(super) fn store(&mut self, text: Text<'a>) -> Result<&'a str, ConfigError<'a>> {
        text.read(&mut self.scratch).ok_or(ConfigError::ScratchFull)
    }

    pub(super) fn store_chars(
        &mut self,
        chars: impl Iterator<Item = char>,
    ) -> Result<&'a str, ConfigError<'a>> {
        self.scratch.store(chars).ok_or(ConfigError::ScratchFull)
    }
}

/// A string as it is written.
pub(super) fn text<'a>(value: Value<'a>, field: Field) -> Result<Text<'a>, ConfigError<'a>> {
    match value.node() {
        Node::String(text) => Ok(text),
        _ => Err(ConfigError::Type {
            field,
            expected: "a string",
        }),
    }
}

/// A string as it is written, with no characters that it may not have.
pub(super) fn text_for<'a>(
    value: Value<'a>,
    field: Field,
    used: Use,
) -> Result<Text<'a>, ConfigError<'a>> {
    let text = text(value, field)?;
    let is_refused = |c: char| match used {
        Use::Name => c.is_control(),
        Use::Argument => c == '\0',
    };
    match text.chars().any(is_refused) {
        true => Err(ConfigError::Control(field)),
        false => Ok(text),
    }
}

/// The value itself, when it is an object.
pub(super) fn object(value: Value<'_>, field: Field) -> Result<Value<'_>, ConfigError<'_>> {
    match value.node() {
        Node::Object(_) => Ok(value),
        _ => Err(ConfigError::Type {
            field,
            expected: "an object",
        }),
    }
}

/// An object that may be absent.
pub(super) fn section<'a>(
    config: Value<'a>,
    path: &'static str,
) -> Result<Option<Value<'a>>, ConfigError<'a>> {
    let section = config.at(path).map(|value| object(value, path.into()));
    section.transpose()
}

/// A boolean; `false` when it is not there.
pub(super) fn boolean<'a>(object: Value<'a>, path: &'static str) -> Result<bool, ConfigError<'a>> {
    match object.at(path).map(|value| value.node()) {
        None => Ok(false),
        Some(Node::Bool(value)) => Ok(value),
        Some(_) => Err(ConfigError::Type {
            field: path.into(),
            expected: "true or false",
        }),
    }
}

/// A whole number in `range`; `None` for anything else.
pub(super) fn integer(value: Value<'_>, range: RangeInclusive<i64>) -> Option<i64> {
    let Node::Number(digits) = value.node() else {
        return None;
    };
    digits.parse().ok().filter(|number| range.contains(number))
}

/// A number from 0 to `limit`.
pub(super) fn number(value: Value<'_>, field: Field, limit: u32) -> Result<u32, ConfigError<'_>> {
    let expected = ConfigError::Type {
        field,
        expected: "a number, or too large",
    };
    match value.node() {
        Node::Number(digits) => digits
            .parse()
            .ok()
            .filter(|number| *number <= limit)
            .ok_or(expected),
        _ => Err(expected),
    }
}

/// The items of a list. No list has no items.
pub(super) fn list<'a>(
    object: Value<'a>,
    path: &str,
    field: Field,
) -> Result<impl Iterator<Item = Value<'a>> + use<'a>, ConfigError<'a>> {
    match object.at(path).map(|value| value.node()) {
        None => Ok(None.into_iter().flatten()),
        Some(Node::Array(items)) => Ok(Some(items).into_iter().flatten()),
        Some(_) => Err(ConfigError::Type {
            field,
            expected: "a list",
        }),
    }
}

/// Appends to a list that the path names.
pub(super) fn push<'a, T, const N: usize>(
    list: &mut Vec<T, N>,
    item: T,
    path: &'static str,
) -> Result<(), ConfigError<'a>> {
    list.push(item).map_err(|_| ConfigError::TooMany {
        field: path.into(),
        limit: N,
    })
}
