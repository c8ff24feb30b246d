//! A conversation with systemd: over a bus, or directly over its own socket.
//!
//! The peer may be slow, silent or anybody, so all of a conversation has one deadline, nothing is
//! read that is not expected, and what is read has a fixed room.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::cause::Cause;
use crate::errno;
use crate::error::DETAIL_MAX;
use crate::parse::dbus::address::sockets;
use crate::parse::dbus::read::{Message, START, size};
use crate::parse::dbus::write::{Method, Writer};
use crate::parse::dbus::{BUS, Kind, SYSTEMD};
use crate::sys::buffer::Buffer;
use crate::sys::clock::{self, Moment};
use crate::sys::socket::connect_within;
use crate::text::{Escaped, Text};

/// How long all of a conversation may take: as long as D-Bus gives one call.
const PATIENCE: Duration = Duration::from_secs(25);

/// Bytes that a message of ours has at most.
const SENT_MAX: usize = 16 << 10;
/// Bytes that one for us has at most; longer ones are none that is waited for.
const RECEIVED_MAX: usize = 64 << 10;

const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// The signals that are waited for: a bus sends none that nobody has asked for.
const JOB_REMOVED: &str = "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// Why systemd has not done what it was asked.
#[derive(Debug)]
pub(super) struct Failed {
    /// What the kernel answered, if it was that.
    pub(super) errno: Option<Errno>,
    /// Why: whether systemd said it itself.
    pub(super) cause: Cause,
    /// What else is known.
    pub(super) detail: Text<DETAIL_MAX>,
}

impl core::fmt::Display for Failed {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let words = self.errno.and_then(errno::words);
        let separator = if words.is_some() { ": " } else { "" };
        let words = words.unwrap_or_default();
        write!(formatter, "{words}{separator}{}", self.detail)
    }
}

impl Failed {
    #[cold]
    #[inline(never)]
    pub(super) fn new(errno: impl Into<Option<Errno>>, detail: impl core::fmt::Display) -> Self {
        Self {
            errno: errno.into(),
            cause: Cause::Systemd,
            detail: Text::new(detail),
        }
    }
}

/// What the name of an error says: systemd's own are of this namespace, as are those that D-Bus
/// defines for all.
fn cause_of(name: &str) -> Cause {
    match name {
        "org.freedesktop.systemd1.NoSuchUnit" => Cause::NoSuchUnit,
        _ if name.starts_with("org.freedesktop.") => Cause::SystemdAnswer,
        _ => Cause::Systemd,
    }
}

/// The object of a job of systemd's.
type Job = heapless::String<64>;

/// The name of a peer on a bus.
type Name = heapless::String<32>;

/// A job that has ended.
struct Removed {
    job: Job,
    is_done: bool,
    result: Text<32>,
}

/// The connection.
pub(super) struct Bus {
    socket: OwnedFd,
    deadline: Moment,
    serial: u32,
    received: Buffer<RECEIVED_MAX>,
    /// The sender of the last answer: from `Subscribe` on, systemd.
    answered: Name,
    /// The last job of the unit that has ended.
    removed: Option<Removed>,
}

impl Bus {
    /// A connection by the first of `addresses` at which systemd answers: a bus may be there before
    /// systemd is on it. Of each it is said whether systemd itself listens, and not a bus.
    ///
    /// # Errors
    /// Why there is none: of the first address.
    #[inline(never)]
    pub(super) fn connect(addresses: &[(&str, bool)]) -> Result<Self, Failed> {
        let mut first = None;
        for (address, is_systemd) in addresses {
            let mut answer = Err(Errno::AFNOSUPPORT);
            for name in sockets(address) {
                answer = connect_within(&name, PATIENCE);
                if answer.is_ok() {
                    break;
                }
            }
            let begun = answer
                .map_err(|errno| Failed::new(errno, format_args!("at {address}")))
                .and_then(|socket| Self::begin(socket, *is_systemd));
            match begun {
                Ok(bus) => return Ok(bus),
                Err(failed) => {
                    first.get_or_insert(failed);
                }
            }
        }
        Err(first.unwrap_or_else(|| {
            Failed::new(
                None,
                "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set",
            )
        }))
    }

    fn begin(socket: OwnedFd, is_systemd: bool) -> Result<Self, Failed> {
        let mut bus = Self {
            socket,
            deadline: clock::now() + PATIENCE,
            serial: 0,
            received: Buffer::new(),
            answered: Name::new(),
            removed: None,
        };
        bus.authenticate()?;
        if !is_systemd {
            bus.ask_bus("Hello", None)?;
            bus.ask_bus("AddMatch", Some(JOB_REMOVED))?;
        }
        // Without this it sends signals to nobody.
        bus.ask("Subscribe", "", &mut |_| {}, "")?;
        Ok(bus)
    }

    /// Without a name: whoever is at the other end asks the kernel who this is (D-Bus
    /// Specification, "EXTERNAL"), and in a user namespace the number that this process has is
    /// another.
    fn authenticate(&mut self) -> Result<(), Failed> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        for expected in ["DATA", "OK"] {
            let mut line = Text::<96>::EMPTY;
            loop {
                let mut byte = [0];
                self.receive(&mut byte)?;
                match byte {
                    [b'\n'] => break,
                    [byte] if line.as_str().len() < 80 => {
                        line.push(format_args!(
                            "{}",
                            Escaped(char::from(byte).encode_utf8(&mut [0; 4]))
                        ));
                    }
                    _ => return Err(no_bus()),
                }
            }
            if !line.as_str().starts_with(expected) {
                return Err(Failed::new(
                    Errno::ACCESS,
                    format_args!("authentication failed: {}", line.as_str()),
                ));
            }
        }
        Ok(())
    }

    fn ask_bus(&mut self, member: &str, argument: Option<&str>) -> Result<(), Failed> {
        let method = Method {
            destination: BUS,
            path: "/org/freedesktop/DBus",
            interface: BUS,
            member,
            signature: if argument.is_some() { "s" } else { "" },
        };
        let body = &mut |writer: &mut Writer<'_>| {
            if let Some(argument) = argument {
                writer.string(argument);
            }
        };
        self.call(&method, body, "").map(drop)
    }

    /// Calls a method of systemd's manager; the job that it returns. Of jobs of `unit` that end
    /// meanwhile a note is made.
    ///
    /// # Errors
    /// Why it failed: in systemd's words.
    pub(super) fn ask(
        &mut self,
        member: &str,
        signature: &str,
        body: &mut dyn FnMut(&mut Writer<'_>),
        unit: &str,
    ) -> Result<Job, Failed> {
        let method = Method {
            destination: SYSTEMD,
            path: "/org/freedesktop/systemd1",
            interface: MANAGER,
            member,
            signature,
        };
        self.removed = None;
        self.call(&method, body, unit)
    }

    #[inline(never)]
    fn call(
        &mut self,
        method: &Method<'_>,
        body: &mut dyn FnMut(&mut Writer<'_>),
        unit: &str,
    ) -> Result<Job, Failed> {
        self.serial += 1;
        let serial = self.serial;
        let mut room = Buffer::<SENT_MAX>::new();
        let room = room
            .bytes_mut()
            .map_err(|errno| Failed::new(errno, "a message"))?;
        let message = Writer::call(room, serial, method, body);
        let message = message.ok_or_else(|| Failed::new(Errno::MSGSIZE, "a message"))?;
        self.send(message)?;
        loop {
            let mut answer = None;
            let mut sender = Name::new();
            self.next(unit, &mut |message| {
                if message.reply_to != serial {
                    return Some(());
                }
                sender = Name::try_from(message.sender).ok()?;
                let mut body = message.body;
                answer = Some(match message.kind {
                    Kind::Return if message.signature.starts_with('o') => {
                        Job::try_from(body.string()?).map_err(|_| no_bus())
                    }
                    Kind::Return => Ok(Job::new()),
                    Kind::Error => {
                        let words = Some(message.signature).filter(|types| types.starts_with('s'));
                        let words = words.and_then(|_| body.string()).unwrap_or_default();
                        Err(Failed {
                            cause: cause_of(message.error),
                            ..Failed::new(None, format_args!("{}: {words}", message.error))
                        })
                    }
                    Kind::Call | Kind::Signal => return Some(()),
                });
                Some(())
            })?;
            if let Some(answer) = answer {
                self.answered = sender;
                return answer;
            }
        }
    }

    /// Waits for the end of a job of `unit`.
    ///
    /// # Errors
    /// How it ended, if it is not done.
    pub(super) fn wait_for(&mut self, job: &Job, unit: &str) -> Result<(), Failed> {
        loop {
            match &self.removed {
                Some(removed) if removed.job == *job => {
                    return match removed.is_done {
                        true => Ok(()),
                        false => Err(Failed::new(
                            None,
                            format_args!("its job ended as {}", removed.result),
                        )),
                    };
                }
                _ => self.next(unit, &mut |_| Some(()))?,
            }
        }
    }

    /// Receives a message, and has `see` look at it if it is not a signal about `unit`; `None` for
    /// one that is none.
    #[inline(never)]
    fn next(
        &mut self,
        unit: &str,
        see: &mut dyn FnMut(&Message<'_>) -> Option<()>,
    ) -> Result<(), Failed> {
        let mut start = [0; START];
        self.receive(&mut start)?;
        let mut left = size(&start).ok_or_else(no_bus)?;
        let mut room = core::mem::take(&mut self.received);
        let bytes = room
            .bytes_mut()
            .map_err(|errno| Failed::new(errno, "a message"))?;
        if left > bytes.len() {
            left -= START;
            while left > 0 {
                let part = left.min(bytes.len());
                self.receive(bytes.get_mut(..part).unwrap_or_default())?;
                left -= part;
            }
            self.received = room;
            return Ok(());
        }
        let (head, rest) = bytes.split_at_mut_checked(START).ok_or_else(no_bus)?;
        head.copy_from_slice(&start);
        let rest = rest.get_mut(..left.saturating_sub(START));
        self.receive(rest.unwrap_or_default())?;
        let message = Message::parse(bytes.get(..left).unwrap_or_default()).ok_or_else(no_bus)?;
        let is_about_a_job = message.kind == Kind::Signal
            && message.member == "JobRemoved"
            && message.interface == MANAGER
            && message.signature == "uoss";
        let seen = if is_about_a_job && message.sender == self.answered.as_str() {
            self.note(&message, unit)
        } else {
            see(&message)
        };
        self.received = room;
        seen.ok_or_else(no_bus)
    }

    /// Makes a note of a job that has ended, if it is one of `unit`.
    fn note(&mut self, message: &Message<'_>, unit: &str) -> Option<()> {
        let mut body = message.body;
        body.u32()?;
        let (job, of, result) = (body.string()?, body.string()?, body.string()?);
        if of == unit {
            self.removed = Some(Removed {
                job: Job::try_from(job).ok()?,
                is_done: result == "done",
                result: Text::new(Escaped(result)),
            });
        }
        Some(())
    }

    fn send(&self, mut bytes: &[u8]) -> Result<(), Failed> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        while !bytes.is_empty() {
            match send(&self.socket, bytes, flags) {
                Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(errno) => return Err(broken(errno)),
            }
        }
        Ok(())
    }

    fn receive(&self, mut room: &mut [u8]) -> Result<(), Failed> {
        while !room.is_empty() {
            // A peer that never stops sending is not listened to for ever either.
            if clock::now() >= self.deadline {
                return Err(too_late());
            }
            match recv(&self.socket, &mut *room, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(broken(Errno::CONNRESET)),
                Ok((len, _)) => room = room.get_mut(len..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(errno) => return Err(broken(errno)),
            }
        }
        Ok(())
    }

    fn wait(&self, what: PollFlags) -> Result<(), Failed> {
        let left = self.deadline.from_now();
        match poll(&mut [PollFd::new(&self.socket, what)], Some(&left)) {
            Ok(1..) | Err(Errno::INTR) => Ok(()),
            Ok(_) => Err(too_late()),
            Err(errno) => Err(broken(errno)),
        }
    }
}

#[cold]
fn broken(errno: Errno) -> Failed {
    let is_closed = matches!(errno, Errno::CONNRESET | Errno::PIPE);
    match is_closed {
        true => Failed::new(None, "the connection was closed"),
        false => Failed::new(errno, "the connection"),
    }
}

#[cold]
fn too_late() -> Failed {
    Failed::new(
        Errno::TIMEDOUT,
        format_args!("no answer after {} s", PATIENCE.as_secs()),
    )
}

#[cold]
fn no_bus() -> Failed {
    Failed::new(Errno::BADMSG, "what listens there does not speak D-Bus")
}
