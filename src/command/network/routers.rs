//! Where names are looked up as routers say (RFC 8106): values that hold for a time.

use core::net::Ipv6Addr;
use core::time::Duration;

use crate::parse::dhcp::Names;
use crate::parse::router::{List, RouterOption};
use crate::sys::clock::Moment;

/// Name servers of one device: more than resolvers ask.
const SERVERS_MAX: usize = 4;

const NEVER: Moment = Moment(u64::MAX);

/// What the routers on the link of a device have said.
#[derive(Default)]
pub(super) struct Routers {
    servers: heapless::Vec<(Ipv6Addr, Moment), SERVERS_MAX>,
    /// Domains, until then.
    domains: Option<(Names, Moment)>,
}

impl Routers {
    /// Takes over what a router says.
    pub(super) fn hear(&mut self, option: &RouterOption<'_>, now: Moment) {
        let seconds = option
            .seconds
            .map(|seconds| Duration::from_secs(seconds.into()));
        let until = seconds.map_or(NEVER, |seconds| now + seconds);
        match option.list {
            List::Servers(servers) => {
                for server in servers.iter() {
                    let known = self.servers.iter_mut().find(|(known, _)| *known == server);
                    match known {
                        Some((_, end)) => *end = until,
                        // The first ones count.
                        None => drop(self.servers.push((server, until))),
                    }
                }
            }
            List::Domains(domains) => {
                let names = domains.names();
                if !names.is_empty() {
                    self.domains = Some((names, until));
                }
            }
        }
        self.forget(now);
    }

    /// Forgets what holds no longer. Whether there was something.
    pub(super) fn forget(&mut self, now: Moment) -> bool {
        let count = self.servers.len();
        self.servers.retain(|(_, until)| *until > now);
        let domains = self.domains.take_if(|(_, until)| *until <= now);
        domains.is_some() || self.servers.len() < count
    }

    /// When the next of it holds no longer.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let servers = self.servers.iter().map(|(_, until)| *until);
        let domains = self.domains.as_ref().map(|(_, until)| *until);
        let ends = servers.chain(domains);
        ends.filter(|until| *until != NEVER).min()
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.servers.iter().map(|(server, _)| *server)
    }

    pub(super) fn domains(&self) -> Option<&Names> {
        self.domains.as_ref().map(|(names, _)| names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// A message about an option of this kind.
    fn message(kind: u8, seconds: u32, values: &[u8]) -> Vec<u8> {
        let len = 8 + values.len();
        let mut body = vec![10, 0];
        body.extend((len as u16).to_ne_bytes());
        body.extend([0, 0, 0, 0, 134, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([kind, (len / 8) as u8, 0, 0]);
        body.extend(seconds.to_be_bytes());
        body.extend(values);
        body
    }

    fn hear(routers: &mut Routers, seconds: u32, servers: &[u8], now: u64) {
        let values: Vec<u8> = servers.iter().flat_map(|one| [*one; 16]).collect();
        let body = message(25, seconds, &values);
        routers.hear(&RouterOption::parse(&body).unwrap(), Moment(now * SECOND));
    }

    fn servers(routers: &Routers) -> Vec<u8> {
        routers.servers().map(|one| one.octets()[0]).collect()
    }

    #[test]
    fn servers_are_known_for_as_long_as_routers_say() {
        let mut routers = Routers::default();
        assert_eq!(routers.deadline(), None);
        hear(&mut routers, 60, &[0x20, 0x21], 0);
        hear(&mut routers, 90, &[0x21, 0x22], 10);
        assert_eq!(servers(&routers), [0x20, 0x21, 0x22]);
        assert_eq!(routers.deadline(), Some(Moment(60 * SECOND)));
        assert!(!routers.forget(Moment(59 * SECOND)));
        assert!(routers.forget(Moment(60 * SECOND)));
        assert_eq!(servers(&routers), [0x21, 0x22]);
        // One is taken back, and one is for ever.
        hear(&mut routers, 0, &[0x21], 61);
        hear(&mut routers, u32::MAX, &[0x22], 61);
        assert_eq!(servers(&routers), [0x22]);
        assert_eq!(routers.deadline(), None);
        // There is room for some.
        hear(&mut routers, 60, &[0x23, 0x24, 0x25, 0x26], 61);
        assert_eq!(servers(&routers), [0x22, 0x23, 0x24, 0x25]);
    }

    #[test]
    fn domains_are_those_that_were_said_last() {
        let mut routers = Routers::default();
        for (seconds, name, expected) in [
            (60, b"\x01a\0\0\0\0\0\0", Some("a")),
            (60, b"\0\0\0\0\0\0\0\0", Some("a")),
            (60, b"\x01b\0\0\0\0\0\0", Some("b")),
            (0, b"\x01b\0\0\0\0\0\0", None),
        ] {
            let body = message(31, seconds, name);
            routers.hear(&RouterOption::parse(&body).unwrap(), Moment(0));
            assert_eq!(routers.domains().map(|names| names.as_str()), expected);
        }
    }
}
