//! What a process passes on to the programs that it executes: limits, scheduling, I/O priority,
//! personality. Each function is the C call of its manual page, on the calling process.

use core::mem::size_of;

use linux_raw_sys::general as linux;
use rustix::io::Errno;

use super::arch::syscall5;
use super::raw::check;
use crate::parse::config::scheduling::Scheduler;

/// `prlimit(2)`: at most `soft` of the resource `RLIMIT_*`, and at most `hard` if the program
/// raises that.
///
/// # Errors
/// Those of `setrlimit(2)`.
pub fn set_resource_limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = linux::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` is what the kernel reads, and outlives the call; it is asked for no old
    // limit.
    unsafe { prlimit(0, resource, &raw const limit, core::ptr::null_mut()) }
}

/// Raises the limits of the process `pid` so that the resource can go up to `hard`: `prlimit(2)`.
/// Neither limit becomes lower. `pid` 0 is this process.
///
/// # Errors
/// Those of `prlimit(2)`.
pub fn raise_hard_limit(pid: i32, resource: u32, hard: u64) -> Result<(), Errno> {
    let mut limit = linux::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is what the kernel writes, and outlives the call; no new limit is given.
    unsafe { prlimit(pid, resource, core::ptr::null(), &raw mut limit) }?;
    if limit.rlim_max >= hard {
        return Ok(());
    }
    limit.rlim_max = hard;
    // SAFETY: `limit` is what the kernel reads, and outlives the call; it is asked for no old
    // limit.
    unsafe { prlimit(pid, resource, &raw const limit, core::ptr::null_mut()) }
}

/// # Safety
/// Each of `new` and `old` is null, or outlives the call; nothing else has `old`.
unsafe fn prlimit(
    pid: i32,
    resource: u32,
    new: *const linux::rlimit64,
    old: *mut linux::rlimit64,
) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    let result = unsafe {
        syscall5(
            linux::__NR_prlimit64,
            pid as usize,
            resource as usize,
            new.expose_provenance(),
            old.expose_provenance(),
            0,
        )
    };
    check(result).map(drop)
}

/// `struct sched_attr` as of Linux 3.14 (include/uapi/linux/sched/types.h).
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// `sched_setattr(2)`
///
/// # Errors
/// Those of `sched_setattr(2)`.
pub fn set_scheduler(scheduler: &Scheduler) -> Result<(), Errno> {
    let attributes = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: scheduler.policy,
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    };
    // SAFETY: `attributes` has the size that it says, and outlives the call.
    let result = unsafe {
        syscall5(
            linux::__NR_sched_setattr,
            0,
            (&raw const attributes).expose_provenance(),
            0,
            0,
            0,
        )
    };
    check(result).map(drop)
}

/// `sched_setaffinity(2)` with all processors that a kernel can have: those that the machine and
/// the control group have of them.
///
/// # Errors
/// Those of `sched_setaffinity(2)`.
pub fn run_everywhere() -> Result<(), Errno> {
    // As many bits as the largest NR_CPUS (arch/x86/Kconfig).
    let all = [u64::MAX; 128];
    // SAFETY: the set has the size given, and outlives the call.
    let result = unsafe {
        syscall5(
            linux::__NR_sched_setaffinity,
            0,
            size_of_val(&all),
            all.as_ptr().expose_provenance(),
            0,
            0,
        )
    };
    check(result).map(drop)
}

/// IOPRIO_WHO_PROCESS (include/uapi/linux/ioprio.h).
const WHO_PROCESS: usize = 1;

/// `ioprio_set(2)`: class and priority in one number.
///
/// # Errors
/// Those of `ioprio_set(2)`.
pub fn set_io_priority(priority: u16) -> Result<(), Errno> {
    // SAFETY: the call takes no pointers.
    let result = unsafe {
        syscall5(
            linux::__NR_ioprio_set,
            WHO_PROCESS,
            0,
            priority.into(),
            0,
            0,
        )
    };
    check(result).map(drop)
}

/// `set_mempolicy(2)`: `nodes` are bits, from the lowest of the first word on.
///
/// # Errors
/// Those of `set_mempolicy(2)`: `EINVAL` for nodes that the machine does not have, `ENOSYS` of a
/// kernel that knows one only.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    // The kernel reads one bit less than the number that it is given, also of an empty set
    // (get_nodes of mm/mempolicy.c).
    let bits = size_of_val(nodes).saturating_mul(8).saturating_add(1);
    // SAFETY: `nodes` has as many bits, which are only read.
    let result = unsafe {
        syscall5(
            linux::__NR_set_mempolicy,
            mode as usize,
            nodes.as_ptr().expose_provenance(),
            bits,
            0,
            0,
        )
    };
    check(result).map(drop)
}

/// `personality(2)`
///
/// # Errors
/// Those of `personality(2)`.
pub fn set_personality(personality: u32) -> Result<(), Errno> {
    // SAFETY: the call takes no pointers.
    let result = unsafe { syscall5(linux::__NR_personality, personality as usize, 0, 0, 0, 0) };
    check(result).map(drop)
}
