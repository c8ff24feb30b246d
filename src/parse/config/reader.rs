//! Fields of a document as values of their types, or errors that name the field.

use core::cell::Cell;
use core::ops::RangeInclusive;

use super::error::{ConfigError, Field};
use super::mounts::MountPlace;
use crate::parse::json::{Items, Node, Scratch, Text, Value};

/// What a string will be used for, which decides the characters that it may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A name or a path, which is also shown in logs: no control characters.
    Name,
    /// An argument or a variable of a program: anything but NUL, which ends a C string.
    Argument,
}

impl Use {
    /// Whether the text has a character that it may not have.
    pub(super) fn refuses(self, text: Text<'_>) -> bool {
        match self {
            Self::Name => text.has_control(),
            // It is always escaped.
            Self::Argument => text.has_escape() && text.chars().any(|c| c == '\0'),
        }
    }
}

/// The document is refused, and its [`Reader`] holds the error. This much is handed up in its
/// place: there is a way back from each field of each section, and an error on all of them would be
/// most of the code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused(());

/// The reading of one document: places for what was escaped, for its mounts, and for the error that
/// ends it.
#[derive(Default)]
pub(super) struct Reader<'a> {
    scratch: Cell<Scratch<'a>>,
    /// Where `mounts` go.
    pub(super) places: Cell<&'a mut [MountPlace<'a>]>,
    error: Cell<Option<ConfigError<'a>>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(scratch: &'a mut [u8]) -> Self {
        Self {
            scratch: Cell::new(Scratch::new(scratch)),
            places: Cell::default(),
            error: Cell::new(None),
        }
    }

    /// A member that is a string; an empty one is as good as none.
    pub(super) fn optional(
        &self,
        value: Option<Value<'a>>,
        field: Field,
        used: Use,
    ) -> Result<Option<&'a str>, Refused> {
        let Some(value) = value else {
            return Ok(None);
        };
        let text = self.string(value, field, used)?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    #[inline(never)]
    pub(super) fn string(
        &self,
        value: Value<'a>,
        field: Field,
        used: Use,
    ) -> Result<&'a str, Refused> {
        self.store(self.text_for(value, field, used)?)
    }

    /// The text that is meant, whatever its characters.
    #[inline(never)]
    pub(super) fn store(&self, text: Text<'a>) -> Result<&'a str, Refused> {
        let mut scratch = self.scratch.take();
        let stored = text.read(&mut scratch);
        self.scratch.set(scratch);
        stored.ok_or_else(|| self.refuse(ConfigError::ScratchFull))
    }

    /// The texts that are meant, with commas between them.
    pub(super) fn join(&self, texts: impl Iterator<Item = Text<'a>>) -> Result<&'a str, Refused> {
        let mut scratch = self.scratch.take();
        let stored = scratch.join(texts);
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
        match used.refuses(text) {
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

    /// The items of a list.
    #[inline(never)]
    pub(super) fn items(&self, value: Value<'a>, field: Field) -> Result<Items<'a>, Refused> {
        match value.node() {
            Node::Array(items) => Ok(items),
            _ => Err(self.not(field, "a list")),
        }
    }

    /// The items of a list that may be absent: that has none.
    pub(super) fn items_if_any(
        &self,
        value: Option<Value<'a>>,
        field: Field,
    ) -> Result<impl Iterator<Item = Value<'a>> + use<'a>, Refused> {
        let items = value.map(|value| self.items(value, field)).transpose()?;
        Ok(items.into_iter().flatten())
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
