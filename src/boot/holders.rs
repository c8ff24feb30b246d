//! What keeps a filesystem from being unmounted: processes that could not be killed, mounts in it,
//! and what the kernel itself uses files of it for.
//!
//! All that is looked at is made by the kernel from what it has in memory. No file on the
//! filesystem is asked for, as its disk may be gone.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat_raw};

use super::journal::Journal;
use super::unmount::POINT_MAX;
use crate::error::{SUBJECT_MAX, Stage};
use crate::sys::fs;
use crate::text::{self, Text};

/// The most that are named for one mount.
const NAMED: usize = 8;

/// Names what keeps the mount at `path`, which is shown as `point`: one line each.
#[inline(never)]
pub(super) fn name(journal: &mut Journal, point: &[u8], path: &[u8]) {
    let point = Text::<SUBJECT_MAX>::from_bytes(point);
    let point = text::Escaped(point.as_str());
    let mut found = 0_usize;
    let mut tell = |what: &Text<64>| {
        found = found.saturating_add(1);
        if found <= NAMED {
            let text = format_args!("{point} is kept by {}", text::Escaped(what.as_str()));
            journal.warn(Stage::Shutdown, text);
        }
    };
    processes(path, &mut tell);
    loop_devices(path, &mut tell);
    let text = match found {
        0 => format_args!("{point} is kept by something that has no name in /proc and /sys"),
        1..=NAMED => return,
        _ => format_args!("{point} is kept by {} more", found - NAMED),
    };
    journal.warn(Stage::Shutdown, text);
}

/// Processes with a file open, their program, their root or their working directory in there.
fn processes(path: &[u8], tell: &mut dyn FnMut(&Text<64>)) {
    // Without /proc nobody is found.
    let _ = fs::each_name("/proc", |pid| {
        let is_process = pid.bytes().all(|byte| byte.is_ascii_digit());
        // PID 1 has nothing open there but what it was told to write, which goes on to the end.
        if is_process && let Some(process) = open(CWD, format_args!("/proc/{pid}")) {
            let process = process.as_fd();
            let links = [c"cwd", c"root", c"exe"];
            let is_in =
                links.iter().any(|link| leads_into(process, link, path)) || has_open(process, path);
            if is_in {
                let mut room = [0; 64];
                let name = fs::read_attribute(format_args!("/proc/{pid}/comm"), &mut room);
                let name = Text::<32>::from_bytes(name.unwrap_or_default().trim_ascii_end());
                tell(&Text::new(format_args!(
                    "process {pid} ({})",
                    name.as_str()
                )));
            }
        }
        true
    });
}

fn has_open(process: BorrowedFd<'_>, path: &[u8]) -> bool {
    let Some(files) = open(process, format_args!("fd")) else {
        return false;
    };
    let mut is_open = false;
    let _ = fs::each_entry(files.as_fd(), |name, _| {
        is_open = leads_into(files.as_fd(), name, path);
        !is_open
    });
    is_open
}

fn open(directory: BorrowedFd<'_>, path: core::fmt::Arguments<'_>) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = crate::sys::path::path(path).ok()?;
    openat(directory, path.as_str(), flags, Mode::empty()).ok()
}

/// Whether a link of /proc leads to what is below `path`. Its target is not looked up: the kernel
/// spells it.
fn leads_into(directory: BorrowedFd<'_>, link: &CStr, path: &[u8]) -> bool {
    let mut target = [MaybeUninit::uninit(); POINT_MAX];
    readlinkat_raw(directory, link, &mut target).is_ok_and(|(target, _)| is_below(target, path))
}

/// Loop devices whose file is in there.
fn loop_devices(path: &[u8], tell: &mut dyn FnMut(&Text<64>)) {
    // Without /sys none is found.
    let _ = fs::each_name("/sys/block", |name| {
        let mut file = [0; POINT_MAX];
        let attribute = format_args!("/sys/block/{name}/loop/backing_file");
        if fs::read_attribute(attribute, &mut file).is_some_and(|file| is_below(file, path)) {
            tell(&Text::new(format_args!("the loop device {name}")));
        }
        true
    });
}

/// Whether `file` is `path`, or below.
fn is_below(file: &[u8], path: &[u8]) -> bool {
    file.strip_prefix(path)
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'/' | b'\n' | b' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_below_the_mount_that_its_path_leads_through() {
        for (file, expected) in [
            ("/held", true),
            ("/held/file", true),
            ("/held (deleted)", true),
            ("/held\n", true),
            ("/held2/file", false),
            ("/other/held", false),
            ("", false),
        ] {
            assert_eq!(is_below(file.as_bytes(), b"/held"), expected, "{file}");
        }
    }
}
