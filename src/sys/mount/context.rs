//! Filesystem contexts (fsopen(2), fspick(2)): options one by one, and the kernel's own words about
//! them.

use core::fmt;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read};
use rustix::mount::{
    FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fspick,
};

use crate::cause::of_filesystem;
use crate::error::{Fault, Op};
use crate::sys::path::{PATH_MAX, terminated};
use crate::text::Text;

/// What a mount is of, as errors tell of it: `source as fstype on destination`.
pub struct MountSubject<'a> {
    /// The device, or what it is called in its place; empty for a mount that is there already.
    pub source: &'a str,
    /// The type; empty if it is not known.
    pub fstype: &'a str,
    /// Where it is to be seen; empty if that is not known, or is no matter.
    pub on: &'a str,
}

impl fmt::Display for MountSubject<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, fstype, on } = self;
        match (*source, *on) {
            ("", on) => write!(formatter, "{on} again"),
            (source, "") => write!(formatter, "{source} as {fstype}"),
            (source, on) => write!(formatter, "{source} as {fstype} on {on}"),
        }
    }
}

/// Changes options of the filesystem whose mount has its root at `mount`, which is at
/// `destination`.
///
/// # Errors
/// Those of fspick(2) and fsconfig(2), with the option that the kernel refused and its words, if it
/// left any.
pub fn reconfigure(
    mount: BorrowedFd<'_>,
    destination: &str,
    options: &mut dyn Iterator<Item = &str>,
) -> Result<(), Fault> {
    let about = &MountSubject {
        source: "",
        fstype: "",
        on: destination,
    };
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = match fspick(mount, c"", flags) {
        Ok(context) => context,
        Err(errno) => return Err(refused(errno, about, None, "")),
    };
    set_options(&context, about, options)?;
    match fsconfig_reconfigure(&context) {
        Ok(()) => Ok(()),
        Err(errno) => Err(refused(errno, about, Some(&context), "")),
    }
}

/// Sets options, each `key=value` or `key`; quotes around a value are removed.
pub(super) fn set_options(
    context: &OwnedFd,
    about: &MountSubject<'_>,
    options: &mut dyn Iterator<Item = &str>,
) -> Result<(), Fault> {
    for option in options {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        };
        let quoted = value.and_then(|value| value.strip_prefix('"')?.strip_suffix('"'));
        if let Err(errno) = set_option(context, key, quoted.or(value)) {
            return Err(refused(errno, about, Some(context), option));
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

/// An error of a mount: in the middle of `what`, and with the kernel's words.
#[cold]
#[inline(never)]
pub(super) fn refused(
    errno: Errno,
    about: &MountSubject<'_>,
    context: Option<&OwnedFd>,
    what: &str,
) -> Fault {
    let words = context.map_or(Text::EMPTY, |context| message(context.as_fd()));
    let words = words.as_str();
    let before = if what.is_empty() { "" } else { ": " };
    let subject = format_args!("{about}{before}{what}");
    let mut fault = Fault::new(Op::Mount, &subject, errno);
    // Some begin with the source, as it was given.
    let own = words.strip_prefix(about.source).unwrap_or(words);
    fault.quote(words, of_filesystem(about.fstype, own));
    fault
}

/// What the kernel has to say about the last call on a filesystem context (fsopen(2), "Message
/// retrieval"), without the letter that gives its kind.
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
