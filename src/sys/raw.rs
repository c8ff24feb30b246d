//! The few system calls that rustix does not have.
//!
//! Numbers and structures come from linux-raw-sys; the instruction that enters the kernel is in [`super::arch`]. Each
//! function here is the C call of its manual page with the errors as [`Errno`].

use core::ffi::{CStr, c_char};
use core::mem::{MaybeUninit, size_of};

use linux_raw_sys::general as linux;
use rustix::event::Timespec;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::Pid;

use super::arch::{illegal_instruction, syscall5};

/// A set of signals as the kernel has it: bit `n - 1` is signal `n`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct SignalSet(u64);

const SIGNAL_SET_SIZE: usize = size_of::<SignalSet>();

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// Every signal that can be blocked.
    pub const FULL: Self = Self(!0);

    /// The signals of `numbers`.
    pub fn of(numbers: &[u32]) -> Self {
        Self(
            numbers
                .iter()
                .fold(0, |bits, number| bits | 1 << (number - 1)),
        )
    }
}

pub(super) fn check(result: isize) -> Result<usize, Errno> {
    // The kernel returns errors as -4095..=-1 (include/linux/err.h).
    if (-4095..0).contains(&result) {
        return Err(Errno::from_raw_os_error(-result as i32));
    }
    Ok(result as usize)
}

/// System call `number`, for the neighbours of this file that have a subject of their own.
///
/// # Safety
/// The arguments satisfy what the manual page of system call `number` demands.
pub(super) unsafe fn call(number: u32, [a, b, c, d, e]: [usize; 5]) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    check(unsafe { syscall5(number, a, b, c, d, e) })
}

/// Takes the descriptor that a system call returned.
pub(super) fn owned(result: isize) -> Result<OwnedFd, Errno> {
    let number = check(result)? as i32;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Who returns from [`fork`].
pub enum Forked {
    /// The new process.
    Child,
    /// The caller, with the new process's PID.
    Parent(Pid),
}

/// `clone3(2)` with `flags` (`CLONE_NEW*`, `CLONE_PARENT`) and a copy of the address space, as `fork(2)` has it; with a `cgroup`
/// the new process begins in that one.
///
/// # Errors
/// Those of `clone3(2)`. `EINVAL` if `flags` asks for shared memory, which this function is not made for.
pub fn fork(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked, Errno> {
    if flags & u64::from(linux::CLONE_VM | linux::CLONE_THREAD | linux::CLONE_VFORK) != 0 {
        return Err(Errno::INVAL);
    }
    // SAFETY: all fields are integers, for which zero is a value.
    let mut arguments: linux::clone_args = unsafe { core::mem::zeroed() };
    arguments.flags = flags;
    // A sibling says of its end what this process does, and another signal must not be asked for.
    if flags & u64::from(linux::CLONE_PARENT) == 0 {
        arguments.exit_signal = u64::from(linux::SIGCHLD);
    }
    if let Some(cgroup) = cgroup {
        arguments.flags |= linux::CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `arguments` outlives the call. Memory is copied, not shared, and there is one thread, so both returns see a
    // consistent process.
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

/// A list of C strings that ends in null, as `execve(2)` takes its arguments and environment.
///
/// # Safety
/// `pointers` ends in a null pointer, and every other pointer is a C string that outlives the list.
#[derive(Clone, Copy)]
pub struct StringList<'a>(&'a [*const c_char]);

impl<'a> StringList<'a> {
    /// The list that `pointers` holds.
    ///
    /// # Safety
    /// `pointers` ends in a null pointer; all before it point to C strings that outlive `'a`.
    pub const unsafe fn new(pointers: &'a [*const c_char]) -> Self {
        Self(pointers)
    }

    /// The pointers, with the null that ends them and what is behind it.
    pub(super) const fn pointers(self) -> &'a [*const c_char] {
        self.0
    }

    /// The strings, in order.
    pub fn iter(self) -> impl Iterator<Item = &'a CStr> + Clone {
        let strings = self.0.iter().take_while(|pointer| !pointer.is_null());
        // SAFETY: it is not null, so it points to a C string that outlives the list.
        strings.map(|pointer| unsafe { CStr::from_ptr(*pointer) })
    }
}

impl StringList<'_> {
    /// Writes zeros over the strings.
    ///
    /// # Safety
    /// They can be written to, and no reference to one is used any more.
    pub(super) unsafe fn wipe(self) {
        for pointer in self.0.iter().take_while(|pointer| !pointer.is_null()) {
            let mut byte = pointer.cast_mut();
            // SAFETY: it is a C string, which is left with its NUL, and writable, as the caller promises.
            unsafe {
                while byte.read() != 0 {
                    byte.write_volatile(0);
                    byte = byte.add(1);
                }
            }
        }
    }
}

/// `execveat(2)`: replaces this process by the program in `file`; returns only on failure.
///
/// # Errors
/// Those of `execveat(2)`.
pub fn execute_descriptor(
    file: BorrowedFd<'_>,
    arguments: StringList<'_>,
    environment: StringList<'_>,
) -> Errno {
    // SAFETY: `StringList` promises null-terminated lists of C strings; the path is the empty C string.
    let result = unsafe {
        syscall5(
            linux::__NR_execveat,
            file.as_raw_fd() as usize,
            c"".as_ptr().expose_provenance(),
            arguments.0.as_ptr().expose_provenance(),
            environment.0.as_ptr().expose_provenance(),
            linux::AT_EMPTY_PATH as usize,
        )
    };
    Errno::from_raw_os_error(-result as i32)
}

/// `execve(2)`: replaces this process by the program at `path`; returns only on failure.
///
/// # Errors
/// Those of `execve(2)`.
pub fn execute(path: &CStr, arguments: StringList<'_>, environment: StringList<'_>) -> Errno {
    // SAFETY: `StringList` promises null-terminated lists of C strings; `path` is one.
    let result = unsafe {
        syscall5(
            linux::__NR_execve,
            path.as_ptr().expose_provenance(),
            arguments.0.as_ptr().expose_provenance(),
            environment.0.as_ptr().expose_provenance(),
            0,
            0,
        )
    };
    Errno::from_raw_os_error(-result as i32)
}

/// `exit_group(2)`: ends this process. A child of PID 1 calls it; PID 1 never does.
pub fn exit(status: i32) -> ! {
    // SAFETY: the call takes no pointers.
    unsafe { syscall5(linux::__NR_exit_group, status as usize, 0, 0, 0, 0) };
    // It returns only where a filter denies it (seccomp(2)).
    illegal_instruction()
}

/// `waitid(2)`: a child that has ended, which stays to be collected.
///
/// # Errors
/// `ECHILD` if there are no children.
pub fn ended_child() -> Result<Option<Pid>, Errno> {
    // SAFETY: all fields are integers and pointers, for which zero is a value.
    let mut info: linux::siginfo_t = unsafe { core::mem::zeroed() };
    // SAFETY: `info` is what the kernel writes, and outlives the call.
    let result = unsafe {
        syscall5(
            linux::__NR_waitid,
            linux::P_ALL as usize,
            0,
            (&raw mut info).expose_provenance(),
            (linux::WEXITED | linux::WNOHANG | linux::WNOWAIT) as usize,
            0,
        )
    };
    check(result)?;
    // SAFETY: the kernel has written this part of the union, or nothing, and then it is zero.
    let pid = unsafe {
        info.__bindgen_anon_1
            .__bindgen_anon_1
            ._sifields
            ._sigchld
            ._pid
    };
    Ok(Pid::from_raw(pid))
}

/// `rt_sigprocmask(2)`, `SIG_SETMASK`: exactly the signals of `set` are blocked from now on.
///
/// # Errors
/// None with a set of the right size; kept for the signature of the call.
pub fn set_signal_mask(set: SignalSet) -> Result<(), Errno> {
    // SAFETY: `set` is a kernel signal set of the size given, and outlives the call.
    let result = unsafe {
        syscall5(
            linux::__NR_rt_sigprocmask,
            linux::SIG_SETMASK as usize,
            (&raw const set).expose_provenance(),
            0,
            SIGNAL_SET_SIZE,
            0,
        )
    };
    check(result).map(drop)
}

/// `rt_sigaction(2)`: has a signal be ignored (SIG_IGN), or do what it does to a new program (SIG_DFL); whether it was ignored before.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP, which nobody can ignore.
pub fn set_ignored(signal: u32, is_ignored: bool) -> Result<bool, Errno> {
    /// The handler, flags, restorer and mask of a `struct sigaction` as the kernel has it; the two handlers that are none are numbers.
    type Action = [usize; 4];
    const IGNORE: usize = 1;
    const { assert!(size_of::<Action>() == size_of::<linux::kernel_sigaction>()) };
    let action: Action = [usize::from(is_ignored) * IGNORE, 0, 0, 0];
    let mut old: Action = [0; 4];
    // SAFETY: both actions outlive the call and have the kernel's size; without a handler there is nothing that it could call.
    let result = unsafe {
        syscall5(
            linux::__NR_rt_sigaction,
            signal as usize,
            (&raw const action).expose_provenance(),
            (&raw mut old).expose_provenance(),
            SIGNAL_SET_SIZE,
            0,
        )
    };
    check(result).map(|_| old[0] == IGNORE)
}

/// `signalfd4(2)`: a descriptor from which the signals of `set`, which must be blocked, are read.
///
/// # Errors
/// Those of `signalfd(2)`.
pub fn signal_descriptor(set: SignalSet) -> Result<OwnedFd, Errno> {
    // SAFETY: `set` is a kernel signal set of the size given, and outlives the call.
    owned(unsafe {
        syscall5(
            linux::__NR_signalfd4,
            usize::MAX,
            (&raw const set).expose_provenance(),
            SIGNAL_SET_SIZE,
            (linux::O_CLOEXEC | linux::O_NONBLOCK) as usize,
            0,
        )
    })
}

/// `mount_setattr(2)` on the mount that `mount` is the root of.
///
/// # Errors
/// Those of `mount_setattr(2)`; `ENOSYS` before Linux 5.12.
pub fn mount_setattr(
    mount: BorrowedFd<'_>,
    flags: u32,
    attributes: &linux::mount_attr,
) -> Result<(), Errno> {
    // SAFETY: the path is the empty C string; `attributes` has the size given and outlives the call.
    let result = unsafe {
        syscall5(
            linux::__NR_mount_setattr,
            mount.as_raw_fd() as usize,
            c"".as_ptr().expose_provenance(),
            (flags | linux::AT_EMPTY_PATH) as usize,
            core::ptr::from_ref(attributes).expose_provenance(),
            size_of::<linux::mount_attr>(),
        )
    };
    check(result).map(drop)
}

/// `clock_gettime(2)` of CLOCK_BOOTTIME, which every kernel since 2.6.39 has: no error is possible.
pub fn boot_time() -> Timespec {
    time_of(linux::CLOCK_BOOTTIME)
}

/// `clock_gettime(2)` of CLOCK_REALTIME.
pub fn wall_time() -> Timespec {
    time_of(linux::CLOCK_REALTIME)
}

/// rustix would look the call up in the vDSO, which saves nothing for a clock that is read a few dozen times.
fn time_of(clock: u32) -> Timespec {
    let mut time = linux::__kernel_timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is what the kernel writes, and outlives the call.
    unsafe {
        syscall5(
            linux::__NR_clock_gettime,
            clock as usize,
            (&raw mut time).expose_provenance(),
            0,
            0,
            0,
        )
    };
    Timespec {
        tv_sec: time.tv_sec,
        tv_nsec: time.tv_nsec,
    }
}

/// `pidfd_send_signal(2)`: sends any signal, those without a name too; 0 only asks whether there is a process to send to.
///
/// # Errors
/// Those of `pidfd_send_signal(2)`.
pub fn pidfd_send_signal(process: BorrowedFd<'_>, signal: u32) -> Result<(), Errno> {
    // SAFETY: the pointer to a `siginfo_t` is null, which the kernel fills in itself then.
    let result = unsafe {
        syscall5(
            linux::__NR_pidfd_send_signal,
            process.as_raw_fd() as usize,
            signal as usize,
            0,
            0,
            0,
        )
    };
    check(result).map(drop)
}

/// Whether the descriptor `number` is open, and stays so when a program is executed.
pub fn is_inherited(number: u32) -> bool {
    let Ok(number) = i32::try_from(number) else {
        return false;
    };
    // SAFETY: the number is not -1, and the descriptor is only asked for its flags.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_getfd(descriptor).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

/// Takes the descriptor `number`, which this program was started with. From now on it is closed when a program is executed. `None` if it is
/// not open, if it was taken before, and for the three standard ones.
pub fn take_inherited(number: u32) -> Option<OwnedFd> {
    if number <= 2 || !is_inherited(number) {
        return None;
    }
    // SAFETY: whatever this program opens is closed when a program is executed, so nobody in it owns one that is not; and what is taken
    // is not any more.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number.cast_signed()) };
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC).ok()?;
    Some(descriptor)
}

/// `ioctl(2)`, `NS_GET_NSTYPE` (ioctl_nsfs(2)): the `CLONE_NEW*` of a namespace.
///
/// # Errors
/// Those of `ioctl(2)`; `ENOTTY` for what is no namespace.
pub fn namespace_type(namespace: BorrowedFd<'_>) -> Result<u32, Errno> {
    /// include/uapi/linux/nsfs.h
    const NS_GET_NSTYPE: usize = 0xb703;
    let descriptor = namespace.as_raw_fd() as usize;
    // SAFETY: the request takes no pointers.
    let result = unsafe { syscall5(linux::__NR_ioctl, descriptor, NS_GET_NSTYPE, 0, 0, 0) };
    check(result).map(|flag| flag as u32)
}

/// Closes every descriptor from `first` on but those `kept`: `close_range(2)` between them.
///
/// For a process that is about to become another program. What owns one of them is given up by that, as by an execve.
///
/// # Errors
/// Those of `close_range(2)`; `ENOSYS` before Linux 5.9.
pub fn close_all_but(mut first: u32, kept: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    loop {
        // Descriptors are not negative.
        let kept = kept.iter().map(|kept| kept.as_raw_fd() as u32);
        let next = kept.filter(|kept| first <= *kept).min();
        let last = match next {
            Some(next) => next.checked_sub(1),
            None => Some(u32::MAX),
        };
        if let Some(last) = last.filter(|last| first <= *last) {
            // SAFETY: the call takes no pointers. Owners of these descriptors, if any, are not used any more.
            let result = unsafe {
                syscall5(
                    linux::__NR_close_range,
                    first as usize,
                    last as usize,
                    0,
                    0,
                    0,
                )
            };
            check(result)?;
        }
        match next {
            Some(next) => first = next + 1,
            None => return Ok(()),
        }
    }
}

/// `getcwd(2)`: whether the working directory is below the root directory. If it is not, the kernel calls it
/// `(unreachable)`.
///
/// # Errors
/// Those of `getcwd(2)`; `ENOENT` for a directory that was removed.
pub fn working_directory_is_reachable() -> Result<bool, Errno> {
    let mut path = [const { MaybeUninit::<u8>::uninit() }; linux::PATH_MAX as usize];
    // SAFETY: `path` is what the kernel writes, has the size given, and outlives the call.
    let result = unsafe {
        syscall5(
            linux::__NR_getcwd,
            path.as_mut_ptr().expose_provenance(),
            path.len(),
            0,
            0,
            0,
        )
    };
    check(result)?;
    // SAFETY: what was written has at least the NUL that ends it.
    Ok(unsafe { path[0].assume_init() } == b'/')
}

/// include/uapi/linux/keyctl.h
const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;

/// `keyctl(2)`, `KEYCTL_JOIN_SESSION_KEYRING` without a name: a new session keyring, of nobody else.
///
/// # Errors
/// Those of `keyctl(2)`; `ENOSYS` of a kernel without keys.
pub fn new_session_keyring() -> Result<(), Errno> {
    // SAFETY: the name is null, which stands for none.
    let result = unsafe { syscall5(linux::__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) };
    check(result).map(drop)
}
