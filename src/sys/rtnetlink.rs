//! rtnetlink(7): what is asked of the kernel about network devices, and what it tells of them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use super::buffer::Buffer;
use super::netlink::{Received, receive};
use super::netlink_request::{Body, append, attribute, send};
use crate::error::{During, Fault, Op};
use crate::parse::netlink::{self, Address, Link, message};
use crate::parse::router::RouterOption;

// Kinds of messages (include/uapi/linux/netlink.h, rtnetlink.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const ROUTER_OPTION: u16 = 68;

// Flags of requests.
const ACKNOWLEDGE: u16 = 4;
const REPLACE: u16 = 0x100;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;

// Attributes (if_link.h, if_addr.h, rtnetlink.h).
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_NAMESPACE: u16 = 28;
const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_LABEL: u16 = 3;
const ADDRESS_BROADCAST: u16 = 4;
const ADDRESS_LIFETIME: u16 = 6;
const ROUTE_TO: u16 = 1;
const ROUTE_DEVICE: u16 = 4;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_METRIC: u16 = 6;
const ROUTE_SOURCE: u16 = 7;

// Of a route (`struct rtmsg`): the main table; who has made it, DHCP or an administrator; its
// scope, everything or the link; that it leads to one machine at a time; and that the router is on
// the link, whatever the addresses say.
const MAIN_TABLE: u8 = 254;
const BY_DHCP: u8 = 16;
const BY_ADMINISTRATOR: u8 = 4;
const EVERYTHING: u8 = 0;
const ON_LINK: u8 = 253;
const UNICAST: u8 = 1;
const ROUTER_IS_ON_LINK: u32 = 4;

// Groups of messages that the kernel sends to all listeners (`RTMGRP_*`; the bit of
// RTNLGRP_ND_USEROPT).
const LINKS: u32 = 1;
const ADDRESSES4: u32 = 0x10;
const ADDRESSES6: u32 = 0x100;
const ROUTER_OPTIONS: u32 = 0x8_0000;

/// An address that nobody gave for a time (`IFA_F_PERMANENT`).
const PERMANENT: u8 = 0x80;
/// The device is up (`IFF_UP`).
const UP: u32 = 1;

/// Bytes of an address (`struct ifaddrmsg`), and of a device (`struct ifinfomsg`).
const ADDRESS: usize = 8;
const LINK: usize = 16;

/// Bytes that are received at once: what the kernel sends of a long list at most (NLMSG_GOODSIZE,
/// with room).
const RECEIVE_MAX: usize = 32 * 1024;
/// Bytes of the addresses of a device.
const ADDRESSES_MAX: usize = 64 * 1024;

/// A socket for requests, of the network namespace that it was opened in.
pub struct Route(OwnedFd);

/// The addresses of a device that are to follow it: those that are permanent, and known beyond the
/// machine.
pub struct Addresses {
    /// Messages, each with its length in front of it.
    bytes: Buffer<ADDRESSES_MAX>,
    len: usize,
}

impl Route {
    /// Opens the socket.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn open() -> Result<Self, Fault> {
        let kind = (
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
        );
        socket_with(kind.0, kind.1, kind.2, None)
            .map(Self)
            .during(Op::Socket, "rtnetlink")
    }

    /// The number of a device.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn index(&self, name: &str) -> Result<u32, Errno> {
        name_to_index(&self.0, name)
    }

    /// Moves a device into a network namespace, where it has this name.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_ADMIN in both, `EEXIST` if the name is taken there, `EINVAL` for a
    /// device that cannot be moved.
    pub fn move_to(&self, index: u32, namespace: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        let mut body = link(index, 0)?;
        let descriptor = namespace.as_raw_fd().to_ne_bytes();
        attribute(&mut body, LINK_NAMESPACE, &[&descriptor])?;
        attribute(&mut body, LINK_NAME, &[name.as_bytes(), b"\0"])?;
        self.ask(NEW_LINK, 0, &body)
    }

    /// Brings a device up.
    ///
    /// # Errors
    /// Those of the device.
    pub fn bring_up(&self, index: u32) -> Result<(), Errno> {
        self.ask(NEW_LINK, 0, &link(index, UP)?)
    }

    /// The addresses of a device.
    ///
    /// # Errors
    /// Those of send(2) and recv(2); `EMSGSIZE` for more than 64 KiB of them.
    pub fn addresses(&self, index: u32) -> Result<Addresses, Errno> {
        let mut found = Addresses {
            bytes: Buffer::new(),
            len: 0,
        };
        let mut pushed = Ok(());
        self.each(GET_ADDRESS, &[0; ADDRESS], &mut |kind, body| {
            if kind == NEW_ADDRESS && is_wanted(body, index) && pushed.is_ok() {
                pushed = found.push(body);
            }
        })?;
        pushed.map(|()| found)
    }

    /// Tells of all devices, as if they had come just now, and then of all addresses.
    ///
    /// # Errors
    /// Those of send(2) and recv(2).
    pub fn tell_all(&self, hear: &mut dyn FnMut(Change<'_>)) -> Result<(), Errno> {
        for (kind, header) in [(GET_LINK, LINK), (GET_ADDRESS, ADDRESS)] {
            let body = [0; LINK];
            let body = body.get(..header).unwrap_or_default();
            self.each(kind, body, &mut |kind, body| {
                if let Some(change) = change(kind, body) {
                    hear(change);
                }
            })?;
        }
        Ok(())
    }

    /// Asks for a list, and calls `visit` with the kind and the body of each message.
    fn each(&self, kind: u16, body: &[u8], visit: &mut dyn FnMut(u16, &[u8])) -> Result<(), Errno> {
        send(&self.0, kind, DUMP, body)?;
        let mut buffer = Buffer::<RECEIVE_MAX>::new();
        loop {
            let (_, len) = recv(&self.0, &mut *buffer.bytes_mut()?, RecvFlags::empty())?;
            let mut rest = buffer.bytes().get(..len).unwrap_or_default();
            while let Some((kind, body, next)) = message(rest) {
                match kind {
                    DONE => return Ok(()),
                    ERROR => acknowledged(body)?,
                    _ => visit(kind, body),
                }
                rest = next;
            }
        }
    }

    /// Sets the largest packet of a device.
    ///
    /// # Errors
    /// Those of the device: `EINVAL` for what it cannot do.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), Errno> {
        let mut body = link(index, 0)?;
        attribute(&mut body, LINK_MTU, &[&mtu.to_ne_bytes()])?;
        self.ask(NEW_LINK, 0, &body)
    }

    /// Gives a device an address, for so many seconds or for good. One that it has gets this time.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn add_address(
        &self,
        index: u32,
        (address, prefix): (IpAddr, u8),
        seconds: Option<u32>,
    ) -> Result<(), Errno> {
        let mut body = address_of(index, address, prefix)?;
        if let IpAddr::V4(address) = address
            && prefix < 31
        {
            let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            let all = address.to_bits() | host;
            attribute(&mut body, ADDRESS_BROADCAST, &[&all.to_be_bytes()])?;
        }
        if let Some(seconds) = seconds {
            // Preferred and valid for so long; two times that the kernel fills in.
            let seconds = seconds.to_ne_bytes();
            let lifetime = [&seconds[..], &seconds, &[0; 8]];
            attribute(&mut body, ADDRESS_LIFETIME, &lifetime)?;
        }
        self.ask(NEW_ADDRESS, CREATE | REPLACE, &body)
    }

    /// Takes an address from a device, and with it the routes that are by it.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` if it does not have it.
    pub fn remove_address(&self, index: u32, address: IpAddr, prefix: u8) -> Result<(), Errno> {
        let body = address_of(index, address, prefix)?;
        self.ask(DELETE_ADDRESS, 0, &body)
    }

    /// Makes a route, or takes the place of one that leads to the same with the same metric.
    ///
    /// # Errors
    /// Those of the kernel: `ENETUNREACH` or `EINVAL` for a router that cannot be one.
    pub fn add_route(&self, route: &RouteEntry) -> Result<(), Errno> {
        self.ask(NEW_ROUTE, CREATE | REPLACE, &route.body()?)
    }

    /// Removes a route that was made so.
    ///
    /// # Errors
    /// `ESRCH` if there is none.
    pub fn remove_route(&self, route: &RouteEntry) -> Result<(), Errno> {
        self.ask(DELETE_ROUTE, 0, &route.body()?)
    }

    /// Gives a device these addresses.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn give(&self, index: u32, addresses: &Addresses) -> Result<(), Errno> {
        let bytes = addresses.bytes.bytes().get(..addresses.len);
        let mut rest = bytes.unwrap_or_default();
        while let Some((len, next)) = rest.split_first_chunk::<{ size_of::<u32>() }>() {
            let (body, next) = next
                .split_at_checked(u32::from_ne_bytes(*len) as usize)
                .unwrap_or_default();
            let mut request = Body::new();
            let start = body.get(..ADDRESS - size_of::<u32>()).unwrap_or_default();
            append(&mut request, start)?;
            append(&mut request, &index.to_ne_bytes())?;
            let mut attributes = body.get(ADDRESS..).unwrap_or_default();
            while let Some((kind, value, next)) = netlink::attribute(attributes) {
                // A label begins with the name that the device had.
                if kind != ADDRESS_LABEL {
                    attribute(&mut request, kind, &[value])?;
                }
                attributes = next;
            }
            self.ask(NEW_ADDRESS, CREATE | REPLACE, &request)?;
            rest = next;
        }
        Ok(())
    }

    /// Sends a request, and waits until the kernel has done it.
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> Result<(), Errno> {
        send(&self.0, kind, flags | ACKNOWLEDGE, body)?;
        let mut buffer = [0; 2048];
        loop {
            let (_, len) = recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
            match message(buffer.get(..len).unwrap_or_default()) {
                Some((ERROR, body, _)) => return acknowledged(body),
                _ => continue,
            }
        }
    }
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    /// By which device.
    pub index: u32,
    /// Where to: zeros behind the prefix.
    pub to: IpAddr,
    /// Bits of the prefix.
    pub prefix: u8,
    /// By which router; `None` for what is on the link.
    pub gateway: Option<IpAddr>,
    /// From which of the machine's addresses.
    pub source: Option<IpAddr>,
    /// Of several to the same, the one with the least is taken.
    pub metric: u32,
    /// DHCP has brought it, and no administrator.
    pub is_from_dhcp: bool,
}

impl RouteEntry {
    fn body(&self) -> Result<Body, Errno> {
        let by = if self.is_from_dhcp {
            BY_DHCP
        } else {
            BY_ADMINISTRATOR
        };
        let (scope, flags) = match self.gateway {
            Some(_) => (EVERYTHING, ROUTER_IS_ON_LINK),
            None => (ON_LINK, 0),
        };
        let family = family(self.to);
        let mut body = Body::new();
        let header = [family, self.prefix, 0, 0, MAIN_TABLE, by, scope, UNICAST];
        append(&mut body, &header)?;
        append(&mut body, &flags.to_ne_bytes())?;
        if self.prefix > 0 {
            with_bytes(self.to, |bytes| attribute(&mut body, ROUTE_TO, &[bytes]))?;
        }
        attribute(&mut body, ROUTE_DEVICE, &[&self.index.to_ne_bytes()])?;
        for (kind, address) in [(ROUTE_GATEWAY, self.gateway), (ROUTE_SOURCE, self.source)] {
            if let Some(address) = address {
                with_bytes(address, |bytes| attribute(&mut body, kind, &[bytes]))?;
            }
        }
        attribute(&mut body, ROUTE_METRIC, &[&self.metric.to_ne_bytes()])?;
        Ok(body)
    }
}

/// What the kernel tells of devices and addresses, and of what came by them.
pub enum Change<'a> {
    /// A device is there, or has changed.
    Link(Link<'a>),
    /// The device of this number is gone.
    LinkGone(u32),
    /// An address is there, or has changed.
    Address(Address),
    /// A router says where names are looked up.
    Router(RouterOption<'a>),
    /// Some of what was told is lost: all has to be looked at.
    Overflow,
}

fn change(kind: u16, body: &[u8]) -> Option<Change<'_>> {
    match kind {
        NEW_LINK => Link::parse(body).map(Change::Link),
        DELETED_LINK => Link::parse(body).map(|link| Change::LinkGone(link.index)),
        NEW_ADDRESS => Address::parse(body).map(Change::Address),
        ROUTER_OPTION => RouterOption::parse(body).map(Change::Router),
        _ => None,
    }
}

/// A socket to which the kernel tells what becomes of devices and addresses.
pub struct Changes(OwnedFd);

impl Changes {
    /// Opens the socket. It is told what changes from now on.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2).
    pub fn open() -> Result<Self, Fault> {
        const SUBJECT: &str = "changes of network devices";
        let kind = (
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        );
        let socket = socket_with(kind.0, kind.1, kind.2, None).during(Op::Socket, SUBJECT)?;
        let groups = SocketAddrNetlink::new(0, LINKS | ADDRESSES4 | ADDRESSES6 | ROUTER_OPTIONS);
        bind(&socket, &groups).during(Op::Socket, SUBJECT)?;
        Ok(Self(socket))
    }

    /// Reads one datagram, and calls `hear` with each change in it; whether there was one.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn next(&self, hear: &mut dyn FnMut(Change<'_>)) -> Result<bool, Errno> {
        let mut buffer = Buffer::<RECEIVE_MAX>::new();
        let mut rest = match receive(&self.0, buffer.bytes_mut()?) {
            Received::Nothing => return Ok(false),
            Received::Overflow => {
                hear(Change::Overflow);
                return Ok(true);
            }
            Received::Message(bytes) => bytes,
        };
        while let Some((kind, body, next)) = message(rest) {
            if let Some(change) = change(kind, body) {
                hear(change);
            }
            rest = next;
        }
        Ok(true)
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `AF_INET`, `AF_INET6`.
const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

fn with_bytes<R>(address: IpAddr, user: impl FnOnce(&[u8]) -> R) -> R {
    match address {
        IpAddr::V4(four) => user(&Ipv4Addr::octets(&four)),
        IpAddr::V6(six) => user(&Ipv6Addr::octets(&six)),
    }
}

/// `struct ifaddrmsg` of an address, and the address.
fn address_of(index: u32, address: IpAddr, prefix: u8) -> Result<Body, Errno> {
    let mut body = Body::new();
    append(&mut body, &[family(address), prefix, 0, 0])?;
    append(&mut body, &index.to_ne_bytes())?;
    for kind in [ADDRESS_LOCAL, ADDRESS_ADDRESS] {
        with_bytes(address, |bytes| attribute(&mut body, kind, &[bytes]))?;
    }
    Ok(body)
}

impl Addresses {
    fn push(&mut self, body: &[u8]) -> Result<(), Errno> {
        for part in [&(body.len() as u32).to_ne_bytes(), body] {
            let room = self.bytes.bytes_mut()?;
            let room = room.get_mut(self.len..self.len + part.len());
            room.ok_or(Errno::MSGSIZE)?.copy_from_slice(part);
            self.len += part.len();
        }
        Ok(())
    }
}

/// `struct ifinfomsg`, with these flags set.
fn link(index: u32, flags: u32) -> Result<Body, Errno> {
    let mut body = Body::new();
    append(&mut body, &[0; 4])?;
    for number in [index, flags, flags] {
        append(&mut body, &number.to_ne_bytes())?;
    }
    Ok(body)
}

/// The kernel's answer: 0, or a negative error number.
fn acknowledged(body: &[u8]) -> Result<(), Errno> {
    match body.first_chunk().map(|errno| i32::from_ne_bytes(*errno)) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw_os_error(errno.saturating_neg())),
        None => Err(Errno::BADMSG),
    }
}

/// Whether `struct ifaddrmsg` is one of the device's that is to follow it.
fn is_wanted(body: &[u8], index: u32) -> bool {
    let Some([_, _, flags, scope, device @ ..]) = body.first_chunk::<ADDRESS>() else {
        return false;
    };
    flags & PERMANENT != 0 && *scope == 0 && u32::from_ne_bytes(*device) == index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_are_taken_apart_as_they_are_put_together() {
        let mut body = link(7, UP).unwrap();
        attribute(&mut body, LINK_NAME, &[b"eth0", b"\0"]).unwrap();
        assert_eq!(body.len(), 16 + 12);
        let (kind, value, next) = netlink::attribute(&body[16..]).unwrap();
        assert_eq!((kind, value, next), (LINK_NAME, &b"eth0\0"[..], &[][..]));
    }

    #[test]
    fn addresses_of_the_machine_alone_and_of_others_do_not_follow() {
        let address = |flags, scope, index: u32| {
            let mut body = vec![2, 24, flags, scope];
            body.extend(index.to_ne_bytes());
            is_wanted(&body, 7)
        };
        assert!(address(PERMANENT, 0, 7));
        assert!(!address(0, 0, 7) && !address(PERMANENT, 253, 7) && !address(PERMANENT, 0, 8));
        assert!(!is_wanted(&[], 7));
    }

    #[test]
    fn a_route_says_where_to_and_by_which_router() {
        let four = |text: &str| IpAddr::V4(text.parse().unwrap());
        let mut route = RouteEntry {
            index: 7,
            to: four("10.0.0.0"),
            prefix: 8,
            gateway: Some(four("192.0.2.1")),
            source: None,
            metric: 1024,
            is_from_dhcp: true,
        };
        let body = route.body().unwrap();
        assert_eq!(body[..12], [2, 8, 0, 0, 254, 16, 0, 1, 4, 0, 0, 0]);
        let mut rest = &body[12..];
        let mut found = Vec::new();
        while let Some((kind, value, next)) = netlink::attribute(rest) {
            found.push((kind, value.to_vec()));
            rest = next;
        }
        let expected = [
            (ROUTE_TO, vec![10, 0, 0, 0]),
            (ROUTE_DEVICE, 7_u32.to_ne_bytes().to_vec()),
            (ROUTE_GATEWAY, vec![192, 0, 2, 1]),
            (ROUTE_METRIC, 1024_u32.to_ne_bytes().to_vec()),
        ];
        assert_eq!(found, expected);
        (route.gateway, route.prefix, route.is_from_dhcp) = (None, 0, false);
        let body = route.body().unwrap();
        assert_eq!(body[..12], [2, 0, 0, 0, 254, 4, 253, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn all_devices_and_addresses_are_told_of() {
        let mut found = (false, false);
        let told = Route::open().unwrap().tell_all(&mut |change| match change {
            Change::Link(link) => found.0 |= link.name == "lo" && link.hardware.is_none(),
            Change::Address(address) => found.1 |= address.address.is_loopback(),
            Change::LinkGone(_) | Change::Router(_) | Change::Overflow => {}
        });
        assert_eq!((told, found.0), (Ok(()), true));
        assert!(!Changes::open().unwrap().next(&mut |_| ()).unwrap());
    }

    #[test]
    fn the_kernel_answers() {
        let route = Route::open().unwrap();
        let lo = route.index("lo").unwrap();
        // Those of lo are the machine's alone.
        assert_eq!(route.addresses(lo).unwrap().len, 0);
        assert_eq!(route.index("no-such-device").unwrap_err(), Errno::NODEV);
        assert!(route.bring_up(u32::MAX >> 1).is_err());
    }
}
