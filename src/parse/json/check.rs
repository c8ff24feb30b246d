//! The grammar, and the bounds that make reading safe.

use heapless::Vec;

use super::lex::{Kind, Token, next, skip_space};
use super::{JsonError, JsonFault, Text, Value};

/// As many objects and arrays may stand inside each other. An OCI configuration has 6.
pub const MAX_DEPTH: usize = 32;

/// As many keys may come before any one place in its object and in all objects around that. They are
/// kept to be compared with.
pub const MAX_KEYS: usize = 256;

/// An object or array whose end has not been seen.
#[derive(Clone, Copy)]
struct Open {
    kind: Kind,
    /// How many keys belong to those around it.
    keys_around: usize,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ItemOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

impl Expect {
    fn text(self) -> &'static str {
        match self {
            Self::Value => "a JSON value",
            Self::ItemOrEnd => "a JSON value or \"]\"",
            Self::Key => "a key in quotes",
            Self::KeyOrEnd => "a key in quotes or \"}\"",
            Self::Colon => "\":\"",
            Self::CommaOrEnd => "\",\" or a closing bracket",
            Self::Nothing => "nothing more",
        }
    }
}

/// Checks a whole document: UTF-8, grammar, depth, keys that come twice.
///
/// # Errors
/// The first fault, with its place.
pub fn check(bytes: &[u8]) -> Result<Value<'_>, JsonError<'_>> {
    let fault_at = |offset, fault| {
        let before = bytes.get(..offset).unwrap_or_default();
        let line_start = before.iter().rposition(|b| *b == b'\n');
        let in_line = line_start.map_or(offset, |at| offset.saturating_sub(at).saturating_sub(1));
        JsonError {
            line: before
                .iter()
                .filter(|b| **b == b'\n')
                .count()
                .saturating_add(1),
            column: in_line.saturating_add(1),
            fault,
        }
    };
    let text =
        core::str::from_utf8(bytes).map_err(|e| fault_at(e.valid_up_to(), JsonFault::NotUtf8))?;
    let mut grammar = Grammar {
        open: Vec::new(),
        keys: Vec::new(),
        expect: Expect::Value,
    };
    let mut rest = text;
    loop {
        let here = skip_space(rest);
        let refuse = |fault| fault_at(bytes.len().saturating_sub(here.len()), fault);
        match next(here).map_err(refuse)? {
            Some((token, after)) => {
                grammar.accept(token).map_err(refuse)?;
                rest = after;
            }
            None if grammar.expect == Expect::Nothing => break,
            None => return Err(refuse(JsonFault::Truncated)),
        }
    }
    let text = skip_space(text);
    Ok(Value { text })
}

struct Grammar<'a> {
    open: Vec<Open, MAX_DEPTH>,
    keys: Vec<Text<'a>, MAX_KEYS>,
    expect: Expect,
}

impl<'a> Grammar<'a> {
    fn accept(&mut self, token: Token<'a>) -> Result<(), JsonFault<'a>> {
        use Expect::{Colon, CommaOrEnd, ItemOrEnd, Key, KeyOrEnd, Value};
        let inner = self.open.last().map(|open| open.kind);
        self.expect = match (self.expect, token) {
            (Value | ItemOrEnd, Token::Open(kind)) => self.begin(kind)?,
            (ItemOrEnd, Token::Close(Kind::Array)) => self.end(),
            (KeyOrEnd, Token::Close(Kind::Object)) => self.end(),
            (CommaOrEnd, Token::Close(kind)) if Some(kind) == inner => self.end(),
            (CommaOrEnd, Token::Comma) if inner == Some(Kind::Object) => Key,
            (CommaOrEnd, Token::Comma) => Value,
            (Key | KeyOrEnd, Token::String(key)) => self.key(key)?,
            (Colon, Token::Colon) => Value,
            (
                Value | ItemOrEnd,
                Token::String(_) | Token::Number(_) | Token::Bool(_) | Token::Null,
            ) => self.after_value(),
            (expect, _) => return Err(JsonFault::Expected(expect.text())),
        };
        Ok(())
    }

    fn begin(&mut self, kind: Kind) -> Result<Expect, JsonFault<'a>> {
        let open = Open {
            kind,
            keys_around: self.keys.len(),
        };
        self.open.push(open).map_err(|_| JsonFault::TooDeep)?;
        Ok(match kind {
            Kind::Object => Expect::KeyOrEnd,
            Kind::Array => Expect::ItemOrEnd,
        })
    }

    fn end(&mut self) -> Expect {
        if let Some(ended) = self.open.pop() {
            self.keys.truncate(ended.keys_around);
        }
        self.after_value()
    }

    fn after_value(&self) -> Expect {
        match self.open.is_empty() {
            true => Expect::Nothing,
            false => Expect::CommaOrEnd,
        }
    }

    fn key(&mut self, key: Text<'a>) -> Result<Expect, JsonFault<'a>> {
        let around = self.open.last().map_or(0, |object| object.keys_around);
        if self.keys.iter().skip(around).any(|known| *known == key) {
            return Err(JsonFault::Duplicate(key));
        }
        self.keys.push(key).map_err(|_| JsonFault::TooManyKeys)?;
        Ok(Expect::Colon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: impl AsRef<[u8]>) -> String {
        check(text.as_ref()).unwrap_err().to_string()
    }

    #[test]
    fn documents_of_the_grammar_are_accepted() {
        for text in [
            "0",
            "-0.5e+10",
            "1E5",
            "\"\"",
            " null\r\n",
            "[]",
            "[[],[]]",
            "{}",
            "[1, 2]",
            r#"{"a": {"b": [true, false]}, "c": {"a": 1}}"#,
        ] {
            assert!(check(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for (text, expected) in [
            (
                "",
                "line 1 column 1: the file ends in the middle of a value",
            ),
            (
                "{\"a\": tr",
                "line 1 column 7: the file ends in the middle of a value",
            ),
            (
                "{\"a\": \"b",
                "line 1 column 7: the file ends in the middle of a value",
            ),
            (
                "{\n \"a\": 1\n",
                "line 3 column 1: the file ends in the middle of a value",
            ),
            ("{\"a\" 1}", "line 1 column 6: \":\" should stand here"),
            ("{a: 1}", "line 1 column 2: a JSON value should stand here"),
            (
                "{1: 1}",
                "line 1 column 2: a key in quotes or \"}\" should stand here",
            ),
            (
                "{\"a\": 1,}",
                "line 1 column 9: a key in quotes should stand here",
            ),
            ("[1,]", "line 1 column 4: a JSON value should stand here"),
            (
                "[1 2]",
                "line 1 column 4: \",\" or a closing bracket should stand here",
            ),
            (
                "[01]",
                "line 1 column 3: \",\" or a closing bracket should stand here",
            ),
            (
                "[1}",
                "line 1 column 3: \",\" or a closing bracket should stand here",
            ),
            ("[1.]", "line 1 column 2: a digit should stand here"),
            ("{} x", "line 1 column 4: a JSON value should stand here"),
            ("{} {}", "line 1 column 4: nothing more should stand here"),
            (
                "\"a\nb\"",
                "line 1 column 1: a control character in a string is not escaped",
            ),
            ("\"\\x\"", "line 1 column 1: this is not an escape sequence"),
            (
                "\u{feff}{}",
                "line 1 column 1: a JSON value should stand here",
            ),
        ] {
            assert_eq!(refusal(text), expected, "{text}");
        }
        assert_eq!(
            refusal(b"{\n\"a\": \"\xff\"}"),
            "line 2 column 7: not UTF-8"
        );
    }

    #[test]
    fn a_key_that_comes_twice_is_refused_at_any_level_and_in_any_spelling() {
        let inner = refusal(r#"{"a": {"b": 0}, "c": [{"b": 1, "b": 2}]}"#);
        assert_eq!(inner, "line 1 column 32: the key \"b\" comes twice");
        let outer = refusal(r#"{"b": [{"b": 0}], "bc": 0, "b": 2}"#);
        assert_eq!(outer, "line 1 column 28: the key \"b\" comes twice");
        assert!(refusal(r#"{"b": 1, "\u0062": 2}"#).ends_with(r#"the key "\u0062" comes twice"#));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(
            refusal(nested(MAX_DEPTH + 1)),
            "line 1 column 33: nested deeper than 32"
        );
        assert!(refusal("{\"a\":".repeat(10_000)).ends_with("nested deeper than 32"));
    }

    #[test]
    fn the_keys_around_a_place_are_bounded() {
        let object = |keys: usize, inner: &str| {
            let members: String = (0..keys).map(|i| format!("\"k{i}\": 0, ")).collect();
            format!("{{{members}\"inner\": {inner}}}")
        };
        assert!(check(object(MAX_KEYS - 1, "{}").as_bytes()).is_ok());
        let many = "line 1 column 2707: more than 256 keys around one place";
        assert_eq!(refusal(object(MAX_KEYS - 1, r#"{"a": 0}"#)), many);
        let half = object(MAX_KEYS / 2, "0");
        assert!(check(format!("[{half}, {half}, {half}]").as_bytes()).is_ok());
    }
}
