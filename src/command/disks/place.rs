//! The directory that disks are mounted in, and the name that each gets there.
//!
//! Containers that have the directory may do in it what they like at the same time. So a disk's own
//! directory is opened once, through no link, and what is mounted or unmounted is what the
//! descriptor is ([`crate::sys::mount::at`]). Only one process at a time chooses a name.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, ResolveFlags, flock, fstat, mkdirat, openat2,
    unlinkat,
};
use rustix::io::Errno;

use super::record::{DIRECTORY, Identity, MountName, Record, State};
use super::{Call, Reported, tell};
use crate::error::{Code, During, Fault, Op};
use crate::parse::answer::DiskState;
use crate::parse::automount::Name;
use crate::sys::fs;
use crate::sys::mount::at::unmountat;
use crate::sys::mount::{Detached, is_mount_root};
use crate::text::Text;

/// So many disks may have the same name.
const SAME_MAX: usize = 999;

/// Mounts what was made of a disk in the directory `place`, under the first of `names` that can be
/// had, and keeps that in `record`.
///
/// # Errors
/// Those of mkdirat(2) and move_mount(2); `EEXIST` if all that could be its name is taken.
pub(super) fn attach(
    mount: &Detached,
    place: &str,
    names: &[Name],
    (record, identity): (&mut Record, &Identity),
) -> Result<(), Fault> {
    let directory = fs::open_directory(CWD, place)?;
    record.filesystem = fstat(mount.root()).during(Op::Open, place)?.st_dev;
    // Given back by the end of this process.
    let lock = fs::open_directory(CWD, DIRECTORY)?;
    flock(&lock, FlockOperation::LockExclusive).during(Op::Create, place)?;
    let mut refused = Errno::EXIST;
    for name in names {
        for number in 1..=SAME_MAX {
            let Some(name) = numbered(name, number) else {
                break;
            };
            let (target, is_new) = match own_directory(directory.as_fd(), &name) {
                Ok(found) => found,
                // Another disk's, or somebody's file.
                Err(Errno::EXIST) => continue,
                // The filesystem does not take such a name.
                Err(errno) => {
                    refused = errno;
                    break;
                }
            };
            record.state = State::Mounted;
            record.name = name;
            record.keep(identity);
            let attached = mount.attach(target.as_fd());
            if attached.is_err() && is_new {
                // Nothing is lost with an empty directory.
                let _ = unlinkat(&directory, record.name.as_str(), AtFlags::REMOVEDIR);
            }
            return attached.during(Op::Mount, format_args!("{place}/{}", record.name));
        }
    }
    Err(refused).during(Op::Create, format_args!("a directory in {place}"))
}

fn numbered(name: &str, number: usize) -> Option<MountName> {
    let mut numbered = MountName::try_from(name).ok()?;
    if number > 1 {
        core::fmt::Write::write_fmt(&mut numbered, format_args!("-{number}")).ok()?;
    }
    Some(numbered)
}

/// The directory `name`, made for a disk, and whether it was made now; one that is there, is empty,
/// and has nothing mounted on it does as well: it may be left from an earlier boot.
fn own_directory(directory: BorrowedFd<'_>, name: &str) -> Result<(OwnedFd, bool), Errno> {
    let is_new = match mkdirat(directory, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(errno),
    };
    let opened = open(directory, name).and_then(|target| {
        let is_free = !is_mount_root(target.as_fd())? && (is_new || is_empty(&target)?);
        is_free.then_some(target).ok_or(Errno::EXIST)
    });
    // Whatever it is, it is not ours.
    opened.map_or(Err(Errno::EXIST), |target| Ok((target, is_new)))
}

/// Opens the directory `name`, if that is one, and no link.
fn open(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(directory, name, flags, Mode::empty(), resolve)
}

fn is_empty(directory: &OwnedFd) -> Result<bool, Errno> {
    let mut is_empty = true;
    fs::each_entry(directory.as_fd(), |_, _| {
        is_empty = false;
        false
    })?;
    Ok(is_empty)
}

/// Unmounts a disk that is gone, in this mount namespace and in those that follow it, removes its
/// directory, and tells PID 1.
pub(super) fn take_away(call: &Call<'_>, place: &str, identity: &Identity) -> Result<(), Reported> {
    let node = identity.node();
    let record = Record::read(identity).unwrap_or_default();
    if matches!(record.state, State::Quiet | State::Unready) {
        return Ok(());
    }
    let mut at = Text::<512>::EMPTY;
    if record.state == State::Mounted {
        at = Text::new(format_args!("{place}/{}", record.name));
        if let Err(fault) = unmount(place, &record) {
            call.journal.warn(fault.at(Code::DiskLost));
        }
    }
    let disk = record.disk(DiskState::Gone, node.as_str(), at.as_str());
    tell(call, &disk, None);
    Ok(())
}

fn unmount(place: &str, record: &Record) -> Result<(), Fault> {
    let directory = fs::open_directory(CWD, place)?;
    let name = record.name.as_str();
    let target = match open(directory.as_fd(), name) {
        // It was unmounted by hand, and its directory removed.
        Err(Errno::NOENT) => return Ok(()),
        opened => opened.during(Op::Unmount, name)?,
    };
    // By hand, it may have been unmounted already, or something else mounted on it.
    let is_ours = fstat(&target).is_ok_and(|stat| stat.st_dev == record.filesystem)
        && is_mount_root(target.as_fd()) == Ok(true);
    drop(target);
    if is_ours {
        unmountat(directory.as_fd(), name, None)?;
    }
    // One that is not empty is somebody else's by now.
    let _ = unlinkat(&directory, name, AtFlags::REMOVEDIR);
    Ok(())
}
