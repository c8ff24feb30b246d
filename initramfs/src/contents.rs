//! The image while it is being put together: what goes where, and who put it there.
//!
//! Two sources that want the same path are an error that names both, since which of them wins would
//! depend on order. Parent directories appear by themselves. Modes are reduced to what the image
//! needs, 0755 for what is executable and 0644 for what is not, so that the umask of the source
//! tree does not show.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail, ensure};

use crate::archive::{Entries, Entry};

struct Item {
    entry: Entry,
    /// Where it came from, for the message about a second one.
    origin: String,
    /// Line of the size table that counts it.
    group: String,
}

#[derive(Default)]
pub(crate) struct Contents(BTreeMap<String, Item>);

/// `dst` as a path of the archive: relative to the root, without `.`, and never above it.
pub(crate) fn image_path(dst: &Path) -> Result<String> {
    let mut parts = Vec::new();
    for component in dst.components() {
        match component {
            Component::Normal(part) => {
                let part = part.to_str();
                parts.push(part.with_context(|| format!("{}: not UTF-8", dst.display()))?);
            }
            Component::ParentDir => bail!("{}: `..` is not allowed here", dst.display()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(parts.join("/"))
}

impl Contents {
    /// Adds one entry and the directories above it.
    pub(crate) fn insert(
        &mut self,
        path: &str,
        entry: Entry,
        origin: &str,
        group: &str,
    ) -> Result<()> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            match self.0.get(parent) {
                Some(item) if item.entry.is_directory() => {}
                Some(item) => bail!(
                    "/{path} from {origin}: /{parent} is no directory, it comes from {}",
                    item.origin
                ),
                None => self.insert(parent, Entry::directory(), origin, "directories")?,
            }
        }
        if let Some(item) = self.0.get(path) {
            if item.entry.is_directory() && entry.is_directory() {
                return Ok(());
            }
            bail!(
                "/{path} is wanted twice: from {} and from {origin}",
                item.origin
            );
        }
        let item = Item {
            entry,
            origin: origin.to_owned(),
            group: group.to_owned(),
        };
        self.0.insert(path.to_owned(), item);
        Ok(())
    }

    /// Adds a file in place of whatever was at this path.
    pub(crate) fn replace(&mut self, path: &str, entry: Entry, group: &str) -> Result<()> {
        self.remove(path);
        self.insert(path, entry, "inline data", group)
    }

    /// Removes a file, or a directory with all that is in it; says whether there was one.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        let before = self.0.len();
        let below = format!("{path}/");
        self.0
            .retain(|other, _| other != path && !other.starts_with(&below));
        self.0.len() != before
    }

    /// Adds a file, or a directory with all that is in it. A symbolic link named by `src` itself is
    /// followed; those inside a directory are kept as links. A `dst` that ends in `/` is the
    /// directory to put a file in.
    pub(crate) fn add(&mut self, src: &Path, dst: &Path) -> Result<()> {
        let meta = fs::metadata(src).with_context(|| format!("add {}", src.display()))?;
        let mut path = image_path(dst)?;
        if meta.is_file() && dst.as_os_str().as_encoded_bytes().ends_with(b"/") {
            let name = src.file_name().unwrap_or_default();
            path = image_path(&dst.join(name))?;
        }
        if meta.is_dir() {
            return self.add_directory(src, &path);
        }
        ensure!(
            !path.is_empty(),
            "{}: a file cannot be the image's root",
            src.display()
        );
        self.add_one(src, &path, &meta)
    }

    fn add_directory(&mut self, src: &Path, path: &str) -> Result<()> {
        if !path.is_empty() {
            let entry = Entry::directory();
            self.insert(path, entry, &src.display().to_string(), "directories")?;
        }
        let listing =
            fs::read_dir(src).with_context(|| format!("read directory {}", src.display()))?;
        for child in listing {
            let child = child.with_context(|| format!("read directory {}", src.display()))?;
            let name = child.file_name();
            let name = name
                .to_str()
                .with_context(|| format!("{}: not UTF-8", child.path().display()))?;
            let path = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}/{name}")
            };
            let meta = child
                .metadata()
                .with_context(|| format!("stat {}", child.path().display()))?;
            self.add_one(&child.path(), &path, &meta)?;
        }
        Ok(())
    }

    fn add_one(&mut self, src: &Path, path: &str, meta: &fs::Metadata) -> Result<()> {
        let entry = if meta.is_dir() {
            return self.add_directory(src, path);
        } else if meta.is_symlink() {
            let target =
                fs::read_link(src).with_context(|| format!("read link {}", src.display()))?;
            Entry::symlink(target.into_os_string().into_encoded_bytes())
        } else if meta.is_file() {
            let data = fs::read(src).with_context(|| format!("read {}", src.display()))?;
            let executable = meta.permissions().mode() & 0o111 != 0;
            Entry::file(if executable { 0o755 } else { 0o644 }, data)
        } else {
            bail!(
                "{}: only files, directories and symbolic links can be added",
                src.display()
            );
        };
        self.insert(path, entry, &src.display().to_string(), "added files")
    }

    /// Files and bytes per group, in alphabetical order of the groups.
    pub(crate) fn groups(&self) -> BTreeMap<String, (usize, usize)> {
        let mut groups = BTreeMap::new();
        for item in self.0.values() {
            let (files, bytes) = groups.entry(item.group.clone()).or_insert((0, 0));
            *files += 1;
            *bytes += item.entry.data.len();
        }
        groups
    }

    pub(crate) fn into_entries(self) -> Entries {
        self.0
            .into_iter()
            .map(|(path, item)| (path, item.entry))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn directory_is_added_whole_with_links_and_fixed_modes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(dir.path().join("bin/tool"), "x").unwrap();
        fs::set_permissions(
            dir.path().join("bin/tool"),
            PermissionsExt::from_mode(0o4710),
        )
        .unwrap();
        symlink("tool", dir.path().join("bin/alias")).unwrap();
        let mut contents = Contents::default();
        contents.add(dir.path(), Path::new("/opt/app")).unwrap();
        let entries = contents.into_entries();
        let modes: Vec<_> = entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry.mode))
            .collect();
        assert_eq!(
            modes,
            [
                ("opt", 0o40755),
                ("opt/app", 0o40755),
                ("opt/app/bin", 0o40755),
                ("opt/app/bin/alias", 0o120777),
                ("opt/app/bin/tool", 0o100755),
            ]
        );
        assert_eq!(entries["opt/app/bin/alias"].data, b"tool");
    }

    #[test]
    fn second_source_for_a_path_is_an_error_that_names_both() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let mut contents = Contents::default();
        contents.add(&file, Path::new("/etc/")).unwrap();
        let error = contents
            .add(&file, Path::new("etc/file"))
            .unwrap_err()
            .to_string();
        let file = file.display();
        assert_eq!(
            error,
            format!("/etc/file is wanted twice: from {file} and from {file}")
        );
        let error = contents
            .add(dir.path(), Path::new("/etc/file/below"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/etc/file is no directory"), "{error}");
    }

    #[test]
    fn sockets_and_paths_above_the_root_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _socket = UnixListener::bind(dir.path().join("socket")).unwrap();
        let error = Contents::default()
            .add(dir.path(), Path::new("/"))
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("only files, directories and symbolic links can be added"),
            "{error}"
        );
        assert!(image_path(Path::new("/a/../../b")).is_err());
    }
}
