//! A control group for each container (Documentation/admin-guide/cgroup-v2.rst).
//!
//! The container's first process is born in it, so it holds all of its processes whatever they do, with or without a PID
//! namespace: they can be killed in one write, and the kernel counts there whom it killed for want of memory.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, mkdirat, unlinkat};
use rustix::io::Errno;

use super::bundle::{BUNDLES_MAX, Id};
use crate::error::{During, Fault, Op};
use crate::sys::fs;

const ROOT: &str = "/sys/fs/cgroup";
const PARENT: &str = "/sys/fs/cgroup/berth";

/// The controllers that containers are counted by, as far as the kernel has them.
const CONTROLLERS: &[&[u8]] = &[b"+memory", b"+pids"];

/// The group that all containers are below of.
pub struct Groups {
    directory: OwnedFd,
    /// Groups whose processes were killed and are still on their way out.
    ending: heapless::Vec<Id, BUNDLES_MAX>,
}

/// The group of one container.
pub struct Group(OwnedFd);

impl Groups {
    /// Makes it; `None` where no cgroup2 filesystem is mounted.
    ///
    /// # Errors
    /// Those of mkdir(2) and open(2).
    pub fn open() -> Result<Option<Self>, Fault> {
        if rustix::fs::access("/sys/fs/cgroup/cgroup.procs", rustix::fs::Access::EXISTS).is_err() {
            return Ok(None);
        }
        fs::make_directory(PARENT)?;
        for group in [ROOT, PARENT] {
            let group = fs::open_directory(CWD, group)?;
            for controller in CONTROLLERS {
                // One that the kernel lacks is done without.
                let _ = fs::write_file(&group, "cgroup.subtree_control", controller);
            }
        }
        let directory = fs::open_directory(CWD, PARENT)?;
        Ok(Some(Self {
            directory,
            ending: heapless::Vec::new(),
        }))
    }

    /// Makes the group of the container `id`.
    ///
    /// # Errors
    /// Those of mkdirat(2) but `EEXIST`, and of openat(2).
    pub fn create(&self, id: &str) -> Result<Group, Fault> {
        match mkdirat(&self.directory, id, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during(Op::Create, format_args!("{PARENT}/{id}")),
        }
        fs::open_directory(&self.directory, id).map(Group)
    }

    /// Removes the group of the container `id`, whose processes were killed: now, or in [`Self::remove_ended`] once the last
    /// of them is gone.
    pub fn remove(&mut self, id: &Id) {
        // There are as many places as bundles.
        let _ = self.ending.push(id.clone());
        self.remove_ended();
    }

    /// Removes what can be removed by now. Called when processes have been reaped.
    pub fn remove_ended(&mut self) {
        // EBUSY while a process is left (cgroup-v2.rst, "Processes").
        let is_busy = |id: &Id| {
            unlinkat(&self.directory, id.as_str(), AtFlags::REMOVEDIR) == Err(Errno::BUSY)
        };
        self.ending.retain(is_busy);
    }
}

impl Group {
    /// Kills all its processes (`cgroup.kill`, Linux 5.14).
    ///
    /// # Errors
    /// `ENOENT` on older kernels.
    pub fn kill(&self) -> Result<(), Fault> {
        fs::write_file(&self.0, "cgroup.kill", b"1")
    }

    /// Whether the kernel killed a process in it for want of memory (`memory.events`).
    pub fn was_out_of_memory(&self) -> bool {
        let mut buffer = [0; 512];
        fs::read_file(&self.0, "memory.events", &mut buffer).is_ok_and(|events| {
            events
                .split(|byte| *byte == b'\n')
                .filter_map(|line| line.strip_prefix(b"oom_kill "))
                .any(|count| count != b"0")
        })
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
