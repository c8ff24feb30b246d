//! Uevents: what the kernel says about devices, over netlink(7), NETLINK_KOBJECT_UEVENT.

use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SocketFlags, SocketType, bind, recv, recvmsg,
    socket_with, sockopt,
};

use crate::error::{During, Fault, Op};

/// The kernel's own limit for one uevent (`UEVENT_BUFFER_SIZE`, include/linux/kobject.h), with room
/// for the header.
pub const UEVENT_MAX: usize = 4096;

/// The multicast group of the kernel's messages; group 2 is that of udev.
const KERNEL_GROUP: u32 = 1;

/// Room for messages that nobody has read yet. At boot, hundreds come in a burst.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A socket that receives uevents.
pub struct Uevents(OwnedFd);

/// What a read of the socket brought.
pub enum Received<'b> {
    /// A message of the kernel's.
    Message(&'b [u8]),
    /// Messages were lost, and those that were left are thrown away: what is known from them must
    /// be looked up afresh.
    Overflow,
    /// Nothing is left to read.
    Nothing,
}

impl Uevents {
    /// Opens the socket. Whatever appears from now on is heard of, so open it before looking at
    /// what is there.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2).
    pub fn open() -> Result<Self, Fault> {
        const SUBJECT: &str = "uevents";
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            flags,
            Some(KOBJECT_UEVENT),
        )
        .during(Op::Socket, SUBJECT)?;
        // A smaller buffer overflows sooner, which `Received::Overflow` handles.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP)).during(Op::Socket, SUBJECT)?;
        Ok(Self(socket))
    }

    /// The next message, without waiting for one.
    pub fn next<'b>(&self, buffer: &'b mut [u8; UEVENT_MAX]) -> Received<'b> {
        receive(&self.0, buffer)
    }
}

/// The next message of the kernel's, without waiting for one.
pub(super) fn receive<'b>(socket: &OwnedFd, buffer: &'b mut [u8]) -> Received<'b> {
    loop {
        let mut no_control: [MaybeUninit<u8>; 0] = [];
        let result = recvmsg(
            socket,
            &mut [IoSliceMut::new(buffer)],
            &mut RecvAncillaryBuffer::new(&mut no_control),
            RecvFlags::empty(),
        );
        match result {
            // Any process with CAP_NET_ADMIN can send here; only the kernel's port number is zero.
            Ok(message) if from_kernel(&message) => {
                return Received::Message(buffer.get(..message.bytes).unwrap_or_default());
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::NOBUFS) => {
                discard(socket);
                return Received::Overflow;
            }
            Err(_) => return Received::Nothing,
        }
    }
}

/// Empties the queue. The kernel tells of a loss only once until then (netlink_overrun(),
/// net/netlink/af_netlink.c): who looks afresh before misses what is lost after that look.
fn discard(socket: &OwnedFd) {
    let mut nothing = [MaybeUninit::uninit(); 1];
    let goes_on = |result| matches!(result, Ok(_) | Err(Errno::INTR | Errno::NOBUFS));
    while goes_on(recv(socket, &mut nothing, RecvFlags::TRUNC).map(|_| ())) {}
}

fn from_kernel(message: &rustix::net::RecvMsg) -> bool {
    message
        .address
        .clone()
        .and_then(|address| SocketAddrNetlink::try_from(address).ok())
        .is_some_and(|address| address.pid() == 0)
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
