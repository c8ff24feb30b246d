//! `ip=` and `nameserver=`: what the operator says about the network.
//!
//! The grammar is the kernel's (Documentation/admin-guide/nfs/nfsroot.rst):
//!
//! ```text
//! ip=<client-ip>:<server-ip>:<gw-ip>:<netmask>:<hostname>:<device>:<autoconf>:<dns0-ip>:<dns1-ip>:<ntp0-ip>
//! ip=<autoconf>
//! ```
//!
//! with what dracut's users write besides (dracut.cmdline(7)): IPv6 addresses in brackets, a prefix
//! length in the place of the netmask, an MTU in the place of the first name server, and
//! `ip=<device>:<autoconf>[:<mtu>]`.
//!
//! As in the kernel, a field may be empty or missing, an address makes the device a static one
//! unless `dhcp` is asked for by name, and without an address the device is asked about by DHCP.
//! The server is that of a root on NFS, and the third address that of a time server; both are read
//! and not used.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::number::number;
use crate::text::Escaped;

/// Fields of the kernel's form.
const FIELDS_MAX: usize = 10;

/// The longest name of a device (`IFNAMSIZ` without its NUL).
const DEVICE_MAX: usize = 15;

/// The longest name of a machine (`__NEW_UTS_LEN`).
pub const HOSTNAME_MAX: usize = 64;

/// The longest identifier for a DHCP server: the rest of an option of 255 bytes behind its type.
const CLIENT_ID_MAX: usize = 254;

/// The prefix length of an IPv6 address for which none is given: that of every link on which
/// addresses are configured automatically (RFC 4291, 2.5.1).
const PREFIX6: u8 = 64;

/// The smallest MTU: that of IPv4 (RFC 791).
const MTU_MIN: u32 = 68;

/// The value of an `ip=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpWord<'a> {
    /// The device that it is about; `None` for any.
    pub device: Option<&'a str>,
    /// Where its addresses come from.
    pub method: Method<'a>,
    /// The address, and how many of its bits are the link's: a static one, or one that a DHCP
    /// server is asked for.
    pub address: Option<(IpAddr, u8)>,
    /// The router to everywhere else.
    pub gateway: Option<IpAddr>,
    /// The machine's name, and the NIS domain behind its first dot.
    pub hostname: Option<(&'a str, &'a str)>,
    /// Name servers.
    pub dns: [Option<IpAddr>; 2],
    /// The largest packet.
    pub mtu: Option<u32>,
}

/// Where the addresses of a device come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method<'a> {
    /// `ip=off`, `ip=none` and `ip=`: there is nothing to do.
    Nothing,
    /// From the word itself. The device is brought up without an address, too: routers give it one
    /// of IPv6.
    Static,
    /// From a DHCP server.
    Dhcp {
        /// A server that speaks only BOOTP may answer, too.
        bootp: bool,
        /// What the client calls itself: a type, and what follows it.
        client_id: Option<(u8, &'a str)>,
    },
    /// From routers, and there is no network before one has given an address.
    Router,
}

/// Why a word cannot be honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpError<'a> {
    /// It is no address that a machine can have or reach.
    Address(&'a str),
    /// It is neither a netmask nor a prefix length.
    Netmask(&'a str),
    /// It cannot be a machine's name.
    Hostname(&'a str),
    /// It cannot be a device's name.
    Device(&'a str),
    /// It is no way to get an address.
    Method(&'a str),
    /// It is a way to get an address that berth does not know.
    Unsupported(&'a str),
    /// It is no MTU.
    Mtu(&'a str),
    /// Addresses of IPv4 and IPv6 are mixed.
    Mixed,
    /// A gateway without an address.
    Gateway,
    /// There are more fields than the grammar has.
    TooMany,
}

impl fmt::Display for IpError<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, what) = match *self {
            Self::Address(text) => (text, "is no address of a machine"),
            Self::Netmask(text) => (text, "is neither a netmask nor a prefix length"),
            Self::Hostname(text) => (text, "cannot be a machine's name"),
            Self::Device(text) => (text, "cannot be a device's name"),
            Self::Method(text) => (
                text,
                "is none of dhcp, bootp, both, on, any, off, none, auto6",
            ),
            Self::Unsupported(text) => (text, "is not supported"),
            Self::Mtu(text) => (text, "is no MTU"),
            Self::Mixed => return formatter.write_str("it mixes IPv4 and IPv6"),
            Self::Gateway => return formatter.write_str("it has a gateway and no address"),
            Self::TooMany => return formatter.write_str("it has too many fields"),
        };
        write!(formatter, "\"{}\" {what}", Escaped(text))
    }
}

impl<'a> IpWord<'a> {
    /// Reads the value of an `ip=`.
    ///
    /// # Errors
    /// The first field that cannot be honoured.
    pub fn parse(value: &'a str) -> Result<Self, IpError<'a>> {
        let mut fields = [""; FIELDS_MAX];
        let mut count = 0_usize;
        for field in Fields(Some(value)) {
            *fields.get_mut(count).ok_or(IpError::TooMany)? = field;
            count = count.saturating_add(1);
        }
        let [first, second, third, ..] = fields;
        let named = |method| Self {
            method,
            ..Self::EMPTY
        };
        if count == 1 && matches!(first, "" | "off" | "none") {
            return Ok(named(Method::Nothing));
        }
        if count == 1 && !is_address(first) {
            return Method::parse(first).map(named);
        }
        if count > 1
            && !first.is_empty()
            && !is_address(first)
            && !matches!(Method::parse(second), Err(IpError::Method(_)))
        {
            if count > 3 {
                return Err(IpError::Unsupported("a hardware address"));
            }
            return Ok(Self {
                device: Some(device(first)?),
                mtu: some(third).map(mtu).transpose()?,
                ..named(Method::parse(second)?)
            });
        }
        Self::parse_fields(fields)
    }

    /// Nothing is said.
    const EMPTY: Self = Self {
        device: None,
        method: Method::Nothing,
        address: None,
        gateway: None,
        hostname: None,
        dns: [None; 2],
        mtu: None,
    };

    fn parse_fields(fields: [&'a str; FIELDS_MAX]) -> Result<Self, IpError<'a>> {
        let [
            client,
            server,
            gateway,
            mask,
            host,
            name,
            autoconf,
            dns0,
            dns1,
            ntp,
        ] = fields;
        let address = given(client)?;
        let gateway = given(gateway)?;
        for unused in [server, ntp] {
            given(unused)?;
        }
        let is_mixed = |other: IpAddr| address.is_some_and(|own| own.is_ipv4() != other.is_ipv4());
        if gateway.is_some_and(is_mixed) {
            return Err(IpError::Mixed);
        }
        // In dracut's form, the MTU stands here, and then a hardware address.
        let mtu = match dns0.bytes().all(|byte| byte.is_ascii_digit()) {
            true => some(dns0).map(mtu).transpose()?,
            false => None,
        };
        let first = if mtu.is_some() { "" } else { dns0 };
        let method = match (some(autoconf), address) {
            (None, Some(_)) => Method::Static,
            (None, None) => Method::ANY,
            (Some(name), address) => match (Method::parse(name)?, address) {
                // To be asked for anything that helps, where nothing is needed.
                (Method::Dhcp { .. }, Some(_)) if matches!(name, "on" | "any") => Method::Static,
                (method, _) => method,
            },
        };
        let takes_ipv4 = matches!(method, Method::Dhcp { .. });
        if takes_ipv4 && [address, gateway].iter().flatten().any(IpAddr::is_ipv6) {
            return Err(IpError::Mixed);
        }
        if gateway.is_some() && address.is_none() && !takes_ipv4 {
            return Err(IpError::Gateway);
        }
        let prefix = some(mask);
        let prefix = match (address, prefix) {
            (Some(address), Some(mask)) => Some((address, prefix_of(mask, address)?)),
            (Some(address), None) => Some((address, usual_prefix(address))),
            (None, Some(mask)) => {
                prefix_of(mask, IpAddr::V4(Ipv4Addr::UNSPECIFIED))?;
                None
            }
            (None, None) => None,
        };
        Ok(Self {
            device: some(name).map(device).transpose()?,
            method,
            address: prefix,
            gateway,
            hostname: some(host).map(hostname).transpose()?,
            dns: [given(first)?, given(dns1)?],
            mtu,
        })
    }
}

impl<'a> Method<'a> {
    /// `on`, `any`: whatever gives an address.
    const ANY: Self = Self::Dhcp {
        bootp: true,
        client_id: None,
    };

    fn parse(name: &'a str) -> Result<Self, IpError<'a>> {
        Ok(match name {
            "off" | "none" | "link6" | "link-local" => Self::Static,
            "on" | "any" | "bootp" | "both" => Self::ANY,
            "auto6" | "either6" => Self::Router,
            "dhcp" => Self::Dhcp {
                bootp: false,
                client_id: None,
            },
            "rarp" | "dhcp6" | "ibft" | "single-dhcp" => return Err(IpError::Unsupported(name)),
            _ => {
                let (kind, id) = name
                    .strip_prefix("dhcp,")
                    .and_then(|rest| rest.split_once(','))
                    .ok_or(IpError::Method(name))?;
                let kind = number(kind).ok_or(IpError::Method(name))?;
                if id.is_empty() || id.len() > CLIENT_ID_MAX {
                    return Err(IpError::Method(name));
                }
                Self::Dhcp {
                    bootp: false,
                    client_id: Some((kind, id)),
                }
            }
        })
    }
}

/// The value of a `nameserver=`, in brackets or not.
///
/// # Errors
/// The text, if it is no address.
pub fn nameserver(value: &str) -> Result<IpAddr, IpError<'_>> {
    machine(value).or_else(|error| {
        let six = Ipv6Addr::from_str(value).map_err(|_| error)?;
        usable(IpAddr::V6(six)).ok_or(error)
    })
}

/// Whether it can be the address of one machine, and not of this one alone.
#[must_use]
pub fn is_machines(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    (1..224).contains(&first) && first != 127
}

/// The mask's ones, if they are all in front.
#[must_use]
pub fn ones(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    // At most 32.
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then_some(ones as u8)
}

/// The prefix length that an address of this class has (RFC 791, 3.2).
#[must_use]
pub fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets() {
        [..128, _, _, _] => 8,
        [..192, _, _, _] => 16,
        _ => 24,
    }
}

/// Whether it can be the name of a device (`dev_valid_name()`, net/core/dev.c).
fn device(name: &str) -> Result<&str, IpError<'_>> {
    let is_allowed = |byte: u8| !matches!(byte, b'/' | b':') && byte.is_ascii_graphic();
    let is_name = name.len() <= DEVICE_MAX && !matches!(name, "" | "." | "..");
    match is_name && name.bytes().all(is_allowed) {
        true => Ok(name),
        false => Err(IpError::Device(name)),
    }
}

/// The name, and what is behind its first dot.
fn hostname(text: &str) -> Result<(&str, &str), IpError<'_>> {
    let (name, domain) = text.split_once('.').unwrap_or((text, ""));
    let is_name = is_hostname(name) && (domain.is_empty() || is_hostname(domain));
    is_name
        .then_some((name, domain))
        .ok_or(IpError::Hostname(text))
}

/// Whether it can be the name of a machine: letters, digits and hyphens between dots (RFC 1123,
/// 2.1); and underscores, which are in use.
#[must_use]
pub fn is_hostname(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        let ends = [label.bytes().next(), label.bytes().next_back()];
        !label.is_empty()
            && ends.iter().all(|end| *end != Some(b'-'))
            && label.bytes().all(is_allowed)
    };
    name.len() <= HOSTNAME_MAX && name.split('.').all(is_label)
}

fn mtu(text: &str) -> Result<u32, IpError<'_>> {
    number(text)
        .filter(|mtu| *mtu >= MTU_MIN)
        .ok_or(IpError::Mtu(text))
}

fn prefix_of(mask: &str, address: IpAddr) -> Result<u8, IpError<'_>> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    let dotted = || {
        ones(
            Ipv4Addr::from_str(mask)
                .ok()
                .filter(|_| address.is_ipv4())?,
        )
    };
    let prefix = number::<u8>(mask).or_else(dotted);
    prefix
        .filter(|prefix| (1..=most).contains(prefix))
        .ok_or(IpError::Netmask(mask))
}

fn usual_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) => class_prefix(address),
        IpAddr::V6(_) => PREFIX6,
    }
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn is_address(text: &str) -> bool {
    address(text).is_some()
}

/// An address of IPv4, or one of IPv6 in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    match inner {
        Some(inner) => Ipv6Addr::from_str(inner).ok().map(IpAddr::V6),
        None => Ipv4Addr::from_str(text).ok().map(IpAddr::V4),
    }
}

/// The address of a field. As in the kernel, 0.0.0.0 is none.
fn given(text: &str) -> Result<Option<IpAddr>, IpError<'_>> {
    match text {
        "" | "0.0.0.0" => Ok(None),
        text => machine(text).map(Some),
    }
}

/// One that a machine can have.
fn machine(text: &str) -> Result<IpAddr, IpError<'_>> {
    address(text).and_then(usable).ok_or(IpError::Address(text))
}

fn usable(address: IpAddr) -> Option<IpAddr> {
    let is_usable = match address {
        IpAddr::V4(four) => is_machines(four),
        IpAddr::V6(six) => !(six.is_unspecified() || six.is_loopback() || six.is_multicast()),
    };
    is_usable.then_some(address)
}

/// The fields of a value, between colons that are outside of brackets.
struct Fields<'a>(Option<&'a str>);

impl<'a> Iterator for Fields<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0?;
        let mut is_inside = false;
        let end = text.bytes().position(|byte| {
            is_inside = match byte {
                b'[' => true,
                b']' => false,
                _ => is_inside,
            };
            byte == b':' && !is_inside
        });
        let Some((field, rest)) = end.and_then(|end| text.split_at_checked(end)) else {
            self.0 = None;
            return Some(text);
        };
        self.0 = rest.get(1..);
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DHCP: Method<'_> = Method::Dhcp {
        bootp: false,
        client_id: None,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn word(method: Method<'_>) -> IpWord<'_> {
        IpWord {
            method,
            ..IpWord::EMPTY
        }
    }

    /// The forms and the defaults of nfsroot.rst, and those of dracut.cmdline(7).
    #[test]
    fn words_mean_what_the_kernel_and_dracut_say() {
        let web = IpWord {
            device: Some("eth0"),
            address: Some((ip("192.0.2.7"), 24)),
            gateway: Some(ip("192.0.2.1")),
            hostname: Some(("web", "")),
            ..word(Method::Static)
        };
        let six = IpWord {
            device: Some("eth0"),
            address: Some((ip("2001:db8::7"), 56)),
            gateway: Some(ip("fe80::1")),
            ..word(Method::Static)
        };
        let eth0 = |method| IpWord {
            device: Some("eth0"),
            ..word(method)
        };
        let alone = |address, prefix| IpWord {
            address: Some((ip(address), prefix)),
            ..word(Method::Static)
        };
        let table: &[(&str, IpWord<'_>)] = &[
            ("", word(Method::Nothing)),
            ("off", word(Method::Nothing)),
            ("none", word(Method::Nothing)),
            ("dhcp", word(DHCP)),
            ("on", word(Method::ANY)),
            ("any", word(Method::ANY)),
            ("both", word(Method::ANY)),
            ("bootp", word(Method::ANY)),
            ("auto6", word(Method::Router)),
            ("link6", word(Method::Static)),
            ("0.0.0.0", word(Method::ANY)),
            (
                "dhcp,1,abc",
                word(Method::Dhcp {
                    bootp: false,
                    client_id: Some((1, "abc")),
                }),
            ),
            ("10.0.0.2", alone("10.0.0.2", 8)),
            ("172.16.0.2", alone("172.16.0.2", 16)),
            ("192.168.0.2", alone("192.168.0.2", 24)),
            ("10.0.0.2:::255.255.255.128", alone("10.0.0.2", 25)),
            ("[2001:db8::2]", alone("2001:db8::2", 64)),
            ("192.0.2.7::192.0.2.1:255.255.255.0:web:eth0:off", web),
            ("192.0.2.7::192.0.2.1:24:web:eth0:none", web),
            ("192.0.2.7:192.0.2.9:192.0.2.1::web:eth0", web),
            ("192.0.2.7::192.0.2.1:24:web:eth0:any", web),
            (
                "192.0.2.7::192.0.2.1:24:web:eth0:none:1400",
                IpWord {
                    mtu: Some(1400),
                    ..web
                },
            ),
            (
                "192.0.2.7::192.0.2.1:24:web.example.org:eth0:none:192.0.2.53:[2001:db8::53]:192.0.2.4",
                IpWord {
                    hostname: Some(("web", "example.org")),
                    dns: [Some(ip("192.0.2.53")), Some(ip("2001:db8::53"))],
                    ..web
                },
            ),
            (
                "192.0.2.7:::24:web:eth0:dhcp",
                IpWord {
                    gateway: None,
                    method: DHCP,
                    ..web
                },
            ),
            ("[2001:db8::7]::[fe80::1]:56::eth0:none", six),
            (":::::eth0:dhcp", eth0(DHCP)),
            (":::::eth0", eth0(Method::ANY)),
            (":::::eth0:none", eth0(Method::Static)),
            (
                "::::web::dhcp",
                IpWord {
                    hostname: Some(("web", "")),
                    ..word(DHCP)
                },
            ),
            ("eth0:dhcp", eth0(DHCP)),
            ("eth0:on", eth0(Method::ANY)),
            ("eth0:auto6", eth0(Method::Router)),
            ("eth0:link6", eth0(Method::Static)),
            ("eth0:off", eth0(Method::Static)),
            (
                "eth0:dhcp:1400",
                IpWord {
                    mtu: Some(1400),
                    ..eth0(DHCP)
                },
            ),
        ];
        for (value, expected) in table {
            assert_eq!(IpWord::parse(value), Ok(*expected), "ip={value}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let table: &[(&str, IpError<'_>)] = &[
            ("dhcpd", IpError::Method("dhcpd")),
            ("eth0", IpError::Method("eth0")),
            ("dhcp,x,abc", IpError::Method("dhcp,x,abc")),
            ("dhcp,256,abc", IpError::Method("dhcp,256,abc")),
            ("dhcp,1,", IpError::Method("dhcp,1,")),
            ("rarp", IpError::Unsupported("rarp")),
            ("eth0:dhcp6", IpError::Unsupported("dhcp6")),
            ("eth0:ibft", IpError::Unsupported("ibft")),
            (
                "eth0:dhcp:1500:52:54:00:12:34:56",
                IpError::Unsupported("a hardware address"),
            ),
            ("eth0:dhcp:0", IpError::Mtu("0")),
            ("127.0.0.1::::::", IpError::Address("127.0.0.1")),
            ("224.0.0.1:::24", IpError::Address("224.0.0.1")),
            ("10.0.0.300:::24", IpError::Address("10.0.0.300")),
            ("[::1]:::64", IpError::Address("[::1]")),
            ("10.0.0.2:::33", IpError::Netmask("33")),
            ("10.0.0.2:::0", IpError::Netmask("0")),
            ("10.0.0.2:::255.0.255.0", IpError::Netmask("255.0.255.0")),
            ("[2001:db8::2]:::255.0.0.0", IpError::Netmask("255.0.0.0")),
            ("10.0.0.2:::24:we b", IpError::Hostname("we b")),
            ("10.0.0.2:::24:-web", IpError::Hostname("-web")),
            ("10.0.0.2:::24:web..org", IpError::Hostname("web..org")),
            ("10.0.0.2:::24::../x", IpError::Device("../x")),
            (
                "10.0.0.2:::24::abcdefghijklmnop",
                IpError::Device("abcdefghijklmnop"),
            ),
            ("10.0.0.2:::24::eth0:maybe", IpError::Method("maybe")),
            ("10.0.0.2::[fe80::1]:24", IpError::Mixed),
            ("[2001:db8::2]:::64::eth0:dhcp", IpError::Mixed),
            ("::10.0.0.1:::eth0:none", IpError::Gateway),
            (":::::::::::", IpError::TooMany),
        ];
        for (value, expected) in table {
            assert_eq!(IpWord::parse(value), Err(*expected), "ip={value}");
            assert!(!expected.to_string().is_empty());
        }
    }

    #[test]
    fn name_servers_need_no_brackets() {
        for (text, expected) in [
            ("192.0.2.53", "192.0.2.53"),
            ("[2001:db8::53]", "2001:db8::53"),
            ("2001:db8::53", "2001:db8::53"),
        ] {
            assert_eq!(nameserver(text), Ok(ip(expected)));
        }
        for text in [
            "",
            "0.0.0.0",
            "::",
            "ff02::1",
            "example.org",
            "192.0.2.53:53",
        ] {
            assert_eq!(nameserver(text), Err(IpError::Address(text)));
        }
    }

    #[test]
    fn names_of_machines_are_told_from_others() {
        for name in ["a", "web-1.example.org", "my_host", &"x".repeat(64)] {
            assert!(is_hostname(name), "{name}");
        }
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a-",
            "a\nb",
            "a b",
            "ä",
            &"x".repeat(65),
        ] {
            assert!(!is_hostname(name), "{name}");
        }
    }
}
