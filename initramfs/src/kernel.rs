//! What can be told about a kernel from its files: the release in an image, the options in a
//! configuration.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Offsets in a bzImage's real-mode header (kernel: `Documentation/arch/x86/boot.rst`).
mod bzimage {
    use std::ops::Range;
    pub(super) const MAGIC: Range<usize> = 0x202..0x206;
    pub(super) const VERSION_POINTER: Range<usize> = 0x20e..0x210;
    /// The pointer counts from here.
    pub(super) const VERSION_BASE: usize = 0x200;
}

/// The release (`uname -r`) of a kernel image: an x86 bzImage, or an uncompressed image of any
/// machine (arm64 `Image`, `vmlinux`).
///
/// # Errors
/// The file cannot be read, or says no release, as a compressed arm64 image does not.
pub fn release_of(image: &Path) -> Result<String> {
    let bytes = fs::read(image).with_context(|| format!("read kernel {}", image.display()))?;
    let Some(release) = find_release(&bytes) else {
        bail!(
            "{}: no kernel release in it; name it with --kernel-release",
            image.display()
        );
    };
    Ok(release)
}

fn find_release(image: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    if image.get(bzimage::MAGIC) == Some(b"HdrS") {
        let pointer = image.get(bzimage::VERSION_POINTER)?.try_into().ok()?;
        return release_at(
            image,
            bzimage::VERSION_BASE + usize::from(u16::from_le_bytes(pointer)),
        );
    }
    let mut windows = image.windows(BANNER.len()).enumerate();
    // The same words also begin format strings, so the first occurrence may not be the one.
    windows.find_map(|(at, window)| {
        (window == BANNER).then(|| release_at(image, at + BANNER.len()))?
    })
}

/// The word at `start`, if it looks like a release.
fn release_at(image: &[u8], start: usize) -> Option<String> {
    let text = image.get(start..)?;
    let end = text
        .iter()
        .position(|byte| matches!(byte, 0 | b' ' | b'\n'))?;
    let release = std::str::from_utf8(&text[..end]).ok()?;
    release
        .starts_with(|first: char| first.is_ascii_digit())
        .then(|| release.to_owned())
}

/// A kernel's configuration, as in `/boot/config-<release>`.
#[derive(Clone, Debug, Default)]
pub struct Config(BTreeMap<String, String>);

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or sets no option at all.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("read kernel configuration {}", path.display()))?;
        let options = text.lines().filter_map(|line| line.split_once('='));
        let options = options.filter(|(key, _)| key.starts_with("CONFIG_"));
        let config = Self(
            options
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        );
        if config.0.is_empty() {
            bail!(
                "{}: no CONFIG_ line: not a kernel configuration",
                path.display()
            );
        }
        Ok(config)
    }

    /// Whether `CONFIG_…` is built in (`=y`).
    #[must_use]
    pub fn is_set(&self, symbol: &str) -> bool {
        self.value(symbol) == Some("y")
    }

    /// What `CONFIG_…` is set to, without quotes.
    #[must_use]
    pub fn value(&self, symbol: &str) -> Option<&str> {
        self.0.get(symbol).map(|value| value.trim_matches('"'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_is_read_from_a_bzimage_header() {
        let mut image = vec![0; 0x400];
        image[bzimage::MAGIC].copy_from_slice(b"HdrS");
        image[bzimage::VERSION_POINTER].copy_from_slice(&0x140u16.to_le_bytes());
        image[0x340..0x35a].copy_from_slice(b"6.1.0-9-cloud (a@b) #1 SMP");
        assert_eq!(find_release(&image).as_deref(), Some("6.1.0-9-cloud"));
        image[bzimage::VERSION_POINTER].copy_from_slice(&0xff00u16.to_le_bytes());
        assert_eq!(find_release(&image), None);
    }

    #[test]
    fn release_is_read_from_a_banner() {
        let image = b"ARM\x64....Linux version %s\n\0Linux version 7.2.1-arm64 (a@b)";
        assert_eq!(find_release(image).as_deref(), Some("7.2.1-arm64"));
        assert_eq!(find_release(b"MZ zboot"), None);
    }

    #[test]
    fn configuration_tells_built_in_from_module_and_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, "# CONFIG_A is not set\nCONFIG_B=m\nCONFIG_C=y\n").unwrap();
        let config = Config::read(&path).unwrap();
        assert!(config.is_set("CONFIG_C"));
        assert!(!config.is_set("CONFIG_B") && !config.is_set("CONFIG_A"));
        fs::write(&path, "").unwrap();
        assert!(Config::read(&path).is_err());
    }
}
