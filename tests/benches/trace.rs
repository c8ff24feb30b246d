//! Forks and executions as the kernel's trace events tell them: `sched_process_fork` and
//! `sched_process_exec`.
//!
//! A container that has tracefs prints them; their clock counts instructions, a thousand a µs.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use berth_qemu::vm::{Ended, Outcome};

use crate::container::BUSYBOX;

/// What was recorded in a machine that has ended well.
pub(crate) struct Trace {
    /// Of each process, its parent, and the time of its beginning.
    forks: BTreeMap<u32, (u32, u64)>,
    /// The containers' programs, in the order of their executions: process and time.
    programs: Vec<(u32, u64)>,
}

impl Trace {
    /// Reads what a container printed on the console.
    pub(crate) fn of(outcome: &Outcome) -> Result<Self> {
        outcome.assert_ended(Ended::PowerOff)?;
        let executed = format!("filename={BUSYBOX}");
        let (mut forks, mut programs) = (BTreeMap::new(), Vec::new());
        for line in outcome.console.lines() {
            let field = |name: &str| -> Option<u32> {
                let mut values = line.split_whitespace().filter_map(|w| w.strip_prefix(name));
                values.next()?.parse().ok()
            };
            if line.contains("sched_process_fork:") {
                let [parent, child] =
                    ["pid=", "child_pid="].map(|name| field(name).context(line.to_owned()));
                forks.insert(child?, (parent?, time(line)?));
            } else if line.split_whitespace().any(|word| word == executed) {
                let pid = field("pid=").context(line.to_owned())?;
                // The first of a container: a shell may execute others.
                if !programs.iter().any(|(program, _)| *program == pid) {
                    programs.push((pid, time(line)?));
                }
            }
        }
        Ok(Self { forks, programs })
    }

    /// When this process began.
    fn forked(&self, pid: u32) -> Result<(u32, u64)> {
        let fork = self.forks.get(&pid).copied();
        fork.with_context(|| format!("the beginning of process {pid} was not recorded"))
    }

    /// When PID 1 made the process that this one comes from.
    fn decided(&self, mut pid: u32) -> Result<u64> {
        loop {
            match self.forked(pid)? {
                (1, time) => return Ok(time),
                (parent, _) => pid = parent,
            }
        }
    }

    /// Instructions from the first container's clone to its program.
    pub(crate) fn clone_to_program(&self) -> Result<u64> {
        let (pid, executed) = *self.programs.first().context("no program was executed")?;
        Ok((executed - self.forked(pid)?.1) * 1000)
    }

    /// Instructions from PID 1's decision to start the first container to that container's program.
    pub(crate) fn decision_to_program(&self) -> Result<u64> {
        let (pid, executed) = *self.programs.first().context("no program was executed")?;
        Ok((executed - self.decided(pid)?) * 1000)
    }

    /// Instructions from PID 1's first decision to the last of the first `count` programs.
    pub(crate) fn all(&self, count: usize) -> Result<u64> {
        let programs = self.programs.get(..count).with_context(|| {
            let found = self.programs.len();
            format!("{found} programs were executed, not {count}")
        })?;
        let decided = programs.iter().map(|(pid, _)| self.decided(*pid));
        let first = decided.collect::<Result<Vec<_>>>()?.into_iter().min();
        let last = programs.last().map(|(_, executed)| *executed);
        let (last, first) = last.zip(first).context("no program was asked for")?;
        Ok((last - first) * 1000)
    }
}

/// The time of a recorded event in µs: `sh-80 [000] ..... 1.234567: sched_process_exec: …`.
fn time(line: &str) -> Result<u64> {
    let words = line
        .split_whitespace()
        .filter_map(|word| word.strip_suffix(':'));
    let seconds = words.filter_map(|word| word.split_once('.')).next();
    let (seconds, fraction) = seconds.with_context(|| format!("no time in: {line}"))?;
    Ok(seconds.parse::<u64>()? * 1_000_000 + fraction.parse::<u64>()?)
}
