//! JSON (RFC 8259), read in place: no tree, no allocation, no recursion over the text.
//!
//! [`mod@check`] goes over a document once and accepts it whole or not at all; what it refuses, it
//! names with line and column. The [`Value`]s that it gives are positions in the checked text, and
//! looking into them is lexing again, which cannot fail any more.
//!
//! Why not serde here? A bundle's configuration decides what a container may do, and others read
//! the same file. So a key that comes twice must be refused (readers differ in which one they
//! take), an escaped key must be the same key, a surrogate pair must be one character, an error
//! must say where, and a field that is known but unsupported must be seen whatever its shape.
//! serde-json-core does none of these, and a second reader beside it for them could disagree with
//! it.

use core::fmt;

mod check;
mod lex;
mod paths;
mod text;

pub use check::{MAX_DEPTH, MAX_KEYS, check, check_and_find};
pub use paths::{Branch, tree};
pub use text::{Scratch, Text, Unescaped};

use lex::{Cursor, Kind, Token};

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
    #[inline(never)]
    pub fn node(&self) -> Node<'a> {
        let mut cursor = Cursor::new(self.text);
        match cursor.next() {
            Ok(Some(Token::Open(Kind::Object))) => Node::Object(Members(Inside::new(cursor))),
            Ok(Some(Token::Open(Kind::Array))) => Node::Array(Items(Inside::new(cursor))),
            Ok(Some(Token::String(text))) => Node::String(text),
            Ok(Some(Token::Number(digits))) => Node::Number(digits),
            Ok(Some(Token::Bool(value))) => Node::Bool(value),
            // In a checked document nothing else begins a value.
            _ => Node::Null,
        }
    }

    fn is_null(&self) -> bool {
        self.text.as_bytes().first() == Some(&b'n')
    }

    /// The value's own text, as it stands in the document.
    #[must_use]
    pub fn as_written(&self) -> &'a str {
        let mut cursor = Cursor::new(self.text);
        // In a checked document a value has an end.
        let _ = cursor.skip_value();
        self.text.get(..cursor.at).unwrap_or(self.text)
    }

    /// The object's member of this name. `None` when there is none, when it is `null`, and when
    /// this is no object.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Value<'a>> {
        let Node::Object(mut members) = self.node() else {
            return None;
        };
        let (_, value) = members.find(|(key, _)| key.is(name))?;
        (!value.is_null()).then_some(value)
    }

    /// The object's members of these names, as [`Value::member`] has each, in one pass.
    #[must_use]
    pub fn members<const N: usize>(&self, names: &[&str; N]) -> [Option<Value<'a>>; N] {
        let mut found = [None; N];
        self.find_members(names, &mut found);
        found
    }

    /// The same; as many bytes as were gone over.
    #[inline(never)]
    fn find_members(&self, names: &[&str], found: &mut [Option<Value<'a>>]) -> usize {
        let Node::Object(mut members) = self.node() else {
            return 0;
        };
        for (key, value) in members.by_ref() {
            let place = names.iter().position(|name| paths::is_named(key, name));
            let place = place.and_then(|place| found.get_mut(place));
            if let Some(place) = place
                && !value.is_null()
            {
                *place = Some(value);
            }
        }
        members.0.cursor.at
    }

    /// What the paths of a tree lead to that go on from the name `from`, which this value is what
    /// it leads to.
    pub fn find_from(&self, tree: &[Branch], from: &str, found: &mut [Option<Value<'a>>]) {
        if let Some(branch) = paths::branch(tree, paths::ROOT, Text::of(from)) {
            self.find_within(tree, branch, found);
        }
    }

    /// What the paths of a tree lead to ([`tree`]), each in its place, in one pass.
    pub fn find(&self, tree: &[Branch], found: &mut [Option<Value<'a>>]) {
        self.find_within(tree, paths::ROOT, found);
    }

    #[inline(never)]
    fn find_within(&self, tree: &[Branch], within: u8, found: &mut [Option<Value<'a>>]) {
        let Node::Object(members) = self.node() else {
            return;
        };
        for (key, value) in members {
            let Some(branch) = paths::branch(tree, within, key).filter(|_| !value.is_null()) else {
                continue;
            };
            let place = usize::from(branch).checked_sub(1);
            if let Some(place) = place.and_then(|place| found.get_mut(place)) {
                *place = Some(value);
            }
            // As deep as the tree at most.
            if paths::leads_on(tree, branch) {
                value.find_within(tree, branch, found);
            }
        }
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
    cursor: Cursor<'a>,
    /// Whether that is at a value which was given out: it is skipped when another is asked for, and
    /// often none is.
    is_at_value: bool,
}

impl<'a> Inside<'a> {
    fn new(cursor: Cursor<'a>) -> Self {
        Self {
            cursor,
            is_at_value: false,
        }
    }

    /// Behind the last value and the comma that may follow. `None` at the end.
    #[inline(never)]
    fn advance(&mut self) -> Option<()> {
        if self.is_at_value {
            self.is_at_value = false;
            self.cursor.skip_value()?;
        }
        self.cursor.skip_space();
        if self.cursor.peek() == Some(b',') {
            self.cursor.step();
            self.cursor.skip_space();
        }
        (!matches!(self.cursor.peek(), None | Some(b']' | b'}'))).then_some(())
    }

    fn give(&mut self) -> Value<'a> {
        self.cursor.skip_space();
        self.is_at_value = true;
        Value {
            text: self.cursor.rest(),
        }
    }
}

/// The members of an object, in the text's order.
#[derive(Clone, Debug)]
pub struct Members<'a>(Inside<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (Text<'a>, Value<'a>);

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.advance()?;
        let key = self.0.cursor.key()?;
        Some((key, self.0.give()))
    }
}

/// The items of an array, in the text's order.
#[derive(Clone, Debug)]
pub struct Items<'a>(Inside<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.0.advance()?;
        Some(self.0.give())
    }
}

impl<'a> Items<'a> {
    /// [`Value::members`] of the item that was given last. It is not gone over again to find the
    /// next one.
    pub fn members<const N: usize>(
        &mut self,
        item: Value<'a>,
        names: &[&str; N],
    ) -> [Option<Value<'a>>; N] {
        let mut found = [None; N];
        let length = item.find_members(names, &mut found);
        let cursor = &mut self.0.cursor;
        if length > 0 && self.0.is_at_value && cursor.rest().len() == item.text.len() {
            // To its closing bracket.
            cursor.at = cursor.at.wrapping_add(length).wrapping_add(1);
            self.0.is_at_value = false;
        }
        found
    }

    /// The items as strings, `None` for one that is none. Each is gone over once.
    pub fn strings(self) -> Strings<'a> {
        Strings(self.0)
    }
}

/// The items of an array that should be strings, in the text's order.
#[derive(Clone, Debug)]
pub struct Strings<'a>(Inside<'a>);

impl<'a> Iterator for Strings<'a> {
    type Item = Option<Text<'a>>;

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.advance()?;
        if self.0.cursor.peek() == Some(b'"') {
            return self.0.cursor.string_of_checked().map(Some);
        }
        self.0.give();
        Some(None)
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
