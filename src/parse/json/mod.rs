//! JSON (RFC 8259), read in place: no tree, no allocation, no recursion over the text.
//!
//! [`mod@check`] goes over a document once and accepts it whole or not at all; what it refuses, it names
//! with line and column. The [`Value`]s that it gives are positions in the checked text, and looking
//! into them is lexing again, which cannot fail any more.
//!
//! Why not serde here? A bundle's configuration decides what a container may do, and others read the
//! same file. So a key that comes twice must be refused (readers differ in which one they take), an
//! escaped key must be the same key, a surrogate pair must be one character, an error must say where,
//! and a field that is known but unsupported must be seen whatever its shape. serde-json-core does
//! none of these, and a second reader beside it for them could disagree with it.

use core::fmt;

mod check;
mod lex;
mod text;

pub use check::{MAX_DEPTH, MAX_KEYS, check};
pub use text::{Scratch, Text, Unescaped};

use lex::{Kind, Token, next, skip_space, skip_value};

/// A value in a checked document.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// The document from the value's first character on.
    text: &'a str,
}

/// A value, taken apart.
#[derive(Clone, Debug)]
pub enum Node<'a> {
    /// `{…}`
    Object(Members<'a>),
    /// `[…]`
    Array(Items<'a>),
    /// `"…"`
    String(Text<'a>),
    /// A number, as it is written.
    Number(&'a str),
    /// `true` or `false`
    Bool(bool),
    /// `null`
    Null,
}

impl<'a> Value<'a> {
    /// What kind of value it is, and what is in it.
    #[must_use]
    pub fn node(&self) -> Node<'a> {
        match next(self.text) {
            Ok(Some((Token::Open(Kind::Object), rest))) => Node::Object(Members(Inside::new(rest))),
            Ok(Some((Token::Open(Kind::Array), rest))) => Node::Array(Items(Inside::new(rest))),
            Ok(Some((Token::String(text), _))) => Node::String(text),
            Ok(Some((Token::Number(digits), _))) => Node::Number(digits),
            Ok(Some((Token::Bool(value), _))) => Node::Bool(value),
            // In a checked document nothing else begins a value.
            _ => Node::Null,
        }
    }

    /// The value's own text, as it stands in the document.
    #[must_use]
    pub fn as_written(&self) -> &'a str {
        let end = skip_value(self.text).map_or(self.text.len(), |rest| {
            self.text.len().saturating_sub(rest.len())
        });
        self.text.get(..end).unwrap_or_default()
    }

    /// The object's member of this name. `None` when there is none, when it is `null`, and when this
    /// is no object.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Value<'a>> {
        let Node::Object(mut members) = self.node() else {
            return None;
        };
        let (_, value) = members.find(|(key, _)| key.is(name))?;
        (!matches!(value.node(), Node::Null)).then_some(value)
    }

    /// [`Value::member`] through several objects: `linux.resources`.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<Value<'a>> {
        path.split('.')
            .try_fold(*self, |value, name| value.member(name))
    }

    /// Whether it says nothing: `null`, `false`, `0`, an empty string or list, or an object all of
    /// whose members say nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self.node() {
            Node::Null => true,
            Node::Bool(value) => !value,
            Node::Number(digits) => digits == "0",
            Node::String(text) => text.is(""),
            Node::Array(mut items) => items.next().is_none(),
            // As deep as the document at most, which is bounded.
            Node::Object(mut members) => members.all(|(_, value)| value.is_empty()),
        }
    }
}

/// A place inside of an object or an array.
#[derive(Clone, Debug)]
struct Inside<'a> {
    rest: &'a str,
    /// Whether that begins with a value which was given out: it is skipped when another is asked for, and often none is.
    is_at_value: bool,
}

impl<'a> Inside<'a> {
    fn new(rest: &'a str) -> Self {
        Self {
            rest,
            is_at_value: false,
        }
    }

    /// Behind the last value and the comma that may follow.
    fn at_next(&self) -> Option<&'a str> {
        let rest = match self.is_at_value {
            true => skip_value(self.rest)?,
            false => self.rest,
        };
        let rest = skip_space(rest);
        Some(rest.strip_prefix(',').unwrap_or(rest))
    }

    fn give(&mut self, rest: &'a str) -> Value<'a> {
        let text = skip_space(rest);
        (self.rest, self.is_at_value) = (text, true);
        Value { text }
    }
}

/// The members of an object, in the text's order.
#[derive(Clone, Debug)]
pub struct Members<'a>(Inside<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (Text<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (Token::String(key), rest) = next(self.0.at_next()?).ok()?? else {
            return None;
        };
        let (Token::Colon, rest) = next(rest).ok()?? else {
            return None;
        };
        Some((key, self.0.give(rest)))
    }
}

/// The items of an array, in the text's order.
#[derive(Clone, Debug)]
pub struct Items<'a>(Inside<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let rest = skip_space(self.0.at_next()?);
        match rest.starts_with(']') {
            true => None,
            false => Some(self.0.give(rest)),
        }
    }
}

/// Why a document is refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError<'a> {
    /// Line, from 1.
    pub line: usize,
    /// Bytes from the start of the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub fault: JsonFault<'a>,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFault<'a> {
    /// A byte that is not UTF-8.
    NotUtf8,
    /// It ends before its outermost value does.
    Truncated,
    /// Something else should stand here.
    Expected(&'static str),
    /// A control character that is not escaped, in a string.
    Control,
    /// A backslash and what is no escape sequence, or half of a surrogate pair.
    Escape,
    /// More than [`MAX_DEPTH`] objects and arrays inside each other.
    TooDeep,
    /// A key that the object has already.
    Duplicate(Text<'a>),
    /// More than [`MAX_KEYS`] keys in objects that are inside each other.
    TooManyKeys,
}

impl fmt::Display for JsonError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}: ", self.line, self.column)?;
        match self.fault {
            JsonFault::NotUtf8 => f.write_str("not UTF-8"),
            JsonFault::Truncated => f.write_str("the file ends in the middle of a value"),
            JsonFault::Expected(what) => write!(f, "{what} should stand here"),
            JsonFault::Control => f.write_str("a control character in a string is not escaped"),
            JsonFault::Escape => f.write_str("this is not an escape sequence"),
            JsonFault::TooDeep => write!(f, "nested deeper than {MAX_DEPTH}"),
            JsonFault::Duplicate(key) => write!(f, "the key \"{key}\" comes twice"),
            JsonFault::TooManyKeys => write!(f, "more than {MAX_KEYS} keys around one place"),
        }
    }
}

impl core::error::Error for JsonError<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value<'_> {
        check(text.as_bytes()).unwrap()
    }

    #[test]
    fn members_are_found_by_path_past_nested_values() {
        let value = read(
            r#" { "a" : {"x": [{}, [1, {"b": 2}], "}"]} , "b": {"c": {"d": true}}, "n": null } "#,
        );
        assert!(matches!(
            value.at("b.c.d").unwrap().node(),
            Node::Bool(true)
        ));
        assert!(value.at("b.x.d").is_none());
        assert!(value.member("n").is_none());
        assert!(value.at("b.c.d.e").is_none());
    }

    #[test]
    fn items_come_in_order() {
        let value = read(r#"[1, "two", [3], {"four": 4}, null, false]"#);
        let Node::Array(items) = value.node() else {
            panic!()
        };
        let kinds: Vec<_> = items.map(|item| format!("{:?}", item.node())).collect();
        assert_eq!(kinds.len(), 6);
        assert_eq!(kinds[0], r#"Number("1")"#);
        assert_eq!(kinds[5], "Bool(false)");
    }

    #[test]
    fn a_value_can_be_had_as_it_is_written() {
        let value = read(r#"{"a" : { "b": "}\u0041" , "c" : [1 ]} , "d": 7.0}"#);
        let written = |name| value.member(name).unwrap().as_written();
        assert_eq!(written("a"), r#"{ "b": "}\u0041" , "c" : [1 ]}"#);
        assert_eq!(written("d"), "7.0");
    }

    #[test]
    fn an_escaped_key_is_the_same_key() {
        assert!(read(r#"{"\u0061rgs": 1}"#).member("args").is_some());
    }

    #[test]
    fn what_says_nothing_is_empty() {
        for text in [
            "null",
            "false",
            "0",
            "\"\"",
            "[]",
            "{}",
            r#"{"a": {"b": []}, "c": 0}"#,
        ] {
            assert!(read(text).is_empty(), "{text}");
        }
        for text in [
            "true",
            "1",
            "0.5",
            "\"a\"",
            "[0]",
            r#"{"a": {"b": [null]}}"#,
        ] {
            assert!(!read(text).is_empty(), "{text}");
        }
    }
}
