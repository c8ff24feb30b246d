//! How a container's terminal comes to whoever serves it: its outer end goes through a unix socket (unix(7), SCM_RIGHTS).

use core::mem::MaybeUninit;

use rustix::fd::OwnedFd;
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};

use crate::error::{During, Fault, Op};

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
/// Those of recvmsg(2); `ENOTTY` if nothing was sent.
pub(super) fn receive(socket: &OwnedFd) -> Result<OwnedFd, Fault> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 16];
    // The program runs, or holds, so it was sent.
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut name)],
        &mut ancillary,
        flags,
    )
    .and_then(|_| {
        let mut messages = ancillary.drain();
        messages
            .find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            })
            .ok_or(Errno::NOTTY)
    })
    .during(Op::Terminal, "the container's terminal")
}
