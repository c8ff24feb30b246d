//! Between a container's terminal and ours: what is typed goes in, what is printed comes out.
//!
//! The container's terminal is a pair (pty(7)) of which this process has one end. Ours, if standard
//! input is one, becomes *raw* meanwhile: what is typed goes through as it is, and the container's
//! own line discipline makes of it what it has to (termios(3)). It is put back whatever happens,
//! but for a SIGKILL.

use core::ops::Range;

use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, ioctl_fionbio, read, write};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::terminal;
use super::{Call, OrReport, Reported};
use crate::error::{Code, During, Op};
use crate::sys::console::standard_descriptors;

/// Our terminal, raw until this goes.
struct Raw(Termios);

impl Raw {
    /// `None` if standard input is no terminal.
    fn set() -> Option<Self> {
        let [input, ..] = standard_descriptors();
        let saved = tcgetattr(input).ok()?;
        let mut raw = saved.clone();
        raw.make_raw();
        tcsetattr(input, OptionalActions::Drain, &raw).ok()?;
        Some(Self(saved))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let [input, ..] = standard_descriptors();
        let _ = tcsetattr(input, OptionalActions::Drain, &self.0);
    }
}

/// What is on its way in one direction.
struct Stream {
    bytes: [u8; 4096],
    /// What of them was read and not written yet.
    pending: Range<usize>,
    /// There is no more to read, or nobody to write to.
    is_closed: bool,
}

impl Stream {
    const EMPTY: Self = Self {
        bytes: [0; 4096],
        pending: 0..0,
        is_closed: false,
    };

    fn has_room(&self) -> bool {
        !self.is_closed && self.pending.is_empty()
    }

    fn fill(&mut self, from: BorrowedFd<'_>) {
        match read(from, &mut self.bytes) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            // EIO is the end of a terminal that nobody has open any more.
            Ok(0) | Err(_) => self.is_closed = true,
            Ok(len) => self.pending = 0..len,
        }
    }

    fn empty(&mut self, to: BorrowedFd<'_>) {
        let bytes = self.bytes.get(self.pending.clone()).unwrap_or_default();
        match write(to, bytes) {
            Ok(len) => self.pending.start += len,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => {
                self.pending = 0..0;
                self.is_closed = true;
            }
        }
    }
}

/// The size of our terminal, rows and columns, if it is one.
pub(super) fn size() -> Option<[u16; 2]> {
    let [input, ..] = standard_descriptors();
    tcgetwinsize(input)
        .ok()
        .map(|size| [size.ws_row, size.ws_col])
}

/// Both directions.
pub(super) struct Relay {
    terminal: OwnedFd,
    inward: Stream,
    outward: Stream,
    _raw: Option<Raw>,
}

impl Relay {
    /// Between the outer end of the container's terminal, which is received from `socket`, and the
    /// standard descriptors.
    ///
    /// # Errors
    /// [`Code::Terminal`].
    pub(super) fn start(call: &Call<'_>, socket: &OwnedFd) -> Result<Self, Reported> {
        let terminal = terminal::receive(socket).or_report(call, Code::Terminal)?;
        // A program that does not read must not keep us from taking what it writes.
        ioctl_fionbio(&terminal, true)
            .during(Op::Terminal, "the container's terminal")
            .or_report(call, Code::Terminal)?;
        let relay = Self {
            terminal,
            inward: Stream::EMPTY,
            outward: Stream::EMPTY,
            _raw: Raw::set(),
        };
        relay.copy_size();
        Ok(relay)
    }

    /// Gives the container's terminal the size of ours.
    pub(super) fn copy_size(&self) {
        let [input, ..] = standard_descriptors();
        if let Ok(size) = tcgetwinsize(input) {
            let _ = tcsetwinsize(&self.terminal, size);
        }
    }

    /// What to wait for at each descriptor. Nothing, where it would be told of a hang-up again and
    /// again.
    pub(super) fn wanted(&self) -> [(BorrowedFd<'_>, PollFlags); 3] {
        let [input, output, _] = standard_descriptors();
        let when = |condition, flag| if condition { flag } else { PollFlags::empty() };
        let of_terminal = when(self.outward.has_room(), PollFlags::IN)
            | when(!self.inward.pending.is_empty(), PollFlags::OUT);
        [
            (self.terminal.as_fd(), of_terminal),
            (input, when(self.inward.has_room(), PollFlags::IN)),
            (output, when(self.has_output(), PollFlags::OUT)),
        ]
    }

    /// Whether something waits to be printed.
    pub(super) fn has_output(&self) -> bool {
        !self.outward.pending.is_empty()
    }

    /// Moves what can be moved, after waiting.
    pub(super) fn serve(&mut self, [terminal, input, output]: [PollFlags; 3]) {
        let [from, to, _] = standard_descriptors();
        if !output.is_empty() {
            self.outward.empty(to);
        }
        if !terminal.is_empty() {
            if !self.inward.pending.is_empty() {
                self.inward.empty(self.terminal.as_fd());
            }
            if self.outward.has_room() {
                self.outward.fill(self.terminal.as_fd());
            }
        }
        if !input.is_empty() {
            self.inward.fill(from);
        }
    }
}
