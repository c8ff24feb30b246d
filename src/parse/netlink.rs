//! Messages of netlink(7), their attributes, what generic netlink says of the family of ACPI's
//! events, and rtnetlink(7) of network devices and their addresses (include/uapi/linux/netlink.h,
//! genetlink.h, if_link.h, if_addr.h; drivers/acpi/event.c).
//!
//! All numbers are in the machine's own byte order.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of the header of a message.
pub const HEADER: usize = 16;

/// Bytes of the header of an attribute.
pub const ATTRIBUTE: usize = 4;

/// Bytes of the header of a message of a generic family: command, version, nothing.
pub const GENERIC_HEADER: usize = 4;

/// Attributes of a family (`CTRL_ATTR_*`).
const FAMILY_ID: u16 = 1;
const FAMILY_GROUPS: u16 = 7;
const GROUP_NAME: u16 = 1;
const GROUP_ID: u16 = 2;

/// The group of ACPI's events.
const EVENT_GROUP: &[u8] = b"acpi_mc_group\0";

/// An event of ACPI (`ACPI_GENL_CMD_EVENT`, `ACPI_GENL_ATTR_EVENT`).
const EVENT_COMMAND: u8 = 1;
const EVENT: u16 = 1;

/// The class of device that an event begins with, in 20 bytes that are filled up with zeros.
const CLASS_LEN: usize = 20;
const POWER_BUTTON: &[u8] = b"button/power\0";

/// The kind is the lower bits; the others say that it has attributes of its own, or is in network
/// order (`NLA_TYPE_MASK`).
const KIND_MASK: u16 = 0x3fff;

/// The first message: its kind, its body, and what follows it.
#[must_use]
pub fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let next = bytes.get(len.checked_next_multiple_of(4)?..);
    Some((kind, bytes.get(HEADER..len)?, next.unwrap_or_default()))
}

/// The first attribute: its kind, its value, and what follows it.
#[must_use]
pub fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
    let next = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind & KIND_MASK, bytes.get(ATTRIBUTE..len)?, next))
}

/// The value of the first attribute of this kind.
fn value(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some((kind, value, next)) = attribute(attributes) {
        if kind == wanted {
            return Some(value);
        }
        attributes = next;
    }
    None
}

// Of a device: the header (`struct ifinfomsg`), and attributes (`IFLA_*`).
const LINK_HEADER: usize = 16;
const LINK_HARDWARE: u16 = 1;
const LINK_NAME: u16 = 3;

/// The device is on Ethernet (`ARPHRD_ETHER`).
const ETHERNET: u16 = 1;
/// It is up, and there is somebody at the other end (`IFF_RUNNING`).
const RUNNING: u32 = 0x40;

// Of an address: the header (`struct ifaddrmsg`), and attributes (`IFA_*`).
const ADDRESS_HEADER: usize = 8;
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const ADDRESS_FLAGS: u16 = 8;

/// An address that nobody gave for a time (`IFA_F_PERMANENT`), and one that may be another
/// machine's still (`IFA_F_TENTATIVE`).
const PERMANENT: u32 = 0x80;
const TENTATIVE: u32 = 0x40;

/// A network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: &'a str,
    /// Its address on Ethernet; `None` if it is on nothing like that.
    pub hardware: Option<[u8; 6]>,
    /// It is up, and there is somebody at the other end.
    pub is_running: bool,
}

impl<'a> Link<'a> {
    /// Reads the body of a message about a device.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (header, attributes) = body.split_first_chunk::<LINK_HEADER>()?;
        let kind = super::bytes::array(header, 2..4).map(u16::from_ne_bytes);
        let number = |range| super::bytes::array(header, range).map(u32::from_ne_bytes);
        // Of a bridge, a device that leaves it is told to be gone.
        let is_whole = header.first() == Some(&0);
        let name = value(attributes, LINK_NAME).filter(|_| is_whole)?;
        let name = name.split(|byte| *byte == 0).next()?;
        let hardware = value(attributes, LINK_HARDWARE).and_then(|value| value.try_into().ok());
        Some(Self {
            index: number(4..8)?,
            name: core::str::from_utf8(name).ok()?,
            hardware: hardware.filter(|_| kind == Some(ETHERNET)),
            is_running: number(8..12)? & RUNNING != 0,
        })
    }
}

/// An address of a network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The number of the device.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// How many of its bits are the link's.
    pub prefix: u8,
    /// Somebody gave it for a time.
    pub is_dynamic: bool,
    /// It can be used, and reached from beyond the link.
    pub is_global: bool,
}

impl Address {
    /// Reads the body of a message about an address.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let (header, attributes) = body.split_first_chunk::<ADDRESS_HEADER>()?;
        let [family, prefix, flags, scope, index @ ..] = header;
        // The address itself is the local one, where another is at the far end of a wire.
        let bytes = value(attributes, LOCAL).or_else(|| value(attributes, ADDRESS))?;
        let address = match family {
            2 => IpAddr::V4(Ipv4Addr::from_octets(bytes.try_into().ok()?)),
            10 => IpAddr::V6(Ipv6Addr::from_octets(bytes.try_into().ok()?)),
            _ => return None,
        };
        let more = value(attributes, ADDRESS_FLAGS).and_then(|value| value.try_into().ok());
        let flags = more.map_or(u32::from(*flags), u32::from_ne_bytes);
        Some(Self {
            index: u32::from_ne_bytes(*index),
            address,
            prefix: *prefix,
            is_dynamic: flags & PERMANENT == 0,
            is_global: *scope == 0 && flags & TENTATIVE == 0,
        })
    }
}

/// The numbers of the family of ACPI's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcpiFamily {
    /// The kind of its messages.
    pub id: u16,
    /// The group that its events go to.
    pub group: u32,
}

impl AcpiFamily {
    /// Reads the body of what the kernel answers to `CTRL_CMD_GETFAMILY`.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let attributes = body.get(GENERIC_HEADER..)?;
        let id = u16::from_ne_bytes(*value(attributes, FAMILY_ID)?.first_chunk()?);
        let mut groups = value(attributes, FAMILY_GROUPS)?;
        while let Some((_, group, next)) = attribute(groups) {
            if value(group, GROUP_NAME)? == EVENT_GROUP {
                let group = u32::from_ne_bytes(*value(group, GROUP_ID)?.first_chunk()?);
                return Some(Self { id, group });
            }
            groups = next;
        }
        None
    }

    /// Whether the message tells that the power button was pressed.
    #[must_use]
    pub fn is_power_button(self, bytes: &[u8]) -> bool {
        let Some((kind, body, _)) = message(bytes) else {
            return false;
        };
        let event = body
            .split_at_checked(GENERIC_HEADER)
            .filter(|(header, _)| header.first() == Some(&EVENT_COMMAND))
            .and_then(|(_, attributes)| value(attributes, EVENT));
        let class = event.and_then(|event| event.get(..CLASS_LEN));
        kind == self.id && class.is_some_and(|class| class.starts_with(POWER_BUTTON))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute_of(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((ATTRIBUTE + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message_of(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes
    }

    /// As Linux 6.1 answers, with another group in front.
    fn answer() -> Vec<u8> {
        let group = |name: &[u8], id: u32| {
            let parts = [
                attribute_of(GROUP_ID, &id.to_ne_bytes()),
                attribute_of(GROUP_NAME, name),
            ];
            parts.concat()
        };
        let groups = [
            attribute_of(1, &group(b"other\0", 3)),
            attribute_of(2, &group(EVENT_GROUP, 5)),
        ];
        [
            vec![1, 2, 0, 0],
            attribute_of(2, b"acpi_event\0"),
            attribute_of(FAMILY_ID, &25_u16.to_ne_bytes()),
            attribute_of(FAMILY_GROUPS | 0x8000, &groups.concat()),
        ]
        .concat()
    }

    fn event(kind: u16, command: u8, class: &[u8]) -> Vec<u8> {
        let mut event = class.to_vec();
        event.resize(CLASS_LEN, 0);
        event.extend(b"LNXPWRBN:00\0\0\0\0\0");
        event.extend([0x80_u32, 1].map(u32::to_ne_bytes).concat());
        let body = [vec![command, 1, 0, 0], attribute_of(EVENT, &event)];
        message_of(kind, &body.concat())
    }

    #[test]
    fn the_family_and_its_group_are_found() {
        let family = AcpiFamily { id: 25, group: 5 };
        assert_eq!(AcpiFamily::parse(&answer()), Some(family));
        for len in 0..answer().len() {
            assert_eq!(AcpiFamily::parse(&answer()[..len]), None, "{len}");
        }
    }

    #[test]
    fn the_power_button_is_told_from_other_events() {
        let family = AcpiFamily { id: 25, group: 5 };
        let pressed = event(25, EVENT_COMMAND, b"button/power");
        assert!(family.is_power_button(&pressed));
        for other in [
            event(24, EVENT_COMMAND, b"button/power"),
            event(25, 2, b"button/power"),
            event(25, EVENT_COMMAND, b"button/sleep"),
            event(25, EVENT_COMMAND, b"button/powerful"),
            event(25, EVENT_COMMAND, b"ac_adapter"),
        ] {
            assert!(!family.is_power_button(&other));
        }
        for len in 0..HEADER + GENERIC_HEADER + ATTRIBUTE + CLASS_LEN {
            assert!(!family.is_power_button(&pressed[..len]), "{len}");
        }
    }

    #[test]
    fn a_device_is_known_by_its_number_and_its_name() {
        let mut body = vec![0, 0, 1, 0];
        for number in [7, RUNNING | 1, 0] {
            body.extend(u32::to_ne_bytes(number));
        }
        body.extend(attribute_of(LINK_NAME, b"eth0\0"));
        let named = body.clone();
        body.extend(attribute_of(LINK_HARDWARE, &[1, 2, 3, 4, 5, 6]));
        let mut link = Link {
            index: 7,
            name: "eth0",
            hardware: Some([1, 2, 3, 4, 5, 6]),
            is_running: true,
        };
        assert_eq!(Link::parse(&body), Some(link));
        link.hardware = None;
        assert_eq!(Link::parse(&named), Some(link));
        body[2] = 4;
        assert_eq!(Link::parse(&body), Some(link));
        link.is_running = false;
        body[8] = 1;
        assert_eq!(Link::parse(&body), Some(link));
        for len in 0..LINK_HEADER + 8 {
            assert_eq!(Link::parse(&body[..len]), None, "{len}");
        }
        body[0] = 7;
        assert_eq!(Link::parse(&body), None);
    }

    #[test]
    fn an_address_tells_whether_it_is_for_good_and_for_all() {
        let four = |flags: u8, scope: u8| {
            let mut body = vec![2, 24, flags, scope, 7, 0, 0, 0];
            body.extend(attribute_of(ADDRESS, &[192, 0, 2, 9]));
            body.extend(attribute_of(LOCAL, &[192, 0, 2, 7]));
            body
        };
        let found = Address::parse(&four(PERMANENT as u8, 0)).unwrap();
        assert_eq!(found.address, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));
        assert_eq!((found.index, found.prefix), (7, 24));
        assert!(found.is_global && !found.is_dynamic);
        assert!(Address::parse(&four(0, 0)).unwrap().is_dynamic);
        assert!(!Address::parse(&four(0, 253)).unwrap().is_global);
        let mut six = vec![10, 64, 0, 0, 7, 0, 0, 0];
        six.extend(attribute_of(ADDRESS, &[0x20; 16]));
        assert!(Address::parse(&six).unwrap().is_global);
        six.extend(attribute_of(ADDRESS_FLAGS, &TENTATIVE.to_ne_bytes()));
        assert!(!Address::parse(&six).unwrap().is_global);
        for len in 0..20 {
            assert_eq!(Address::parse(&six[..len]), None, "{len}");
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_no_message() {
        assert_eq!(message(&[0xff; 32]), None);
        assert_eq!(message(&[0; 16]), None);
        assert_eq!(attribute(&[2, 0, 0, 0]), None);
    }
}
