//! The processes of a group: all of them at once, which no list of PIDs could do without a race.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, SeekFrom, openat, seek};
use rustix::io::{Errno, read};
use rustix::process::Pid;

use super::Group;
use crate::error::{During, Fault, Op};
use crate::parse::number::number;
use crate::sys::clock;
use crate::sys::fs::{self, each_entry, open_file, read_up_to};
use crate::sys::path::path;
use crate::text::Text;

/// How long processes may take to stop. One that waits for a device cannot be stopped before that
/// answers.
const FREEZE_TIMEOUT: Duration = Duration::from_secs(10);

/// How deep groups in groups are looked into, which costs stack.
const DEPTH_MAX: usize = 16;

impl Group {
    /// Kills all its processes (`cgroup.kill`, Linux 5.14).
    ///
    /// # Errors
    /// `ENOENT` on older kernels.
    pub fn kill(&self) -> Result<(), Fault> {
        fs::write_file(self, "cgroup.kill", b"1")
    }

    /// Limits its processes and threads to the share of all that systemd's `DefaultTasksMax=`
    /// gives, so that one container leaves some to the others and to PID 1.
    pub fn limit_processes(&self) {
        // A group without the controller has no limit either.
        let _ = self.set_share_of_processes();
    }

    fn set_share_of_processes(&self) -> Result<(), Fault> {
        const PERCENT: u64 = 15;
        let mut most = u64::MAX;
        for limit in ["pid_max", "threads-max"] {
            let mut buffer = [0; 32];
            let file = path(format_args!("/proc/sys/kernel/{limit}")).during(Op::Open, limit)?;
            let text = fs::read_file(CWD, &file, &mut buffer)?.trim_ascii();
            let number = core::str::from_utf8(text).ok().and_then(number::<u64>);
            most = most.min(number.unwrap_or(u64::MAX));
        }
        let share = Text::<24>::new(most.saturating_mul(PERCENT) / 100);
        fs::write_file(self, "pids.max", share.as_str().as_bytes())
    }

    /// Moves a process into it.
    ///
    /// # Errors
    /// `EBUSY` for a group that has groups with controllers in it (cgroup-v2.rst, "No Internal
    /// Process Constraint"); those of openat(2).
    pub fn add(&self, pid: Pid) -> Result<(), Fault> {
        let number = Text::<16>::new(pid.as_raw_nonzero());
        fs::write_file(self, "cgroup.procs", number.as_str().as_bytes())
    }

    /// Whether the kernel killed a process in it for want of memory (`memory.events`).
    pub fn had_oom_kill(&self) -> bool {
        let mut buffer = [0; 512];
        fs::read_file(self, "memory.events", &mut buffer).is_ok_and(|events| {
            events
                .split(|byte| *byte == b'\n')
                .filter_map(|line| line.strip_prefix(b"oom_kill "))
                .any(|count| count != b"0")
        })
    }

    /// Stops all its processes, and returns when they have stopped.
    ///
    /// # Errors
    /// `ETIMEDOUT` when one has not after 10 s; then they go on.
    pub fn freeze(&self) -> Result<(), Fault> {
        fs::write_file(self, FREEZE, b"1")?;
        let frozen = self
            .wait_until_frozen()
            .during(Op::Wait, "a frozen control group");
        if frozen.is_err() {
            let _ = self.thaw();
        }
        frozen
    }

    /// Lets its processes go on.
    ///
    /// # Errors
    /// Those of openat(2) and write(2).
    pub fn thaw(&self) -> Result<(), Fault> {
        fs::write_file(self, FREEZE, b"0")
    }

    /// Waits for a change of `cgroup.events`, which is an exceptional condition there
    /// (cgroup-v2.rst, "\[Un\]populated Notification").
    pub(super) fn wait_until_frozen(&self) -> Result<(), Errno> {
        let events = openat(
            self.as_fd(),
            EVENTS,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let deadline = clock::now() + FREEZE_TIMEOUT;
        loop {
            seek(&events, SeekFrom::Start(0))?;
            let mut buffer = [0; EVENTS_MAX];
            let len = read_up_to(&events, &mut buffer)?;
            if has(buffer.get(..len).unwrap_or_default(), b"frozen ") {
                return Ok(());
            }
            let mut watched = [PollFd::new(&events, PollFlags::PRI)];
            match poll(&mut watched, Some(&deadline.from_now())) {
                Ok(0) => return Err(Errno::TIMEDOUT),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Calls `see` with the PID of each process in it and in the groups below it, as the caller's
    /// PID namespace has them; a process of another PID namespace is 0.
    ///
    /// # Errors
    /// Those of openat(2) and read(2); `ELOOP` for groups more than 16 deep.
    pub fn each_process(&self, see: &mut dyn FnMut(u32)) -> Result<(), Fault> {
        each_process(self.as_fd(), DEPTH_MAX, see)
            .during(Op::List, "the processes of a control group")
    }
}

pub(super) const FREEZE: &str = "cgroup.freeze";
const EVENTS: &str = "cgroup.events";
const EVENTS_MAX: usize = 128;

/// Whether `cgroup.events` says so. `name` ends in a space.
pub(super) fn event(group: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Fault> {
    let mut buffer = [0; EVENTS_MAX];
    fs::read_file(group, EVENTS, &mut buffer).map(|events| has(events, name))
}

fn has(events: &[u8], name: &[u8]) -> bool {
    let mut lines = events.split(|byte| *byte == b'\n');
    lines.any(|line| line.strip_prefix(name) == Some(b"1"))
}

fn each_process(
    group: BorrowedFd<'_>,
    depth: usize,
    see: &mut dyn FnMut(u32),
) -> Result<(), Errno> {
    let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    list(group, see)?;
    // It may have been listed before.
    seek(group, SeekFrom::Start(0))?;
    let mut result = Ok(());
    each_entry(group, |name, kind| {
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            result = match openat(group, name, flags, Mode::empty()) {
                Ok(below) => each_process(below.as_fd(), depth, see),
                // It went meanwhile.
                Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(errno),
            };
        }
        result.is_ok()
    })?;
    result
}

/// The processes in the group itself: a number a line, in a file of any length.
fn list(group: BorrowedFd<'_>, see: &mut dyn FnMut(u32)) -> Result<(), Errno> {
    let file = open_file(group, "cgroup.procs").map_err(|fault| fault.errno)?;
    let mut buffer = [0; 512];
    let mut pid = 0u32;
    loop {
        let len = match read(&file, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(Errno::INTR) => continue,
            // A threaded group, whose processes are listed in the group above it; or a group that
            // is gone.
            Err(Errno::OPNOTSUPP | Errno::NODEV) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        for byte in buffer.get(..len).unwrap_or_default() {
            match byte {
                b'0'..=b'9' => pid = pid.wrapping_mul(10).wrapping_add(u32::from(byte - b'0')),
                _ => see(core::mem::take(&mut pid)),
            }
        }
    }
}
