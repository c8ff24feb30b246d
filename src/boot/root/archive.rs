//! `root=tmpfs`: a root in memory, made of an archive that the image brings along.
//!
//! The archive is [`ARCHIVE`], in the format of initramfs images (newc) and as it is: what
//! compresses the image compresses it too. Unlike the initramfs itself the new root can be limited
//! (`rootflags=size=`), and no container's `/` needs a way around pivot_root(2), which refuses an
//! initramfs.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, chmodat,
    chownat, linkat, makedev, mkdirat, mknodat, openat, openat2, symlinkat, utimensat,
};
use rustix::io::{Errno, write};

use super::mount::{Mounted, attach, options, place, refused, wants_read_only};
use crate::error::{At, Code, During, Error, Op, SUBJECT_MAX};
use crate::parse::cpio::{Archive, Entry};
use crate::plan::Plan;
use crate::sys::kmsg;
use crate::sys::module::Mapped;
use crate::sys::mount::{Detached, attributes_to_set, make_read_only};
use crate::text::Text;

/// Where the image has the archive.
const ARCHIVE: &str = "/root.cpio";

/// The longest path of a file, with its NUL (PATH_MAX, include/uapi/linux/limits.h).
const PATH_MAX: usize = 4096;

/// Makes the root at its place.
///
/// # Errors
/// [`Code::RootMount`], [`Code::RootArchive`].
#[inline(never)]
pub(super) fn mount(plan: &Plan<'_>) -> Result<Mounted<'static>, Error> {
    const FSTYPE: &str = "tmpfs";
    let archive = Mapped::open(ARCHIVE).at(Code::RootArchive)?;
    let options = options(plan, FSTYPE, FSTYPE)?;
    let mark = kmsg::LogPosition::here();
    // Without a mode everybody may write to the root of a tmpfs.
    let mut data = ["mode=0755"].into_iter().chain(options.data());
    let attributes = attributes_to_set(options.flags);
    let root = Detached::new(FSTYPE, FSTYPE, &mut data, attributes);
    let root = root.map_err(|fault| refused(fault, FSTYPE, &mark))?;
    unpack(Archive::new(archive.bytes()), root.root())?;
    let is_read_only = wants_read_only(plan, &options);
    if is_read_only {
        make_read_only(root.root())
            .during(Op::Mount, FSTYPE)
            .at(Code::RootMount)?;
    }
    attach(&root, place(plan))?;
    Ok(Mounted {
        fstype: FSTYPE,
        is_read_only,
    })
}

/// Makes the files of `archive` in the directory `root`.
fn unpack(archive: Archive<'_>, root: BorrowedFd<'_>) -> Result<(), Error> {
    for entry in archive {
        let entry = entry
            .map_err(|malformed| Error::new(Code::RootArchive, Op::Parse, ARCHIVE, malformed))?;
        let name = Text::<SUBJECT_MAX>::from_bytes(entry.name.to_bytes());
        make_file(archive, root, &entry)
            .during(Op::Create, format_args!("{name} of {ARCHIVE}"))
            .at(Code::RootArchive)?;
    }
    Ok(())
}

/// Makes one file. A directory may be there already.
fn make_file(archive: Archive<'_>, root: BorrowedFd<'_>, entry: &Entry<'_>) -> Result<(), Errno> {
    let (directory, name) = parent(root, entry.name)?;
    let directory = directory.as_fd();
    let mode = Mode::from_raw_mode(entry.mode);
    let kind = FileType::from_raw_mode(entry.mode);
    match (archive.first_link(entry), kind) {
        (Some(first), _) => {
            let (first_directory, first_name) = parent(root, first.name)?;
            let flags = AtFlags::empty();
            linkat(&first_directory, first_name, directory, name, flags)?;
            // Which of the links comes with the content is the archiver's choice.
            if kind == FileType::RegularFile && !entry.data.is_empty() {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                fill(&openat(directory, name, flags, mode)?, entry.data)?;
            }
        }
        (None, FileType::Directory) => match mkdirat(directory, name, mode) {
            Err(errno) if errno != Errno::EXIST => return Err(errno),
            _ => {}
        },
        (None, FileType::RegularFile) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            fill(&openat(directory, name, flags, mode)?, entry.data)?;
        }
        (None, FileType::Symlink) => symlinkat(entry.data, directory, name)?,
        (None, _) => {
            let (major, minor) = entry.rdev;
            mknodat(directory, name, kind, mode, makedev(major, minor))?;
        }
    }
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    let this = AtFlags::SYMLINK_NOFOLLOW;
    chownat(directory, name, Some(uid), Some(gid), this)?;
    // A new owner takes away the set-user-ID bit. A link has no mode of its own.
    if kind != FileType::Symlink {
        chmodat(directory, name, mode, AtFlags::empty())?;
    }
    let time = Timespec {
        tv_sec: entry.mtime.into(),
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(directory, name, &times, this)
}

fn fill(file: &OwnedFd, mut data: &[u8]) -> Result<(), Errno> {
    while !data.is_empty() {
        let len = write(file, data)?;
        data = data.get(len..).unwrap_or_default();
    }
    Ok(())
}

/// The directory that `name` is in, and the name in there: links lead nowhere but into `root`.
fn parent<'n>(root: BorrowedFd<'_>, name: &'n CStr) -> Result<(OwnedFd, &'n CStr), Errno> {
    let bytes = name.to_bytes_with_nul();
    let slash = bytes.iter().rposition(|byte| *byte == b'/');
    let (directory, last) = match slash.and_then(|slash| bytes.split_at_checked(slash)) {
        Some((directory, last)) => (directory, last.get(1..).unwrap_or_default()),
        None => (&b"."[..], bytes),
    };
    let last = CStr::from_bytes_with_nul(last).map_err(|_| Errno::INVAL)?;
    let last = if last.is_empty() { c"." } else { last };
    let mut path = [0; PATH_MAX];
    let place = path
        .get_mut(..directory.len())
        .filter(|place| place.len() < PATH_MAX);
    place.ok_or(Errno::NAMETOOLONG)?.copy_from_slice(directory);
    let directory = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::NAMETOOLONG)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat2(root, directory, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    Ok((opened, last))
}
