//! Standard output: what was asked for, and nothing else. And files, which are whole or not there.

use core::fmt;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::{Errno, write};

use super::{Call, OrReport, Reported};
use crate::error::{Code, During, Fault, Op};
use crate::sys::path::path;
use crate::sys::{clock, console, signal};
use crate::text::split_last;

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

    /// Writes what is left. Where nobody reads it, this process ends as others do, unless its
    /// caller ignores SIGPIPE.
    ///
    /// # Errors
    /// [`Code::Output`]: the first write that failed.
    pub(super) fn finish(mut self, call: &Call<'_>) -> Result<(), Reported> {
        self.flush();
        if self.failed == Some(Errno::PIPE) && !call.ignores_pipes {
            signal::end_for_a_pipe();
        }
        self.failed
            .map_or(Ok(()), Err)
            .during(Op::Write, "standard output")
            .or_report(call, Code::Output)
    }

    /// Adds a line of bytes as they are.
    pub(super) fn bytes(&mut self, line: &[u8]) {
        for part in line.chunks(ROOM).chain([&b"\n"[..]]) {
            self.push(part);
        }
    }

    fn push(&mut self, part: &[u8]) {
        if self.pending.extend_from_slice(part).is_err() {
            self.flush();
            // It was emptied, and the part is no larger than it.
            let _ = self.pending.extend_from_slice(part);
        }
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
            self.push(part);
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

/// Puts `bytes` where `name` says, whole: in a new file, which takes the name by rename(2). Neither
/// follows a link that somebody has put there, or writes into a file of his.
///
/// # Errors
/// Those of openat(2), write(2) and renameat(2).
pub(super) fn replace(
    directory: BorrowedFd<'_>,
    name: &str,
    mode: u32,
    bytes: &[u8],
) -> Result<(), Fault> {
    let (parent, separator) = match split_last(name, b'/') {
        Some((parent, _)) => (parent, "/"),
        None => ("", ""),
    };
    let write = || {
        let (next, file) = loop {
            // Nobody can know it before.
            let (_, number) = clock::wall();
            let next = path(format_args!("{parent}{separator}.berth-{number:x}"))?;
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(directory, next.as_str(), flags, Mode::from_raw_mode(mode)) {
                Err(Errno::EXIST) => {}
                file => break (next, file?),
            }
        };
        write_all(file, bytes)
            .and_then(|()| renameat(directory, next.as_str(), directory, name))
            .inspect_err(|_| {
                let _ = unlinkat(directory, next.as_str(), AtFlags::empty());
            })
    };
    write().during(Op::Write, name)
}
