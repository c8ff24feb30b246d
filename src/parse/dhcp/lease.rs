//! What a machine gets from a server, as far as it can be used.

use core::net::Ipv4Addr;

use super::super::bytes::be16;
use super::super::ip_word::{HOSTNAME_MAX, class_prefix, is_hostname, is_machines, ones};
use super::domain::{self, Names};
use super::{Kind, OPTION_MAX, Reply, option};

/// The most routes that are taken.
pub const ROUTES_MAX: usize = 24;

/// The most name servers that are taken. Resolvers ask three (resolv.conf(5)).
pub const SERVERS_MAX: usize = 6;

/// The shortest lease in seconds, as busybox's client has it: a shorter one would keep both sides
/// busy with nothing else.
const SECONDS_MIN: u32 = 16;

/// The lease of a server that says nothing about it, as busybox's client has it.
const SECONDS_UNSAID: u32 = 3600;

/// For ever (RFC 2131, 3.3).
const FOR_EVER: u32 = u32::MAX;

/// The smallest MTU that is taken: what every host has to take in (RFC 791). A smaller one would be
/// a way to take the machine off the network.
const MTU_MIN: u16 = 576;

/// A way to other networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads, with zeros behind the prefix.
    pub to: Ipv4Addr,
    /// Bits of the prefix.
    pub prefix: u8,
    /// By way of which router; `None` where the network is on this link.
    pub gateway: Option<Ipv4Addr>,
}

/// An address for a time, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// How many of its bits are the link's.
    pub prefix: u8,
    /// The server that has given it.
    pub server: Option<Ipv4Addr>,
    /// For how long, in seconds; `None` for ever.
    pub seconds: Option<u32>,
    /// After how many seconds the server is asked to extend it, and after how many any server.
    /// The first is less than the second, and that less than the whole.
    pub renew_rebind: (u32, u32),
    /// Where to send what is not for this link.
    pub routes: heapless::Vec<Route, ROUTES_MAX>,
    /// There were more, or some that cannot be used.
    pub lacks_routes: bool,
    /// Name servers.
    pub dns: heapless::Vec<Ipv4Addr, SERVERS_MAX>,
    /// Domains to look names up in.
    pub domains: Names,
    /// The machine's name.
    pub hostname: Option<heapless::String<HOSTNAME_MAX>>,
    /// The largest packet.
    pub mtu: Option<u16>,
}

impl Reply<'_> {
    /// What the answer gives; `None` if it gives no address that a machine can have.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        let address = self.address;
        let prefix = self.address_of(option::MASK).and_then(ones);
        let prefix = prefix.unwrap_or(class_prefix(address));
        // Neither that of the network nor that of all on it, where there are such.
        let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        let host = address.to_bits() & hosts;
        let is_one = prefix >= 31 || (host != 0 && host != hosts);
        if !is_machines(address) || prefix == 0 || !is_one {
            return None;
        }
        let seconds = match (self.number_of(option::LEASE), self.kind) {
            (Some(FOR_EVER), _) | (None, None) => None,
            (seconds, _) => Some(seconds.unwrap_or(SECONDS_UNSAID).max(SECONDS_MIN)),
        };
        let (routes, lacks_routes) = self.routes(address);
        let mut room = [0; OPTION_MAX];
        let mtu = self.option(option::MTU, &mut room);
        let mtu = mtu
            .filter(|value| value.len() == 2)
            .and_then(|value| be16(value, 0..2));
        Some(Lease {
            address,
            prefix,
            server: self.server(),
            seconds,
            renew_rebind: self.times(seconds.unwrap_or(FOR_EVER)),
            routes,
            lacks_routes,
            dns: self.name_servers(),
            domains: self.domains(),
            hostname: self.hostname(),
            mtu: mtu.filter(|mtu| *mtu >= MTU_MIN),
        })
    }

    /// When to ask for an extension (RFC 2131, 4.4.5).
    fn times(&self, seconds: u32) -> (u32, u32) {
        let usual = (seconds / 2, seconds.saturating_sub(seconds / 8));
        let said = (
            self.number_of(option::RENEW),
            self.number_of(option::REBIND),
        );
        match said {
            (Some(renew), Some(rebind)) if 0 < renew && renew < rebind && rebind < seconds => {
                (renew, rebind)
            }
            (Some(renew), None) if 0 < renew && renew < usual.1 => (renew, usual.1),
            _ => usual,
        }
    }

    /// Where there are routes, routers are not looked at (RFC 3442). Whether some are left out.
    fn routes(&self, own: Ipv4Addr) -> (heapless::Vec<Route, ROUTES_MAX>, bool) {
        let mut routes = heapless::Vec::new();
        let mut lacks_some = false;
        let mut room = [0; OPTION_MAX];
        let mut rest = self.option(option::ROUTES, &mut room).unwrap_or_default();
        while !rest.is_empty() {
            let Some((to, prefix, gateway, next)) = route(rest) else {
                // What follows cannot be told apart.
                lacks_some = true;
                break;
            };
            rest = next;
            let is_link = gateway.is_unspecified();
            let is_usable = is_link || (is_machines(gateway) && gateway != own);
            let leads_out = to.is_unspecified() || is_machines(to);
            let route = Route {
                to,
                prefix,
                gateway: (!is_link).then_some(gateway),
            };
            lacks_some |= !is_usable || !leads_out || routes.push(route).is_err();
        }
        if routes.is_empty()
            && let Some(gateway) = self.address_of(option::ROUTERS)
        {
            match is_machines(gateway) && gateway != own {
                true => drop(routes.push(Route {
                    to: Ipv4Addr::UNSPECIFIED,
                    prefix: 0,
                    gateway: Some(gateway),
                })),
                false => lacks_some = true,
            }
        }
        (routes, lacks_some)
    }

    fn name_servers(&self) -> heapless::Vec<Ipv4Addr, SERVERS_MAX> {
        let mut room = [0; OPTION_MAX];
        let value = self.option(option::NAME_SERVERS, &mut room);
        let (addresses, _) = value.unwrap_or_default().as_chunks::<4>();
        let addresses = addresses.iter().copied().map(Ipv4Addr::from_octets);
        addresses
            .filter(|server| is_machines(*server))
            .take(SERVERS_MAX)
            .collect()
    }

    fn domains(&self) -> Names {
        let mut room = [0; OPTION_MAX];
        let search = self.option(option::SEARCH, &mut room);
        let names = search.map(domain::of_wire).unwrap_or_default();
        if !names.is_empty() {
            return names;
        }
        let domain = self.option(option::DOMAIN, &mut room);
        domain.map(domain::of_text).unwrap_or_default()
    }

    /// A name that is too long is cut at its first dot.
    fn hostname(&self) -> Option<heapless::String<HOSTNAME_MAX>> {
        let mut room = [0; OPTION_MAX];
        let value = self.option(option::HOSTNAME, &mut room)?;
        let text = value.split(|byte| *byte == 0).next()?;
        let text = core::str::from_utf8(text).ok()?;
        let name = match is_hostname(text) {
            true => text,
            false => text.split('.').next().filter(|name| is_hostname(name))?,
        };
        // A machine that is called so finds itself where it looks for others.
        let is_local = name.eq_ignore_ascii_case("localhost");
        (!is_local)
            .then(|| heapless::String::try_from(name).ok())
            .flatten()
    }
}

/// The first route of option 121: where to, by which router, and what follows.
fn route(value: &[u8]) -> Option<(Ipv4Addr, u8, Ipv4Addr, &[u8])> {
    let (prefix, rest) = value.split_first()?;
    if *prefix > 32 {
        return None;
    }
    let (significant, rest) = rest.split_at_checked(usize::from(prefix.div_ceil(8)))?;
    let mut octets = [0; 4];
    octets
        .get_mut(..significant.len())?
        .copy_from_slice(significant);
    let bits = u32::from_be_bytes(octets);
    let mask = u32::MAX
        .checked_shl(32_u32.saturating_sub((*prefix).into()))
        .unwrap_or(0);
    let (gateway, rest) = rest.split_first_chunk()?;
    let to = Ipv4Addr::from_bits(bits & mask);
    Some((to, *prefix, Ipv4Addr::from_octets(*gateway), rest))
}

impl Lease {
    /// Whether the server may be the one that has given it.
    #[must_use]
    pub fn is_from(&self, server: Option<Ipv4Addr>) -> bool {
        self.server.is_none() || self.server == server
    }

    /// Whether an answer of this kind extends a lease, or makes one: it does for BOOTP, which has
    /// no kinds.
    #[must_use]
    pub const fn is_given_by(kind: Option<Kind>) -> bool {
        matches!(kind, None | Some(Kind::Ack))
    }
}
