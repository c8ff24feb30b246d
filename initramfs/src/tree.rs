//! The module tree of one kernel release on the build machine.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::depmod;
use crate::index::Index;
use crate::kernel::Config;

/// The modules of one kernel release: where they are, how they depend on each other, how the kernel
/// was configured.
#[derive(Clone, Debug)]
pub struct ModuleTree {
    pub(crate) dir: PathBuf,
    pub(crate) release: String,
    pub(crate) index: Index,
    pub(crate) config: Option<Config>,
}

impl ModuleTree {
    /// Finds the modules of `release`, or of the only release there is, and reads their indexes.
    /// `dir` is a root that has `lib/modules` or `usr/lib/modules`, the directory of all releases,
    /// or the one of the release itself.
    ///
    /// Without a `modules.dep` all modules are read to make one, in memory; [`depmod::write`] keeps
    /// it for the next time. The kernel's configuration is read if it is where distributions put
    /// it, `boot/config-<release>` of the same root or `config` beside the modules.
    ///
    /// # Errors
    /// No release, or not the wanted one, or more than one and none wanted; an index that cannot be
    /// read. The message names what was looked for and what was found.
    pub fn open(dir: &Path, release: Option<&str>) -> Result<Self> {
        let (dir, release) = locate(dir, release)?;
        let index =
            read_index(&dir).with_context(|| format!("read indexes in {}", dir.display()))?;
        let config = find_config(&dir, &release)
            .map(|path| Config::read(&path))
            .transpose()?;
        Ok(Self {
            dir,
            release,
            index,
            config,
        })
    }

    /// Takes the kernel's configuration from this file.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn with_config(mut self, path: &Path) -> Result<Self> {
        self.config = Some(Config::read(path)?);
        Ok(self)
    }

    /// The release, as `uname -r` prints it.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The directory `…/lib/modules/<release>`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn is_release(dir: &Path) -> bool {
    dir.join("modules.dep").is_file() || dir.join("kernel").is_dir()
}

fn locate(dir: &Path, wanted: Option<&str>) -> Result<(PathBuf, String)> {
    let dir = fs::canonicalize(dir).with_context(|| format!("--modules-dir {}", dir.display()))?;
    let mut found = Vec::new();
    if is_release(&dir) {
        found.push(dir.clone());
    } else {
        for parent in [
            dir.clone(),
            dir.join("lib/modules"),
            dir.join("usr/lib/modules"),
        ] {
            let children = fs::read_dir(&parent).into_iter().flatten().flatten();
            let children = children.filter_map(|child| fs::canonicalize(child.path()).ok());
            found.extend(children.filter(|child| is_release(child)));
        }
        found.sort_unstable();
        // With a merged /usr both names lead to the same directory.
        found.dedup();
    }
    let name = |path: &PathBuf| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let releases: Vec<String> = found.iter().map(name).collect();
    let chosen = match wanted {
        Some(wanted) => releases.iter().position(|release| release == wanted),
        None if found.len() == 1 => Some(0),
        None => None,
    };
    if let Some(chosen) = chosen {
        return Ok((found.swap_remove(chosen), releases[chosen].clone()));
    }
    let dir = dir.display();
    match wanted {
        _ if found.is_empty() => bail!(
            "no kernel modules in {dir}: looked for modules.dep or kernel/ in it, in its directories, and in those of lib/modules and usr/lib/modules below it"
        ),
        Some(wanted) => bail!(
            "no modules of kernel {wanted} in {dir}: it has {}",
            releases.join(", ")
        ),
        None => bail!(
            "several kernels in {dir}: choose one with --kernel-release: {}",
            releases.join(", ")
        ),
    }
}

fn read_index(dir: &Path) -> Result<Index> {
    let mut generated = if dir.join("modules.dep").is_file() {
        None
    } else {
        Some(depmod::generate(dir)?)
    };
    Index::read(&mut |name| {
        let made = generated
            .iter_mut()
            .flatten()
            .find(|(made, _)| *made == name);
        if let Some((_, text)) = made {
            return Ok(Some(std::mem::take(text).into_bytes()));
        }
        match fs::read(dir.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {name}")),
        }
    })
}

fn find_config(dir: &Path, release: &str) -> Option<PathBuf> {
    // The root is three or four levels up: lib/modules/<release>, usr/lib/modules/<release>.
    let roots = dir.ancestors().skip(3).take(2);
    let mut candidates: Vec<_> = roots
        .map(|root| root.join(format!("boot/config-{release}")))
        .collect();
    candidates.push(dir.join("config"));
    candidates.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Module, RELEASE, vfat_tree, write_tree};

    #[test]
    fn tree_is_found_from_every_level() {
        let root = tempfile::tempdir().unwrap();
        let dir = vfat_tree(root.path());
        for level in [root.path(), &root.path().join("lib/modules"), &dir] {
            let tree = ModuleTree::open(level, None).unwrap();
            assert_eq!(tree.release(), RELEASE);
            assert_eq!(tree.dir(), fs::canonicalize(&dir).unwrap());
            assert!(tree.index.modules.contains_key("vfat"));
        }
    }

    #[test]
    fn wrong_directory_is_told_what_was_looked_for() {
        let root = tempfile::tempdir().unwrap();
        let error = ModuleTree::open(root.path(), None).unwrap_err().to_string();
        assert!(error.starts_with("no kernel modules in "), "{error}");
        assert!(error.contains("usr/lib/modules"), "{error}");
    }

    #[test]
    fn several_releases_are_listed() {
        let root = tempfile::tempdir().unwrap();
        vfat_tree(root.path());
        fs::create_dir_all(root.path().join("usr/lib/modules/7.2/kernel")).unwrap();
        let error = ModuleTree::open(root.path(), None).unwrap_err().to_string();
        assert!(
            error.ends_with("choose one with --kernel-release: 6.1.0-9-test, 7.2"),
            "{error}"
        );
        let error = ModuleTree::open(root.path(), Some("6.2"))
            .unwrap_err()
            .to_string();
        assert!(error.ends_with(": it has 6.1.0-9-test, 7.2"), "{error}");
        assert_eq!(
            ModuleTree::open(root.path(), Some("7.2"))
                .unwrap()
                .release(),
            "7.2"
        );
    }

    #[test]
    fn written_indexes_say_the_same_as_those_made_in_memory() {
        let root = tempfile::tempdir().unwrap();
        let modules = [
            ("kernel/a.ko", Module::new("a").depends("b")),
            ("kernel/b.ko", Module::new("b")),
        ];
        let dir = write_tree(root.path(), &modules, None);
        let made = ModuleTree::open(&dir, None).unwrap();
        depmod::write(&dir).unwrap();
        let read = ModuleTree::open(&dir, None).unwrap();
        assert_eq!(made.index.modules, read.index.modules);
    }

    #[test]
    fn configuration_is_found_in_the_same_root() {
        let root = tempfile::tempdir().unwrap();
        let dir = vfat_tree(root.path());
        assert!(ModuleTree::open(&dir, None).unwrap().config.is_none());
        fs::create_dir(root.path().join("boot")).unwrap();
        let config = root.path().join(format!("boot/config-{RELEASE}"));
        fs::write(config, "CONFIG_RD_ZSTD=y\n").unwrap();
        let tree = ModuleTree::open(&dir, None).unwrap();
        assert!(tree.config.unwrap().is_set("CONFIG_RD_ZSTD"));
    }
}
