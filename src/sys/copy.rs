//! Copies of trees: `cp -a` within one mount, for a tmpfs that begins with what it covers.
//!
//! Neither side is walked by path: each directory is opened beneath the one it is in, through no
//! link and onto no other mount. Files, directories, symbolic links, FIFOs, sockets and devices
//! come with their modes, owners, times and extended attributes; two names of one file become two
//! files. A tree is as deep as [`DEPTH_MAX`] at most, and as large as the target takes.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Stat, Timespec, Timestamps, Uid,
    XattrFlags, chmodat, chownat, fgetxattr, flistxattr, fsetxattr, fstat, mkdirat, mknodat,
    openat, openat2, readlinkat_raw, sendfile, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::fs::each_entry;
use crate::error::{During, Fault, Op};
use crate::text::Text;

/// How deep a tree may be, in directories: each level costs stack.
const DEPTH_MAX: usize = 64;

/// Room for the names of a file's extended attributes, and for one of their values.
const ATTRIBUTES: usize = 4096;

/// The bits of a mode that chmod(2) sets.
const PERMISSIONS: RawMode = 0o7777;

/// Copies what is in the directory `from` into the directory `to`.
///
/// # Errors
/// Those of the calls it makes, with the name of the file where it stopped: `ENOSPC` when `to` is
/// full, `ELOOP` for a tree that is too deep.
pub fn copy_contents(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Fault> {
    copy_level(from, to, DEPTH_MAX)
}

/// Gives the file `to` mode, owners, times and extended attributes of the directory `from`.
///
/// # Errors
/// Those of the calls it makes.
pub fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    copy_extended(from, to)?;
    set_attributes(to, c".", &fstat(from)?)
}

fn copy_level(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<(), Fault> {
    let mut failed = None;
    each_entry(from, |name, _| {
        failed = copy_entry(from, to, name, depth).err();
        failed.is_none()
    })
    .during(Op::List, "what is to be copied")?;
    failed.map_or(Ok(()), Err)
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    depth: usize,
) -> Result<(), Fault> {
    let below = match copy_one(from, to, name) {
        Ok(below) => below,
        Err(errno) => return Err(errno).during(Op::Copy, shown(name)),
    };
    let Some(Pair {
        from,
        to: inner,
        stat,
    }) = below
    else {
        return Ok(());
    };
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Errno::LOOP).during(Op::Copy, shown(name));
    };
    copy_level(from.as_fd(), inner.as_fd(), depth)?;
    // Last of all: what was made in it changed its times.
    set_attributes(to, name, &stat).during(Op::Copy, shown(name))
}

fn shown(name: &CStr) -> Text<256> {
    Text::from_bytes(name.to_bytes())
}

/// A directory and its copy, with nothing in it yet.
struct Pair {
    from: OwnedFd,
    to: OwnedFd,
    stat: Stat,
}

/// Copies one file, or makes a directory, whose contents and attributes are left to do.
#[inline(never)]
fn copy_one(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<Option<Pair>, Errno> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, Mode::RWXU)?;
            let inner = open(to, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            return match open(from, name, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(from) => {
                    copy_extended(from.as_fd(), inner.as_fd())?;
                    Ok(Some(Pair {
                        from,
                        to: inner,
                        stat,
                    }))
                }
                // Something is mounted there.
                Err(Errno::XDEV) => set_attributes(to, name, &stat).map(|()| None),
                Err(errno) => Err(errno),
            };
        }
        FileType::RegularFile => copy_file(from, to, name)?,
        FileType::Symlink => copy_link(from, to, name)?,
        kind => mknodat(to, name, kind, Mode::RWXU, stat.st_rdev)?,
    }
    set_attributes(to, name, &stat)?;
    Ok(None)
}

fn open(directory: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(directory, name, flags, Mode::empty(), resolve)
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let new = openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    let old = match open(from, name, OFlags::RDONLY) {
        Ok(old) => old,
        // Something is mounted there.
        Err(Errno::XDEV) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    // As much at once as the kernel does at most (sendfile(2)).
    while sendfile(&new, &old, None, 0x7fff_f000)? > 0 {}
    copy_extended(old.as_fd(), new.as_fd())
}

fn copy_link(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let mut target = [0; linux_raw_sys::general::PATH_MAX as usize + 1];
    // The last byte stays what it is.
    let room = target.split_last_mut().ok_or(Errno::NAMETOOLONG)?.1;
    readlinkat_raw(from, name, room)?;
    let target = CStr::from_bytes_until_nul(&target).map_err(|_| Errno::NAMETOOLONG)?;
    symlinkat(target, to, name)
}

/// Extended attributes (xattr(7)). Those of a kind that the target does not have are left out:
/// tmpfs has `user.` from Linux 6.6.
#[inline(never)]
fn copy_extended(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut names = [0; ATTRIBUTES];
    let len = match flistxattr(from, &mut names) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        result => result?,
    };
    let names = names.get(..len).unwrap_or_default();
    let mut value = [0; ATTRIBUTES];
    for name in names.split_inclusive(|byte| *byte == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::INVAL)?;
        let len = fgetxattr(from, name, &mut value)?;
        match fsetxattr(
            to,
            name,
            value.get(..len).unwrap_or_default(),
            XattrFlags::empty(),
        ) {
            Err(Errno::OPNOTSUPP) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Owners come before the mode: a change of owner takes the set-user-ID bit away (chown(2)).
pub(super) fn set_attributes(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let [owner, group] = [stat.st_uid, stat.st_gid];
    let (owner, group) = (Uid::from_raw(owner), Gid::from_raw(group));
    chownat(
        to,
        name,
        Some(owner),
        Some(group),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
        let mode = Mode::from_raw_mode(stat.st_mode & PERMISSIONS);
        chmodat(to, name, mode, AtFlags::empty())?;
    }
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: stat.st_atime_nsec as i64,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as i64,
        },
    };
    utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::open_directory;
    use rustix::fs::CWD;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_copy_has_what_the_tree_has_and_nothing_from_behind_its_links() {
        let base = std::env::temp_dir().join(format!("berth-copy-{}", std::process::id()));
        let at = |name: &str| base.join(name);
        fs::create_dir_all(at("from/a/b")).unwrap();
        fs::create_dir_all(at("outside")).unwrap();
        fs::create_dir_all(at("to")).unwrap();
        fs::write(at("outside/secret"), "secret").unwrap();
        fs::write(at("from/a/b/file"), vec![7; 100_000]).unwrap();
        fs::set_permissions(at("from/a/b/file"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(at("from/a"), fs::Permissions::from_mode(0o1750)).unwrap();
        symlink("../outside", at("from/link")).unwrap();
        let old = fs::File::options()
            .append(true)
            .open(at("from/a/b/file"))
            .unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5))
            .unwrap();

        let open = |name: &str| open_directory(CWD, at(name).to_str().unwrap()).unwrap();
        copy_contents(open("from").as_fd(), open("to").as_fd()).unwrap();
        assert_eq!(fs::read(at("to/a/b/file")).unwrap(), vec![7; 100_000]);
        let meta = |name: &str| fs::symlink_metadata(at(name)).unwrap();
        for name in ["a", "a/b", "a/b/file"] {
            let [old, new] = ["from", "to"].map(|side| meta(&format!("{side}/{name}")));
            assert_eq!(old.mode(), new.mode(), "{name}");
            assert_eq!(
                (old.mtime(), old.mtime_nsec()),
                (new.mtime(), new.mtime_nsec()),
                "{name}"
            );
        }
        assert!(meta("to/link").is_symlink());
        assert_eq!(
            fs::read_link(at("to/link")).unwrap().to_str(),
            Some("../outside")
        );
        let again = copy_contents(open("from").as_fd(), open("to").as_fd()).unwrap_err();
        assert_eq!(again.errno, Errno::EXIST);
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn a_tree_that_is_too_deep_is_refused() {
        let base = std::env::temp_dir().join(format!("berth-deep-{}", std::process::id()));
        let deep = (0..=DEPTH_MAX).fold(base.join("from"), |path, _| path.join("d"));
        fs::create_dir_all(deep).unwrap();
        fs::create_dir_all(base.join("to")).unwrap();
        let open = |name: &str| open_directory(CWD, base.join(name).to_str().unwrap()).unwrap();
        let refused = copy_contents(open("from").as_fd(), open("to").as_fd()).unwrap_err();
        assert_eq!((refused.op, refused.errno), (Op::Copy, Errno::LOOP));
        fs::remove_dir_all(&base).unwrap();
    }
}
