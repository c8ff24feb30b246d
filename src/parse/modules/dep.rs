//! `modules.dep`: every module's file and the files that it needs.
//!
//! depmod writes the needed files whole, indirect ones included, in an order in which the last is
//! loaded first (modules.dep(5)).

use core::ops::Range;

use super::{IndexError, check, lines, module_name, same_name};

/// A checked `modules.dep`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dep<'a> {
    text: &'a str,
}

/// One module of `modules.dep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The module's file, relative to `/lib/modules/<release>` unless it begins with `/`.
    pub path: &'a str,
    needs: &'a str,
}

impl<'a> Dep<'a> {
    /// Checks the whole file: every line is `path:` and any number of paths.
    ///
    /// # Errors
    /// The first line that is not.
    pub fn new(file: &'a [u8]) -> Result<Self, IndexError> {
        let text = check("modules.dep", file, |line| entry(line).is_some())?;
        Ok(Self { text })
    }

    /// Takes a text that was checked before: look-ups skip a line of another form.
    #[must_use]
    pub const fn checked(text: &'a str) -> Self {
        Self { text }
    }

    /// The module of this name.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<Entry<'a>> {
        self.entries()
            .find(|entry| same_name(module_name(entry.path), name))
    }

    /// Where in the file this path stands, which came from it.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<Range<usize>> {
        let start = path
            .as_ptr()
            .addr()
            .checked_sub(self.text.as_ptr().addr())?;
        let place = start..start.checked_add(path.len())?;
        (self.at(place.clone()) == Some(path)).then_some(place)
    }

    /// The path at this place.
    #[must_use]
    pub fn at(&self, place: Range<usize>) -> Option<&'a str> {
        self.text.get(place)
    }

    /// All modules, in the file's order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        lines(self.text).filter_map(entry)
    }
}

impl<'a> Entry<'a> {
    /// The files that must be loaded before this one, in the order in which to load them.
    pub fn dependencies(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.needs.split_ascii_whitespace().rev()
    }
}

fn entry(line: &str) -> Option<Entry<'_>> {
    let (path, needs) = line.split_once(':')?;
    (!module_name(path).is_empty()).then_some(Entry { path, needs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_found_by_either_spelling_and_compression_does_not_matter() {
        let dep = Dep::new(b"k/snd-pcm.ko.xz: k/b.ko.xz k/a.ko.xz\nk/a.ko.xz:\n").unwrap();
        for name in ["snd-pcm", "snd_pcm"] {
            let entry = dep.lookup(name).unwrap();
            assert_eq!(entry.path, "k/snd-pcm.ko.xz");
            assert_eq!(
                entry.dependencies().collect::<Vec<_>>(),
                ["k/a.ko.xz", "k/b.ko.xz"]
            );
        }
        assert_eq!(dep.lookup("snd"), None);
        assert_eq!(dep.lookup(""), None);
        assert_eq!(dep.entries().count(), 2);
    }

    #[test]
    fn a_path_is_found_again_by_its_place() {
        let dep = Dep::new(b"k/b.ko: k/a.ko\nk/a.ko:\n").unwrap();
        let needed = dep.lookup("b").unwrap().dependencies().next().unwrap();
        assert_eq!(dep.place(needed), Some(8..14));
        assert_eq!(dep.at(8..14), Some("k/a.ko"));
        assert_eq!(dep.place("k/a.ko"), None);
        assert_eq!(dep.at(8..999), None);
    }

    #[test]
    fn a_line_without_a_name_is_refused() {
        for file in [&b":\n"[..], b"k/: a\n", b".ko:\n"] {
            assert_eq!(Dep::new(file).unwrap_err().line, 1);
        }
    }
}
