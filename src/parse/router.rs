//! What routers say about where names are looked up (RFC 8106), as the kernel hands it on: in
//! messages of rtnetlink(7) about options that it does not act on itself (`struct nduseroptmsg` of
//! include/uapi/linux/rtnetlink.h), one option in each.
//!
//! The kernel has checked that the sender is on the link. Any machine on the link can send it.

use core::net::Ipv6Addr;

use super::bytes::{array, be32};
use super::dhcp::{self, Names};

/// Bytes of the header of a message.
const HEADER: usize = 16;

/// The family of the message, and the kind of what the router sent: an advertisement.
const INET6: u8 = 10;
const ADVERTISEMENT: u8 = 134;

/// Kinds of options.
const SERVERS: u8 = 25;
const DOMAINS: u8 = 31;

/// Bytes of an option before what it lists.
const OPTION_HEADER: usize = 8;

/// Lengths of options are given in so many bytes.
const UNIT: usize = 8;

/// A lifetime without an end.
const FOR_EVER: u32 = u32::MAX;

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterOption<'a> {
    /// The number of the device that it came by.
    pub index: u32,
    /// For how many seconds it holds; `None` for ever, 0 not any longer.
    pub seconds: Option<u32>,
    /// What it says.
    pub list: List<'a>,
}

/// What an option says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List<'a> {
    /// Name servers.
    Servers(Servers<'a>),
    /// Domains to look names up in.
    Domains(Domains<'a>),
}

/// Name servers, 16 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Servers<'a>(&'a [u8]);

/// Domains, as DNS has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domains<'a>(&'a [u8]);

impl<'a> RouterOption<'a> {
    /// Reads the body of a message; `None` for other options, and for what is none.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (header, rest) = body.split_first_chunk::<HEADER>()?;
        let [family, _, low, high, ..] = *header;
        if family != INET6 || header.get(8) != Some(&ADVERTISEMENT) {
            return None;
        }
        let len = usize::from(u16::from_ne_bytes([low, high]));
        let option = rest.get(..len)?;
        let [kind, units, ..] = *option else {
            return None;
        };
        if usize::from(units) * UNIT != option.len() {
            return None;
        }
        let seconds = be32(option, 4..8)?;
        let values = option.get(OPTION_HEADER..)?;
        Some(Self {
            index: array(header, 4..8).map(u32::from_ne_bytes)?,
            seconds: Some(seconds).filter(|seconds| *seconds != FOR_EVER),
            list: match kind {
                SERVERS => List::Servers(Servers(values)),
                DOMAINS => List::Domains(Domains(values)),
                _ => return None,
            },
        })
    }
}

impl Servers<'_> {
    /// The servers that can be asked: each is the address of one machine, and not of this one.
    pub fn iter(&self) -> impl Iterator<Item = Ipv6Addr> {
        let (addresses, _) = self.0.as_chunks::<16>();
        let addresses = addresses.iter().copied().map(Ipv6Addr::from_octets);
        addresses.filter(|one| {
            let is_one = !one.is_unspecified() && !one.is_multicast() && !one.is_loopback();
            is_one && one.to_ipv4_mapped().is_none()
        })
    }
}

impl Domains<'_> {
    /// Their names.
    #[must_use]
    pub fn names(&self) -> Names {
        dhcp::names_of_wire(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, seconds: u32, values: &[u8]) -> Vec<u8> {
        let len = OPTION_HEADER + values.len();
        let mut body = vec![INET6, 0];
        body.extend((len as u16).to_ne_bytes());
        body.extend(7_u32.to_ne_bytes());
        body.extend([ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([kind, (len / UNIT) as u8, 0, 0]);
        body.extend(seconds.to_be_bytes());
        body.extend(values);
        // The router's address.
        body.extend([20, 0, 1, 0]);
        body.extend([0xfe; 16]);
        body
    }

    #[test]
    fn name_servers_have_a_device_and_a_time() {
        let addresses = [
            "2001:db8::53",
            "fe80::1",
            "::",
            "::1",
            "ff02::1",
            "::ffff:192.0.2.1",
        ];
        let values: Vec<u8> = addresses
            .iter()
            .flat_map(|one| one.parse::<Ipv6Addr>().unwrap().octets())
            .collect();
        for (seconds, expected) in [(0, Some(0)), (1800, Some(1800)), (FOR_EVER, None)] {
            let body = message(SERVERS, seconds, &values);
            let option = RouterOption::parse(&body).unwrap();
            assert_eq!((option.index, option.seconds), (7, expected));
            let List::Servers(servers) = option.list else {
                panic!("{option:?}");
            };
            let found: Vec<_> = servers.iter().map(|one| one.to_string()).collect();
            assert_eq!(found, ["2001:db8::53", "fe80::1"]);
        }
    }

    #[test]
    fn domains_are_those_that_can_be_ones() {
        let values = b"\x02v6\x07example\0\x03a b\0\x01c\0\0\0\0\0";
        let body = message(DOMAINS, 60, &values[..16]);
        let option = RouterOption::parse(&body).unwrap();
        let List::Domains(domains) = option.list else {
            panic!("{option:?}");
        };
        assert_eq!(domains.names().as_str(), "v6.example");
    }

    #[test]
    fn what_is_no_whole_option_of_a_router_is_nothing() {
        let good = message(SERVERS, 60, &[0x20; 16]);
        assert!(RouterOption::parse(&good).is_some());
        for len in 0..HEADER + OPTION_HEADER + 16 {
            assert_eq!(RouterOption::parse(&good[..len]), None, "{len}");
        }
        // Of another family, of another message, of another kind, longer than it says.
        for (at, value) in [(0, 2), (8, 133), (16, 24), (17, 4), (17, 0)] {
            let mut body = good.clone();
            body[at] = value;
            assert_eq!(RouterOption::parse(&body), None, "{at}");
        }
    }
}
