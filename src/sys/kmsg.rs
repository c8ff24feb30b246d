//! The kernel's log: where berth speaks, and where the kernel says why a mount failed.
//!
//! `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg): one write is one record, one read is one
//! record. The descriptor is the only global of the program, because the panic handler needs it
//! too.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};

use rustix::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, SeekFrom, makedev, mknodat, open, seek};
use rustix::io::{Errno, read, write};

use crate::error::{SUBJECT_MAX, Stage};
use crate::log::{self, Level};
use crate::parse::kmsg::Record;
use crate::sys::console;
use crate::text::Text;

const PATH: &str = "/dev/kmsg";

/// Room for a record with what the kernel says of its device.
const RECORD_READ_MAX: usize = 2048;

/// Standard error until the log is open.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(2);

/// Opens the log. Before `/dev` is mounted there may be no node, so one is made: the initramfs is
/// ours to write to. If all fails, records go to standard error.
pub fn open_log() {
    if let Ok(log) = open_node(OFlags::WRONLY) {
        DESCRIPTOR.store(log.into_raw_fd(), Ordering::Relaxed);
    }
}

fn open_node(access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    open(PATH, flags, Mode::empty()).or_else(|_| {
        // Both may exist already; the second open tells.
        let _ = rustix::fs::mkdir(c"/dev", Mode::from_raw_mode(0o755));
        let _ = mknodat(
            CWD,
            PATH,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o600),
            makedev(1, 11),
        );
        open(PATH, flags, Mode::empty())
    })
}

/// Lifts the kernel's limit of ten records in five seconds for each writer
/// (Documentation/admin-guide/sysctl/kernel.rst, `printk_devkmsg`): a failure report is longer.
/// Needs `/proc`; a kernel that locked the setting keeps its limit.
pub fn lift_rate_limit() {
    if let Ok(file) = open(
        "/proc/sys/kernel/printk_devkmsg",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        let _ = write(&file, b"on\n");
    }
}

/// Makes the kernel show errors on its consoles, whatever log level they were given, so that a boot
/// that fails says why. Needs `/proc`.
pub fn show_errors_on_consoles() {
    const LEVELS: &str = "/proc/sys/kernel/printk";
    const ERRORS_ARE_SHOWN: u8 = Level::Error as u8 + 1;
    HIDDEN_FROM.fetch_max(ERRORS_ARE_SHOWN, Ordering::Relaxed);
    let mut buffer = [0; 64];
    let levels = super::fs::read_file(CWD, LEVELS, &mut buffer).unwrap_or_default();
    let current = levels.split(|byte| *byte == b'\t').next();
    let current = current.and_then(|level| core::str::from_utf8(level).ok()?.parse::<u8>().ok());
    if current.is_some_and(|level| level < ERRORS_ARE_SHOWN) {
        // A kernel that locked the setting keeps its level.
        let _ = super::fs::write_file(CWD, LEVELS, &[b'0' + ERRORS_ARE_SHOWN]);
    }
}

/// The console, if progress is to be shown there past the kernel's log level; else -1.
static CONSOLE: AtomicI32 = AtomicI32::new(-1);

/// Whether something else is in the middle of a line on the console.
static IS_HELD: AtomicBool = AtomicBool::new(false);

/// The level from which on the kernel shows nothing on the console.
static HIDDEN_FROM: AtomicU8 = AtomicU8::new(u8::MAX);

/// From now on, notices are shown on the console, too, where the log level of the kernel keeps them
/// away: `loglevel=4` is about the kernel's own messages.
///
/// `hidden_from` is that log level: the kernel shows what is more urgent by itself.
pub fn show_progress(hidden_from: u8) {
    if let Some(console) = console::open_console() {
        HIDDEN_FROM.store(hidden_from, Ordering::Relaxed);
        CONSOLE.store(console.into_raw_fd(), Ordering::Relaxed);
    }
}

/// While the console has taken only a part of a container's line, progress is not shown there: it
/// would stand in the middle. It is in the log and in the event stream all the same.
pub fn pause_progress(is_held: bool) {
    IS_HELD.store(is_held, Ordering::Relaxed);
}

/// Writes one record. There is nobody to tell when that fails.
pub fn say(level: Level, stage: Stage, text: fmt::Arguments<'_>) {
    let record = log::record(level, stage, text);
    let console = CONSOLE.load(Ordering::Relaxed);
    let is_hidden = level as u8 >= HIDDEN_FROM.load(Ordering::Relaxed);
    let is_shown = level as u8 <= Level::Notice as u8 && !IS_HELD.load(Ordering::Relaxed);
    if console >= 0 && is_hidden && is_shown {
        let line = record.as_str().get(log::LEVEL_LEN..).unwrap_or_default();
        // SAFETY: the descriptor was opened by `show_progress`, which never closes it.
        let console = unsafe { BorrowedFd::borrow_raw(console) };
        let _ = write(console, line.as_bytes());
    }
    // SAFETY: the descriptor is standard error or was opened by `open_log`, which never closes it.
    let descriptor = unsafe { BorrowedFd::borrow_raw(DESCRIPTOR.load(Ordering::Relaxed)) };
    let _ = write(descriptor, record.as_str().as_bytes());
}

/// Writes a record about what was asked for and could not be done.
pub fn error(stage: Stage, text: fmt::Arguments<'_>) {
    say(Level::Error, stage, text);
}

/// Writes a record about what is not as it should be.
pub fn warning(stage: Stage, text: fmt::Arguments<'_>) {
    say(Level::Warning, stage, text);
}

/// Writes a record for the people who watch the boot.
pub fn notice(stage: Stage, text: fmt::Arguments<'_>) {
    say(Level::Notice, stage, text);
}

/// Writes a record that helps to understand the boot afterwards.
pub fn info(stage: Stage, text: fmt::Arguments<'_>) {
    say(Level::Info, stage, text);
}

/// A place in the kernel's log, from which on it can be read.
pub struct LogPosition(Option<OwnedFd>);

impl LogPosition {
    /// The end of the log as it is now.
    pub fn here() -> Self {
        let log =
            open_node(OFlags::RDONLY).and_then(|log| seek(&log, SeekFrom::End(0)).map(|_| log));
        Self(log.ok())
    }

    /// The log, to be watched for records behind those that were read.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// The oldest record that the kernel still has.
    pub fn oldest() -> Self {
        // A descriptor that was just opened stands there.
        Self(open_node(OFlags::RDONLY).ok())
    }

    /// Calls `visit` with each record from there on. The place moves to behind the last one.
    pub fn each_record(&self, visit: &mut dyn FnMut(&Record<'_>)) {
        self.next_records(usize::MAX, visit);
    }

    /// [`Self::each_record`] for so many records at most.
    #[inline(never)]
    pub fn next_records(&self, most: usize, visit: &mut dyn FnMut(&Record<'_>)) {
        let mut buffer = [0; RECORD_READ_MAX];
        let log = self.0.as_ref();
        for log in log.into_iter().cycle().take(most) {
            match read(log, &mut buffer) {
                Ok(len) if len > 0 => {
                    if let Some(record) = buffer.get(..len).and_then(Record::parse) {
                        visit(&record);
                    }
                }
                // EPIPE: records were overwritten before we came; the next read goes on behind
                // them. EINVAL: this one is longer than the buffer, and the next read is of the one
                // behind it.
                Err(Errno::PIPE | Errno::INTR | Errno::INVAL) => {}
                _ => break,
            }
        }
    }

    /// The first warning or error that the kernel has logged since and that begins so: the others
    /// follow from it.
    pub fn first_complaint(&self, beginning: &[u8]) -> Text<SUBJECT_MAX> {
        let mut first = Text::EMPTY;
        self.each_record(&mut |record| {
            if record.is_complaint() && record.text.starts_with(beginning) && first.is_empty() {
                first = Text::from_bytes(record.text);
            }
        });
        first
    }

    /// The first warning or error since that `is_telling`, else the last one, without its header.
    pub fn telling_complaint(&self, is_telling: &mut dyn FnMut(&str) -> bool) -> Text<SUBJECT_MAX> {
        let mut found = Text::EMPTY;
        let mut is_found = false;
        self.each_record(&mut |record| {
            if record.is_complaint() && !is_found {
                found = Text::from_bytes(record.text);
                is_found = is_telling(found.as_str());
            }
        });
        found
    }

    /// The last warning or error that the kernel has logged since, without its header.
    pub fn last_complaint(&self) -> Text<SUBJECT_MAX> {
        let mut last = Text::EMPTY;
        self.each_record(&mut |record| {
            if record.is_complaint() {
                last = Text::from_bytes(record.text);
            }
        });
        last
    }
}
