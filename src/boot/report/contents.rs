//! What is on a root that lacks what was looked for. It may have another subvolume, a link that
//! leads nowhere, or a distribution's init.

use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat2, readlinkat_raw};

use super::Report;
use crate::boot::root::SYSROOT;
use crate::error::{Code, Error, SUBJECT_MAX, Stage};
use crate::sys::fs;
use crate::text::{Escaped, Text};

/// statfs(2), `f_type`.
const BTRFS_MAGIC: u64 = 0x9123_683e;

/// The programs that distributions hand a machine to.
const INITS: &[&str] = &["/sbin/init", "/usr/lib/systemd/systemd", "/bin/init"];

/// What tells a directory that is meant to be a root.
const OF_ROOTS: &[&str] = &["/etc/os-release", "/sbin/init", "/containers"];

const RELEASE: &str = "/etc/os-release";
const RELEASE_MAX: usize = 4096;

/// The most names that are listed.
const NAMES: usize = 12;

/// Tells of it, after a failure that is about what is not on the root.
#[inline(never)]
pub(super) fn list(report: &mut Report<'_>, error: &Error) {
    let place = match (report.stage, error.code) {
        (Stage::Switch, Code::InitMissing | Code::InitInterpreter) => SYSROOT,
        (Stage::Containers, Code::NoContainers) => "/",
        _ => return,
    };
    let Ok(root) = fs::open_directory(CWD, place) else {
        return;
    };
    let root = root.as_fd();
    let subject = error.subject;
    let wanted = subject.as_str().strip_prefix("init=");
    let wanted = wanted.unwrap_or(subject.as_str()).split(' ').next();
    dangling_link(report, root, wanted.unwrap_or_default());
    if let Some(init) = INITS.iter().find(|init| has(root, init)) {
        let mut buffer = [0; RELEASE_MAX];
        let release = release(root, &mut buffer).unwrap_or("a system with an init of its own");
        let release = Escaped(release);
        report.line(format_args!(
            "the root is {release}: boot it with init={init}"
        ));
        return;
    }
    top(report, root);
}

fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Option<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve).ok()
}

fn has(root: BorrowedFd<'_>, path: &str) -> bool {
    open(root, path, OFlags::PATH).is_some()
}

/// The target of a link, where `path` is one that leads nowhere.
fn dangling_link(report: &mut Report<'_>, root: BorrowedFd<'_>, path: &str) {
    let link = open(root, path, OFlags::PATH | OFlags::NOFOLLOW).filter(|_| !has(root, path));
    let mut buffer = [MaybeUninit::uninit(); SUBJECT_MAX];
    // What is no link has no target.
    if let Some(link) = link
        && let Ok((target, _)) = readlinkat_raw(&link, c"", &mut buffer)
    {
        let target = Text::<SUBJECT_MAX>::from_bytes(target);
        let target = Escaped(target.as_str());
        report.line(format_args!(
            "{path} is a link to {target}, which is not on the root"
        ));
    }
}

/// What the distribution calls itself (os-release(5)).
fn release<'b>(root: BorrowedFd<'_>, buffer: &'b mut [u8]) -> Option<&'b str> {
    let file = open(
        root,
        RELEASE,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
    )?;
    let len = fs::read_up_to(&file, buffer).ok()?;
    let mut lines = buffer.get(..len)?.split(|byte| *byte == b'\n');
    let name = lines.find_map(|line| line.strip_prefix(b"PRETTY_NAME="))?;
    let name = match name {
        [b'"', name @ .., b'"'] | [b'\'', name @ .., b'\''] => name,
        name => name,
    };
    core::str::from_utf8(name).ok()
}

/// What is at the top of the root; on a btrfs, which of it could be the root.
fn top(report: &mut Report<'_>, root: BorrowedFd<'_>) {
    let is_btrfs = fstatfs(root).is_ok_and(|found| found.f_type as u64 == BTRFS_MAGIC);
    let mut names = Text::<{ 2 * SUBJECT_MAX }>::EMPTY;
    let mut count = 0_usize;
    // What cannot be read has nothing to tell.
    let _ = fs::each_entry(root, |name, _| {
        let shown = Text::<SUBJECT_MAX>::from_bytes(name.to_bytes());
        let shown = shown.as_str();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        if let Some(directory) = open(root, shown, flags)
            && is_btrfs
            && OF_ROOTS.iter().any(|path| has(directory.as_fd(), path))
        {
            report.line(format_args!(
                "{} looks like a root: boot with rootflags=subvol={0}",
                Escaped(shown)
            ));
        }
        if count < NAMES {
            let separator = if count > 0 { ", " } else { "" };
            names.push(format_args!("{separator}{}", Escaped(shown)));
        }
        count = count.saturating_add(1);
        true
    });
    let more = if count > NAMES { ", …" } else { "" };
    if count > 0 {
        report.line(format_args!("on the root there are: {names}{more}"));
    }
}
