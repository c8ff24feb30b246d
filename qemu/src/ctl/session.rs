//! One request from its beginning to its end.
//!
//! Three threads wait, for the machine, for signals and for the user's input, and tell the one that
//! acts. It never waits for the machine to take something: a machine that takes no more input
//! before its output is read would wait for us as we for it. So a fourth thread writes.

use std::io::{self, ErrorKind, IsTerminal};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use rustix::termios::{Winsize, tcgetwinsize};
use serde_json::{Value, json};

use super::output::{self, Form};
use super::stdin::Typed;
use super::verb::Verb;
use super::{FAILED, stdin};
use crate::control::{self, Client, Lost, Reply};
use crate::terminal::RawMode;

/// How long a machine may say nothing before the user is told what that may mean.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a machine has for the end of what was cancelled.
const CANCEL: Duration = Duration::from_secs(2);

/// The status of a program that a signal has ended, without the signal's number.
const SIGNALLED: u8 = 128;

/// The status if the user has left the program alone, as with `docker` and `podman`.
const LEFT: u8 = 0;

/// What can happen.
enum Happening {
    Reply(u64, Reply),
    Lost(Lost),
    Signal(Signal),
    Typed(Typed),
}

/// Sees the request of `verb` to its end. Returns the status to exit with.
///
/// # Errors
/// No machine is there, or it does not keep to the protocol.
pub(super) fn run(socket: &Path, verb: &Verb, is_json: bool) -> Result<u8> {
    let form = match verb {
        _ if is_json => Form::Json,
        Verb::Exec(_) => Form::Bytes,
        _ => Form::Lines,
    };
    let (happens, happenings) = mpsc::channel();
    // From the first message on, what was asked for is cancelled and not only left alone.
    follow_signals(happens.clone())?;
    let client = Client::new(control::connect(socket)?)?;
    let (sender, mut receiver) = client.split();
    let size = window_size();
    let id = sender.send(verb.request(form == Form::Lines, size)?)?;

    let replies = happens.clone();
    thread::spawn(move || {
        loop {
            let (happening, is_over) = match receiver.next(None) {
                Ok((id, reply)) => (Happening::Reply(id, reply), false),
                Err(lost) => (Happening::Lost(lost), true),
            };
            if replies.send(happening).is_err() || is_over {
                return;
            }
        }
    });
    let (outgoing, to_send) = mpsc::channel();
    let numbers = sender.clone();
    thread::spawn(move || {
        for message in to_send {
            // A machine that is gone is found by whoever reads.
            if sender.send_numbered(&message).is_err() {
                return;
            }
        }
    });
    let (taken, to_take) = mpsc::channel();
    let mut session = Session {
        id,
        verb,
        form,
        happenings,
        outgoing,
        numbers,
        taken,
        untaken: None,
    };
    let raw = match verb {
        Verb::Exec(exec) if exec.interactive => {
            let raw = exec.tty.then(RawMode::new).transpose()?;
            let tell = move |typed| happens.send(Happening::Typed(typed)).is_ok();
            stdin::follow(exec.tty, to_take, tell);
            raw
        }
        Verb::Exec(exec) if !exec.tty => {
            session.input(&[]);
            None
        }
        _ => None,
    };
    let ended = session.follow();
    // What is said about the end needs a terminal that begins lines anew.
    drop(raw);
    match ended? {
        Ended::With(status) => Ok(status),
        Ended::Refused(refusal) => {
            output::complain(&refusal.text, &refusal.hint);
            Ok(refusal.status.unwrap_or(FAILED))
        }
    }
}

/// How a request ended.
enum Ended {
    With(u8),
    Refused(control::Refusal),
}

struct Session<'v> {
    id: u64,
    verb: &'v Verb,
    form: Form,
    happenings: Receiver<Happening>,
    outgoing: Sender<Value>,
    /// Where the numbers of messages come from.
    numbers: control::Sender,
    /// Told when the machine has taken what was typed.
    taken: Sender<()>,
    /// The number of the input that it has not taken yet.
    untaken: Option<u64>,
}

impl Session<'_> {
    fn follow(&mut self) -> Result<Ended> {
        let mut is_silent = self.verb.is_quick();
        loop {
            let happening = match is_silent {
                true => self.happenings.recv_timeout(SILENCE),
                false => self.happenings.recv().map_err(RecvTimeoutError::from),
            };
            match happening {
                Err(RecvTimeoutError::Timeout) => {
                    output::complain(
                        "the machine has not answered yet",
                        "it may still boot, or berth may not be its PID 1, or something else is \
                         connected to its control port; Ctrl-C ends this",
                    );
                    is_silent = false;
                }
                Err(RecvTimeoutError::Disconnected) => bail!("nobody follows the machine"),
                Ok(Happening::Reply(id, reply)) if id == self.id => {
                    is_silent = false;
                    if let Some(ended) = self.take(reply)? {
                        return Ok(ended);
                    }
                }
                Ok(Happening::Reply(id, _)) if Some(id) == self.untaken => {
                    self.untaken = None;
                    // Nobody waits at the end of the input.
                    let _ = self.taken.send(());
                }
                // To whom was here before.
                Ok(Happening::Reply(..)) => {}
                Ok(Happening::Lost(Lost::Closed)) if self.verb.is_end() => {
                    return Ok(Ended::With(0));
                }
                Ok(Happening::Lost(lost)) => return Err(lost.into()),
                Ok(Happening::Signal(Signal::SIGWINCH)) => self.resize(),
                Ok(Happening::Signal(signal)) => {
                    self.cancel();
                    return Ok(Ended::With(SIGNALLED + signal as u8));
                }
                Ok(Happening::Typed(Typed::Input(bytes))) => self.input(&bytes),
                Ok(Happening::Typed(Typed::Leave)) => return Ok(Ended::With(LEFT)),
            }
        }
    }

    /// Takes a part of the answer.
    fn take(&self, reply: Reply) -> Result<Option<Ended>> {
        Ok(match reply {
            Reply::More(more) => match output::write(self.form, &more) {
                Ok(()) => None,
                Err(error) if is_broken_pipe(&error) => {
                    self.cancel();
                    Some(Ended::With(SIGNALLED + Signal::SIGPIPE as u8))
                }
                Err(error) => return Err(error),
            },
            Reply::Ok(object) => {
                let status = match self.verb {
                    Verb::Exec(_) => object["status"]
                        .as_u64()
                        .and_then(|status| u8::try_from(status).ok())
                        .context("the machine does not say how the program ended")?,
                    _ => 0,
                };
                Some(Ended::With(status))
            }
            Reply::Refused(refusal) => Some(Ended::Refused(refusal)),
        })
    }

    /// Ends the request before its time: waits until that is done, for a moment, or until one more
    /// signal.
    fn cancel(&self) {
        self.send(json!({ "do": "cancel", "for": self.id }));
        let deadline = Instant::now() + CANCEL;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.happenings.recv_timeout(left) {
                Ok(Happening::Reply(id, reply))
                    if id != self.id || matches!(reply, Reply::More(_)) => {}
                Ok(Happening::Signal(Signal::SIGWINCH)) => {}
                _ => return,
            }
        }
    }

    fn resize(&self) {
        if let Verb::Exec(exec) = self.verb
            && exec.tty
            && let Some(size) = window_size()
        {
            let (rows, columns) = (size.ws_row, size.ws_col);
            self.send(json!({ "do": "resize", "for": self.id, "rows": rows, "columns": columns }));
        }
    }

    /// Passes on input; its end, if it is empty.
    fn input(&mut self, bytes: &[u8]) {
        let message = match bytes {
            [] => json!({ "do": "input", "for": self.id, "end": true }),
            _ => control::input(self.id, bytes),
        };
        self.untaken = Some(self.send(message));
    }

    /// Has a message sent. Returns its number. A machine that is gone is found by whoever reads.
    fn send(&self, mut message: Value) -> u64 {
        let id = self.numbers.number();
        message["id"] = id.into();
        let _ = self.outgoing.send(message);
        id
    }
}

/// The size of the user's terminal.
fn window_size() -> Option<Winsize> {
    if io::stdin().is_terminal() {
        return tcgetwinsize(io::stdin()).ok();
    }
    tcgetwinsize(io::stdout()).ok()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Has signals told instead of acted on. Those that are ignored, as HUP by nohup(1), stay so.
fn follow_signals(happens: Sender<Happening>) -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored(&status);
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGWINCH,
    ] {
        if ignored & (1 << (signal as u32 - 1)) == 0 {
            signals.add(signal);
        }
    }
    // Threads that are made later have it so too, and so none of them acts on one.
    signals.thread_block().context("block signals")?;
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if happens.send(Happening::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The set of signals that a process ignores (proc_pid_status(5), `SigIgn`).
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_are_ignored_are_known() {
        let status = "Name:\tctl\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored(status), 1 << (Signal::SIGPIPE as u32 - 1) | 1);
        assert_eq!(ignored(""), 0);
    }
}
