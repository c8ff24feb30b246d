//! A terminal of the container's own: a pair of ends (pty(7)), of which one is in the container and
//! the other outside.
//!
//! It is made in the container's own devpts, so that it has a name there and nowhere else. The
//! process that serves it gets the other end through a socket, as `--console-socket` has it.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, fstatfs, openat2};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::mounts;
use crate::error::{During, Fault, Op};
use crate::sys::{console, socket as stream};

/// The device that makes terminals, in a container.
const MAKER: &str = "/dev/pts/ptmx";

/// `DEVPTS_SUPER_MAGIC` (include/uapi/linux/magic.h).
const DEVPTS: i64 = 0x1cd1;

/// Makes a terminal in the devpts below `root`, makes one end of it this process's standard
/// descriptors, and sends the other through `socket`. With `bind`, `/dev/console` is it, too.
pub(super) fn set_up(
    root: BorrowedFd<'_>,
    size: Option<[u16; 2]>,
    socket: &OwnedFd,
    bind: bool,
) -> Result<(), Fault> {
    let (ours, theirs) = make(root, size).during(Op::Open, MAKER)?;
    if bind {
        mounts::bind_console(root, theirs.as_fd())?;
    }
    console::become_standard_descriptors(&theirs).during(Op::Terminal, MAKER)?;
    // The text is the terminal's name outside, which there is not; it has to be something.
    stream::send(socket, b"/dev/ptmx", ours.as_fd())
        .during(Op::Write, "the socket for the terminal")
}

fn make(root: BorrowedFd<'_>, size: Option<[u16; 2]>) -> Result<(OwnedFd, OwnedFd), Errno> {
    let ours = openat2(
        root,
        MAKER,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
    )?;
    // The rootfs may have anything at that place.
    if fstatfs(&ours)?.f_type as i64 != DEVPTS {
        return Err(Errno::NOTTY);
    }
    unlockpt(&ours)?;
    let theirs = ioctl_tiocgptpeer(
        &ours,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    if let Some([rows, columns]) = size {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&ours, size)?;
    }
    Ok((ours, theirs))
}
