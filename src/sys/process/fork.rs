//! New processes, and the end of this one.

use linux_raw_sys::general as linux;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::sys::arch::{illegal_instruction, syscall5};
use crate::sys::raw::check;

/// Which of the two processes returns from [`fork`].
pub enum Forked {
    /// The new process.
    Child,
    /// The caller, with the new process's PID.
    Parent(Pid),
}

/// What [`fork`] may be asked for: all other flags of clone3(2) have the two processes share
/// something, or the kernel write to memory.
const ALLOWED: u32 = linux::CLONE_PARENT
    | linux::CLONE_NEWNS
    | linux::CLONE_NEWCGROUP
    | linux::CLONE_NEWUTS
    | linux::CLONE_NEWIPC
    | linux::CLONE_NEWUSER
    | linux::CLONE_NEWPID
    | linux::CLONE_NEWNET
    | linux::CLONE_NEWTIME;

/// `clone3(2)` with `flags` (`CLONE_NEW*`, `CLONE_PARENT`) and a copy of the address space and of
/// the descriptors, as `fork(2)` has it. With a `cgroup` the new process begins in that.
///
/// # Errors
/// Those of `clone3(2)`; `EINVAL` if `flags` asks for anything else.
pub fn fork(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked, Errno> {
    if flags & !u64::from(ALLOWED) != 0 {
        return Err(Errno::INVAL);
    }
    // SAFETY: all fields are integers, for which zero is a value.
    let mut arguments: linux::clone_args = unsafe { core::mem::zeroed() };
    arguments.flags = flags;
    // A sibling's end is signalled as this process's is, and another signal must not be asked for.
    if flags & u64::from(linux::CLONE_PARENT) == 0 {
        arguments.exit_signal = u64::from(linux::SIGCHLD);
    }
    if let Some(cgroup) = cgroup {
        arguments.flags |= linux::CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `arguments` outlives the call. Nothing is shared, so neither process sees a change
    // that the other makes, and each has one thread, whose state is that of the caller.
    let result = unsafe {
        syscall5(
            linux::__NR_clone3,
            (&raw const arguments).expose_provenance(),
            size_of::<linux::clone_args>(),
            0,
            0,
            0,
        )
    };
    match check(result)? {
        0 => Ok(Forked::Child),
        pid => Pid::from_raw(pid as i32)
            .map(Forked::Parent)
            .ok_or(Errno::INVAL),
    }
}

/// `exit_group(2)`: ends this process. A child of PID 1 calls it; PID 1 never does.
pub fn exit(status: i32) -> ! {
    // SAFETY: the call takes no pointers.
    unsafe { syscall5(linux::__NR_exit_group, status as usize, 0, 0, 0, 0) };
    // It returns only where a filter denies it (seccomp(2)).
    illegal_instruction()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shared_with_a_new_process() {
        for flag in [
            linux::CLONE_VM,
            linux::CLONE_FILES,
            linux::CLONE_FS,
            linux::CLONE_SIGHAND,
            linux::CLONE_THREAD,
            linux::CLONE_VFORK,
            linux::CLONE_PARENT_SETTID,
            linux::CLONE_SETTLS,
        ] {
            assert_eq!(
                fork(flag.into(), None).err(),
                Some(Errno::INVAL),
                "{flag:#x}"
            );
        }
    }
}
