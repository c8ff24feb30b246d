//! Messages of netlink(7), their attributes, and what generic netlink says of the family of ACPI's
//! events (include/uapi/linux/netlink.h, genetlink.h; drivers/acpi/event.c).
//!
//! All numbers are in the machine's own byte order.

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
    fn a_length_that_cannot_be_is_no_message() {
        assert_eq!(message(&[0xff; 32]), None);
        assert_eq!(message(&[0; 16]), None);
        assert_eq!(attribute(&[2, 0, 0, 0]), None);
    }
}
