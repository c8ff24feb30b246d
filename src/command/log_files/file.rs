//! A file of lines in a directory on the root, which containers may be able to write to.
//!
//! Nobody there leads this process elsewhere: no symbolic link is followed on the way to the
//! directory or in it, and only a regular file with no other name is written to. Nothing is kept
//! open, so that the filesystem can be unmounted.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, fstat, ftruncate, mkdirat, openat, openat2, renameat,
};
use rustix::io::{Errno, pread};

use crate::command::output::write_all;
use crate::error::{During, Fault, Op};
use crate::sys::path::path;

/// The size that a file does not exceed, in bytes. It is renamed to `<id>.log.1` before that, in
/// the place of the one before it.
const FILE_MAX: u64 = 1024 * 1024;

/// The directory, which is made if it is missing, and what is missing on the way to it.
///
/// # Errors
/// Those of openat2(2) and mkdirat(2): `ELOOP` for a symbolic link, `EXDEV` for `..`.
pub(super) fn open_directory(place: &str) -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, "/", flags, Mode::empty()).during(Op::Open, "/")?;
    match below(root.as_fd(), place.trim_matches('/')) {
        Err(Errno::NOENT) => make(root, place),
        opened => opened.during(Op::Open, place),
    }
}

fn below(directory: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let path = if path.is_empty() { "." } else { path };
    openat2(directory, path, flags, Mode::empty(), resolve)
}

fn make(root: OwnedFd, place: &str) -> Result<OwnedFd, Fault> {
    let mut directory = root;
    let mut names = place.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        // What containers print may be nobody else's business.
        let mode = if names.peek().is_some() { 0o755 } else { 0o750 };
        match mkdirat(&directory, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during(Op::Create, place),
        }
        directory = below(directory.as_fd(), name).during(Op::Open, place)?;
    }
    Ok(directory)
}

/// Appends whole lines to the file of the container `id` in the directory `place`: all of them, or
/// none.
///
/// # Errors
/// Those of openat2(2), openat(2), renameat(2) and write(2). `ELOOP`, `EMLINK` or `EINVAL` for what
/// is no regular file with no other name.
#[inline(never)]
pub(super) fn append(place: &str, id: &str, lines: &[u8]) -> Result<(), Fault> {
    let directory = open_directory(place)?;
    let directory = directory.as_fd();
    let shown = format_args!("{place}/{id}.log");
    let name = path(format_args!("{id}.log")).during(Op::Open, shown)?;
    let mut file = open(directory, &name).during(Op::Open, shown)?;
    let mut len = length(&file).during(Op::Write, shown)?;
    if len > 0 && len + lines.len() as u64 > FILE_MAX {
        let before = path(format_args!("{id}.log.1")).during(Op::Open, shown)?;
        renameat(directory, name.as_str(), directory, before.as_str())
            .during(Op::Create, format_args!("{place}/{before}"))?;
        file = open(directory, &name).during(Op::Open, shown)?;
        len = 0;
    }
    write(&file, len, lines).during(Op::Write, shown)
}

fn length(file: &OwnedFd) -> Result<u64, Errno> {
    fstat(file).map(|stat| stat.st_size.cast_unsigned())
}

/// Opens a file, or makes it.
fn open(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY;
    // Opening a FIFO or a device could block or act; O_PATH does neither.
    let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = match openat(directory, name, place, Mode::empty()) {
        Err(Errno::NOENT) => {
            let new = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            return openat(directory, name, flags | new, Mode::from_raw_mode(0o640));
        }
        place => place?,
    };
    let stat = fstat(&place)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_nlink == 1 => {}
        FileType::RegularFile => return Err(Errno::MLINK),
        FileType::Symlink => return Err(Errno::LOOP),
        _ => return Err(Errno::INVAL),
    }
    let place = path(format_args!("/proc/self/fd/{}", place.as_raw_fd()))?;
    openat(CWD, place.as_str(), flags, Mode::empty())
}

/// Appends `lines` to a file that is `len` bytes long.
fn write(file: &OwnedFd, len: u64, lines: &[u8]) -> Result<(), Errno> {
    let mut last = [b'\n'];
    if let Some(at) = len.checked_sub(1) {
        pread(file, &mut last[..], at)?;
    }
    // After a power cut a line may have no end.
    let end = if last == *b"\n" { &b""[..] } else { b"\n" };
    write_all(file, end)
        .and_then(|()| write_all(file, lines))
        .inspect_err(|_| {
            // A disk may be full in the middle of a line.
            let _ = ftruncate(file, len);
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    /// A directory of this name, which is not there yet, and the path of a file in it.
    fn scratch(name: &str) -> (PathBuf, String) {
        let place = std::env::temp_dir().canonicalize().unwrap();
        let place = place.join(format!("berth-log-file-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        let directory = place.join("deep/down").to_str().unwrap().to_owned();
        (place, directory)
    }

    fn refusal(directory: &str) -> String {
        append(directory, "web", b"line\n").unwrap_err().to_string()
    }

    #[test]
    fn lines_are_appended_and_the_last_two_files_kept() {
        let (place, directory) = scratch("append");
        append(&directory, "web", b"one\n").unwrap();
        append(&directory, "web", b"two\n").unwrap();
        let file = PathBuf::from(&directory).join("web.log");
        assert_eq!(fs::read_to_string(&file).unwrap(), "one\ntwo\n");
        let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            (mode(&file), mode(&directory.clone().into())),
            (0o640, 0o750)
        );
        assert_eq!(mode(&place.join("deep")), 0o755);
        // A line that was torn, and one that just fits.
        fs::write(&file, "torn").unwrap();
        append(&directory, "web", b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "torn\nthree\n");
        let rest = vec![b'\n'; (FILE_MAX - 11) as usize];
        append(&directory, "web", &rest).unwrap();
        for (line, sizes) in [("a\n", [2, FILE_MAX]), ("b\n", [4, FILE_MAX])] {
            append(&directory, "web", line.as_bytes()).unwrap();
            let before = file.with_extension("log.1");
            let size = |path: &PathBuf| fs::metadata(path).unwrap().len();
            assert_eq!([size(&file), size(&before)], sizes, "{line:?}");
        }
        append(&directory, "web", &rest).unwrap();
        append(&directory, "web", &rest).unwrap();
        let before = fs::read(file.with_extension("log.1")).unwrap();
        assert!(before.starts_with(b"a\nb\n"), "the older one is gone");
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn nobody_leads_it_elsewhere() {
        let (place, directory) = scratch("elsewhere");
        fs::create_dir_all(place.join("other")).unwrap();
        symlink("other", place.join("deep")).unwrap();
        assert_eq!(refusal(&directory), format!("open {directory}: ELOOP"));
        let up = format!("{}/../x", place.display());
        assert_eq!(refusal(&up), format!("open {up}: EXDEV"));
        fs::remove_file(place.join("deep")).unwrap();
        fs::create_dir_all(&directory).unwrap();
        let file = PathBuf::from(&directory).join("web.log");
        let other = place.join("other/file");
        fs::write(&other, "other").unwrap();
        symlink(&other, &file).unwrap();
        let shown = file.display();
        assert_eq!(refusal(&directory), format!("open {shown}: ELOOP"));
        fs::remove_file(&file).unwrap();
        fs::hard_link(&other, &file).unwrap();
        assert_eq!(refusal(&directory), format!("open {shown}: EMLINK"));
        fs::remove_file(&file).unwrap();
        rustix::fs::mkfifoat(CWD, file.to_str().unwrap(), Mode::from_raw_mode(0o600)).unwrap();
        assert_eq!(refusal(&directory), format!("open {shown}: EINVAL"));
        fs::remove_file(&file).unwrap();
        fs::write(&file, vec![b'\n'; FILE_MAX as usize]).unwrap();
        fs::create_dir(file.with_extension("log.1")).unwrap();
        assert_eq!(refusal(&directory), format!("create {shown}.1: EISDIR"));
        fs::remove_dir(file.with_extension("log.1")).unwrap();
        // What a link there leads to stays as it is, as it is not what is written to.
        symlink(&other, file.with_extension("log.1")).unwrap();
        append(&directory, "web", b"line\n").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "other");
        assert_eq!(fs::read_to_string(&file).unwrap(), "line\n");
        fs::remove_dir_all(place).unwrap();
    }
}
