//! Standard input on its way to a program in the machine.

use std::io::{self, ErrorKind, IsTerminal, Read};
use std::sync::mpsc::{self, Sender};
use std::thread;

use serde_json::json;

use super::session::Outgoing;
use crate::control::{INPUT_MAX, input};

/// Ctrl-].
const LEAVE: u8 = 0x1d;
/// How often in a row it has to be typed.
const TIMES: usize = 3;
/// Ctrl-D: the end of the input, to a terminal.
const END: u8 = 0x04;

/// Passes on standard input to the program that the request `id` runs, in a thread of its own. No
/// more is read than the machine has taken. `leave` is called if the user wants to leave the
/// program alone.
pub(super) fn pass_on(
    id: u64,
    tty: bool,
    outgoing: Sender<Outgoing>,
    leave: impl FnOnce() + Send + 'static,
) {
    thread::spawn(move || {
        let is_terminal = tty && io::stdin().is_terminal();
        let send = |message| {
            let (sent, sending) = mpsc::channel();
            let message = Outgoing {
                message,
                sent: Some(sent),
            };
            outgoing.send(message).is_ok() && sending.recv().is_ok()
        };
        let mut escape = Escape::default();
        let mut bytes = [0; INPUT_MAX];
        loop {
            let count = match io::stdin().read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // A terminal that is gone is the end of what is typed.
                Err(_) => break,
            };
            let typed = &bytes[..count];
            if is_terminal && escape.is_in(typed) {
                leave();
                return;
            }
            if !send(input(id, typed)) {
                return;
            }
        }
        send(match tty {
            true => input(id, &[END]),
            false => json!({ "do": "input", "for": id, "end": true }),
        });
    });
}

/// How often in a row Ctrl-] was typed so far.
#[derive(Default)]
struct Escape(usize);

impl Escape {
    /// Whether it was typed often enough.
    fn is_in(&mut self, typed: &[u8]) -> bool {
        typed.iter().any(|byte| {
            self.0 = match *byte {
                LEAVE => self.0 + 1,
                _ => 0,
            };
            self.0 == TIMES
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_leaves_by_three_in_a_row_in_whatever_pieces() {
        let mut escape = Escape::default();
        assert!(!escape.is_in(b"a\x1d\x1db\x1d"));
        assert!(!escape.is_in(b"\x1d"));
        assert!(escape.is_in(b"\x1d"));
    }
}
