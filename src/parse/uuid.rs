//! The two shapes of what Linux calls a filesystem's UUID.
//!
//! Most filesystems carry 16 random bytes. FAT has only a 32-bit volume serial number, which Linux
//! tools write as `ABCD-1234` and accept wherever a UUID is asked for.

use core::fmt::{self, Write as _};

/// A filesystem's identity as found in its superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uuid {
    /// 16 bytes in the order in which they are written: RFC 9562's big-endian layout.
    Full([u8; 16]),
    /// FAT's volume serial number.
    Serial(u32),
}

impl Uuid {
    /// Whether `text`, as somebody typed it, is this UUID. Case does not matter; hyphens do, since
    /// their places are part of the form.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut typed = Typed { rest: text };
        write!(typed, "{self}").is_ok() && typed.rest.is_empty()
    }
}

/// `1b6e…-…` in lower case for the 16 bytes, `ABCD-1234` in upper case for a serial number: as
/// `blkid` writes them.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(bytes) => {
                for (i, byte) in bytes.iter().enumerate() {
                    if matches!(i, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
            Self::Serial(serial) => write!(f, "{:04X}-{:04X}", serial >> 16, serial & 0xffff),
        }
    }
}

/// Compares what is written to it with typed text, piece by piece, so that no buffer is needed.
struct Typed<'a> {
    rest: &'a str,
}

impl fmt::Write for Typed<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        match self.rest.split_at_checked(piece.len()) {
            Some((head, rest)) if head.eq_ignore_ascii_case(piece) => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(fmt::Error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Uuid =
        Uuid::Full(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\xaa\xbb\xcc\xdd\xee\xff");

    #[test]
    fn each_shape_is_written_as_blkid_writes_it() {
        assert_eq!(FULL.to_string(), "00010203-0405-0607-0809-aabbccddeeff");
        assert_eq!(Uuid::Serial(0xabcd_0012).to_string(), "ABCD-0012");
    }

    #[test]
    fn case_does_not_matter_but_the_form_does() {
        assert!(FULL.matches("00010203-0405-0607-0809-AABBCCDDEEFF"));
        assert!(Uuid::Serial(0xabcd_0012).matches("abcd-0012"));
        for other in [
            "",
            "ABCD",
            "ABCD-001",
            "ABCD-00123",
            "ABCD0012",
            "ABCD-001é",
        ] {
            assert!(!Uuid::Serial(0xabcd_0012).matches(other), "{other}");
        }
    }
}
