//! `pid1-freeze` and `pid1-thaw`: the machine stands still, for PID 1, so that it can be copied;
//! and it goes on as another one.
//!
//! # Freezing
//!
//! All containers first, by their control groups; then what they have written is written to the
//! disks; then each filesystem on a disk stands still, those that were mounted last first: the file
//! of a loop device is on another one. A filesystem that cannot (vfat) is synchronised only: no
//! process that runs writes to it. From then on this process and PID 1 must not write to a disk.
//! What they write is in `/run`.
//!
//! # Thawing
//!
//! Two machines that go on from one copy know the same secrets, and foresee each other's random
//! numbers. So first the clock is set, the kernel gets bytes that the other machine does not get,
//! and draws anew. The id in [`GENERATION`] is drawn after that. When PID 1 has told of it, the
//! filesystems go on, and then the containers.
//!
//! Nothing is remembered between the two but what the kernel knows itself: whatever becomes of
//! either process, the other way can be gone.

use core::time::Duration;

use rustix::fs::{CWD, stat, unlink};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::carry::BUILT;
use super::state::{self, Directory};
use super::{Call, OrReport, Reported, Subcommand, group};
use crate::container::{Group, Status};
use crate::error::{Code, During, Error, Fault, Op};
use crate::events::DIRECTORY;
use crate::parse::arguments::Opt;
use crate::parse::machine_change::{Clock, Entropy, MachineChange};
use crate::parse::mountinfo::{Mount, Mounts};
use crate::parse::request::{GENERATION, REQUEST_MAX, Request, Thaw};
use crate::sys::buffer::Buffer;
use crate::sys::path::{LONG_PATH_MAX, Path, path};
use crate::sys::random;
use crate::sys::{clock, freeze, fs};
use crate::text::Text;

const UNDO: Opt = Opt {
    long: "undo",
    short: None,
    value: None,
    about: "the machine was not copied: only let everything go on",
};

pub(super) const FREEZE: Subcommand = Subcommand {
    name: "pid1-freeze",
    operands: "",
    count: (0, 0),
    raw_from: usize::MAX,
    options: &[],
    about: "have the machine stand still for PID 1",
    run: freeze_machine,
};

pub(super) const THAW: Subcommand = Subcommand {
    name: "pid1-thaw",
    options: &[&UNDO],
    about: "have it go on",
    run: thaw_machine,
    ..FREEZE
};

/// The longest list of mounts, in bytes.
const LIST: usize = 1024 * 1024;

/// How many filesystems on disks there may be.
const FILESYSTEMS_MAX: usize = 512;

/// The clock chip counts seconds. A clock that is no further from it is the better one.
const CHIP_IS_LATE: u64 = 2;

/// A device for randomness.
const DEVICE: &str = "/dev/hwrng";

/// How many bytes it is asked for, and how many of them may have been in store when the machine was
/// copied: the kernel and the driver of virtio-rng have 64 bytes each (hw_random/core.c,
/// virtio-rng.c).
const DEVICE_LEN: usize = 512;
const IN_STORE: usize = 256;

/// How long that may take.
const DEVICE_PATIENCE: Duration = Duration::from_secs(2);

/// There while the machine stands still, so that no container is made meanwhile.
const MARK: &str = "frozen";

/// Where the kernel draws an id.
const NEW_ID: &str = "/proc/sys/kernel/random/uuid";

fn freeze_machine(call: &Call<'_>) -> Result<u8, Reported> {
    let mark = mark().or_report(call, Code::Freeze)?;
    fs::create_file(&mark, b"").or_report(call, Code::Freeze)?;
    let containers = freeze_containers(call)?;
    rustix::fs::sync();
    let filesystems = freeze_filesystems().or_report(call, Code::Freeze)?;
    if let Some(supervisor) = call.journal.supervisor() {
        supervisor.tell_machine(MachineChange::Frozen(containers, filesystems));
    }
    Ok(0)
}

/// Has all containers stand still; how many do.
fn freeze_containers(call: &Call<'_>) -> Result<u16, Reported> {
    let mut count = 0;
    each_group(call, &mut |_, group| {
        let has_begun = group.begin_to_freeze().or_report(call, Code::Freeze)?;
        count += u16::from(has_begun);
        Ok(())
    })?;
    // All of them at once, and then each is waited for.
    each_group(call, &mut |id, group| {
        if !group.is_frozen_with_machine() {
            return Ok(());
        }
        group.finish_to_freeze().map_err(|fault| {
            let detail = "a process of it does not stop: it may wait for a device";
            let error = Fault::new(Op::Freeze, &id, fault.errno).at(Code::Freeze);
            call.fail(&error.with_detail(detail))
        })
    })?;
    Ok(count)
}

/// Calls `each` with the group of each container that runs.
///
/// # Errors
/// [`Code::Freeze`] for one that is being made, has no group, or whose record is broken.
#[inline(never)]
fn each_group(
    call: &Call<'_>,
    each: &mut dyn FnMut(&str, &Group) -> Result<(), Reported>,
) -> Result<(), Reported> {
    let mut result = Ok(());
    let listed = state::each(&call.root, &mut |id| {
        if result.is_ok() {
            result = visit(call, id, each);
        }
    });
    listed.or_report(call, Code::State)?;
    result
}

fn visit(
    call: &Call<'_>,
    id: &str,
    each: &mut dyn FnMut(&str, &Group) -> Result<(), Reported>,
) -> Result<(), Reported> {
    let Some(directory) = Directory::find(call, id)? else {
        return Ok(());
    };
    let Some(record) = directory.read().or_report(call, Code::State)? else {
        return Ok(());
    };
    match directory.status(&record).or_report(call, Code::State)? {
        Status::Stopped => return Ok(()),
        Status::Creating => {
            let detail = "it is being created";
            return Err(call.fail(&Error::new(Code::Freeze, Op::Freeze, id, detail)));
        }
        Status::Created | Status::Running | Status::Paused => {}
    }
    each(id, &group::of(call, &record, id)?)
}

/// Has all filesystems on disks stand still that can; how many do.
#[inline(never)]
fn freeze_filesystems() -> Result<u16, Fault> {
    let mut count = 0;
    each_filesystem(true, &mut |mount, file| {
        match freeze::freeze(file) {
            Ok(()) => count += 1,
            // It does already, by another of its mounts; or it cannot.
            Err(Errno::BUSY | Errno::OPNOTSUPP | Errno::NOTTY) => {}
            Err(errno) => return Err(errno).during(Op::Freeze, mount.mount_point),
        }
        Ok(())
    })?;
    Ok(count)
}

/// Lets all filesystems go on.
#[inline(never)]
fn thaw_filesystems() -> Result<(), Fault> {
    each_filesystem(false, &mut |mount, file| match freeze::thaw(file) {
        Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY) => Ok(()),
        Err(errno) => Err(errno).during(Op::Thaw, mount.mount_point),
    })
}

/// Calls `each` with each filesystem on a block device, in the order of mounting or the reverse.
fn each_filesystem(
    is_reverse: bool,
    each: &mut dyn FnMut(&Mount<'_>, &rustix::fd::OwnedFd) -> Result<(), Fault>,
) -> Result<(), Fault> {
    const MOUNTS: &str = "/proc/self/mountinfo";
    let mut room = Buffer::<LIST>::new();
    let room = room.bytes_mut().during(Op::Read, MOUNTS)?;
    let list = fs::read_file(CWD, MOUNTS, room)?;
    let mut seen = heapless::Vec::<(u32, u32), FILESYSTEMS_MAX>::new();
    let mut point = [0; LONG_PATH_MAX];
    let mut visit = |line: &[u8]| {
        let Some(Ok(mount)) = Mounts::new(line).next() else {
            return Ok(());
        };
        let device = (mount.major, mount.minor);
        let is_on_disk = mount.source.raw().starts_with(b"/dev/");
        if !is_on_disk || seen.contains(&device) {
            return Ok(());
        }
        // Something else may be mounted over it. Then another of its mounts may do.
        let file = mount.mount_point.decode(&mut point).map(freeze::open);
        let Some(Ok(file)) = file else { return Ok(()) };
        let has_room = seen.push(device).map_err(|_| Errno::NOSPC);
        has_room.during(Op::List, MOUNTS)?;
        each(&mount, &file)
    };
    let is_end = |byte: &u8| *byte == b'\n';
    match is_reverse {
        true => list.rsplit(is_end).try_for_each(&mut visit),
        false => list.split(is_end).try_for_each(&mut visit),
    }
}

fn thaw_machine(call: &Call<'_>) -> Result<u8, Reported> {
    if !call.given.has(&UNDO) {
        let mut room = [0; REQUEST_MAX];
        let given = given(call, &mut room);
        let change = become_another(call, given).or_report(call, Code::Freeze)?;
        if let Some(supervisor) = call.journal.supervisor() {
            supervisor.tell_machine(change.change());
            supervisor.wait()?;
        }
    }
    // Those of a container that cannot go on keep no other from it.
    let thawed = thaw_filesystems().or_report(call, Code::Freeze);
    let mut failed = None;
    let listed = state::each(&call.root, &mut |id| {
        let group = group_of(call, id);
        if let Some(Err(fault)) = group.map(|group| group.thaw_with_machine()) {
            failed = Some(call.fail(&fault.at(Code::Freeze)));
        }
    });
    listed.or_report(call, Code::State)?;
    thawed?;
    let mark = mark().or_report(call, Code::Freeze)?;
    // There is none if it is not about the whole machine any more.
    let _ = unlink(mark.as_str());
    failed.map_or(Ok(0), Err)
}

fn mark() -> Result<Path, Fault> {
    path(format_args!("{DIRECTORY}/{MARK}")).during(Op::Open, MARK)
}

/// Refuses to make a container, of which there is a record already, while the machine stands still:
/// either this sees the mark, or `pid1-freeze` sees the record.
///
/// # Errors
/// [`Code::Freeze`].
pub(super) fn refuse_if_frozen(call: &Call<'_>, id: &str) -> Result<(), Reported> {
    let is_frozen = mark().is_ok_and(|mark| stat(mark.as_str()).is_ok());
    if !is_frozen {
        return Ok(());
    }
    let detail = "the machine is frozen";
    Err(call.fail(&Error::new(Code::Freeze, Op::Create, id, detail)))
}

/// The group of a container, whatever it does.
fn group_of(call: &Call<'_>, id: &str) -> Option<Group> {
    let record = Directory::find(call, id).ok()??.read().ok()??;
    Group::open(CWD, &record.cgroup).ok()
}

/// What PID 1 was asked to give.
fn given<'r>(call: &Call<'_>, room: &'r mut [u8; REQUEST_MAX]) -> Thaw<'r> {
    let len = call.journal.supervisor().map_or(0, |supervisor| {
        recv(supervisor, &mut room[..], RecvFlags::empty()).map_or(0, |(len, _)| len)
    });
    match Request::parse(room.get(..len).unwrap_or_default()) {
        Some(Request::Thaw(thaw)) => thaw,
        _ => Thaw::default(),
    }
}

/// As which machine it goes on.
struct Another {
    clock: Clock,
    entropy: Entropy,
    id: Text<48>,
}

impl Another {
    fn change(&self) -> MachineChange<'_> {
        MachineChange::Thawed(self.clock, self.entropy, self.id.as_str())
    }
}

/// Sets the clock, and has the kernel draw from what the other machine does not have.
fn become_another(call: &Call<'_>, given: Thaw<'_>) -> Result<Another, Fault> {
    let clock = set_clock(given.time).during(Op::Set, "the clock")?;
    let mut room = [0; DEVICE_LEN];
    let (entropy, source) = match given.entropy {
        [] => match from_device(&mut room) {
            Ok(fresh) => (fresh, Entropy::Device),
            Err(_) => (&[][..], Entropy::None),
        },
        bytes => (bytes, Entropy::Given),
    };
    random::credit(entropy)?;
    if source == Entropy::None {
        let why = "nobody has given entropy, and there is no /dev/hwrng: two machines of one copy draw the same numbers";
        call.journal.warn(why);
    }
    match random::reseed() {
        // It draws from all that it gets until it has enough.
        Err(fault) if fault.errno == Errno::NODATA => {}
        reseeded => reseeded?,
    }
    let mut id = [0; 48];
    let id = fs::read_file(CWD, NEW_ID, &mut id)?;
    // In its place: a container may have the file bound.
    fs::create_file(GENERATION, id)?;
    Ok(Another {
        clock,
        entropy: source,
        id: Text::from_bytes(id.trim_ascii()),
    })
}

/// Sets the clock to what was given, or to what the clock chip says.
fn set_clock(given: Option<(u64, u32)>) -> Result<Clock, Errno> {
    if let Some((seconds, nanoseconds)) = given {
        clock::set_wall(seconds, nanoseconds)?;
        return Ok(Clock::Given);
    }
    let (now, _) = clock::wall();
    let is_better = |time: &u64| *time >= BUILT && time.abs_diff(now) >= CHIP_IS_LATE;
    match clock::of_chip().filter(is_better) {
        Some(time) => clock::set_wall(time, 0).map(|()| Clock::Chip),
        None => Ok(Clock::Kept),
    }
}

/// Bytes of a device for randomness that the other machine does not get.
fn from_device(room: &mut [u8; DEVICE_LEN]) -> Result<&[u8], Errno> {
    random::fill_from(DEVICE, room, clock::now() + DEVICE_PATIENCE)?;
    Ok(room.get(IN_STORE..).unwrap_or_default())
}
