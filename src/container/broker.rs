//! What a container in a user namespace has of the host, behind directories that its first process may not enter.
//!
//! That is who made it, but with no rights on the host any more: of a directory that is closed to others (0700) it gets through its
//! maker's own, and not through a user's, as root would. The builder gets through: what it opens from the root directory of that
//! process is in the mount namespace of that process, which can bind it like what it has opened itself. It opens what the configuration
//! names, and is asked for by number.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::Pid;

use super::builder::SyncSocket;
use super::{mounts, rootfs};
use crate::error::{During, Fault, Op};
use crate::parse::config::{Config, Mount};
use crate::sys::procfs::Procfs;
use crate::sys::{mount, path, socket};
use crate::text::Text;

/// That nothing more is asked for.
const NOTHING_MORE: usize = usize::MAX;
/// The rootfs, and not one of the mounts.
pub(super) const ROOTFS: usize = usize::MAX - 1;

impl SyncSocket {
    /// Has the builder open the source of the mount at place `which`, or the [`ROOTFS`]; with O_PATH.
    pub(super) fn open_outside(&self, which: usize) -> Result<OwnedFd, Fault> {
        send(&self.end, &which.to_ne_bytes(), SendFlags::NOSIGNAL)
            .and_then(|_| socket::receive(&self.end, RecvFlags::empty()))
            // It has said why.
            .during(Op::Open, "what the host has")
    }

    /// Lets the builder go on.
    pub(super) fn open_nothing_more(&self) {
        // That the builder is gone is found out next.
        let _ = send(&self.end, &NOTHING_MORE.to_ne_bytes(), SendFlags::NOSIGNAL);
    }
}

/// Opens what the first process `pid` asks for at the other end of the sync, until that is nothing more.
#[inline(never)]
pub(super) fn serve(
    config: &Config<'_>,
    bundle: &str,
    pid: Pid,
    sync: &OwnedFd,
) -> Result<(), Fault> {
    let mut which = [0; size_of::<usize>()];
    while let Ok((size, _)) = recv(sync, &mut which, RecvFlags::empty())
        && size == which.len()
    {
        let path = match usize::from_ne_bytes(which) {
            NOTHING_MORE => break,
            ROOTFS => rootfs::path_of(bundle, config.root_path)?,
            place => match config.mounts.iter().nth(place) {
                Some(item) => mounts::source_of(bundle, item)?,
                None => break,
            },
        };
        let opened = open(pid, &path).map_err(|mut fault| {
            let item = config.mounts.iter().nth(usize::from_ne_bytes(which));
            if let Some(Mount { destination, .. }) = item {
                let subject = format_args!("{} to mount it on {destination}", fault.subject);
                fault.subject = Text::new(subject);
            }
            fault
        })?;
        socket::send(sync, b"!", opened.as_fd()).during(Op::Open, &path)?;
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
