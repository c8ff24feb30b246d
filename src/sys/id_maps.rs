//! User namespaces that nobody lives in: what they are for is their maps (user_namespaces(7)).
//!
//! A mount whose ids are mapped takes the maps from a user namespace (mount_setattr(2), `MOUNT_ATTR_IDMAP`), and the kernel makes
//! a namespace only with a process in it. So one is made that waits until its namespace has maps and somebody holds a
//! descriptor of it, and then ends.

use core::fmt::Write;
use core::num::NonZeroI32;

use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::path::{Path, path};
use super::process::wait_for;
use super::procfs::Procfs;
use super::raw::{self, Forked};
use crate::error::{During, Fault, Op};
use crate::parse::config::{IdMap, IdRange};

/// More than this the kernel takes of no map: the one write must be shorter than a page.
const MAP_MAX: usize = 4095;

const SUBJECT: &str = "a user namespace for mapped ids";

/// A user namespace with these maps.
///
/// # Errors
/// Those of clone3(2), and of [`Procfs::new`]; those of writing the maps: `EPERM` for ids that this process may not map, `E2BIG`
/// for a map that is longer than a page as the kernel reads it.
pub fn namespace(users: &IdMap<'_>, groups: &IdMap<'_>) -> Result<OwnedFd, Fault> {
    let procfs = Procfs::new()?;
    let (end, hold) = pipe_with(PipeFlags::CLOEXEC).during(Op::Pipe, SUBJECT)?;
    let flags = linux_raw_sys::general::CLONE_NEWUSER.into();
    match raw::fork(flags, None).during(Op::Clone, SUBJECT)? {
        Forked::Child => {
            drop(hold);
            // Nothing is ever written: this returns when the other side lets go.
            let _ = read(&end, &mut [0; 1]);
            raw::exit(0)
        }
        Forked::Parent(pid) => {
            let namespace = give_maps(&procfs, pid, users, groups);
            drop(hold);
            wait_for(pid);
            namespace
        }
    }
}

fn give_maps(
    procfs: &Procfs,
    pid: Pid,
    users: &IdMap<'_>,
    groups: &IdMap<'_>,
) -> Result<OwnedFd, Fault> {
    let pid = pid.as_raw_nonzero();
    for (name, ids) in [("uid_map", users), ("gid_map", groups)] {
        let mut map = heapless::String::<MAP_MAX>::new();
        let mut write = |range: IdRange| {
            let [inside, outside, count] = [range.inside, range.outside, range.count];
            writeln!(map, "{inside} {outside} {count}")
        };
        ids.ranges()
            .try_for_each(&mut write)
            .map_err(|_| Errno::TOOBIG)
            .during(Op::Write, name)?;
        procfs.write(&of(pid, name)?, map.as_bytes())?;
    }
    procfs.follow(&of(pid, "ns")?, "user", OFlags::RDONLY)
}

/// A file or directory of the process.
fn of(pid: NonZeroI32, name: &str) -> Result<Path, Fault> {
    path(format_args!("{pid}/{name}")).during(Op::Open, name)
}
