//! Sockets of the local domain (unix(7)), and descriptors that are handed through them.

use core::mem::{MaybeUninit, size_of};
use core::time::Duration;

use linux_raw_sys::general::{__NR_bind, __NR_connect};
use linux_raw_sys::net as linux;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, listen, recvmsg,
    sendmsg, socket_with, socketpair,
};

use super::raw::call;

/// A connection to the process that listens at `path`.
///
/// # Errors
/// Those of connect(2): `ENOENT` if there is no such socket, `ECONNREFUSED` if nobody listens;
/// `ENAMETOOLONG`.
pub fn connect(path: &str) -> Result<OwnedFd, Errno> {
    connect_to(path.as_bytes(), None)
}

/// A connection to the process that listens at `name`: a path, or a zero and a name that is in no
/// filesystem. A process that listens, and accepts no connection for `time`, is not waited for any
/// longer.
///
/// # Errors
/// Those of [`connect`]; `EAGAIN` after that time.
pub fn connect_within(name: &[u8], time: Duration) -> Result<OwnedFd, Errno> {
    connect_to(name, Some(time))
}

#[inline(never)]
fn connect_to(name: &[u8], time: Option<Duration>) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    if time.is_some() {
        // It is for connect(2), too (socket(7), SO_SNDTIMEO).
        set_socket_timeout(&socket, Timeout::Send, time)?;
    }
    with_address(__NR_connect, &socket, name)?;
    Ok(socket)
}

/// A socket for datagrams to the process that has `name`: as [`connect_within`] has it.
///
/// # Errors
/// Those of connect(2).
pub fn datagrams_to(name: &[u8]) -> Result<OwnedFd, Errno> {
    datagrams(__NR_connect, name)
}

/// A socket for datagrams that others send to `path`, which is made.
///
/// # Errors
/// Those of bind(2): `EADDRINUSE` if there is something at that path.
pub fn datagrams_at(path: &str) -> Result<OwnedFd, Errno> {
    datagrams(__NR_bind, path.as_bytes())
}

/// A socket that listens at `path`, which is made, for connections that keep packets apart. `most`
/// of them wait to be accepted.
///
/// # Errors
/// Those of bind(2) and listen(2).
pub fn packets_at(path: &str, most: i32) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    with_address(__NR_bind, &socket, path.as_bytes())?;
    listen(&socket, most)?;
    Ok(socket)
}

/// A connection that keeps packets apart, to the process that listens at `path`.
///
/// # Errors
/// Those of connect(2).
pub fn packets_to(path: &str) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    with_address(__NR_connect, &socket, path.as_bytes())?;
    Ok(socket)
}

/// What a datagram brought: how many bytes, a descriptor that came with it, and the user who sent
/// it, where the socket asks for that (unix(7), SO_PASSCRED).
pub type Datagram = (usize, Option<OwnedFd>, Option<u32>);

/// The next datagram, without waiting. Of the descriptors that came with it, it is the first.
///
/// # Errors
/// Those of recvmsg(2).
pub fn next_datagram(socket: impl AsFd, room: &mut [u8]) -> Result<Datagram, Errno> {
    const SPACE: usize = rustix::cmsg_space!(ScmRights(1), ScmCredentials(1));
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let rooms = &mut [IoSliceMut::new(room)];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, rooms, &mut ancillary, flags)?;
    let (mut descriptor, mut user) = (None, None);
    for message in ancillary.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(mut all) => descriptor = all.next(),
            RecvAncillaryMessage::ScmCredentials(sender) => user = Some(sender.uid.as_raw()),
            _ => {}
        }
    }
    Ok((received.bytes, descriptor, user))
}

#[inline(never)]
fn datagrams(number: u32, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    with_address(number, &socket, name)?;
    Ok(socket)
}

/// System call `number`, which takes a socket and an address.
#[inline(never)]
fn with_address(number: u32, socket: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let mut address = Address {
        family: linux::AF_UNIX as u16,
        path: [0; 108],
    };
    let room = address.path.get_mut(..name.len());
    room.ok_or(Errno::NAMETOOLONG)?.copy_from_slice(name);
    // A path ends with the address, or at a NUL; other names have every byte of it.
    let size = size_of::<u16>() + name.len();
    // SAFETY: `address` has at least the size given, since the name fits, and outlives the call.
    unsafe {
        call(
            number,
            [
                socket.as_raw_fd() as usize,
                (&raw const address).expose_provenance(),
                size,
                0,
                0,
            ],
        )
    }
    .map(drop)
}

/// `struct sockaddr_un`. The path ends at its first NUL, or with the room.
#[repr(C)]
struct Address {
    family: u16,
    path: [u8; 108],
}

/// Sends `text` and a descriptor with it (SCM_RIGHTS), by one sendmsg(2).
///
/// # Errors
/// Those of sendmsg(2); `EPIPE` if the other end is gone, also when it was only before all of the
/// text was sent.
pub fn send(socket: &OwnedFd, text: &[u8], descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    send_with(socket, text, &[descriptor])
}

/// The same with up to three descriptors.
///
/// # Errors
/// Those of [`send`]; `ENOBUFS` for more.
pub fn send_with(
    socket: &OwnedFd,
    text: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let is_with_any = !descriptors.is_empty();
    if is_with_any && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS);
    }
    let texts = [IoSlice::new(text)];
    match sendmsg(socket, &texts, &mut ancillary, SendFlags::NOSIGNAL)? {
        sent if sent == text.len() => Ok(()),
        _ => Err(Errno::PIPE),
    }
}

/// The descriptor that was sent through `socket`.
///
/// # Errors
/// Those of recvmsg(2); `EPIPE` if none came, because the other end is gone or has sent something
/// else.
pub fn receive(socket: &OwnedFd, flags: RecvFlags) -> Result<OwnedFd, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 16];
    let texts = &mut [IoSliceMut::new(&mut text)];
    recvmsg(
        socket,
        texts,
        &mut ancillary,
        flags | RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut messages = ancillary.drain();
    let descriptor = messages.find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.ok_or(Errno::PIPE)
}

/// Two ends of a connection that keeps packets apart (unix(7), `SOCK_SEQPACKET`).
///
/// # Errors
/// Those of socketpair(2).
pub fn packets() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// What one packet brought: how many bytes, and a descriptor, if one came along.
pub type Packet = (usize, Option<OwnedFd>);

/// The next packet, and of the descriptors that came with it the first. Its end is that of the
/// connection: no bytes.
///
/// # Errors
/// Those of recvmsg(2); `EMSGSIZE` for a packet that does not fit.
pub fn next_packet(socket: impl AsFd, room: &mut [u8], flags: RecvFlags) -> Result<Packet, Errno> {
    let mut descriptors = heapless::Vec::<OwnedFd, 1>::new();
    let len = packet_with(socket, room, flags, &mut descriptors)?;
    Ok((len, descriptors.pop()))
}

/// The next packet, and all descriptors that came with it, as far as there is room: how many bytes.
///
/// # Errors
/// Those of [`next_packet`].
pub fn packet_with<const N: usize>(
    socket: impl AsFd,
    room: &mut [u8],
    flags: RecvFlags,
    descriptors: &mut heapless::Vec<OwnedFd, N>,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let rooms = &mut [IoSliceMut::new(room)];
    let received = recvmsg(
        socket,
        rooms,
        &mut ancillary,
        flags | RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(all) = message {
            // One that does not fit is closed.
            all.for_each(|descriptor| drop(descriptors.push(descriptor)));
        }
    }
    match received.flags.contains(ReturnFlags::TRUNC) {
        true => Err(Errno::MSGSIZE),
        false => Ok(received.bytes),
    }
}

/// The next packet, if there is one now: see [`next_packet`].
///
/// # Errors
/// Those of [`next_packet`].
pub fn packet_if_any(socket: impl AsFd, room: &mut [u8]) -> Option<Result<Packet, Errno>> {
    loop {
        match next_packet(&socket, room, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => return None,
            Err(Errno::INTR) => {}
            // The other end is gone, and has not read all.
            Err(Errno::CONNRESET) => return Some(Ok((0, None))),
            packet => return Some(packet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rustix::io::{read, write};
    use rustix::net::{SocketAddrUnix, accept, bind};
    use rustix::pipe::pipe;

    #[test]
    fn a_descriptor_comes_with_its_text_to_who_listens() {
        let path = std::env::temp_dir().join(format!("berth-socket-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let path = path.to_str().unwrap();
        assert_eq!(connect(path).unwrap_err(), Errno::NOENT);
        assert_eq!(connect(&"x".repeat(109)).unwrap_err(), Errno::NAMETOOLONG);
        let flags = SocketFlags::CLOEXEC;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(path).unwrap()).unwrap();
        assert_eq!(connect(path).unwrap_err(), Errno::CONNREFUSED);
        listen(&listener, 2).unwrap();
        // The third is one too many, for a moment only.
        let others = [(); 3].map(|()| connect(path).unwrap());
        let soon = Duration::from_millis(20);
        assert_eq!(
            connect_within(path.as_bytes(), soon).unwrap_err(),
            Errno::AGAIN
        );
        drop(others);
        for _ in 0..3 {
            accept(&listener).unwrap();
        }
        let socket = connect(path).unwrap();
        let peer = accept(&listener).unwrap();
        let (reader, writer) = pipe().unwrap();
        send(&socket, b"text", writer.as_fd()).unwrap();
        drop((socket, writer));

        let received = receive(&peer, RecvFlags::empty()).unwrap();
        write(received, b"through").unwrap();
        let mut text = [0; 8];
        assert_eq!(read(&peer, &mut text), Ok(0));
        assert_eq!(read(&reader, &mut text), Ok(7));

        let socket = connect(path).unwrap();
        drop((peer, listener));
        assert_eq!(send(&socket, b"text", socket.as_fd()), Err(Errno::PIPE));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn packets_stay_apart_and_bring_descriptors() {
        let (ours, theirs) = packets().unwrap();
        let mut room = [0; 4];
        let now = RecvFlags::DONTWAIT;
        assert_eq!(
            next_packet(&ours, &mut room, now).unwrap_err(),
            Errno::AGAIN
        );
        write(&theirs, b"one").unwrap();
        let (reader, writer) = pipe().unwrap();
        send(&theirs, b"four", writer.as_fd()).unwrap();
        write(&theirs, b"longer").unwrap();
        drop((theirs, writer));
        let (len, none) = next_packet(&ours, &mut room, now).unwrap();
        assert!(len == 3 && none.is_none());
        let (len, some) = next_packet(&ours, &mut room, now).unwrap();
        assert_eq!((len, &room), (4, b"four"));
        write(some.unwrap(), b"through").unwrap();
        assert_eq!(read(&reader, &mut [0; 8]), Ok(7));
        assert_eq!(
            next_packet(&ours, &mut room, now).unwrap_err(),
            Errno::MSGSIZE
        );
        assert!(matches!(next_packet(&ours, &mut room, now), Ok((0, None))));
    }

    #[test]
    fn a_name_need_not_be_in_a_filesystem() {
        let name = format!("berth-socket-{}", std::process::id());
        let flags = SocketFlags::CLOEXEC;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
        bind(&listener, &address).unwrap();
        listen(&listener, 1).unwrap();
        let name = [b"\0", name.as_bytes()].concat();
        connect_within(&name, Duration::from_secs(9)).unwrap();
        accept(&listener).unwrap();
    }
}
