//! Processes and mount namespaces of the cases, made with berth's own call.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result, anyhow, bail, ensure};
use berth::sys::process::{Forked, exit, fork};
use rustix::pipe::pipe;
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::stage::STAGE;

/// Namespaces for a new process.
pub(super) const MOUNTS: u64 = libc::CLONE_NEWNS as u64;

/// A user namespace with them, in which the process has all capabilities and outside of which it
/// has none.
pub(super) const USER_AND_MOUNTS: u64 = MOUNTS | libc::CLONE_NEWUSER as u64;

/// Runs `body` in a new process in these new namespaces; what it says is the result.
pub(super) fn in_process(namespaces: u64, body: impl FnOnce() -> Result<()>) -> Result<()> {
    let (reader, writer) = pipe()?;
    match fork(namespaces, None)? {
        Forked::Child => {
            let mapped = if namespaces == USER_AND_MOUNTS {
                map_root()
            } else {
                Ok(())
            };
            let said = mapped
                .and_then(|()| body())
                .map_or_else(|error| format!("{error:#}"), |()| String::new());
            let told = File::from(writer).write_all(said.as_bytes());
            exit(i32::from(!said.is_empty() || told.is_err()))
        }
        Forked::Parent(child) => {
            drop(writer);
            let mut said = String::new();
            File::from(reader).read_to_string(&mut said)?;
            let status = wait_for(child)?;
            match said.is_empty() {
                true if status == Some(0) => Ok(()),
                true => bail!("the process ended with {status:?}"),
                false => Err(anyhow!(said)),
            }
        }
    }
}

/// Gives root of the new user namespace a user outside of it, without whom there are no files for
/// it.
fn map_root() -> Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", "0 0 1")?;
    Ok(fs::write("/proc/self/gid_map", "0 0 1")?)
}

fn wait_for(child: Pid) -> Result<Option<i32>> {
    let (_, status) = waitpid(Some(child), WaitOptions::empty())?.context("no child")?;
    Ok(status.exit_status())
}

/// A mount namespace.
pub(super) struct Namespace(File);

impl Namespace {
    /// The one in which the process is.
    pub(super) fn current() -> Result<Self> {
        Ok(Self(File::open("/proc/self/ns/mnt")?))
    }

    /// A copy of the one in which the process is, made together with these namespaces.
    pub(super) fn copy(namespaces: u64) -> Result<Self> {
        let (reader, writer) = pipe()?;
        match fork(namespaces, None)? {
            Forked::Child => {
                drop(writer);
                // Nothing is written: it ends when nobody has the other end.
                let ended = File::from(reader).read(&mut [0]);
                exit(i32::from(ended.is_err()))
            }
            Forked::Parent(child) => {
                let copy = File::open(format!("/proc/{}/ns/mnt", child.as_raw_nonzero()))?;
                drop((reader, writer));
                ensure!(wait_for(child)? == Some(0), "the process failed");
                Ok(Self(copy))
            }
        }
    }

    /// Moves the process into it, and back onto the stage.
    pub(super) fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Mount))?;
        let entered: io::Result<()> = std::env::set_current_dir(STAGE);
        entered.context("enter the stage")
    }
}
