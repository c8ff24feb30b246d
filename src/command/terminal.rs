//! How a container's terminal comes to whoever serves it: its outer end goes through a unix socket (unix(7), SCM_RIGHTS).

use core::mem::MaybeUninit;

use rustix::fd::OwnedFd;
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketFlags, SocketType, recvmsg, socket_with, socketpair,
};

use crate::error::{During, Fault, Op};

/// The socket of an engine: `--console-socket`.
///
/// # Errors
/// Those of connect(2).
pub(super) fn connect(path: &str) -> Result<OwnedFd, Fault> {
    let connected = || {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(socket)
    };
    connected().during(Op::Socket, path)
}

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
