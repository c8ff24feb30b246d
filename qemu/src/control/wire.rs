//! Messages: one JSON object a line.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The longest message to the machine in bytes, without the end of its line.
pub const MESSAGE_MAX: usize = 8192;

/// The longest message from it.
const ANSWER_MAX: usize = 32 * 1024;

/// Numbers begin below this, and so stay below 2^53 however many requests there are.
const FIRST_MAX: u64 = 1 << 52;

/// How many messages are kept for the report of a failure, and how much of each.
const HEARD: usize = 30;
const HEARD_LENGTH: usize = 300;

/// The half that sends. Clones send over the same connection, a whole message at a time.
#[derive(Clone)]
pub struct Sender(Arc<Outgoing>);

struct Outgoing {
    stream: Mutex<UnixStream>,
    first: u64,
    next: AtomicU64,
}

impl Sender {
    pub(super) fn new(stream: UnixStream) -> Result<Self> {
        let first = RandomState::new().build_hasher().finish() % FIRST_MAX + 1;
        let sender = Self(Arc::new(Outgoing {
            stream: Mutex::new(stream),
            first,
            next: AtomicU64::new(first),
        }));
        // Whoever was here before may have begun a line. That ends with it, and an empty line is
        // how a client begins.
        sender.send_bytes(b"\n\n")?;
        Ok(sender)
    }

    /// The number of the first message.
    pub(super) fn first(&self) -> u64 {
        self.0.first
    }

    /// A number that no message of this connection has.
    pub(crate) fn number(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a message with a number of its own, which is returned.
    ///
    /// # Errors
    /// The machine is gone, or the message is too long.
    pub fn send(&self, mut message: Value) -> Result<u64> {
        let id = self.number();
        message["id"] = id.into();
        self.send_numbered(&message)?;
        Ok(id)
    }

    /// Sends a message that has its number.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub(crate) fn send_numbered(&self, message: &Value) -> Result<()> {
        let mut line = message.to_string();
        ensure!(
            line.len() <= MESSAGE_MAX,
            "the request has {} bytes, and the machine takes {MESSAGE_MAX}",
            line.len()
        );
        line.push('\n');
        self.send_bytes(line.as_bytes())
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The machine is gone.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut stream = self.0.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream
            .write_all(bytes)
            .context("write to the control port: the machine is gone")
    }
}

/// Input for the program that the request `id` runs, of at most [`INPUT_MAX`](super::INPUT_MAX)
/// bytes. It is answered when the machine has taken it, and the next one is sent then.
pub fn input(id: u64, bytes: &[u8]) -> Value {
    json!({ "do": "input", "for": id, "data": STANDARD.encode(bytes) })
}

/// The bytes that a message carries under that name; none if it has none.
///
/// # Errors
/// It has something else there.
pub fn bytes_of(message: &Value, name: &str) -> Result<Vec<u8>> {
    match &message[name] {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => STANDARD
            .decode(text)
            .with_context(|| format!("{name}: {text}")),
        other => anyhow::bail!("{name} is {other}"),
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// The stable code, `B072`.
    pub code: String,
    /// What was tried, and why it failed.
    pub text: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: String,
    /// With which status a shell would say it: of `exec`, where no program could be run.
    pub status: Option<u8>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.text)?;
        for line in self.hint.lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

/// One answer of the machine.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A part; there is more.
    More(Box<RawValue>),
    /// It is done.
    Ok(Value),
    /// It is not done.
    Refused(Refusal),
}

/// A line of the machine.
#[derive(Deserialize)]
struct Line {
    id: u64,
    more: Option<Box<RawValue>>,
    ok: Option<Value>,
    error: Option<Refusal>,
}

impl Line {
    fn reply(self) -> Option<(u64, Reply)> {
        let reply = match (self.more, self.ok, self.error) {
            (Some(more), None, None) => Reply::More(more),
            (None, Some(ok), None) => Reply::Ok(ok),
            (None, None, Some(refusal)) => Reply::Refused(refusal),
            _ => return None,
        };
        Some((self.id, reply))
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The other end has closed the connection.
    #[error("the machine has ended, or QEMU has closed its control port")]
    Closed,
    /// The time is over.
    #[error("the machine does not answer")]
    TimedOut,
    /// What came is none of the protocol's messages.
    #[error("the machine does not speak the protocol: {0}")]
    Garbled(String),
}

/// The half that receives.
pub struct Receiver {
    stream: UnixStream,
    /// What was read and not yet returned.
    buffer: Vec<u8>,
    first: u64,
    /// An own answer was seen: from now on all that comes has to be in order.
    is_in_step: bool,
    heard: VecDeque<String>,
}

impl Receiver {
    pub(super) fn new(stream: UnixStream, first: u64) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            first,
            is_in_step: false,
            heard: VecDeque::new(),
        }
    }

    /// Waits for the next reply. Its number is 0 where the machine could not read that of the
    /// message. Replies to whoever was connected before are left out.
    ///
    /// # Errors
    /// There is none.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<(u64, Reply), Lost> {
        loop {
            let line = self.line(deadline)?;
            if line.is_empty() {
                continue;
            }
            let parsed: serde_json::Result<Line> = serde_json::from_slice(&line);
            match parsed.map(Line::reply) {
                Ok(Some((id, reply))) => {
                    let is_own = id >= self.first;
                    self.is_in_step |= is_own;
                    if is_own || id == 0 {
                        return Ok((id, reply));
                    }
                }
                _ if !self.is_in_step => {}
                Ok(None) => return Err(garbled(&line, "neither more, ok nor error")),
                Err(error) => return Err(garbled(&line, &error.to_string())),
            }
        }
    }

    /// What came last, for the report of a failure.
    pub fn heard(&self) -> String {
        if self.heard.is_empty() && self.buffer.is_empty() {
            return "nothing came so far".to_owned();
        }
        let rest = (!self.buffer.is_empty()).then(|| shorten(&self.buffer));
        let lines = self.heard.iter().cloned().chain(rest);
        let lines: Vec<_> = lines.map(|line| format!("\n  | {line}")).collect();
        format!("what came last:{}", lines.concat())
    }

    /// The next line, without its end.
    fn line(&mut self, deadline: Option<Instant>) -> Result<Vec<u8>, Lost> {
        let mut searched = 0;
        loop {
            let end = self.buffer[searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(at) = end {
                let mut line: Vec<_> = self.buffer.drain(..=searched + at).collect();
                line.pop();
                self.note(&line);
                if line.len() > ANSWER_MAX && self.is_in_step {
                    return Err(garbled(&line, &format!("{} bytes", line.len())));
                }
                return Ok(line);
            }
            if self.buffer.len() > ANSWER_MAX {
                let line = std::mem::take(&mut self.buffer);
                return Err(garbled(&line, "a line that does not end"));
            }
            searched = self.buffer.len();
            self.read(deadline)?;
        }
    }

    fn note(&mut self, line: &[u8]) {
        if self.heard.len() == HEARD {
            self.heard.pop_front();
        }
        self.heard.push_back(shorten(line));
    }

    fn read(&mut self, deadline: Option<Instant>) -> Result<(), Lost> {
        let left = match deadline {
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // The system takes zero for no limit.
                Some(left.max(Duration::from_micros(1)))
            }
            None => None,
        };
        let mut bytes = [0; 8192];
        let count = self
            .stream
            .set_read_timeout(left)
            .and_then(|()| self.stream.read(&mut bytes));
        match count {
            Ok(0) => Err(Lost::Closed),
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Ok(()),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Lost::TimedOut),
                // QEMU that is killed resets the connection: an end like another.
                _ => Err(Lost::Closed),
            },
        }
    }
}

fn garbled(line: &[u8], why: &str) -> Lost {
    Lost::Garbled(format!("{:?} ({why})", shorten(line)))
}

fn shorten(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    match text.char_indices().nth(HEARD_LENGTH) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into_owned(),
    }
}

/// So that `?` turns it into what a reader of bytes expects.
impl From<Lost> for io::Error {
    fn from(lost: Lost) -> Self {
        Self::other(lost)
    }
}
