//! What is remembered of a container between two calls: a directory of its name below `--root`.
//!
//! | file | what it is |
//! |---|---|
//! | `state.json` | the [`Record`]; a new one takes its place by rename(2), so that it is always whole |
//! | `config.json` | the bundle's, as it was when the container was created |
//! | `exec.fifo` | what the container's program waits for, until `start` |
//! | `notify/` | what is bound into the container for NOTIFY_SOCKET, if the caller has that ([`super::notify`]) |
//!
//! mkdir(2) decides who gets a name: of several calls one succeeds. The directory is locked (flock(2)) for as long as its
//! maker works on it, which with `run` in the foreground is the container's life; the kernel gives the lock back when that
//! process ends in whatever way. So a directory without a lock that has no record, or one of a container that was its
//! maker's own and has ended, was left by a call that was killed, and is cleared away by the next that wants the name.
//!
//! A process is remembered by its number and the time of its start: the number alone may be another's by now.

use core::fmt::Write as _;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::output::write_all;
use super::time::Time;
use super::{Call, Tell, Told, delete, notify};
use crate::container::Status;
use crate::error::{Code, During, Fault, Op};
use crate::parse::config::id::MAX_ID;
use crate::parse::config::{MAX_SIZE, container_id};
use crate::parse::json::{self, Node, Value};
use crate::sys::buffer::Buffer;
use crate::sys::fs;
use crate::sys::path::{PATH_MAX, Path, path};
use crate::sys::pidfd::{self, Process};
use crate::text::{Json, Text};

/// The record.
const RECORD: &str = "state.json";
/// The record that will take its place.
const NEXT: &str = "state.json.next";
/// The bundle's configuration.
const CONFIG: &str = "config.json";
/// What the program waits for.
pub(super) const FIFO: &str = "exec.fifo";
/// Bytes that a record may have: its paths with every byte escaped, and the rest.
const RECORD_MAX: usize = 2 * 6 * PATH_MAX + 2 * 6 * MAX_ID + 512;

/// What is written down of a container.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its first process, as the caller's PID namespace numbers it.
    pub(super) pid: u32,
    /// When that started: see [`crate::parse::stat::Stat::start`].
    pub(super) start: u64,
    /// The bundle, as an absolute path.
    pub(super) bundle: Path,
    /// Its control group's directory; empty if it has none.
    pub(super) cgroup: Path,
    /// The unit of systemd's that this is in; empty if it is in none.
    pub(super) unit: Path,
    /// When it was created.
    pub(super) created: Text<32>,
    /// It belongs to a `run` in the foreground, and goes with it.
    pub(super) is_transient: bool,
}

impl Record {
    /// A record of the process `pid`, which was just created.
    pub(super) fn new(
        pid: u32,
        bundle: Path,
        cgroup: Path,
        unit: Path,
        is_transient: bool,
    ) -> Self {
        Self {
            pid,
            start: pidfd::stat(pid).map_or(0, |stat| stat.start),
            bundle,
            cgroup,
            unit,
            created: Text::new(Time::now()),
            is_transient,
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let record = json::check(text).ok()?;
        Some(Self {
            pid: number(record, "pid")?.try_into().ok()?,
            start: number(record, "start")?,
            bundle: string(record, "bundle")?,
            cgroup: string(record, "cgroup")?,
            unit: string(record, "unit")?,
            created: Text::new(string(record, "created")?),
            is_transient: matches!(record.member("transient")?.node(), Node::Bool(true)),
        })
    }

    /// The number that others are told: none of a process that has ended.
    pub(super) fn pid_if(&self, status: Status) -> u32 {
        match status {
            Status::Stopped => 0,
            _ => self.pid,
        }
    }

    /// Its first process, if that has not ended.
    ///
    /// # Errors
    /// Those of pidfd_open(2) but `ESRCH`.
    pub(super) fn process(&self) -> Result<Option<Process>, Fault> {
        // The descriptor first: what it refers to cannot change while it is looked at.
        let process = match Process::open(self.pid) {
            Err(fault) if fault.errno == Errno::SRCH => return Ok(None),
            process => process?,
        };
        let is_it =
            pidfd::stat(self.pid).is_some_and(|stat| stat.start == self.start && !stat.has_ended);
        Ok(is_it.then_some(process))
    }
}

fn number(object: Value<'_>, name: &str) -> Option<u64> {
    match object.member(name)?.node() {
        Node::Number(digits) => digits.parse().ok(),
        _ => None,
    }
}

fn string(object: Value<'_>, name: &str) -> Option<Path> {
    let Node::String(text) = object.member(name)?.node() else {
        return None;
    };
    let mut string = Path::new();
    text.chars().try_for_each(|c| string.push(c).ok())?;
    Some(string)
}

/// The directory of a container.
pub(super) struct Directory {
    descriptor: OwnedFd,
    root: OwnedFd,
    /// The container's name.
    pub(super) id: heapless::String<MAX_ID>,
}

impl Directory {
    /// Makes the directory of a new container, and locks it.
    ///
    /// # Errors
    /// [`Code::InUse`] if the name is taken; [`Code::State`].
    pub(super) fn create(call: &Call<'_>, id: &str) -> Result<Self, Told> {
        let root = make_root(&call.root).tell(call, Code::State)?;
        loop {
            match Self::claim(call, &root, id).tell(call, Code::State)? {
                Some(Ok(directory)) => return Ok(directory),
                None => {}
                Some(Err(status)) => {
                    let detail = format_args!("container with given ID already exists: {status}");
                    return Err(call.found(Code::InUse, Op::Create, &id, &detail));
                }
            }
        }
    }

    /// Tries to become the one who works on the directory, and clears away what another left in it.
    fn claim(call: &Call<'_>, root: &OwnedFd, id: &str) -> Result<Claim, Fault> {
        match mkdirat(root, id, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during(Op::Create, id),
        }
        let Some(directory) = Self::at(root, id)? else {
            return Ok(None);
        };
        let lock = FlockOperation::NonBlockingLockExclusive;
        match flock(&directory.descriptor, lock) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Some(Err("somebody works on it"))),
            Err(errno) => return Err(errno).during(Op::Open, id),
        }
        // Between the two calls another may have cleared it away.
        if fstat(&directory.descriptor).is_ok_and(|stat| stat.st_nlink == 0) {
            return Ok(None);
        }
        if let Some(record) = directory.read()? {
            let status = directory.status(&record)?;
            if !record.is_transient || status != Status::Stopped {
                return Ok(Some(Err(status.name())));
            }
            delete::clear(call, &directory, &record)?;
        }
        directory.remove_files();
        Ok(Some(Ok(directory)))
    }

    /// The directory of a container, if there is one.
    ///
    /// # Errors
    /// [`Code::State`].
    pub(super) fn find(call: &Call<'_>, id: &str) -> Result<Option<Self>, Told> {
        let found = match fs::open_directory(CWD, call.root.as_str()) {
            Err(fault) if fault.errno == Errno::NOENT => Ok(None),
            root => root.and_then(|root| Self::at(&root, id)),
        };
        found.tell(call, Code::State)
    }

    /// Tells that there is none.
    pub(super) fn missing(call: &Call<'_>, id: &str) -> Told {
        let detail = format_args!("container does not exist: nothing of it in {}", call.root);
        call.found(Code::NoContainer, Op::Open, &id, &detail)
    }

    /// The directory of a container that there is.
    ///
    /// # Errors
    /// [`Code::NoContainer`], [`Code::State`].
    pub(super) fn open(call: &Call<'_>, id: &str) -> Result<Self, Told> {
        Self::find(call, id)?.ok_or_else(|| Self::missing(call, id))
    }

    fn at(root: &OwnedFd, id: &str) -> Result<Option<Self>, Fault> {
        let descriptor = match fs::open_directory(root, id) {
            Err(fault) if fault.errno == Errno::NOENT => return Ok(None),
            descriptor => descriptor?,
        };
        Ok(Some(Self {
            descriptor,
            root: rustix::io::fcntl_dupfd_cloexec(root, 3).during(Op::Open, id)?,
            id: id.chars().collect(),
        }))
    }

    /// The record; `None` before there is one.
    ///
    /// # Errors
    /// Those of reading; `EBADMSG` for what is no record.
    pub(super) fn read(&self) -> Result<Option<Record>, Fault> {
        let mut buffer = [0; RECORD_MAX];
        match fs::read_file(&self.descriptor, RECORD, &mut buffer) {
            Err(fault) if fault.errno == Errno::NOENT => Ok(None),
            text => Record::parse(text?)
                .map(Some)
                .ok_or(Errno::BADMSG)
                .during(Op::Parse, format_args!("{RECORD} of {}", self.id)),
        }
    }

    /// The record of a container that was created.
    ///
    /// # Errors
    /// [`Code::WrongStatus`] if it is still being created; [`Code::State`].
    pub(super) fn record(&self, call: &Call<'_>) -> Result<Record, Told> {
        let record = self.read().tell(call, Code::State)?;
        record.ok_or_else(|| {
            let detail = "it is being created, or its creation was interrupted";
            call.found(Code::WrongStatus, Op::Open, &self.id, &detail)
        })
    }

    /// Writes the record, at once and whole.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn write(&self, record: &Record) -> Result<(), Fault> {
        let mut text = heapless::String::<RECORD_MAX>::new();
        let Record { pid, start, .. } = record;
        writeln!(
            text,
            "{{\"id\":{},\"pid\":{pid},\"start\":{start},\"bundle\":{},\"cgroup\":{},\"unit\":{},\"created\":\"{}\",\"transient\":{}}}",
            Json(&self.id),
            Json(&record.bundle),
            Json(&record.cgroup),
            Json(&record.unit),
            record.created,
            record.is_transient
        )
        .map_err(|_| Errno::NAMETOOLONG)
        .during(Op::Write, RECORD)?;
        self.store(NEXT, text.as_bytes())?;
        renameat(&self.descriptor, NEXT, &self.descriptor, RECORD).during(Op::Write, RECORD)
    }

    /// Keeps the bundle's configuration.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn keep_config(&self, text: &[u8]) -> Result<(), Fault> {
        self.store(CONFIG, text)
    }

    /// The configuration that the container was created with.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn config<'b>(
        &self,
        buffer: &'b mut Buffer<{ MAX_SIZE + 1 }>,
    ) -> Result<&'b mut [u8], Fault> {
        let file = fs::open_file(&self.descriptor, CONFIG)?;
        buffer.fill_from(&file).during(Op::Read, CONFIG)
    }

    fn store(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        openat(
            self.descriptor.as_fd(),
            name,
            flags,
            Mode::from_raw_mode(0o600),
        )
        .and_then(|file| write_all(file, bytes))
        .during(Op::Write, name)
    }

    /// What the container does now.
    ///
    /// # Errors
    /// Those of pidfd_open(2).
    pub(super) fn status(&self, record: &Record) -> Result<Status, Fault> {
        if record.process()?.is_none() {
            return Ok(Status::Stopped);
        }
        if statat(&self.descriptor, FIFO, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(Status::Created);
        }
        let mut buffer = [0; 8];
        let is_frozen = path(format_args!("{}/cgroup.freeze", record.cgroup))
            .ok()
            .filter(|_| !record.cgroup.is_empty())
            .is_some_and(|file| fs::read_file(CWD, &file, &mut buffer) == Ok(b"1\n"));
        Ok(if is_frozen {
            Status::Paused
        } else {
            Status::Running
        })
    }

    /// Forgets the container.
    pub(super) fn remove(&self) {
        self.remove_files();
        // One that is gone already was removed by another.
        let _ = unlinkat(&self.root, self.id.as_str(), AtFlags::REMOVEDIR);
    }

    fn remove_files(&self) {
        for name in [FIFO, NEXT, CONFIG, RECORD] {
            let _ = unlinkat(&self.descriptor, name, AtFlags::empty());
        }
        notify::remove(&self.descriptor);
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What became of the wish to have a name: the directory, or whose it is; `None` if it was removed meanwhile.
type Claim = Option<Result<Directory, &'static str>>;

/// Makes the directory of all containers, and those that it is in.
fn make_root(root: &str) -> Result<OwnedFd, Fault> {
    for (end, _) in root.match_indices('/').chain([(root.len(), "")]) {
        let part = root.get(..end).unwrap_or_default();
        if part.is_empty() {
            continue;
        }
        match rustix::fs::mkdir(part, Mode::from_raw_mode(0o711)) {
            Ok(()) | Err(Errno::EXIST) => {}
            // What is there already may not be ours to write in.
            Err(_) if fs::is_directory(part) => {}
            Err(errno) => return Err(errno).during(Op::Create, part),
        }
    }
    fs::open_directory(CWD, root)
}

/// Calls `visit` with the name of each container.
///
/// # Errors
/// Those of reading the directory.
pub(super) fn each(root: &str, visit: &mut dyn FnMut(&str)) -> Result<(), Fault> {
    let visited = fs::each_name(root, |name| {
        if container_id(name.as_bytes()).is_ok() {
            visit(name);
        }
        true
    });
    match visited {
        Err(fault) if fault.errno == Errno::NOENT => Ok(()),
        visited => visited,
    }
}
