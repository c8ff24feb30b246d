//! `/proc/meminfo`: how much is to be written to disks yet (proc_meminfo(5)).
//!
//! ```text
//! Dirty:               636 kB
//! Writeback:             0 kB
//! ```

/// What is to be written, and what is being written, in KiB. `None` if the text is not that of the
/// file.
#[must_use]
pub fn unwritten(text: &[u8]) -> Option<u64> {
    figure(text, b"Dirty:")?.checked_add(figure(text, b"Writeback:")?)
}

/// The figure in the line that begins so.
fn figure(text: &[u8], name: &[u8]) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let rest = lines.find_map(|line| line.strip_prefix(name))?;
    let digits = rest.trim_ascii().strip_suffix(b" kB")?;
    core::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "MemTotal:  65812 kB\nDirty:     636 kB\nWriteback:    64 kB\n\
        WritebackTmp:  1 kB\n";

    #[test]
    fn what_is_dirty_and_what_is_under_way_are_unwritten() {
        assert_eq!(unwritten(TEXT.as_bytes()), Some(700));
    }

    #[test]
    fn what_is_not_the_file_has_no_figure() {
        for (from, to) in [
            ("Dirty:", "dirty:"),
            ("636", "-1"),
            ("636 kB", "636"),
            ("64", "18446744073709551615"),
        ] {
            let text = TEXT.replace(from, to);
            assert_eq!(unwritten(text.as_bytes()), None, "{from} {to}");
        }
        assert_eq!(unwritten(b""), None);
    }
}
