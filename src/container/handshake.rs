//! What the processes that make a container say to each other.
//!
//! The first process has a [`SyncSocket`], the builder the [`BuilderSocket`] at its other end. They
//! talk in this order, and leave out what the configuration does not ask for:
//!
//! | first process | builder |
//! |---|---|
//! | waits | writes the maps of a user namespace, then "go on, you are PID n" |
//! | "open mount 3", … "nothing more" | sends a descriptor for each |
//! | "map the ids of my descriptor 7" | maps them, then "go on" |
//! | "I am ready" | runs hooks outside, then "go on" |
//!
//! Neither waits for a process that is gone: its end of the socket is closed then. A process that
//! cannot do its part says why through the status pipe, and ends.

use core::mem::ManuallyDrop;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io::{Errno, read, write};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::error::{During, Fault, Op};
use crate::sys::socket;

/// A connection that keeps packets apart.
pub(super) fn pair(id: &str) -> Result<(OwnedFd, OwnedFd), Fault> {
    let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
    socketpair(family, SocketType::SEQPACKET, flags, None).during(Op::Pipe, id)
}

/// Something of the host's that the first process has the builder open, by its number.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// The rootfs.
    Rootfs,
    /// The source of one of the mounts.
    Mount(usize),
}

impl Wanted {
    const NOTHING_MORE: usize = usize::MAX;
    const ROOTFS: usize = usize::MAX - 1;
}

/// The first process's end.
pub(super) struct SyncSocket {
    end: OwnedFd,
    /// The connection to the agent that the container's filter asks. The first process closes it;
    /// the other processes that have it end before the agent is told anything, or soon after.
    pub(super) agent: Option<ManuallyDrop<OwnedFd>>,
}

impl SyncSocket {
    pub(super) const fn new(end: OwnedFd, agent: Option<ManuallyDrop<OwnedFd>>) -> Self {
        Self { end, agent }
    }

    /// Waits until the builder says "go on"; this process's PID, as the builder sees it.
    pub(super) fn wait(&self) -> Result<Pid, Fault> {
        let mut pid = [0; size_of::<i32>()];
        recv(&self.end, &mut pid, RecvFlags::empty())
            .and_then(|_| Pid::from_raw(i32::from_ne_bytes(pid)).ok_or(Errno::PIPE))
            .during(Op::Wait, "the process that makes the container")
    }

    /// Sends a message whose answer shows whether the builder is still there.
    fn send(&self, message: &[u8]) {
        let _ = send(&self.end, message, SendFlags::NOSIGNAL);
    }

    /// Has the builder open `wanted`, with O_PATH.
    pub(super) fn open(&self, wanted: Wanted) -> Result<OwnedFd, Fault> {
        let number = match wanted {
            Wanted::Rootfs => Wanted::ROOTFS,
            Wanted::Mount(which) => which,
        };
        self.send(&number.to_ne_bytes());
        // If it could not, it has said why.
        socket::receive(&self.end, RecvFlags::empty()).during(Op::Open, "what the host has")
    }

    /// Says that nothing more is to be opened.
    pub(super) fn open_nothing_more(&self) {
        self.send(&Wanted::NOTHING_MORE.to_ne_bytes());
    }

    /// Has the builder map the ids of `mount`: the next one for which the configuration asks for
    /// that.
    pub(super) fn map_ids(&self, mount: BorrowedFd<'_>) -> Result<(), Fault> {
        self.send(&mount.as_raw_fd().to_ne_bytes());
        self.wait().map(drop)
    }

    /// Has the builder run its hooks, and waits for them.
    pub(super) fn run_outside_hooks(&self) -> Result<(), Fault> {
        self.send(b"!");
        self.wait().map(drop)
    }
}

impl AsFd for SyncSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

/// The builder's end.
pub(super) struct BuilderSocket(pub(super) OwnedFd);

impl BuilderSocket {
    /// Has the process at the other end go on, and tells it that it is `pid`. A process that is
    /// gone has said why.
    pub(super) fn resume(&self, pid: Pid) {
        let _ = send(&self.0, &bytes_of(pid), SendFlags::NOSIGNAL);
    }

    /// What is to be opened next; `None` if that is nothing more.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        match usize::from_ne_bytes(self.next()?) {
            Wanted::NOTHING_MORE => None,
            Wanted::ROOTFS => Some(Wanted::Rootfs),
            which => Some(Wanted::Mount(which)),
        }
    }

    /// Sends what was opened.
    pub(super) fn send(&self, opened: BorrowedFd<'_>) -> Result<(), Errno> {
        socket::send(&self.0, b"!", opened)
    }

    /// The other process's descriptor of the next mount whose ids are to be mapped.
    pub(super) fn mount_to_map(&self) -> Option<RawFd> {
        self.next().map(RawFd::from_ne_bytes)
    }

    /// Waits until the container is ready for hooks outside.
    pub(super) fn is_ready(&self) -> bool {
        self.next::<1>().is_some()
    }

    fn next<const N: usize>(&self) -> Option<[u8; N]> {
        next(&self.0)
    }
}

/// A message of `N` bytes; `None` if the other end is gone, or says something else.
fn next<const N: usize>(socket: &OwnedFd) -> Option<[u8; N]> {
    let mut message = [0; N];
    match recv(socket, &mut message, RecvFlags::empty()) {
        Ok((len, _)) if len == N => Some(message),
        _ => None,
    }
}

/// The connection to a process that makes procfs.
pub(super) struct ProcfsSocket(pub(super) OwnedFd);

impl ProcfsSocket {
    const DEFAULT: usize = usize::MAX;

    /// Has it make the procfs that is item `which` of the mounts, or the default one.
    pub(super) fn make(&self, which: Option<usize>) -> Result<OwnedFd, Fault> {
        let question = which.unwrap_or(Self::DEFAULT).to_ne_bytes();
        send(&self.0, &question, SendFlags::NOSIGNAL)
            .and_then(|_| socket::receive(&self.0, RecvFlags::empty()))
            // If it could not, it has said why.
            .during(Op::Mount, "proc")
    }

    /// At the other end: what is asked for; `None` when nobody asks any more. A number that is no
    /// item's stands for the default procfs.
    pub(super) fn asked(&self) -> Option<usize> {
        next(&self.0).map(usize::from_ne_bytes)
    }

    /// Sends what was made.
    pub(super) fn answer(&self, made: BorrowedFd<'_>) -> Result<(), Fault> {
        socket::send(&self.0, b"!", made).during(Op::Mount, "proc")
    }
}

/// The ends of a pipe through which a process says which its first process is.
pub(super) struct PidReader(OwnedFd);

/// The writing end.
pub(super) struct PidWriter(OwnedFd);

/// Makes such a pipe.
pub(super) fn pid_pipe(id: &str) -> Result<(PidReader, PidWriter), Fault> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).during(Op::Pipe, id)?;
    Ok((PidReader(reader), PidWriter(writer)))
}

impl PidReader {
    /// Waits for it; `None` if the process has ended, and then has said why.
    pub(super) fn wait(&self) -> Option<Pid> {
        let mut pid = [0; size_of::<i32>()];
        let _ = read(&self.0, &mut pid);
        Pid::from_raw(i32::from_ne_bytes(pid))
    }
}

impl PidWriter {
    /// Says that it is `pid`.
    pub(super) fn send(&self, pid: Pid) {
        let _ = write(&self.0, &bytes_of(pid));
    }
}

impl AsFd for PidWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn bytes_of(pid: Pid) -> [u8; size_of::<i32>()] {
    pid.as_raw_nonzero().get().to_ne_bytes()
}
