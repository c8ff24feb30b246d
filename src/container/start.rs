//! From a configuration to a process that becomes the container: the one function that all commands
//! call.

use rustix::process::getpid;

use super::builder;
use super::namespaces::flags_of_new;
use super::request::Request;
use super::setup;
use super::status_pipe::{self, PendingStart, Progress};
use crate::error::{During, Fault, Op};
use crate::sys::process::{self, Forked};

/// Starts it. The process exists when this returns, or a builder that makes it; what becomes of it
/// is heard from the [`PendingStart`].
///
/// # Errors
/// Those of pipe2(2) and clone3(2).
#[inline(never)]
pub fn start(request: Request<'_>) -> Result<PendingStart, Fault> {
    let (ends, mut status_pipe) = status_pipe::pair(request.id, request.exec_fifo.is_some())?;
    let caller = getpid();
    if builder::is_needed(&request) {
        return match process::fork(0, None).during(Op::Clone, request.id)? {
            Forked::Child => {
                // The caller's alone: the processes that write see by it whether the caller is
                // gone.
                drop(ends);
                builder::run(request, status_pipe, caller)
            }
            Forked::Parent(pid) => Ok(PendingStart::new(ends, Progress::Building, Some(pid))),
        };
    }
    let flags = flags_of_new(&request.config.namespaces);
    match builder::fork(&request, flags)? {
        Forked::Child => {
            drop(ends);
            setup::run(request, &mut status_pipe, None, None)
        }
        Forked::Parent(pid) => Ok(PendingStart::new(ends, Progress::SettingUp(pid), None)),
    }
}
