//! Fields that the specification has and berth does not act on yet.
//!
//! A field that says nothing (`null`, an empty list, `false`) asks for what happens anyway and is
//! accepted in either table.

use heapless::Vec;

use super::reader::{Reader, Refused};
use crate::parse::json::Value;

/// Without these the container would be less confined than its author believes: refused.
const REFUSED: [&str; 2] = ["vm", "windows"];

/// The container works without these: named in a warning.
const WARNED: [&str; 5] = [
    "linux.resources.memory.kernel",
    "linux.resources.memory.kernelTCP",
    "solaris",
    "freebsd",
    "zos",
];

/// Paths of the fields that are warned of: these, and one of [`super::seccomp`].
pub type Warnings = Vec<&'static str, { WARNED.len() + 1 }>;

pub(super) fn check<'a>(reader: &Reader<'a>, config: Value<'a>) -> Result<Warnings, Refused> {
    for path in REFUSED {
        if config.at(path).is_some_and(|value| !value.is_empty()) {
            return Err(reader.unsupported(path));
        }
    }
    Ok(WARNED
        .into_iter()
        .filter(|path| config.at(path).is_some_and(|value| !value.is_empty()))
        .collect())
}
