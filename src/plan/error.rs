//! A command line that cannot be followed, and why.

use core::fmt;

use super::keys::{KEYS, Key, is_own};
use crate::parse::cmdline::CmdlineError;
use crate::parse::nearest::nearest;
use crate::text::Escaped;

/// Which text a refused word stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `/etc/berth/cmdline` of the image.
    Defaults,
    /// The kernel command line.
    Cmdline,
}

/// A command line that cannot be followed.
#[derive(Clone, Copy)]
pub struct PlanError<'a> {
    /// Where.
    pub source: Source,
    /// What.
    pub refusal: Refusal<'a>,
}

/// Why a command line cannot be followed.
#[derive(Clone, Copy)]
pub enum Refusal<'a> {
    /// It is not text.
    Text(CmdlineError),
    /// A `berth.*` key that does not exist.
    Unknown {
        /// The key as typed.
        key: &'a str,
    },
    /// A value that its key does not take.
    Value {
        /// The key's row in [`KEYS`].
        key: &'static Key,
        /// The value; `None` if there is none.
        value: Option<&'a str>,
    },
}

impl fmt::Display for PlanError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Defaults => "/etc/berth/cmdline: ",
            Source::Cmdline => "command line: ",
        })?;
        match self.refusal {
            Refusal::Text(error) => write!(f, "{error}"),
            Refusal::Value { key, value: None } => {
                write!(f, "{} needs a value: {}", key.name, key.accepts)
            }
            Refusal::Value { key, value } => {
                let (name, value) = (key.name, Escaped(value.unwrap_or_default()));
                write!(f, "{name}={value} is refused; {name} takes {}", key.accepts)
            }
            Refusal::Unknown { key } => {
                let mut known = KEYS.iter().map(|key| key.name).filter(|name| is_own(name));
                write!(f, "there is no key {}", Escaped(key))?;
                if let Some(name) = nearest(key, known.clone()) {
                    write!(f, ", perhaps {name}")?;
                }
                write!(f, "; known are {}", known.next().unwrap_or_default())?;
                known.try_for_each(|name| write!(f, ", {name}"))
            }
        }
    }
}

/// As `Display`: the row of a key holds a function, which says nothing.
impl fmt::Debug for PlanError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl core::error::Error for PlanError<'_> {}
