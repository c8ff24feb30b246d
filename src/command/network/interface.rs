//! One network device that `ip=` names, or that is one of those which it means.

use core::net::{IpAddr, Ipv4Addr};

use rustix::io::Errno;

use super::exchange::{Exchange, LinkName};
use super::routers::Routers;
use super::words::{Place, Words};
use crate::parse::dhcp::{HARDWARE_LEN, Lease, ROUTES_MAX};
use crate::parse::ip_word::Method;
use crate::parse::netlink::Link;
use crate::sys::path::path;
use crate::sys::rtnetlink::RouteEntry;

/// The longest name of a device, in bytes.
pub(super) const NAME_MAX: usize = 15;

/// What routes by DHCP cost at least: more than any that the operator has set. Each device has its
/// own figure, so that none takes the place of another's.
const METRIC: u32 = 1024;

/// The routes of a device.
pub(super) type Routes = heapless::Vec<RouteEntry, { ROUTES_MAX + 1 }>;

/// A device, and what becomes of it.
pub(super) struct Interface<'w> {
    pub(super) index: u32,
    pub(super) name: heapless::String<NAME_MAX>,
    pub(super) hardware: Option<[u8; HARDWARE_LEN]>,
    pub(super) is_running: bool,
    /// The words that are about it.
    pub(super) words: Place,
    /// The client of DHCP, if it has one.
    pub(super) exchange: Option<Exchange<'w>>,
    /// An address that somebody gave for a time: this program, in an earlier run of it.
    pub(super) former: Option<(Ipv4Addr, u8)>,
    /// The largest packet that was asked for.
    pub(super) mtu: Option<u32>,
    /// What routers say.
    pub(super) routers: Routers,
}

impl<'w> Interface<'w> {
    /// What `words` say about a device; `None` if they say nothing.
    pub(super) fn new(link: &Link<'_>, words: &Words<'w>) -> Option<Self> {
        let mine = words.about(link.name, || is_card(link));
        if mine.is_empty() {
            return None;
        }
        let exchange = words.iter(mine).find_map(|(_, word)| match word.method {
            Method::Dhcp { bootp, client_id } => {
                let wish = match word.address {
                    Some((IpAddr::V4(wish), _)) => Some(wish),
                    _ => None,
                };
                Some(Exchange::new(wish, bootp, client_id))
            }
            _ => None,
        });
        Some(Self {
            index: link.index,
            name: name_of(link),
            hardware: link.hardware,
            is_running: false,
            words: mine,
            exchange,
            former: None,
            mtu: None,
            routers: Routers::default(),
        })
    }

    /// Takes over what a message says about the device.
    pub(super) fn update(&mut self, link: &Link<'_>) {
        self.name = name_of(link);
        self.hardware = link.hardware;
    }

    /// Its client of DHCP, and the link that this talks by; `None` if it has none, or is not on
    /// Ethernet.
    pub(super) fn talk(&mut self) -> Option<(LinkName<'_>, &mut Exchange<'w>)> {
        let link = LinkName {
            index: self.index,
            name: &self.name,
            hardware: self.hardware?,
        };
        Some((link, self.exchange.as_mut()?))
    }

    /// The routes that a lease makes; `gateway` is the operator's.
    pub(super) fn routes_of(&self, lease: &Lease, gateway: Option<IpAddr>) -> Routes {
        let source = Some(IpAddr::V4(lease.address));
        let entry = |to, prefix, gateway, is_from_dhcp| RouteEntry {
            index: self.index,
            to: IpAddr::V4(to),
            prefix,
            gateway,
            source,
            metric: METRIC.saturating_add(self.index),
            is_from_dhcp,
        };
        let said = lease.routes.iter();
        // The operator's router is the way to everything else.
        let said = said.filter(|route| gateway.is_none() || route.prefix > 0);
        let said = said.map(|it| entry(it.to, it.prefix, it.gateway.map(IpAddr::V4), true));
        let own = gateway.map(|own| entry(Ipv4Addr::UNSPECIFIED, 0, Some(own), false));
        said.chain(own).collect()
    }
}

fn name_of(link: &Link<'_>) -> heapless::String<NAME_MAX> {
    // The kernel's names are no longer.
    heapless::String::try_from(link.name).unwrap_or_default()
}

/// Whether it is a network card, real or virtual: what has a device behind it, and is no bridge or
/// end of a container's wire.
fn is_card(link: &Link<'_>) -> bool {
    let is_there = |path: &str| rustix::fs::stat(path).is_ok();
    let device = path(format_args!("/sys/class/net/{}/device", link.name));
    link.hardware.is_some() && device.is_ok_and(|device| is_there(&device))
}

/// Whether a route cannot be made because the link has just gone: it is made when that is back.
pub(super) const fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NETDOWN | Errno::NODEV)
}
