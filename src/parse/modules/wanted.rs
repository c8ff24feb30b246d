//! `/etc/berth/modules`: the modules that an image loads always, one name a line.
//!
//! Empty lines and lines that begin with `#` say nothing. Unlike Debian's `/etc/modules` a line has
//! no parameters: those belong on the kernel command line, as `module.parameter=value`.

use super::{IndexError, check, lines};

/// A checked list of names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    text: &'a str,
}

impl<'a> Wanted<'a> {
    /// Checks the whole file.
    ///
    /// # Errors
    /// The first line that is not one name: no path, no second word.
    pub fn new(file: &'a [u8]) -> Result<Self, IndexError> {
        let text = check("/etc/berth/modules", file, |line| {
            is_name(line.trim_ascii())
        })?;
        Ok(Self { text })
    }

    /// The names, in the file's order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        lines(self.text).map(str::trim_ascii)
    }
}

/// Whether this can name a module or an alias such as `fs-vfat`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'+');
    !text.is_empty() && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_one_a_line() {
        let wanted = Wanted::new(b"# for the root\nvfat\n\n  nls_iso8859-1 \nfs-ext4").unwrap();
        let names: Vec<_> = wanted.names().collect();
        assert_eq!(names, ["vfat", "nls_iso8859-1", "fs-ext4"]);
    }

    #[test]
    fn what_is_not_one_name_is_refused_by_its_line() {
        for file in [
            &b"ok\nkernel/fs/fat/vfat.ko\n"[..],
            b"ok\nloop max_loop=8\n",
            b"ok\n\xff",
        ] {
            assert_eq!(Wanted::new(file).unwrap_err().line, 2);
        }
    }
}
