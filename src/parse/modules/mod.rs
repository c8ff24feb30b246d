//! depmod's text indexes: which file holds a module, and what must be loaded with it.
//!
//! | file | a line | type |
//! |---|---|---|
//! | `modules.dep` | `kernel/fs/fat/vfat.ko.xz: kernel/fs/fat/fat.ko.xz` | [`Dep`] |
//! | `modules.softdep` | `softdep btrfs pre: crc32c` | [`Softdep`] |
//! | `modules.alias` | `alias virtio:d00000002v* virtio_blk` | [`Alias`] |
//! | `modules.builtin` | `kernel/fs/ext4/ext4.ko` | [`Builtin`] |
//! | `/etc/berth/modules` | `vfat` | [`Wanted`] |
//!
//! kmod reads binary tries made from the same data; the text is what every tool can trim, and a
//! scan of it costs little beside loading one module. A file is checked once, whole, when its type
//! is made, so that a damaged index is reported by line number before anything is loaded; look-ups
//! cannot fail then. [`Indexes::load_order`] puts the four together.
//!
//! Names: `-` and `_` are the same character in a module's name, and its file is the name with
//! `.ko` and perhaps `.gz`, `.xz` or `.zst` (modprobe(8)).

use core::fmt;

mod alias;
mod builtin;
mod dep;
mod glob;
mod order;
mod softdep;
pub mod wanted;

pub use alias::Alias;
pub use builtin::Builtin;
pub use dep::Dep;
pub use order::{Indexes, Outcome, TooManyFiles};
pub use softdep::Softdep;
pub use wanted::Wanted;

use crate::parse::cmdline::same_key as same_name;

/// The module's name in a file's path: without directories, `.ko` and the ending of its
/// compression.
#[must_use]
pub fn module_name(path: &str) -> &str {
    let slash = path.bytes().rposition(|b| b == b'/');
    let file = slash.and_then(|at| path.get(at.saturating_add(1)..));
    let file = file.unwrap_or(path);
    match file.as_bytes() {
        [name @ .., b'.', b'k', b'o']
        | [name @ .., b'.', b'k', b'o', b'.', b'g' | b'x', b'z']
        | [name @ .., b'.', b'k', b'o', b'.', b'z', b's', b't'] => file.get(..name.len()),
        _ => None,
    }
    .unwrap_or(file)
}

/// The text of an index whose every line is accepted by `is_line`. Empty lines and comments are
/// accepted always, see [`lines`].
#[inline(never)]
fn check<'a>(
    file: &'static str,
    bytes: &'a [u8],
    is_line: fn(&str) -> bool,
) -> Result<&'a str, IndexError> {
    let error = |fault, offset| {
        let before = bytes.get(..offset).unwrap_or_default();
        let line = before.iter().filter(|b| **b == b'\n').count();
        let line = line.saturating_add(1);
        IndexError { file, line, fault }
    };
    let text =
        core::str::from_utf8(bytes).map_err(|e| error(IndexFault::NotUtf8, e.valid_up_to()))?;
    // Of bytes, that one is there is found out eight at a time.
    if bytes.contains(&0) {
        let offset = bytes.iter().position(|b| *b == 0).unwrap_or_default();
        return Err(error(IndexFault::Nul, offset));
    }
    match text
        .lines()
        .position(|line| says_something(line) && !is_line(line))
    {
        Some(before) => Err(IndexError {
            file,
            line: before.saturating_add(1),
            fault: IndexFault::Form,
        }),
        None => Ok(text),
    }
}

/// The lines of a checked text that say something.
fn lines(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.lines().filter(|line| says_something(line))
}

fn says_something(line: &str) -> bool {
    !matches!(line.trim_ascii_start().as_bytes(), [] | [b'#', ..])
}

/// A line of an index that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexError {
    /// Which index: `modules.dep`, …
    pub file: &'static str,
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: IndexFault,
}

/// What is wrong with a line of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexFault {
    /// It is not of the index's form.
    Form,
    /// It holds a NUL byte: the file was cut or overwritten.
    Nul,
    /// It holds a byte that is not UTF-8.
    NotUtf8,
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            IndexFault::Form => "is not of the index's form",
            IndexFault::Nul => "holds a NUL byte",
            IndexFault::NotUtf8 => "is not UTF-8",
        };
        write!(f, "{} line {} {fault}", self.file, self.line)
    }
}

impl core::error::Error for IndexError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_for_its_module() {
        for (path, name) in [
            ("kernel/fs/fat/vfat.ko", "vfat"),
            ("kernel/fs/fat/vfat.ko.xz", "vfat"),
            ("vfat.ko.zst", "vfat"),
            ("vfat.ko.gz", "vfat"),
            ("kernel/nls/nls_iso8859-1.ko", "nls_iso8859-1"),
            ("kernel/x.gz", "x.gz"),
            ("", ""),
        ] {
            assert_eq!(module_name(path), name);
        }
    }

    #[test]
    fn damage_is_reported_by_file_and_line() {
        let error = |bytes| Dep::new(bytes).unwrap_err().to_string();
        let no_colon = error(b"a.ko:\n\nb.ko\n");
        assert_eq!(no_colon, "modules.dep line 3 is not of the index's form");
        assert_eq!(
            error(b"a.ko:\nb\0.ko:\n"),
            "modules.dep line 2 holds a NUL byte"
        );
        assert_eq!(
            error(b"a.ko:\n\nb\xff.ko:\n"),
            "modules.dep line 3 is not UTF-8"
        );
    }
}
