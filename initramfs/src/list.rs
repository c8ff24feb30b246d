//! Listing an image, for people.

use std::fmt::Write;

use anyhow::Result;

use crate::archive::{self, BLOCK, CHARACTER, DIRECTORY, Entry, SYMLINK, TYPE_MASK};

/// One line for each file, as `cpio -tv` has it without the times (they are all one): mode, owner,
/// group, size or device number, path. The files in `/etc/berth` follow with their content.
///
/// # Errors
/// The image cannot be read; see [`archive::read`].
pub fn list(image: &[u8]) -> Result<String> {
    let entries = archive::read(image)?;
    let mut out = String::new();
    for (path, entry) in &entries {
        let size = match entry.mode & TYPE_MASK {
            BLOCK | CHARACTER => format!("{}, {}", entry.rdev.0, entry.rdev.1),
            _ => entry.data.len().to_string(),
        };
        let mode = mode_text(entry.mode);
        write!(
            out,
            "{mode} {:>4} {:>4} {size:>10}  /{path}",
            entry.uid, entry.gid
        )?;
        if entry.mode & TYPE_MASK == SYMLINK {
            write!(out, " -> {}", String::from_utf8_lossy(&entry.data))?;
        }
        out.push('\n');
    }
    let berth =
        |(path, entry): &(&String, &Entry)| path.starts_with("etc/berth/") && entry.is_file();
    for (path, entry) in entries.iter().filter(berth) {
        writeln!(out, "\n/{path}:")?;
        for line in String::from_utf8_lossy(&entry.data).lines() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(out)
}

/// `drwxr-xr-x` and so on.
fn mode_text(mode: u32) -> String {
    let kind = match mode & TYPE_MASK {
        DIRECTORY => 'd',
        SYMLINK => 'l',
        CHARACTER => 'c',
        BLOCK => 'b',
        archive::REGULAR => '-',
        _ => '?',
    };
    let bits = "rwxrwxrwx".chars().enumerate();
    let mut text: Vec<char> = bits
        .map(|(i, c)| if mode >> (8 - i) & 1 == 1 { c } else { '-' })
        .collect();
    for (bit, place, with_x, without) in [
        (0o4000, 2, 's', 'S'),
        (0o2000, 5, 's', 'S'),
        (0o1000, 8, 't', 'T'),
    ] {
        if mode & bit != 0 {
            text[place] = if text[place] == 'x' { with_x } else { without };
        }
    }
    std::iter::once(kind).chain(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Entries, REGULAR};

    #[test]
    fn modes_read_as_in_ls() {
        assert_eq!(mode_text(DIRECTORY | 0o1755), "drwxr-xr-t");
        assert_eq!(mode_text(REGULAR | 0o4755), "-rwsr-xr-x");
        assert_eq!(mode_text(REGULAR | 0o2640), "-rw-r-S---");
    }

    #[test]
    fn listing_shows_files_and_configuration() {
        let entries = Entries::from([
            ("dev/console".into(), Entry::character(5, 1)),
            (
                "etc/berth/modules".into(),
                Entry::file(0o644, "vfat\nsd_mod\n"),
            ),
            ("sh".into(), Entry::symlink("busybox")),
        ]);
        assert_eq!(
            list(&archive::write(&entries, 0).unwrap()).unwrap(),
            "crw-------    0    0       5, 1  /dev/console\n\
             -rw-r--r--    0    0         12  /etc/berth/modules\n\
             lrwxrwxrwx    0    0          7  /sh -> busybox\n\
             \n/etc/berth/modules:\n  vfat\n  sd_mod\n"
        );
    }
}
