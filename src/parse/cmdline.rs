//! The kernel command line, split into words exactly as the kernel splits it.
//!
//! The rule is `next_arg()` in the kernel's `lib/cmdline.c`, and it is not a shell's. Words end at
//! white space outside double quotes. A quote may stand anywhere; it toggles, there is no escape.
//! The quotes around a value (`key="a b"`) or around a whole word (`"key=a b"`) are removed, any
//! other quote stays in the text. A quote that is never closed runs to the end of the line. The
//! first `=` that is not the word's first character separates key from value.
//!
//! The word `--` ends the options (`parse_args()` in `kernel/params.c`): what follows is meant for
//! the init program. Unlike the kernel, a second `--` among those is kept: it is an argument like
//! any other, and dropping all that follows it serves nobody.
//!
//! `-` and `_` are the same character in a key, see [`same_key`].
//!
//! Bytes that are not UTF-8, and NUL, are refused with their offset: every value on the line
//! becomes a path, a name or a number, and guessing at an encoding would only move the failure
//! further from its cause. (The kernel's `isspace()` also counts byte 0xA0, a no-break space in
//! Latin-1. In UTF-8 that is the second half of some letter, so here it is not white space.)

use core::fmt;

/// A command line that is known to be UTF-8 without NUL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cmdline<'a> {
    text: &'a str,
}

impl<'a> Cmdline<'a> {
    /// Takes the bytes of `/proc/cmdline` or of a defaults file; newlines are white space.
    ///
    /// # Errors
    /// The offset of the first NUL or of the first byte that is not UTF-8.
    pub fn new(bytes: &'a [u8]) -> Result<Self, CmdlineError> {
        let text = core::str::from_utf8(bytes).map_err(|e| CmdlineError::NotUtf8 {
            offset: e.valid_up_to(),
        })?;
        match text.bytes().position(|b| b == 0) {
            Some(offset) => Err(CmdlineError::Nul { offset }),
            None => Ok(Self { text }),
        }
    }

    /// The words before `--`.
    #[must_use]
    pub fn options(&self) -> Options<'a> {
        Options {
            words: Words { rest: self.text },
        }
    }

    /// The words after the first `--`, for the init program. `None` without a `--`.
    #[must_use]
    pub fn init_args(&self) -> Option<Words<'a>> {
        let mut words = Words { rest: self.text };
        words.by_ref().find(Word::ends_options).map(|_| words)
    }
}

/// One word: `key` or `key=value`, quotes already removed.
///
/// `Display` writes the word as a program would receive it in its `argv`: `key=value` in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// What stands before the `=`, or the whole word.
    pub key: &'a str,
    /// What stands after the `=`; `None` without one, `Some("")` when nothing follows it.
    pub value: Option<&'a str>,
}

impl Word<'_> {
    fn ends_options(&self) -> bool {
        self.key == "--" && self.value.is_none()
    }
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)?;
        match self.value {
            Some(value) => write!(f, "={value}"),
            None => Ok(()),
        }
    }
}

/// All words of a text, in order. `--` is a word like any other.
#[derive(Clone, Debug, Default)]
pub struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let start = self.rest.bytes().position(|b| !is_space(b));
        let text = start.and_then(|at| self.rest.get(at..)).unwrap_or_default();
        if text.is_empty() {
            self.rest = text;
            return None;
        }
        // A leading quote opens the word and is not part of it.
        let (text, quoted) = match text.strip_prefix('"') {
            Some(inner) => (inner, true),
            None => (text, false),
        };
        let mut in_quotes = quoted;
        let end = text.bytes().position(|b| {
            in_quotes ^= b == b'"';
            is_space(b) && !in_quotes
        });
        let (word, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
        self.rest = rest;
        Some(split_word(word, quoted))
    }
}

/// The words of a text up to the first `--`.
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    words: Words<'a>,
}

impl<'a> From<Words<'a>> for Options<'a> {
    fn from(words: Words<'a>) -> Self {
        Self { words }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let word = self.words.next()?;
        if word.ends_options() {
            self.words = Words::default();
            return None;
        }
        Some(word)
    }
}

/// Splits at the first `=` that is not the first character, and removes the outer quotes.
fn split_word(word: &str, quoted: bool) -> Word<'_> {
    let equals = word.bytes().skip(1).position(|b| b == b'=');
    let parts = equals.and_then(|before| word.split_at_checked(before.saturating_add(1)));
    let Some((key, value)) = parts else {
        let key = if quoted { strip_closing(word) } else { word };
        return Word { key, value: None };
    };
    let value = value.strip_prefix('=').unwrap_or(value);
    let value = match value.strip_prefix('"') {
        Some(inner) => strip_closing(inner),
        None if quoted => strip_closing(value),
        None => value,
    };
    Word {
        key,
        value: Some(value),
    }
}

/// Without one closing quote, if it ends in one.
fn strip_closing(text: &str) -> &str {
    text.strip_suffix('"').unwrap_or(text)
}

/// The kernel's `isspace()` without its Latin-1 no-break space.
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r')
}

/// Whether two keys are the same parameter: `-` and `_` are equal, as in the kernel's `parameq()`.
#[must_use]
pub fn same_key(a: &str, b: &str) -> bool {
    let fold = |b: u8| if b == b'-' { b'_' } else { b };
    a.len() == b.len() && a.bytes().map(fold).eq(b.bytes().map(fold))
}

/// Why a command line cannot be read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CmdlineError {
    /// A byte that is not part of UTF-8 text.
    NotUtf8 {
        /// Bytes from the start of the line.
        offset: usize,
    },
    /// A NUL byte, which no path and no name can hold.
    Nul {
        /// Bytes from the start of the line.
        offset: usize,
    },
}

impl fmt::Display for CmdlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 { offset } => write!(f, "byte {offset} is not UTF-8"),
            Self::Nul { offset } => write!(f, "byte {offset} is NUL"),
        }
    }
}

impl core::error::Error for CmdlineError {}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair<'a> = (&'a str, Option<&'a str>);

    fn words(text: &str) -> Vec<Pair<'_>> {
        let line = Cmdline::new(text.as_bytes()).unwrap();
        line.options().map(|w| (w.key, w.value)).collect()
    }

    fn args(text: &str) -> Option<Vec<String>> {
        let line = Cmdline::new(text.as_bytes()).unwrap();
        line.init_args()
            .map(|words| words.map(|w| w.to_string()).collect())
    }

    /// Besides these, every text of up to eight characters out of `a = " - space tab` was once
    /// compared with what the kernel's `next_arg()`, compiled on its own, yields: two million, no
    /// difference.
    #[test]
    fn words_split_as_the_kernel_splits_them() {
        let table: &[(&str, &[Pair])] = &[
            ("", &[]),
            ("  \t\n", &[]),
            ("quiet ro\n", &[("quiet", None), ("ro", None)]),
            ("a=b=c", &[("a", Some("b=c"))]),
            ("a=", &[("a", Some(""))]),
            ("=a", &[("=a", None)]),
            ("=a=b", &[("=a", Some("b"))]),
            ("==b", &[("=", Some("b"))]),
            (r#"a="b c" d"#, &[("a", Some("b c")), ("d", None)]),
            (r#""a=b c" d"#, &[("a", Some("b c")), ("d", None)]),
            (r#""a b" d"#, &[("a b", None), ("d", None)]),
            (r#"a=b" "c"#, &[("a", Some(r#"b" "c"#))]),
            (r#"a="b"c"#, &[("a", Some(r#"b"c"#))]),
            (r#"a"b=c"#, &[(r#"a"b"#, Some("c"))]),
            (r#"a="b c"#, &[("a", Some("b c"))]),
            (r#"a=""#, &[("a", Some(""))]),
            (r#"a="""#, &[("a", Some(""))]),
            (r#"""#, &[("", None)]),
            (r#""" b"#, &[("", None), ("b", None)]),
            (r#""a="b""#, &[("a", Some("b"))]),
            ("a\x0bb", &[("a", None), ("b", None)]),
            ("a=à b", &[("a", Some("à")), ("b", None)]),
        ];
        for (text, expected) in table {
            assert_eq!(words(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn double_dash_ends_the_options_and_begins_the_init_arguments() {
        let line = r#"root=/dev/sda1 -- single x="a b" -- "c d""#;
        assert_eq!(words(line), [("root", Some("/dev/sda1"))]);
        let expected = ["single", "x=a b", "--", "c d"].map(String::from);
        assert_eq!(args(line), Some(expected.to_vec()));
    }

    #[test]
    fn only_the_bare_double_dash_ends_the_options() {
        assert_eq!(words("--=x --y"), [("--", Some("x")), ("--y", None)]);
        assert_eq!(args("--=x --y"), None);
        assert_eq!(args("a --"), Some(vec![]));
        assert_eq!(args(r#"a "--" b"#), Some(vec!["b".into()]));
    }

    #[test]
    fn options_stay_ended() {
        let line = Cmdline::new(b"a -- b").unwrap();
        let mut options = line.options();
        assert_eq!(options.by_ref().count(), 1);
        assert_eq!(options.next(), None);
    }

    #[test]
    fn dash_and_underscore_are_one_character_in_a_key() {
        assert!(same_key("berth.on-failure", "berth.on_failure"));
        assert!(!same_key("root", "rootwait"));
        assert!(!same_key("root", "Root"));
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_with_their_offset() {
        let error = Cmdline::new(b"ab \xff").unwrap_err();
        assert_eq!(error.to_string(), "byte 3 is not UTF-8");
        let error = Cmdline::new(b"a\0b").unwrap_err();
        assert_eq!(error.to_string(), "byte 1 is NUL");
    }
}
