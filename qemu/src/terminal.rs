//! The user's terminal as the console of a machine.
//!
//! A terminal is put into raw mode, so that Ctrl-C goes to the guest like any other key; Ctrl-A is
//! the way out, as in QEMU's own console. Input that is not a terminal (`echo exit | make run`) is
//! held back until the guest asks for it, because a serial port has no room for what nobody reads,
//! and its end is passed on as Ctrl-D.

use std::io::{self, IsTerminal, Read};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::vm::Vm;

/// Ctrl-A, the escape key.
const ESCAPE: u8 = 0x01;
/// Ctrl-D: the end of the input, to a terminal.
const END: u8 = 0x04;

/// The terminal in raw mode. Dropped, it is as it was before.
pub struct RawMode {
    before: Option<Termios>,
}

impl RawMode {
    /// Puts stdin into raw mode, if it is a terminal.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn new() -> Result<Self> {
        if !io::stdin().is_terminal() {
            return Ok(Self { before: None });
        }
        let before = tcgetattr(io::stdin()).context("read the terminal's settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)
            .context("put the terminal into raw mode")?;
        Ok(Self {
            before: Some(before),
        })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A terminal that is gone needs no repair.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Passes stdin to the machine's console in a thread of its own. Input that is no terminal waits
/// for `prompt`.
pub fn pass_input(vm: Arc<Vm>, prompt: &'static str) {
    thread::spawn(move || {
        let is_terminal = io::stdin().is_terminal();
        // Whether the machine ended or failed first is told to whoever waits for its end.
        if !is_terminal && vm.expect_console(prompt).is_err() {
            return;
        }
        let mut escape = Escape::default();
        let mut bytes = [0; 256];
        while let Ok(count @ 1..) = io::stdin().read(&mut bytes) {
            let mut input = bytes[..count].to_vec();
            if is_terminal {
                let (passed, is_over) = escape.pass(&input);
                if is_over {
                    // Whoever waits for the machine's end learns of it.
                    let _ = vm.quit();
                    return;
                }
                input = passed;
            }
            if vm.send_console(&input).is_err() {
                return;
            }
        }
        // The machine may have ended at the last line, before the end of the input.
        let _ = vm.send_console(&[END]);
    });
}

/// Where we are in a sequence that begins with the escape key.
#[derive(Default)]
struct Escape {
    is_open: bool,
}

impl Escape {
    /// What is to be passed on, and whether the user wants to leave: Ctrl-A x. Ctrl-A twice is
    /// Ctrl-A.
    fn pass(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::new();
        for &byte in input {
            if self.is_open {
                self.is_open = false;
                match byte {
                    b'x' => return (passed, true),
                    ESCAPE => passed.push(ESCAPE),
                    other => passed.extend([ESCAPE, other]),
                }
            } else if byte == ESCAPE {
                self.is_open = true;
            } else {
                passed.push(byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_passed_as_they_are() {
        assert_eq!(
            Escape::default().pass(b"ls\x03\r"),
            (b"ls\x03\r".to_vec(), false)
        );
    }

    #[test]
    fn escape_and_x_leave_even_in_two_reads() {
        let mut escape = Escape::default();
        assert_eq!(escape.pass(b"a\x01"), (b"a".to_vec(), false));
        assert_eq!(escape.pass(b"xb"), (b"".to_vec(), true));
    }

    #[test]
    fn escape_twice_is_one_and_before_another_key_nothing_is_lost() {
        assert_eq!(
            Escape::default().pass(b"\x01\x01b"),
            (b"\x01b".to_vec(), false)
        );
        assert_eq!(Escape::default().pass(b"\x01b"), (b"\x01b".to_vec(), false));
    }
}
