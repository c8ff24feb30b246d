//! Files and directories: bounded reads, directories as entries, and the one function that
//! destroys.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, MemfdFlags, Mode, OFlags, RawDir, SeekFrom, Statx, StatxFlags,
    memfd_create, openat, seek, statx, unlinkat,
};
use rustix::io::{Errno, read};
use rustix::path::Arg;

use super::path::path as path_of;
use crate::error::{During, Fault, Op};
use crate::text::Text;

/// How deep a tree may be for [`remove_contents`], in directories: each level costs stack.
const DEPTH_MAX: usize = 128;

/// Room for the entries of one getdents64(2) call, in bytes.
const ENTRIES: usize = 2048;

// Whatever `directory` is below, openat(2) is called with one type: the binary has a copy of its
// wrapper for each.

/// Opens `path` for reading, relative to `directory`.
///
/// # Errors
/// Those of openat(2).
pub fn open_file(directory: impl AsFd, path: &str) -> Result<OwnedFd, Fault> {
    openat(
        directory.as_fd(),
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )
    .during(Op::Open, path)
}

/// Opens the directory at `path`.
///
/// # Errors
/// Those of openat(2).
pub fn open_directory(directory: impl AsFd, path: impl Arg + Copy) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(directory.as_fd(), path, flags, Mode::empty()).during(Op::Open, shown(path))
}

/// `path` for a message.
fn shown(path: impl Arg) -> Text<256> {
    path.into_with_c_str(|path| Ok(Text::from_bytes(path.to_bytes())))
        .unwrap_or(Text::EMPTY)
}

/// Reads from `file` until `buffer` is full or the file ends; the number of bytes read.
///
/// # Errors
/// Those of read(2) but `EINTR`.
pub fn read_up_to(file: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match read(&file, room) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(filled)
}

/// The whole of the file at `path`, which must be shorter than `buffer`.
///
/// # Errors
/// Those of openat(2) and read(2); `EFBIG` if the file fills the buffer. What is too long is
/// refused, never cut.
pub fn read_file<'b>(
    directory: impl AsFd,
    path: &str,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Fault> {
    let file = open_file(directory, path)?;
    let len = read_up_to(&file, buffer).during(Op::Read, path)?;
    match buffer.split_at_checked(len) {
        Some((bytes, [_, ..])) => Ok(bytes),
        _ => Err(Errno::FBIG).during(Op::Read, path),
    }
}

/// What the file at this path says, where it can be read and fits: an attribute in sysfs or procfs.
#[inline(never)]
pub fn read_attribute<'b>(
    file: core::fmt::Arguments<'_>,
    buffer: &'b mut [u8],
) -> Option<&'b [u8]> {
    read_file(CWD, &path_of(file).ok()?, buffer).ok()
}

/// Writes `bytes` to the existing file at `path` in one call, as sysfs, procfs and cgroupfs want
/// it.
///
/// # Errors
/// Those of openat(2) and write(2).
pub fn write_file(directory: impl AsFd, path: &str, bytes: &[u8]) -> Result<(), Fault> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    openat(directory.as_fd(), path, flags, Mode::empty())
        .and_then(|file| rustix::io::write(file, bytes))
        .map(drop)
        .during(Op::Write, path)
}

/// Replaces the file at `path` by `bytes`.
///
/// # Errors
/// Those of openat(2) and write(2); `ENOSPC` if not all was taken.
pub fn create_file(path: &str, bytes: &[u8]) -> Result<(), Fault> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::from_raw_mode(0o644))
        .and_then(|file| rustix::io::write(file, bytes))
        .and_then(|len| {
            if len == bytes.len() {
                Ok(())
            } else {
                Err(Errno::NOSPC)
            }
        })
        .during(Op::Write, path)
}

/// A file without a name that holds the text of `content`, to be read from its beginning
/// (memfd_create(2)).
///
/// # Errors
/// Those of memfd_create(2), write(2) and lseek(2).
pub fn anonymous_file(name: &CStr, content: &dyn core::fmt::Display) -> Result<OwnedFd, Errno> {
    struct Writer(OwnedFd, Result<(), Errno>);
    impl core::fmt::Write for Writer {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            let mut bytes = text.as_bytes();
            while !bytes.is_empty() {
                match rustix::io::write(&self.0, bytes) {
                    Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
                    Err(Errno::INTR) => {}
                    Err(errno) => {
                        self.1 = Err(errno);
                        return Err(core::fmt::Error);
                    }
                }
            }
            Ok(())
        }
    }
    let mut writer = Writer(memfd_create(name, MemfdFlags::CLOEXEC)?, Ok(()));
    // What went wrong is kept in the writer.
    let _ = core::fmt::write(&mut writer, format_args!("{content}"));
    writer.1?;
    seek(&writer.0, SeekFrom::Start(0))?;
    Ok(writer.0)
}

/// Makes the directory at `path` with mode 0755; one that exists is fine.
///
/// # Errors
/// Those of mkdir(2) but `EEXIST`.
pub fn make_directory(path: &str) -> Result<(), Fault> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        result => result.during(Op::Create, path),
    }
}

/// True if `path` is a directory.
pub fn is_directory(path: &str) -> bool {
    rustix::fs::stat(path)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// True if something is mounted on `path`: it is on another device than the directory that it is
/// in. A bind mount within one filesystem is not detected.
pub fn is_mount_point(path: &str) -> bool {
    let Ok(parent) = super::path::path(format_args!("{path}/..")) else {
        return false;
    };
    match (rustix::fs::stat(path), rustix::fs::stat(parent.as_str())) {
        (Ok(inner), Ok(outer)) => inner.st_dev != outer.st_dev,
        _ => false,
    }
}

/// Calls `visit` with the name and type of each entry of `directory`, until it answers `false`. The
/// order is the filesystem's.
///
/// # Errors
/// Those of getdents64(2).
pub fn each_entry(
    directory: BorrowedFd<'_>,
    mut visit: impl FnMut(&CStr, FileType) -> bool,
) -> Result<(), Errno> {
    visit_entries(directory, &mut visit)
}

/// [`each_entry`] without a copy of the code for each visitor.
#[inline(never)]
fn visit_entries(
    directory: BorrowedFd<'_>,
    visit: &mut dyn FnMut(&CStr, FileType) -> bool,
) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." && !visit(name, entry.file_type()) {
            break;
        }
    }
    Ok(())
}

/// Calls `visit` with the name of each entry of the directory at `path`, as far as names are UTF-8.
///
/// # Errors
/// Those of openat(2) and getdents64(2).
pub fn each_name(path: &str, mut visit: impl FnMut(&str) -> bool) -> Result<(), Fault> {
    visit_names(path, &mut visit)
}

/// [`each_name`] without a copy of the code for each visitor.
#[inline(never)]
fn visit_names(path: &str, visit: &mut dyn FnMut(&str) -> bool) -> Result<(), Fault> {
    let directory = open_directory(CWD, path)?;
    visit_entries(directory.as_fd(), &mut |name, _| {
        name.to_str().is_ok_and(|name| !visit(name)).eq(&false)
    })
    .during(Op::List, path)
}

/// The identity of the mount that `path` in `file` is on, or `file` itself for "" (`stx_mnt_id`,
/// Linux 5.8); zero on older kernels.
///
/// # Errors
/// Those of statx(2).
pub fn mount_id(file: impl AsFd, path: &CStr) -> Result<u64, Errno> {
    const MOUNT_ID: StatxFlags = StatxFlags::MNT_ID;
    let stat: Statx = statx(
        file,
        path,
        AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH,
        MOUNT_ID,
    )?;
    Ok(stat.stx_mnt_id)
}

/// Removes everything below `directory`: files, directories, nodes. Never leaves the mount that it
/// is on; mount points in it, and the way to them, stay. Returns the number of entries removed.
///
/// # Errors
/// Those of the calls it makes, with the name where it stopped; `ELOOP` for a tree deeper than 128
/// directories.
pub fn remove_contents(directory: BorrowedFd<'_>) -> Result<usize, Fault> {
    let filesystem = Filesystem::of(directory).during(Op::Remove, "old root")?;
    let mut removed = 0;
    remove_level(directory, filesystem, DEPTH_MAX, &mut removed)?;
    Ok(removed)
}

/// The mount and the device that a file is on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Filesystem {
    mount: u64,
    device: (u32, u32),
}

impl Filesystem {
    fn of(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        let stat = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
        Ok(Self {
            mount: stat.stx_mnt_id,
            device: (stat.stx_dev_major, stat.stx_dev_minor),
        })
    }
}

fn remove_level(
    directory: BorrowedFd<'_>,
    filesystem: Filesystem,
    depth: usize,
    removed: &mut usize,
) -> Result<(), Fault> {
    if depth == 0 {
        return Err(Errno::LOOP).during(Op::Remove, "a tree of more than 128 levels");
    }
    let mut failed = None;
    each_entry(directory, |name, kind| {
        match remove_entry(directory, (name, kind), filesystem, depth, removed) {
            Ok(()) => true,
            Err(fault) => {
                failed = Some(fault);
                false
            }
        }
    })
    .during(Op::List, "old root")?;
    failed.map_or(Ok(()), Err)
}

fn remove_entry(
    directory: BorrowedFd<'_>,
    (name, kind): (&CStr, FileType),
    filesystem: Filesystem,
    depth: usize,
    removed: &mut usize,
) -> Result<(), Fault> {
    let subject = || Text::<256>::from_bytes(name.to_bytes());
    // Not every filesystem tells the kind; then the call does.
    let unlinked = match kind {
        FileType::Directory => Err(Errno::ISDIR),
        _ => unlinkat(directory, name, AtFlags::empty()),
    };
    match unlinked {
        Ok(()) => {
            *removed += 1;
            return Ok(());
        }
        // Linux says EISDIR for a directory where POSIX says EPERM; EBUSY is a file that something
        // is mounted on.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(Errno::BUSY) => return Ok(()),
        Err(errno) => return Err(errno).during(Op::Remove, subject()),
    }
    let below = open_directory_here(directory, name).during(Op::Open, subject())?;
    if Filesystem::of(below.as_fd()).during(Op::Remove, subject())? != filesystem {
        return Ok(());
    }
    remove_level(below.as_fd(), filesystem, depth - 1, removed)?;
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) => *removed += 1,
        // It holds a mount point, which stays.
        Err(Errno::NOTEMPTY | Errno::BUSY) => {}
        Err(errno) => return Err(errno).during(Op::Remove, subject()),
    }
    Ok(())
}

fn open_directory_here(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("berth-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).to_str().unwrap().to_owned()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_mount_point_is_told_from_a_directory() {
        let scratch = Scratch::new("mount-point");
        assert!(is_mount_point("/proc"));
        assert!(!is_mount_point(&scratch.path("")));
        assert!(!is_mount_point("/there/is/nothing/here"));
    }

    #[test]
    fn a_file_that_fills_the_buffer_is_refused() {
        let scratch = Scratch::new("read");
        fs::write(scratch.path("f"), b"12345678").unwrap();
        let path = scratch.path("f");
        assert_eq!(read_file(CWD, &path, &mut [0; 9]).unwrap(), b"12345678");
        assert_eq!(
            read_file(CWD, &path, &mut [0; 8]).unwrap_err().errno,
            Errno::FBIG
        );
    }

    #[test]
    fn a_file_without_a_name_is_read_from_its_beginning() {
        let file = anonymous_file(c"test", &format_args!("{}-{}", "a", 1)).unwrap();
        let mut bytes = [0; 8];
        let len = read_up_to(&file, &mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"a-1");
    }

    #[test]
    fn a_tree_is_removed_but_not_what_its_links_point_to() {
        let scratch = Scratch::new("remove");
        fs::create_dir_all(scratch.path("old/a/b/c")).unwrap();
        fs::write(scratch.path("old/a/b/c/file"), b"x").unwrap();
        fs::create_dir(scratch.path("kept")).unwrap();
        fs::write(scratch.path("kept/file"), b"x").unwrap();
        symlink(scratch.path("kept"), scratch.path("old/link")).unwrap();
        let old = open_directory(CWD, scratch.path("old").as_str()).unwrap();
        assert_eq!(remove_contents(old.as_fd()), Ok(5));
        assert_eq!(fs::read_dir(scratch.path("old")).unwrap().count(), 0);
        assert!(fs::exists(scratch.path("kept/file")).unwrap());
    }

    #[test]
    fn a_directory_with_more_entries_than_one_call_returns_is_emptied() {
        let scratch = Scratch::new("many");
        for number in 0..1000 {
            fs::write(scratch.path(&format!("entry-{number}")), b"").unwrap();
        }
        let directory = open_directory(CWD, scratch.path("").as_str()).unwrap();
        assert_eq!(remove_contents(directory.as_fd()), Ok(1000));
    }
}
