//! How much the program may use, and when it gets its turn: `process.rlimits`, `oomScoreAdj`,
//! `scheduler`, `ioPriority`. And `linux.personality`, `linux.memoryPolicy`, and where one more
//! process of a container runs, `execCPUAffinity`. All of it outlives execve(2).

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

/// How eagerly the kernel kills it for want of memory (proc_pid_oom_score_adj(5)). Without a wish,
/// it is PID 1's, as the specification has it.
///
/// Of the process `first`, or of this one, from which the first then has it. To be called where a
/// procfs can be made: while the host's is still to be seen.
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

/// What takes rights on the host, which the first process may not have any more: the score, and how
/// far its limits can go up. A limit that cannot is [refused](apply_to_resources) later.
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
    /// `initial`: before it is in the container's control group, where the kernel takes away what
    /// the group has not.
    Initial,
    /// `final`: in it.
    Final,
}

/// Has this process run on those that are asked for; those that the machine, or its control group,
/// has of them.
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

/// Has this process run on all processors that its control group has, whatever those of who started
/// berth are: kernels since 6.2 keep them over the change of the group.
pub(super) fn reset_affinity() {
    // Where a filter denies the call, they stay.
    let _ = attributes::run_everywhere();
}

/// All others but those of resources. A process may be left without a processor that others want.
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
