//! How much the program may use, and when it gets its turn: `process.rlimits`, `oomScoreAdj`,
//! `scheduler`, `ioPriority`, `linux.personality`, `linux.memoryPolicy`; and `execCPUAffinity`,
//! which says where one more process of a container runs. All of it outlives execve(2).

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::error::{During, Fault, Op};
use crate::parse::config::Process;
use crate::parse::config::affinity::{LISTS, PROCESSORS_MAX};
use crate::parse::config::memory_policy::NODES_MAX;
use crate::sys::attributes;
use crate::sys::path::path;
use crate::sys::procfs::Procfs;
use crate::text::Text;

/// How eagerly the kernel kills the process when memory is short (proc_pid_oom_score_adj(5)).
/// Without a value, it is that of PID 1, as the specification has it.
///
/// It is set for the process `first`, or for this one, from which the first process inherits it. A
/// procfs must be within reach: the host's is, until its root is left.
#[inline(never)]
pub(super) fn set_oom_score(process: &Process<'_>, first: Option<Pid>) -> Result<(), Fault> {
    let Some(score) = process.oom_score_adj else {
        return Ok(());
    };
    let score = Text::<8>::new(score);
    let path = match first {
        None => path(format_args!("self/oom_score_adj")),
        Some(first) => path(format_args!("{}/oom_score_adj", first.as_raw_nonzero())),
    };
    let path = path.during(Op::Open, "oom_score_adj")?;
    Procfs::new_or_mounted()?.write(&path, score.as_str().as_bytes())
}

/// Sets what takes rights on the host, which the first process may no longer have: the score, and
/// the hard limits that go up. A limit that cannot go up is [refused](apply_to_resources) later.
pub(super) fn raise_limits(process: &Process<'_>, first: Option<Pid>) -> Result<(), Fault> {
    set_oom_score(process, first)?;
    let number = first.map_or(0, |first| first.as_raw_nonzero().get());
    for limit in &process.rlimits {
        let _ = attributes::raise_hard_limit(number, limit.resource, limit.hard);
    }
    Ok(())
}

/// When a process runs on the processors of `process.execCPUAffinity`.
#[derive(Clone, Copy)]
pub(super) enum AffinityStage {
    /// `initial`: before it is in the container's control group, where the kernel removes
    /// processors that the group does not have.
    Initial,
    /// `final`: in that group.
    Final,
}

/// Has this process run on the processors that are asked for, as far as the machine, or its control
/// group, has them.
#[inline(never)]
pub(super) fn set_affinity(process: &Process<'_>, moment: AffinityStage) -> Result<(), Fault> {
    let mut lists = process.exec_affinity.iter().zip(LISTS);
    let Some((Some(list), field)) = lists.nth(moment as usize) else {
        return Ok(());
    };
    let mut set = CpuSet::new();
    for number in (0..PROCESSORS_MAX).filter(|number| list.has(*number)) {
        set.set(number);
    }
    sched_setaffinity(None, &set).during(Op::Set, field)
}

/// Has this process run on all processors of its control group, whatever berth itself was
/// restricted to: kernels since 6.2 keep the affinity when the group changes.
pub(super) fn reset_affinity() {
    // Where a filter denies the call, the affinity stays.
    let _ = attributes::run_everywhere();
}

/// Sets everything but the limits of resources. From then on the process may have to wait for a
/// processor.
#[inline(never)]
pub(super) fn apply(process: &Process<'_>) -> Result<(), Fault> {
    if let Some(personality) = process.personality {
        attributes::set_personality(personality).during(Op::Set, "personality")?;
    }
    if let Some(policy) = &process.memory_policy {
        let mut nodes = [0u64; NODES_MAX / u64::BITS as usize];
        if let Some(list) = &policy.nodes {
            for number in (0..NODES_MAX).filter(|number| list.has(*number)) {
                if let Some(word) = nodes.get_mut(number / u64::BITS as usize) {
                    *word |= 1 << (number % u64::BITS as usize);
                }
            }
        }
        let nodes = policy.nodes.is_some().then_some(&nodes[..]);
        attributes::set_memory_policy(policy.mode, nodes.unwrap_or_default())
            .during(Op::Set, "linux.memoryPolicy")?;
    }
    if let Some(priority) = process.io_priority {
        attributes::set_io_priority(priority).during(Op::Set, "I/O priority")?;
    }
    if let Some(scheduler) = &process.scheduler {
        attributes::set_scheduler(scheduler)
            .during(Op::Set, format_args!("SCHED_{}", scheduler.name()))?;
    }
    Ok(())
}

/// `process.rlimits`, last: a process may be left without memory for a mapping, and without a free
/// descriptor.
#[inline(never)]
pub(super) fn apply_to_resources(process: &Process<'_>) -> Result<(), Fault> {
    for limit in &process.rlimits {
        attributes::set_resource_limit(limit.resource, limit.soft, limit.hard)
            .during(Op::Set, format_args!("RLIMIT_{}", limit.name()))?;
    }
    Ok(())
}
