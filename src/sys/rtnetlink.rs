//! rtnetlink(7): what is asked of the kernel about network devices.

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use super::buffer::Buffer;
use super::netlink_request::{Body, append, attribute, send};
use crate::error::{During, Fault, Op};
use crate::parse::netlink::{self, message};

// Kinds of messages (include/uapi/linux/netlink.h, rtnetlink.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;

// Flags of requests.
const ACKNOWLEDGE: u16 = 4;
const REPLACE: u16 = 0x100;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;

// Attributes (if_link.h, if_addr.h).
const LINK_NAME: u16 = 3;
const LINK_NAMESPACE: u16 = 28;
const ADDRESS_LABEL: u16 = 3;

/// An address that nobody gave for a time (`IFA_F_PERMANENT`).
const PERMANENT: u8 = 0x80;
/// The device is up (`IFF_UP`).
const UP: u32 = 1;

/// Bytes of an address (`struct ifaddrmsg`).
const ADDRESS: usize = 8;

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
        send(&self.0, GET_ADDRESS, DUMP, &[0; ADDRESS])?;
        let mut found = Addresses {
            bytes: Buffer::new(),
            len: 0,
        };
        let mut buffer = Buffer::<RECEIVE_MAX>::new();
        loop {
            let (_, len) = recv(&self.0, &mut *buffer.bytes_mut()?, RecvFlags::empty())?;
            let mut rest = buffer.bytes().get(..len).unwrap_or_default();
            while let Some((kind, body, next)) = message(rest) {
                match kind {
                    DONE => return Ok(found),
                    ERROR => acknowledged(body)?,
                    NEW_ADDRESS if is_wanted(body, index) => found.push(body)?,
                    _ => {}
                }
                rest = next;
            }
        }
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
    fn the_kernel_answers() {
        let route = Route::open().unwrap();
        let lo = route.index("lo").unwrap();
        // Those of lo are the machine's alone.
        assert_eq!(route.addresses(lo).unwrap().len, 0);
        assert_eq!(route.index("no-such-device").unwrap_err(), Errno::NODEV);
        assert!(route.bring_up(u32::MAX >> 1).is_err());
    }
}
