//! What a container has without asking (config-linux.md, "Default Filesystems", "Default Devices").
//!
//! Each only where there is a directory for it and the bundle does not say what belongs there. They
//! are mounted first, so that the bundle's mounts may lie in them. `/dev/pts`, `/dev/shm` and
//! `/dev/mqueue` are those of a `/dev` that was made here, by default or because the bundle mounts
//! a tmpfs on it: the host's `/dev`, bound, has its own.

use linux_raw_sys::general::{MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY};
use rustix::io::Errno;

use super::Mounts;
use crate::container::confine::ProcSysMounts;
use crate::container::target::Target;
use crate::error::Fault;
use crate::parse::config::{Mount, MountOptions};

const NOSUID_NOEXEC: u32 = MS_NOSUID | MS_NOEXEC;
const GUARDED: u32 = NOSUID_NOEXEC | MS_NODEV;

/// The container's processes.
pub(in crate::container) const PROC: Mount<'static> = default("/proc", "proc", GUARDED, "");

/// The machine, read-only. It is not mounted where the bundle mounts something in it: a directory
/// that the bundle counts on may not be there.
const SYS: Mount<'static> = default("/sys", "sysfs", GUARDED | MS_RDONLY, "");

/// Devices. What is mapped from them may be executed, as in the machine's own `/dev`.
const DEV: Mount<'static> = default("/dev", "tmpfs", MS_NOSUID, "mode=755,size=64m");

/// Terminals of its own: each devpts that is mounted is a new one
/// (Documentation/filesystems/devpts.rst). A terminal's group is that of the process that opens it,
/// since a user namespace may lack `tty`, 5.
const PTS: Mount<'static> = default(
    "/dev/pts",
    "devpts",
    NOSUID_NOEXEC,
    "ptmxmode=0666,mode=0620",
);

/// For shm_open(3).
const SHM: Mount<'static> = default("/dev/shm", "tmpfs", GUARDED, "mode=1777,size=64m");

/// For mq_open(3). The queues belong to the IPC namespace, so it is mounted only where that is not
/// the host's.
const MQUEUE: Mount<'static> = default("/dev/mqueue", "mqueue", GUARDED, "");

const fn default(
    destination: &'static str,
    fstype: &'static str,
    set: u32,
    data: &'static str,
) -> Mount<'static> {
    Mount {
        destination,
        fstype: Some(fstype),
        source: Some(fstype),
        options: MountOptions::of(set, data),
        ids: None,
    }
}

impl Mounts<'_> {
    /// Mounts what does not depend on the bundle's own mounts.
    pub(super) fn make_defaults(&self, proc_and_sys: &mut ProcSysMounts) -> Result<(), Fault> {
        self.make_default(&PROC, proc_and_sys)?;
        let is_in_sys = |item: &Mount<'_>| item.is_at_or_below(SYS.destination);
        if !self.items.iter().any(is_in_sys) {
            self.make_if_possible(&SYS, proc_and_sys)?;
        }
        self.make_default(&DEV, proc_and_sys)
    }

    /// Mounts what belongs into a `/dev` that was just populated.
    pub(super) fn make_defaults_in_dev(&self) -> Result<(), Fault> {
        let proc_and_sys = &mut ProcSysMounts::default();
        self.make_if_possible(&PTS, proc_and_sys)?;
        self.make_if_possible(&SHM, proc_and_sys)?;
        match self.has_ipc {
            true => self.make_if_possible(&MQUEUE, proc_and_sys),
            false => Ok(()),
        }
    }

    /// Mounts it where the kernel has it and lets this process mount it: a default that is missing
    /// is no reason to fail. Sysfs belongs to the network namespace, and a user namespace may not
    /// mount the host's.
    fn make_if_possible(
        &self,
        default: &Mount<'_>,
        proc_and_sys: &mut ProcSysMounts,
    ) -> Result<(), Fault> {
        match self.make_default(default, proc_and_sys) {
            Err(fault) if matches!(fault.errno, Errno::NODEV | Errno::PERM) => Ok(()),
            result => result,
        }
    }

    /// Mounts it if there is a directory for it, and the bundle mounts nothing there.
    fn make_default(
        &self,
        default: &Mount<'_>,
        proc_and_sys: &mut ProcSysMounts,
    ) -> Result<(), Fault> {
        let path = default.destination;
        if self.items.iter().any(|item| item.is_at(path)) {
            return Ok(());
        }
        match Target::find(self.root, path) {
            Ok(target) if target.is_directory() => {
                proc_and_sys.record(path, self.mount_item(default, None, Some(target))?);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
