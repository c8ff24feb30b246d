//! A first process that is forked when the set-up is done, and not before: see
//! [`super::shared_pid`].

use rustix::fd::{AsFd, BorrowedFd};
use rustix::process::Pid;

use super::exposure::close_all_but;
use super::handshake::{PidWriter, ProcfsSocket, SyncSocket};
use crate::error::{During, Fault, Op};
use crate::sys::process::{self, Forked};

/// The first process, before it is made.
pub(super) struct DeferredFork {
    /// Where the process that sets up says which is the first.
    pub(super) pid: PidWriter,
    /// The process that makes procfs, if the container mounts any.
    pub(super) procfs: Option<ProcfsHelper>,
}

/// The process that makes procfs: the socket by which it is asked, and its parent, which waits for
/// its end.
pub(super) struct ProcfsHelper {
    pub(super) socket: ProcfsSocket,
    pub(super) parent: Pid,
}

impl DeferredFork {
    /// The socket by which procfs is asked for.
    pub(super) fn procfs_socket(&self) -> Option<&ProcfsSocket> {
        self.procfs.as_ref().map(|helper| &helper.socket)
    }

    /// Makes the first process, with nothing open but `more` descriptors behind the standard ones,
    /// those `kept`, and its end of the `sync` socket. Returns in the first process alone, with its
    /// number, when the builder lets it go on.
    #[inline(never)]
    pub(super) fn fork_and_wait(
        self,
        sync: &SyncSocket,
        more: u32,
        [a, b, c, d]: [BorrowedFd<'_>; 4],
    ) -> Result<Pid, Fault> {
        let Self { pid: to, procfs } = self;
        if let Some(ProcfsHelper { socket, parent }) = procfs {
            drop(socket);
            process::wait_for(parent);
        }
        close_all_but(
            more.saturating_add(3),
            &[a, b, c, d, sync.as_fd(), to.as_fd()],
        )?;
        let flags = u64::from(linux_raw_sys::general::CLONE_PARENT);
        match process::fork(flags, None).during(Op::Clone, "the container")? {
            Forked::Child => {
                drop(to);
                sync.wait()
            }
            Forked::Parent(pid) => {
                to.send(pid);
                process::exit(0)
            }
        }
    }
}
