//! Which filesystem lies on a block device: told from its first 64 KiB.
//!
//! [`probe`] answers with the type that mount(2) takes, and with the names that `UUID=` and `LABEL=`
//! ask for. A magic number alone proves little: boot code, a partition table, or what an older
//! filesystem left behind can hold one. So a format is only recognised when the numbers around its
//! magic make sense together, and what does not is not guessed at. What a mount still needs, such as
//! a journal to be replayed, is [`State`].
//!
//! The offsets are written as named ranges, as the formats' specifications have them in tables.

use core::fmt;
use core::ops::Range;

use crate::parse::uuid::Uuid;

pub mod ext;
pub mod vfat;

/// As many bytes from the start of a device as [`probe`] looks at. A smaller device gives fewer.
pub const WINDOW: usize = 64 * 1024;

/// What a superblock says of its filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock<'a> {
    /// The type for mount(2): `vfat`, `ext2`, `ext3` or `ext4`.
    pub fstype: &'static str,
    /// The format's variant, for people: `FAT12`, `FAT16`, `FAT32`; otherwise as `fstype`.
    pub variant: &'static str,
    /// What `UUID=` asks for. `None` when the filesystem was made without.
    pub uuid: Option<Uuid>,
    /// What `LABEL=` asks for. `None` when the filesystem has no name.
    pub label: Option<Label<'a>>,
    /// How it was left.
    pub state: State,
}

/// How a filesystem was left by its last user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Unmounted in order.
    Clean,
    /// Its journal is not empty: even a read-only mount writes to the device.
    NeedsRecovery,
    /// Not unmounted, or errors were found: it should be checked.
    Dirty,
}

/// A filesystem's name: bytes in whatever encoding its maker used, without padding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Label<'a>(&'a [u8]);

/// One format's probe.
type Probe = for<'a> fn(&'a [u8]) -> Option<Superblock<'a>>;

/// FAT comes first: mke2fs clears the boot sector, so an old FAT does not survive a new ext, while
/// FAT32's reserved sectors may well keep an old ext superblock.
const PROBES: [Probe; 2] = [vfat::probe, ext::probe];

/// Looks for a filesystem in the first bytes of a device, up to [`WINDOW`] of them.
#[must_use]
pub fn probe(window: &[u8]) -> Option<Superblock<'_>> {
    PROBES.iter().find_map(|probe| probe(window))
}

impl<'a> Label<'a> {
    /// Takes a field of fixed width; `None` when nothing but `padding` is in it.
    fn padded(field: &'a [u8], padding: u8) -> Option<Self> {
        let length = field.iter().rposition(|b| *b != padding)?;
        field.get(..=length).map(Self)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// As text; a byte that is not printable ASCII or part of UTF-8 is written as `\x1b`.
impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    c if c.is_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c => fmt::Write::write_char(f, c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The bytes of a named range, if the window is that long.
fn array<const N: usize>(window: &[u8], range: Range<usize>) -> Option<[u8; N]> {
    window.get(range)?.try_into().ok()
}

fn le16(window: &[u8], range: Range<usize>) -> Option<u16> {
    array(window, range).map(u16::from_le_bytes)
}

fn le32(window: &[u8], range: Range<usize>) -> Option<u32> {
    array(window, range).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window of zeros with captured sectors at their places.
    pub(super) fn window(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; WINDOW];
        for (at, part) in parts {
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    #[test]
    fn an_empty_disk_and_an_mbr_are_no_filesystems() {
        assert_eq!(probe(&[]), None);
        assert_eq!(probe(&window(&[])), None);
        // One FAT partition from sector 2048, and the jump and signature that a boot loader leaves.
        let mut mbr = window(&[(0, b"\xeb\x63\x90"), (510, b"\x55\xaa")]);
        mbr[446..462]
            .copy_from_slice(b"\x80\x20\x21\x00\x0c\x51\x01\x04\x00\x08\x00\x00\x00\xf8\x00\x00");
        assert_eq!(probe(&mbr), None);
    }

    #[test]
    fn fat32_made_over_an_ext_filesystem_is_fat() {
        let boot = include_bytes!("testdata/fat32-boot.bin");
        let ext = include_bytes!("testdata/ext4.bin");
        let bytes = window(&[(0, boot), (1024, ext)]);
        assert_eq!(probe(&bytes).unwrap().fstype, "vfat");
    }

    #[test]
    fn a_label_is_shown_without_control_characters() {
        let label = Label(b"na\xc3\xafve \xef\x1b[2J");
        assert_eq!(label.to_string(), r"naïve \xef\x1b[2J");
    }
}
