//! `modules.softdep`: modules that another one wants around it, but can do without.
//!
//! `softdep <module> pre: a b post: c` (modprobe.d(5)). Words before the first `pre:` or `post:`
//! name nothing, as in kmod; some modules carry such lines by mistake. A module may have several
//! lines and all of them count. Wanted names may be aliases, and may not exist.

use super::{IndexError, check, glob, lines};

/// A checked `modules.softdep`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Softdep<'a> {
    text: &'a str,
}

impl<'a> Softdep<'a> {
    /// Checks the whole file.
    ///
    /// # Errors
    /// The first line that is not `softdep <module> …`.
    pub fn new(file: &'a [u8]) -> Result<Self, IndexError> {
        let text = check("modules.softdep", file, |line| split(line).is_some())?;
        Ok(Self { text })
    }

    /// Takes a text that was checked before: look-ups skip a line of another form.
    #[must_use]
    pub const fn checked(text: &'a str) -> Self {
        Self { text }
    }

    /// What should be loaded before the module, in order.
    pub fn pre<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.section("pre:", name)
    }

    /// What should be loaded after the module, in order.
    pub fn post<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.section("post:", name)
    }

    fn section<'n>(
        &self,
        wanted: &'static str,
        name: &'n str,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        lines(self.text)
            .filter_map(split)
            .filter(move |(pattern, _)| glob::matches(pattern, name))
            .flat_map(move |(_, words)| {
                let mut section = "";
                words.split_ascii_whitespace().filter(move |word| {
                    let is_heading = matches!(*word, "pre:" | "post:");
                    if is_heading {
                        section = word;
                    }
                    !is_heading && section == wanted
                })
            })
    }
}

fn split(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("softdep ")?;
    let (name, words) = rest.split_once(' ').unwrap_or((rest, ""));
    (!name.is_empty()).then_some((name, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pre_and_post_are_read_from_all_lines_of_a_module() {
        let file = b"# Soft dependencies\nsoftdep a-b pre: x y post: z\nsoftdep c pre: n\n\
                     softdep a_b post: q pre: w\nsoftdep a_b lost\nsoftdep a_b\n";
        let softdep = Softdep::new(file).unwrap();
        assert_eq!(softdep.pre("a_b").collect::<Vec<_>>(), ["x", "y", "w"]);
        assert_eq!(softdep.post("a-b").collect::<Vec<_>>(), ["z", "q"]);
        assert_eq!(softdep.pre("d").count(), 0);
    }

    #[test]
    fn a_line_of_another_form_is_refused() {
        for file in [&b"softdep \n"[..], b"options a b\n"] {
            assert_eq!(Softdep::new(file).unwrap_err().line, 1);
        }
    }
}
