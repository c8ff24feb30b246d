//! `/etc/fstab`: what a distribution mounts where (fstab(5)).
//!
//! ```text
//! UUID=cafe-0051  /usr  btrfs  subvol=@usr,x-initrd.mount  0  2
//! source          where type   options                     (not looked at)
//! ```

use core::str;

/// One line, with the escapes of its fields (`\040`) as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What is mounted.
    pub source: &'a str,
    /// The filesystem's type, a comma list of them, or `auto`.
    pub fstype: &'a str,
    /// The options, a comma list.
    pub options: &'a str,
}

/// The first line of `text` about the directory `mount_point`, an absolute path without a slash at
/// its end. Lines that are no UTF-8 or lack a field are not looked at.
#[must_use]
pub fn find<'a>(text: &'a [u8], mount_point: &str) -> Option<Entry<'a>> {
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.filter_map(|line| str::from_utf8(line).ok());
    lines.filter_map(|line| on(line, mount_point)).next()
}

fn on<'a>(line: &'a str, mount_point: &str) -> Option<Entry<'a>> {
    let mut fields = line.split_ascii_whitespace();
    let source = fields.next().filter(|source| !source.starts_with('#'))?;
    let place = fields.next()?;
    let is_it = place.trim_end_matches('/') == mount_point;
    is_it.then_some(Entry {
        source,
        fstype: fields.next()?,
        options: fields.next().unwrap_or("defaults"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"# /dev/sda9 /usr ext4\n\n\
        UUID=1 / ext4 errors=remount-ro 0 1\n\
        \xff /usr ext4\n\
        /dev/sdb1 /usr\n\
        LABEL=My\\040Usr\t/usr/\text4,ext3\tro,nofail 0 2\n\
        /dev/sdc1 /usr/local auto\n\
        /dev/sdd1 /usr xfs noauto";

    #[test]
    fn the_first_line_that_is_whole_counts() {
        let entry = |source, fstype, options| Entry {
            source,
            fstype,
            options,
        };
        let usr = entry(r"LABEL=My\040Usr", "ext4,ext3", "ro,nofail");
        assert_eq!(find(TEXT, "/usr"), Some(usr));
        let local = entry("/dev/sdc1", "auto", "defaults");
        assert_eq!(find(TEXT, "/usr/local"), Some(local));
        assert_eq!(find(TEXT, "/home"), None);
        assert_eq!(find(b"", "/usr"), None);
    }
}
