//! `modules.builtin`: modules that are part of the kernel image, one path a line.
//!
//! The kernel's build writes it. Not every kernel package ships it, so a name that is missing here
//! may still be built in.

use super::{IndexError, check, lines, module_name, same_name};

/// A checked `modules.builtin`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Builtin<'a> {
    text: &'a str,
}

impl<'a> Builtin<'a> {
    /// Checks the whole file: every line is a path.
    ///
    /// # Errors
    /// The first line that is not.
    pub fn new(file: &'a [u8]) -> Result<Self, IndexError> {
        let text = check("modules.builtin", file, |line| {
            !module_name(line).is_empty()
        })?;
        Ok(Self { text })
    }

    /// Whether the module of this name is listed.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        lines(self.text).any(|path| same_name(module_name(path), name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_module_is_built_in() {
        let builtin = Builtin::new(b"kernel/fs/ext4/ext4.ko\nkernel/lib/crc-t10dif.ko\n").unwrap();
        assert!(builtin.contains("ext4"));
        assert!(builtin.contains("crc_t10dif"));
        assert!(!builtin.contains("vfat"));
        assert!(!Builtin::default().contains("ext4"));
    }
}
