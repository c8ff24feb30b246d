//! Trees of files that are to become a file system.

use std::fs::{self, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

/// A tree of files: in memory, copied from the host, or both. Later entries replace earlier ones of
/// the same path, and parent directories come by themselves.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    entries: Vec<(PathBuf, Entry)>,
}

#[derive(Debug, Clone)]
enum Entry {
    Directory,
    File { content: Vec<u8>, mode: u32 },
    Copy(PathBuf),
    Symlink(PathBuf),
    Socket,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory.
    pub fn directory(self, path: impl Into<PathBuf>) -> Self {
        self.with(path, Entry::Directory)
    }

    /// A file with this content, mode 0644.
    pub fn file(self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.with(
            path,
            Entry::File {
                content: content.into(),
                mode: 0o644,
            },
        )
    }

    /// A file with this content, mode 0755.
    pub fn executable(self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.with(
            path,
            Entry::File {
                content: content.into(),
                mode: 0o755,
            },
        )
    }

    /// A copy of a file or of a whole directory of the host.
    pub fn copy(self, from: impl Into<PathBuf>, path: impl Into<PathBuf>) -> Self {
        self.with(path, Entry::Copy(from.into()))
    }

    /// A symbolic link. vfat has none: there it becomes a copy of what it leads to.
    pub fn symlink(self, path: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        self.with(path, Entry::Symlink(target.into()))
    }

    /// A socket that nobody listens at. vfat can hold none.
    pub fn socket(self, path: impl Into<PathBuf>) -> Self {
        self.with(path, Entry::Socket)
    }

    fn with(mut self, path: impl Into<PathBuf>, entry: Entry) -> Self {
        self.entries.push((path.into(), entry));
        self
    }

    /// Makes the tree in an existing, empty directory of the host. All times are the same, so that
    /// the same tree gives the same file system.
    ///
    /// # Errors
    /// A path that leads out of the directory, a file that cannot be copied or written.
    pub fn make(&self, root: &Path) -> Result<()> {
        for (path, entry) in &self.entries {
            let relative = path.strip_prefix("/").unwrap_or(path);
            let is_below = relative
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            ensure!(is_below, "{}: a path in a tree has no `..`", path.display());
            let to = root.join(relative);
            entry
                .make(&to)
                .with_context(|| format!("add {} to the tree", path.display()))?;
        }
        fix_times(root)
    }
}

impl Entry {
    fn make(&self, to: &Path) -> Result<()> {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        match self {
            Self::Directory => fs::create_dir_all(to)?,
            Self::File { content, mode } => {
                fs::write(to, content)?;
                fs::set_permissions(to, Permissions::from_mode(*mode))?;
            }
            Self::Copy(from) => copy(from, to)?,
            Self::Symlink(target) => symlink(target, to)?,
            Self::Socket => drop(UnixListener::bind(to)?),
        }
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let kind = from
        .symlink_metadata()
        .with_context(|| from.display().to_string())?
        .file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        ensure!(
            kind.is_file(),
            "{} is no file, directory or link",
            from.display()
        );
        fs::copy(from, to).with_context(|| from.display().to_string())?;
    }
    Ok(())
}

/// The earliest time that vfat can tell.
const EPOCH: Duration = Duration::from_secs(315_532_800);

fn fix_times(path: &Path) -> Result<()> {
    let kind = path.symlink_metadata()?.file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            fix_times(&entry?.path())?;
        }
    }
    if kind.is_dir() || kind.is_file() {
        let time = SystemTime::UNIX_EPOCH + EPOCH;
        let times = FileTimes::new().set_accessed(time).set_modified(time);
        fs::File::open(path)?.set_times(times)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_is_made_with_its_parents_modes_and_links() {
        let root = tempfile::tempdir().unwrap();
        let tree = Tree::new()
            .file("etc/os/name", "berth")
            .executable("/bin/tool", "x")
            .symlink("bin/alias", "tool")
            .directory("proc");
        tree.make(root.path()).unwrap();
        let at = |path: &str| root.path().join(path);
        assert_eq!(fs::read(at("etc/os/name")).unwrap(), b"berth");
        assert_eq!(
            at("bin/tool").metadata().unwrap().permissions().mode() & 0o777,
            0o755
        );
        assert_eq!(fs::read_link(at("bin/alias")).unwrap(), Path::new("tool"));
        assert!(at("proc").is_dir());
    }

    #[test]
    fn directory_is_copied_whole() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Tree::new()
            .file("a/b", "1")
            .symlink("a/c", "b")
            .make(from.path())
            .unwrap();
        Tree::new()
            .copy(from.path(), "containers")
            .make(to.path())
            .unwrap();
        assert_eq!(fs::read(to.path().join("containers/a/b")).unwrap(), b"1");
        assert_eq!(
            fs::read_link(to.path().join("containers/a/c")).unwrap(),
            Path::new("b")
        );
    }

    #[test]
    fn path_that_leaves_the_tree_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = Tree::new()
            .file("../x", "")
            .make(root.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("no `..`"), "{error}");
    }

    #[test]
    fn missing_source_is_named() {
        let root = tempfile::tempdir().unwrap();
        let error = Tree::new()
            .copy("/no/such/file", "x")
            .make(root.path())
            .unwrap_err();
        assert!(format!("{error:#}").contains("/no/such/file"), "{error:#}");
    }
}
