//! The console, and the three standard descriptors.
//!
//! The kernel opens `/dev/console` for PID 1 before it starts it, if the initramfs has the node and
//! the console works. Neither is certain, and a machine without a console must boot all the same.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, fchown, fcntl_setfl, fstat, makedev, mknodat, open, unlink,
};
use rustix::io::{dup, fcntl_getfd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Uid;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};

/// Where programs find the console.
pub const PATH: &str = "/dev/console";

/// Makes sure that descriptors 0, 1 and 2 are open, so that no file that is opened later is taken
/// for one of them.
pub fn fill_standard_descriptors() {
    let open_already = standard_descriptors()
        .iter()
        .all(|descriptor| fcntl_getfd(descriptor).is_ok());
    if open_already {
        return;
    }
    fill_standard_descriptors_with(open_own_null());
}

/// Puts copies of `null` where the three are not open.
pub fn fill_standard_descriptors_with(null: Option<OwnedFd>) {
    let Some(null) = null else { return };
    // Descriptors are given out from the lowest free number on.
    while let Ok(copy) = dup(&null) {
        if rustix::fd::AsRawFd::as_raw_fd(&copy) > 2 {
            break;
        }
        core::mem::forget(copy);
    }
}

/// The standard input, output and error, open or not.
#[allow(
    unused_unsafe,
    reason = "with the standard library, which tests turn on, rustix has these safe"
)]
pub fn standard_descriptors() -> [BorrowedFd<'static>; 3] {
    // SAFETY: nothing in this program closes the three, and a call on one that is not open fails.
    unsafe { [stdin(), stdout(), stderr()] }
}

/// Writes to standard error, if it is open.
pub fn complain(text: &str) {
    let [_, _, standard_error] = standard_descriptors();
    let _ = rustix::io::write(standard_error, text.as_bytes());
}

/// Makes the three the standard descriptors, in their order.
///
/// # Errors
/// Those of dup3(2).
pub fn set_standard_descriptors(
    input: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
    error: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    dup2_stdin(input)?;
    dup2_stdout(output)?;
    dup2_stderr(error)
}

/// Makes the user the owner of those of the three that are pipes, so that it can open them by name
/// (`/dev/stdout`). Others are left: `/dev/null` and the console belong to everybody. Where a pipe
/// cannot be given away, the descriptors work all the same.
#[allow(
    unused_unsafe,
    reason = "with the standard library, which tests turn on, rustix has these safe"
)]
pub fn chown_pipes(user: Uid) {
    // SAFETY: the descriptors are only asked about and given away, not closed; if one is not open,
    // both fail.
    let standard = unsafe { [stdin(), stdout(), stderr()] };
    for stream in standard {
        if fstat(stream).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_fifo()) {
            let _ = fchown(stream, Some(user), None);
        }
    }
}

/// Replaces a standard input that is the host's null device: a root user can change the permissions
/// of a file through a descriptor, and all programs of the host use that one. Standard input
/// becomes the null device of this root, or where it has none, a pipe without a writer.
///
/// # Errors
/// Those of pipe2(2) and dup2(2).
pub fn reopen_standard_input() -> rustix::io::Result<()> {
    let flags =
        OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let null = open(c"/dev/null", flags, Mode::empty());
    let is_null = |file: &OwnedFd| {
        fstat(file).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
                && stat.st_rdev == makedev(1, 3)
        })
    };
    match null.ok().filter(is_null) {
        Some(null) => {
            fcntl_setfl(&null, OFlags::RDWR)?;
            dup2_stdin(null)
        }
        None => dup2_stdin(pipe_with(PipeFlags::CLOEXEC)?.0),
    }
}

/// Opens `/dev/null`.
pub fn open_null() -> Option<OwnedFd> {
    open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// `/dev/null`, from a node of our own: `/dev` may be empty, or not be the machine's.
fn open_own_null() -> Option<OwnedFd> {
    const NODE: &str = "/.berth-null";
    mknodat(
        CWD,
        NODE,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o600),
        makedev(1, 3),
    )
    .ok()?;
    let null = open(NODE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let _ = unlink(NODE);
    null.ok()
}

/// Opens the console without taking it as controlling terminal, if there is a working one.
pub fn open_console() -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open(PATH, flags, Mode::empty()).ok()
}

/// Opens the console for a program that uses it as its terminal.
pub fn open_terminal() -> Option<OwnedFd> {
    // Opening may wait for a carrier, so it does not block; reading and writing do, as a program
    // expects.
    let console = open_console()?;
    fcntl_setfl(&console, OFlags::empty()).ok()?;
    Some(console)
}

/// Makes `terminal` descriptors 0, 1 and 2.
///
/// # Errors
/// Those of dup3(2).
pub fn become_standard_descriptors(terminal: &OwnedFd) -> rustix::io::Result<()> {
    let terminal = terminal.as_fd();
    set_standard_descriptors(terminal, terminal, terminal)
}
