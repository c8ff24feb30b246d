//! Why a `config.json` is refused.

use core::fmt;

use super::MAX_SIZE;
use crate::parse::json::JsonError;
use crate::text::{Escaped, Quoted};

/// A field by its path; `[]` in it stands for one item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    path: &'static str,
    index: Option<usize>,
}

impl Field {
    /// A field of the item number `index`, from 0: `mounts[].type`.
    #[must_use]
    pub fn item(path: &'static str, index: usize) -> Self {
        Self {
            path,
            index: Some(index),
        }
    }
}

impl From<&'static str> for Field {
    fn from(path: &'static str) -> Self {
        Self { path, index: None }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A list is followed by a pair of brackets.
        match (self.path.split_once('['), self.index) {
            (Some((list, rest)), Some(index)) => write!(f, "{list}[{index}{rest}"),
            (Some((list, rest)), None) => write!(f, "{list}{}", rest.trim_start_matches(']')),
            (None, _) => f.write_str(self.path),
        }
    }
}

/// Why a `config.json` is refused. `Display` does not name the file: the caller knows which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError<'a> {
    /// The file has more bytes than [`MAX_SIZE`].
    TooLarge {
        /// As many.
        size: usize,
    },
    /// It is not JSON, or nested too deep, or has a key twice.
    Json(JsonError<'a>),
    /// A field that has to be there is not, or is empty.
    Missing(Field),
    /// A field of another JSON type.
    Type {
        /// Which.
        field: Field,
        /// What it should be: `a string`, …
        expected: &'static str,
    },
    /// A list with more items than berth holds.
    TooMany {
        /// Which.
        field: Field,
        /// Its capacity.
        limit: usize,
    },
    /// A string with NUL in it, or with a control character where a name is asked for.
    Control(Field),
    /// More escaped text than the scratch buffer holds.
    ScratchFull,
    /// A value that the field does not take.
    Bad {
        /// Which.
        field: Field,
        /// The value.
        value: &'a str,
        /// What it takes.
        accepts: &'static str,
    },
    /// A value that the field does not take, and that is not shown.
    Wrong {
        /// Which.
        field: Field,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A field that asks for what there is not.
    Impossible {
        /// Which.
        field: Field,
        /// What there is not.
        why: &'static str,
    },
    /// A field that is only valid together with another.
    Needs {
        /// Which.
        field: Field,
        /// What is missing.
        needs: &'static str,
    },
    /// A field of the specification that bears on security and is not supported yet.
    Unsupported(Field),
    /// A value of the specification that is not supported yet.
    UnsupportedValue {
        /// Where it is.
        field: Field,
        /// The value.
        value: &'a str,
    },
    /// A value of the specification that would reach beyond the container.
    Refused {
        /// Where it is.
        field: Field,
        /// The value.
        value: &'a str,
        /// Why, as what follows the value.
        reason: &'static str,
    },
    /// An annotation `berth.*` that does not exist.
    UnknownAnnotation {
        /// Its key.
        key: &'a str,
        /// The one that is perhaps meant.
        nearest: Option<&'static str>,
    },
}

impl<'a> ConfigError<'a> {
    /// The field that it is about. `None`: it is about the whole file, or about an annotation's
    /// key.
    #[must_use]
    pub fn field(&self) -> Option<Field> {
        match *self {
            Self::Missing(field)
            | Self::Control(field)
            | Self::Unsupported(field)
            | Self::Type { field, .. }
            | Self::TooMany { field, .. }
            | Self::Bad { field, .. }
            | Self::Wrong { field, .. }
            | Self::Impossible { field, .. }
            | Self::Needs { field, .. }
            | Self::UnsupportedValue { field, .. }
            | Self::Refused { field, .. } => Some(field),
            Self::TooLarge { .. }
            | Self::Json(_)
            | Self::ScratchFull
            | Self::UnknownAnnotation { .. } => None,
        }
    }

    pub(super) fn bad(field: impl Into<Field>, value: &'a str, accepts: &'static str) -> Self {
        Self::Bad {
            field: field.into(),
            value,
            accepts,
        }
    }

    pub(super) fn wrong(field: impl Into<Field>, why: &'static str) -> Self {
        Self::Wrong {
            field: field.into(),
            why,
        }
    }

    pub(super) fn impossible(field: impl Into<Field>, why: &'static str) -> Self {
        Self::Impossible {
            field: field.into(),
            why,
        }
    }
}

impl fmt::Display for ConfigError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size } => {
                write!(f, "config.json is {size} bytes; the limit is {MAX_SIZE}")
            }
            Self::Json(error) => write!(f, "{error}"),
            Self::Missing(field) => write!(f, "{field} is missing or empty"),
            Self::Type { field, expected } => write!(f, "{field} is not {expected}"),
            Self::TooMany { field, limit } => write!(f, "{field} has more than {limit} items"),
            Self::Control(field) => write!(f, "{field} holds NUL or a control character"),
            Self::ScratchFull => f.write_str("more escaped text than there is room for"),
            Self::Bad {
                field,
                value,
                accepts,
            } => write!(f, "{field} is {}; it takes {accepts}", Quoted(value)),
            Self::Wrong { field, why } | Self::Impossible { field, why } => {
                write!(f, "{field}: {why}")
            }
            Self::Needs { field, needs } => write!(f, "{field} needs {needs}"),
            Self::Unsupported(field) => write!(f, "{field} is not supported yet"),
            Self::UnsupportedValue { field, value } => {
                write!(f, "{field}: {} is not supported yet", Quoted(value))
            }
            Self::Refused {
                field,
                value,
                reason,
            } => write!(f, "{field}: {} {reason}", Quoted(value)),
            Self::UnknownAnnotation { key, nearest } => {
                write!(f, "there is no annotation {}", Escaped(key))?;
                match nearest {
                    Some(name) => write!(f, ", perhaps {name}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl core::error::Error for ConfigError<'_> {}
