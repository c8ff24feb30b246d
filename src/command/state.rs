//! What is remembered of a container between two calls: a directory of its name below `--root`.
//!
//! | file | what it is |
//! |---|---|
//! | `state.json` | the [`Record`]; a new one takes its place by rename(2), so that it is always whole |
//! | `state.copy` | the same record, for when that is broken or lost |
//! | `lock` | what its maker has locked |
//! | `config.json` | the bundle's, as it was when the container was created |
//! | `exec.fifo` | what the container's program waits for, until `start` |
//! | `notify/` | what is bound into the container for NOTIFY_SOCKET, if the caller has that ([`super::notify`]) |
//!
//! mkdir(2) and the [lock] decide who gets a name: of several calls one succeeds. The lock is held
//! for as long as the container's maker works on it, which with `run` in the foreground is the
//! container's life; the kernel gives it back when that process ends in whatever way.
//!
//! A record is there before anything else is made of the container, and says then that it is being
//! created. So if its maker is killed, what was made is found by `delete`, and also by the next
//! call that wants the name: it clears away what was never finished, and what was its maker's own
//! and has ended.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, SeekFrom, fstat, mkdirat, seek, statat, unlinkat};
use rustix::io::Errno;

use super::lock::{self, LockResult};
use super::output::replace;
use super::record::{RECORD_MAX, Record};
use super::{Call, OrReport, Reported, delete, notify};
use crate::container::{Owner, Status};
use crate::error::{Code, During, Fault, Op};
use crate::parse::config::id::MAX_ID;
use crate::parse::config::{MAX_SIZE, container_id};
use crate::sys::buffer::Buffer;
use crate::sys::fs;
use crate::sys::path::path;

/// The record.
const RECORD: &str = "state.json";
/// Its copy.
const COPY: &str = "state.copy";
/// The file that is locked. The lock goes when its holder closes any descriptor of the file: it is
/// opened here for nothing else.
pub(super) const LOCK: &str = "lock";
/// The status of a container whose record cannot be read.
pub(super) const BROKEN: &str = "unknown";
/// The bundle's configuration.
const CONFIG: &str = "config.json";
/// What the program waits for.
pub(super) const FIFO: &str = "exec.fifo";
/// The directory of a container.
pub(super) struct Directory {
    descriptor: OwnedFd,
    root: OwnedFd,
    /// The file that is locked, once it is.
    lock: Option<OwnedFd>,
    /// The container's name.
    pub(super) id: heapless::String<MAX_ID>,
}

impl Directory {
    /// Makes the directory of a new container, and locks it.
    ///
    /// # Errors
    /// [`Code::InUse`] if the name is taken; [`Code::State`].
    pub(super) fn create(call: &Call<'_>, id: &str) -> Result<Self, Reported> {
        let root = make_root(&call.root).or_report(call, Code::State)?;
        loop {
            match Self::claim(call, &root, id).or_report(call, Code::State)? {
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
        match mkdirat(root.as_fd(), id, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during(Op::Create, id),
        }
        let Some(mut directory) = Self::at(root, id)? else {
            return Ok(None);
        };
        match directory.lock(0)? {
            LockResult::Held => {}
            LockResult::Removed => return Ok(None),
            LockResult::HeldBy(_) => return Ok(Some(Err("another command works on it"))),
        }
        match directory.read() {
            Ok(None) => {}
            Ok(Some(record)) => {
                let status = directory.status(&record)?;
                let is_to_go = record.is_transient || record.is_creating;
                if !is_to_go || status != Status::Stopped {
                    return Ok(Some(Err(status.name())));
                }
                delete::clear(call, &directory, &record)?;
            }
            Err(_) => return Ok(Some(Err(BROKEN))),
        }
        directory.remove_files();
        Ok(Some(Ok(directory)))
    }

    /// Becomes the one who works on it, and waits so many [rounds](lock) for who does.
    ///
    /// # Errors
    /// Those of opening the file, and of fcntl(2).
    pub(super) fn lock(&mut self, rounds: u32) -> Result<LockResult, Fault> {
        let file = match lock::open(self.as_fd()) {
            Err(Errno::NOENT) => return Ok(LockResult::Removed),
            file => file.during(Op::Open, LOCK)?,
        };
        let taken = lock::acquire(&file, rounds).during(Op::Wait, LOCK)?;
        if matches!(taken, LockResult::Held) {
            self.lock = Some(file);
        }
        Ok(taken)
    }

    /// What tells its control group from those of others.
    pub(super) fn owner(&self) -> Owner {
        fstat(self).map_or([0; 2], |stat| [stat.st_dev, stat.st_ino])
    }

    /// The directory of a container, if there is one.
    ///
    /// # Errors
    /// [`Code::State`].
    pub(super) fn find(call: &Call<'_>, id: &str) -> Result<Option<Self>, Reported> {
        let found = match fs::open_directory(CWD, call.root.as_str()) {
            Err(fault) if fault.errno == Errno::NOENT => Ok(None),
            root => root.and_then(|root| Self::at(&root, id)),
        };
        found.or_report(call, Code::State)
    }

    /// Tells that there is none.
    pub(super) fn missing(call: &Call<'_>, id: &str) -> Reported {
        let detail = format_args!("container does not exist: nothing of it in {}", call.root);
        call.found(Code::NoContainer, Op::Open, &id, &detail)
    }

    /// The directory of a container that there is.
    ///
    /// # Errors
    /// [`Code::NoContainer`], [`Code::State`].
    pub(super) fn open(call: &Call<'_>, id: &str) -> Result<Self, Reported> {
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
            lock: None,
            id: id.chars().collect(),
        }))
    }

    /// The record; `None` before there is one.
    ///
    /// # Errors
    /// Those of reading; `EBADMSG` for what is no record.
    pub(super) fn read(&self) -> Result<Option<Record>, Fault> {
        let found = self.read_from(RECORD);
        match (&found, self.read_from(COPY)) {
            (Ok(None) | Err(_), Ok(Some(copy))) => Ok(Some(copy)),
            _ => found,
        }
    }

    #[inline(never)]
    fn read_from(&self, name: &str) -> Result<Option<Record>, Fault> {
        let mut buffer = [0; RECORD_MAX];
        match fs::read_file(&self.descriptor, name, &mut buffer) {
            Err(fault) if fault.errno == Errno::NOENT => Ok(None),
            text => Record::parse(text?)
                .map(Some)
                .ok_or(Errno::BADMSG)
                .during(Op::Parse, format_args!("{name} of {}", self.id)),
        }
    }

    /// The record of a container that was created.
    ///
    /// # Errors
    /// [`Code::WrongStatus`] if it is still being created, or that was interrupted;
    /// [`Code::State`].
    pub(super) fn record(&self, call: &Call<'_>) -> Result<Record, Reported> {
        let record = self.known(call)?;
        if !record.is_creating {
            return Ok(record);
        }
        let status = self.status(&record).or_report(call, Code::State)?;
        Err(call.wrong_status(Op::Open, &self.id, status, ""))
    }

    /// What is known of the container.
    ///
    /// # Errors
    /// [`Code::State`].
    pub(super) fn known(&self, call: &Call<'_>) -> Result<Record, Reported> {
        let record = self.read().or_report(call, Code::State)?;
        Ok(record.unwrap_or_else(Record::lost))
    }

    /// Writes the record, at once and whole.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn write(&self, record: &Record) -> Result<(), Fault> {
        let mut text = heapless::String::<RECORD_MAX>::new();
        record
            .write(&self.id, &mut text)
            .map_err(|_| Errno::NAMETOOLONG)
            .during(Op::Write, RECORD)?;
        // Of what is not made yet there is little to lose.
        if !record.is_creating {
            replace(self.as_fd(), COPY, 0o600, text.as_bytes())?;
        }
        replace(self.as_fd(), RECORD, 0o600, text.as_bytes())
    }

    /// Keeps the bundle's configuration.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn keep_config(&self, text: &[u8]) -> Result<(), Fault> {
        replace(self.as_fd(), CONFIG, 0o600, text)
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

    /// What the container does now.
    ///
    /// # Errors
    /// Those of pidfd_open(2).
    pub(super) fn status(&self, record: &Record) -> Result<Status, Fault> {
        if record.is_creating && self.lock.is_none() && lock::is_held(self.as_fd()) {
            return Ok(Status::Creating);
        }
        if record.process()?.is_none() {
            return Ok(Status::Stopped);
        }
        if statat(self.as_fd(), FIFO, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
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
        // The lock comes last: until then nobody else makes something here.
        let _ = unlinkat(self.as_fd(), LOCK, AtFlags::empty());
        // One that is gone already was removed by another.
        let _ = unlinkat(self.root.as_fd(), self.id.as_str(), AtFlags::REMOVEDIR);
    }

    /// Removes everything but the lock.
    fn remove_files(&self) {
        // First, so that it is never taken for a record that was lost.
        let _ = unlinkat(self.as_fd(), COPY, AtFlags::empty());
        notify::remove(&self.descriptor);
        // It may have been listed before.
        let _ = seek(self, SeekFrom::Start(0));
        let _ = fs::each_entry(self.as_fd(), |name, kind| {
            let flags = match kind {
                FileType::Directory => AtFlags::REMOVEDIR,
                _ => AtFlags::empty(),
            };
            if name.to_bytes() != LOCK.as_bytes() {
                let _ = unlinkat(self.as_fd(), name, flags);
            }
            true
        });
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What became of the wish to have a name: the directory, or whose it is; `None` if it was removed
/// meanwhile.
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
        // PID 1 has files of its own there.
        let is_one =
            |name: &str| path(format_args!("{root}/{name}")).is_ok_and(|at| fs::is_directory(&at));
        if container_id(name.as_bytes()).is_ok() && is_one(name) {
            visit(name);
        }
        true
    });
    match visited {
        Err(fault) if fault.errno == Errno::NOENT => Ok(()),
        visited => visited,
    }
}
