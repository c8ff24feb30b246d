//! An archive in the format newc, with or without checksums
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use core::ffi::CStr;
use core::fmt;

use super::bytes::array;

/// The files of an archive, in its order.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    /// Where the next entry begins.
    at: usize,
    /// The trailer, or something that cannot be read, was there.
    is_over: bool,
}

/// A file of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path, without a leading `/` or `./`; empty for the root itself.
    pub name: &'a CStr,
    /// Type and permission bits, as in inode(7).
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// When it was changed, in seconds since 1970.
    pub mtime: u32,
    /// Major and minor number of a device node.
    pub rdev: (u32, u32),
    /// Content of a regular file, target of a symbolic link.
    pub data: &'a [u8],
    /// Device and inode, by which the links to one file belong together. `None` for a file with one
    /// name, and for directories.
    pub inode: Option<[u32; 3]>,
}

/// Why an archive cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The offset of the entry, in bytes.
    pub at: usize,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It ends within an entry, or without its trailer.
    CutOff,
    /// It is no archive, or of another format.
    NotNewc,
    /// It is compressed, by this method.
    Compressed(&'static str),
    /// A name without an end, or one that ends in `..`.
    Name,
    /// The data has another checksum than the entry says.
    Checksum,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::CutOff => f.write_str("it is cut off")?,
            Reason::NotNewc => f.write_str("no entry of a newc archive")?,
            Reason::Compressed(method) => {
                write!(
                    f,
                    "it is compressed ({method}): store it as it is, the image is compressed as a whole"
                )?;
            }
            Reason::Name => f.write_str("a name that makes no sense")?,
            Reason::Checksum => f.write_str("the data is damaged")?,
        }
        write!(f, ", at byte {}", self.at)
    }
}

/// The length of the magic number.
const MAGIC: usize = 6;

/// How many numbers follow it.
const FIELDS: usize = 13;

/// The length of a header.
const HEADER: usize = MAGIC + 8 * FIELDS;

const TYPE_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// How compressed files begin, and by what they were made.
const COMPRESSED: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ", "xz"),
    (b"BZh", "bzip2"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x04\x22\x4d\x18", "lz4"),
];

impl<'a> Archive<'a> {
    /// The archive that `bytes` hold; what follows its trailer is ignored.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            is_over: false,
        }
    }

    /// An earlier entry of this archive for the same file as `entry`.
    #[must_use]
    pub fn first_link(self, entry: &Entry<'a>) -> Option<Entry<'a>> {
        entry.inode?;
        let mut earlier = Self::new(self.bytes).map_while(Result::ok);
        let first = earlier.find(|first| first.inode == entry.inode)?;
        (first.name != entry.name).then_some(first)
    }

    fn read(&mut self) -> Result<Option<Entry<'a>>, Reason> {
        let rest = self.bytes.get(self.at..).ok_or(Reason::CutOff)?;
        let header: [u8; HEADER] = array(rest, 0..HEADER).ok_or(Reason::CutOff)?;
        let has_checksum = match header.first_chunk() {
            Some(b"070701") => false,
            Some(b"070702") => true,
            _ => return Err(Reason::of(rest)),
        };
        let field = numbers(&header)?;
        let size = field[6] as usize;
        let name_size = field[11] as usize;
        let name_end = HEADER.checked_add(name_size).ok_or(Reason::CutOff)?;
        let name = rest.get(HEADER..name_end).ok_or(Reason::CutOff)?;
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Reason::Name)?;
        let start = name_end.checked_next_multiple_of(4).ok_or(Reason::CutOff)?;
        let end = start.checked_add(size).ok_or(Reason::CutOff)?;
        if name == c"TRAILER!!!" {
            return Ok(None);
        }
        let data = rest.get(start..end).ok_or(Reason::CutOff)?;
        let sum = || {
            data.iter()
                .fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)))
        };
        let mode = field[1];
        // cpio(1) writes none for other files, and that of the content for a link that comes
        // without.
        let is_content = mode & TYPE_MASK == REGULAR && !data.is_empty();
        if has_checksum && is_content && sum() != field[12] {
            return Err(Reason::Checksum);
        }
        let has_links = field[4] > 1 && mode & TYPE_MASK != DIRECTORY;
        let padded = end.checked_next_multiple_of(4).ok_or(Reason::CutOff)?;
        self.at = self.at.checked_add(padded).ok_or(Reason::CutOff)?;
        Ok(Some(Entry {
            name: stripped(name)?,
            mode,
            uid: field[2],
            gid: field[3],
            mtime: field[5],
            rdev: (field[9], field[10]),
            data,
            inode: if has_links {
                Some([field[0], field[7], field[8]])
            } else {
                None
            },
        }))
    }
}

impl<'a> Iterator for Archive<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let at = self.at;
        let entry = self.read().map_err(|reason| Malformed { at, reason });
        self.is_over = !matches!(entry, Ok(Some(_)));
        entry.transpose()
    }
}

/// The numbers of a header: eight hexadecimal digits each.
fn numbers(header: &[u8; HEADER]) -> Result<[u32; FIELDS], Reason> {
    let mut numbers = [0; FIELDS];
    let (fields, _) = header.get(MAGIC..).unwrap_or_default().as_chunks::<8>();
    for (number, field) in numbers.iter_mut().zip(fields) {
        for digit in field {
            let digit = char::from(*digit).to_digit(16).ok_or(Reason::NotNewc)?;
            *number = *number << 4 | digit;
        }
    }
    Ok(numbers)
}

impl Reason {
    fn of(bytes: &[u8]) -> Self {
        let known = COMPRESSED
            .iter()
            .find(|(magic, _)| bytes.starts_with(magic));
        known.map_or(Self::NotNewc, |(_, method)| Self::Compressed(method))
    }
}

/// The name without what leads nowhere in front of it.
fn stripped(name: &CStr) -> Result<&CStr, Reason> {
    let mut rest = name.to_bytes_with_nul();
    loop {
        rest = match rest {
            [b'/', rest @ ..] | [b'.', b'/', rest @ ..] => rest,
            b".\0" => b"\0",
            _ => break,
        };
    }
    let last = rest.rsplit(|byte| *byte == b'/').next();
    match last {
        Some(b"..\0" | b".\0") => return Err(Reason::Name),
        Some(b"\0") if rest != b"\0" => return Err(Reason::Name),
        _ => {}
    }
    CStr::from_bytes_with_nul(rest).map_err(|_| Reason::Name)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// What cpio(1) makes in this format of a tree that `script` makes.
    fn made(format: &str, script: &str) -> Vec<u8> {
        let thread = std::thread::current().id();
        let name = format!("berth-cpio-{}-{thread:?}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let output = Command::new("sh")
            .args([
                "-ec",
                &format!("{script}\nfind . | sort | cpio --quiet -o -H {format}"),
            ])
            .current_dir(&dir)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(output.status.success());
        output.stdout
    }

    const TREE: &str = "mkdir -p etc usr/bin; printf hello >etc/motd; chmod 640 etc/motd; ln -s usr/bin bin; \
        printf same >usr/bin/a; ln usr/bin/a usr/bin/b; touch -d @1000000000 etc/motd";

    #[test]
    fn what_cpio_writes_is_read() {
        for format in ["newc", "crc"] {
            let bytes = made(format, TREE);
            let archive = Archive::new(&bytes);
            let entries: Vec<_> = archive.map(Result::unwrap).collect();
            let named = |name: &CStr| entries.iter().find(|entry| entry.name == name).unwrap();
            assert_eq!(entries.len(), 8);
            assert_eq!(entries[0].name, c"");
            let bin = named(c"bin");
            assert_eq!(
                (bin.mode & TYPE_MASK, bin.data),
                (0o120_000, &b"usr/bin"[..])
            );
            let motd = named(c"etc/motd");
            assert_eq!((motd.mode, motd.data), (0o100_640, &b"hello"[..]));
            assert_eq!((motd.mtime, motd.inode), (1_000_000_000, None));
            assert_eq!(archive.first_link(motd), None);
            // Which of them comes first, and which with the content, is cpio's choice.
            let links = [named(c"usr/bin/a"), named(c"usr/bin/b")];
            let firsts = links.map(|link| archive.first_link(link));
            assert_eq!(firsts.iter().flatten().count(), 1);
            assert!(links.iter().any(|link| link.data == b"same"));
        }
    }

    #[test]
    fn an_archive_that_ends_early_is_no_shorter_archive() {
        let bytes = made("newc", TREE);
        let end = bytes
            .windows(10)
            .position(|window| window == b"TRAILER!!!")
            .unwrap();
        for len in 0..end + 10 {
            let last = Archive::new(&bytes[..len]).last();
            let reason = last.unwrap().unwrap_err().reason;
            assert_eq!(reason, Reason::CutOff, "{len}");
        }
        assert!(Archive::new(&bytes[..end + 11]).all(|entry| entry.is_ok()));
    }

    #[test]
    fn what_is_no_archive_is_told_from_what_is_compressed() {
        let first = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.resize(512, b'x');
            let error = Archive::new(&bytes).next().unwrap().unwrap_err();
            error.to_string()
        };
        assert_eq!(first(b"070707"), "no entry of a newc archive, at byte 0");
        assert!(first(b"\x28\xb5\x2f\xfd").starts_with("it is compressed (zstd)"));
    }

    #[test]
    fn damage_and_names_that_lead_out_are_refused() {
        let mut bytes = made("crc", TREE);
        let hello = bytes
            .windows(5)
            .position(|window| window == b"hello")
            .unwrap();
        bytes[hello] ^= 1;
        let reasons = |bytes: &[u8]| {
            Archive::new(bytes)
                .filter_map(Result::err)
                .map(|e| e.reason)
                .next()
        };
        assert_eq!(reasons(&bytes), Some(Reason::Checksum));
        let whole = made("newc", "mkdir ab");
        let at = whole
            .windows(3)
            .position(|window| window == b"ab\0")
            .unwrap();
        for name in [b"..\0", b"a/\0", b"ab/"] {
            let mut bytes = whole.clone();
            bytes[at..at + 3].copy_from_slice(name);
            assert_eq!(reasons(&bytes), Some(Reason::Name), "{name:?}");
        }
    }
}
