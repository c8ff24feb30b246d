//! The messages of a client of DHCP: when its sockets are open, what is said by them, and what an
//! answer means to it.
//!
//! The kernel hands a machine without an address no packets that are sent to the one that it is
//! offered, so all answers come by a packet socket. What is sent before there is an address goes
//! the same way; what is sent later goes by UDP, by which the kernel finds the server. Both sockets
//! are open while an answer is waited for, and only then: in between, no packet wakes this process.

use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

use rustix::io::Errno;

use super::client::{Client, Input, Say, State, Terms};
use crate::error::{During, Fault, Op};
use crate::parse::arp;
use crate::parse::dhcp::{
    CLIENT_PORT, HARDWARE_LEN, Kind, Lease, MESSAGE_MAX, Reply, Request, SERVER_PORT, wrap,
};
use crate::sys::clock::{self, Moment};
use crate::sys::packet::{Datagrams, Packets, Protocol};
use crate::sys::random;

/// Bytes of the longest packet that is received.
pub(super) const PACKET_MAX: usize = 1500;

/// A client, its sockets, and what it was given.
pub(super) struct Exchange<'w> {
    pub(super) client: Client,
    pub(super) packets: Option<Packets>,
    /// By which another machine says that it has the address (ARP).
    pub(super) claims: Option<Packets>,
    datagrams: Option<Datagrams>,
    /// What the messages of this exchange are known by, and when it began.
    xid: u32,
    began: Moment,
    /// When something was last said: terms count from then.
    said: Moment,
    pub(super) offer: Option<Lease>,
    pub(super) lease: Option<Lease>,
    /// The address to ask for.
    pub(super) wish: Option<Ipv4Addr>,
    pub(super) bootp: bool,
    pub(super) client_id: Option<(u8, &'w str)>,
}

/// The link that is talked by.
#[derive(Clone, Copy)]
pub(super) struct LinkName<'n> {
    pub(super) index: u32,
    pub(super) name: &'n str,
    pub(super) hardware: [u8; HARDWARE_LEN],
}

impl<'w> Exchange<'w> {
    pub(super) fn new(
        wish: Option<Ipv4Addr>,
        bootp: bool,
        client_id: Option<(u8, &'w str)>,
    ) -> Self {
        Self {
            client: Client::NEW,
            packets: None,
            claims: None,
            datagrams: None,
            xid: 0,
            began: Moment(0),
            said: Moment(0),
            offer: None,
            lease: None,
            wish,
            bootp,
            client_id,
        }
    }

    /// Opens the sockets that the client's state takes, and closes the others. Whether those of
    /// packets and of claims were opened, which are to be watched.
    ///
    /// # Errors
    /// Those of socket(2), setsockopt(2) and bind(2).
    pub(super) fn set_sockets(&mut self, link: LinkName<'_>) -> Result<[bool; 2], Fault> {
        let checks = matches!(self.client.state, State::Checking(_));
        let extends = matches!(self.client.state, State::Renewing | State::Rebinding);
        // An address is declined by the same socket.
        let listens = extends
            || checks
            || matches!(
                self.client.state,
                State::Selecting | State::Requesting(_) | State::Rebooting(_)
            );
        if !extends {
            self.datagrams = None;
        }
        if !listens {
            self.packets = None;
        }
        if !checks {
            self.claims = None;
        }
        let is_first = checks && self.claims.is_none();
        if is_first {
            let claims = Packets::open(link.index, Protocol::Arp);
            self.claims = Some(claims.during(Op::Socket, link.name)?);
        }
        let is_new = listens && self.packets.is_none();
        if extends && self.datagrams.is_none() {
            let socket = Datagrams::open(link.name, CLIENT_PORT);
            self.datagrams = Some(socket.during(Op::Socket, link.name)?);
        }
        if is_new {
            let packets = Packets::open(link.index, Protocol::Ipv4);
            self.packets = Some(packets.during(Op::Socket, link.name)?);
        }
        Ok([is_new, is_first])
    }

    /// Says something to servers.
    ///
    /// # Errors
    /// Those of sendto(2). It is said again when the time has come.
    pub(super) fn say(
        &mut self,
        say: Say,
        link: LinkName<'_>,
        hostname: Option<&str>,
    ) -> Result<(), Errno> {
        if say == Say::Probe {
            let offer = self.offer.as_ref().ok_or(Errno::NOTCONN)?;
            let claims = self.claims.as_ref().ok_or(Errno::NOTCONN)?;
            return claims.send_to_all(&arp::probe(link.hardware, offer.address));
        }
        let now = clock::now();
        // What is said again in one exchange is known by the same number: the answer to what was
        // said before may be late.
        let is_first = match say {
            Say::Discover => self.client.tries <= 1,
            Say::Select | Say::Rebind | Say::Decline | Say::Probe => false,
            Say::Confirm => self.client.state == State::Rebooting(1),
            Say::Renew => true,
        };
        // After an offer that came to nothing, others are asked for.
        let is_other = say == Say::Discover && self.offer.take().is_some();
        if is_first || is_other || say == Say::Rebind {
            self.xid = random::number();
        }
        if is_first {
            self.began = now;
        }
        self.said = now;
        let is_about_offer = matches!(say, Say::Select | Say::Decline);
        let offer = self.offer.as_ref().filter(|_| is_about_offer);
        let held = self.lease.as_ref();
        let (own, wish, server) = match say {
            Say::Discover => (None, self.wish, None),
            Say::Select | Say::Decline | Say::Probe => (
                None,
                offer.map(|offer| offer.address),
                offer.and_then(|offer| offer.server),
            ),
            Say::Confirm => (None, held.map(|lease| lease.address), None),
            Say::Renew | Say::Rebind => (held.map(|lease| lease.address), None, None),
        };
        let seconds = (now - self.began) / Duration::from_secs(1).as_micros() as u64;
        let request = Request {
            kind: match say {
                Say::Discover => Kind::Discover,
                Say::Decline => Kind::Decline,
                _ => Kind::Request,
            },
            xid: self.xid,
            seconds: u16::try_from(seconds).unwrap_or(u16::MAX),
            hardware: link.hardware,
            own,
            wish,
            server,
            client_id: self.client_id,
            hostname,
        };
        let mut room = [0; MESSAGE_MAX];
        let message = request.encode(&mut room).ok_or(Errno::MSGSIZE)?;
        if let Some(datagrams) = &self.datagrams {
            let server = held.and_then(|lease| lease.server);
            let server = server.filter(|_| say == Say::Renew);
            let to = server.unwrap_or(Ipv4Addr::BROADCAST);
            return datagrams.send(message, SocketAddrV4::new(to, SERVER_PORT));
        }
        let mut packet = [0; PACKET_MAX];
        let packet = wrap(message, &mut packet).ok_or(Errno::MSGSIZE)?;
        match &self.packets {
            Some(packets) => packets.send_to_all(packet),
            None => Err(Errno::NOTCONN),
        }
    }

    /// What an answer means to the client, and what it gives; `None` if it is not for it.
    pub(super) fn meaning(
        &self,
        reply: &Reply<'_>,
        hardware: [u8; HARDWARE_LEN],
    ) -> Option<(Input, Option<Lease>)> {
        if reply.xid != self.xid || reply.hardware != hardware {
            return None;
        }
        let server = reply.server();
        let offered = self.offer.as_ref();
        let held = self.lease.as_ref();
        // Whom the client has asked, and about which address.
        let (asked, address) = match self.client.state {
            State::Selecting => {
                let lease = reply.lease()?;
                return match reply.kind {
                    // To take it, the server has to be named.
                    Some(Kind::Offer) if server.is_some() => Some((Input::Offer, Some(lease))),
                    None if self.bootp => Some((self.ack(&lease), Some(lease))),
                    _ => None,
                };
            }
            State::Requesting(_) => (offered?.server, offered?.address),
            State::Renewing => (held?.server, held?.address),
            State::Rebooting(_) | State::Rebinding => (None, held?.address),
            State::Down | State::Checking(_) | State::Bound | State::Resting => return None,
        };
        if asked.is_some() && server != asked {
            return None;
        }
        match reply.kind {
            Some(Kind::Nak) => Some((Input::Nak, None)),
            Some(Kind::Ack) if reply.address == address => {
                let lease = reply.lease()?;
                Some((self.ack(&lease), Some(lease)))
            }
            _ => None,
        }
    }

    /// Whether a packet of ARP says that another machine has the address that was given.
    pub(super) fn is_taken(&self, packet: &[u8], hardware: [u8; HARDWARE_LEN]) -> bool {
        let offer = self.offer.as_ref();
        offer.is_some_and(|offer| arp::is_taken(packet, hardware, offer.address))
    }

    fn ack(&self, lease: &Lease) -> Input {
        let Some(seconds) = lease.seconds else {
            return Input::Ack(Terms::FOR_EVER);
        };
        let after = |seconds: u32| self.said + Duration::from_secs(seconds.into());
        let (renew, rebind) = lease.renew_rebind;
        Input::Ack(Terms {
            renew: after(renew),
            rebind: after(rebind),
            end: after(seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// An answer of this kind, by the server of this last number.
    fn answer(kind: u8, xid: u32, server: u8, address: u8) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[..4].copy_from_slice(&[2, 1, 6, 0]);
        message[4..8].copy_from_slice(&xid.to_be_bytes());
        message[16..20].copy_from_slice(&[192, 0, 2, address]);
        message[28..34].copy_from_slice(&OWN);
        message[236..].copy_from_slice(&[99, 130, 83, 99]);
        message.extend([54, 4, 192, 0, 2, server]);
        if kind != 0 {
            message.extend([53, 1, kind]);
        }
        message.push(255);
        message
    }

    fn lease() -> Lease {
        let message = answer(5, 0, 1, 7);
        Reply::parse(&message).unwrap().lease().unwrap()
    }

    fn meaning(exchange: &Exchange<'_>, message: &[u8]) -> Option<Input> {
        let reply = Reply::parse(message).unwrap();
        exchange.meaning(&reply, OWN).map(|(input, _)| input)
    }

    #[test]
    fn only_the_servers_answer_that_is_waited_for_counts() {
        use State::{
            Bound, Checking, Down, Rebinding, Rebooting, Renewing, Requesting, Resting, Selecting,
        };
        const OFFER: u8 = 2;
        const ACK: u8 = 5;
        const NAK: u8 = 6;
        let mut exchange = Exchange::new(None, false, None);
        exchange.xid = 77;
        exchange.offer = Some(lease());
        exchange.lease = Some(lease());
        // State, kind, server, address; whether it is an offer, given, or refused.
        let table: &[(State, u8, u8, u8, &str)] = &[
            (Selecting, OFFER, 1, 9, "offer"),
            (Selecting, ACK, 1, 9, ""),
            (Selecting, NAK, 1, 9, ""),
            (Selecting, 0, 1, 9, ""),
            (Requesting(1), ACK, 1, 7, "ack"),
            (Requesting(1), ACK, 2, 7, ""),
            (Requesting(1), ACK, 1, 8, ""),
            (Requesting(1), NAK, 1, 0, "nak"),
            (Requesting(1), NAK, 2, 0, ""),
            (Requesting(1), OFFER, 1, 7, ""),
            (Rebooting(1), ACK, 2, 7, "ack"),
            (Rebooting(1), ACK, 2, 8, ""),
            (Rebooting(1), NAK, 2, 0, "nak"),
            (Renewing, ACK, 1, 7, "ack"),
            (Renewing, ACK, 2, 7, ""),
            (Renewing, NAK, 1, 0, "nak"),
            (Renewing, NAK, 2, 0, ""),
            (Rebinding, ACK, 2, 7, "ack"),
            (Rebinding, NAK, 2, 0, "nak"),
            (Bound, ACK, 1, 7, ""),
            (Bound, NAK, 1, 0, ""),
            (Resting, ACK, 1, 7, ""),
            (Checking(1), ACK, 1, 7, ""),
            (Checking(1), NAK, 1, 7, ""),
            (Down, ACK, 1, 7, ""),
        ];
        for (state, kind, server, address, expected) in table {
            exchange.client.state = *state;
            let found = match meaning(&exchange, &answer(*kind, 77, *server, *address)) {
                None => "",
                Some(Input::Offer) => "offer",
                Some(Input::Ack(_)) => "ack",
                Some(Input::Nak) => "nak",
                Some(_) => "?",
            };
            assert_eq!(found, *expected, "{state:?} {kind} {server} {address}");
            assert_eq!(
                meaning(&exchange, &answer(*kind, 78, *server, *address)),
                None
            );
        }
        exchange.client.state = Selecting;
        let mut other = answer(OFFER, 77, 1, 9);
        other[33] = 2;
        assert_eq!(meaning(&exchange, &other), None);
        exchange.bootp = true;
        let ack = Some(Input::Ack(Terms::FOR_EVER));
        assert_eq!(meaning(&exchange, &answer(0, 77, 1, 9)), ack);
    }

    #[test]
    fn terms_count_from_when_the_server_was_asked() {
        let mut exchange = Exchange::new(None, false, None);
        exchange.said = Moment(5_000_000);
        let after = |seconds: u64| Moment(5_000_000 + seconds * 1_000_000);
        let terms = Terms {
            renew: after(1800),
            rebind: after(3150),
            end: after(3600),
        };
        assert_eq!(exchange.ack(&lease()), Input::Ack(terms));
    }
}
