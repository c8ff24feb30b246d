//! Modules that do not need each other, loaded side by side where the machine has several processors.
//!
//! Most of the time goes into checking a module's signature, which the kernel does for several at once. PID 1 has no threads,
//! so each lane but the first is a process, which shares nothing with it and ends with its last module. A lane only hands files
//! to the kernel. What became of them is found out afterwards, when PID 1 goes through the list as it does without lanes and
//! leaves out what is there: so what is refused is refused again, and told as always.

use heapless::Vec;

use rustix::process::Pid;

use super::{FILES_MAX, insert};
use crate::error::Stage;
use crate::parse::modules::Indexes;
use crate::plan::Plan;
use crate::sys::raw::{self, Forked};
use crate::sys::{kmsg, process};

/// The most lanes. Behind a few, the modules that do need each other are what takes the time.
const LANES_MAX: usize = 4;

/// The files to load.
#[derive(Default)]
struct Files<'a> {
    files: Vec<&'a str, FILES_MAX>,
    /// Which of them belong together, because a name needs both: the number of a name each.
    groups: Vec<u16, FILES_MAX>,
}

/// Loads these modules with all that they need, in their order as far as that matters. `false` if nothing was loaded: with one
/// processor, or if all need each other.
#[inline(never)]
pub(super) fn load_ahead<'n>(
    indexes: &Indexes<'_>,
    plan: &Plan<'_>,
    release: &str,
    names: impl Iterator<Item = &'n str>,
) -> bool {
    let processors = process::processors().min(LANES_MAX);
    if processors < 2 {
        return false;
    }
    let mut files = Files::default();
    for (name, number) in names.zip(0..) {
        if files.add(indexes, name, number).is_none() {
            // What does not fit is loaded afterwards.
            break;
        }
    }
    let lanes = files.lanes(processors);
    let last = lanes.iter().max().copied().unwrap_or_default();
    if last == 0 {
        return false;
    }
    let run = |lane: u8| {
        for (file, _) in files
            .files
            .iter()
            .zip(&lanes)
            .filter(|(_, its)| **its == lane)
        {
            let _ = insert(plan, release, file);
        }
    };
    let mut processes = Vec::<Pid, LANES_MAX>::new();
    for lane in 1..=last {
        match raw::fork(0, None) {
            Ok(Forked::Child) => {
                run(lane);
                raw::exit(0);
            }
            Ok(Forked::Parent(pid)) => {
                // There are no more than lanes.
                let _ = processes.push(pid);
            }
            // Its modules are loaded afterwards.
            Err(_) => {}
        }
    }
    run(0);
    processes.iter().for_each(|pid| process::wait_for(*pid));
    kmsg::info(
        Stage::Modules,
        format_args!("modules were loaded in {} lanes", last.saturating_add(1)),
    );
    true
}

impl<'a> Files<'a> {
    /// Adds those of one more name; `None` if there is no room.
    fn add(&mut self, indexes: &Indexes<'a>, name: &str, number: u16) -> Option<()> {
        let mut order = Vec::<&str, FILES_MAX>::new();
        indexes.load_order(name, &mut order).ok()?;
        for file in order {
            let known = self.files.iter().position(|known| *known == file);
            match known.and_then(|at| self.groups.get(at).copied()) {
                Some(other) => {
                    let same = self.groups.iter_mut().filter(|group| **group == other);
                    same.for_each(|group| *group = number);
                }
                None => {
                    self.files.push(file).ok()?;
                    self.groups.push(number).ok()?;
                }
            }
        }
        Some(())
    }

    /// The lane of each file, from 0: each group goes where the fewest files are.
    fn lanes(&self, count: usize) -> Vec<u8, FILES_MAX> {
        let mut lanes = Vec::<u8, FILES_MAX>::new();
        for (at, group) in self.groups.iter().enumerate() {
            let before = self.groups.iter().take(at).position(|other| other == group);
            let lane = before.and_then(|at| lanes.get(at).copied());
            let lane = lane.unwrap_or_else(|| {
                // A group's later files are still to come, and count.
                let taken = |lane: &u8| {
                    let groups = self.groups.iter().enumerate();
                    let first = |group: &u16| self.groups.iter().position(|other| other == group);
                    let is_in =
                        |group: &u16| first(group).and_then(|first| lanes.get(first)) == Some(lane);
                    groups.filter(|(_, group)| is_in(group)).count()
                };
                (0..count as u8).min_by_key(taken).unwrap_or_default()
            });
            // There are as many as files.
            let _ = lanes.push(lane);
        }
        lanes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::modules::{Alias, Builtin, Dep, Softdep};

    #[test]
    fn what_needs_the_same_file_is_in_one_lane_in_its_order() {
        let dep = b"a.ko: common.ko\nb.ko: common.ko\ncommon.ko:\nfs.ko: nls.ko\nnls.ko:\nalone.ko:\nother.ko:\n";
        let indexes = Indexes {
            dep: Dep::new(dep).unwrap(),
            softdep: Softdep::new(b"").unwrap(),
            alias: Alias::new(b"").unwrap(),
            builtin: Builtin::new(b"").unwrap(),
        };
        let mut files = Files::default();
        for (name, number) in ["a", "fs", "alone", "b", "absent", "other"].iter().zip(0..) {
            files.add(&indexes, name, number).unwrap();
        }
        assert_eq!(
            files.files,
            [
                "common.ko",
                "a.ko",
                "nls.ko",
                "fs.ko",
                "alone.ko",
                "b.ko",
                "other.ko"
            ]
        );
        assert_eq!(files.lanes(2), [0, 0, 1, 1, 1, 0, 0]);
        assert_eq!(files.lanes(4), [0, 0, 1, 1, 2, 0, 3]);
        assert_eq!(files.lanes(1), [0; 7]);
    }
}
