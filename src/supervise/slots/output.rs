//! Output: the pipes of the containers' standard output and standard error.

use rustix::fd::OwnedFd;
use rustix::io::{Errno, read};

use super::Slots;
use crate::events::Stream;
use crate::supervise::lines::Lines;
use crate::supervise::token::Token;
use crate::sys::epoll::{Epoll, Interest};

/// How much output is read at once, in bytes. Others get their turn in between.
pub(in crate::supervise) const READ: usize = 512;

/// The kernel's default capacity of a pipe (pipe(7)), in reads.
const READS_OF_A_PIPE: usize = 64 * 1024 / READ;

/// One of a container's streams.
pub(super) struct OutputPipe {
    pub(super) stream: Stream,
    /// The end that is read; none when the other one was closed.
    pub(super) pipe: Option<OwnedFd>,
    lines: Lines,
}

impl OutputPipe {
    /// A stream of which nothing was read.
    pub(super) fn new(stream: Stream, pipe: OwnedFd) -> Self {
        Self {
            stream,
            pipe: Some(pipe),
            lines: Lines::default(),
        }
    }

    /// Reads once, and calls `line` with each line that is complete. Whether that was the end;
    /// `None` if there is nothing to read now.
    #[inline(never)]
    fn read(&mut self, line: &mut dyn FnMut(Stream, &[u8])) -> Option<bool> {
        let pipe = self.pipe.as_ref()?;
        let mut buffer = [0; READ];
        match read(pipe, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => None,
            Ok(len) if len > 0 => {
                let bytes = buffer.get(..len).unwrap_or_default();
                self.lines.push(bytes, &mut |text| line(self.stream, text));
                Some(false)
            }
            _ => {
                self.finish(line);
                Some(true)
            }
        }
    }

    /// Calls `line` with what is left of a last line that had no end.
    fn finish(&mut self, line: &mut dyn FnMut(Stream, &[u8])) {
        self.lines.finish(&mut |text| line(self.stream, text));
    }

    /// Closes the pipe.
    pub(super) fn close(&mut self, epoll: &Epoll) {
        // A process that left the container alive may still hold the other end, and the watch with
        // it.
        if let Some(pipe) = self.pipe.take() {
            epoll.remove(pipe);
        }
    }
}

impl Slots {
    /// Reads the containers' output from now on, or lets it wait in their pipes.
    pub(in crate::supervise) fn read_output_if(&mut self, epoll: &Epoll, is_wanted: bool) {
        if self.is_output_read == is_wanted {
            return;
        }
        self.is_output_read = is_wanted;
        for (index, slot) in self.slots.iter().enumerate() {
            for output in slot.iter().flat_map(|slot| &slot.output) {
                if let Some(pipe) = &output.pipe {
                    let token = Token::Output(index, output.stream);
                    // It is watched already; what was added can be changed.
                    let _ = epoll.change(pipe, token.encode(), interest(is_wanted));
                }
            }
        }
    }

    /// Reads once from a stream of the container at `index`, and calls `line` with each line that
    /// is complete.
    pub(in crate::supervise) fn read_output(
        &mut self,
        epoll: &Epoll,
        index: usize,
        stream: Stream,
        line: &mut dyn FnMut(Stream, &[u8]),
    ) {
        let outputs = self.at(index).into_iter().flat_map(|slot| &mut slot.output);
        for output in outputs.filter(|output| output.stream == stream) {
            if output.read(line) == Some(true) {
                output.close(epoll);
            }
        }
    }

    /// Reads what is left in the pipes of the container at `index`, up to what a pipe can hold.
    pub(in crate::supervise) fn finish_output(
        &mut self,
        index: usize,
        line: &mut dyn FnMut(Stream, &[u8]),
    ) {
        for output in self.at(index).into_iter().flat_map(|slot| &mut slot.output) {
            let mut reads = 0..READS_OF_A_PIPE;
            while reads.next().is_some() && output.read(line) == Some(false) {}
            output.finish(line);
        }
    }
}

/// What a pipe is watched for.
pub(super) const fn interest(is_read: bool) -> Interest {
    match is_read {
        true => Interest::IN,
        false => Interest::empty(),
    }
}
