//! Packets of a link: packet(7), and UDP by a link that is named.

use core::net::{Ipv4Addr, SocketAddrV4};

use linux_raw_sys::general::__NR_setsockopt;
use linux_raw_sys::if_packet::sockaddr_ll;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::sockopt::{set_socket_broadcast, set_socket_reuseaddr};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};

use super::raw::call;

/// What packets are of, in network order (`ETH_P_IP`, `ETH_P_ARP`).
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
pub enum Protocol {
    /// IPv4.
    Ipv4 = 0x0800_u16.to_be(),
    /// ARP.
    Arp = 0x0806_u16.to_be(),
}

/// `SOL_SOCKET` and `SO_BINDTODEVICE`.
const LEVEL: usize = 1;
const BIND_TO_DEVICE: usize = 25;

/// Where packets of a link go to and come from.
struct LinkAddress(sockaddr_ll);

// SAFETY: the closure gets a pointer to the whole of a `struct sockaddr_ll`, which outlives the
// call, and its size.
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        let address = (&raw const self.0).cast();
        f(address, size_of::<sockaddr_ll>() as SocketAddrLen)
    }
}

impl LinkAddress {
    /// That of all machines on the link of this device.
    const fn of_all(index: u32, protocol: Protocol) -> Self {
        Self(sockaddr_ll {
            sll_family: AddressFamily::PACKET.as_raw(),
            sll_protocol: protocol as u16,
            sll_ifindex: index.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0],
        })
    }
}

/// All packets of one protocol that come by one link, without the header of the link.
pub struct Packets {
    socket: OwnedFd,
    index: u32,
    protocol: Protocol,
}

impl Packets {
    /// Opens the socket, for the device of this number.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2): `EAFNOSUPPORT` if the kernel lacks packet sockets.
    pub fn open(index: u32, protocol: Protocol) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Without a protocol nothing comes before the device is named.
        let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)?;
        bind(&socket, &LinkAddress::of_all(index, protocol))?;
        Ok(Self {
            socket,
            index,
            protocol,
        })
    }

    /// Sends a packet to all on the link.
    ///
    /// # Errors
    /// Those of sendto(2): `ENETDOWN`, `ENOBUFS`.
    pub fn send_to_all(&self, packet: &[u8]) -> Result<(), Errno> {
        let address = LinkAddress::of_all(self.index, self.protocol);
        sendto(&self.socket, packet, SendFlags::NOSIGNAL, &address).map(drop)
    }

    /// The next packet, without waiting for one.
    pub fn next<'r>(&self, room: &'r mut [u8]) -> Option<&'r [u8]> {
        loop {
            match recv(&self.socket, &mut *room, RecvFlags::empty()) {
                Ok((_, len)) => return room.get(..len),
                // The link went down. The packets that had come are there still.
                Err(Errno::NETDOWN | Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket of UDP that sends by one device only.
pub struct Datagrams(OwnedFd);

impl Datagrams {
    /// Opens the socket, at this port, for the device of this name.
    ///
    /// # Errors
    /// Those of socket(2), setsockopt(2) and bind(2).
    pub fn open(device: &str, port: u16) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        let arguments = [
            socket.as_raw_fd() as usize,
            LEVEL,
            BIND_TO_DEVICE,
            device.as_ptr().expose_provenance(),
            device.len(),
        ];
        // SAFETY: setsockopt(2) reads as many bytes of the name as it has, and they outlive the
        // call.
        unsafe { call(__NR_setsockopt, arguments) }?;
        set_socket_broadcast(&socket, true)?;
        // Each device has one of its own.
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
        Ok(Self(socket))
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// Those of sendto(2): `ENETUNREACH`, `EHOSTUNREACH`, `ENETDOWN`.
    pub fn send(&self, datagram: &[u8], to: SocketAddrV4) -> Result<(), Errno> {
        sendto(&self.0, datagram, SendFlags::NOSIGNAL, &to).map(drop)
    }
}
