//! The report of a boot that failed: one screen that says what to do.
//!
//! What was tried and what came of it, what to do about it, what was asked for, what comes close to
//! it, which devices there are, which drivers the image lacks, and what the kernel had to say. It
//! goes to the kernel's log, from there to every console, and line by line to the event stream.
//!
//! # One screen
//!
//! A console has [`ROWS`] rows of [`COLUMNS`] columns, a line is folded where it is longer, and the
//! kernel puts the time before each. So rows are counted: what matters most comes first, lists give
//! way and say how much they leave out.

mod contents;
pub(super) mod devices;
mod kernel;
pub(super) mod late;
mod shares;

use core::fmt;

use super::Machine;
use super::modules;
use crate::error::{Code, Error, SUBJECT_MAX, Stage};
use crate::events::Event;
use crate::hint::of_machine;
use crate::sys::kmsg;
use crate::text::{Shown, Text};

/// The smaller kind of console.
const ROWS: usize = 40;
const COLUMNS: usize = 80;

/// What the kernel puts before a line of its log: `[    2.355543] `.
const STAMP: usize = 15;

/// What the list of devices leaves for the lines behind it.
const BEHIND_THE_LIST: usize = 10;

/// A report in the making.
struct Report<'m> {
    machine: &'m mut Machine,
    stage: Stage,
    /// Rows that are left.
    rows: usize,
}

/// Reports `error`, which ends the boot with `action`.
pub(super) fn report(machine: &mut Machine, error: &Error, action: &str) {
    kmsg::show_errors_on_consoles();
    let stage = machine.journal.stage_of(error);
    let mut report = Report {
        machine,
        stage,
        // One is the last line's.
        rows: ROWS - 1,
    };
    report.machine.journal.failure(error);
    report.count(format_args!("{error}"));
    report.count(format_args!("  {}", of_machine(error)));
    report.root_words();
    kernel::incomplete_initramfs(&mut report);
    contents::list(&mut report, error);
    if stage == Stage::Root {
        devices::list(&mut report, error.code);
    }
    if error.code == Code::RootNotFound {
        shares::list(&mut report);
        report.stale_image();
        report.unanswered();
    }
    if matches!(stage, Stage::Modules | Stage::Root) {
        kernel::last_words(&mut report, error);
    }
    report.rows = 1;
    report.line(format_args!(
        "the boot ends here: berth.on_failure={action}"
    ));
}

impl Report<'_> {
    /// What was asked for about the root, as it was understood.
    fn root_words(&mut self) {
        let words = self.machine.root_request.line;
        if !words.is_empty() {
            self.line(format_args!("asked for: {words}"));
        }
    }

    /// An image whose modules are of other kernels only, where none of them was asked for by name.
    fn stale_image(&mut self) {
        if let Some(others) = self.machine.modules.only_of_others() {
            let running = modules::release();
            self.line(format_args!(
                "the kernel is {running}, the image has modules of {others}: build it for this kernel"
            ));
        }
    }

    /// The devices for which the image lacks a driver.
    fn unanswered(&mut self) {
        const LINES: usize = 3;
        let mut count = 0_usize;
        let mut lines = heapless::Vec::<Text<SUBJECT_MAX>, LINES>::new();
        let modules = &self.machine.modules;
        modules.each_unanswered(&mut |modalias, device| {
            count = count.saturating_add(1);
            // What does not fit is counted.
            let _ = lines.push(Text::new(format_args!("{device} ({modalias})")));
            true
        });
        for line in &lines {
            self.line(format_args!(
                "no driver, and no module in the image, for {line}"
            ));
        }
        if let Some(more @ 1..) = count.checked_sub(lines.len()) {
            self.line(format_args!("… nor for {more} more devices"));
        }
    }

    /// Whether a list may go on: what follows it needs room too.
    const fn has_room_for_the_rest(&self) -> bool {
        self.rows > BEHIND_THE_LIST
    }

    /// Writes a line, if there is room for it; `false` if there is not.
    fn line(&mut self, text: fmt::Arguments<'_>) -> bool {
        let rows = self.rows_of(text);
        let Some(left) = self.rows.checked_sub(rows) else {
            return false;
        };
        self.rows = left;
        kmsg::error(self.stage, format_args!("  {text}"));
        let line = Text::<LINE_MAX>::new(text);
        self.machine.journal.events.emit(Event::Report {
            line: line.as_str(),
        });
        true
    }

    /// Takes the room of a line that somebody else writes.
    fn count(&mut self, text: fmt::Arguments<'_>) {
        self.rows = self.rows.saturating_sub(self.rows_of(text));
    }

    /// The rows that a line takes.
    fn rows_of(&self, text: fmt::Arguments<'_>) -> usize {
        let line = Text::<LINE_MAX>::new(format_args!("berth: {}:   {}", self.stage, Shown(text)));
        let columns = STAMP.saturating_add(line.as_str().chars().count());
        columns.div_ceil(COLUMNS)
    }
}

/// The longest line of a report.
const LINE_MAX: usize = 512;
