//! Unmounting at the end of the machine: everything is written, and every filesystem is marked
//! clean.
//!
//! What was mounted last is unmounted first, again and again until nothing changes. Block devices
//! that are made of others, or of files, are taken apart then: what they are made of can be
//! unmounted after them. The root cannot be unmounted: it is made read-only, which writes out what
//! is pending and marks the filesystem clean (mount(2), MS_REMOUNT).
//!
//! What may wait for a disk is done by a child ([`Patience`]).
//!
//! The machine may end for want of memory, so the memory that this takes is reserved early
//! ([`List`]).

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::CWD;
use rustix::io::{Errno, read};

use super::journal::Journal;
use super::patience::Patience;
use super::root::SYSROOT;
use super::{Machine, UPPER_LAYER, holders};
use crate::error::{Code, During, Fault, Op, SUBJECT_MAX};
use crate::parse::mountinfo::{Mount, Mounts};
use crate::sys::buffer::Buffer;
use crate::sys::clock;
use crate::sys::leftovers::{self, Leftover};
use crate::sys::process;
use crate::sys::signal::{self, Signals};
use crate::sys::{fs, mount};
use crate::text::Text;

/// How long killed processes have to disappear.
pub(crate) const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Mounts that stay: they are needed until the last moment, or there is nothing on them to lose.
const KEPT: &[&[u8]] = &[
    b"/",
    b"/dev",
    b"/proc",
    b"/run",
    UPPER_LAYER.as_bytes(),
    b"/sys",
];

/// Everything below these stays, too.
const KEPT_BELOW: &[&[u8]] = &[b"/dev/", b"/proc/", b"/sys/"];

/// How much of the list of mounts is looked at at once, in bytes. A line of it is shorter: its
/// longest parts are two paths, and the options of an overlay.
const MOUNTS: usize = 64 * 1024;

/// The longest mount point that has a name for the kernel (PATH_MAX of include/uapi/linux/limits.h,
/// with the NUL).
pub(super) const POINT_MAX: usize = 4096;

/// Room for a part of the list of mounts, which takes memory only when it is read.
pub(crate) type List = Buffer<MOUNTS>;

/// Kills what is left, and leaves the filesystems in order.
#[inline(never)]
pub(crate) fn clean_up(machine: &mut Machine) {
    if process::has_children() {
        let wanted = signal::Set::of(&[signal::CHLD]);
        match Signals::open(wanted) {
            Ok(signals) => kill_rest(&signals),
            Err(_) => process::kill_all(),
        }
    }
    let feed = &mut || ();
    let patience = &mut Patience::new(feed);
    leave_in_order(&mut machine.journal, &mut machine.mounts, patience);
}

/// The same for the panic handler: processes are killed, and the root is made read-only.
pub(crate) fn clean_up_at_once() {
    process::kill_all();
    rustix::fs::sync();
    for place in [SYSROOT, "/"] {
        let _ = mount::remount_read_only(place);
    }
}

/// Kills all processes that are left, and waits for their ends: a filesystem with a file open for
/// writing cannot be made read-only. `signals` has SIGCHLD among them.
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

/// Writes out what is to be written, unmounts all that can be, and makes the rest read-only.
#[inline(never)]
pub(crate) fn leave_in_order(journal: &mut Journal, list: &mut List, patience: &mut Patience<'_>) {
    let written = patience.wait_for(&|| {
        rustix::fs::sync();
        Ok(())
    });
    if let Err(errno) = written {
        let detail = "the machine ends without it";
        let error = Fault::new(Op::Write, &"the disks", errno).at(Code::Unwritten);
        journal.warn_of(&error.with_detail(detail));
    }
    leftovers::each_swap(&mut |swap| {
        // A file that is swapped to is written to until then.
        if let Err(fault) = patience
            .wait_for(&|| leftovers::stop_swapping(swap))
            .during(
                Op::Remove,
                Text::<SUBJECT_MAX>::from_bytes(swap.strip_suffix(b"\0").unwrap_or(swap)),
            )
        {
            journal.warn_of(&fault.at(Code::Unmount));
        }
    });
    // A mount that holds another goes in a later round, as does one of which a device is made. One
    // round without progress is followed by a last one that names what is left.
    let mut is_last = false;
    loop {
        let (unmounted, failed) = unmount_listed(journal, list, patience, is_last);
        let again = unmounted > 0 && failed > 0;
        if again || take_apart(patience) {
            continue;
        }
        if failed == 0 || is_last {
            break;
        }
        is_last = true;
    }
    // The layer below an overlay is written to until the overlay is read-only. Where the switch
    // failed halfway, the list of mounts may be out of reach.
    let left = [SYSROOT, UPPER_LAYER].into_iter();
    for place in ["/"]
        .into_iter()
        .chain(left.filter(|place| fs::is_mount_point(place)))
    {
        let result = patience
            .wait_for(&|| mount::remount_read_only(place).map_err(|fault| fault.errno))
            .during(Op::Mount, format_args!("{place} read-only"));
        if let Err(fault) = result {
            journal.warn_of(&fault.at(Code::Unmount));
            holders::name(journal, place.as_bytes(), place.as_bytes());
        }
    }
}

/// Takes apart what block devices are made of others, or of files, and are not used any more;
/// whether there was one. Those below the root stay.
fn take_apart(patience: &mut Patience<'_>) -> bool {
    let mut has_changed = false;
    leftovers::each(&mut |leftover: &Leftover| {
        has_changed |= patience.wait_for(&|| leftover.remove()).is_ok() && !leftover.is_there();
    });
    has_changed
}

/// Unmounts what can be; how many mounts were unmounted, and how many could not be.
///
/// The list is read a part at a time, in the order of mounting. In each part what was mounted last
/// goes first; a mount that holds one of a later part goes in a later round.
fn unmount_listed(
    journal: &mut Journal,
    list: &mut List,
    patience: &mut Patience<'_>,
    is_last: bool,
) -> (usize, usize) {
    let mut counts = (0, 0);
    let file = fs::open_file(CWD, "/proc/self/mountinfo").map_err(drop);
    let (Ok(file), Ok(room)) = (file, list.bytes_mut()) else {
        return counts;
    };
    let mut used = 0;
    loop {
        let free = room.get_mut(used..).unwrap_or_default();
        let is_full = free.is_empty();
        let len = match read(&file, free) {
            Ok(len) => len,
            Err(Errno::INTR) => continue,
            Err(_) => 0,
        };
        used += len;
        if len > 0 {
            continue;
        }
        let text = room.get(..used).unwrap_or_default();
        let end = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        for line in text
            .get(..end)
            .unwrap_or_default()
            .rsplit(|byte| *byte == b'\n')
        {
            if let Some(Ok(entry)) = Mounts::new(line).next() {
                unmount_one(journal, &entry, patience, is_last, &mut counts);
            }
        }
        if !is_full || end == 0 {
            return counts;
        }
        // The beginning of a line, which goes on.
        room.copy_within(end + 1..used, 0);
        used -= end + 1;
    }
}

#[inline(never)]
fn unmount_one(
    journal: &mut Journal,
    entry: &Mount<'_>,
    patience: &mut Patience<'_>,
    is_last: bool,
    (unmounted, failed): &mut (usize, usize),
) {
    let mut path = [0; POINT_MAX];
    let point = entry.mount_point;
    // The kernel takes no path that is so long: the mount stays, and is reported.
    let result = match point.decode(&mut path) {
        Some(path) if is_kept(path) => return,
        Some(path) => patience.wait_for(&|| mount::unmount_now(path)),
        None => Err(Errno::NAMETOOLONG),
    };
    match result {
        Ok(()) => *unmounted += 1,
        Err(errno) => {
            *failed += 1;
            if is_last {
                let fault = Fault::new(Op::Unmount, &point, errno);
                journal.warn_of(&fault.at(Code::Unmount));
                if let Some(path) = point.decode(&mut path) {
                    holders::name(journal, point.raw(), path);
                }
            }
        }
    }
}

fn is_kept(path: &[u8]) -> bool {
    let is_below = |kept: &&[u8]| path.starts_with(kept);
    KEPT.contains(&path) || KEPT_BELOW.iter().any(is_below)
}
