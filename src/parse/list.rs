//! Comma lists: `rootfstype=ext4,vfat`, `berth.modules=a,b`.

use core::fmt;

/// A comma list without empty items, kept as the text that was typed.
///
/// The default is the list without items; a typed list has at least one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List<'a> {
    text: &'a str,
}

impl<'a> List<'a> {
    /// The list without items.
    pub const NONE: Self = Self { text: "" };

    /// Takes a list whose every item is accepted by `is_item`. `None` for any other text; an empty
    /// item (`a,,b`, or an empty text) is never accepted.
    #[must_use]
    pub fn parse(text: &'a str, is_item: impl Fn(&'a str) -> bool) -> Option<Self> {
        text.split(',')
            .all(|item| !item.is_empty() && is_item(item))
            .then_some(Self { text })
    }

    /// The items, as typed and in that order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.text.split(',').filter(|item| !item.is_empty())
    }

    /// The list as it was typed.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_in_the_order_typed() {
        let list = List::parse("b,a,c", |_| true).unwrap();
        assert_eq!(list.iter().collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(list.to_string(), "b,a,c");
    }

    #[test]
    fn empty_and_unwelcome_items_are_refused() {
        for text in ["", ",", "a,", ",a", "a,,b"] {
            assert_eq!(List::parse(text, |_| true), None, "{text:?}");
        }
        assert_eq!(List::parse("a,b", |item| item != "b"), None);
    }

    #[test]
    fn the_default_list_has_no_items() {
        assert!(List::default().is_empty());
        assert_eq!(List::default().iter().count(), 0);
    }
}
