//! User namespaces that exist only for their maps (user_namespaces(7)).
//!
//! A mount whose ids are mapped takes the maps from a user namespace (mount_setattr(2),
//! `MOUNT_ATTR_IDMAP`), and the kernel makes a namespace only with a process in it. So one is made
//! that waits until its namespace has maps and this process has a descriptor of the namespace, and
//! then ends.

use core::fmt::Write;

use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::path::{Path, path};
use super::process::wait_for;
use super::process::{Forked, exit, fork};
use super::procfs::Procfs;
use crate::cause::Cause;
use crate::error::{At, During, Fault, Op};
use crate::parse::config::IdMap;

/// The kernel takes no longer map: the one write must be shorter than a page.
const MAP_MAX: usize = 4095;

const SUBJECT: &str = "maps of ids, in a user namespace";

/// A user namespace with these maps, of users and of groups.
///
/// # Errors
/// Those of clone3(2), and of [`write()`].
pub fn namespace(procfs: &Procfs, maps: &[IdMap<'_>; 2]) -> Result<OwnedFd, Fault> {
    let (end, hold) = pipe_with(PipeFlags::CLOEXEC).during(Op::Pipe, SUBJECT)?;
    let flags = linux_raw_sys::general::CLONE_NEWUSER.into();
    let forked = fork(flags, None).during(Op::Clone, SUBJECT);
    match forked.because(Cause::UserNamespace)? {
        Forked::Child => {
            drop(hold);
            // Nothing is ever written: this returns when the other end is closed.
            let _ = read(&end, &mut [0; 1]);
            exit(0)
        }
        Forked::Parent(pid) => {
            let namespace = write_maps(procfs, pid, maps);
            drop(hold);
            wait_for(pid);
            namespace
        }
    }
}

fn write_maps(procfs: &Procfs, pid: Pid, maps: &[IdMap<'_>; 2]) -> Result<OwnedFd, Fault> {
    write(procfs, pid, maps.each_ref())?;
    procfs.follow(&of(pid, "ns")?, "user", OFlags::RDONLY)
}

/// The file of a map below `/proc/<pid>`, and what `config.json` calls it.
pub type MapFile = (&'static str, &'static str);

/// The map of users.
pub const USERS: MapFile = ("uid_map", "uidMappings");

/// The map of groups.
pub const GROUPS: MapFile = ("gid_map", "gidMappings");

/// Gives the user namespace of the process `pid` its maps, of users and of groups.
///
/// # Errors
/// `EPERM` for ids that this process may not map; `E2BIG` for a map that is longer than a page as
/// the kernel reads it.
#[inline(never)]
pub fn write(procfs: &Procfs, pid: Pid, [users, groups]: [&IdMap<'_>; 2]) -> Result<(), Fault> {
    write_map(procfs, pid, USERS, users)?;
    match write_map(procfs, pid, GROUPS, groups) {
        // Without CAP_SETGID here, only the group of this process can be mapped, and only once its
        // groups can no longer be given up: a group may exist to take a right away
        // (user_namespaces(7), "/proc/pid/setgroups").
        Err(fault) if fault.errno == Errno::PERM => {
            procfs.write(&of(pid, "setgroups")?, b"deny")?;
            write_map(procfs, pid, GROUPS, groups)
        }
        result => result,
    }
}

#[inline(never)]
fn write_map(
    procfs: &Procfs,
    pid: Pid,
    (file, field): MapFile,
    map: &IdMap<'_>,
) -> Result<(), Fault> {
    let mut lines = heapless::String::<MAP_MAX>::new();
    map.ranges()
        .try_for_each(|range| writeln!(lines, "{range}"))
        .map_err(|_| Errno::TOOBIG)
        .during(Op::Write, field)?;
    let written = procfs.write(&of(pid, file)?, lines.as_bytes());
    written.because(Cause::IdMap)
}

/// A file or directory of the process.
fn of(pid: Pid, name: &str) -> Result<Path, Fault> {
    path(format_args!("{}/{name}", pid.as_raw_nonzero())).during(Op::Open, name)
}
