//! The vocabulary of the log: levels, and how a record reads.
//!
//! A record is one line, `berth: <stage>: <text>`, written with its level in front as `/dev/kmsg`
//! wants it (Documentation/ABI/testing/dev-kmsg). The kernel then shows it on every console whose
//! log level lets it through, and keeps it for `dmesg`. The writing itself is in
//! [`crate::sys::kmsg`].

use core::fmt;

use crate::error::Stage;
use crate::text::{Shown, Text};

/// The largest record: the kernel refuses a write of more than LOG_LINE_MAX (1024 bytes less the
/// prefix it adds).
pub(crate) const RECORD_MAX: usize = 976;

/// How much a record matters: the numbers of syslog(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// What was asked for could not be done.
    Error = 3,
    /// What was asked for was done, but not all is as it should be.
    Warning = 4,
    /// What the one who boots wants to see: a stage was completed, a container came or went.
    Notice = 5,
    /// What helps to understand a boot afterwards.
    Info = 6,
}

/// How long the level at the beginning of a record is.
pub(crate) const LEVEL_LEN: usize = "<5>".len();

/// One record for `/dev/kmsg`, complete but for the write. What others wrote in `text` cannot end
/// it, or do anything to a console. It ends in a newline: without one the kernel waits for a
/// continuation, and shows the record only when the next one comes (kernel/printk/printk.c,
/// `LOG_NEWLINE`).
pub(crate) fn record(level: Level, stage: Stage, text: fmt::Arguments<'_>) -> Text<RECORD_MAX> {
    let mut line = Text::<{ RECORD_MAX - 1 }>::EMPTY;
    let text = Shown(text);
    line.push(format_args!("<{}>berth: {stage}: {text}", level as u8));
    let mut record = Text::EMPTY;
    record.push(format_args!("{line}\n"));
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_level_name_and_stage() {
        let line = record(
            Level::Notice,
            Stage::Root,
            format_args!("/dev/sdb1 is vfat"),
        );
        assert_eq!(line.as_str(), "<5>berth: root: /dev/sdb1 is vfat\n");
    }

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let text = "/mnt/\u{1b}[2J\n<0>forged\u{202e}";
        let line = record(Level::Notice, Stage::Root, format_args!("{text}"));
        assert_eq!(
            line.as_str(),
            "<5>berth: root: /mnt/\\x1b[2J\\x0a<0>forged\\u{202e}\n"
        );
    }

    #[test]
    fn a_record_that_is_cut_is_no_longer_than_the_kernel_takes_and_ends_all_the_same() {
        let long = "x".repeat(2000);
        let record = record(Level::Info, Stage::Early, format_args!("{long}"));
        assert!(record.as_str().len() <= RECORD_MAX);
        assert!(record.as_str().ends_with("…\n"));
    }
}
