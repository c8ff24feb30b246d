//! One token at a time.
//!
//! A document is mostly strings, and those are gone over eight bytes at a time.

use super::JsonFault;
use super::text::{Text, character};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'a> {
    Open(Kind),
    Close(Kind),
    Comma,
    Colon,
    String(Text<'a>),
    Number(&'a str),
    Bool(bool),
    Null,
}

/// A place in a text, in bytes; always before a character or at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

/// Whether it is JSON's white space, which is less than Unicode's.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The same byte eight times.
pub(super) const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of each byte that is 0. Above the first such byte others may be marked too.
pub(super) const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(eight(1)) & !word & eight(0x80)
}

/// How many bytes come before the first one that is marked in the word that `marks` makes of eight
/// of them; the last ones of the text, which are no eight, are asked for with zeros behind them.
#[inline(always)]
pub(super) fn before(bytes: &[u8], marks: impl Fn(u64) -> u64) -> usize {
    let mut rest = bytes;
    loop {
        let (word, behind) = match rest.split_first_chunk::<8>() {
            Some((word, behind)) => (*word, behind),
            None => {
                let mut word = [0; 8];
                word.iter_mut()
                    .zip(rest)
                    .for_each(|(place, byte)| *place = *byte);
                (word, &[][..])
            }
        };
        let marked = marks(u64::from_le_bytes(word));
        let done = bytes.len().saturating_sub(rest.len());
        if marked != 0 {
            let first = marked.trailing_zeros() / 8;
            return done.saturating_add(first as usize).min(bytes.len());
        }
        if rest.len() < 8 {
            return bytes.len();
        }
        rest = behind;
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The text from here on.
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline(always)]
    pub(super) fn step(&mut self) {
        self.at = self.at.wrapping_add(1);
    }

    #[inline(always)]
    pub(super) fn skip_space(&mut self) {
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.skip_spaces();
        }
    }

    #[inline(never)]
    fn skip_spaces(&mut self) {
        let mut rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if let Some((b'\n', behind)) = rest.split_first() {
            rest = behind;
            // Indentation is the same character many times.
            while let Some((b"    " | b"\t\t\t\t", behind)) = rest.split_first_chunk() {
                rest = behind;
            }
        }
        while let Some((byte, behind)) = rest.split_first()
            && is_space(*byte)
        {
            rest = behind;
        }
        self.at = self.text.len().wrapping_sub(rest.len());
    }

    /// To the first quote, backslash or control character, or the end.
    #[inline(never)]
    fn skip_plain(&mut self) {
        let bytes = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = before(bytes, |word| {
            let is_control = word.wrapping_sub(eight(b' ')) & !word & eight(0x80);
            zeros(word ^ eight(b'"')) | zeros(word ^ eight(b'\\')) | is_control
        });
        self.at = self.at.wrapping_add(length);
    }

    /// From behind a string's first quote to behind its last, in a checked document; whether a
    /// backslash is in it.
    #[inline(never)]
    fn skip_string(&mut self) -> Option<bool> {
        let mut has_escape = false;
        loop {
            self.skip_plain();
            match self.peek()? {
                b'"' => {
                    self.step();
                    return Some(has_escape);
                }
                // What is escaped is one byte at least, and none of several bytes.
                _ => self.at = self.at.wrapping_add(2),
            }
            has_escape = true;
        }
    }

    /// The string that begins here, and to behind it, in a checked document.
    pub(super) fn string_of_checked(&mut self) -> Option<Text<'a>> {
        self.step();
        let start = self.at;
        let has_escape = self.skip_string()?;
        let text = self.text.get(start..self.at.checked_sub(1)?)?;
        Some(Text::lexed(text, has_escape))
    }

    /// The key that begins here, and to behind its colon, in a checked document.
    pub(super) fn key(&mut self) -> Option<Text<'a>> {
        let key = self.string_of_checked()?;
        self.skip_space();
        self.step();
        Some(key)
    }

    /// To behind the value that begins here, in a checked document.
    #[inline(never)]
    pub(super) fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            let byte = self.peek()?;
            self.step();
            match byte {
                b'"' => {
                    self.skip_string()?;
                }
                b'{' | b'[' => depth = depth.wrapping_add(1),
                b'}' | b']' => depth = depth.checked_sub(1)?,
                _ if depth > 0 => continue,
                _ => {
                    let is_end = |byte| matches!(byte, b',' | b']' | b'}') || is_space(byte);
                    while self.peek().is_some_and(|byte| !is_end(byte)) {
                        self.step();
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// The token that begins here, and to behind it; `None` at the end of the text. Where there is
    /// none, the place stays.
    #[inline(never)]
    pub(super) fn next(&mut self) -> Result<Option<Token<'a>>, JsonFault<'a>> {
        let Some(first) = self.peek() else {
            return Ok(None);
        };
        let token = match first {
            b'{' => Token::Open(Kind::Object),
            b'}' => Token::Close(Kind::Object),
            b'[' => Token::Open(Kind::Array),
            b']' => Token::Close(Kind::Array),
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => return self.string().map(|text| Some(Token::String(text))),
            b'-' | b'0'..=b'9' => return self.number().map(Some),
            _ => return self.word().map(Some),
        };
        self.step();
        Ok(Some(token))
    }

    fn string(&mut self) -> Result<Text<'a>, JsonFault<'a>> {
        let mut end = Self {
            at: self.at.wrapping_add(1),
            ..*self
        };
        let start = end.at;
        let mut has_escape = false;
        loop {
            end.skip_plain();
            match end.peek() {
                None => return Err(JsonFault::Truncated),
                Some(b'"') => break,
                Some(b'\\') => {
                    let (_, behind) = character(end.rest()).ok_or(JsonFault::Escape)?;
                    end.at = self.text.len().saturating_sub(behind.len());
                    has_escape = true;
                }
                Some(_) => return Err(JsonFault::Control),
            }
        }
        let text = self.text.get(start..end.at).unwrap_or_default();
        end.step();
        *self = end;
        Ok(Text::lexed(text, has_escape))
    }

    /// `-`, integer without leading zeros, fraction, exponent (RFC 8259, 6).
    fn number(&mut self) -> Result<Token<'a>, JsonFault<'a>> {
        let mut end = *self;
        end.number_end().ok_or(JsonFault::Expected("a digit"))?;
        let digits = self.text.get(self.at..end.at).unwrap_or_default();
        *self = end;
        Ok(Token::Number(digits))
    }

    fn number_end(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.step();
        }
        match self.peek() {
            Some(b'0') => self.step(),
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.step();
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.step();
            if let Some(b'+' | b'-') = self.peek() {
                self.step();
            }
            self.digits()?;
        }
        Some(())
    }

    /// Behind one digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.step();
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self) -> Result<Token<'a>, JsonFault<'a>> {
        let words = [
            ("true", Token::Bool(true)),
            ("false", Token::Bool(false)),
            ("null", Token::Null),
        ];
        let text = self.rest();
        for (word, token) in words {
            if text.starts_with(word) {
                self.at = self.at.wrapping_add(word.len());
                return Ok(token);
            }
            if word.starts_with(text) {
                return Err(JsonFault::Truncated);
            }
        }
        Err(JsonFault::Expected("a JSON value"))
    }
}
