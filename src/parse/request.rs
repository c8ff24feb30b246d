//! What the machine's root asks of PID 1, and what that answers: packets between `berth` and
//! PID 1.
//!
//! A request is one datagram to [`PATH`], with one end of a pair of sockets that keep packets apart
//! (unix(7), `SOCK_SEQPACKET`). The answers come through that: [`Reply::Row`] for each container
//! that was asked for, then [`Reply::Done`] or [`Reply::Refused`]. What comes of the request
//! afterwards is in the event stream. Numbers are in the machine's own byte order.

use super::answer::{Writer, encode_failure, parse_failure};
use super::choice::OnIdle;
use super::config::container_id;
use crate::error::Error;

/// Where PID 1 takes requests.
pub const PATH: &str = "/run/berth-boot/requests";

/// Where containers are recorded, PID 1's and others: the default of `--root`.
pub const RECORDS: &str = "/run/berth";

/// The socket that speaks the protocol of `docs/control.md`, in the directory of records.
pub const CONTROL: &str = "/run/berth/control";

/// A file there with the id of the machine's generation, which is another one after each thaw.
pub const GENERATION: &str = "/run/berth/generation";

/// The name of the socket there.
pub const RESERVED: &str = "control";

/// Names there that no container of PID 1's can have.
pub const TAKEN: [&str; 2] = [RESERVED, "generation"];

/// The largest request, in bytes.
pub const REQUEST_MAX: usize = 640;

/// The largest reply, in bytes.
pub const REPLY_MAX: usize = 4096;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// How each container is.
    List,
    /// To start a container that does not run, also one whose bundle is new.
    Start(&'a str),
    /// To ask a container to end, kill it when its time is over, and leave it stopped.
    Stop(&'a str),
    /// To stop a container and start it again.
    Restart(&'a str),
    /// To send this signal to the first process of a container.
    Kill(&'a str, u8),
    /// To end the machine, in order; never [`OnIdle::Wait`].
    End(OnIdle),
    /// To freeze the machine. It is answered when that is done.
    Freeze,
    /// To let it go on. It is answered when that is done.
    Thaw(Thaw<'a>),
}

/// What a machine that goes on after a freeze is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thaw<'a> {
    /// The time of day: seconds since 1970, and nanoseconds.
    pub time: Option<(u64, u32)>,
    /// Bytes that nobody else knows; none for what the machine has itself.
    pub entropy: &'a [u8],
}

/// How many of these bytes there are, at most.
pub const ENTROPY_MAX: usize = 512;

impl<'a> Request<'a> {
    /// The request as bytes, at the beginning of `room`; `None` if it takes more.
    pub fn encode<'r>(&self, room: &'r mut [u8]) -> Option<&'r [u8]> {
        let (tag, number, id) = match *self {
            Self::List => (0, 0, ""),
            Self::Start(id) => (1, 0, id),
            Self::Stop(id) => (2, 0, id),
            Self::Restart(id) => (3, 0, id),
            Self::Kill(id, signal) => (4, signal, id),
            Self::End(end) => (5, END.iter().position(|known| *known == end)? as u8, ""),
            Self::Freeze => (6, 0, ""),
            Self::Thaw(thaw) => (7, u8::from(thaw.time.is_some()), ""),
        };
        let mut writer = Writer::new(room);
        writer.put(&[tag, number])?;
        writer.put(id.as_bytes())?;
        if let Self::Thaw(Thaw { time, entropy }) = self {
            if let Some((seconds, nanoseconds)) = time {
                writer.put(&seconds.to_ne_bytes())?;
                writer.put(&nanoseconds.to_ne_bytes())?;
            }
            writer.put(entropy)?;
        }
        writer.finish()
    }

    /// The request that `packet` holds; `None` if it is none.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let ([tag, number], id) = packet.split_first_chunk()?;
        let name = || container_id(id).ok();
        Some(match (tag, number, id) {
            (0, 0, []) => Self::List,
            (1, 0, _) => Self::Start(name()?),
            (2, 0, _) => Self::Stop(name()?),
            (3, 0, _) => Self::Restart(name()?),
            // Those that there are (signal(7)).
            (4, 1..=64, _) => Self::Kill(name()?, *number),
            (5, number, []) => Self::End(*END.get(usize::from(*number))?),
            (6, 0, []) => Self::Freeze,
            (7, 0, entropy) => Self::Thaw(Thaw::parse(None, entropy)?),
            (7, 1, rest) => {
                let (seconds, rest) = rest.split_first_chunk()?;
                let (nanoseconds, entropy) = rest.split_first_chunk()?;
                let time = (
                    u64::from_ne_bytes(*seconds),
                    u32::from_ne_bytes(*nanoseconds),
                );
                Self::Thaw(Thaw::parse(Some(time), entropy)?)
            }
            _ => return None,
        })
    }
}

impl<'a> Thaw<'a> {
    fn parse(time: Option<(u64, u32)>, entropy: &'a [u8]) -> Option<Self> {
        let is_time = time.is_none_or(|(_, nanoseconds)| nanoseconds < 1_000_000_000);
        (is_time && entropy.len() <= ENTROPY_MAX).then_some(Self { time, entropy })
    }
}

/// The ways to end the machine, by their numbers.
const END: [OnIdle; 4] = [
    OnIdle::PowerOff,
    OnIdle::Reboot,
    OnIdle::Halt,
    OnIdle::Kexec,
];

/// How a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Condition {
    /// It waits for others.
    Waiting,
    /// It is being set up.
    Starting,
    /// Its program runs.
    Running,
    /// It has ended, and is started again when its delay is over.
    Restarting,
    /// It was stopped by request.
    Stopped,
    /// It has ended, or could not be started.
    Ended,
}

impl Condition {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Starting,
        Self::Running,
        Self::Restarting,
        Self::Stopped,
        Self::Ended,
    ];

    /// The name in lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
        }
    }
}

/// What PID 1 knows of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its name.
    pub id: &'a str,
    /// How it is.
    pub condition: Condition,
    /// The number of its first process; 0 for none.
    pub pid: i32,
    /// How often it was restarted.
    pub restarts: u32,
    /// Since when it is so: microseconds of CLOCK_BOOTTIME.
    pub since: u64,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is looked at where it is read"
)]
pub enum Reply<'a> {
    /// One container.
    Row(Row<'a>),
    /// It is done, or will be.
    Done,
    /// It is not done: why. What to do about it, who has asked says.
    Refused(Error),
}

const ROW: u8 = 0;
const DONE: u8 = 1;
const REFUSED: u8 = 2;

impl<'a> Reply<'a> {
    /// The reply as bytes, at the beginning of `room`; `None` if it takes more.
    pub fn encode<'r>(&self, room: &'r mut [u8]) -> Option<&'r [u8]> {
        let mut writer = Writer::new(room);
        match self {
            Self::Row(row) => {
                writer.put(&[ROW, row.condition as u8])?;
                writer.put(&row.pid.to_ne_bytes())?;
                writer.put(&row.restarts.to_ne_bytes())?;
                writer.put(&row.since.to_ne_bytes())?;
                writer.put(row.id.as_bytes())?;
            }
            Self::Done => writer.put(&[DONE])?,
            Self::Refused(error) => {
                writer.put(&[REFUSED])?;
                encode_failure(error, "", &mut writer)?;
            }
        }
        writer.finish()
    }

    /// The reply that `packet` holds; `None` if it is none.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let (tag, rest) = packet.split_first()?;
        Some(match (*tag, rest) {
            (ROW, rest) => Self::Row(Row::parse(rest)?),
            (DONE, []) => Self::Done,
            (REFUSED, rest) => parse_failure(rest).map(|(error, _)| Self::Refused(error))?,
            _ => return None,
        })
    }
}

impl<'a> Row<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let ([condition], rest) = bytes.split_first_chunk()?;
        let (pid, rest) = rest.split_first_chunk()?;
        let (restarts, rest) = rest.split_first_chunk()?;
        let (since, id) = rest.split_first_chunk()?;
        Some(Self {
            id: container_id(id).ok()?,
            condition: *Condition::ALL.get(usize::from(*condition))?,
            pid: i32::from_ne_bytes(*pid),
            restarts: u32::from_ne_bytes(*restarts),
            since: u64::from_ne_bytes(*since),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Op};

    #[test]
    fn requests_survive_the_way() {
        let long = "x".repeat(64);
        for request in [
            Request::List,
            Request::Start("web"),
            Request::Stop(&long),
            Request::Restart("a"),
            Request::Kill("web", 64),
            Request::End(OnIdle::Halt),
            Request::End(OnIdle::Kexec),
            Request::Freeze,
            Request::Thaw(Thaw::default()),
            Request::Thaw(Thaw {
                time: Some((1 << 40, 999_999_999)),
                entropy: &[7; ENTROPY_MAX],
            }),
        ] {
            let mut room = [0; REQUEST_MAX];
            let packet = request.encode(&mut room).unwrap();
            assert_eq!(Request::parse(packet), Some(request));
            assert_eq!(request.encode(&mut [0; 1]), None);
        }
    }

    #[test]
    fn what_is_no_request_is_none() {
        for packet in [
            &b""[..],
            b"\0",
            b"\0\0x",
            b"\x01\0",
            b"\x01\0../etc",
            b"\x01\x01web",
            b"\x04\0web",
            b"\x04\x41web",
            b"\x05\x09",
            b"\x05\0web",
            b"\x06\0web",
            b"\x07\x02",
            b"\x07\x01\0\0\0\0\0\0\0\0\0\0\0",
            b"\x07\x01\0\0\0\0\0\0\0\0\xff\xff\xff\xff",
            &[&b"\x07\0"[..], &[0; ENTROPY_MAX + 1]].concat(),
        ] {
            assert_eq!(Request::parse(packet), None, "{packet:?}");
        }
    }

    #[test]
    fn replies_survive_the_way() {
        let error = Error::new(Code::NoContainer, Op::Open, "web", "nobody knows it");
        let rows = Condition::ALL.map(|condition| {
            Reply::Row(Row {
                id: "web",
                condition,
                pid: 77,
                restarts: u32::MAX,
                since: 1 << 40,
            })
        });
        let others = [Reply::Done, Reply::Refused(error)];
        for reply in rows.into_iter().chain(others) {
            let mut room = [0; REPLY_MAX];
            let packet = reply.encode(&mut room).unwrap();
            assert_eq!(Reply::parse(packet), Some(reply));
        }
        for packet in [&b""[..], b"\x01x", b"\x03", b"\0\x09", b"\x02\0"] {
            assert_eq!(Reply::parse(packet), None, "{packet:?}");
        }
    }
}
