//! Standard output: what was asked for, and nothing else.

use core::fmt;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::{Errno, write};

use super::{Call, Tell, Told};
use crate::error::{Code, During, Op};
use crate::sys::console;

/// How much is written at once.
const ROOM: usize = 4096;

/// Text on its way to standard output. [`Self::finish`] says whether all of it arrived.
pub(super) struct Output {
    pending: heapless::Vec<u8, ROOM>,
    failed: Option<Errno>,
}

impl Output {
    pub(super) const fn new() -> Self {
        Self {
            pending: heapless::Vec::new(),
            failed: None,
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// [`Code::Output`]: the first write that failed.
    pub(super) fn finish(mut self, call: &Call<'_>) -> Result<(), Told> {
        self.flush();
        self.failed
            .map_or(Ok(()), Err)
            .during(Op::Write, "standard output")
            .tell(call, Code::Output)
    }

    fn flush(&mut self) {
        let [_, output, _] = console::standard_descriptors();
        if let Err(errno) = write_all(output, &self.pending) {
            self.failed.get_or_insert(errno);
        }
        self.pending.clear();
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.as_bytes().chunks(ROOM) {
            if self.pending.extend_from_slice(part).is_err() {
                self.flush();
                // It was emptied, and the part is no larger than it.
                let _ = self.pending.extend_from_slice(part);
            }
        }
        // Failures are told once, at the end.
        Ok(())
    }
}

/// Writes all of `bytes`.
///
/// # Errors
/// Those of write(2) but `EINTR`.
pub(super) fn write_all(file: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    let file: BorrowedFd<'_> = file.as_fd();
    let mut rest = bytes;
    while !rest.is_empty() {
        match write(file, rest) {
            Ok(len) => rest = rest.get(len..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
