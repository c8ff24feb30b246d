//! The annotations `berth.landlock.*`: what a container may do with files and ports, whatever its
//! user and its mounts allow (Documentation/userspace-api/landlock.rst).
//!
//! Each of the three lists of paths gives rights on what lies beneath. With any of them, everything
//! else is denied; likewise each of the two lists of ports.

use crate::parse::number::number;

/// What a container may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Landlock<'a> {
    /// `berth.landlock.read`: what may be read.
    pub read: Paths<'a>,
    /// `berth.landlock.execute`: what may be read and executed.
    pub execute: Paths<'a>,
    /// `berth.landlock.write`: what may be read and changed.
    pub write: Paths<'a>,
    /// `berth.landlock.bind`: the TCP ports that may be listened on; `None` allows all.
    pub bind: Option<Ports<'a>>,
    /// `berth.landlock.connect`: the TCP ports that may be connected to; `None` allows all.
    pub connect: Option<Ports<'a>>,
}

impl Landlock<'_> {
    /// Nothing said.
    pub(super) const NONE: Self = Self {
        read: Paths(""),
        execute: Paths(""),
        write: Paths(""),
        bind: None,
        connect: None,
    };

    /// Whether access to files is confined.
    #[must_use]
    pub fn is_about_files(&self) -> bool {
        [self.read, self.execute, self.write]
            .iter()
            .any(|paths| !paths.0.is_empty())
    }

    /// Whether anything is confined.
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        self.is_about_files() || self.bind.is_some() || self.connect.is_some()
    }
}

/// Absolute paths, joined by colons as in `PATH`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paths<'a>(&'a str);

impl<'a> Paths<'a> {
    /// What a value of an annotation may be.
    pub(super) const ACCEPTS: &'static str = "absolute paths with a colon between them";

    /// Reads a list; `None` unless it has one path at least and all are absolute.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        text.split(':')
            .all(|path| path.starts_with('/'))
            .then_some(Self(text))
    }

    /// The paths, in order.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        // An empty text would be a list of one empty path.
        self.0.split(':').skip(usize::from(self.0.is_empty()))
    }
}

/// TCP ports, joined by commas. The empty list allows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports<'a>(&'a str);

impl<'a> Ports<'a> {
    /// What a value of an annotation may be.
    pub(super) const ACCEPTS: &'static str =
        "port numbers with a comma between them, or nothing for none";

    /// Reads a list.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let items = text.split(',').filter(|_| !text.is_empty());
        let mut numbers = items.map(number::<u16>);
        numbers
            .all(|number| matches!(number, Some(1..)))
            .then_some(Self(text))
    }

    /// The ports, in order.
    pub fn iter(self) -> impl Iterator<Item = u16> + use<'a> {
        self.0.split(',').filter_map(|item| item.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute() {
        let paths = |text| Paths::parse(text).map(|paths| paths.iter().collect::<Vec<_>>());
        assert_eq!(paths("/"), Some(vec!["/"]));
        assert_eq!(paths("/etc:/usr/share"), Some(vec!["/etc", "/usr/share"]));
        for text in ["", ":", "etc", "/etc:", "/etc::/usr", "/etc:usr"] {
            assert_eq!(paths(text), None, "{text}");
        }
        assert_eq!(Paths::default().iter().count(), 0);
    }

    #[test]
    fn ports_are_numbers_of_sixteen_bits() {
        let ports = |text| Ports::parse(text).map(|ports| ports.iter().collect::<Vec<_>>());
        assert_eq!(ports("80,443"), Some(vec![80, 443]));
        assert_eq!(ports("65535"), Some(vec![65535]));
        assert_eq!(ports(""), Some(vec![]));
        for text in ["0", "65536", "80,", "+80", "80-90", " 80", "http"] {
            assert_eq!(ports(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_is_confined_unless_asked_for() {
        let mut landlock = Landlock::default();
        assert!(!landlock.is_asked_for());
        landlock.connect = Ports::parse("");
        assert!(landlock.is_asked_for() && !landlock.is_about_files());
        landlock.read = Paths::parse("/etc").unwrap();
        assert!(landlock.is_about_files());
    }
}
