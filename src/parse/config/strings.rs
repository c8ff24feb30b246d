//! Lists of strings that are for a program. They may be long, so they stay where they are: in the document.

use super::error::Field;
use super::reader::{Reader, Refused, Use};
use crate::parse::json::{Node, Text, Value};

/// The strings of a list, none of which has a NUL in it.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a>(Option<Value<'a>>);

impl<'a> Strings<'a> {
    /// The list at `path`, which ends in `[]` for the items; of at most `limit` items.
    pub(super) fn read(
        reader: &Reader<'a>,
        object: Value<'a>,
        path: &'static str,
        limit: usize,
    ) -> Result<Self, Refused> {
        let name = path.strip_suffix("[]").unwrap_or(path);
        for (index, item) in reader.list(object, name, path.into())?.enumerate() {
            let field = Field::item(path, index);
            if index >= limit {
                return Err(reader.too_many(path, limit));
            }
            reader.text_for(item, field, Use::Argument)?;
        }
        Ok(Self(object.at(name)))
    }

    /// The strings, in order.
    pub fn iter(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        let items = match self.0.map(|list| list.node()) {
            Some(Node::Array(items)) => Some(items),
            _ => None,
        };
        items
            .into_iter()
            .flatten()
            .filter_map(|item| match item.node() {
                Node::String(text) => Some(text),
                // There are none: all were looked at.
                _ => None,
            })
    }
}
