//! Values of properties as text (GVariant, "Text Format"): what the annotations
//! `org.systemd.property.NAME` hold.
//!
//! The part that properties of systemd need: booleans, whole numbers, strings, and lists of them,
//! with or without the name of their type before them: `true`, `uint64 5000`,
//! `'inactive-or-failed'`, `['a.service', 'b.service']`, `@as []`. A number without a type is an
//! `int32`.

use super::write::Writer;

/// What annotations of properties begin with.
pub const PREFIX: &str = "org.systemd.property.";

/// The names of types, their letters, and their sizes.
const TYPES: [(&str, u8, usize); 10] = [
    ("boolean", b'b', 4),
    ("byte", b'y', 1),
    ("int16", b'n', 2),
    ("uint16", b'q', 2),
    ("int32", b'i', 4),
    ("uint32", b'u', 4),
    ("int64", b'x', 8),
    ("uint64", b't', 8),
    ("string", b's', 4),
    ("objectpath", b'o', 4),
];

/// Whether systemd may have a property of this name: three letters at least, and nothing else.
fn is_name(name: &str) -> bool {
    name.len() >= 3 && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Writes the property `name` with the value that `text` means; `None` if it means none, and then
/// the message is given up.
///
/// A name like `TimeoutStopSec` is that of a setting in a file, in seconds; the property beside it
/// is in microseconds, and called `TimeoutStopUSec`.
#[inline(never)]
pub fn write(writer: &mut Writer<'_>, name: &str, text: &str) -> Option<()> {
    let written = try_write(writer, name, text);
    if written.is_none() {
        writer.fail();
    }
    written
}

fn try_write(writer: &mut Writer<'_>, name: &str, text: &str) -> Option<()> {
    if !is_name(name) {
        return None;
    }
    let setting = name.strip_suffix("Sec");
    let setting = setting.filter(|start| start.ends_with(|c: char| c.is_ascii_lowercase()));
    let mut text = Words(text.trim());
    writer.align(8);
    match setting {
        Some(start) => {
            writer.chars(&mut start.chars().chain("USec".chars()));
            text.any_type();
            writer.signature("t");
            writer.u64(microseconds(text.0)?);
            return Some(());
        }
        None => writer.string(name),
    }
    let (declared, is_list) = match text.eat("@") {
        true => (Some(text.letter()?), text.is_of_list()),
        false => (text.any_type(), false),
    };
    let is_list = match text.eat("[") {
        // A type that is declared for the whole is a list's, one that is named before it is not.
        true if declared.is_none() || is_list => true,
        false if !is_list => false,
        _ => return None,
    };
    let kind = match declared {
        Some(kind) => kind,
        None => Words(text.0).any_type().or_else(|| inferred(text.0))?,
    };
    let letters = [b'a', kind];
    let types = letters.get(usize::from(!is_list)..)?;
    writer.signature(core::str::from_utf8(types).ok()?);
    match is_list {
        false => text.item(kind, writer)?,
        true => {
            let mut items = None;
            writer.array(size_of(kind), &mut |writer| {
                items = text.items(kind, writer);
            });
            items?;
        }
    }
    text.0.is_empty().then_some(())
}

fn size_of(kind: u8) -> usize {
    let found = TYPES.iter().find(|(_, letter, _)| *letter == kind);
    found.map_or(1, |(_, _, size)| *size)
}

/// The type of a value that begins like this.
fn inferred(text: &str) -> Option<u8> {
    match text.bytes().next()? {
        b'\'' | b'"' => Some(b's'),
        b't' | b'f' => Some(b'b'),
        b'0'..=b'9' | b'-' | b'+' => Some(b'i'),
        _ => None,
    }
}

/// Seconds, with up to six digits behind a point.
fn microseconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 6 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut time = whole.parse::<u64>().ok()?.checked_mul(1_000_000)?;
    let mut unit = 1_000_000_u64;
    for digit in part.bytes() {
        unit = unit.checked_div(10)?;
        time = time.checked_add(unit.checked_mul(u64::from(digit & 0xf))?)?;
    }
    Some(time)
}

/// What is left of a text; it does not begin with a space.
struct Words<'t>(&'t str);

impl<'t> Words<'t> {
    fn eat(&mut self, start: &str) -> bool {
        match self.0.strip_prefix(start) {
            Some(rest) => {
                self.0 = rest.trim_start();
                true
            }
            None => false,
        }
    }

    /// The name of a type and a space, if there is one.
    fn any_type(&mut self) -> Option<u8> {
        let (word, rest) = self.0.split_once(' ')?;
        let (_, letter, _) = TYPES.iter().find(|(name, ..)| *name == word)?;
        self.0 = rest.trim_start();
        Some(*letter)
    }

    /// The letter of a type, behind `@`: with `a` before it, and a space behind it.
    fn letter(&mut self) -> Option<u8> {
        let (word, _) = self.0.split_once(' ')?;
        let letter = word.strip_prefix('a').unwrap_or(word).as_bytes();
        let known = TYPES.iter().any(|(_, known, _)| letter == [*known]);
        known.then_some(*letter.first()?)
    }

    /// Whether the type behind `@` is that of a list; the value is next.
    fn is_of_list(&mut self) -> bool {
        let Some((word, rest)) = self.0.split_once(' ') else {
            return false;
        };
        self.0 = rest.trim_start();
        word.len() > 1
    }

    fn items(&mut self, kind: u8, writer: &mut Writer<'_>) -> Option<()> {
        if self.eat("]") {
            return Some(());
        }
        loop {
            if let Some(named) = Words(self.0).any_type() {
                self.any_type();
                if named != kind {
                    return None;
                }
            }
            self.item(kind, writer)?;
            match (self.eat(","), self.eat("]")) {
                (false, true) => return Some(()),
                (true, false) => {}
                _ => return None,
            }
        }
    }

    #[inline(never)]
    fn item(&mut self, kind: u8, writer: &mut Writer<'_>) -> Option<()> {
        match kind {
            b's' | b'o' => return self.text(writer),
            b'b' => {
                let is_true = self.eat("true");
                if !is_true && !self.eat("false") {
                    return None;
                }
                writer.boolean(is_true);
                return Some(());
            }
            _ => {}
        }
        let is_end = |c: char| matches!(c, ',' | ']' | ' ');
        let (number, rest) = self
            .0
            .split_at_checked(self.0.find(is_end).unwrap_or(self.0.len()))?;
        self.0 = rest.trim_start();
        let bytes = number_of(number)?.to_le_bytes();
        let value = i128::from_le_bytes(bytes);
        let size = size_of(kind);
        let bits = u32::try_from(size.checked_mul(8)?).ok()?;
        let (least, end) = match kind {
            b'n' | b'i' | b'x' => {
                let half = 1_i128.checked_shl(bits.checked_sub(1)?)?;
                (half.checked_neg()?, half)
            }
            _ => (0, 1_i128.checked_shl(bits)?),
        };
        if !(least..end).contains(&value) {
            return None;
        }
        writer.align(size);
        writer.put(bytes.get(..size)?);
        Some(())
    }

    /// Text between quotes, `\` before what would end it.
    fn text(&mut self, writer: &mut Writer<'_>) -> Option<()> {
        let quote = self.0.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let mut chars = self.0.char_indices().skip(1);
        let mut end = None;
        writer.chars(&mut core::iter::from_fn(|| {
            let (at, c) = chars.next()?;
            match c {
                '\\' => chars.next().map(|(_, c)| match c {
                    'n' => '\n',
                    't' => '\t',
                    c => c,
                }),
                c if c == quote => {
                    end = at.checked_add(1);
                    None
                }
                c => Some(c),
            }
        }));
        self.0 = self.0.get(end?..)?.trim_start();
        Some(())
    }
}

/// A whole number, decimal or with `0x` before it.
fn number_of(text: &str) -> Option<i128> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    let value = i128::from(value);
    match is_negative {
        true => value.checked_neg(),
        false => Some(value),
    }
}
