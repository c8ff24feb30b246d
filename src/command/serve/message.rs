//! Messages to a client, as JSON.

use core::fmt::{self, Write as _};

use rustix::fd::AsFd;
use rustix::io::{Errno, write};

use crate::error::Error;
use crate::parse::control::REPLY_MAX;
use crate::sys::buffer::Buffer;
use crate::text::{BoundedWriter, Json, Text};

/// The message that is on its way.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Buffer<REPLY_MAX>,
    /// What of it was not taken yet.
    sent: usize,
    len: usize,
}

impl Outgoing {
    pub(super) const fn is_empty(&self) -> bool {
        self.sent == self.len
    }

    /// Forgets what was not taken, and ends the line that may have been begun.
    pub(super) fn end_line(&mut self) {
        self.clear();
        if let Some(first) = self
            .bytes
            .bytes_mut()
            .ok()
            .and_then(|room| room.first_mut())
        {
            *first = b'\n';
            self.len = 1;
        }
    }

    /// Forgets what was not taken.
    pub(super) const fn clear(&mut self) {
        (self.sent, self.len) = (0, 0);
    }

    /// Puts a message there, when there is none: `{"id":ID,"KIND":BODY}`. A body that does not fit
    /// is left out.
    #[inline(never)]
    pub(super) fn put(&mut self, id: u64, kind: &str, body: fmt::Arguments<'_>) {
        self.clear();
        let Ok(room) = self.bytes.bytes_mut() else {
            return;
        };
        let mut writer = BoundedWriter::new(room, 0);
        let mut whole = writeln!(writer, "{{\"id\":{id},\"{kind}\":{body}}}");
        self.len = writer.written().len();
        if whole.is_err() {
            let mut writer = BoundedWriter::new(room, 0);
            whole = writeln!(writer, "{{\"id\":{id},\"{kind}\":{{\"cut\":true}}}}");
            self.len = writer.written().len();
        }
        debug_assert!(whole.is_ok());
    }

    /// Puts there why something is not done.
    pub(super) fn refuse(&mut self, id: u64, failure: &Failure) {
        self.put(id, "error", format_args!("{failure}"));
    }

    /// Sends what the link takes: on a socket a message is a packet, without the end of its line.
    ///
    /// # Errors
    /// Those of write(2) but `EAGAIN`.
    pub(super) fn send(&mut self, link: impl AsFd, is_port: bool) -> Result<(), Errno> {
        while !self.is_empty() {
            let end = if is_port { self.len } else { self.len - 1 };
            let bytes = self.bytes.bytes().get(self.sent..end).unwrap_or_default();
            match write(&link, bytes) {
                Ok(len) if is_port => self.sent += len,
                Ok(_) => self.clear(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

/// Why something was not done, as JSON.
pub(super) type Failure = heapless::String<2048>;

/// A failure that a run has told of.
pub(super) fn failure(error: &Error, hint: &str) -> Failure {
    let text = Text::<1024>::new(error);
    failure_of(Text::<8>::new(error.code).as_str(), text.as_str(), hint)
}

/// The same in words.
pub(super) fn failure_of(code: &str, text: &str, hint: &str) -> Failure {
    let mut json = Failure::new();
    for (text, hint) in [(text, hint), ("it is too long to be told", "")] {
        json.clear();
        let (text, hint) = (Json(text), Json(hint));
        let told = write!(
            json,
            "{{\"code\":\"{code}\",\"text\":{text},\"hint\":{hint}}}"
        );
        if told.is_ok() {
            break;
        }
    }
    json
}
