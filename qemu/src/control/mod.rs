//! The host's end of a machine's control port: the protocol of `docs/control.md`.
//!
//! A [`Client`] sends requests and collects what is answered:
//!
//! ```no_run
//! # fn test(vm: &berth_qemu::vm::Vm) -> anyhow::Result<()> {
//! use serde_json::json;
//! let mut client = vm.control()?;
//! let containers = client.ask(json!({ "do": "list" }))?;
//! let ran = client.exec(json!({ "container": "web", "args": ["cat"] }), b"hello")?;
//! assert_eq!((ran.stdout.as_slice(), ran.status), (&b"hello"[..], 0));
//! # Ok(()) }
//! ```
//!
//! It speaks to whatever stands behind a socket: QEMU's end of the port, or a machine's
//! `/run/berth/control` that somebody has passed on as a stream.
//!
//! One client is connected to a port at a time, and the next one may find what the one before has
//! left: the rest of an answer, or answers to requests that were still being done. So each client
//! begins with an empty line, at which the machine forgets the one before, begins its numbers
//! somewhere else, and skips what it cannot read until its own first answer.

mod socket;
mod wire;

pub use socket::remove;
pub(crate) use socket::{Lock, connect, listen};
pub use wire::{Lost, MESSAGE_MAX, Receiver, Refusal, Reply, Sender, bytes_of, input};

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The name of the port.
pub const PORT: &str = "org.berth.control";

/// The most bytes of input that one message carries. While the machine cannot pass them on, it has
/// room for as much again as they leave of [`MESSAGE_MAX`]: for what cancels their request.
pub const INPUT_MAX: usize = 4096;

/// How long a [`Client`] waits for a message. An emulated machine on a busy host is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time of this host, for a machine that goes on after a freeze: nanoseconds since 1970.
///
/// # Errors
/// The host's clock is before 1970.
pub fn nanoseconds_now() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_nanos())?)
}

/// 64 bytes that nobody else knows, in base64, for the same.
///
/// # Errors
/// The host has no `/dev/urandom`.
pub fn entropy() -> Result<String> {
    let mut bytes = [0; 64];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(STANDARD.encode(bytes))
}

/// All that was answered to one request.
#[derive(Debug)]
pub struct Answer {
    /// What came before the end.
    pub more: Vec<Value>,
    /// How it ended.
    pub end: Result<Value, Refusal>,
}

/// What a program did that `exec` has run.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    /// What it wrote to standard output, or to its terminal.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// Its status, as a shell has it.
    pub status: i64,
}

/// A connection, for one thread that asks and waits. Whoever has to do both at once takes it apart
/// with [`Client::split`].
pub struct Client {
    sender: Sender,
    receiver: Receiver,
    /// Replies that somebody will ask for later.
    kept: VecDeque<(u64, Reply)>,
    patience: Duration,
}

impl Client {
    /// Connects to a socket.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(socket: &Path) -> Result<Self> {
        Self::new(connect(socket)?)
    }

    /// Speaks over a stream that is connected.
    ///
    /// # Errors
    /// The stream's other end is gone.
    pub fn new(stream: UnixStream) -> Result<Self> {
        let sender = Sender::new(stream.try_clone()?)?;
        Ok(Self {
            receiver: Receiver::new(stream, sender.first()),
            sender,
            kept: VecDeque::new(),
            patience: PATIENCE,
        })
    }

    /// Waits so long for a message, and then fails with what came so far; a minute unless said.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Both halves.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// The half that sends, for another thread.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Sends a request. Returns its number.
    ///
    /// # Errors
    /// The machine is gone, or the request is larger than a message may be.
    pub fn begin(&self, request: Value) -> Result<u64> {
        self.sender.send(request)
    }

    /// Waits for the next reply to that request. Replies to others are kept until they are asked
    /// for.
    ///
    /// # Errors
    /// None came in time; with what came so far.
    pub fn next(&mut self, id: u64) -> Result<Reply> {
        if let Some(at) = self.kept.iter().position(|(other, _)| *other == id)
            && let Some((_, reply)) = self.kept.remove(at)
        {
            return Ok(reply);
        }
        loop {
            match self.receive()? {
                (other, reply) if other == id => return Ok(reply),
                other => self.kept.push_back(other),
            }
        }
    }

    /// Waits for the next reply to anything.
    ///
    /// # Errors
    /// As [`Client::next`].
    pub fn next_of_all(&mut self) -> Result<(u64, Reply)> {
        match self.kept.pop_front() {
            Some(reply) => Ok(reply),
            None => self.receive(),
        }
    }

    fn receive(&mut self) -> Result<(u64, Reply)> {
        let deadline = Instant::now() + self.patience;
        self.receiver
            .next(Some(deadline))
            .map_err(|lost| anyhow!("{lost}; {}", self.receiver.heard()))
    }

    /// Waits for all of the answer to that request.
    ///
    /// # Errors
    /// As [`Client::next`].
    pub fn finish(&mut self, id: u64) -> Result<Answer> {
        let mut more = Vec::new();
        let end = loop {
            match self.next(id)? {
                Reply::More(object) => more.push(serde_json::from_str(object.get())?),
                Reply::Ok(object) => break Ok(object),
                Reply::Refused(refusal) => break Err(refusal),
            }
        };
        Ok(Answer { more, end })
    }

    /// Sends a request, and waits for all of its answer.
    ///
    /// # Errors
    /// As [`Client::next`].
    pub fn request(&mut self, request: Value) -> Result<Answer> {
        let what = request.to_string();
        let id = self.begin(request)?;
        self.finish(id)
            .with_context(|| format!("the answer to {what}"))
    }

    /// Sends a request that has to be done. Returns what came as `more`.
    ///
    /// # Errors
    /// It was refused, or as [`Client::next`].
    pub fn ask(&mut self, request: Value) -> Result<Vec<Value>> {
        let what = request.to_string();
        let answer = self.request(request)?;
        match answer.end {
            Ok(_) => Ok(answer.more),
            Err(refusal) => bail!("{what}: {refusal}"),
        }
    }

    /// Sends a request that has to be refused. Returns why.
    ///
    /// # Errors
    /// It was done, or as [`Client::next`].
    pub fn refused(&mut self, request: Value) -> Result<Refusal> {
        let what = request.to_string();
        let answer = self.request(request)?;
        match answer.end {
            Ok(object) => bail!("{what} was done: {object}"),
            Err(refusal) => Ok(refusal),
        }
    }

    /// Runs a program: `request` is all of `exec` but the verb. It is given all of `bytes` as
    /// input, a piece whenever the machine has taken the one before.
    ///
    /// # Errors
    /// It was refused, or as [`Client::next`].
    pub fn exec(&mut self, mut request: Value, bytes: &[u8]) -> Result<Ran> {
        request["do"] = "exec".into();
        let what = request.to_string();
        let id = self.begin(request)?;
        self.feed(id, bytes)
            .with_context(|| format!("the answer to {what}"))
    }

    fn feed(&mut self, id: u64, bytes: &[u8]) -> Result<Ran> {
        let end = json!({ "do": "input", "for": id, "end": true });
        let pieces = bytes.chunks(INPUT_MAX).map(|piece| input(id, piece));
        let mut pieces = pieces.chain([end]);
        let mut untaken = pieces.next().map(|piece| self.begin(piece)).transpose()?;
        let mut ran = Ran {
            stdout: Vec::new(),
            stderr: Vec::new(),
            status: 0,
        };
        loop {
            let (of, reply) = self.next_of_all()?;
            match reply {
                Reply::More(more) if of == id => {
                    let more = serde_json::from_str(more.get())?;
                    ran.stdout.extend(bytes_of(&more, "stdout")?);
                    ran.stderr.extend(bytes_of(&more, "stderr")?);
                }
                Reply::Ok(object) if of == id => {
                    ran.status = object["status"].as_i64().context("no status")?;
                    // A program may end before it has read all: that is answered, too.
                    untaken.map(|piece| self.finish(piece)).transpose()?;
                    return Ok(ran);
                }
                Reply::Ok(_) if Some(of) == untaken => {
                    untaken = pieces.next().map(|piece| self.begin(piece)).transpose()?;
                }
                Reply::Refused(refusal) => bail!("{refusal}"),
                other => bail!("{other:?} is the answer to {of}"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
