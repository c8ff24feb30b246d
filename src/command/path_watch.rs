//! Waiting until there is something at a path in a container, without asking again and again.
//!
//! inotify(7) tells of names that come into a directory, and not of what comes on the way to it. So
//! every directory on the way is watched, as far as there are any, and those that symbolic links
//! lead through. A filesystem that is mounted on the way makes no name: of that, poll(2) on the
//! container's mountinfo tells (proc(5)).
//!
//! The root is the one that the container has before its program runs: no chroot(2) of the program
//! leads elsewhere. Paths are resolved inside it (openat2(2), RESOLVE_IN_ROOT).

use core::mem::MaybeUninit;

use rustix::event::PollFlags;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat_raw};
use rustix::io::Errno;

use crate::error::{During, Fault, Op};
use crate::parse::config::READY_PATH_MAX;
use crate::sys::buffer::Buffer;
use crate::sys::fs;
use crate::sys::mount::resolve_in_root;
use crate::sys::path::{LONG_PATH_MAX, LongPath, long_path, path};
use crate::text::split_last;

/// How many symbolic links are followed: as many as the kernel follows in a path
/// (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Room for events, in bytes: some of them, each with a name of 255 bytes at most.
const EVENTS: usize = 4096;

/// How many events are looked at before others get their turn.
const EVENTS_PER_TURN: usize = 256;

/// A path that is waited for.
pub(super) struct PathWatch {
    root: OwnedFd,
    mounts: OwnedFd,
    /// What tells of names.
    names: OwnedFd,
    /// In a mapping of its own, as it is moved about.
    path: Buffer<READY_PATH_MAX>,
    len: usize,
    /// A bit for each name on the way.
    on_the_way: u64,
}

/// What a walk has found.
enum Found {
    /// Something at the path.
    Path,
    /// Nothing. What is on the way is watched.
    Nothing,
    /// A symbolic link that leads to where nothing is.
    Link,
}

impl PathWatch {
    /// Waits for `path` in the container whose first process has the number `pid`, and holds before
    /// its program.
    ///
    /// # Errors
    /// Those of openat(2) and inotify_init1(2): `EMFILE` if there are too many that watch.
    pub(super) fn open(pid: u32, wanted: &str) -> Result<Self, Fault> {
        let root = path(format_args!("/proc/{pid}/root")).during(Op::Open, wanted)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mounts = path(format_args!("/proc/{pid}/mountinfo")).during(Op::Open, wanted)?;
        let mut text = Buffer::new();
        let room = text.bytes_mut().during(Op::Open, wanted)?;
        if let Some(room) = room.get_mut(..wanted.len()) {
            room.copy_from_slice(wanted.as_bytes());
        }
        Ok(Self {
            root: openat(CWD, root.as_str(), flags, Mode::empty()).during(Op::Open, &root)?,
            mounts: fs::open_file(CWD, &mounts)?,
            names: new_watches()?,
            path: text,
            len: wanted.len(),
            on_the_way: 0,
        })
    }

    fn path(&self) -> &str {
        let bytes = self.path.bytes().get(..self.len);
        core::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }

    /// What tells of names, and of mounts.
    pub(super) fn sources(&self) -> [(BorrowedFd<'_>, PollFlags); 2] {
        [
            (self.names.as_fd(), PollFlags::IN),
            (self.mounts.as_fd(), PollFlags::PRI),
        ]
    }

    /// Whether there is something at the path. To be asked at first and when a source tells of
    /// something; `has_other_mounts` if that of mounts does, and at first.
    ///
    /// # Errors
    /// Those of what it takes to watch.
    pub(super) fn look(&mut self, has_other_mounts: bool) -> Result<bool, Fault> {
        // Both, as what is read need not be read again.
        match self.has_news() | has_other_mounts {
            true => self.walk_all(),
            false => Ok(false),
        }
    }

    /// Whether a name that came may be one on the way.
    fn has_news(&self) -> bool {
        let mut room = [MaybeUninit::uninit(); EVENTS];
        let mut events = Reader::new(&self.names, &mut room);
        let mut has_news = false;
        for _ in 0..EVENTS_PER_TURN {
            has_news |= match events.next() {
                Err(Errno::INTR) => false,
                Err(_) => break,
                // An event without a name is the end of a directory, or of what can be told.
                Ok(event) => event
                    .file_name()
                    .is_none_or(|name| self.on_the_way & bit_of(name.to_bytes()) != 0),
            };
        }
        has_news
    }

    /// Walks along the path, and watches what is on the way.
    #[inline(never)]
    fn walk_all(&mut self) -> Result<bool, Fault> {
        // What is on the way no more is not watched any longer.
        self.names = new_watches()?;
        self.on_the_way = 0;
        let mut rooms = [LongPath::new(), LongPath::new()];
        let [wanted, led_to] = &mut rooms;
        let path = self.path();
        long_path(wanted, format_args!("{path}")).during(Op::Open, path)?;
        for _ in 0..=LINKS_MAX {
            match self.walk(wanted, led_to)? {
                Found::Path => return Ok(true),
                Found::Nothing => return Ok(false),
                Found::Link => core::mem::swap(wanted, led_to),
            }
        }
        Ok(false)
    }

    /// Walks along `wanted`, up to a symbolic link that leads nowhere: where the path leads with it
    /// is `led_to` then.
    fn walk(&mut self, wanted: &str, led_to: &mut LongPath) -> Result<Found, Fault> {
        for name in wanted.split('/') {
            self.on_the_way |= bit_of(name.as_bytes());
        }
        let mut directory = resolve_in_root(self.root.as_fd(), "/")?;
        let ends = wanted.match_indices('/').map(|(at, _)| at);
        for (part, rest) in ends
            .chain([wanted.len()])
            .filter_map(|end| wanted.split_at_checked(end))
        {
            if part.trim_matches('/').is_empty() {
                continue;
            }
            // Before it is known what is in there: what comes later is told of.
            self.watch(&directory)?;
            let errno = match resolve_in_root(self.root.as_fd(), part) {
                Ok(_) if rest.trim_matches('/').is_empty() => return Ok(Found::Path),
                Ok(found) => {
                    directory = found;
                    continue;
                }
                Err(fault) => fault.errno,
            };
            let (parent, name) = split_last(part.trim_end_matches('/'), b'/').unwrap_or(("", part));
            return match errno {
                Errno::NOENT => follow(directory.as_fd(), [parent, name, rest], led_to),
                // Something moves all the time, and a `..` may lead anywhere.
                Errno::AGAIN => Err(errno).during(Op::Open, part),
                _ => Ok(Found::Nothing),
            };
        }
        Ok(Found::Path)
    }

    fn watch(&self, directory: &OwnedFd) -> Result<(), Fault> {
        let wanted = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let place = path(format_args!("/proc/self/fd/{}", directory.as_raw_fd()));
        let added = place.and_then(|place| inotify::add_watch(&self.names, place.as_str(), wanted));
        match added {
            // Nothing comes into a file; and what takes its place is a name in its directory.
            Ok(_) | Err(Errno::NOTDIR) => Ok(()),
            Err(errno) => Err(errno).during(Op::Watch, self.path()),
        }
    }
}

fn new_watches() -> Result<OwnedFd, Fault> {
    inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).during(Op::Watch, "berth.ready")
}

/// One of 64 bits for a name.
fn bit_of(name: &[u8]) -> u64 {
    let sum = name.iter().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
    });
    1 << (sum % u64::BITS)
}

/// Where the path leads of which `name` in `directory` may be a symbolic link: `rest` is what
/// follows it, and `parent` what is before.
#[inline(never)]
fn follow(
    directory: BorrowedFd<'_>,
    [parent, name, rest]: [&str; 3],
    led_to: &mut LongPath,
) -> Result<Found, Fault> {
    let mut room = [MaybeUninit::uninit(); LONG_PATH_MAX];
    let Ok((link, _)) = readlinkat_raw(directory, name, &mut room) else {
        return Ok(Found::Nothing);
    };
    // One that fills the room may be longer.
    let link = core::str::from_utf8(link).ok();
    let Some(link) = link.filter(|link| link.len() < LONG_PATH_MAX) else {
        return Ok(Found::Nothing);
    };
    let from = if link.starts_with('/') { "" } else { parent };
    match long_path(led_to, format_args!("{from}/{link}{rest}")) {
        Ok(_) => Ok(Found::Link),
        Err(_) => Ok(Found::Nothing),
    }
}
