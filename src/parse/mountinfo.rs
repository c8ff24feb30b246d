//! `/proc/<pid>/mountinfo`: one mount a line (proc_pid_mountinfo(5)).
//!
//! ```text
//! 36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue
//! id │  │    │     │     │          │                   │    │         └ options of the superblock
//!    │  │    │     │     │          │                   │    └ source
//!    │  │    │     │     │          │                   └ filesystem type
//!    │  │    │     │     │          └ propagation: none or more, ended by "-"
//!    │  │    │     │     └ options of this mount
//!    │  │    │     └ mount point, as this process sees it
//!    │  │    └ which directory of the filesystem is mounted
//!    │  └ device number
//!    └ id of the parent mount
//! ```
//!
//! The fields are separated by exactly one space, and the source may be empty. White space and
//! backslashes inside a field are written as `\040`; see [`Escaped`]. Names are bytes, not text.

use core::fmt;

/// Iterates over the lines of a mountinfo file.
///
/// A line that cannot be read yields an error and the next line follows it.
#[derive(Clone, Debug)]
pub struct Mounts<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> Mounts<'a> {
    /// Takes the whole file.
    #[must_use]
    pub fn new(file: &'a [u8]) -> Self {
        Self {
            rest: file,
            line: 0,
        }
    }
}

impl<'a> Iterator for Mounts<'a> {
    type Item = Result<Mount<'a>, MountinfoError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut halves = self.rest.splitn(2, |b| *b == b'\n');
        let line = halves.next().unwrap_or_default();
        self.rest = halves.next().unwrap_or_default();
        self.line = self.line.saturating_add(1);
        Some(Mount::parse(line).ok_or(MountinfoError { line: self.line }))
    }
}

/// One mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Unique among the mounts that exist now; reused after an unmount.
    pub id: u32,
    /// The mount that this one is attached to; its own id for the root of the tree.
    pub parent: u32,
    /// Major device number of the filesystem.
    pub major: u32,
    /// Minor device number of the filesystem.
    pub minor: u32,
    /// The directory of the filesystem that is mounted.
    pub root: Escaped<'a>,
    /// Where it is mounted, relative to the reading process's root.
    pub mount_point: Escaped<'a>,
    /// Options of the mount: `rw,nosuid,…`.
    pub options: Escaped<'a>,
    /// Peer group, if the mount is shared.
    pub shared: Option<u32>,
    /// Peer group that this mount is a slave of.
    pub master: Option<u32>,
    /// Nearest dominant peer group under the same root, when the master is not visible.
    pub propagate_from: Option<u32>,
    /// Whether the mount cannot be bound elsewhere.
    pub unbindable: bool,
    /// Filesystem type, with its subtype after a dot.
    pub fstype: Escaped<'a>,
    /// What the filesystem was mounted from; often not a path.
    pub source: Escaped<'a>,
    /// Options of the filesystem.
    pub super_options: Escaped<'a>,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|b| *b == b' ');
        let id = number(fields.next()?)?;
        let parent = number(fields.next()?)?;
        let mut device = fields.next()?.splitn(2, |b| *b == b':');
        let (major, minor) = (number(device.next()?)?, number(device.next()?)?);
        let mut field = || fields.next().map(Escaped);
        let (root, mount_point, options) = (field()?, field()?, field()?);

        let (mut shared, mut master, mut propagate_from) = (None, None, None);
        let mut unbindable = false;
        loop {
            let Escaped(tag) = field()?;
            if tag == b"-" {
                break;
            } else if let Some(group) = tag.strip_prefix(b"shared:") {
                shared = Some(number(group)?);
            } else if let Some(group) = tag.strip_prefix(b"master:") {
                master = Some(number(group)?);
            } else if let Some(group) = tag.strip_prefix(b"propagate_from:") {
                propagate_from = Some(number(group)?);
            } else if tag == b"unbindable" {
                unbindable = true;
            }
            // Other tags may be added by later kernels; the manual asks to ignore them.
        }

        let (fstype, source, super_options) = (field()?, field()?, field()?);
        Some(Self {
            id,
            parent,
            major,
            minor,
            root,
            mount_point,
            options,
            shared,
            master,
            propagate_from,
            unbindable,
            fstype,
            source,
            super_options,
        })
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// A field in which `\` and three octal digits stand for a byte, as the kernel's `mangle()` wrote
/// it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Escaped<'a>(&'a [u8]);

impl<'a> Escaped<'a> {
    /// A field that the kernel wrote so, of this file or of another.
    #[must_use]
    pub const fn new(field: &'a [u8]) -> Self {
        Self(field)
    }

    /// The bytes as they are in the file.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.0
    }

    /// The bytes that are meant.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + Clone + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (byte, after) = match rest {
                [
                    b'\\',
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ] => {
                    let octal = |digit: &u8| digit & 7;
                    (octal(a) << 6 | octal(b) << 3 | octal(c), after)
                }
                [byte, after @ ..] => (*byte, after),
                [] => return None,
            };
            rest = after;
            Some(byte)
        })
    }

    /// Whether these are the bytes that are meant.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.bytes().eq(bytes.iter().copied())
    }

    /// Whether one of the comma-separated options is `option`.
    #[must_use]
    pub fn has_option(&self, option: &str) -> bool {
        self.0
            .split(|b| *b == b',')
            .any(|item| Escaped(item).is(option.as_bytes()))
    }

    /// Writes the bytes that are meant to the front of `buffer` and returns them; `None` when they
    /// do not fit.
    #[must_use]
    pub fn decode<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut used = 0usize;
        for byte in self.bytes() {
            *buffer.get_mut(used)? = byte;
            used = used.checked_add(1)?;
        }
        buffer.get(..used)
    }
}

/// The text that is meant; bytes that are not ASCII text are written as `\x1b`.
impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().try_for_each(|byte| match byte {
            b' '..=b'~' => fmt::Write::write_char(f, byte.into()),
            _ => write!(f, "\\x{byte:02x}"),
        })
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A line that is not of mountinfo's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountinfoError {
    /// Its number, from 1.
    pub line: usize,
}

impl fmt::Display for MountinfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} does not describe a mount", self.line)
    }
}

impl core::error::Error for MountinfoError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &[u8]) -> Mount<'_> {
        Mounts::new(line).next().unwrap().unwrap()
    }

    #[test]
    fn every_field_of_a_line_is_read() {
        let mount = one(b"36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 propagate_from:3 unbindable - ext3 /dev/root rw,errors=continue\n");
        assert_eq!((mount.id, mount.parent), (36, 35));
        assert_eq!((mount.major, mount.minor), (98, 0));
        assert!(mount.root.is(b"/mnt1"));
        assert!(mount.mount_point.is(b"/mnt2"));
        assert!(mount.options.has_option("noatime"));
        assert!(!mount.options.has_option("atime"));
        assert_eq!((mount.shared, mount.master), (Some(1), Some(2)));
        assert_eq!((mount.propagate_from, mount.unbindable), (Some(3), true));
        assert!(mount.fstype.is(b"ext3"));
        assert!(mount.source.is(b"/dev/root"));
        assert!(mount.super_options.has_option("errors=continue"));
    }

    #[test]
    fn a_private_mount_has_no_optional_fields_and_unknown_ones_are_skipped() {
        let mount = one(b"1 1 0:2 / / rw - rootfs rootfs rw");
        assert_eq!(
            (mount.shared, mount.master, mount.unbindable),
            (None, None, false)
        );
        let mount = one(b"1 1 0:2 / / rw later:9 shared:4 - rootfs rootfs rw");
        assert_eq!(mount.shared, Some(4));
    }

    #[test]
    fn an_empty_source_is_a_field_of_its_own() {
        let mount = one(b"1 1 0:2 / / rw - tmpfs  rw,size=4k");
        assert!(mount.source.is(b""));
        assert!(mount.super_options.has_option("size=4k"));
    }

    #[test]
    fn octal_escapes_are_decoded() {
        let mount = one(br"1 1 0:2 / /a\040b\134c\0120\999 rw - tmpfs none rw");
        let mut buffer = [0; 16];
        let expected: &[u8] = b"/a b\\c\n0\\999";
        assert_eq!(mount.mount_point.decode(&mut buffer), Some(expected));
        assert_eq!(mount.mount_point.to_string(), r"/a b\c\x0a0\999");
        assert_eq!(mount.mount_point.decode(&mut [0; 3]), None);
    }

    #[test]
    fn this_machines_own_table_is_read_whole() {
        let file = std::fs::read("/proc/self/mountinfo").unwrap();
        let mounts: Vec<_> = Mounts::new(&file).map(Result::unwrap).collect();
        assert_eq!(mounts.len(), file.iter().filter(|b| **b == b'\n').count());
        assert!(mounts.iter().any(|mount| mount.fstype.is(b"proc")));
    }

    #[test]
    fn a_broken_line_is_named_and_the_next_one_is_still_read() {
        let file = b"1 1 0:2 / / rw - t s rw\n1 1 0:2 / / rw shared:x - t s rw\n\n2 1 0:2 / / rw - t s rw\n";
        let lines: Vec<_> = Mounts::new(file).map(|line| line.map(|m| m.id)).collect();
        let bad = |line| Err(MountinfoError { line });
        assert_eq!(lines, [Ok(1), bad(2), bad(3), Ok(2)]);
    }
}
