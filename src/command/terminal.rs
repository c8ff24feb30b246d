//! How a container's terminal comes to whoever serves it: its outer end goes through a unix socket
//! (unix(7), SCM_RIGHTS).

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, socketpair};

use crate::error::{During, Fault, Op};
use crate::sys::socket;

/// A socket of our own: the end that it is received from, and the end that it is sent to.
///
/// # Errors
/// Those of socketpair(2).
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), Fault> {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .during(Op::Socket, "the container's terminal")
}

/// What was sent to `socket`.
///
/// # Errors
/// Those of recvmsg(2); `EPIPE` if nothing was sent.
pub(super) fn receive(socket: &OwnedFd) -> Result<OwnedFd, Fault> {
    // The program runs, or holds, so it was sent.
    socket::receive(socket, RecvFlags::DONTWAIT).during(Op::Terminal, "the container's terminal")
}
