//! The running program in memory that nobody can write.
//!
//! A process that sets a container up is, for a moment, a program of the host's inside it, and
//! `/proc/<pid>/exe` leads to its file past all mounts. While the program runs, the file is busy
//! (`ETXTBSY`). When it has ended, a process that kept that link open may write to the file, and
//! the host executes what was written (CVE-2019-5736). PID 1 never ends. A command does, so before
//! it touches a container it becomes a copy of itself: an anonymous file with seals
//! (memfd_create(2)) that even the host's root cannot take away.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    CWD, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat,
    memfd_create, openat, sendfile,
};
use rustix::io::Errno;

use super::process::Environment;
use super::process::{StringList, execute_descriptor};
use crate::error::{During, Fault, Op};

/// This process's own program.
const OWN: &str = "/proc/self/exe";

/// What a sealed program cannot be any more: written, made longer or shorter, unsealed.
const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::GROW)
    .union(SealFlags::SHRINK)
    .union(SealFlags::SEAL);

/// Makes this process a sealed copy of its own program, with these arguments and variables, unless
/// it is one already. Call it before anything is opened that must not be open twice.
///
/// # Errors
/// Those of memfd_create(2) and execveat(2); `EACCES` where the machine forbids programs in
/// anonymous files (`vm.memfd_noexec=2`). On success of the exec it does not return.
pub fn become_sealed(arguments: StringList<'_>, environment: Environment<'_>) -> Result<(), Fault> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = openat(CWD, OWN, flags, Mode::empty()).during(Op::Open, OWN)?;
    if is_sealed(own.as_fd()) {
        return Ok(());
    }
    let copy = copy_of(&own).during(Op::Create, "a sealed copy of the program")?;
    Err(execute_descriptor(
        copy.as_fd(),
        arguments,
        environment.list(),
    ))
    .during(Op::Exec, "the sealed copy of the program")
}

/// Whether nobody can write to this file.
fn is_sealed(file: BorrowedFd<'_>) -> bool {
    // EINVAL of a file that cannot have seals.
    fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SEALS))
}

/// A copy of `program` in an anonymous file, sealed.
///
/// # Errors
/// Those of memfd_create(2) and sendfile(2).
pub fn copy_of(program: impl AsFd) -> Result<OwnedFd, Errno> {
    let program = program.as_fd();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux 6.3 wants to be told that it is a program, kernels before do not know the word.
    let copy = match memfd_create(c"berth", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create(c"berth", flags),
        result => result,
    }?;
    let mut left = fstat(program)?.st_size as usize;
    let mut offset = 0;
    while left > 0 {
        match sendfile(&copy, program, Some(&mut offset), left)? {
            0 => return Err(Errno::IO),
            len => left = left.saturating_sub(len),
        }
    }
    fcntl_add_seals(&copy, SEALS)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{SeekFrom, ftruncate, seek};
    use rustix::io::{read, write};

    #[test]
    fn a_sealed_copy_is_the_same_and_stays_so() {
        let own = openat(CWD, OWN, OFlags::RDONLY, Mode::empty()).unwrap();
        assert!(!is_sealed(own.as_fd()));
        let copy = copy_of(&own).unwrap();
        assert!(is_sealed(copy.as_fd()));
        seek(&copy, SeekFrom::Start(0)).unwrap();
        let [mut first, mut second] = [[0; 65536]; 2];
        loop {
            let len = read(&own, &mut first).unwrap();
            assert_eq!(read(&copy, &mut second), Ok(len));
            assert!(first[..len] == second[..len]);
            if len == 0 {
                break;
            }
        }
        seek(&copy, SeekFrom::Start(0)).unwrap();
        assert_eq!(write(&copy, b"x"), Err(Errno::PERM));
        assert_eq!(ftruncate(&copy, 0), Err(Errno::PERM));
        let more = fcntl_add_seals(&copy, SealFlags::FUTURE_WRITE);
        assert_eq!(more, Err(Errno::PERM));
    }
}
