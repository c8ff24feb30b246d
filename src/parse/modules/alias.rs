//! `modules.alias`: patterns of names, and the modules behind them.
//!
//! A device's `MODALIAS`, a filesystem (`fs-vfat`) or a cipher (`crypto-md5`) is asked for by a
//! name that several modules may answer to: a line is `alias <pattern> <module>`.

use super::{IndexError, check, glob, lines};
use crate::text::split_last;

/// A checked `modules.alias`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alias<'a> {
    text: &'a str,
}

impl<'a> Alias<'a> {
    /// Checks the whole file.
    ///
    /// # Errors
    /// The first line that is not `alias <pattern> <module>`.
    pub fn new(file: &'a [u8]) -> Result<Self, IndexError> {
        let text = check("modules.alias", file, |line| pair(line).is_some())?;
        Ok(Self { text })
    }

    /// Takes a text that was checked before: look-ups skip a line of another form.
    #[must_use]
    pub const fn checked(text: &'a str) -> Self {
        Self { text }
    }

    /// The modules that devices may ask for, in the file's order: those with a pattern for a
    /// modalias, `bus:…`. One may come many times.
    pub fn of_devices(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let pairs = lines(self.text).filter_map(pair);
        let of_devices = pairs.filter(|(pattern, _)| pattern.as_bytes().contains(&b':'));
        of_devices.map(|(_, module)| module)
    }

    /// Whether any pattern is for modaliases of this bus.
    #[must_use]
    pub fn has_bus(&self, bus: &str) -> bool {
        let patterns = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("alias "));
        // Drivers of ACPI's devices have `acpi*:`.
        let is_for = |pattern: &str| {
            let end = pattern.find([':', '*', '?', '['])?;
            let (begins, rest) = pattern.split_at_checked(end)?;
            Some(match rest.starts_with(':') {
                true => begins == bus,
                false => bus.starts_with(begins) && rest.contains(':'),
            })
        };
        patterns.filter_map(is_for).any(|is_for| is_for)
    }

    /// The modules that answer to `name`, in the file's order; one may come twice.
    pub fn lookup<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        lines(self.text)
            .filter_map(pair)
            .filter(move |(pattern, _)| glob::matches(pattern, name))
            .map(|(_, module)| module)
    }
}

/// The module is the last word: a pattern may contain spaces.
fn pair(line: &str) -> Option<(&str, &str)> {
    let (pattern, module) = split_last(line.strip_prefix("alias ")?, b' ')?;
    (!pattern.is_empty() && !module.is_empty()).then_some((pattern, module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modalias_finds_every_module_that_answers_to_it() {
        let file = b"# Aliases\nalias virtio:d00000002v* virtio_blk\nalias fs-vfat vfat\n\
                     alias virtio:d0000000[2-8]v* other\n";
        let alias = Alias::new(file).unwrap();
        let found = |name| alias.lookup(name).collect::<Vec<_>>();
        assert_eq!(found("virtio:d00000002v00001AF4"), ["virtio_blk", "other"]);
        assert_eq!(found("virtio:d00000008v00001AF4"), ["other"]);
        assert_eq!(found("fs-vfat"), ["vfat"]);
        assert_eq!(found("fs-ext4"), [""; 0]);
    }

    #[test]
    fn what_devices_ask_for_is_told_from_the_rest() {
        let file = b"alias virtio:d00000002v* virtio_blk\nalias fs-vfat vfat\nalias pci:v* nvme\n";
        let alias = Alias::new(file).unwrap();
        assert_eq!(
            alias.of_devices().collect::<Vec<_>>(),
            ["virtio_blk", "nvme"]
        );
        assert!(alias.has_bus("pci") && alias.has_bus("virtio"));
        assert!(!alias.has_bus("pc") && !alias.has_bus("usb") && !alias.has_bus("fs-vfat"));
    }

    #[test]
    fn a_pattern_may_have_wildcards_in_the_bus() {
        let file = b"alias acpi*:LNXPWRBN:* button\nalias block-major-9-* md_mod\n";
        let alias = Alias::new(file).unwrap();
        assert!(alias.has_bus("acpi"));
        assert!(!alias.has_bus("pci") && !alias.has_bus("block-major-9-0"));
    }

    #[test]
    fn a_line_of_another_form_is_refused() {
        for file in [
            &b"options x y\n"[..],
            b"alias x\n",
            b"alias  x\n",
            b"alias x \n",
        ] {
            assert_eq!(Alias::new(file).unwrap_err().line, 1);
        }
    }
}
