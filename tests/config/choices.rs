//! Decisions that are taken from bytes. A run of tests draws the bytes, and makes them fewer and
//! smaller when it has found something: zero is the plainest decision, and so is having no byte
//! left.

use serde_json::{Map, Value, json};

/// Bytes that have not decided anything yet.
pub(crate) struct Choices<'b>(&'b [u8]);

impl<'b> Choices<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// A number below `end`, which is at most 65536.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let low = usize::from(self.byte());
        let number = match end {
            ..=256 => low,
            _ => low | usize::from(self.byte()) << 8,
        };
        number % end
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    pub(crate) fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// A number from `first` to `last`, the ends more often than others.
    pub(crate) fn number(&mut self, first: i128, last: i128) -> Value {
        let number = match self.below(4) {
            0 => first,
            1 => last,
            2 => first + i128::from(self.byte()),
            _ => first + (0..8).fold(0, |number, _| number << 8 | i128::from(self.byte())),
        };
        let number = first + (number - first).rem_euclid(last - first + 1);
        match u64::try_from(number) {
            Ok(number) => json!(number),
            Err(_) => json!(i64::try_from(number).expect("64 bits")),
        }
    }

    pub(crate) fn list(
        &mut self,
        least: usize,
        most: usize,
        mut make: impl FnMut(&mut Self) -> Value,
    ) -> Value {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| make(self)).collect()
    }

    /// Some of these, in their order.
    pub(crate) fn some<T: Copy>(&mut self, items: &[T]) -> Vec<T> {
        items.iter().filter(|_| self.flag()).copied().collect()
    }

    /// An object with these members, or some of them.
    pub(crate) fn object(&mut self, members: &[Member<'_, 'b>]) -> Value {
        let mut object = Map::new();
        for Member(name, is_required, make) in members {
            if *is_required || self.flag() {
                object.insert((*name).to_owned(), make(self));
            }
        }
        Value::Object(object)
    }

    /// Text without control characters, not empty; what JSON writes in several ways among it.
    pub(crate) fn word(&mut self) -> String {
        const CHARS: &[char] = &[
            'a',
            'Z',
            '0',
            '-',
            '.',
            '_',
            ' ',
            '"',
            '\\',
            '/',
            '<',
            '&',
            '=',
            '\'',
            'é',
            '\u{a0}',
            '\u{2028}',
            '\u{feff}',
            '\u{fffd}',
            '\u{ffff}',
            '😀',
            '\u{10ffff}',
        ];
        let count = 1 + self.below(6);
        (0..count).map(|_| self.of(CHARS)).collect()
    }

    /// Text that may have anything in it but NUL; also nothing.
    pub(crate) fn text(&mut self) -> String {
        const CONTROLS: &[&str] = &["", "\n", "\t", "\x01", "\x1f", "\x7f", "\u{85}", "\r\n"];
        match self.below(4) {
            0 => self.word(),
            1 => String::new(),
            _ => format!("{}{}{}", self.word(), self.of(CONTROLS), self.word()),
        }
    }

    /// An absolute path without `.` and `..`.
    pub(crate) fn path(&mut self) -> String {
        let count = 1 + self.below(3);
        (0..count)
            .map(|_| format!("/x{}", self.word().replace('/', "x")))
            .collect()
    }
}

/// A member of an object: its name, whether it has to be there, and its value.
pub(crate) struct Member<'m, 'b>(
    pub(crate) &'static str,
    pub(crate) bool,
    pub(crate) &'m dyn Fn(&mut Choices<'b>) -> Value,
);
