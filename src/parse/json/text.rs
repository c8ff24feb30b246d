//! Strings: escape sequences, and a place for what they stand for.

use core::fmt::{self, Write as _};
use core::mem;

use super::lex::{before, eight};

/// A string of a checked document, as it is written between its quotes.
#[derive(Clone, Copy, Eq)]
pub struct Text<'a> {
    written: &'a str,
    has_escape: bool,
}

impl<'a> Text<'a> {
    /// What is written between quotes, and whether a backslash is in it.
    pub(super) const fn lexed(written: &'a str, has_escape: bool) -> Self {
        Self {
            written,
            has_escape,
        }
    }

    /// Text that is not from a document: it is meant as it is.
    #[must_use]
    pub const fn of(text: &'a str) -> Self {
        Self::lexed(text, false)
    }

    #[cfg(test)]
    fn new(written: &'a str) -> Self {
        Self::lexed(written, written.contains('\\'))
    }

    /// The characters that are meant.
    pub fn chars(&self) -> impl Iterator<Item = char> + Clone + use<'a> {
        let mut rest = self.written;
        core::iter::from_fn(move || {
            let (c, after) = character(rest)?;
            rest = after;
            Some(c)
        })
    }

    /// Whether any character of it is escaped.
    #[must_use]
    pub fn has_escape(&self) -> bool {
        self.has_escape
    }

    /// The text that is meant, if it is written without an escape sequence.
    #[must_use]
    pub fn plain(&self) -> Option<&'a str> {
        (!self.has_escape).then_some(self.written)
    }

    /// Whether a control character is meant, NUL among them.
    #[must_use]
    #[inline(never)]
    pub fn has_control(&self) -> bool {
        // Below a space there is none that is not escaped; DEL, and what stands for more than
        // ASCII, are looked at.
        let length = before(self.written.as_bytes(), |word| {
            (word.wrapping_add(eight(1)) | word) & eight(0x80)
        });
        (self.has_escape || length < self.written.len()) && self.chars().any(char::is_control)
    }

    /// Whether this text is meant.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        // An escape sequence is longer than what it stands for.
        match self.has_escape {
            false => self.written.len() == text.len() && self.written == text,
            true => self.written.len() > text.len() && self.chars().eq(text.chars()),
        }
    }

    /// Whether the text that is meant begins so.
    #[must_use]
    pub fn starts_with(&self, prefix: &str) -> bool {
        if !self.has_escape {
            return self.written.starts_with(prefix);
        }
        let mut chars = self.chars();
        prefix.chars().all(|c| chars.next() == Some(c))
    }

    /// The text that is meant, in a place of its own. `None` when it is longer.
    #[must_use]
    pub fn decode<const N: usize>(&self) -> Option<heapless::String<N>> {
        let mut text = heapless::String::new();
        match self.plain() {
            Some(plain) => text.push_str(plain).ok()?,
            None => self.chars().try_for_each(|c| text.push(c)).ok()?,
        }
        Some(text)
    }

    /// What is written between the quotes, for a message: it takes no scratch.
    #[must_use]
    pub fn written(&self) -> &'a str {
        self.written
    }

    /// The text that is meant: the document's own bytes when there is nothing to unescape, else
    /// stored in `scratch`. `None` when that is full.
    pub fn read(&self, scratch: &mut Scratch<'a>) -> Option<&'a str> {
        match self.plain() {
            None => scratch.store(self.chars()),
            Some(text) => Some(text),
        }
    }
}

/// Two spellings of one text are equal.
impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        match self.plain().zip(other.plain()) {
            Some((a, b)) => a == b,
            None => self.chars().eq(other.chars()),
        }
    }
}

/// As written in the document. What JSON does not force to be escaped (DEL, and the terminal
/// controls above it) is escaped here: this is for messages.
impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.chars().try_for_each(|c| match c {
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c)),
            c => f.write_char(c),
        })
    }
}

/// The characters that are meant, not their spelling: `Display` is what a program gets.
#[derive(Clone, Copy)]
pub struct Unescaped<'a>(pub Text<'a>);

impl fmt::Display for Unescaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.plain() {
            None => self.0.chars().try_for_each(|c| f.write_char(c)),
            Some(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The first character that is meant, and the text behind what it is written as. `None` at the end
/// and for what is no escape sequence.
pub(super) fn character(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let c = match chars.next()? {
        '\\' => match chars.next()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return unicode(chars.as_str()),
            _ => return None,
        },
        c => c,
    };
    Some((c, chars.as_str()))
}

/// What follows `\u`: four digits, or a surrogate pair with the second `\u` between (RFC 8259, 7).
fn unicode(text: &str) -> Option<(char, &str)> {
    let (first, rest) = unit(text)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first.into())?, rest));
    }
    let (second, rest) = unit(rest.strip_prefix("\\u")?)?;
    let c = char::decode_utf16([first, second]).next()?.ok()?;
    Some((c, rest))
}

fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let only_digits = digits.bytes().all(|b| b.is_ascii_hexdigit());
    let value = u16::from_str_radix(digits, 16).ok();
    Some((value.filter(|_| only_digits)?, rest))
}

/// Bytes that unescaped strings are stored in. A document needs at most as many as it is long:
/// every escape sequence is longer than what it stands for.
#[derive(Debug, Default)]
pub struct Scratch<'a> {
    free: &'a mut [u8],
}

impl<'a> Scratch<'a> {
    /// Takes the bytes.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { free: bytes }
    }

    /// Stores texts with commas between them. `None` when they do not fit, and from then on.
    pub fn join<'t>(&mut self, texts: impl Iterator<Item = Text<'t>>) -> Option<&'a str> {
        let free = mem::take(&mut self.free);
        let mut used = 0usize;
        let mut put = |bytes: &[u8]| {
            let end = used.checked_add(bytes.len())?;
            free.get_mut(used..end)?.copy_from_slice(bytes);
            used = end;
            Some(())
        };
        for (index, text) in texts.enumerate() {
            if index > 0 {
                put(b",")?;
            }
            match text.plain() {
                Some(plain) => put(plain.as_bytes())?,
                None => text
                    .chars()
                    .try_for_each(|c| put(c.encode_utf8(&mut [0; 4]).as_bytes()))?,
            }
        }
        let (text, free) = free.split_at_mut_checked(used)?;
        self.free = free;
        core::str::from_utf8(text).ok()
    }

    /// Stores a text. `None` when it does not fit, and from then on.
    pub fn store(&mut self, chars: impl Iterator<Item = char>) -> Option<&'a str> {
        let free = mem::take(&mut self.free);
        let mut used = 0usize;
        for c in chars {
            let end = used.checked_add(c.len_utf8())?;
            c.encode_utf8(free.get_mut(used..end)?);
            used = end;
        }
        let (text, free) = free.split_at_mut_checked(used)?;
        self.free = free;
        core::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_their_characters() {
        let text = Text::new(r#"\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00x"#);
        assert!(text.is("\"\\/\x08\x0c\n\r\tAé😀x"));
        assert_eq!(Unescaped(text).to_string(), "\"\\/\x08\x0c\n\r\tAé😀x");
        assert_eq!(Unescaped(Text::new("Aé😀x")).to_string(), "Aé😀x");
        assert_eq!(Text::new(r"\u0061"), Text::new("a"));
        assert!(
            !Text::new(r"\\").is(r"\\") && !Text::new(r"\n").is("\\n") && !Text::new("é").is("e")
        );
        assert_eq!(Unescaped(Text::new(r"\u0061\t")).to_string(), "a\t");
    }

    #[test]
    fn what_is_no_escape_has_no_character() {
        for text in [
            r"\x",
            r"\u12",
            r"\u+123",
            r"\ud83d",
            r"\ud83dx",
            r"\ud83d\u0041",
            r"\ude00",
            "\\",
        ] {
            assert_eq!(character(text), None, "{text}");
        }
    }

    #[test]
    fn only_escaped_text_takes_scratch() {
        let mut bytes = [0; 3];
        let mut scratch = Scratch::new(&mut bytes);
        assert_eq!(
            Text::new("plain text").read(&mut scratch),
            Some("plain text")
        );
        assert_eq!(Text::new(r"\n\t").read(&mut scratch), Some("\n\t"));
        assert_eq!(Text::new(r"\n\t").read(&mut scratch), None);
        assert_eq!(Text::new(r"\n").read(&mut scratch), None);
    }
}
