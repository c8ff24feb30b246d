//! Fields of a document as values of their types, or errors that name the field.

use core::cell::Cell;
use core::ops::RangeInclusive;

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

/// The document is refused, and its [`Reader`] holds the error. This much is handed up in its place: there is a way back from each
/// field of each section, and an error on all of them would be most of the code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused(());

/// The reading of one document: a place for what was escaped, and one for the error that ends it.
#[derive(Default)]
pub(super) struct Reader<'a> {
    scratch: Cell<Scratch<'a>>,
    error: Cell<Option<ConfigError<'a>>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(scratch: &'a mut [u8]) -> Self {
        Self {
            scratch: Cell::new(Scratch::new(scratch)),
            error: Cell::new(None),
        }
    }

    /// A string that has to be there and not be empty.
    pub(super) fn required(
        &self,
        object: Value<'a>,
        path: &'static str,
        used: Use,
    ) -> Result<&'a str, Refused> {
        self.optional(object, path, used)?
            .ok_or_else(|| self.missing(path))
    }

    /// A string; an empty one is as good as none.
    #[inline(never)]
    pub(super) fn optional(
        &self,
        object: Value<'a>,
        path: &'static str,
        used: Use,
    ) -> Result<Option<&'a str>, Refused> {
        let Some(value) = object.at(path) else {
            return Ok(None);
        };
        let text = self.string(value, path, used)?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    pub(super) fn string(
        &self,
        value: Value<'a>,
        field: impl Into<Field>,
        used: Use,
    ) -> Result<&'a str, Refused> {
        self.store(self.text_for(value, field.into(), used)?)
    }

    /// The text that is meant, whatever its characters.
    #[inline(never)]
    pub(super) fn store(&self, text: Text<'a>) -> Result<&'a str, Refused> {
        let mut scratch = self.scratch.take();
        let stored = text.read(&mut scratch);
        self.scratch.set(scratch);
        stored.ok_or_else(|| self.refuse(ConfigError::ScratchFull))
    }

    pub(super) fn store_chars(
        &self,
        chars: impl Iterator<Item = char>,
    ) -> Result<&'a str, Refused> {
        let mut scratch = self.scratch.take();
        let stored = scratch.store(chars);
        self.scratch.set(scratch);
        stored.ok_or_else(|| self.refuse(ConfigError::ScratchFull))
    }

    /// A string as it is written.
    #[inline(never)]
    pub(super) fn text(&self, value: Value<'a>, field: Field) -> Result<Text<'a>, Refused> {
        match value.node() {
            Node::String(text) => Ok(text),
            _ => Err(self.not(field, "a string")),
        }
    }

    /// A string as it is written, with no characters that it may not have.
    #[inline(never)]
    pub(super) fn text_for(
        &self,
        value: Value<'a>,
        field: Field,
        used: Use,
    ) -> Result<Text<'a>, Refused> {
        let text = self.text(value, field)?;
        let is_refused = |c: char| match used {
            Use::Name => c.is_control(),
            Use::Argument => c == '\0',
        };
        match text.chars().any(is_refused) {
            true => Err(self.control(field)),
            false => Ok(text),
        }
    }

    /// The value itself, when it is an object.
    pub(super) fn object(
        &self,
        value: Value<'a>,
        field: impl Into<Field>,
    ) -> Result<Value<'a>, Refused> {
        match value.node() {
            Node::Object(_) => Ok(value),
            _ => Err(self.not(field, "an object")),
        }
    }

    /// An object that may be absent.
    #[inline(never)]
    pub(super) fn section(
        &self,
        config: Value<'a>,
        path: &'static str,
    ) -> Result<Option<Value<'a>>, Refused> {
        let section = config.at(path).map(|value| self.object(value, path));
        section.transpose()
    }

    /// A boolean; `false` when it is not there.
    #[inline(never)]
    pub(super) fn boolean(&self, object: Value<'a>, path: &'static str) -> Result<bool, Refused> {
        match object.at(path).map(|value| value.node()) {
            None => Ok(false),
            Some(Node::Bool(value)) => Ok(value),
            Some(_) => Err(self.not(path, "true or false")),
        }
    }

    /// The items of a list. No list has no items.
    #[inline(never)]
    pub(super) fn list(
        &self,
        object: Value<'a>,
        path: &str,
        field: Field,
    ) -> Result<impl Iterator<Item = Value<'a>> + use<'a>, Refused> {
        match object.at(path).map(|value| value.node()) {
            None => Ok(None.into_iter().flatten()),
            Some(Node::Array(items)) => Ok(Some(items).into_iter().flatten()),
            Some(_) => Err(self.not(field, "a list")),
        }
    }
}

/// Errors, one method for each kind that is met in more than one place.
impl<'a> Reader<'a> {
    /// Ends the reading.
    #[cold]
    #[inline(never)]
    pub(super) fn refuse(&self, error: ConfigError<'a>) -> Refused {
        self.error.set(Some(error));
        Refused(())
    }

    /// What ended it.
    pub(super) fn error(&self, _: Refused) -> ConfigError<'a> {
        // Nothing but `refuse` makes the proof that there is one.
        self.error.take().unwrap_or(ConfigError::ScratchFull)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn missing(&self, field: impl Into<Field>) -> Refused {
        self.refuse(ConfigError::Missing(field.into()))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn control(&self, field: impl Into<Field>) -> Refused {
        self.refuse(ConfigError::Control(field.into()))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn unsupported(&self, field: impl Into<Field>) -> Refused {
        self.refuse(ConfigError::Unsupported(field.into()))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn too_many(&self, field: impl Into<Field>, limit: usize) -> Refused {
        let field = field.into();
        self.refuse(ConfigError::TooMany { field, limit })
    }

    #[cold]
    #[inline(never)]
    pub(super) fn not(&self, field: impl Into<Field>, expected: &'static str) -> Refused {
        let field = field.into();
        self.refuse(ConfigError::Type { field, expected })
    }

    #[cold]
    #[inline(never)]
    pub(super) fn needs(&self, field: impl Into<Field>, needs: &'static str) -> Refused {
        let field = field.into();
        self.refuse(ConfigError::Needs { field, needs })
    }

    #[cold]
    #[inline(never)]
    pub(super) fn wrong(&self, field: impl Into<Field>, why: &'static str) -> Refused {
        self.refuse(ConfigError::wrong(field, why))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn impossible(&self, field: impl Into<Field>, why: &'static str) -> Refused {
        self.refuse(ConfigError::impossible(field, why))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn bad(
        &self,
        field: impl Into<Field>,
        value: &'a str,
        accepts: &'static str,
    ) -> Refused {
        self.refuse(ConfigError::bad(field, value, accepts))
    }
}

/// A whole number in `range`; `None` for anything else.
pub(super) fn integer(value: Value<'_>, range: RangeInclusive<i64>) -> Option<i64> {
    let Node::Number(digits) = value.node() else {
        return None;
    };
    digits.parse().ok().filter(|number| range.contains(number))
}
