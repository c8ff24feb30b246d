//! ARP for IPv4 on Ethernet (RFC 826): whether another machine has an address (RFC 5227).

use core::net::Ipv4Addr;
use core::ops::Range;

use super::bytes::array;
use super::dhcp::HARDWARE_LEN;

/// Bytes of a packet.
pub const LEN: usize = 28;

/// Ethernet, IPv4, and the lengths of their addresses.
const KINDS: [u8; 6] = [0, 1, 8, 0, 6, 4];

const HEAD: Range<usize> = 0..6;
const OPERATION: Range<usize> = 6..8;
const SENDER: Range<usize> = 8..14;
const SENDER_ADDRESS: Range<usize> = 14..18;
const TARGET_ADDRESS: Range<usize> = 24..28;

/// The operation that asks for an address.
const REQUEST: [u8; 2] = [0, 1];

/// The question which machine has `address`, from a machine that does not use it yet.
#[must_use]
pub fn probe(hardware: [u8; HARDWARE_LEN], address: Ipv4Addr) -> [u8; LEN] {
    let mut packet = [0; LEN];
    for (place, bytes) in [
        (HEAD, &KINDS[..]),
        (OPERATION, &REQUEST),
        (SENDER, &hardware),
        (TARGET_ADDRESS, &address.octets()),
    ] {
        if let Some(room) = packet.get_mut(place) {
            room.copy_from_slice(bytes);
        }
    }
    packet
}

/// Whether the packet tells the machine with this card that another has `address`, or is about to
/// take it.
#[must_use]
pub fn is_taken(packet: &[u8], hardware: [u8; HARDWARE_LEN], address: Ipv4Addr) -> bool {
    let claims = || {
        let is_other = packet.get(HEAD)? == KINDS && packet.get(SENDER)? != hardware;
        let [from, to] = [SENDER_ADDRESS, TARGET_ADDRESS]
            .map(|place| array(packet, place).map(Ipv4Addr::from_octets));
        let (from, to) = (from?, to?);
        let is_probe = packet.get(OPERATION)? == REQUEST && from.is_unspecified();
        Some(is_other && (from == address || is_probe && to == address))
    };
    claims().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    #[test]
    fn who_has_the_address_or_is_about_to_is_told_from_others() {
        let asked = probe(OTHER, ADDRESS);
        assert_eq!(
            asked,
            [
                0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2,
                7
            ]
        );
        assert!(is_taken(&asked, OWN, ADDRESS));
        // Ethernet fills packets up.
        let long = [&asked[..], &[0; 18]].concat();
        assert!(is_taken(&long, OWN, ADDRESS));
        let mut answer = asked;
        answer[7] = 2;
        answer[14..18].copy_from_slice(&ADDRESS.octets());
        answer[24..28].copy_from_slice(&[192, 0, 2, 9]);
        assert!(is_taken(&answer, OWN, ADDRESS));
        // A machine that has another address asks for it.
        let mut question = asked;
        question[14..18].copy_from_slice(&[192, 0, 2, 9]);
        for (packet, own, address) in [
            (&question[..], OWN, ADDRESS),
            (&asked, OTHER, ADDRESS),
            (&answer, OTHER, ADDRESS),
            (&asked, OWN, Ipv4Addr::new(192, 0, 2, 8)),
            (&answer[1..], OWN, ADDRESS),
        ] {
            assert!(!is_taken(packet, own, address), "{packet:?}");
        }
        for len in 0..LEN {
            assert!(!is_taken(&asked[..len], OWN, ADDRESS), "{len}");
            assert!(!is_taken(&answer[..len], OWN, ADDRESS), "{len}");
        }
    }
}
