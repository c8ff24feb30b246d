//! Reading and writing the archive: newc cpio, as the kernel's `init/initramfs.c` unpacks it.
//!
//! The kernel accepts a sequence of archives. Each is plain or compressed, NUL bytes may stand
//! between them, and a later entry replaces an earlier one of the same path; that is how an early
//! microcode segment is put in front of an image. [`read`] does the same. It is stricter in one
//! thing: an archive without its trailer is an error here, since a truncated download looks just
//! so.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use cpio::newc;

use crate::compression;

/// Bits of a mode that say what kind of file it is (inode(7)).
pub const TYPE_MASK: u32 = 0o170_000;
/// Directory.
pub const DIRECTORY: u32 = 0o040_000;
/// Regular file.
pub const REGULAR: u32 = 0o100_000;
/// Symbolic link; [`Entry::data`] is its target.
pub const SYMLINK: u32 = 0o120_000;
/// Character device.
pub const CHARACTER: u32 = 0o020_000;
/// Block device.
pub const BLOCK: u32 = 0o060_000;

/// The archive is padded with NULs to a multiple of this, as cpio(1) does with its default block.
const PADDING: usize = 512;

/// One file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Type and permission bits, as in inode(7).
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Major and minor number of a device node, else 0, 0.
    pub rdev: (u32, u32),
    /// Content of a regular file, target of a symbolic link, else empty.
    pub data: Vec<u8>,
}

impl Entry {
    fn of_root(mode: u32, data: Vec<u8>) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
            rdev: (0, 0),
            data,
        }
    }

    /// A directory of root's, mode 0755.
    #[must_use]
    pub fn directory() -> Self {
        Self::of_root(DIRECTORY | 0o755, Vec::new())
    }

    /// A regular file of root's with these permission bits.
    #[must_use]
    pub fn file(permissions: u32, data: impl Into<Vec<u8>>) -> Self {
        Self::of_root(REGULAR | permissions, data.into())
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(target: impl Into<Vec<u8>>) -> Self {
        Self::of_root(SYMLINK | 0o777, target.into())
    }

    /// A character device of root's, mode 0600.
    #[must_use]
    pub fn character(major: u32, minor: u32) -> Self {
        Self {
            rdev: (major, minor),
            ..Self::of_root(CHARACTER | 0o600, Vec::new())
        }
    }

    /// Whether this is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.mode & TYPE_MASK == REGULAR
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.mode & TYPE_MASK == DIRECTORY
    }
}

/// The files of an archive by path, without a leading `/`, sorted: a directory comes before what it
/// contains.
pub type Entries = BTreeMap<String, Entry>;

/// Writes one uncompressed archive. All times are `mtime`, in seconds since 1970; inode numbers
/// count from 1.
///
/// # Errors
/// A file of 4 GiB or more: newc cannot say its size.
pub fn write(entries: &Entries, mtime: u32) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for ((path, entry), inode) in entries.iter().zip(1..) {
        let size = u32::try_from(entry.data.len()).ok().with_context(|| {
            format!("/{path}: {} bytes; newc allows 4 GiB - 1", entry.data.len())
        })?;
        let mut writer = newc::Builder::new(path)
            .ino(inode)
            .mode(entry.mode)
            .uid(entry.uid)
            .gid(entry.gid)
            .mtime(mtime)
            .rdev_major(entry.rdev.0)
            .rdev_minor(entry.rdev.1)
            .write(&mut out, size);
        std::io::Write::write_all(&mut writer, &entry.data)?;
        writer.finish()?;
    }
    newc::trailer(&mut out)?;
    out.resize(out.len().next_multiple_of(PADDING), 0);
    Ok(out)
}

/// Reads an image: any number of archives, each plain, gzip, zstd, xz or LZ4 legacy.
///
/// # Errors
/// One line with the offset of the segment that could not be read: not an archive, damaged, cut
/// off, or compressed in a way that is not supported here (bzip2, lzma, lzo).
pub fn read(image: &[u8]) -> Result<Entries> {
    ensure!(!image.is_empty(), "the image is empty");
    let mut entries = Entries::new();
    let mut rest = skip_padding(image);
    while !rest.is_empty() {
        let offset = image.len() - rest.len();
        rest = if is_header(rest) {
            read_one(rest, &mut entries).with_context(|| format!("archive at byte {offset}"))?
        } else {
            let (plain, after) =
                compression::decode(rest).with_context(|| format!("segment at byte {offset}"))?;
            read_plain(&plain, &mut entries)
                .with_context(|| format!("compressed archive at byte {offset}"))?;
            after
        };
        rest = skip_padding(rest);
    }
    ensure!(!entries.is_empty(), "the image holds no files");
    Ok(entries)
}

/// Archives inside a compressed segment: the kernel does not look for compression in there again.
fn read_plain(plain: &[u8], entries: &mut Entries) -> Result<()> {
    let mut rest = skip_padding(plain);
    while !rest.is_empty() {
        ensure!(
            is_header(rest),
            "no cpio header at byte {} of it",
            plain.len() - rest.len()
        );
        rest = skip_padding(read_one(rest, entries)?);
    }
    Ok(())
}

pub(crate) fn is_header(bytes: &[u8]) -> bool {
    bytes.starts_with(b"070701") || bytes.starts_with(b"070702")
}

fn skip_padding(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len());
    &bytes[end..]
}

/// Reads up to and including a trailer; gives what follows it.
fn read_one<'a>(mut rest: &'a [u8], entries: &mut Entries) -> Result<&'a [u8]> {
    // Of files with several links only one carries the data, with GNU cpio the last (device and
    // inode tell which belong together).
    let mut links: BTreeMap<(u32, u32, u32), Vec<String>> = BTreeMap::new();
    loop {
        let reader = newc::Reader::new(rest).context("cut off, or not a cpio header")?;
        let header = reader.entry().clone();
        let mut data = Vec::new();
        rest = reader
            .to_writer(&mut data)
            .with_context(|| format!("{} is cut off", header.name()))?;
        ensure!(
            data.len() == header.file_size() as usize,
            "{} is cut off",
            header.name()
        );
        if header.is_trailer() {
            return Ok(rest);
        }
        let path = header.name().trim_start_matches("./").trim_matches('/');
        if path.is_empty() || path == "." {
            continue;
        }
        if path.split('/').any(|part| part == "..") {
            bail!("{path} leaves the root");
        }
        let entry = Entry {
            mode: header.mode(),
            uid: header.uid(),
            gid: header.gid(),
            rdev: (header.rdev_major(), header.rdev_minor()),
            data,
        };
        if entry.is_file() && header.nlink() > 1 {
            let inode = (header.dev_major(), header.dev_minor(), header.ino());
            let paths = links.entry(inode).or_default();
            let earlier = paths.first().map(|path| entries[path].data.clone());
            paths.push(path.to_owned());
            let data = if entry.data.is_empty() {
                earlier.unwrap_or_default()
            } else {
                entry.data
            };
            for path in paths {
                entries.insert(
                    path.clone(),
                    Entry {
                        data: data.clone(),
                        ..entry
                    },
                );
            }
        } else {
            entries.insert(path.to_owned(), entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compression;

    fn sample(path: &str, data: &[u8]) -> Entries {
        Entries::from([
            ("dir".to_owned(), Entry::directory()),
            (format!("dir/{path}"), Entry::file(0o644, data)),
        ])
    }

    #[test]
    fn what_was_written_reads_back() {
        let mut entries = sample("file", b"content");
        entries.insert("dir/link".into(), Entry::symlink("file"));
        entries.insert("console".into(), Entry::character(5, 1));
        let bytes = write(&entries, 7).unwrap();
        assert_eq!(bytes.len() % PADDING, 0);
        assert_eq!(read(&bytes).unwrap(), entries);
    }

    #[test]
    fn segments_are_read_in_order_and_the_last_wins() {
        let mut image = write(&sample("microcode", b"early"), 0).unwrap();
        for (format, data) in [
            (Compression::Gzip, b"1"),
            (Compression::Lz4, b"2"),
            (Compression::Zstd, b"3"),
        ] {
            image.extend(
                format
                    .encode(&write(&sample("file", data), 0).unwrap())
                    .unwrap(),
            );
            image.extend([0; 4]);
        }
        let entries = read(&image).unwrap();
        assert_eq!(entries["dir/microcode"].data, b"early");
        assert_eq!(entries["dir/file"].data, b"3");
    }

    #[test]
    fn hard_links_share_the_data_of_the_last() {
        let mut image = Vec::new();
        for (name, data) in [("./a", &b""[..]), ("./b", b"shared")] {
            let builder = newc::Builder::new(name)
                .ino(9)
                .nlink(2)
                .mode(REGULAR | 0o755);
            let mut writer = builder.write(&mut image, data.len() as u32);
            std::io::Write::write_all(&mut writer, data).unwrap();
            writer.finish().unwrap();
        }
        newc::trailer(&mut image).unwrap();
        let entries = read(&image).unwrap();
        assert_eq!(entries["a"].data, b"shared");
        assert_eq!(entries["b"].data, b"shared");
    }

    #[test]
    fn an_archive_cut_anywhere_is_an_error() {
        let image = write(&sample("file", &[7; 700]), 0).unwrap();
        let end = image
            .windows(7)
            .position(|part| part == b"TRAILER")
            .unwrap();
        for length in 0..end {
            assert!(read(&image[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn junk_is_named_with_its_offset() {
        let mut image = write(&sample("file", b""), 0).unwrap();
        let length = image.len();
        image.extend(b"junk");
        let error = format!("{:#}", read(&image).unwrap_err());
        assert!(
            error.starts_with(&format!("segment at byte {length}: neither a cpio")),
            "{error}"
        );
    }
}
