//! What `berth`, which starts and ends containers for PID 1, answers: one packet an answer, through
//! a socket that keeps packets apart (unix(7), `SOCK_SEQPACKET`).
//!
//! In order:
//!
//! * [`Answer::Policy`]: config.json was read, and nothing was made yet. PID 1 sends [`GO`] when it
//!   is the container's turn.
//! * [`Answer::Group`]: the control group is there; its directory comes with the packet. PID 1
//!   keeps it and sends [`GO`], unless another container has it.
//! * [`Answer::Process`]: the first process is there, and is being set up.
//! * [`Answer::Started`]: the program runs.
//! * [`Answer::Ready`]: the container is ready, where `berth` has to find that out. It stays until
//!   then, or until the container has ended.
//! * [`Answer::Failed`], in the place of any of these: there will be no program. After the end of a
//!   container: something of it was not cleared away.
//!
//! [`Answer::Warning`] and [`Answer::Notice`] may come at any time. [`Answer::Disk`] comes from a
//! run that looks after disks, and not from others.
//!
//! PID 1 trusts none of it, because `berth` has read what strangers wrote. Numbers are in the
//! machine's own byte order.

use core::time::Duration;

use rustix::io::Errno;

use super::config::{OnExit, Ready, Restart, containers};
use super::list::List;
use super::log::SIZES;
use super::machine_change::MachineChange;
use crate::cause::Cause;
use crate::error::{Code, DETAIL_MAX, Error, Op, SUBJECT_MAX, WORDS_MAX};
use crate::text::Text;

/// The largest packet, in bytes: `berth.after` and `berth.requires` with as many containers as
/// there can be, and the rest of a policy.
pub const ANSWER_MAX: usize = 36 * 1024;

/// The longest warning, in bytes. A longer one is cut.
pub const WARNING_MAX: usize = 2 * SUBJECT_MAX;

/// The longest advice about a failure, in bytes.
pub const HINT_MAX: usize = 256;

/// What PID 1 sends when a start is to go on.
pub const GO: &[u8] = b"go";

const POLICY: u8 = 0;
const WARNING: u8 = 1;
const NOTICE: u8 = 2;
const GROUP: u8 = 3;
const PROCESS: u8 = 4;
const STARTED: u8 = 5;
const FAILED: u8 = 6;
const READY: u8 = 7;
const NETWORK: u8 = 8;

/// The longest text of a [`NetworkChange`], in bytes.
const NETWORK_TEXT_MAX: usize = 256;

/// What has become of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkChange<'a> {
    /// What.
    pub state: NetworkState,
    /// The device; empty for all of them.
    pub device: &'a str,
    /// Its address, with the prefix length.
    pub address: &'a str,
    /// The router.
    pub gateway: &'a str,
    /// Name servers, with a space between them.
    pub dns: &'a str,
    /// For how many seconds it has the address; 0 for ever.
    pub lease: u32,
}

/// What can become of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NetworkState {
    /// There is somebody at the other end of the link.
    Up,
    /// There is nobody any more.
    Down,
    /// The device has an address.
    Configured,
    /// It has an address no longer.
    Lost,
    /// Something that was asked for is not there so far: a device, its link, an answer of a DHCP
    /// server or of a router. Or it could not be set.
    Failed,
    /// All devices that `ip=` names have what it asks for.
    Ready,
}

impl NetworkState {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 6] = [
        Self::Up,
        Self::Down,
        Self::Configured,
        Self::Lost,
        Self::Failed,
        Self::Ready,
    ];

    /// The name in the event stream.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Configured => "configured",
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::Ready => "ready",
        }
    }
}
const DISK: u8 = 9;
const MACHINE: u8 = 10;

/// What a bundle asks of PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy<'a> {
    /// `berth.restart`.
    pub restart: Restart,
    /// `berth.on-exit`.
    pub on_exit: OnExit,
    /// `berth.stop-timeout`, whole seconds.
    pub stop_timeout: Option<Duration>,
    /// `berth.console` = `raw`.
    pub raw_output: bool,
    /// `berth.log-size`, one of [`SIZES`].
    pub log_size: u32,
    /// `berth.ready`.
    pub ready: ReadyBy,
    /// `berth.after`.
    pub after: List<'a>,
    /// `berth.requires`.
    pub requires: List<'a>,
}

/// What makes a container ready, as far as PID 1 has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyBy {
    /// Its start.
    Started,
    /// Its end, with status 0.
    Exited,
    /// [`Answer::Ready`].
    Answer,
}

impl From<Ready<'_>> for ReadyBy {
    fn from(ready: Ready<'_>) -> Self {
        match ready {
            Ready::Started => Self::Started,
            Ready::Exited => Self::Exited,
            Ready::Notify | Ready::Path(_) => Self::Answer,
        }
    }
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer<'a> {
    /// What the bundle asks of PID 1.
    Policy(Policy<'a>),
    /// Something that the bundle asks for is not done.
    Warning(&'a str),
    /// Something that is to be seen in the log.
    Notice(&'a str),
    /// The container's control group.
    Group,
    /// The number of its first process.
    Process(i32),
    /// The number of its first process, whose program runs.
    Started(i32),
    /// What went wrong, and what to do about it.
    Failed(Error, &'a str),
    /// The container is ready.
    Ready,
    /// What has become of the network.
    Network(NetworkChange<'a>),
    /// What has become of the machine as a whole.
    Machine(MachineChange<'a>),
    /// What has become of a disk; where that is a failure, what went wrong and what to do about it.
    Disk(Disk<'a>, Option<(Error, &'a str)>),
}

/// What has become of a disk, or of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk<'a> {
    /// What.
    pub state: DiskState,
    /// Its node.
    pub device: &'a str,
    /// The type of its filesystem, or what else is on it; empty if that is not known.
    pub fstype: &'a str,
    /// Its label, empty if it has none. What is no UTF-8 in it is shown as `\xNN`.
    pub label: &'a str,
    /// Its UUID, empty if it has none.
    pub uuid: &'a str,
    /// Where it is mounted, empty if it is not.
    pub place: &'a str,
    /// Whether nothing can be written to it.
    pub is_read_only: bool,
}

/// What becomes of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// It is there, and was looked at.
    Appeared,
    /// It is mounted.
    Mounted,
    /// It is not there any more.
    Gone,
    /// It cannot be mounted.
    Failed,
}

impl DiskState {
    const ALL: [Self; 4] = [Self::Appeared, Self::Mounted, Self::Gone, Self::Failed];

    /// The name in the event stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Mounted => "mounted",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

impl<'a> Answer<'a> {
    /// The answer as bytes, at the beginning of `room`; `None` if it takes more.
    pub fn encode<'r>(&self, room: &'r mut [u8]) -> Option<&'r [u8]> {
        let mut writer = Writer::new(room);
        match self {
            Self::Policy(policy) => policy.encode(&mut writer)?,
            Self::Warning(text) => writer.tagged(WARNING, text.as_bytes())?,
            Self::Notice(text) => writer.tagged(NOTICE, text.as_bytes())?,
            Self::Group => writer.put(&[GROUP])?,
            Self::Process(pid) => writer.tagged(PROCESS, &pid.to_ne_bytes())?,
            Self::Started(pid) => writer.tagged(STARTED, &pid.to_ne_bytes())?,
            Self::Failed(error, hint) => {
                writer.put(&[FAILED])?;
                encode_failure(error, hint, &mut writer)?;
            }
            Self::Ready => writer.put(&[READY])?,
            Self::Network(change) => change.encode(&mut writer)?,
            Self::Machine(change) => {
                writer.put(&[MACHINE])?;
                change.encode(&mut writer)?;
            }
            Self::Disk(disk, failure) => {
                disk.encode(&mut writer)?;
                if let Some((error, hint)) = failure {
                    encode_failure(error, hint, &mut writer)?;
                }
            }
        }
        writer.finish()
    }

    /// The answer that `packet` holds; `None` if it is none.
    #[must_use]
    #[inline(never)]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let (tag, rest) = packet.split_first()?;
        Some(match *tag {
            POLICY => Self::Policy(Policy::parse(rest)?),
            WARNING => Self::Warning(core::str::from_utf8(rest).ok()?),
            NOTICE => Self::Notice(core::str::from_utf8(rest).ok()?),
            GROUP => rest.is_empty().then_some(Self::Group)?,
            PROCESS => Self::Process(pid(rest)?),
            STARTED => Self::Started(pid(rest)?),
            FAILED => parse_failure(rest).map(|(error, hint)| Self::Failed(error, hint))?,
            READY => rest.is_empty().then_some(Self::Ready)?,
            NETWORK => Self::Network(NetworkChange::parse(rest)?),
            MACHINE => Self::Machine(MachineChange::parse(rest)?),
            DISK => {
                let (disk, rest) = Disk::parse(rest)?;
                let has_failed = disk.state == DiskState::Failed;
                let failure = match has_failed {
                    true => Some(parse_failure(rest)?),
                    false => rest.is_empty().then_some(None)?,
                };
                Self::Disk(disk, failure)
            }
            _ => return None,
        })
    }
}

/// The number of a process that can be a container's: neither that of PID 1 nor of a group of
/// processes.
fn pid(bytes: &[u8]) -> Option<i32> {
    let number = i32::from_ne_bytes(bytes.try_into().ok()?);
    (number > 1).then_some(number)
}

impl<'a> Policy<'a> {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        let (restart, max) = match self.restart {
            Restart::No => (0, 0),
            Restart::Always => (1, 0),
            Restart::OnFailure { max: None } => (2, 0),
            Restart::OnFailure { max: Some(max) } => (2, max),
        };
        let on_exit = u8::from(self.on_exit == OnExit::Shutdown);
        let flags = [
            restart,
            on_exit,
            u8::from(self.raw_output),
            u8::from(self.stop_timeout.is_some()),
            match self.ready {
                ReadyBy::Started => 0,
                ReadyBy::Exited => 1,
                ReadyBy::Answer => 2,
            },
        ];
        // At most `u32::MAX`, as the annotation has it.
        let timeout = self.stop_timeout.unwrap_or_default().as_secs() as u32;
        writer.put(&[POLICY])?;
        writer.put(&flags)?;
        writer.put(&max.to_ne_bytes())?;
        writer.put(&timeout.to_ne_bytes())?;
        writer.put(&self.log_size.to_ne_bytes())?;
        writer.text(self.after.as_str())?;
        writer.put(self.requires.as_str().as_bytes())
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let ([restart, on_exit, raw_output, has_timeout, ready], rest) =
            bytes.split_first_chunk()?;
        let (max, rest) = rest.split_first_chunk()?;
        let (timeout, rest) = rest.split_first_chunk()?;
        let (log_size, rest) = rest.split_first_chunk()?;
        let (after, requires) = text(rest)?;
        let max = u32::from_ne_bytes(*max);
        let seconds = u64::from(u32::from_ne_bytes(*timeout));
        let restart = match (restart, max) {
            (0, 0) => Restart::No,
            (1, 0) => Restart::Always,
            (2, 0) => Restart::OnFailure { max: None },
            (2, _) => Restart::OnFailure { max: Some(max) },
            _ => return None,
        };
        Some(Self {
            restart,
            on_exit: match flag(*on_exit)? {
                true => OnExit::Shutdown,
                false => OnExit::Continue,
            },
            stop_timeout: flag(*has_timeout)?.then_some(Duration::from_secs(seconds)),
            raw_output: flag(*raw_output)?,
            log_size: Some(u32::from_ne_bytes(*log_size)).filter(|size| SIZES.contains(size))?,
            ready: match ready {
                0 => ReadyBy::Started,
                1 => ReadyBy::Exited,
                2 => ReadyBy::Answer,
                _ => return None,
            },
            after: containers(core::str::from_utf8(after).ok()?)?,
            requires: containers(core::str::from_utf8(requires).ok()?)?,
        })
    }
}

impl<'a> NetworkChange<'a> {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.put(&[NETWORK, self.state as u8])?;
        writer.put(&self.lease.to_ne_bytes())?;
        let texts = [self.device, self.address, self.gateway, self.dns];
        texts.into_iter().try_for_each(|text| writer.text(text))
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (state, rest) = bytes.split_first()?;
        let (lease, mut rest) = rest.split_first_chunk()?;
        let mut next = || {
            let (bytes, behind) = text(rest)?;
            rest = behind;
            let text = core::str::from_utf8(bytes).ok()?;
            Some(text).filter(|text| text.len() <= NETWORK_TEXT_MAX)
        };
        let change = Self {
            state: *NetworkState::ALL.get(usize::from(*state))?,
            device: next()?,
            address: next()?,
            gateway: next()?,
            dns: next()?,
            lease: u32::from_ne_bytes(*lease),
        };
        rest.is_empty().then_some(change)
    }
}

/// The longest text about a disk, in bytes: where it is mounted, and a label with every byte
/// escaped.
pub const DISK_TEXT_MAX: usize = 1024;

impl<'a> Disk<'a> {
    /// The state, whether it is read-only, and five texts, each behind its length.
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.put(&[DISK, self.state as u8, u8::from(self.is_read_only)])?;
        let texts = [self.device, self.fstype, self.label, self.uuid, self.place];
        texts.iter().try_for_each(|text| writer.text(text))
    }

    fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ([state, is_read_only], mut rest) = bytes.split_first_chunk()?;
        let mut next = || {
            let (bytes, behind) = text(rest).filter(|(bytes, _)| bytes.len() <= DISK_TEXT_MAX)?;
            rest = behind;
            core::str::from_utf8(bytes).ok()
        };
        let disk = Self {
            state: *DiskState::ALL.get(usize::from(*state))?,
            is_read_only: flag(*is_read_only)?,
            device: next()?,
            fstype: next()?,
            label: next()?,
            uuid: next()?,
            place: next()?,
        };
        Some((disk, rest))
    }
}

const fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// The advice behind its length; the code, the operation, the cause, the error number (0 for none);
/// then the subject and the kernel's words, each behind its length; then the detail.
#[inline(never)]
pub(super) fn encode_failure(error: &Error, hint: &str, writer: &mut Writer<'_>) -> Option<()> {
    writer.text(hint)?;
    writer.put(&(error.code as u16).to_ne_bytes())?;
    writer.put(&[error.op as u8, error.cause as u8])?;
    writer.put(&error.errno.map_or(0, Errno::raw_os_error).to_ne_bytes())?;
    writer.text(error.subject.as_str())?;
    writer.text(error.words.as_str())?;
    writer.put(error.detail.as_str().as_bytes())
}

#[inline(never)]
pub(super) fn parse_failure(bytes: &[u8]) -> Option<(Error, &str)> {
    let (hint, rest) = text(bytes)?;
    let (code, rest) = rest.split_first_chunk()?;
    let ([op, cause], rest) = rest.split_first_chunk()?;
    let (errno, rest) = rest.split_first_chunk()?;
    let (subject, rest) = text(rest)?;
    let (words, detail) = text(rest)?;
    if subject.len() > SUBJECT_MAX
        || words.len() > WORDS_MAX
        || detail.len() > DETAIL_MAX
        || hint.len() > HINT_MAX
    {
        return None;
    }
    let code = u16::from_ne_bytes(*code);
    let errno = i32::from_ne_bytes(*errno);
    // What system calls return (errno-base.h and on).
    if !(0..4096).contains(&errno) {
        return None;
    }
    let hint = core::str::from_utf8(hint).ok()?;
    let error = Error {
        code: *Code::ALL.iter().find(|known| **known as u16 == code)?,
        op: *Op::ALL.get(usize::from(*op))?,
        cause: *Cause::ALL.get(usize::from(*cause))?,
        subject: Text::from_bytes(subject),
        errno: (errno != 0).then(|| Errno::from_raw_os_error(errno)),
        words: Text::from_bytes(words),
        detail: Text::from_bytes(detail),
    };
    Some((error, hint))
}

/// A text behind its length, and the rest.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_ne_bytes(*len)))
}

/// A packet that is being put together.
pub(super) struct Writer<'r> {
    room: &'r mut [u8],
    len: usize,
}

impl<'r> Writer<'r> {
    pub(super) const fn new(room: &'r mut [u8]) -> Self {
        Self { room, len: 0 }
    }

    /// What was put, as one packet.
    pub(super) fn finish(self) -> Option<&'r [u8]> {
        let Self { room, len } = self;
        room.get(..len)
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.room.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// A text behind its length.
    fn text(&mut self, text: &str) -> Option<()> {
        self.put(&u16::try_from(text.len()).ok()?.to_ne_bytes())?;
        self.put(text.as_bytes())
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) -> Option<()> {
        self.put(&[tag])?;
        self.put(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives(answer: Answer<'_>) {
        let mut room = [0; ANSWER_MAX];
        let packet = answer.encode(&mut room).unwrap();
        assert_eq!(Answer::parse(packet), Some(answer));
    }

    const NETWORK_CHANGE: NetworkChange<'_> = NetworkChange {
        state: NetworkState::Configured,
        device: "eth0",
        address: "192.0.2.7/24",
        gateway: "192.0.2.1",
        dns: "192.0.2.53 2001:db8::53",
        lease: 3600,
    };

    fn policy(restart: Restart, ids: &str) -> Answer<'_> {
        let ids = match ids {
            "" => List::default(),
            ids => List::parse(ids, |_| true).unwrap(),
        };
        Answer::Policy(Policy {
            restart,
            on_exit: OnExit::Shutdown,
            stop_timeout: Some(Duration::from_secs(u32::MAX.into())),
            raw_output: true,
            log_size: *SIZES.end(),
            ready: ReadyBy::Answer,
            after: ids,
            requires: ids,
        })
    }

    #[test]
    fn every_answer_survives_the_socket() {
        for restart in [
            Restart::No,
            Restart::Always,
            Restart::OnFailure { max: None },
            Restart::OnFailure { max: Some(7) },
        ] {
            survives(policy(restart, ""));
            survives(policy(restart, "db,web"));
        }
        survives(Answer::Warning("web: something"));
        survives(Answer::Notice(""));
        survives(Answer::Group);
        survives(Answer::Ready);
        for ready in [ReadyBy::Started, ReadyBy::Exited, ReadyBy::Answer] {
            survives(Answer::Policy(Policy {
                restart: Restart::No,
                on_exit: OnExit::Continue,
                stop_timeout: None,
                raw_output: false,
                log_size: *SIZES.start(),
                ready,
                after: List::default(),
                requires: List::parse("db", |_| true).unwrap(),
            }));
        }
        survives(Answer::Process(2));
        survives(Answer::Started(i32::MAX));
        for (number, state) in NetworkState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
            survives(Answer::Network(NetworkChange {
                state,
                ..NETWORK_CHANGE
            }));
        }
        for code in Code::ALL {
            for errno in [None, Some(Errno::NOENT)] {
                let error = Error {
                    code: *code,
                    op: Op::Mount,
                    cause: Cause::LoopDriver,
                    subject: Text::new("/proc for web"),
                    errno,
                    words: Text::new("proc: Unknown parameter 'x'"),
                    detail: Text::new("no such thing"),
                };
                survives(Answer::Failed(error, "what to do"));
            }
        }
        for op in Op::ALL {
            let error = Error::new(Code::ContainerSetup, *op, "", "");
            survives(Answer::Failed(error, ""));
        }
    }

    #[test]
    fn what_becomes_of_a_disk_survives_the_socket() {
        let error = Error::new(Code::DiskMount, Op::Mount, "/dev/sdb1", "no");
        for state in DiskState::ALL {
            let disk = Disk {
                state,
                device: "/dev/sdb1",
                fstype: "vfat",
                label: "BACKUP",
                uuid: "0123-4567",
                place: "/media/BACKUP",
                is_read_only: true,
            };
            let failure = (state == DiskState::Failed).then_some((error, "what to do"));
            survives(Answer::Disk(disk, failure));
            // A failure goes with that state alone.
            let mut room = [0; ANSWER_MAX];
            let other = failure.xor(Some((error, "")));
            let packet = Answer::Disk(disk, other).encode(&mut room).unwrap();
            assert_eq!(Answer::parse(packet), None);
        }
    }

    #[test]
    fn the_longest_answers_fit() {
        let id = "x".repeat(64);
        let ids = vec![id.as_str(); 256].join(",");
        survives(policy(Restart::Always, &ids));
        let [subject, detail] = ["s".repeat(SUBJECT_MAX), "d".repeat(DETAIL_MAX)];
        let hint = "h".repeat(HINT_MAX);
        let error = Error::new(Code::ContainerSetup, Op::Read, subject, detail);
        survives(Answer::Failed(error, &hint));
        let longer = Answer::Failed(error, &"h".repeat(HINT_MAX + 1));
        let mut room = [0; ANSWER_MAX];
        assert_eq!(Answer::parse(longer.encode(&mut room).unwrap()), None);
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        let mut room = [0; ANSWER_MAX];
        let good = policy(Restart::No, "db").encode(&mut room).unwrap();
        for end in 0..good.len() - 2 {
            assert_eq!(Answer::parse(&good[..end]), None, "{end}");
        }
        for (at, byte) in [
            (0, 99),
            (1, 3),
            (2, 2),
            (3, 9),
            (4, 2),
            (5, 3),
            (6, 1),
            // Of 16 MiB, one byte more.
            (14, 1),
            (18, 9),
        ] {
            let mut bad = good.to_vec();
            bad[at] = byte;
            assert_eq!(Answer::parse(&bad), None, "{at}");
        }
        for pid in [0, 1, -1, i32::MIN] {
            let packet = [&[STARTED][..], &pid.to_ne_bytes()].concat();
            assert_eq!(Answer::parse(&packet), None, "{pid}");
        }
        for packet in [
            &b""[..],
            &[GROUP, 0],
            &[READY, 0],
            &[PROCESS],
            &[STARTED, 1, 2, 3],
            &[WARNING, 0xff],
            &[DISK],
            &[DISK, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[DISK, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[DISK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[DISK, 0, 0, 1, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0],
            &[FAILED],
            &[FAILED, 1, 0, 0xff, 53, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[FAILED, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[FAILED, 0, 0, 53, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[FAILED, 0, 0, 53, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0],
            &[FAILED, 0, 0, 53, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0],
            &[FAILED, 0, 0, 53, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
            &[FAILED, 0, 0, 53, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        ] {
            assert_eq!(Answer::parse(packet), None, "{packet:?}");
        }
    }

    #[test]
    fn of_the_network_nothing_is_taken_that_is_too_much() {
        let mut room = [0; ANSWER_MAX];
        let good = Answer::Network(NETWORK_CHANGE).encode(&mut room).unwrap();
        for end in 0..good.len() {
            assert_eq!(Answer::parse(&good[..end]), None, "{end}");
        }
        assert_eq!(Answer::parse(&[good, &[0]].concat()), None);
        for (at, byte) in [(1, 6), (8, 0xff)] {
            let mut bad = good.to_vec();
            bad[at] = byte;
            assert_eq!(Answer::parse(&bad), None, "{at}");
        }
        let long = "x".repeat(NETWORK_TEXT_MAX + 1);
        let long = Answer::Network(NetworkChange {
            dns: &long,
            ..NETWORK_CHANGE
        });
        let mut room = [0; ANSWER_MAX];
        assert_eq!(Answer::parse(long.encode(&mut room).unwrap()), None);
    }

    #[test]
    fn what_does_not_fit_is_not_cut() {
        assert_eq!(Answer::Warning("warning").encode(&mut [0; 7]), None);
    }
}
