//! Values of the section, each of the type that it must be; what is not there says nothing.

use super::{Pass, SECTION};
use crate::parse::config::error::{ConfigError, Field};
use crate::parse::json::{self, Node, Value};

impl<'a> Pass<'a, '_> {
    /// What this path leads to, from the whole configuration's root.
    pub(super) fn at(&self, path: &str) -> Option<Value<'a>> {
        // A section has few of them.
        let length = path.len().checked_sub(SECTION.len())?;
        let is_it = |known: &str| known.len() == length && path.ends_with(known);
        let (_, value) = self.found.iter().find(|(known, _)| is_it(known))?;
        Some(*value)
    }

    /// The items of a list, whose path ends in `[]`.
    #[inline(never)]
    pub(super) fn list(
        &mut self,
        path: &'static str,
    ) -> Option<impl Iterator<Item = Value<'a>> + use<'a>> {
        let list = path.strip_suffix("[]").and_then(|path| self.at(path));
        match list.map(|list| list.node()) {
            None => Some(None.into_iter().flatten()),
            Some(Node::Array(items)) => Some(Some(items).into_iter().flatten()),
            Some(_) => self.mistyped(path.into(), "a list"),
        }
    }

    pub(super) fn members(
        &self,
        path: &str,
    ) -> impl Iterator<Item = (json::Text<'a>, Value<'a>)> + use<'a> {
        let members = match self.at(path).map(|value| value.node()) {
            Some(Node::Object(members)) => Some(members),
            _ => None,
        };
        members.into_iter().flatten()
    }

    /// A limit: -1 for none, 0 when nothing is said.
    pub(super) fn limit(&mut self, path: &'static str) -> Option<i64> {
        match self.at(path) {
            None => Some(0),
            Some(value) => match self.signed(value, path.into())? {
                limit @ -1.. => Some(limit),
                _ => self.wrong(path, "it takes -1 or more"),
            },
        }
    }

    /// A number, 0 when nothing is said.
    pub(super) fn number(&mut self, path: &'static str, max: u64) -> Option<u64> {
        match self.at(path) {
            None => Some(0),
            Some(value) => self.whole(value, path.into(), max),
        }
    }

    /// A number that has to be there.
    pub(super) fn needed(
        &mut self,
        value: Option<Value<'a>>,
        field: Field,
        name: &'static str,
    ) -> Option<u64> {
        match value {
            Some(value) => self.whole(value, field, u64::MAX),
            None => self.fail(ConfigError::Needs { field, needs: name }),
        }
    }

    pub(super) fn signed(&mut self, value: Value<'a>, field: Field) -> Option<i64> {
        let digits = self.digits(value, field)?;
        let accepts = "a whole number of 64 bits";
        let number = digits.parse().ok();
        number.or_else(|| self.fail(ConfigError::bad(field, digits, accepts)))
    }

    pub(super) fn whole(&mut self, value: Value<'a>, field: Field, max: u64) -> Option<u64> {
        let digits = self.digits(value, field)?;
        let accepts = match max {
            u64::MAX => "a whole number of 64 bits, 0 or more",
            _ => "a smaller number, 0 or more",
        };
        let number = digits.parse().ok().filter(|number| *number <= max);
        number.or_else(|| self.fail(ConfigError::bad(field, digits, accepts)))
    }

    pub(super) fn digits(&mut self, value: Value<'a>, field: Field) -> Option<&'a str> {
        match value.node() {
            Node::Number(digits) => Some(digits),
            _ => self.mistyped(field, "a number"),
        }
    }

    pub(super) fn text(&mut self, value: Value<'a>, field: Field) -> Option<json::Text<'a>> {
        match value.node() {
            Node::String(text) => Some(text),
            _ => self.mistyped(field, "a string"),
        }
    }

    pub(super) fn boolean(&mut self, value: Value<'a>, field: Field) -> Option<bool> {
        match value.node() {
            Node::Bool(value) => Some(value),
            _ => self.mistyped(field, "true or false"),
        }
    }

    pub(super) fn object(&mut self, value: Value<'a>, field: Field) -> Option<()> {
        match value.node() {
            Node::Object(_) => Some(()),
            _ => self.mistyped(field, "an object"),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn mistyped<T>(&mut self, field: Field, expected: &'static str) -> Option<T> {
        self.fail(ConfigError::Type { field, expected })
    }

    pub(super) fn wrong<T>(&mut self, field: impl Into<Field>, why: &'static str) -> Option<T> {
        self.fail(ConfigError::wrong(field, why))
    }

    #[cold]
    pub(super) fn fail<T>(&mut self, error: ConfigError<'a>) -> Option<T> {
        self.error = Some(error);
        None
    }
}
