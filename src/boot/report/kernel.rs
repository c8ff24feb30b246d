//! What the kernel has logged: that the initramfs is not whole, and its last messages about disks,
//! filesystems and modules.

use heapless::Deque;

use super::Report;
use crate::error::{Error, SUBJECT_MAX};
use crate::hint::unpacking;
use crate::sys::kmsg::LogPosition;
use crate::text::{Text, contains};

/// The most lines that are quoted.
const LINES: usize = 4;

/// Says so if the kernel could not unpack the initramfs whole: whatever is missing then was in it.
pub(super) fn incomplete_initramfs(report: &mut Report<'_>) {
    let mut reason = None;
    LogPosition::oldest().each_record(&mut |record| {
        if let Some(words) = record.unpacking_failure() {
            reason = Some(Text::<SUBJECT_MAX>::from_bytes(words));
        }
    });
    if let Some(reason) = reason {
        let hint = unpacking(reason.as_str());
        report.line(format_args!(
            "the kernel did not unpack the initramfs whole ({reason}): {hint}"
        ));
    }
}

/// Quotes the kernel's last complaints about disks, buses, filesystems and modules.
pub(super) fn last_words(report: &mut Report<'_>, error: &Error) {
    let mut last = Deque::<Text<SUBJECT_MAX>, LINES>::new();
    LogPosition::oldest().each_record(&mut |record| {
        let text = Text::from_bytes(record.text);
        let is_known = !record.text.is_empty() && contains(error.words.as_str(), text.as_str());
        if record.bears_on_the_root() && !is_known {
            if last.is_full() {
                last.pop_front();
            }
            // There is room now.
            let _ = last.push_back(text);
        }
    });
    for words in &last {
        report.line(format_args!("kernel: {words}"));
    }
}
