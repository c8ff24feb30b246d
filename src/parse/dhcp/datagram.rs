//! A message of DHCP between machines of which one has no address yet: the headers of IPv4
//! (RFC 791) and UDP (RFC 768) are written and read here, because the kernel does that only for
//! addresses that it knows.

use core::net::Ipv4Addr;
use core::ops::Range;

use super::super::bytes::be16;

/// The port of clients.
pub const CLIENT_PORT: u16 = 68;

/// The port of servers.
pub const SERVER_PORT: u16 = 67;

/// Bytes of both headers, as they are written.
pub const DATAGRAM_HEAD: usize = HEADER + UDP;

/// Bytes of the two headers, without options.
const HEADER: usize = 20;
const UDP: usize = 8;

// In the header of IPv4.
const TOTAL: Range<usize> = 2..4;
const FRAGMENT: Range<usize> = 6..8;
const PROTOCOL: usize = 9;

// In that of UDP.
const FROM: Range<usize> = 0..2;
const TO: Range<usize> = 2..4;
const LENGTH: Range<usize> = 4..6;

/// The protocol UDP.
const IS_UDP: u8 = 17;

/// The parts of the field about fragments that say that this is one.
const IS_FRAGMENT: u16 = 0x3fff;

/// Puts headers in front of a message from no address to all, at the beginning of `room`; `None`
/// if it does not fit.
pub fn wrap<'r>(message: &[u8], room: &'r mut [u8]) -> Option<&'r [u8]> {
    let len = message.len().checked_add(DATAGRAM_HEAD)?;
    let total = u16::try_from(len).ok()?;
    let udp = total.checked_sub(HEADER as u16)?;
    let packet = room.get_mut(..len)?;
    let (header, rest) = packet.split_first_chunk_mut::<HEADER>()?;
    *header = [
        0x45, 0x10, 0, 0, 0, 0, 0, 0, 64, IS_UDP, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255,
    ];
    header.get_mut(TOTAL)?.copy_from_slice(&total.to_be_bytes());
    let sum = checksum(header.as_slice());
    header.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
    // No checksum, which IPv4 allows: the link has one of its own.
    let head = [CLIENT_PORT, SERVER_PORT, udp, 0].map(u16::to_be_bytes);
    rest.get_mut(..UDP)?.copy_from_slice(head.as_flattened());
    rest.get_mut(UDP..)?.copy_from_slice(message);
    Some(packet)
}

/// The message in a packet of IPv4, if it is one of DHCP for a client, and who claims to have sent
/// it.
///
/// The checksum of UDP is not looked at. Between a machine and its guests the sender leaves it to a
/// network card that is never reached, and the kernel's own client (net/ipv4/ipconfig.c) does
/// without, too.
#[must_use]
pub fn payload_of(packet: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let first = *packet.first()?;
    // In words of four bytes.
    let len = usize::from(first & 15).checked_mul(4)?;
    let header = packet.get(..len).filter(|header| header.len() >= HEADER)?;
    let total = usize::from(be16(header, TOTAL)?);
    let is_whole = be16(header, FRAGMENT)? & IS_FRAGMENT == 0;
    if first >> 4 != 4
        || !is_whole
        || header.get(PROTOCOL) != Some(&IS_UDP)
        || checksum(header) != 0
    {
        return None;
    }
    let source = Ipv4Addr::from_octets(*header.get(12..)?.first_chunk()?);
    let datagram = packet.get(len..total)?;
    let is_for_client = be16(datagram, FROM)? == SERVER_PORT && be16(datagram, TO)? == CLIENT_PORT;
    let end = usize::from(be16(datagram, LENGTH)?);
    let message = datagram.get(UDP..end)?;
    is_for_client.then_some((source, message))
}

/// The checksum of a header (RFC 1071): 0 of one that has its own in it.
fn checksum(bytes: &[u8]) -> u16 {
    let pairs = bytes.as_chunks::<2>().0.iter();
    let sum = pairs.fold(0_u32, |sum, pair| {
        sum.wrapping_add(u16::from_be_bytes(*pair).into())
    });
    // A header has 60 bytes at most, so twice is enough.
    let fold = |sum: u32| (sum & 0xffff).wrapping_add(sum >> 16);
    !(fold(fold(sum)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(message: &[u8]) -> Vec<u8> {
        let mut room = [0; 1500];
        let mut packet = wrap(message, &mut room).unwrap().to_vec();
        packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
        packet
    }

    #[test]
    fn what_is_wrapped_has_the_headers_of_a_packet() {
        let mut room = [0; 64];
        let packet = wrap(b"message", &mut room).unwrap();
        assert_eq!(packet.len(), DATAGRAM_HEAD + 7);
        assert_eq!(checksum(&packet[..HEADER]), 0);
        // Made by the kernel for a packet of this length from no address to all.
        assert_eq!(&packet[20..28], &[0, 68, 0, 67, 0, 15, 0, 0]);
        assert_eq!(wrap(b"message", &mut [0; 34]), None);
    }

    #[test]
    fn the_message_is_found_behind_headers_of_any_length() {
        let packet = answer(b"message");
        assert_eq!(
            payload_of(&packet),
            Some((Ipv4Addr::UNSPECIFIED, &b"message"[..]))
        );
        // Ethernet fills short packets up.
        let padded = [&packet[..], &[0; 9]].concat();
        assert_eq!(payload_of(&padded), payload_of(&packet));
        let mut with_options = [&packet[..20], &[1; 4], &packet[20..]].concat();
        with_options[0] = 0x46;
        with_options[3] += 4;
        with_options[10..12].fill(0);
        let sum = checksum(&with_options[..24]).to_be_bytes();
        with_options[10..12].copy_from_slice(&sum);
        assert_eq!(payload_of(&with_options), payload_of(&packet));
    }

    #[test]
    fn other_packets_are_left_alone() {
        let good = answer(b"message");
        for len in 0..good.len() {
            assert_eq!(payload_of(&good[..len]), None, "{len}");
        }
        for (at, byte) in [
            (0, 0x65),
            (0, 0x44),
            (3, 34),
            (6, 0x20),
            (9, 6),
            (10, 1),
            (21, 1),
            (23, 67),
            (25, 7),
            (25, 16),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            if at < 20 && at != 10 {
                bad[10..12].fill(0);
                let sum = checksum(&bad[..20]).to_be_bytes();
                bad[10..12].copy_from_slice(&sum);
            }
            assert_eq!(payload_of(&bad), None, "{at} {byte}");
        }
    }
}
