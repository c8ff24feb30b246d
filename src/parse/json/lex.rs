//! One token at a time.

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

/// Whether it is JSON's white space, which is less than Unicode's.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The text from the first byte on that ends something: one of ASCII, or the first that is none of some of ASCII. So it begins a
/// character.
fn from_first(text: &str, ends: impl Fn(u8) -> bool) -> &str {
    let end = text.bytes().position(ends).unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

pub(super) fn skip_space(text: &str) -> &str {
    from_first(text, |byte| !is_space(byte))
}

/// What follows the value that the text begins with, in a checked document. That is asked for again and again, since nothing is
/// remembered, so only brackets and quotes are looked at.
pub(super) fn skip_value(text: &str) -> Option<&str> {
    let text = skip_space(text);
    let is_end = |byte| matches!(byte, b',' | b']' | b'}') || is_space(byte);
    if !matches!(text.bytes().next()?, b'"' | b'{' | b'[') {
        return Some(from_first(text, is_end));
    }
    let mut depth = 0usize;
    let mut bytes = text.bytes();
    loop {
        match bytes.next()? {
            b'"' => skip_string(&mut bytes)?,
            b'{' | b'[' => depth = depth.checked_add(1)?,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => continue,
        }
        if depth == 0 {
            return text.get(text.len().checked_sub(bytes.len())?..);
        }
    }
}

/// To behind the quote that ends the string.
fn skip_string(bytes: &mut core::str::Bytes<'_>) -> Option<()> {
    loop {
        match bytes.next()? {
            b'"' => return Some(()),
            b'\\' => {
                bytes.next()?;
            }
            _ => {}
        }
    }
}

type Lexed<'a> = Result<Option<(Token<'a>, &'a str)>, JsonFault<'a>>;

/// The first token and what follows it; `None` at the end of the text.
pub(super) fn next(text: &str) -> Lexed<'_> {
    let text = skip_space(text);
    let mut chars = text.chars();
    let Some(first) = chars.next() else {
        return Ok(None);
    };
    let token = match first {
        '{' => Token::Open(Kind::Object),
        '}' => Token::Close(Kind::Object),
        '[' => Token::Open(Kind::Array),
        ']' => Token::Close(Kind::Array),
        ',' => Token::Comma,
        ':' => Token::Colon,
        '"' => return string(chars.as_str()),
        '-' | '0'..='9' => return number(text),
        _ => return word(text),
    };
    Ok(Some((token, chars.as_str())))
}

fn string(inner: &str) -> Lexed<'_> {
    let mut rest = inner;
    loop {
        match rest.bytes().next() {
            None => return Err(JsonFault::Truncated),
            Some(b'"') => break,
            Some(0..0x20) => return Err(JsonFault::Control),
            Some(b'\\') => rest = character(rest).ok_or(JsonFault::Escape)?.1,
            Some(_) => rest = from_first(rest, |byte| byte < b' ' || byte == b'"' || byte == b'\\'),
        }
    }
    let length = inner.len().saturating_sub(rest.len());
    let text = inner.get(..length).unwrap_or_default();
    let after = rest.strip_prefix('"').unwrap_or_default();
    Ok(Some((Token::String(Text(text)), after)))
}

fn number(text: &str) -> Lexed<'_> {
    let rest = number_end(text).ok_or(JsonFault::Expected("a digit"))?;
    let length = text.len().saturating_sub(rest.len());
    let digits = text.get(..length).unwrap_or_default();
    Ok(Some((Token::Number(digits), rest)))
}

/// `-`, integer without leading zeros, fraction, exponent (RFC 8259, 6).
fn number_end(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let rest = match rest.strip_prefix('0') {
        Some(rest) => rest,
        None => digits(rest)?,
    };
    let rest = match rest.strip_prefix('.') {
        Some(rest) => digits(rest)?,
        None => rest,
    };
    match rest.strip_prefix(['e', 'E']) {
        Some(rest) => digits(rest.strip_prefix(['+', '-']).unwrap_or(rest)),
        None => Some(rest),
    }
}

/// Behind one digit or more.
fn digits(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

fn word(text: &str) -> Lexed<'_> {
    let words = [
        ("true", Token::Bool(true)),
        ("false", Token::Bool(false)),
        ("null", Token::Null),
    ];
    for (word, token) in words {
        if let Some(rest) = text.strip_prefix(word) {
            return Ok(Some((token, rest)));
        }
        if word.starts_with(text) {
            return Err(JsonFault::Truncated);
        }
    }
    Err(JsonFault::Expected("a JSON value"))
}
