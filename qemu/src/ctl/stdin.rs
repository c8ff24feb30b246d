//! Standard input on its way to a program in the machine.

use std::io::{self, ErrorKind, IsTerminal, Read};
use std::sync::mpsc::Receiver;
use std::thread;

use crate::control::INPUT_MAX;

/// Ctrl-].
const LEAVE: u8 = 0x1d;
/// How often in a row it has to be typed.
const TIMES: usize = 3;
/// Ctrl-D: the end of the input, to a terminal.
const END: u8 = 0x04;

/// What comes of standard input.
pub(super) enum Typed {
    /// Bytes for the program, or none at the end.
    Input(Vec<u8>),
    /// The user leaves the program alone.
    Leave,
}

/// Reads standard input in a thread of its own, for a program that has a terminal if `tty` is set.
/// `tell` gets what comes of it, and says whether to go on. No more is read until something comes
/// through `taken`.
pub(super) fn follow(
    tty: bool,
    taken: Receiver<()>,
    tell: impl Fn(Typed) -> bool + Send + 'static,
) {
    thread::spawn(move || {
        let is_terminal = tty && io::stdin().is_terminal();
        let send = |typed: &[u8]| tell(Typed::Input(typed.to_vec())) && taken.recv().is_ok();
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
                tell(Typed::Leave);
                return;
            }
            if !send(typed) {
                return;
            }
        }
        send(if tty { &[END] } else { &[] });
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
