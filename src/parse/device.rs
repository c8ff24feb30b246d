//! Every way to name the device that holds a filesystem.
//!
//! The forms are those of the kernel's `root=` (`Documentation/admin-guide/kernel-parameters.txt`
//! and `block/early-lookup.c`), those that udev made usual (`UUID=`, `LABEL=`), and the filesystems
//! that have no block device. One type serves `root=` and every other key that asks for a device.
//!
//! A [`DeviceRef`] is what was asked for, not a promise that it exists. It borrows the text that
//! somebody typed, and `Display` gives that text back, so that a report shows what to search for.
//!
//! What people write instead, and what can mean nothing else, is taken too: `uuid=` in any case, a
//! colon for the equals sign, the links that udev makes in
//! `/dev/disk/by-{uuid,label,partuuid,partlabel}`, quotes, and a device number in hexadecimal
//! digits as LILO passes it. How a UUID or a label may be written is with [`Uuid::matches`] and
//! [`Label::is`].

use core::fmt;

use crate::parse::number::number;
use crate::text::Quoted;

use crate::parse::superblock::Label;
use crate::parse::uuid::Uuid;

/// What [`DeviceRef::parse`] takes, for messages.
pub const ACCEPTED: &str = "/dev/NAME, UUID=, LABEL=, PARTUUID=, PARTLABEL=, MAJOR:MINOR, \
                            virtiofs:TAG, 9p:TAG or tmpfs";

const PART_OFFSET: &str = "/PARTNROFF=";

/// A device as somebody named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRef<'a> {
    /// `/dev/sdb1`: the node's path, whole.
    Path(&'a str),
    /// `UUID=`: compare with [`DeviceRef::matches_uuid`].
    Uuid(&'a str),
    /// `LABEL=`: the filesystem's label, compared byte by byte.
    Label(&'a str),
    /// `PARTUUID=`: a GPT partition's GUID, or an MBR disk's signature and the partition's number
    /// (`0a1b2c3d-01`). Compare with
    /// [`PartUuid::matches`](crate::parse::partition::PartUuid::matches).
    PartUuid {
        /// The text before `/PARTNROFF=`.
        uuid: &'a str,
        /// `/PARTNROFF=N`: take the partition whose number is N higher than that of `uuid`.
        offset: Option<i32>,
    },
    /// `PARTLABEL=`: a GPT partition's name, compared byte by byte.
    PartLabel(&'a str),
    /// `8:17`: a device number.
    Number {
        /// Major number, 12 bits in the kernel.
        major: u32,
        /// Minor number, 20 bits in the kernel.
        minor: u32,
    },
    /// `virtiofs:TAG`: a directory of the hypervisor's host.
    Virtiofs(&'a str),
    /// `9p:TAG`: the same over 9p on virtio.
    NineP(&'a str),
    /// `tmpfs`: an empty filesystem in memory.
    Tmpfs,
}

impl<'a> DeviceRef<'a> {
    /// Reads one of the forms. The text is a value from the command line, quotes already removed.
    ///
    /// # Errors
    /// [`DeviceError`], which says what is wrong with the form that the text begins with.
    pub fn parse(text: &'a str) -> Result<Self, DeviceError<'a>> {
        let refuse = |fault| Err(DeviceError { text, fault });
        let named = strip_quotes(text);
        if named == "tmpfs" {
            return Ok(Self::Tmpfs);
        }
        if let Some(name) = named.strip_prefix("/dev/") {
            let link = name.strip_prefix("disk/by-");
            return match link.and_then(|link| link.split_once('/')) {
                _ if name.is_empty() => refuse(Fault::Empty),
                Some((kind, name)) => match Self::of_kind(kind, name) {
                    Some(found) => found.or_else(refuse),
                    None => Ok(Self::Path(named)),
                },
                None => match name.strip_prefix("block/").map(device_number) {
                    Some(Ok(number)) => Ok(number),
                    _ => Ok(Self::Path(named)),
                },
            };
        }
        if let Some(number) = encoded_number(named) {
            return Ok(number);
        }
        let Some((kind, name)) = named.split_once(['=', ':']) else {
            return refuse(Fault::Form);
        };
        let found = match (kind, strip_quotes(name)) {
            ("virtiofs" | "9p", "") => Err(Fault::Empty),
            ("virtiofs", tag) => Ok(Self::Virtiofs(tag)),
            ("9p", tag) => Ok(Self::NineP(tag)),
            _ => Self::of_kind(kind, name).unwrap_or_else(|| device_number(named)),
        };
        found.or_else(refuse)
    }

    /// The names of a kind that are on devices or in partition tables; `None` for another kind.
    fn of_kind(kind: &str, name: &'a str) -> Option<Result<Self, Fault>> {
        const KINDS: [&str; 4] = ["uuid", "label", "partuuid", "partlabel"];
        let number = KINDS
            .iter()
            .position(|known| known.eq_ignore_ascii_case(kind))?;
        let name = strip_quotes(name);
        Some(match number {
            _ if name.is_empty() => Err(Fault::Empty),
            0 => Ok(Self::Uuid(name)),
            1 => Ok(Self::Label(name)),
            2 => part_uuid(name),
            _ => Ok(Self::PartLabel(name)),
        })
    }

    /// Whether it is a link that udev makes and that names nothing that could be found otherwise.
    #[must_use]
    pub fn is_udev_link(&self) -> bool {
        const DIRECTORIES: [&str; 2] = ["/dev/disk/", "/dev/mapper/"];
        let Self::Path(path) = self else { return false };
        DIRECTORIES.iter().any(|start| path.starts_with(start))
    }

    /// Whether this asks for the filesystem with the given UUID.
    #[must_use]
    pub fn matches_uuid(&self, found: &Uuid) -> bool {
        matches!(self, Self::Uuid(typed) if found.matches(typed))
    }

    /// Whether this asks for the filesystem with the given label.
    #[must_use]
    pub fn matches_label(&self, found: &Label) -> bool {
        matches!(self, Self::Label(typed) if found.is(typed))
    }

    /// Whether a block device of this machine is meant: one that can appear late.
    #[must_use]
    pub fn is_block(&self) -> bool {
        !matches!(self, Self::Virtiofs(_) | Self::NineP(_) | Self::Tmpfs)
    }
}

impl fmt::Display for DeviceRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Uuid(uuid) => write!(f, "UUID={uuid}"),
            Self::Label(label) => write!(f, "LABEL={label}"),
            Self::PartUuid { uuid, offset: None } => write!(f, "PARTUUID={uuid}"),
            Self::PartUuid {
                uuid,
                offset: Some(offset),
            } => write!(f, "PARTUUID={uuid}{PART_OFFSET}{offset}"),
            Self::PartLabel(label) => write!(f, "PARTLABEL={label}"),
            Self::Number { major, minor } => write!(f, "{major}:{minor}"),
            Self::Virtiofs(tag) => write!(f, "virtiofs:{tag}"),
            Self::NineP(tag) => write!(f, "9p:{tag}"),
            Self::Tmpfs => f.write_str("tmpfs"),
        }
    }
}

fn part_uuid(text: &str) -> Result<DeviceRef<'_>, Fault> {
    let uuid = text.split('/').next().unwrap_or_default();
    let offset = match text.strip_prefix(uuid) {
        None | Some("") => None,
        Some(rest) => {
            let offset = rest.strip_prefix(PART_OFFSET);
            Some(
                offset
                    .and_then(|offset| offset.parse().ok())
                    .ok_or(Fault::Offset)?,
            )
        }
    };
    match uuid {
        "" => Err(Fault::Empty),
        _ => Ok(DeviceRef::PartUuid { uuid, offset }),
    }
}

fn device_number(text: &str) -> Result<DeviceRef<'_>, Fault> {
    let (major, minor) = text.split_once(':').ok_or(Fault::Form)?;
    let up_to = |limit: u32, text| number(text).filter(|number| *number <= limit);
    match (up_to(0xfff, major), up_to(0xf_ffff, minor)) {
        (Some(major), Some(minor)) => Ok(DeviceRef::Number { major, minor }),
        _ => Err(Fault::Number),
    }
}

/// Hexadecimal digits, as `new_encode_dev` of include/linux/kdev_t.h makes them of a device number.
fn encoded_number<'a>(text: &str) -> Option<DeviceRef<'a>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let is_one = (3..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let encoded = u32::from_str_radix(digits, 16).ok().filter(|_| is_one)?;
    Some(DeviceRef::Number {
        major: encoded >> 8 & 0xfff,
        minor: encoded & 0xff | encoded >> 12 & 0xf_ff00,
    })
}

/// `LABEL="a b"`: the quotes of a value that stood inside a quoted word survive the tokeniser. The
/// kernel knows no single ones, and passes them on.
fn strip_quotes(mut text: &str) -> &str {
    let inner = |text: &str, quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(inner.len())
    };
    while let Some(len) = inner(text, '"').or_else(|| inner(text, '\'')) {
        let end = len.saturating_add(1);
        text = text.get(1..end).unwrap_or_default();
    }
    text
}

/// A text that names no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceError<'a> {
    /// The text.
    pub text: &'a str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with the name of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None of the forms.
    Form,
    /// A form, and nothing after it.
    Empty,
    /// `a:b` that is not two numbers, or numbers too high for the kernel's `dev_t`.
    Number,
    /// Something after the UUID that is not `/PARTNROFF=` and a number.
    Offset,
}

impl fmt::Display for DeviceError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Quoted(self.text);
        match self.fault {
            Fault::Form => write!(f, "{text} names no device: accepted are {ACCEPTED}"),
            Fault::Empty => write!(f, "{text} ends where a name should follow"),
            Fault::Number => write!(
                f,
                "{text} is no device number: MAJOR:MINOR, at most 4095:1048575"
            ),
            Fault::Offset => write!(f, "{text}: only {PART_OFFSET}NUMBER may follow the UUID"),
        }
    }
}

impl core::error::Error for DeviceError<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back_as_typed() {
        let part_uuid = |uuid, offset| DeviceRef::PartUuid { uuid, offset };
        let table = [
            ("/dev/sdb1", DeviceRef::Path("/dev/sdb1")),
            ("UUID=ABCD-1234", DeviceRef::Uuid("ABCD-1234")),
            ("LABEL=my disk", DeviceRef::Label("my disk")),
            ("PARTUUID=0a1b2c3d-01", part_uuid("0a1b2c3d-01", None)),
            ("PARTUUID=0a1b/PARTNROFF=-1", part_uuid("0a1b", Some(-1))),
            ("PARTLABEL=root", DeviceRef::PartLabel("root")),
            (
                "8:17",
                DeviceRef::Number {
                    major: 8,
                    minor: 17,
                },
            ),
            ("virtiofs:share", DeviceRef::Virtiofs("share")),
            ("9p:share", DeviceRef::NineP("share")),
            ("tmpfs", DeviceRef::Tmpfs),
        ];
        for (text, expected) in table {
            let device = DeviceRef::parse(text).unwrap();
            assert_eq!(device, expected);
            assert_eq!(device.to_string(), text);
        }
    }

    #[test]
    fn what_can_mean_nothing_else_is_understood() {
        let number = |major, minor| DeviceRef::Number { major, minor };
        for (text, expected) in [
            (r#"LABEL="my disk""#, DeviceRef::Label("my disk")),
            ("LABEL='my disk'", DeviceRef::Label("my disk")),
            (r#"'LABEL="my disk"'"#, DeviceRef::Label("my disk")),
            ("LABEL:DATA", DeviceRef::Label("DATA")),
            ("Label=DATA", DeviceRef::Label("DATA")),
            ("uuid=ABCD-1234", DeviceRef::Uuid("ABCD-1234")),
            ("PartLabel:x", DeviceRef::PartLabel("x")),
            ("/dev/disk/by-uuid/ab-cd", DeviceRef::Uuid("ab-cd")),
            (r"/dev/disk/by-label/a\x2fb", DeviceRef::Label(r"a\x2fb")),
            ("/dev/disk/by-partlabel/r", DeviceRef::PartLabel("r")),
            (
                "/dev/disk/by-partuuid/0a1b2c3d-01",
                DeviceRef::PartUuid {
                    uuid: "0a1b2c3d-01",
                    offset: None,
                },
            ),
            ("/dev/block/8:17", number(8, 17)),
            ("0811", number(8, 17)),
            ("801", number(8, 1)),
            ("0x10010302", number(259, 0x1_0002)),
        ] {
            let device = DeviceRef::parse(text);
            assert_eq!(device, Ok(expected), "{text}");
            let written = device.unwrap().to_string();
            assert_eq!(DeviceRef::parse(&written), Ok(expected), "{written}");
        }
    }

    #[test]
    fn links_that_only_udev_makes_are_told() {
        for (text, is_one) in [
            ("/dev/disk/by-id/ata-x-part1", true),
            ("/dev/disk/by-path/pci-0", true),
            ("/dev/mapper/vg-root", true),
            ("/dev/disk/by-uuid/ab", false),
            ("/dev/sda1", false),
            ("LABEL=/dev/disk/", false),
        ] {
            let device = DeviceRef::parse(text).unwrap();
            assert_eq!(device.is_udev_link(), is_one, "{text}");
        }
    }

    #[test]
    fn what_names_no_device_is_refused_by_its_fault() {
        let table = [
            ("", Fault::Form),
            ("sdb1", Fault::Form),
            ("UUID:", Fault::Empty),
            ("LABEL=''", Fault::Empty),
            ("/dev/disk/by-label/", Fault::Empty),
            ("/dev/disk/by-partuuid/a/b", Fault::Offset),
            ("/dev/", Fault::Empty),
            ("UUID=", Fault::Empty),
            ("9p:", Fault::Empty),
            ("PARTUUID=", Fault::Empty),
            ("PARTUUID=/PARTNROFF=1", Fault::Empty),
            ("PARTUUID=a/PARTNROFF=x", Fault::Offset),
            ("PARTUUID=a/b", Fault::Offset),
            ("8:", Fault::Number),
            ("+8:1", Fault::Number),
            ("4096:1", Fault::Number),
            ("nfs:tag", Fault::Number),
        ];
        for (text, fault) in table {
            assert_eq!(DeviceRef::parse(text), Err(DeviceError { text, fault }));
        }
    }

    #[test]
    fn a_uuid_is_compared_without_case_in_both_shapes() {
        let fat = DeviceRef::Uuid("abcd-1234");
        assert!(fat.matches_uuid(&Uuid::Serial(0xabcd_1234)));
        assert!(!fat.matches_uuid(&Uuid::Serial(0xabcd_1235)));
        assert!(!DeviceRef::Label("ABCD-1234").matches_uuid(&Uuid::Serial(0xabcd_1234)));
    }

    #[test]
    fn an_unknown_form_is_answered_with_all_forms() {
        let error = DeviceRef::parse("sdb1").unwrap_err().to_string();
        assert!(error.starts_with("\"sdb1\" names no device: accepted are /dev/NAME, UUID="));
    }
}
