//! Lists of strings that are for a program. They may be long, so they stay where they are: in the
//! document, or on the command line.

use super::error::Field;
use super::reader::{Reader, Refused, Use};
use crate::parse::json::{Items, Node, Text, Value};

/// The strings of a list, none of which has a NUL in it.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    list: Option<Value<'a>>,
    /// What comes behind those of the list.
    more: &'a [&'a str],
}

impl<'a> Strings<'a> {
    /// None.
    pub(super) const NONE: Self = Self {
        list: None,
        more: &[],
    };

    /// Those that are not from a document.
    pub(super) const fn of(strings: &'a [&'a str]) -> Self {
        Self::NONE.with(strings)
    }

    /// Those of the document, and these behind them.
    pub(super) const fn with(self, more: &'a [&'a str]) -> Self {
        Self { more, ..self }
    }

    /// The list of at most `limit` items; `path` ends in `[]` for them.
    #[inline(never)]
    pub(super) fn read(
        reader: &Reader<'a>,
        list: Value<'a>,
        path: &'static str,
        limit: usize,
    ) -> Result<Self, Refused> {
        for (index, item) in reader.items(list, path.into())?.strings().enumerate() {
            let field = Field::item(path, index);
            if index >= limit {
                return Err(reader.too_many(path, limit));
            }
            let text = item.ok_or_else(|| reader.not(field, "a string"))?;
            if Use::Argument.refuses(text) {
                return Err(reader.control(field));
            }
        }
        Ok(Self {
            list: Some(list),
            more: &[],
        })
    }

    /// The strings, in order.
    pub fn iter(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        let items = match self.list.map(|list| list.node()) {
            Some(Node::Array(items)) => Some(items),
            _ => None,
        };
        // All were looked at, and are strings.
        let strings = items.into_iter().flat_map(Items::strings);
        strings
            .flatten()
            .chain(self.more.iter().map(|text| Text::of(text)))
    }
}
