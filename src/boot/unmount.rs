//! The end of what is mounted: nothing is left to be written, and every filesystem knows that it was left in order.
//!
//! What is mounted is unmounted in the reverse order of mounting. The root cannot be: it is made read-only, which writes
//! out what is pending and marks the filesystem clean (mount(2), MS_REMOUNT).
//!
//! The end comes where memory may be what the machine lacks, so what it takes is there before ([`List`]).

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::CWD;

use super::root::SYSROOT;
use super::{Machine, UPPER_LAYER};
use crate::error::{At, Code};
use crate::parse::mountinfo::Mounts;
use crate::sys::buffer::Buffer;
use crate::sys::clock;
use crate::sys::process;
use crate::sys::signal::{self, Signals};
use crate::sys::{fs, mount};

/// How long killed processes have to disappear.
pub(crate) const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// What is needed until the last moment, or holds nothing to lose. What lies below the kernel's own filesystems is theirs.
const KEPT: &[&[u8]] = &[
    b"/",
    b"/dev",
    b"/proc",
    b"/run",
    UPPER_LAYER.as_bytes(),
    b"/sys",
];

/// Below these everything is kept.
const KEPT_BELOW: &[&[u8]] = &[b"/dev/", b"/proc/", b"/sys/"];

/// The size of the list of mounts, in bytes, beyond which the first ones are not unmounted.
const MOUNTS: usize = 64 * 1024;

/// Room for the list of mounts, which takes memory only when it is read.
pub(crate) type List = Buffer<MOUNTS>;

/// Kills what is left, and leaves the filesystems in order.
#[inline(never)]
pub(crate) fn leave(machine: &mut Machine) {
    if process::has_children() {
        let wanted = signal::Set::of(&[signal::CHLD]);
        match Signals::open(wanted) {
            Ok(signals) => kill_rest(&signals),
            Err(_) => process::kill_all(),
        }
    }
    rustix::fs::sync();
    unmount_all(machine);
}

/// The same without a machine, and in a hurry: what writes is killed, and what cannot be written any more is in order.
pub(crate) fn leave_at_once() {
    process::kill_all();
    rustix::fs::sync();
    for place in [SYSROOT, "/"] {
        let _ = mount::remount_read_only(place);
    }
}

/// Kills what is left, orphans and what ran beside the containers, and waits for it: a process on its way out still has its
/// files open, and a filesystem with a file open for writing cannot be made read-only. `signals` has SIGCHLD among them.
pub(crate) fn kill_rest(signals: &Signals) {
    process::kill_all();
    let deadline = clock::now() + KILL_TIMEOUT;
    loop {
        while process::ended().and_then(process::reap).is_some() {}
        if !process::has_children() || clock::now() >= deadline {
            return;
        }
        // SIGCHLD, which stays blocked.
        let _ = poll(
            &mut [PollFd::new(&signals.0, PollFlags::IN)],
            Some(&deadline.from_now()),
        );
        while signals.next().is_some() {}
    }
}

/// Unmounts all that can be, and makes the rest read-only.
pub(crate) fn unmount_all(machine: &mut Machine) {
    // A mount that holds another goes in a later round. One round without progress is followed by a last one that names
    // what is left.
    let mut is_last = false;
    loop {
        let (unmounted, failed) = unmount_round(machine, is_last);
        if failed == 0 || is_last {
            break;
        }
        is_last = unmounted == 0;
    }
    // The layer below an overlay is written to until the overlay is read-only. Where the switch failed halfway, the list of mounts may
    // be out of reach.
    let left = [SYSROOT, UPPER_LAYER].into_iter();
    for place in ["/"]
        .into_iter()
        .chain(left.filter(|place| fs::is_mount_point(place)))
    {
        if let Err(fault) = mount::remount_read_only(place).at(Code::Unmount) {
            machine.warn_of(&fault);
        }
    }
}

/// Unmounts what can be, last mounted first; how many were, and how many could not be.
fn unmount_round(machine: &mut Machine, is_last: bool) -> (usize, usize) {
    let mut list = core::mem::take(&mut machine.mounts);
    let counts = unmount_listed(machine, &mut list, is_last);
    machine.mounts = list;
    counts
}

fn unmount_listed(machine: &mut Machine, list: &mut List, is_last: bool) -> (usize, usize) {
    let Ok(text) = fs::open_file(CWD, "/proc/self/mountinfo")
        .map_err(drop)
        .and_then(|file| list.fill_from(&file).map_err(drop))
    else {
        return (0, 0);
    };
    let mut counts = (0, 0);
    for line in text.trim_ascii_end().rsplit(|byte| *byte == b'\n') {
        let Some(Ok(entry)) = Mounts::new(line).next() else {
            continue;
        };
        let mut path = [0; crate::sys::path::PATH_MAX];
        let Some(path) = entry.mount_point.decode(&mut path) else {
            continue;
        };
        let is_below = |kept: &&[u8]| path.starts_with(kept);
        if KEPT.contains(&path) || KEPT_BELOW.iter().any(is_below) {
            continue;
        }
        let Ok(path) = core::str::from_utf8(path) else {
            continue;
        };
        match mount::unmount_now(path).at(Code::Unmount) {
            Ok(()) => counts.0 += 1,
            Err(error) => {
                counts.1 += 1;
                if is_last {
                    machine.warn_of(&error);
                }
            }
        }
    }
    counts
}
