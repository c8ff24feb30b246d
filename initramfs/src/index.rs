//! kmod's text indexes of one kernel release: `modules.dep`, `modules.alias`, `modules.softdep`,
//! `modules.builtin` (modules.dep(5)), and `modules.builtin.modinfo`, the `.modinfo` of what is
//! built in.
//!
//! Names are kept as the kernel has them, with `_` for `-`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use crate::modinfo::{name_of, normal};

/// A line of `modules.dep`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Path below the release's directory.
    pub(crate) path: String,
    /// Names of all modules that must be loaded before, the first of them last.
    pub(crate) deps: Vec<String>,
}

/// The indexes of one release.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pub(crate) modules: BTreeMap<String, Module>,
    /// Pattern as written, and module.
    aliases: Vec<(String, String)>,
    /// The text after the module's name, one for each line.
    softdeps: BTreeMap<String, Vec<String>>,
    /// `None`: the release has no `modules.builtin`, so a name that is nowhere may still be built
    /// in.
    pub(crate) builtin: Option<BTreeSet<String>>,
    builtin_aliases: Vec<String>,
}

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// These modules: more than one if an alias matches several.
    Modules(Vec<String>),
    Builtin,
    Nowhere,
}

impl Index {
    /// Parses the indexes that `file` gives by name, such as `modules.dep`; it gives `None` for one
    /// that is absent.
    ///
    /// # Errors
    /// A line that is not of the format, with the file's name and the line's number, and what
    /// `file` fails with.
    pub(crate) fn read(file: &mut dyn FnMut(&str) -> Result<Option<Vec<u8>>>) -> Result<Self> {
        let mut text = |name: &str| -> Result<Option<String>> {
            let Some(bytes) = file(name)? else {
                return Ok(None);
            };
            Ok(Some(
                String::from_utf8(bytes)
                    .ok()
                    .with_context(|| format!("{name}: not UTF-8"))?,
            ))
        };
        let mut index = Self::default();
        index.parse_dep(&text("modules.dep")?.unwrap_or_default())?;
        index.parse_alias(&text("modules.alias")?.unwrap_or_default())?;
        index.parse_softdep(&text("modules.softdep")?.unwrap_or_default())?;
        if let Some(builtin) = text("modules.builtin")? {
            index.builtin = Some(builtin.lines().filter_map(name_of).collect());
        }
        if let Some(modinfo) = text("modules.builtin.modinfo")? {
            index.parse_builtin_modinfo(&modinfo);
        }
        Ok(index)
    }

    fn parse_dep(&mut self, text: &str) -> Result<()> {
        for (number, line) in lines(text) {
            let bad = || format!("modules.dep line {number}: not `path: paths`");
            let (path, deps) = line.split_once(':').with_context(bad)?;
            let name = name_of(path).with_context(bad)?;
            let deps = deps
                .split_whitespace()
                .map(|dep| name_of(dep).with_context(bad));
            let module = Module {
                path: path.to_owned(),
                deps: deps.collect::<Result<_>>()?,
            };
            self.modules.insert(name, module);
        }
        for module in self.modules.values() {
            let unknown = module
                .deps
                .iter()
                .find(|dep| !self.modules.contains_key(*dep));
            if let Some(dep) = unknown {
                bail!(
                    "modules.dep: {} needs {dep}, which has no line of its own",
                    module.path
                );
            }
        }
        Ok(())
    }

    fn parse_alias(&mut self, text: &str) -> Result<()> {
        for (number, line) in lines(text) {
            let alias = line
                .strip_prefix("alias ")
                .and_then(|rest| rest.rsplit_once(' '));
            let (pattern, name) = alias.with_context(|| {
                format!("modules.alias line {number}: not `alias pattern module`")
            })?;
            self.aliases.push((pattern.to_owned(), normal(name)));
        }
        Ok(())
    }

    fn parse_softdep(&mut self, text: &str) -> Result<()> {
        for (number, line) in lines(text) {
            let softdep = line
                .strip_prefix("softdep ")
                .and_then(|rest| rest.split_once(' '));
            let (name, text) = softdep.with_context(|| {
                format!("modules.softdep line {number}: not `softdep module text`")
            })?;
            self.softdeps
                .entry(normal(name))
                .or_default()
                .push(text.to_owned());
        }
        Ok(())
    }

    fn parse_builtin_modinfo(&mut self, text: &str) {
        for pair in text.split('\0') {
            let Some((module, rest)) = pair.split_once('.') else {
                continue;
            };
            if let Some(alias) = rest.strip_prefix("alias=") {
                self.builtin_aliases.push(alias.to_owned());
            }
            self.builtin.get_or_insert_default().insert(normal(module));
        }
    }

    /// Looks a name up in modprobe's order: module, alias of a module, built in, alias of a
    /// built-in.
    pub(crate) fn find(&self, name: &str) -> Found {
        let name = normal(name);
        if self.modules.contains_key(&name) {
            return Found::Modules(vec![name]);
        }
        let mut modules = Vec::new();
        for (pattern, module) in &self.aliases {
            if matches(pattern, &name)
                && self.modules.contains_key(module)
                && !modules.contains(module)
            {
                modules.push(module.clone());
            }
        }
        if !modules.is_empty() {
            return Found::Modules(modules);
        }
        let builtin = self
            .builtin
            .as_ref()
            .is_some_and(|names| names.contains(&name));
        if builtin
            || self
                .builtin_aliases
                .iter()
                .any(|pattern| matches(pattern, &name))
        {
            return Found::Builtin;
        }
        Found::Nowhere
    }

    /// The names that a module's softdeps ask for, before it and after it; many stand for nothing
    /// on a given kernel.
    pub(crate) fn softdeps(&self, name: &str) -> Vec<&str> {
        let mut wanted = Vec::new();
        for text in self.softdeps.get(name).into_iter().flatten() {
            // As kmod has it, words before the first `pre:` or `post:` mean nothing.
            let mut active = false;
            for word in text.split_whitespace() {
                match word {
                    "pre:" | "post:" => active = true,
                    name if active => wanted.push(name),
                    _ => {}
                }
            }
        }
        wanted
    }

    /// The indexes as text for an image that has only the modules in `stored`, which gives the path
    /// of each there.
    pub(crate) fn trimmed(&self, stored: &BTreeMap<String, String>) -> [(&'static str, String); 3] {
        let mut dep = String::new();
        for (name, path) in stored {
            dep += &format!("{path}:");
            for dependency in self
                .modules
                .get(name)
                .into_iter()
                .flat_map(|module| &module.deps)
            {
                if let Some(path) = stored.get(dependency) {
                    dep += &format!(" {path}");
                }
            }
            dep += "\n";
        }
        let kept = self
            .aliases
            .iter()
            .filter(|(_, module)| stored.contains_key(module));
        let alias = kept
            .map(|(pattern, module)| format!("alias {pattern} {module}\n"))
            .collect();
        let kept = self
            .softdeps
            .iter()
            .filter(|(module, _)| stored.contains_key(*module));
        let softdep = kept
            .flat_map(|(module, texts)| {
                texts
                    .iter()
                    .map(move |text| format!("softdep {module} {text}\n"))
            })
            .collect();
        [
            ("modules.dep", dep),
            ("modules.alias", alias),
            ("modules.softdep", softdep),
        ]
    }

    /// Up to four known names that look like `name`, the nearest first.
    pub(crate) fn near_misses(&self, name: &str) -> Vec<&str> {
        let name = normal(name);
        let known = self.modules.keys().chain(self.builtin.iter().flatten());
        let mut near: Vec<_> = known
            .map(|known| (strsim::damerau_levenshtein(&name, known), known.as_str()))
            .filter(|(distance, known)| {
                *distance <= 2.min(name.len() / 2) || known.starts_with(&name)
            })
            .collect();
        near.sort_unstable();
        near.into_iter().map(|(_, known)| known).take(4).collect()
    }
}

/// Lines that say something, numbered from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = (1..).zip(text.lines().map(str::trim_end));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// A pattern with `_` for `-`, except in brackets, where `-` is a range.
fn normal_pattern(pattern: &str) -> String {
    let mut in_brackets = false;
    let normal = pattern.chars().map(|letter| {
        in_brackets = (in_brackets || letter == '[') && letter != ']';
        if letter == '-' && !in_brackets {
            '_'
        } else {
            letter
        }
    });
    normal.collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut pattern = normal_pattern(pattern);
    // Most aliases are plain names or differ early, and there are tens of thousands.
    let plain = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    if !name.starts_with(&pattern[..plain]) {
        return false;
    }
    if plain == pattern.len() {
        return pattern == name;
    }
    // In `glob` two stars mean directories and three are an error; here they mean what one does.
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    glob::Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        Index::read(&mut |name| {
            let text = match name {
                "modules.dep" => "kernel/a-b.ko.xz: kernel/c.ko\nkernel/c.ko:\n",
                "modules.alias" => {
                    "# x\nalias pci:v00001AF4d*sv* a-b\nalias fs-c c\nalias x[0-9]y** c\n"
                }
                "modules.softdep" => "softdep a_b junk pre: one two post: three\n",
                "modules.builtin" => "kernel/fs/ext4/ext4.ko\n",
                _ => "ext4.alias=fs-ext4\0virtio.license=GPL\0",
            };
            Ok(Some(text.into()))
        })
        .unwrap()
    }

    #[test]
    fn names_and_aliases_are_found_with_either_dash() {
        let index = index();
        let module = |name: &str| Found::Modules(vec![name.to_owned()]);
        assert_eq!(index.find("a-b"), module("a_b"));
        assert_eq!(index.find("a_b"), module("a_b"));
        assert_eq!(index.find("fs_c"), module("c"));
        assert_eq!(index.find("x7y"), module("c"));
        assert_eq!(index.find("pci:v00001AF4d00001004sv0"), module("a_b"));
        assert_eq!(index.find("ext4"), Found::Builtin);
        assert_eq!(index.find("fs-ext4"), Found::Builtin);
        assert_eq!(index.find("virtio"), Found::Builtin);
        assert_eq!(index.find("pci:v00001AF5d00001004sv0"), Found::Nowhere);
    }

    #[test]
    fn softdeps_are_the_words_after_pre_and_post() {
        assert_eq!(index().softdeps("a_b"), ["one", "two", "three"]);
    }

    #[test]
    fn near_misses_are_offered() {
        assert_eq!(index().near_misses("ext3"), ["ext4"]);
        assert_eq!(index().near_misses("virt"), ["virtio"]);
        assert!(index().near_misses("zfs").is_empty());
    }

    #[test]
    fn malformed_line_is_named() {
        for (file, text, error) in [
            (
                "modules.dep",
                "a.ko:\nb.ko\n",
                "modules.dep line 2: not `path: paths`",
            ),
            (
                "modules.dep",
                "a.ko: b\n",
                "modules.dep line 1: not `path: paths`",
            ),
            (
                "modules.dep",
                "a.ko: b.ko\n",
                "modules.dep: a.ko needs b, which has no line of its own",
            ),
            (
                "modules.alias",
                "#\nalias x\n",
                "modules.alias line 2: not `alias pattern module`",
            ),
            (
                "modules.softdep",
                "softdep a\n",
                "modules.softdep line 1: not `softdep module text`",
            ),
        ] {
            let read = Index::read(&mut |name| Ok((name == file).then(|| text.into())));
            assert_eq!(read.unwrap_err().to_string(), error);
        }
    }
}
