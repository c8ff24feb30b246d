//! The program that starts containers, kept where nobody can write it.
//!
//! PID 1 makes no container itself, because that takes reading what strangers wrote. It executes
//! `berth` once for each start and once for each end. The program is taken from the initramfs
//! before that is emptied, or from the root where the image has none, into a sealed anonymous file
//! ([`crate::sys::sealed`]). So PID 1 has it whatever becomes of the root, and a container that
//! gets hold of `/proc/<pid>/exe` cannot change it.

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use crate::error::{At, Code, During, Error, Fault, Op};
use crate::sys::fs;
use crate::sys::sealed;

/// Where it is, in the initramfs or on the root.
const PATH: &str = "/usr/lib/berth/berth";

/// Keeps the program of the initramfs, or else that of the root at `new_root`.
///
/// # Errors
/// [`Code::BerthMissing`].
#[inline(never)]
pub(super) fn copy_program(new_root: &str) -> Result<OwnedFd, Error> {
    let kept = match open("/") {
        Err(fault) if fault.errno == Errno::NOENT => open(new_root),
        opened => opened,
    };
    kept.and_then(|program| sealed::copy_of(&program).during(Op::Copy, PATH))
        .at(Code::BerthMissing)
}

/// Opens it. Links on the root lead where they will lead when it is `/`.
fn open(root: &str) -> Result<OwnedFd, Fault> {
    let root = fs::open_directory(CWD, root)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let program = openat2(&root, PATH, flags, Mode::empty(), resolve).during(Op::Open, PATH)?;
    let stat = fstat(&program).during(Op::Open, PATH)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(program),
        _ => Err(Errno::ACCESS).during(Op::Open, PATH),
    }
}
