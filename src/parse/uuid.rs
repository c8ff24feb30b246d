//! The shapes of what Linux calls a filesystem's UUID.
//!
//! Most filesystems carry 16 random bytes. FAT and exFAT have only a 32-bit volume serial number,
//! NTFS one of 64 bits, and ISO 9660 a date; Linux tools write them each in their own way and
//! accept them wherever a UUID is asked for.

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

    /// A GUID as Microsoft's formats have it: the first three fields are little-endian (UEFI
    /// specification, appendix A).
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

    /// Whether `text`, as somebody typed it, is this UUID: its digits count. Case, hyphens, braces
    /// and an `0x` do not.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        is_typed(text, self)
    }

    /// Whether `text` is this UUID but for one or two digits, or is the beginning of it, of eight
    /// digits or more.
    #[must_use]
    pub fn is_near(&self, text: &str) -> bool {
        const WRONG: usize = 2;
        const BEGINNING: usize = 8;
        let mut typed = Typed::new(text);
        // Where the typed text ends, comparing does.
        let _ = write!(typed, "{self}");
        let is_whole = typed.missing == 0 && typed.wrong > 0 && typed.wrong <= WRONG;
        let is_beginning = typed.wrong == 0 && typed.missing > 0 && typed.right >= BEGINNING;
        typed.rest.is_empty() && (is_whole && typed.right > BEGINNING / 2 || is_beginning)
    }
}

/// Whether `text`, as somebody typed it, is what `found` displays as, as far as digits go.
pub(super) fn is_typed(text: &str, found: &impl fmt::Display) -> bool {
    let mut typed = Typed::new(text);
    let is_compared = write!(typed, "{found}").is_ok();
    is_compared && typed.rest.is_empty() && typed.missing == 0 && typed.wrong == 0
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

/// Compares what is written to it with typed text, digit by digit, so that no buffer is needed.
struct Typed<'a> {
    rest: &'a [u8],
    right: usize,
    wrong: usize,
    /// Digits for which the typed text is too short.
    missing: usize,
}

impl<'a> Typed<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('{').unwrap_or(text);
        let text = text.strip_suffix('}').unwrap_or(text);
        let text = text
            .strip_prefix("0x")
            .or(text.strip_prefix("0X"))
            .unwrap_or(text);
        Self {
            rest: skip_hyphens(text.as_bytes()),
            right: 0,
            wrong: 0,
            missing: 0,
        }
    }
}

fn skip_hyphens(text: &[u8]) -> &[u8] {
    let hyphens = text.iter().take_while(|byte| **byte == b'-').count();
    text.get(hyphens..).unwrap_or_default()
}

impl fmt::Write for Typed<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        for digit in piece.bytes().filter(|byte| *byte != b'-') {
            let count = match self.rest.split_first() {
                None => &mut self.missing,
                Some((typed, rest)) => {
                    self.rest = skip_hyphens(rest);
                    if typed.eq_ignore_ascii_case(&digit) {
                        &mut self.right
                    } else {
                        &mut self.wrong
                    }
                }
            };
            *count = count.saturating_add(1);
        }
        Ok(())
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
    fn the_digits_count_however_they_are_written() {
        for typed in [
            "00010203-0405-0607-0809-AABBCCDDEEFF",
            "{00010203-0405-0607-0809-aabbccddeeff}",
            "000102030405060708 09aabbccddeeff"
                .replace(' ', "")
                .as_str(),
        ] {
            assert!(FULL.matches(typed), "{typed}");
        }
        for typed in ["abcd-0012", "ABCD0012", "abcd0012", "0xABCD0012"] {
            assert!(Uuid::Serial(0xabcd_0012).matches(typed), "{typed}");
        }
        for other in [
            "",
            "ABCD",
            "ABCD-001",
            "ABCD-00123",
            "ABCD-001é",
            "ABCD-0013",
        ] {
            assert!(!Uuid::Serial(0xabcd_0012).matches(other), "{other}");
        }
    }

    #[test]
    fn a_digit_or_two_that_are_wrong_and_a_beginning_come_near() {
        for (typed, is_near) in [
            ("00010203-0405-0607-0809-aabbccddeef0", true),
            ("00010203-0405-0607-0809-aabbccddee00", true),
            ("00010203-0405-0607-0809-aabbccdd0000", false),
            ("00010203", true),
            ("00010203-0405", true),
            ("0001020", false),
            ("00010203-0405-0607-0809-aabbccddeeff", false),
            ("00010203-0405-0607-0809-aabbccddeeff0", false),
            ("", false),
        ] {
            assert_eq!(FULL.is_near(typed), is_near, "{typed}");
        }
        assert!(Uuid::Serial(0xabcd_0012).is_near("abcd-0013"));
        assert!(!Uuid::Serial(0xabcd_0012).is_near("1234-5678"));
    }
}
