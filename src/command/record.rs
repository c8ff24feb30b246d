//! The record of a container: what is known of it from one call to the next.
//!
//! A process is remembered by its number and the time of its start: the number alone may be
//! another's by now.

use core::fmt::{self, Write as _};

use rustix::io::Errno;

use super::time::Time;
use crate::container::Status;
use crate::error::Fault;
use crate::parse::config::id::MAX_ID;
use crate::parse::json::{self, Node, Value};
use crate::sys::fs;
use crate::sys::path::{PATH_MAX, Path, path};
use crate::sys::pidfd::{self, Process};
use crate::text::{Json, Text, split_last};

/// Bytes that a record may have: its paths with every byte escaped, and the rest.
pub(super) const RECORD_MAX: usize = 3 * 6 * PATH_MAX + 2 * 6 * MAX_ID + 512;

/// A time for those who want one.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What is written down of a container.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its first process, as the caller's PID namespace numbers it.
    pub(super) pid: u32,
    /// When that started: see [`crate::parse::stat::Stat::start`].
    pub(super) start: u64,
    /// The bundle, as an absolute path.
    pub(super) bundle: Path,
    /// What its root filesystem is made from, a directory or the file of an image; empty if that
    /// is longer than a path here.
    pub(super) image: Path,
    /// Its control group's directory; empty if it has none.
    pub(super) cgroup: Path,
    /// How many bytes of that name groups that were there before it was made.
    pub(super) existing: usize,
    /// The unit of systemd's that this is in; empty if it is in none.
    pub(super) unit: Path,
    /// When it was created.
    pub(super) created: Text<32>,
    /// It belongs to a `run` in the foreground, and goes with it.
    pub(super) is_transient: bool,
    /// It is not made yet: there is no first process, and its control group is its own only if that
    /// is marked so.
    pub(super) is_creating: bool,
}

impl Record {
    /// A record of a container that is to be made.
    pub(super) fn new(bundle: Path, image: &str, cgroup: Path, is_transient: bool) -> Self {
        let image = match image.starts_with('/') {
            true => path(format_args!("{image}")),
            false => path(format_args!("{bundle}/{image}")),
        };
        Self {
            bundle,
            // People look at it, and nothing opens it.
            image: image.unwrap_or_default(),
            existing: existing(&cgroup),
            cgroup,
            created: Text::new(Time::now()),
            is_transient,
            ..Self::lost()
        }
    }

    /// A record of a container of which nothing is known.
    pub(super) fn lost() -> Self {
        Self {
            pid: 0,
            start: 0,
            bundle: Path::new(),
            image: Path::new(),
            cgroup: Path::new(),
            existing: usize::MAX,
            unit: Path::new(),
            created: Text::new(NEVER),
            is_transient: false,
            is_creating: true,
        }
    }

    /// It is made, and `pid` is its first process.
    pub(super) fn made(&mut self, pid: u32) {
        self.pid = pid;
        self.start = pidfd::stat(pid).map_or(0, |stat| stat.start);
        self.is_creating = false;
    }

    /// The record that `text` is, if it is one.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let record = json::check(text).ok()?;
        Some(Self {
            pid: number(record, "pid")?.try_into().ok()?,
            start: number(record, "start")?,
            bundle: string(record, "bundle")?,
            image: string(record, "image").unwrap_or_default(),
            cgroup: string(record, "cgroup")?,
            existing: number(record, "existing")
                .and_then(|existing| existing.try_into().ok())
                .unwrap_or(usize::MAX),
            unit: string(record, "unit")?,
            created: Text::new(string(record, "created")?),
            is_transient: matches!(record.member("transient")?.node(), Node::Bool(true)),
            is_creating: record
                .member("creating")
                .is_some_and(|creating| matches!(creating.node(), Node::Bool(true))),
        })
    }

    /// The number that others are told: none of a process that has ended.
    pub(super) fn pid_if(&self, status: Status) -> u32 {
        match status {
            Status::Creating | Status::Stopped => 0,
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
            // EINVAL: it has ended, and its number is still that of a session or of a process group
            // (pidfd_open(2)).
            Err(fault) if matches!(fault.errno, Errno::SRCH | Errno::INVAL) => return Ok(None),
            process => process?,
        };
        let is_it =
            pidfd::stat(self.pid).is_some_and(|stat| stat.start == self.start && !stat.has_ended);
        Ok(is_it.then_some(process))
    }

    /// Writes it as [`Self::parse`] reads it.
    ///
    /// # Errors
    /// That there is no room.
    pub(super) fn write(&self, id: &str, text: &mut heapless::String<RECORD_MAX>) -> fmt::Result {
        let Self { pid, start, .. } = self;
        writeln!(
            text,
            "{{\"id\":{},\"pid\":{pid},\"start\":{start},\"bundle\":{},\"image\":{},\"cgroup\":{},\"existing\":{},\"unit\":{},\"created\":\"{}\",\"transient\":{},\"creating\":{}}}",
            Json(id),
            Json(&self.bundle),
            Json(&self.image),
            Json(&self.cgroup),
            self.existing,
            Json(&self.unit),
            self.created,
            self.is_transient,
            self.is_creating
        )
    }
}

/// How much of `path` there is, in bytes.
fn existing(mut path: &str) -> usize {
    while !fs::is_directory(path)
        && let Some((parent, _)) = split_last(path, b'/')
    {
        path = parent;
    }
    path.len()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let long = "x".repeat(PATH_MAX);
        for (image, expected) in [
            ("rootfs", "/b/\"1\"/rootfs"),
            ("app.img", "/b/\"1\"/app.img"),
            ("/images/\u{1b}/root", "/images/\u{1b}/root"),
            (&*long, ""),
        ] {
            let [bundle, group] = ["/b/\"1\"", "/nowhere/web"].map(|it| it.try_into().unwrap());
            let mut record = Record::new(bundle, image, group, true);
            record.made(std::process::id());
            let mut text = heapless::String::new();
            record.write("web", &mut text).unwrap();
            let read = Record::parse(text.as_bytes()).unwrap();
            assert_eq!(read.image, expected);
            assert_eq!((read.bundle, read.cgroup), (record.bundle, record.cgroup));
            assert_eq!((read.pid, read.start), (record.pid, record.start));
            assert!(read.is_transient && !read.is_creating);
        }
    }

    /// The command that reads a record may be newer than the one that wrote it.
    #[test]
    fn a_record_without_an_image_is_one() {
        let mut text = heapless::String::new();
        Record::lost().write("web", &mut text).unwrap();
        let old = text.replace(",\"image\":\"\"", "");
        assert!(old.len() < text.len());
        assert_eq!(Record::parse(old.as_bytes()).unwrap().image, "");
    }
}
