//! Opens files of the host for the first process of a container in a user namespace.
//!
//! That process is its maker still, but has no rights on the host any more. A directory that is
//! closed to others (0700) lets it through if it is the maker's own, and not if it is another
//! user's, as it would let root through. The builder has the rights. What it opens from the root
//! directory of the first process is in the mount namespace of that process, which can bind it like
//! what it has opened itself. The builder opens only what the configuration names, and is asked by
//! number.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::process::Pid;

use super::handshake::{BuilderSocket, Wanted};
use super::{mounts, rootfs};
use crate::error::{During, Fault, Op};
use crate::parse::config::Config;
use crate::sys::path::LongPath;
use crate::sys::procfs::Procfs;
use crate::sys::{mount, path};
use crate::text::Text;

/// Opens what the first process `pid` asks for, until that is nothing more.
#[inline(never)]
pub(super) fn serve(
    config: &Config<'_>,
    bundle: &str,
    pid: Pid,
    sync: &BuilderSocket,
) -> Result<(), Fault> {
    while let Some(wanted) = sync.wanted() {
        let mut room = LongPath::new();
        let rootfs;
        let (path, item) = match wanted {
            Wanted::Rootfs => {
                rootfs = rootfs::path_of(bundle, config.root_path)?;
                (rootfs.as_str(), None)
            }
            Wanted::Mount(which) => match config.mounts.iter().nth(which) {
                Some(item) => (mounts::source_of(bundle, item, &mut room)?, Some(item)),
                None => break,
            },
        };
        let opened = open(pid, path).map_err(|mut fault| {
            if let Some(item) = item {
                let subject = format_args!("{} to mount it on {}", fault.subject, item.destination);
                fault.subject = Text::new(subject);
            }
            fault
        })?;
        sync.send(opened.as_fd()).during(Op::Open, path)?;
    }
    Ok(())
}

/// Opens the path, as the process `pid` would with all rights.
fn open(pid: Pid, path: &str) -> Result<OwnedFd, Fault> {
    let directory = path::path(format_args!("{}", pid.as_raw_nonzero()));
    let directory = directory.during(Op::Open, path)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = Procfs::new_or_mounted()?.follow(&directory, "root", flags)?;
    mount::resolve_in_root(root.as_fd(), path)
}
