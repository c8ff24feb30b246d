//! DHCP for IPv4 (RFC 2131, RFC 2132): what this client says, and what servers answer.
//!
//! Anybody on the link can answer. So a [`Reply`] is what has the form of one, and says nothing
//! about who sent it; [`Reply::lease`] takes of its options what a machine can use, and leaves out
//! the rest.

mod datagram;
mod domain;
mod lease;

use core::net::Ipv4Addr;
use core::ops::Range;

pub use datagram::{CLIENT_PORT, DATAGRAM_HEAD, SERVER_PORT, payload_of, wrap};
pub use domain::{NAMES_MAX, Names, of_wire as names_of_wire};
pub use lease::{Lease, ROUTES_MAX, Route, SERVERS_MAX};

use super::bytes::{array, be32};

/// The longest message that is taken: what fits into one packet of Ethernet.
pub const MESSAGE_MAX: usize = 1500 - DATAGRAM_HEAD;

/// Bytes of an address of Ethernet.
pub const HARDWARE_LEN: usize = 6;

// The fixed part of a message (RFC 2131, figure 1).
const OP: Range<usize> = 0..4;
const XID: Range<usize> = 4..8;
const SECS: Range<usize> = 8..10;
const FLAGS: Range<usize> = 10..12;
const CIADDR: Range<usize> = 12..16;
const YIADDR: Range<usize> = 16..20;
const CHADDR: Range<usize> = 28..34;
const SNAME: Range<usize> = 44..108;
const FILE: Range<usize> = 108..236;
const MAGIC: Range<usize> = 236..240;
const OPTIONS: usize = 240;

/// A request, by Ethernet, with addresses of six bytes; and an answer to it.
const REQUEST: [u8; 4] = [1, 1, 6, 0];
const ANSWER: [u8; 3] = [2, 1, 6];

/// What options begin with.
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Answers are to be sent to all: this machine has no address yet.
const BROADCAST: [u8; 2] = [0x80, 0];

/// Bytes that a message has at least: those of BOOTP, which some relays insist on (RFC 1542, 2.1).
const MESSAGE_MIN: usize = 300;

/// Bytes of one option that are looked at: more than any that is used needs.
const OPTION_MAX: usize = 512;

/// The numbers of options (RFC 2132; RFC 3397 for 119, RFC 3442 for 121).
mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTERS: u8 = 3;
    pub(super) const NAME_SERVERS: u8 = 6;
    pub(super) const HOSTNAME: u8 = 12;
    pub(super) const DOMAIN: u8 = 15;
    pub(super) const MTU: u8 = 26;
    pub(super) const ADDRESS: u8 = 50;
    pub(super) const LEASE: u8 = 51;
    pub(super) const OVERLOAD: u8 = 52;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const WANTED: u8 = 55;
    pub(super) const LONGEST: u8 = 57;
    pub(super) const RENEW: u8 = 58;
    pub(super) const REBIND: u8 = 59;
    pub(super) const CLIENT: u8 = 61;
    pub(super) const SEARCH: u8 = 119;
    pub(super) const ROUTES: u8 = 121;
    pub(super) const END: u8 = 255;
}

/// What servers are asked for. The routes stand before the routers (RFC 3442).
const WANTED: [u8; 12] = [
    option::MASK,
    option::ROUTES,
    option::ROUTERS,
    option::NAME_SERVERS,
    option::HOSTNAME,
    option::DOMAIN,
    option::SEARCH,
    option::MTU,
    option::LEASE,
    option::SERVER,
    option::RENEW,
    option::REBIND,
];

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// To servers: who offers something?
    Discover = 1,
    /// From a server: this.
    Offer = 2,
    /// To a server: I take it, or want to keep it.
    Request = 3,
    /// To a server: another machine has what you have given me.
    Decline = 4,
    /// From a server: you have it.
    Ack = 5,
    /// From a server: you do not.
    Nak = 6,
}

/// What this client says.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// [`Kind::Discover`], [`Kind::Request`] or [`Kind::Decline`].
    pub kind: Kind,
    /// What the answer is known by.
    pub xid: u32,
    /// For how many seconds the client has tried.
    pub seconds: u16,
    /// The address of the network card.
    pub hardware: [u8; HARDWARE_LEN],
    /// The address that the client has, and uses.
    pub own: Option<Ipv4Addr>,
    /// The address that it wishes for.
    pub wish: Option<Ipv4Addr>,
    /// The server whose offer it takes.
    pub server: Option<Ipv4Addr>,
    /// What it calls itself: a type and what follows that. The address of the network card unless
    /// the operator says otherwise.
    pub client_id: Option<(u8, &'a str)>,
    /// The name of the machine.
    pub hostname: Option<&'a str>,
}

impl Request<'_> {
    /// The message as bytes, at the beginning of `room`; `None` if it takes more.
    pub fn encode<'r>(&self, room: &'r mut [u8]) -> Option<&'r [u8]> {
        room.get_mut(..MESSAGE_MIN)?.fill(0);
        let address = |address: Option<Ipv4Addr>| address.map_or([0; 4], |it| it.octets());
        let flags = if self.own.is_none() {
            BROADCAST
        } else {
            [0; 2]
        };
        let fixed: [(Range<usize>, &[u8]); 7] = [
            (OP, &REQUEST),
            (XID, &self.xid.to_be_bytes()),
            (SECS, &self.seconds.to_be_bytes()),
            (FLAGS, &flags),
            (CIADDR, &address(self.own)),
            (CHADDR, &self.hardware),
            (MAGIC, &COOKIE),
        ];
        for (place, bytes) in fixed {
            room.get_mut(place)?.copy_from_slice(bytes);
        }
        let mut writer = Writer { room, len: OPTIONS };
        writer.option(option::KIND, &[&[self.kind as u8]])?;
        match self.client_id {
            Some((kind, id)) => writer.option(option::CLIENT, &[&[kind], id.as_bytes()])?,
            None => writer.option(option::CLIENT, &[&[1], &self.hardware])?,
        }
        for (code, address) in [(option::ADDRESS, self.wish), (option::SERVER, self.server)] {
            if let Some(address) = address {
                writer.option(code, &[&address.octets()])?;
            }
        }
        // What is declined has no answer (RFC 2131, table 5).
        if self.kind != Kind::Decline {
            writer.option(option::LONGEST, &[&(MESSAGE_MAX as u16).to_be_bytes()])?;
            writer.option(option::WANTED, &[&WANTED])?;
            if let Some(name) = self.hostname {
                writer.option(option::HOSTNAME, &[name.as_bytes()])?;
            }
        }
        writer.put(&[option::END])?;
        let Writer { room, len } = writer;
        room.get(..len.max(MESSAGE_MIN))
    }
}

struct Writer<'r> {
    room: &'r mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.room.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    fn option(&mut self, code: u8, parts: &[&[u8]]) -> Option<()> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        self.put(&[code, u8::try_from(len).ok()?])?;
        parts.iter().try_for_each(|part| self.put(part))
    }
}

/// What has the form of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// What it is for; `None` for one of BOOTP, which has no kinds.
    pub kind: Option<Kind>,
    /// What it is known by.
    pub xid: u32,
    /// Whom it is for.
    pub hardware: [u8; HARDWARE_LEN],
    /// The address that the client gets.
    pub address: Ipv4Addr,
    message: &'a [u8],
}

impl<'a> Reply<'a> {
    /// Reads a message; `None` if it is no answer to a client on Ethernet.
    #[must_use]
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        if !message.starts_with(&ANSWER) || message.get(MAGIC)? != COOKIE {
            return None;
        }
        let mut reply = Self {
            kind: None,
            xid: be32(message, XID)?,
            hardware: array(message, CHADDR)?,
            address: Ipv4Addr::from_octets(array(message, YIADDR)?),
            message,
        };
        let mut room = [0; OPTION_MAX];
        reply.kind = match reply.option(option::KIND, &mut room) {
            None => None,
            Some([2]) => Some(Kind::Offer),
            Some([5]) => Some(Kind::Ack),
            Some([6]) => Some(Kind::Nak),
            Some(_) => return None,
        };
        Some(reply)
    }

    /// The server that it is from, by its own account.
    #[must_use]
    pub fn server(&self) -> Option<Ipv4Addr> {
        self.address_of(option::SERVER)
    }

    /// The value of an option, put together where it comes in pieces (RFC 3396); `None` if there is
    /// none, or one that is longer than any that is used.
    fn option<'r>(&self, code: u8, room: &'r mut [u8; OPTION_MAX]) -> Option<&'r [u8]> {
        let mut len = 0_usize;
        let mut is_there = false;
        let mut add = |field: &[u8]| {
            for (_, piece) in Options(field).filter(|(other, _)| *other == code) {
                is_there = true;
                let end = len.checked_add(piece.len())?;
                room.get_mut(len..end)?.copy_from_slice(piece);
                len = end;
            }
            Some(())
        };
        let options = self.message.get(OPTIONS..)?;
        add(options)?;
        // Two fields of BOOTP may hold more of them, in this order (RFC 3396, 5).
        let places = Options(options).find(|(code, _)| *code == option::OVERLOAD);
        let places = match places {
            Some((_, [places])) => *places,
            _ => 0,
        };
        for (bit, place) in [(1, FILE), (2, SNAME)] {
            if places & bit != 0 {
                add(self.message.get(place)?)?;
            }
        }
        is_there.then(|| room.get(..len)).flatten()
    }

    fn address_of(&self, code: u8) -> Option<Ipv4Addr> {
        let mut room = [0; OPTION_MAX];
        let value = self.option(code, &mut room)?;
        // Of several, the first: servers put the best first (RFC 2132, 3.5).
        value.first_chunk().copied().map(Ipv4Addr::from_octets)
    }

    fn number_of(&self, code: u8) -> Option<u32> {
        let mut room = [0; OPTION_MAX];
        let value = self.option(code, &mut room)?;
        value.try_into().ok().map(u32::from_be_bytes)
    }
}

/// The options of a field, up to its end: the code and the value.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (code, rest) = self.0.split_first()?;
            if *code == option::PAD {
                self.0 = rest;
                continue;
            }
            let (len, rest) = rest.split_first().filter(|_| *code != option::END)?;
            let (value, rest) = rest.split_at_checked(usize::from(*len))?;
            self.0 = rest;
            return Some((*code, value));
        }
    }
}

#[cfg(test)]
mod tests;
