//! Files of what containers print, for PID 1 (`berth.log=`).
//!
//! PID 1 keeps the last lines of each container in `/run`, and waits for no disk. This process
//! follows those lines as `berth logs -f` does, and appends them to `<id>.log` in the directory, on
//! whatever disk that is ([`file`](mod@file)).
//!
//! # Where lines get lost
//!
//! What cannot be written is tried again, at first after a second, in the end once a minute, for as
//! long as PID 1 still has it. Each line has a number: before the first that is written after
//! others were lost, the file says how many those were. A disk that is full, or gone, costs nothing
//! else; PID 1 is told of it once.
//!
//! How far each file has come is in `/run`, too ([`DONE`]). A process that takes the place of one
//! that has died goes on there.

mod batch;
mod file;

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, Reader};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, write};
use rustix::net::{RecvFlags, recv};

use super::machine::follow::{Follower, Look, add_watch};
use super::{Call, OrReport, Reported, Subcommand};
use crate::container::{BUNDLES_MAX, Id};
use crate::error::{Code, During, Fault, Op};
use crate::events::DIRECTORY;
use crate::parse::answer::GO;
use crate::parse::log::{LOGS, Line};
use crate::parse::number::number;
use crate::sys::clock::{self, Moment};
use crate::sys::fs;
use crate::sys::mapped::Mapped;
use crate::sys::path::path;
use crate::text::Text;
use batch::Batch;

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "pid1-logs",
    operands: "DIR",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &[],
    about: "write files of what containers print for PID 1",
    run,
};

/// Where it is remembered how far each file has come: the number of the last line in it.
const DONE: &str = "/run/berth-boot/log-files";

/// The end of the names of PID 1's files.
const ENDING: &str = ".log";

/// How long it is until what could not be written is tried again: the first time, and at most.
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// How long what is wrong is told only once, even if it was right in between: a disk that is full
/// has room for a line now and then.
const TOLD: Duration = Duration::from_secs(60);

/// Room for events of inotify(7), in bytes.
const EVENTS: usize = 4096;

/// A container that has printed.
struct Container {
    id: Id,
    lines: Follower,
    /// The number of the last line that was written.
    done: u64,
    /// There may be more.
    has_more: bool,
    /// After what could not be written: when that is tried again, and how long it is until the time
    /// after that.
    rest: Option<(Moment, Duration)>,
}

struct Watch<'c> {
    call: &'c Call<'c>,
    /// The directory that the files are in.
    place: &'c str,
    containers: Mapped<Container, BUNDLES_MAX>,
    batch: Batch,
    /// When PID 1 was told that something is wrong which still is, as far as it knows.
    told: Option<Moment>,
    /// The machine ends.
    is_last: bool,
}

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    for directory in [DIRECTORY, LOGS, DONE] {
        fs::make_directory(directory).or_report(call, Code::LogFiles)?;
    }
    // What tells of lines.
    let names = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
    let names = names.during(Op::Watch, LOGS);
    let names = names.and_then(|names| add_watch(&names, LOGS).map(|()| names));
    let names = names.or_report(call, Code::LogFiles)?;
    let mut watch = Watch {
        call,
        place: call.given.operands.first().copied().unwrap_or_default(),
        containers: Mapped::new(),
        batch: Batch::new().or_report(call, Code::LogFiles)?,
        told: None,
        is_last: false,
    };
    // What is wrong with the directory is told before anything is lost.
    if let Err(fault) = file::open_directory(watch.place) {
        watch.tell(&fault);
    }
    watch.note_all();
    loop {
        let has_more = watch.write();
        if watch.is_last && !has_more {
            return Ok(0);
        }
        watch.wait(&names);
    }
}

impl Watch<'_> {
    /// Writes some of the lines of each container; whether there may be more.
    fn write(&mut self) -> bool {
        for index in 0..self.containers.len() {
            let now = clock::now();
            let Some(container) = self.containers.get_mut(index) else {
                break;
            };
            let rests = container.rest.is_some_and(|(until, _)| now < until);
            if !container.has_more || rests && !self.is_last {
                continue;
            }
            match container.write(self.place, &mut self.batch) {
                Ok(true) => self.tell_of_end(now),
                Ok(false) => {}
                Err(fault) => {
                    // There is no other time after the last.
                    container.has_more = !self.is_last;
                    self.tell(&fault);
                }
            }
        }
        self.containers.iter().any(|container| container.has_more)
    }

    /// Waits for lines, for the time to try again what could not be written, and for the end.
    fn wait(&mut self, names: &OwnedFd) {
        let waiting = self
            .containers
            .iter()
            .filter(|container| container.has_more);
        let due = waiting.map(|container| container.rest.map_or(Moment(0), |(until, _)| until));
        let timeout = due.min().map(Moment::from_now);
        if let Some(supervisor) = self.call.journal.supervisor() {
            let mut polled = [
                PollFd::new(names, PollFlags::IN),
                PollFd::from_borrowed_fd(supervisor.as_fd(), PollFlags::IN),
            ];
            let _ = poll(&mut polled, timeout.as_ref());
        }
        self.read_names(names);
        self.hear();
    }

    /// Reads which files have been written to.
    fn read_names(&mut self, names: &OwnedFd) {
        let mut room = [MaybeUninit::uninit(); EVENTS];
        let mut events = Reader::new(names, &mut room);
        let mut is_all = false;
        loop {
            match events.next() {
                Err(Errno::INTR) => {}
                Err(_) => break,
                Ok(event) => match event.file_name().map(CStr::to_str) {
                    Some(Ok(name)) => self.note(name),
                    Some(Err(_)) => {}
                    // There were more than are kept.
                    None => is_all = true,
                },
            }
        }
        if is_all {
            self.note_all();
        }
    }

    /// There may be lines of every container.
    fn note_all(&mut self) {
        let listed = fs::each_name(LOGS, |name| {
            self.note(name);
            true
        });
        if let Err(fault) = listed {
            self.tell(&fault);
        }
    }

    /// There may be lines in the file of this name.
    fn note(&mut self, name: &str) {
        let Some(id) = name.strip_suffix(ENDING) else {
            return;
        };
        let known = self.containers.iter_mut().find(|one| one.id == id);
        if let Some(container) = known {
            container.has_more = true;
            return;
        }
        match Container::new(id) {
            // There are as many places as containers.
            Ok(container) => drop(self.containers.push(container)),
            Err(fault) => self.tell(&fault),
        }
    }

    /// Hears whether the machine ends.
    fn hear(&mut self) {
        let mut word = [0; GO.len()];
        let is_open = self.call.journal.supervisor().is_some_and(|supervisor| {
            let heard = recv(supervisor, &mut word, RecvFlags::DONTWAIT);
            matches!(heard, Err(Errno::AGAIN | Errno::INTR))
        });
        if !is_open && !self.is_last {
            self.is_last = true;
            self.note_all();
        }
    }

    /// Tells PID 1 what is wrong, once.
    #[inline(never)]
    fn tell(&mut self, fault: &Fault) {
        if self.told.is_none() {
            self.told = Some(clock::now());
            self.call.journal.fail("logs", &fault.at(Code::LogFiles));
        }
    }

    /// Tells PID 1 that nothing is wrong any more, if that is so.
    fn tell_of_end(&mut self, now: Moment) {
        let is_over = self.told.is_some_and(|told| now >= told + TOLD);
        if is_over && self.containers.iter().all(|one| one.rest.is_none()) {
            self.told = None;
            let place = self.place;
            let text = format_args!("what containers print is written to {place} again");
            self.call.journal.notice(text);
        }
    }
}

impl Container {
    fn new(id: &str) -> Result<Self, Fault> {
        let too_long = |_| Errno::NAMETOOLONG;
        Ok(Self {
            id: Id::try_from(id).map_err(too_long).during(Op::Open, id)?,
            lines: Follower::open(format_args!("{LOGS}/{id}{ENDING}"), false)?,
            done: done(id),
            has_more: true,
            rest: None,
        })
    }

    /// Writes some of its lines to its file in the directory; whether there were any.
    ///
    /// # Errors
    /// Those of reading and writing. The same lines come again the next time, as far as PID 1 still
    /// has them.
    #[inline(never)]
    fn write(&mut self, place: &str, batch: &mut Batch) -> Result<bool, Fault> {
        let written = self.collect(batch).and_then(|last| match batch.is_empty() {
            true => Ok(last),
            false => file::append(place, &self.id, batch.bytes()).map(|()| last),
        });
        match written {
            Ok(_) if batch.is_empty() => Ok(false),
            Ok(last) => {
                (self.done, self.rest) = (last, None);
                remember(&self.id, last);
                Ok(true)
            }
            Err(fault) => {
                let delay = self.rest.map_or(REST, |(_, delay)| delay);
                let next = delay.saturating_mul(2).min(LONGEST_REST);
                self.rest = Some((clock::now() + delay, next));
                self.lines = Follower::open(format_args!("{LOGS}/{}{ENDING}", self.id), false)?;
                Err(fault)
            }
        }
    }

    /// Puts some of its lines that were not written into `batch`; the number of the last.
    fn collect(&mut self, batch: &mut Batch) -> Result<u64, Fault> {
        batch.clear();
        let mut last = self.done;
        self.has_more = true;
        while self.has_more && batch.has_room() {
            let look = self.lines.read_some(&mut |line| {
                if let Some(line) = Line::parse(line).filter(|line| line.number > last) {
                    batch.push(&line, line.number - last - 1);
                    last = line.number;
                }
                true
            })?;
            self.has_more = look == Look::More;
        }
        Ok(last)
    }
}

/// The number of the last line in the file of this container, of this boot; 0 if there is none.
fn done(id: &str) -> u64 {
    let mut room = [0; 32];
    let text = fs::read_attribute(format_args!("{DONE}/{id}"), &mut room);
    let text = text.and_then(|text| core::str::from_utf8(text).ok());
    text.and_then(number).unwrap_or(0)
}

/// Keeps that number. Where that fails, the next process for this writes some lines twice.
fn remember(id: &str, number: u64) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    // Always as long, so that it is there whole at every moment.
    let text = Text::<32>::new(format_args!("{number:020}"));
    let _ = path(format_args!("{DONE}/{id}"))
        .and_then(|file| openat(CWD, file.as_str(), flags, Mode::from_raw_mode(0o600)))
        .and_then(|file| write(file, text.as_str().as_bytes()));
}
