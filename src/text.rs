//! Bounded text without an allocator.
//!
//! Diagnostics carry the names of things whose length is not ours to choose: paths, module names, what the kernel said.
//! [`Text`] holds at most `N` bytes of UTF-8 and is `Copy`, so that an error can be returned, stored and sent through a
//! pipe without owning anything. What does not fit is cut on a character boundary and ends in `…`: this is for reading
//! only. Data that decides anything is refused when it is too long, never cut.

use core::fmt;

const ELLIPSIS: &str = "…";

/// At most `N` bytes of UTF-8 text for people to read. Longer text is cut and marked with `…`.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    len: u16,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// No text.
    pub const EMPTY: Self = Self {
        len: 0,
        bytes: [0; N],
    };

    /// What `value` displays as, cut to `N` bytes.
    pub fn new(value: impl fmt::Display) -> Self {
        Self::of(&value)
    }

    /// [`Self::new`] without a copy of the code for each type.
    #[inline(never)]
    fn of(value: &dyn fmt::Display) -> Self {
        let mut text = Self::EMPTY;
        text.push(format_args!("{value}"));
        text
    }

    /// Bytes that are meant to be text: what is not UTF-8 is shown as `\xNN`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut text = Self::EMPTY;
        for chunk in bytes.utf8_chunks() {
            text.push(format_args!("{}", chunk.valid()));
            for byte in chunk.invalid() {
                text.push(format_args!("\\x{byte:02x}"));
            }
        }
        text
    }

    /// Appends formatted text, as far as it fits.
    pub fn push(&mut self, arguments: fmt::Arguments<'_>) {
        let mut room = Room {
            bytes: &mut self.bytes,
            len: self.len.into(),
        };
        // The error means that the text is full, which is what this type is for.
        let _ = fmt::Write::write_fmt(&mut room, arguments);
        self.len = room.len as u16;
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        valid(&self.bytes, self.len.into())
    }

    /// True if there is no text.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The first `len` of `bytes`, which are whole characters.
fn valid(bytes: &[u8], len: usize) -> &str {
    core::str::from_utf8(bytes.get(..len).unwrap_or_default()).unwrap_or_default()
}

/// A [`Text`] of any size, while it is written to.
struct Room<'t> {
    bytes: &'t mut [u8],
    len: usize,
}

impl Room<'_> {
    fn append(&mut self, text: &str) -> bool {
        let end = self.len.saturating_add(text.len());
        let Some(free) = self.bytes.get_mut(self.len..end) else {
            return false;
        };
        free.copy_from_slice(text.as_bytes());
        self.len = end;
        true
    }

    fn cut(&mut self, text: &str) {
        let room = self.bytes.len().saturating_sub(ELLIPSIS.len());
        match room.checked_sub(self.len) {
            Some(left) => {
                self.append(
                    text.get(..text.floor_char_boundary(left))
                        .unwrap_or_default(),
                );
            }
            None => self.len = valid(self.bytes, self.len).floor_char_boundary(room),
        }
        self.append(ELLIPSIS);
    }
}

impl fmt::Write for Room<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.append(text) {
            return Ok(());
        }
        if !valid(self.bytes, self.len).ends_with(ELLIPSIS) {
            self.cut(text);
        }
        Err(fmt::Error)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl<const N: usize> PartialEq for Text<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// What is before and behind the last `separator`, an ASCII character. By bytes: to look for a character from behind is
/// half a KiB of code.
pub fn split_last(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text
        .as_bytes()
        .iter()
        .rposition(|byte| *byte == separator)?;
    let (before, rest) = text.split_at_checked(at)?;
    Some((before, rest.get(1..)?))
}

/// Where `part`, which is not empty, begins in `text`. The standard library's search in text is made for long ones, and is 2 KiB
/// of code; its search for a character has it in it, too, so that single bytes are looked for among bytes.
pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let mut places = text.windows(part.len().max(1));
    places.position(|place| place == part)
}

/// Whether `part`, which is not empty, is in `text`.
pub fn contains(text: &str, part: &str) -> bool {
    find(text.as_bytes(), part.as_bytes()).is_some()
}

/// Text that somebody else wrote, between quotes: what would end it, or is not to be seen, is escaped.
pub struct Quoted<'t>(pub &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", Escaped(self.0))
    }
}

/// The same without the quotes.
pub struct Escaped<'t>(pub &'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(formatter, "\\{c}"),
            '\n' => formatter.write_str("\\n"),
            '\t' => formatter.write_str("\\t"),
            _ if c.is_control() => write!(formatter, "\\u{{{:x}}}", u32::from(c)),
            _ => fmt::Write::write_char(formatter, c),
        })
    }
}

/// Text as a string of JSON (RFC 8259, 7).
pub struct Json<'t>(pub &'t str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"")?;
        self.0.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(formatter, "\\{c}"),
            '\0'..' ' => write!(formatter, "\\u{:04x}", u32::from(c)),
            _ => fmt::Write::write_char(formatter, c),
        })?;
        formatter.write_str("\"")
    }
}

/// Bytes as hexadecimal digits, two each.
pub struct Hex<'b>(pub &'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Hex, Quoted, Text, contains, find};

    #[test]
    fn text_that_fits_is_kept() {
        assert_eq!(
            Text::<16>::new("mount /dev/sdb1").as_str(),
            "mount /dev/sdb1"
        );
    }

    #[test]
    fn long_text_is_cut_on_a_character_boundary() {
        assert_eq!(Text::<8>::new("äöüäöü").as_str(), "äö…");
        assert_eq!(Text::<8>::new("12345678").as_str(), "12345678");
        assert_eq!(Text::<8>::new("123456789").as_str(), "12345…");
    }

    #[test]
    fn nothing_follows_the_mark_of_a_cut() {
        let mut text = Text::<8>::new("123456789");
        text.push(format_args!("x"));
        assert_eq!(text.as_str(), "12345…");
    }

    #[test]
    fn cutting_takes_back_what_was_there_before() {
        let mut text = Text::<8>::new("1234567");
        text.push(format_args!("89"));
        assert_eq!(text.as_str(), "12345…");
    }

    #[test]
    fn bytes_that_are_not_text_stay_visible() {
        assert_eq!(Text::<16>::from_bytes(b"a\xffb").as_str(), "a\\xffb");
    }

    #[test]
    fn a_part_is_found_where_it_is() {
        assert_eq!(find(b"a needle", b"needle"), Some(2));
        assert_eq!(find(b"need", b"needle"), None);
        assert!(contains("FAT-fs: IO charset", "IO charset") && !contains("", "x"));
    }

    #[test]
    fn what_would_end_a_quotation_or_cannot_be_seen_is_escaped() {
        let text = "r\u{f6}\"t\\ \u{1b}[1m\n\u{85}";
        assert_eq!(
            Quoted(text).to_string(),
            "\"r\u{f6}\\\"t\\\\ \\u{1b}[1m\\n\\u{85}\""
        );
        assert_eq!(Hex(&[0, 0xab]).to_string(), "00ab");
    }
}
