//! Requests to the kernel over netlink(7), put together without allocation.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{SendFlags, send as send_to};

use crate::parse::netlink::{ATTRIBUTE, HEADER};

/// A flag of requests (`NLM_F_REQUEST`).
const REQUEST: u16 = 1;

/// Bytes that a request may have behind its header.
const BODY_MAX: usize = 512;

/// What follows the header of a request.
pub(super) type Body = heapless::Vec<u8, BODY_MAX>;

/// Appends bytes.
///
/// # Errors
/// `EMSGSIZE` for more than 512 bytes in all.
#[inline(never)]
pub(super) fn append(body: &mut Body, bytes: &[u8]) -> Result<(), Errno> {
    body.extend_from_slice(bytes).map_err(|_| Errno::MSGSIZE)
}

/// Appends an attribute, whose value are these parts.
///
/// # Errors
/// As [`append`].
pub(super) fn attribute(body: &mut Body, kind: u16, parts: &[&[u8]]) -> Result<(), Errno> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>() + ATTRIBUTE;
    append(body, &(len as u16).to_ne_bytes())?;
    append(body, &kind.to_ne_bytes())?;
    for part in parts {
        append(body, part)?;
    }
    let padding = [0; 3].get(..len.next_multiple_of(4) - len);
    append(body, padding.unwrap_or_default())
}

/// Sends a request of this kind.
///
/// # Errors
/// Those of send(2); `EMSGSIZE` for a body of more than 512 bytes.
pub(super) fn send(socket: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> Result<(), Errno> {
    let mut request = heapless::Vec::<u8, { HEADER + BODY_MAX }>::new();
    let len = (HEADER + body.len()) as u32;
    // The sequence number and the sender are nothing: one request is under way at a time.
    let parts: [&[u8]; 5] = [
        &len.to_ne_bytes(),
        &kind.to_ne_bytes(),
        &(flags | REQUEST).to_ne_bytes(),
        &[0; 8],
        body,
    ];
    let appended = parts
        .iter()
        .try_for_each(|part| request.extend_from_slice(part));
    appended.map_err(|_| Errno::MSGSIZE)?;
    send_to(socket, &request, SendFlags::empty()).map(drop)
}
