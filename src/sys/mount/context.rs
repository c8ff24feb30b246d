//! Filesystem contexts (fsopen(2), fspick(2)): options one by one, and the kernel's own words about them.

use core::fmt;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read};
use rustix::mount::{
    FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fspick,
};

use crate::error::{Fault, Op};
use crate::sys::path::{PATH_MAX, terminated};
use crate::text::Text;

/// Changes options of the filesystem whose mount has its root at `mount`; it is called `shown` in errors.
///
/// # Errors
/// Those of fspick(2) and fsconfig(2), with the option that the kernel refused and its words, if it left any.
pub fn reconfigure(
    mount: BorrowedFd<'_>,
    shown: &dyn fmt::Display,
    options: &mut dyn Iterator<Item = &str>,
) -> Result<(), Fault> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = match fspick(mount, c"", flags) {
        Ok(context) => context,
        Err(errno) => return Err(refused(errno, shown, None, "")),
    };
    set_options(&context, shown, options)?;
    match fsconfig_reconfigure(&context) {
        Ok(()) => Ok(()),
        Err(errno) => Err(refused(errno, shown, Some(&context), "")),
    }
}

/// Sets options, each `key=value` or `key`; quotes around a value are removed.
pub(super) fn set_options(
    context: &OwnedFd,
    shown: &dyn fmt::Display,
    options: &mut dyn Iterator<Item = &str>,
) -> Result<(), Fault> {
    for option in options {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        };
        let quoted = value.and_then(|value| value.strip_prefix('"')?.strip_suffix('"'));
        if let Err(errno) = set_option(context, key, quoted.or(value)) {
            return Err(refused(errno, shown, Some(context), option));
        }
    }
    Ok(())
}

/// Sets one option. The kernel takes 255 bytes of each of both (fsconfig(2)).
#[inline(never)]
pub(super) fn set_option(context: &OwnedFd, key: &str, value: Option<&str>) -> Result<(), Errno> {
    let mut rooms = [[0; PATH_MAX + 1]; 2];
    let [for_key, for_value] = &mut rooms;
    let key = terminated(key, for_key)?;
    match value {
        Some(value) => fsconfig_set_string(context, key, terminated(value, for_value)?),
        None => fsconfig_set_flag(context, key),
    }
}

/// An error on the way of `shown`: in the middle of `what`, and with the kernel's words.
#[cold]
#[inline(never)]
pub(super) fn refused(
    errno: Errno,
    shown: &dyn fmt::Display,
    context: Option<&OwnedFd>,
    what: &str,
) -> Fault {
    let words = context.map_or(Text::EMPTY, |context| message(context.as_fd()));
    let [before_what, before_words] =
        [what, words.as_str()].map(|text| if text.is_empty() { "" } else { ": " });
    Fault {
        op: Op::Mount,
        subject: Text::new(format_args!(
            "{shown}{before_what}{what}{before_words}{words}"
        )),
        errno,
    }
}

/// What the kernel has to say about the last call on a filesystem context (fsopen(2), "Message retrieval"), without the
/// letter that gives its kind.
pub(super) fn message(context: BorrowedFd<'_>) -> Text<128> {
    let mut last = Text::EMPTY;
    let mut message = [0; 256];
    while let Ok(len) = read(context, &mut message) {
        let text = message.get(2..len).unwrap_or_default();
        if message[0] == b'e' || last.is_empty() {
            last = Text::from_bytes(text.strip_suffix(b"\n").unwrap_or(text));
        }
    }
    last
}
