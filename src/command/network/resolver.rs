//! `/run/berth-boot/resolv.conf`: where names are looked up.
//!
//! It is not in `/run/berth`, where each name is that of a container. Containers that share the
//! machine's network see this very file, so it is never exchanged for another: it is written in
//! place, at once, and what it had before beyond that is cut off.

use core::fmt::Write as _;
use core::net::IpAddr;

use rustix::fs::{CWD, Mode, OFlags, ftruncate, openat};
use rustix::io::pwrite;

use crate::container::RESOLV_CONF;
use crate::error::{During, Fault, Op};
use crate::parse::dhcp::Names;
use crate::text::Text;

/// Name servers in the file. Resolvers ask three (resolv.conf(5)).
const SERVERS_MAX: usize = 8;

/// Room for the file: all servers, and a line of domains.
type Content = Text<1024>;

/// The address of a name server, behind which there may be the name of a device.
type Server = heapless::String<56>;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resolver {
    servers: heapless::Vec<Server, SERVERS_MAX>,
    domains: Names,
}

impl Resolver {
    /// Adds a name server, unless it is there already or there is no room. An address that holds on
    /// one link alone is that of the link of `device`.
    pub(super) fn add_server(&mut self, address: IpAddr, device: &str) {
        let is_of_link = matches!(address, IpAddr::V6(six) if six.is_unicast_link_local());
        let mut server = Server::new();
        let written = match is_of_link && !device.is_empty() {
            true => write!(server, "{address}%{device}"),
            false => write!(server, "{address}"),
        };
        if written.is_ok() && !self.servers.contains(&server) {
            // The first ones count.
            let _ = self.servers.push(server);
        }
    }

    /// Adds domains, unless there are some.
    pub(super) fn add_domains(&mut self, domains: &Names) {
        if self.domains.is_empty() {
            self.domains.clone_from(domains);
        }
    }

    fn content(&self) -> Content {
        let mut content = Content::new("# Written by berth.\n");
        if !self.domains.is_empty() {
            content.push(format_args!("search {}\n", self.domains));
        }
        for server in &self.servers {
            content.push(format_args!("nameserver {server}\n"));
        }
        content
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Those of openat(2), pwrite(2) and ftruncate(2).
    pub(super) fn write(&self) -> Result<(), Fault> {
        let content = self.content();
        let bytes = content.as_str().as_bytes();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat(CWD, RESOLV_CONF, flags, Mode::from_raw_mode(0o644))
            .and_then(|file| {
                pwrite(&file, bytes, 0)?;
                ftruncate(&file, bytes.len() as u64)
            })
            .during(Op::Write, RESOLV_CONF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_stands_there_once_and_the_first_domains_count() {
        let mut resolver = Resolver::default();
        assert_eq!(resolver.content().as_str(), "# Written by berth.\n");
        for server in ["192.0.2.53", "2001:db8::53", "192.0.2.53"] {
            resolver.add_server(server.parse().unwrap(), "eth0");
        }
        resolver.add_server("fe80::1".parse().unwrap(), "eth0");
        resolver.add_server("fe80::1".parse().unwrap(), "eth1");
        for domains in ["", "a.example b.example", "c.example"] {
            resolver.add_domains(&Names::try_from(domains).unwrap());
        }
        assert_eq!(
            resolver.content().as_str(),
            "# Written by berth.\nsearch a.example b.example\n\
             nameserver 192.0.2.53\nnameserver 2001:db8::53\n\
             nameserver fe80::1%eth0\nnameserver fe80::1%eth1\n"
        );
    }

    #[test]
    fn the_longest_file_is_whole() {
        let mut resolver = Resolver::default();
        for number in 0..20_u16 {
            let mut groups = [0xfe80 | 0x3f; 8];
            groups[7] = number;
            resolver.add_server(IpAddr::from(groups), "eth0123456789ab");
        }
        let domains = "x".repeat(crate::parse::dhcp::NAMES_MAX);
        resolver.add_domains(&Names::try_from(domains.as_str()).unwrap());
        let content = resolver.content();
        assert!(
            content.as_str().ends_with("febf:7%eth0123456789ab\n"),
            "{content}"
        );
    }
}
