//! The shapes of what Linux calls a filesystem's UUID.
//!
//! Most filesystems carry 16 random bytes. FAT and exFAT have only a 32-bit volume serial number, NTFS one of 64 bits, and
//! ISO 9660 a date; Linux tools write them each in their own way and accept them wherever a UUID is asked for.

use core::fmt::{self, Write as _};

/// A filesystem's identity as found in its superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uuid {
    /// 16 bytes in the order in which they are written: RFC 9562's big-endian layout.
    Full([u8; 16]),
    /// FAT's and exFAT's volume serial number.
    Serial(u32),
    /// NTFS's.
    Serial64(u64),
    /// When an ISO 9660 volume was made: 16 digits, from the year to hundredths of a second.
    Date([u8; 16]),
}

impl Uuid {
    /// 16 bytes, unless all are zero: that stands for none.
    #[must_use]
    pub fn full(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self::Full(bytes))
    }

    /// A GUID as Microsoft's formats have it: the first three fields are little-endian (UEFI specification, appendix A).
    #[must_use]
    pub fn mixed_endian(mut bytes: [u8; 16]) -> Option<Self> {
        for field in [0..4, 4..6, 6..8] {
            bytes.get_mut(field)?.reverse();
        }
        Self::full(bytes)
    }

    /// The 16 bytes that a text of the usual form names.
    #[must_use]
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        let digits = text.iter().filter(|byte| **byte != b'-');
        let mut nibbles = digits.map(|digit| char::from(*digit).to_digit(16));
        for byte in &mut bytes {
            let (high, low) = (nibbles.next()??, nibbles.next()??);
            *byte = (high << 4 | low) as u8;
        }
        nibbles.next().is_none().then_some(Self::Full(bytes))
    }

    /// Whether `text`, as somebody typed it, is this UUID. Case does not matter; hyphens do, since
    /// their places are part of the form.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut typed = Typed { rest: text };
        write!(typed, "{self}").is_ok() && typed.rest.is_empty()
    }
}

/// `1b6e…-…` in lower case for the 16 bytes, `ABCD-1234` in upper case for a serial number,
/// `2026-11-23-12-30-00-00` for a date: as `blkid` writes them.
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
            Self::Serial64(serial) => write!(f, "{serial:016X}"),
            Self::Date(digits) => {
                for (i, digit) in digits.iter().enumerate() {
                    if matches!(i, 4 | 6 | 8 | 10 | 12 | 14) {
                        f.write_str("-")?;
                    }
                    f.write_char(char::from(*digit))?;
                }
                Ok(())
            }
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
    fn serial_numbers_and_dates_are_written_as_blkid_writes_them() {
        assert_eq!(Uuid::Serial64(0x1abc).to_string(), "0000000000001ABC");
        let date = Uuid::Date(*b"2026112312300099");
        assert_eq!(date.to_string(), "2026-11-23-12-30-00-99");
    }

    #[test]
    fn a_text_and_both_orders_of_bytes_give_the_same() {
        let text = b"00010203-0405-0607-0809-aabbccddeeff";
        assert_eq!(Uuid::from_text(text), Some(FULL));
        assert_eq!(Uuid::from_text(&text[..35]), None);
        assert_eq!(Uuid::from_text(b"x"), None);
        let mixed = *b"\x03\x02\x01\x00\x05\x04\x07\x06\x08\x09\xaa\xbb\xcc\xdd\xee\xff";
        assert_eq!(Uuid::mixed_endian(mixed), Some(FULL));
        assert_eq!(Uuid::full([0; 16]), None);
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
