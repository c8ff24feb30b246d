//! Work of the end that a dead disk, or one that is only slow, may hold up: sync(2), umount2(2),
//! swapoff(2).
//!
//! A process that waits for a disk cannot be interrupted, so PID 1 has a child do it, and waits for
//! that: for as long as less and less is unwritten, and then some. A child that gets nowhere is
//! left behind, the machine ends without it.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::error::Stage;
use crate::parse::meminfo;
use crate::sys::clock::{self, Moment};
use crate::sys::process::{self, Forked, Status};
use crate::sys::{fs, kmsg};

/// How long something may take without any progress.
const STALL: Duration = Duration::from_secs(30);

/// The same once something has taken too long: the others may want the same disk.
const STALL_AFTERWARDS: Duration = Duration::from_secs(3);

/// How often progress is looked for.
const TICK: Duration = Duration::from_millis(500);

/// How often it is told.
const TELLING: Duration = Duration::from_secs(5);

/// How long what may be held up is waited for.
pub(crate) struct Patience<'f> {
    stall: Duration,
    /// Called again and again while there is hope: the watchdog does not know better.
    feed: &'f mut dyn FnMut(),
}

impl<'f> Patience<'f> {
    pub(crate) fn new(feed: &'f mut dyn FnMut()) -> Self {
        Self { stall: STALL, feed }
    }

    /// Has `work` done, and waits for it.
    ///
    /// # Errors
    /// Those of `work`; `ETIMEDOUT` if it gets nowhere.
    #[inline(never)]
    pub(crate) fn wait_for(&mut self, work: &dyn Fn() -> Result<(), Errno>) -> Result<(), Errno> {
        let child = match process::fork(0, None) {
            Ok(Forked::Parent(child)) => child,
            Ok(Forked::Child) => {
                let errno = work().err().map_or(0, Errno::raw_os_error);
                process::exit(errno)
            }
            // Without room for a process there is no other way, and most disks are fine.
            Err(_) => return work(),
        };
        if let Ok(end) = pidfd_open(child, PidfdFlags::empty()) {
            // A PID descriptor is readable when the process has ended (pidfd_open(2)).
            self.watch(&mut [PollFd::new(&end, PollFlags::IN)])?;
        }
        match process::wait_no_longer_than(child, None)? {
            Status::Exited(0) => Ok(()),
            Status::Exited(errno) => Err(Errno::from_raw_os_error(errno.into())),
            Status::Killed(_) => Err(Errno::INTR),
        }
    }

    /// Waits for `end` while there is progress.
    fn watch(&mut self, end: &mut [PollFd<'_>; 1]) -> Result<(), Errno> {
        let mut least = u64::MAX;
        let mut deadline = clock::now() + self.stall;
        let mut told = clock::now() + TELLING;
        loop {
            match poll(end, Some(&(clock::now() + TICK).from_now())) {
                Ok(0) => {}
                Err(Errno::INTR) => continue,
                _ => return Ok(()),
            }
            let now = clock::now();
            // Without a figure there is no progress to be seen.
            let left = unwritten().unwrap_or(u64::MAX);
            if left < least {
                least = left;
                deadline = now + self.stall;
            }
            if now >= deadline {
                self.stall = STALL_AFTERWARDS;
                return Err(Errno::TIMEDOUT);
            }
            tell(&mut told, left);
            (self.feed)();
        }
    }
}

/// Says on the console what is left, if it is time.
fn tell(next: &mut Moment, left: u64) {
    if clock::now() >= *next {
        *next = clock::now() + TELLING;
        let text = format_args!("waiting for the disks, {left} KiB are unwritten");
        kmsg::notice(Stage::Shutdown, text);
    }
}

/// What is unwritten, in KiB.
fn unwritten() -> Option<u64> {
    let mut text = [0; 2048];
    fs::read_attribute(format_args!("/proc/meminfo"), &mut text).and_then(meminfo::unwritten)
}
