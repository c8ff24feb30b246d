//! The grammar, and the bounds that make reading safe.

use heapless::Vec;

use super::lex::{Cursor, Kind, Token};
use super::paths::{Branch, ROOT, branch};
use super::{JsonError, JsonFault, Text, Value};

/// As many objects and arrays may stand inside each other. An OCI configuration has 6.
pub const MAX_DEPTH: usize = 32;

/// As many keys may come before any one place in its object and in all objects around that. They
/// are kept to be compared with.
pub const MAX_KEYS: usize = 256;

/// An object or array whose end has not been seen.
#[derive(Clone, Copy)]
struct Open {
    kind: Kind,
    /// How many keys belong to those around it.
    keys_around: usize,
    /// Which of the paths that are looked for lead through it.
    branch: Option<u8>,
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
    check_and_find(bytes, &[], &mut [])
}

/// The same, and in the same pass finds what the paths of a tree lead to ([`super::tree`]), each in
/// its place. What is `null` is as good as not there.
///
/// # Errors
/// As well.
#[inline(never)]
pub fn check_and_find<'a>(
    bytes: &'a [u8],
    tree: &[Branch],
    found: &mut [Option<Value<'a>>],
) -> Result<Value<'a>, JsonError<'a>> {
    let text = core::str::from_utf8(bytes)
        .map_err(|error| error_at(bytes, error.valid_up_to(), JsonFault::NotUtf8))?;
    let mut cursor = Cursor::new(text);
    let mut grammar = Grammar {
        open: Vec::new(),
        keys: Vec::new(),
        has_escaped_key: false,
        expect: Expect::Value,
        tree,
        branch: (!tree.is_empty()).then_some(ROOT),
    };
    loop {
        cursor.skip_space();
        let at = cursor.at;
        let accepted = match cursor.next() {
            Ok(Some(token)) => grammar.accept(token),
            Ok(None) if grammar.expect == Expect::Nothing => break,
            Ok(None) => Err(JsonFault::Truncated),
            Err(fault) => Err(fault),
        };
        match accepted {
            Ok(None) => {}
            Ok(Some(branch)) => {
                let place = usize::from(branch).checked_sub(1);
                if let Some(place) = place.and_then(|place| found.get_mut(place)) {
                    *place = Some(Value {
                        text: text.get(at..).unwrap_or_default(),
                    });
                }
            }
            Err(fault) => return Err(error_at(bytes, at, fault)),
        }
        // What comes between most tokens.
        cursor.skip_space();
        let is_in_object = |open: &Open| open.kind == Kind::Object;
        grammar.expect = match (grammar.expect, cursor.peek()) {
            (Expect::Colon, Some(b':')) => Expect::Value,
            (Expect::CommaOrEnd, Some(b',')) => match grammar.open.last().is_some_and(is_in_object)
            {
                true => Expect::Key,
                false => Expect::Value,
            },
            _ => continue,
        };
        cursor.step();
    }
    Ok(Value {
        text: text.trim_start(),
    })
}

#[cold]
#[inline(never)]
fn error_at<'a>(bytes: &[u8], offset: usize, fault: JsonFault<'a>) -> JsonError<'a> {
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
}

struct Grammar<'a, 't> {
    open: Vec<Open, MAX_DEPTH>,
    keys: Vec<Text<'a>, MAX_KEYS>,
    /// Whether any key was escaped: then it does not suffice to compare what is written.
    has_escaped_key: bool,
    expect: Expect,
    tree: &'t [Branch],
    /// Where the value leads that comes next, if it is looked for.
    branch: Option<u8>,
}

impl<'a> Grammar<'a, '_> {
    /// What the token begins, if that is looked for.
    #[inline]
    fn accept(&mut self, token: Token<'a>) -> Result<Option<u8>, JsonFault<'a>> {
        use Expect::{CommaOrEnd, ItemOrEnd, Key, KeyOrEnd, Value};
        let inner = self.open.last().map(|open| open.kind);
        let branch = self.branch;
        self.expect = match (self.expect, token) {
            (Value | ItemOrEnd, Token::Open(kind)) => {
                self.begin(kind)?;
                return Ok(branch);
            }
            (
                Value | ItemOrEnd,
                Token::String(_) | Token::Number(_) | Token::Bool(_) | Token::Null,
            ) => {
                self.expect = self.after_value();
                return Ok(branch.filter(|_| !matches!(token, Token::Null)));
            }
            (ItemOrEnd, Token::Close(Kind::Array)) => self.end(),
            (KeyOrEnd, Token::Close(Kind::Object)) => self.end(),
            (CommaOrEnd, Token::Close(kind)) if Some(kind) == inner => self.end(),
            (Key | KeyOrEnd, Token::String(key)) => self.key(key)?,
            // Colons and commas are gone over where they may stand.
            (expect, _) => return Err(JsonFault::Expected(expect.text())),
        };
        Ok(None)
    }

    fn begin(&mut self, kind: Kind) -> Result<(), JsonFault<'a>> {
        let open = Open {
            kind,
            keys_around: self.keys.len(),
            branch: self.branch.take().filter(|_| kind == Kind::Object),
        };
        self.open.push(open).map_err(|_| JsonFault::TooDeep)?;
        self.expect = match kind {
            Kind::Object => Expect::KeyOrEnd,
            Kind::Array => Expect::ItemOrEnd,
        };
        Ok(())
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
        let object = self.open.last();
        let around = object.map_or(0, |object| object.keys_around);
        self.branch = object
            .and_then(|object| object.branch)
            .and_then(|within| branch(self.tree, within, key));
        self.has_escaped_key |= key.has_escape();
        let known = self.keys.get(around..).unwrap_or_default();
        let comes_twice = match self.has_escaped_key {
            false => known.iter().any(|known| known.is(key.written())),
            true => known.contains(&key),
        };
        if comes_twice {
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
