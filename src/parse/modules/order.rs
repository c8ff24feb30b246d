//! The order in which files are loaded so that a module works.
//!
//! Around a module stand the files that it needs (loaded before it, or it is rejected) and those
//! that it wants (softdeps, before or after it, which may be absent). The needed ones have wishes
//! of their own. The walk is that of modprobe(8): for a name, all needed files in modules.dep's
//! order and then the module itself, each surrounded by its softdeps.
//!
//! Softdeps may form circles. A file that the walk has begun is not begun again, which ends them
//! and also bounds the depth by the number of files that fit the result.

use core::fmt;

use heapless::Vec;

use super::{Alias, Builtin, Dep, Softdep, dep::Entry, module_name};

/// depmod's indexes of one kernel release. An index that does not exist is its type's default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Indexes<'a> {
    /// `modules.dep`.
    pub dep: Dep<'a>,
    /// `modules.softdep`.
    pub softdep: Softdep<'a>,
    /// `modules.alias`.
    pub alias: Alias<'a>,
    /// `modules.builtin`.
    pub builtin: Builtin<'a>,
}

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The files that it needs are in the list, some perhaps from before.
    Listed,
    /// It is part of the kernel.
    BuiltIn,
    /// No index knows it.
    Absent,
}

impl<'a> Indexes<'a> {
    /// Appends to `files` what has to be loaded for the module or alias `name`, in order. A file
    /// that is in the list already is not listed again, so one list can serve many names.
    ///
    /// # Errors
    /// [`TooManyFiles`] when the list is full; it then holds a part of the order.
    pub fn load_order<const N: usize>(
        &self,
        name: &str,
        files: &mut Vec<&'a str, N>,
    ) -> Result<Outcome, TooManyFiles> {
        // In its place from the start: a list is large.
        let mut walk = Walk {
            indexes: self,
            begun: Vec::new(),
            files,
        };
        walk.begun.clone_from(walk.files);
        walk.name(name)
    }
}

struct Walk<'w, 'a, const N: usize> {
    indexes: &'w Indexes<'a>,
    /// Files in the list, and those that wait for their softdeps.
    begun: Vec<&'a str, N>,
    files: &'w mut Vec<&'a str, N>,
}

impl<'a, const N: usize> Walk<'_, 'a, N> {
    fn name(&mut self, name: &str) -> Result<Outcome, TooManyFiles> {
        let Indexes {
            dep,
            alias,
            builtin,
            ..
        } = self.indexes;
        if let Some(entry) = dep.lookup(name) {
            self.entry(entry)?;
            return Ok(Outcome::Listed);
        }
        // Aliases before built-ins, as in kmod: `crc32` is a library in the kernel and also the
        // alias of modules that are faster at it.
        let mut outcome = Outcome::Absent;
        for module in alias.lookup(name) {
            if let Some(entry) = dep.lookup(module) {
                self.entry(entry)?;
                outcome = Outcome::Listed;
            } else if outcome == Outcome::Absent && builtin.contains(module) {
                outcome = Outcome::BuiltIn;
            }
        }
        if outcome == Outcome::Absent && builtin.contains(name) {
            outcome = Outcome::BuiltIn;
        }
        Ok(outcome)
    }

    fn entry(&mut self, entry: Entry<'a>) -> Result<(), TooManyFiles> {
        if self.begun.contains(&entry.path) {
            return Ok(());
        }
        for path in entry.dependencies() {
            self.file(path)?;
        }
        self.file(entry.path)
    }

    /// One file with its softdeps around it. Its needs are listed: modules.dep names the indirect
    /// ones too.
    fn file(&mut self, path: &'a str) -> Result<(), TooManyFiles> {
        if self.begun.contains(&path) {
            return Ok(());
        }
        let full = TooManyFiles { limit: N };
        self.begun.push(path).map_err(|_| full)?;
        let softdep = self.indexes.softdep;
        for name in softdep.pre(module_name(path)) {
            self.name(name)?;
        }
        self.files.push(path).map_err(|_| full)?;
        for name in softdep.post(module_name(path)) {
            self.name(name)?;
        }
        Ok(())
    }
}

/// More files have to be loaded than the list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyFiles {
    /// The list's capacity.
    pub limit: usize,
}

impl fmt::Display for TooManyFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {} module files are to be loaded", self.limit)
    }
}

impl core::error::Error for TooManyFiles {}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &[u8] =
        b"k/vfat.ko: k/fat.ko\nk/fat.ko:\nk/top.ko: k/mid.ko k/low.ko\nk/mid.ko: k/low.ko\n\
                         k/low.ko:\nk/pre.ko: k/low.ko\nk/post.ko:\nk/a.ko:\nk/b.ko:\n";

    fn indexes() -> Indexes<'static> {
        Indexes {
            dep: Dep::new(DEP).unwrap(),
            softdep: Softdep::new(
                b"softdep mid pre: pre missing\nsoftdep top post: post ext4\n\
                  softdep a pre: b\nsoftdep b pre: a\n",
            )
            .unwrap(),
            alias: Alias::new(
                b"alias fs-vfat vfat\nalias fs-both a\nalias fs-both post\nalias fs-ext4 ext4\n",
            )
            .unwrap(),
            builtin: Builtin::new(b"k/ext4.ko\n").unwrap(),
        }
    }

    fn order(names: &[&str]) -> (Vec<&'static str, 16>, Outcome) {
        let mut files = Vec::new();
        let mut outcome = Outcome::Absent;
        for name in names {
            outcome = indexes().load_order(name, &mut files).unwrap();
        }
        (files, outcome)
    }

    #[test]
    fn needed_files_come_first_and_softdeps_around_their_module() {
        let (files, outcome) = order(&["top"]);
        assert_eq!(outcome, Outcome::Listed);
        assert_eq!(
            files,
            ["k/low.ko", "k/pre.ko", "k/mid.ko", "k/top.ko", "k/post.ko"]
        );
    }

    #[test]
    fn a_file_is_listed_once_for_all_names() {
        assert_eq!(
            order(&["vfat", "fat", "fs-vfat"]).0,
            ["k/fat.ko", "k/vfat.ko"]
        );
    }

    #[test]
    fn a_circle_of_softdeps_ends() {
        assert_eq!(order(&["a"]).0, ["k/b.ko", "k/a.ko"]);
    }

    #[test]
    fn an_alias_lists_all_that_answer_to_it() {
        assert_eq!(order(&["fs-both"]).0, ["k/b.ko", "k/a.ko", "k/post.ko"]);
    }

    #[test]
    fn built_in_and_absent_are_told_apart() {
        assert_eq!(order(&["ext4"]), (Vec::new(), Outcome::BuiltIn));
        assert_eq!(order(&["fs-ext4"]), (Vec::new(), Outcome::BuiltIn));
        assert_eq!(order(&["xfs"]), (Vec::new(), Outcome::Absent));
    }

    #[test]
    fn a_full_list_is_an_error_and_not_a_shorter_order() {
        let mut files: Vec<_, 2> = Vec::new();
        let error = indexes().load_order("top", &mut files).unwrap_err();
        assert_eq!(
            error.to_string(),
            "more than 2 module files are to be loaded"
        );
    }
}
