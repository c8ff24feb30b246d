//! The shares that the hypervisor offers: what could be meant by a tag that was not found.

use super::Report;
use crate::error::SUBJECT_MAX;
use crate::sys::fs::{each_name, read_attribute};
use crate::text::Text;

/// Directories with one entry a share, the attribute that holds its tag (9p's with a NUL at its
/// end), and what a name begins with.
const SHARES: &[(&str, &str, &str)] = &[
    ("/sys/bus/virtio/devices", "mount_tag", "9p"),
    // Since Linux 6.9.
    ("/sys/fs/virtiofs", "tag", "virtiofs"),
];

/// Lists them, in one line.
pub(super) fn list(report: &mut Report<'_>) {
    let mut found = Text::<SUBJECT_MAX>::EMPTY;
    for (directory, attribute, kind) in SHARES {
        // A kernel without the driver has no such directory.
        let _ = each_name(directory, |name| {
            let mut buffer = [0; SUBJECT_MAX];
            let file = format_args!("{directory}/{name}/{attribute}");
            if let Some(tag) = read_attribute(file, &mut buffer) {
                let is_end = |byte: &u8| matches!(*byte, 0 | b'\n');
                let tag = tag.split(is_end).next().unwrap_or_default();
                let tag = Text::<SUBJECT_MAX>::from_bytes(tag);
                found.push(format_args!(" {kind}:{tag}"));
            }
            true
        });
    }
    if !found.is_empty() {
        report.line(format_args!("shares:{found}"));
    }
}
