//! The machine's control in a container that has `berth.control`, and that PID 1 starts: the socket
//! `/run/berth/control`, and `/run/berth/berth`, which speaks to it.
//!
//! Both are in a filesystem of the container's own, which becomes read-only when they are in it.
//! The program is a copy of this process's own, and takes 600 KB for as long as the container runs.
//! The original is a sealed file of PID 1's: it is in no filesystem of this namespace, so it cannot
//! be bound. A file of the machine's could be, but a program with CAP_SYS_ADMIN in the container
//! can make that mount writable, and other containers would execute what it wrote.

use linux_raw_sys::general::{MS_NODEV, MS_NOSUID};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, openat, sendfile};
use rustix::io::Errno;

use super::Mounts;
use super::make;
use crate::container::target;
use crate::error::{During, Fault, Op};
use crate::parse::config::{Mount, MountOptions};
use crate::parse::request::{CONTROL, RECORDS, RESERVED};
use crate::sys::mount::{self, Detached};

/// The name of the program.
const PROGRAM: &str = "berth";

/// This process's own program.
const OWN: &str = "/proc/self/exe";

const MOUNT: Mount<'static> = Mount {
    destination: RECORDS,
    fstype: Some("tmpfs"),
    source: Some("control"),
    options: MountOptions::of(MS_NOSUID | MS_NODEV, "mode=755,size=16m"),
    ids: None,
};

impl Mounts<'_> {
    /// Gives the container the control, if its bundle asks for that.
    pub(super) fn make_control(&self) -> Result<(), Fault> {
        match self.has_control {
            true => self.mount_control(),
            false => Ok(()),
        }
    }

    #[inline(never)]
    fn mount_control(&self) -> Result<(), Fault> {
        let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let socket = openat(CWD, CONTROL, place, Mode::empty()).during(Op::Open, CONTROL)?;
        let made = make::make(self, &MOUNT, true)?;
        fill(made.root()).during(Op::Copy, "berth to /run/berth of the container")?;
        let target = target::prepare(self.root, RECORDS, FileType::Directory)?;
        made.attach(target.as_fd()).during(Op::Mount, RECORDS)?;
        // A mount takes others only when it is attached (before Linux 6.15).
        let inside = openat(made.root(), RESERVED, place, Mode::empty());
        inside
            .and_then(|inside| {
                let copy = Detached::copy_of(socket.as_fd(), false)?;
                copy.attach(inside.as_fd())?;
                mount::make_read_only(made.root())
            })
            .during(Op::Mount, CONTROL)
    }
}

/// Copies the program, and makes a file for the socket to be mounted on. Neither stays open for
/// writing, which would keep the mount from becoming read-only.
fn fill(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let open = |name: &str, mode| openat(directory, name, new, Mode::from_raw_mode(mode));
    let old = openat(CWD, OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let copy = open(PROGRAM, 0o755)?;
    // As much at once as the kernel does at most (sendfile(2)).
    while sendfile(&copy, &old, None, 0x7fff_f000)? > 0 {}
    open(RESERVED, 0o600).map(drop)
}
