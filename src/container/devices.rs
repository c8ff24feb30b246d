//! The devices that a container finds in its `/dev` (OCI runtime specification, config-linux.md, "Default Devices" and
//! "Dev symbolic links").

use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, Mode, makedev, mkdirat, mknodat, symlinkat};
use rustix::io::Errno;

use crate::error::{During, Fault, Op};

/// Name, major and minor number (Documentation/admin-guide/devices.txt). All are for everybody.
const NODES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Name and what it points to.
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

const DIRECTORIES: &[&str] = &["pts", "shm", "mqueue"];

/// Fills a fresh tmpfs, which nobody else sees yet, as a container's `/dev`.
///
/// # Errors
/// Those of mknodat(2), symlinkat(2) and mkdirat(2).
pub(super) fn populate(dev: BorrowedFd<'_>) -> Result<(), Fault> {
    for (name, major, minor) in NODES {
        let mode = Mode::from_raw_mode(0o666);
        mknodat(
            dev,
            *name,
            FileType::CharacterDevice,
            mode,
            makedev(*major, *minor),
        )
        .during(Op::Create, format_args!("/dev/{name}"))?;
    }
    for (name, target) in LINKS {
        symlinkat(*target, dev, *name).during(Op::Create, format_args!("/dev/{name}"))?;
    }
    for name in DIRECTORIES {
        match mkdirat(dev, *name, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => {}
            result => result.during(Op::Create, format_args!("/dev/{name}"))?,
        }
    }
    Ok(())
}
