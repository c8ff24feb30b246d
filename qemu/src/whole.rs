//! Directories that are filled once: there whole, or not at all.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};

/// Has `fill` fill the directory, if it is not there yet. It is filled under another name beside,
/// and renamed when it is complete. Several programs may ask at once; the first fills it, the
/// others wait for its lock.
///
/// # Errors
/// Those of `fill`; what it left behind is removed.
pub fn directory(dir: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    directory_of(dir, None, fill)
}

/// The same with a description, which is kept in there: what was filled by another description is
/// filled anew.
///
/// # Errors
/// Those of `fill`.
pub fn described(
    dir: &Path,
    description: &str,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    directory_of(dir, Some(description), fill)
}

/// The file with the description.
const DESCRIPTION: &str = "description";

fn directory_of(
    dir: &Path,
    description: Option<&str>,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let beside = dir.parent().context("a directory that is the root")?;
    fs::create_dir_all(beside).with_context(|| format!("create {}", beside.display()))?;
    let name = dir.file_name().unwrap_or_default().display();
    let lock = beside.join(format!(".{name}.lock"));
    let lock = File::create(&lock).with_context(|| format!("create {}", lock.display()))?;
    lock.lock()
        .with_context(|| format!("lock {}", dir.display()))?;
    if dir.exists() {
        let has = fs::read_to_string(dir.join(DESCRIPTION)).ok();
        if description.is_none_or(|wanted| has.as_deref() == Some(wanted)) {
            return Ok(());
        }
        fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    let new = tempfile::Builder::new()
        .prefix(&format!(".{name}-"))
        .tempdir_in(beside)?;
    fill(new.path())?;
    if let Some(description) = description {
        fs::write(new.path().join(DESCRIPTION), description).context("describe a directory")?;
    }
    fs::rename(new.keep(), dir).with_context(|| format!("rename to {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_directory_is_filled_once_and_never_half() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("all/one");
        let half = |new: &Path| {
            fs::write(new.join("half"), "")?;
            bail!("no more")
        };
        assert_eq!(directory(&dir, half).unwrap_err().to_string(), "no more");
        assert!(!dir.exists());
        directory(&dir, |new| Ok(fs::write(new.join("file"), "1")?)).unwrap();
        directory(&dir, |_| bail!("it is there")).unwrap();
        assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "1");
        let left = fs::read_dir(dir.parent().unwrap()).unwrap().count();
        assert_eq!(left, 2, "the directory and its lock");
    }

    #[test]
    fn what_was_filled_by_another_description_is_filled_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("one");
        let file = |new: &Path| Ok(fs::write(new.join("file"), "1")?);
        directory(&dir, file).unwrap();
        for (description, is_filled) in [("a", true), ("a", false), ("b", true)] {
            let mut filled = false;
            described(&dir, description, |new| {
                filled = true;
                file(new)
            })
            .unwrap();
            assert_eq!(filled, is_filled, "{description}");
        }
    }
}
