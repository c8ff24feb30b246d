//! Filesystems that the kernel does not write to any more, because it has met an error: a disk that
//! fails, or a filesystem that a power cut has left in disorder. Programs find out when a write
//! fails; nobody else does.
//!
//! There is no mount event for that, and what ext4 reports through fanotify(7) the others do not.
//! All of them write it to the kernel's log, so PID 1 reads that: it wakes up when the kernel, or
//! berth itself, has something to say, and not otherwise.

use super::Supervisor;
use super::token::Token;
use crate::error::{Fault, SUBJECT_MAX, Stage};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::kmsg::LogPosition;
use crate::text::{Escaped, Text};

/// How many records are read at once. Others get their turn in between.
const RECORDS_PER_TURN: usize = 32;

/// The kernel's log, from the first container on.
pub(super) struct KernelLog(LogPosition);

impl KernelLog {
    /// Watches the log.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(super) fn watch(epoll: &Epoll) -> Result<Self, Fault> {
        let log = LogPosition::here();
        if let Some(descriptor) = log.descriptor() {
            epoll.add(descriptor, Token::KernelLog.encode(), Interest::IN)?;
        }
        Ok(Self(log))
    }
}

impl Supervisor<'_, '_> {
    /// Reads what the kernel has said since.
    #[inline(never)]
    pub(super) fn read_kernel_log(&mut self) {
        let journal = &mut self.machine.journal;
        self.kernel_log
            .0
            .next_records(RECORDS_PER_TURN, &mut |record| {
                if record.tells_of_a_lost_filesystem() {
                    let text = Text::<SUBJECT_MAX>::from_bytes(record.text);
                    let text = Escaped(text.as_str());
                    journal.warn(
                        Stage::Containers,
                        format_args!("a filesystem cannot be written any more: {text}"),
                    );
                }
            });
    }
}
