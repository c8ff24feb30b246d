//! Bounded text without an allocator.
//!
//! Diagnostics carry the names of things whose length is not ours to choose: paths, module names,
//! what the kernel said. [`Text`] holds at most `N` bytes of UTF-8 and is `Copy`, so that an error
//! can be returned, stored and sent through a pipe without owning anything. What does not fit is
//! cut on a character boundary and ends in `…`: this is for reading only. Data that decides
//! anything is refused when it is too long, never cut.

use core::fmt::{self, Write as _};

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
        push_value(&mut text.bytes, &mut text.len, value);
        text
    }

    /// Bytes that are meant to be text: what is not UTF-8 is shown as `\xNN`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::of(&Bytes(bytes))
    }

    /// Appends formatted text, as far as it fits.
    pub fn push(&mut self, arguments: fmt::Arguments<'_>) {
        push(&mut self.bytes, &mut self.len, arguments);
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

#[inline(never)]
fn push_value(bytes: &mut [u8], len: &mut u16, value: &dyn fmt::Display) {
    push(bytes, len, format_args!("{value}"));
}

/// [`Text::push`] without a copy of the code for each size.
#[inline(never)]
fn push(bytes: &mut [u8], len: &mut u16, arguments: fmt::Arguments<'_>) {
    let mut room = CutWriter(BoundedWriter::new(bytes, (*len).into()));
    // The error means that the text is full, which is what this type is for.
    let _ = room.write_fmt(arguments);
    *len = room.0.len as u16;
}

/// The first `len` of `bytes`, which are whole characters.
fn valid(bytes: &[u8], len: usize) -> &str {
    core::str::from_utf8(bytes.get(..len).unwrap_or_default()).unwrap_or_default()
}

/// Bytes that text is written into. A piece that does not fit is an error, and none of it is
/// written.
pub(crate) struct BoundedWriter<'b> {
    bytes: &'b mut [u8],
    len: usize,
}

impl<'b> BoundedWriter<'b> {
    /// Writes into `bytes`, behind the first `len` of them.
    pub(crate) const fn new(bytes: &'b mut [u8], len: usize) -> Self {
        Self { bytes, len }
    }

    /// Writes `bytes` as they are; false if they do not fit.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let end = self.len.saturating_add(bytes.len());
        let free = self.bytes.get_mut(self.len..end);
        let fits = free.map(|free| free.copy_from_slice(bytes)).is_some();
        self.len = if fits { end } else { self.len };
        fits
    }

    /// What is written, with what was there before.
    pub(crate) fn written(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Write for BoundedWriter<'_> {
    #[inline(never)]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes()).then_some(()).ok_or(fmt::Error)
    }
}

/// A [`Text`] of any size, while it is written to.
struct CutWriter<'t>(BoundedWriter<'t>);

impl CutWriter<'_> {
    fn cut(&mut self, text: &str) -> fmt::Result {
        let room = self.0.bytes.len().saturating_sub(ELLIPSIS.len());
        match room.checked_sub(self.0.len) {
            Some(left) => {
                let fitting = text.get(..text.floor_char_boundary(left));
                self.0.write_str(fitting.unwrap_or_default())?;
            }
            None => self.0.len = valid(self.0.bytes, self.0.len).floor_char_boundary(room),
        }
        self.0.write_str(ELLIPSIS)
    }
}

impl fmt::Write for CutWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.write_str(text).is_ok() {
            return Ok(());
        }
        if !valid(self.0.bytes, self.0.len).ends_with(ELLIPSIS) {
            self.cut(text)?;
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

/// What is before and behind the last `separator`, an ASCII character. By bytes: to look for a
/// character from behind is half a KiB of code.
pub(crate) fn split_last(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text
        .as_bytes()
        .iter()
        .rposition(|byte| *byte == separator)?;
    let (before, rest) = text.split_at_checked(at)?;
    Some((before, rest.get(1..)?))
}

/// Where `part`, which is not empty, begins in `text`. The standard library's search in text is
/// made for long ones, and is 2 KiB of code; its search for a character has it in it, too, so that
/// single bytes are looked for among bytes.
pub(crate) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let mut places = text.windows(part.len().max(1));
    places.position(|place| place == part)
}

/// Whether `part`, which is not empty, is in `text`.
pub(crate) fn contains(text: &str, part: &str) -> bool {
    find(text.as_bytes(), part.as_bytes()).is_some()
}

/// Bytes that are meant to be text: what is not UTF-8 is shown as `\xNN`.
pub(crate) struct Bytes<'b>(pub &'b [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.utf8_chunks().try_for_each(|chunk| {
            formatter.write_str(chunk.valid())?;
            write_bytes(formatter, chunk.invalid())
        })
    }
}

fn write_bytes(out: &mut dyn fmt::Write, bytes: &[u8]) -> fmt::Result {
    let mut bytes = bytes.iter();
    bytes.try_for_each(|byte| write!(out, "\\x{byte:02x}"))
}

/// Characters that are not to be seen, or change how others are: those of the general categories
/// Cf, Zl and Zp, and the fillers (Unicode 16, DerivedGeneralCategory.txt and
/// DerivedCoreProperties.txt, `Default_Ignorable_Code_Point`). Not the selectors of variants, which
/// only say which of two pictures is meant.
const UNSEEN: &[(u32, u32)] = &[
    (0x00ad, 0x00ad),
    (0x034f, 0x034f),
    (0x0600, 0x0605),
    (0x061c, 0x061c),
    (0x06dd, 0x06dd),
    (0x070f, 0x070f),
    (0x0890, 0x0891),
    (0x08e2, 0x08e2),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180e, 0x180e),
    (0x200b, 0x200f),
    (0x2028, 0x202e),
    (0x2060, 0x206f),
    (0x3164, 0x3164),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfffb),
    (0x110bd, 0x110bd),
    (0x110cd, 0x110cd),
    (0x13430, 0x1343f),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0000, 0xe0fff),
];

/// Whether a character can be shown as it is without doing something to a terminal, or to what a
/// reader takes the text for.
pub(crate) fn is_harmless(c: char) -> bool {
    let is_in = |(first, last): &(u32, u32)| (*first..=*last).contains(&u32::from(c));
    c == '\t' || !(c.is_control() || u32::from(c) >= 0xa0 && UNSEEN.iter().any(is_in))
}

/// Text with parts that somebody else wrote, in one line for a terminal or a log: control
/// characters but the tab are shown as their bytes, `\xNN`, and others that are not to be seen as
/// `\u{NNNN}`.
pub(crate) struct Shown<T>(pub T);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_shown(formatter, &self.0)
    }
}

#[inline(never)]
fn write_shown(out: &mut dyn fmt::Write, value: &dyn fmt::Display) -> fmt::Result {
    fmt::Write::write_fmt(&mut Filter(out, false), format_args!("{value}"))
}

/// JSON as somebody else wrote it, which may have the same characters in its strings as they are.
/// The text means what it did.
pub(crate) struct Written<'t>(pub &'t str);

impl fmt::Display for Written<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Write::write_str(&mut Filter(formatter, true), self.0)
    }
}

/// Shows what is not harmless: as JSON does if told so, where there may be ends of lines between
/// the strings.
struct Filter<'f>(&'f mut dyn fmt::Write, bool);

impl fmt::Write for Filter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Self(out, is_json) = self;
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| !is_harmless(*c)) {
            let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
            out.write_str(before)?;
            match c {
                '\n' | '\r' if *is_json => out.write_char(c)?,
                _ if *is_json => write_units(&mut **out, c)?,
                _ if c.is_control() => {
                    write_bytes(&mut **out, c.encode_utf8(&mut [0; 4]).as_bytes())?
                }
                _ => write!(out, "\\u{{{:x}}}", u32::from(c))?,
            }
            rest = after.get(c.len_utf8()..).unwrap_or_default();
        }
        out.write_str(rest)
    }
}

/// A character as JSON can write any: in units of UTF-16.
fn write_units(out: &mut dyn fmt::Write, c: char) -> fmt::Result {
    let mut units = [0; 2];
    let mut units = c.encode_utf16(&mut units).iter();
    units.try_for_each(|unit| write!(out, "\\u{unit:04x}"))
}

/// Text that somebody else wrote, between quotes: what would end it, or is not to be seen, is
/// escaped.
pub(crate) struct Quoted<'t>(pub &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", Escaped(self.0))
    }
}

/// The same without the quotes.
pub(crate) struct Escaped<'t>(pub &'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(formatter, "\\{c}"),
            '\n' => formatter.write_str("\\n"),
            '\t' => formatter.write_str("\\t"),
            _ if !is_harmless(c) => write!(formatter, "\\u{{{:x}}}", u32::from(c)),
            _ => fmt::Write::write_char(formatter, c),
        })
    }
}

/// Text as a string of JSON (RFC 8259, 7), with nothing in it that does something to a terminal.
pub(crate) struct Json<'t>(pub &'t str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"")?;
        self.0.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(formatter, "\\{c}"),
            _ if c == '\t' || !is_harmless(c) => write_units(formatter, c),
            _ => fmt::Write::write_char(formatter, c),
        })?;
        formatter.write_str("\"")
    }
}

/// Bytes as hexadecimal digits, two each.
pub(crate) struct Hex<'b>(pub &'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Hex, Json, Quoted, Shown, Text, Written, contains, find};

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

    #[test]
    fn what_others_wrote_does_nothing_to_a_terminal() {
        for (text, shown) in [
            (
                "a\tb \\x1b \u{f6}\u{1f980}\u{fe0f}",
                "a\tb \\x1b \u{f6}\u{1f980}\u{fe0f}",
            ),
            ("\u{1b}[2Ja\rb\n\0\u{7f}", "\\x1b[2Ja\\x0db\\x0a\\x00\\x7f"),
            // CSI, as one character.
            ("\u{9b}1m\u{85}", "\\xc2\\x9b1m\\xc2\\x85"),
            (
                "\u{202e}\u{200b}\u{2028}\u{e0041}",
                "\\u{202e}\\u{200b}\\u{2028}\\u{e0041}",
            ),
            ("\u{ad}\u{feff}\u{2066}x", "\\u{ad}\\u{feff}\\u{2066}x"),
        ] {
            assert_eq!(Shown(text).to_string(), shown);
        }
        assert_eq!(
            Shown(Bytes(b"a\x9b\x1b\xf0\x9f")).to_string(),
            "a\\x9b\\x1b\\xf0\\x9f"
        );
        assert_eq!(Quoted("\u{202e}\u{9b}").to_string(), "\"\\u{202e}\\u{9b}\"");
    }

    #[test]
    fn json_says_the_same_without_them() {
        let text = "\t\n\u{7f}\u{9b}\u{202e}\u{e0041}\u{f6}\\";
        let json = Json(text).to_string();
        assert_eq!(
            json,
            "\"\\u0009\\u000a\\u007f\\u009b\\u202e\\udb40\\udc41\u{f6}\\\\\""
        );
        let written = "{ \"a\":\n\t\"\u{9b}\u{e0041}\u{f6}\" }";
        let shown = "{ \"a\":\n\t\"\\u009b\\udb40\\udc41\u{f6}\" }";
        assert_eq!(Written(written).to_string(), shown);
    }
}
