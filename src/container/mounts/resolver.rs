//! `/etc/resolv.conf` of a container that PID 1 starts, and that shares the machine's network: the
//! machine's own, read-only. It is the file itself, which is written in place, so that the
//! container sees what becomes of it.
//!
//! Only where the rootfs has that file, and the bundle mounts nothing on it; engines bring their
//! own.

use linux_raw_sys::general::{MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY};
use rustix::fs::stat;

use super::Mounts;
use crate::container::target::Target;
use crate::error::Fault;
use crate::parse::config::{Mount, MountOptions};

/// The machine's file. It is there if the command line says something about the network. It is not
/// in `/run/berth`, where each name is that of a container.
pub const RESOLV_CONF: &str = "/run/berth-boot/resolv.conf";

const FLAGS: u32 = MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

const MOUNT: Mount<'static> = Mount {
    destination: "/etc/resolv.conf",
    fstype: None,
    source: Some(RESOLV_CONF),
    options: MountOptions::of(FLAGS, ""),
    ids: None,
};

impl Mounts<'_> {
    /// Mounts the file, if it is there on both sides.
    pub(super) fn make_resolver(&self) -> Result<(), Fault> {
        let is_mounted = self.items.iter().any(|item| item.is_at(MOUNT.destination));
        if !self.has_resolver || is_mounted || stat(RESOLV_CONF).is_err() {
            return Ok(());
        }
        // A link that leads nowhere waits for another program to make the file.
        let Ok(target) = Target::find(self.root, MOUNT.destination) else {
            return Ok(());
        };
        if target.is_directory() {
            return Ok(());
        }
        self.mount_item(&MOUNT, None, Some(target)).map(drop)
    }
}
