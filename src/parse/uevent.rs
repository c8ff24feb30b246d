//! What the kernel says about its devices: uevents.
//!
//! There are two forms with the same properties (`lib/kobject_uevent.c`). A netlink datagram starts
//! with a header `add@/devices/…` and goes on with `KEY=value` strings, each ended by NUL. The file
//! `uevent` in a device's sysfs directory has one `KEY=value` a line, without header, `ACTION`,
//! `DEVPATH` and `SUBSYSTEM`, which its place in sysfs tells.
//!
//! Whether a datagram really came from the kernel is for the receiver to check, by its sender. What
//! udev sends to its own listeners has another form and is refused here by its magic.
//!
//! A property whose value is not UTF-8 is absent: the kernel passes on a GPT partition's name with
//! bytes above 0x7f, and such a name must not hide the disk that carries it.

use core::fmt;

/// What happened to the device (`enum kobject_action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It appeared.
    Add,
    /// It is gone.
    Remove,
    /// Something about it changed: a medium, a size.
    Change,
    /// It was renamed or has another parent.
    Move,
    /// A processor or memory came online.
    Online,
    /// A processor or memory went offline.
    Offline,
    /// A driver was bound.
    Bind,
    /// A driver was unbound.
    Unbind,
}

impl Action {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "add" => Self::Add,
            "remove" => Self::Remove,
            "change" => Self::Change,
            "move" => Self::Move,
            "online" => Self::Online,
            "offline" => Self::Offline,
            "bind" => Self::Bind,
            "unbind" => Self::Unbind,
            _ => return None,
        })
    }
}

/// The properties that both forms share; those that berth reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// `DEVNAME`: the node's name below `/dev`.
    pub devname: Option<&'a str>,
    /// `DEVTYPE`: `disk` or `partition` for a block device.
    pub devtype: Option<&'a str>,
    /// `MAJOR`: the major device number.
    pub major: Option<u32>,
    /// `MINOR`: the minor device number.
    pub minor: Option<u32>,
    /// `MODALIAS`: what `modules.alias` is searched for.
    pub modalias: Option<&'a str>,
    /// `PARTN`: a partition's number.
    pub partn: Option<u32>,
    /// `PARTNAME`: a GPT partition's name.
    pub partname: Option<&'a str>,
    /// `PARTUUID`: a partition's UUID, from Linux 6.11 on.
    pub partuuid: Option<&'a str>,
    /// `DISKSEQ`: a number that no other disk had or will have until the next boot.
    pub diskseq: Option<u64>,
}

impl<'a> Properties<'a> {
    /// Reads a sysfs `uevent` file.
    ///
    /// # Errors
    /// [`UeventError::Number`] for a number that is none, [`UeventError::Line`] for a line without
    /// `=`.
    pub fn from_sysfs(file: &'a [u8]) -> Result<Self, UeventError> {
        let mut properties = Self::default();
        for line in file.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let (key, value) = split_property(line)?;
            properties.set(key, value)?;
        }
        Ok(properties)
    }

    fn set(&mut self, key: &[u8], value: Option<&'a str>) -> Result<(), UeventError> {
        match key {
            b"DEVNAME" => self.devname = value,
            b"DEVTYPE" => self.devtype = value,
            b"MAJOR" => self.major = number("MAJOR", value)?,
            b"MINOR" => self.minor = number("MINOR", value)?,
            b"MODALIAS" => self.modalias = value,
            b"PARTN" => self.partn = number("PARTN", value)?,
            b"PARTNAME" => self.partname = value,
            b"PARTUUID" => self.partuuid = value,
            b"DISKSEQ" => self.diskseq = number("DISKSEQ", value)?,
            _ => {}
        }
        Ok(())
    }
}

/// One datagram of `NETLINK_KOBJECT_UEVENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uevent<'a> {
    /// What happened.
    pub action: Action,
    /// `DEVPATH`: the device's directory below `/sys`, with its leading slash.
    pub devpath: &'a str,
    /// `SUBSYSTEM`: `block`, `module`, `net`, …
    pub subsystem: &'a str,
    /// What else is said about the device.
    pub properties: Properties<'a>,
}

impl<'a> Uevent<'a> {
    /// Reads a whole datagram.
    ///
    /// # Errors
    /// [`UeventError`] when it is not one of the kernel's, or was cut short by a small buffer.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, UeventError> {
        if datagram.starts_with(b"libudev\0") {
            return Err(UeventError::Libudev);
        }
        let body = datagram.strip_suffix(b"\0").ok_or(UeventError::Cut)?;
        let mut strings = body.split(|b| *b == 0);
        if !strings.next().is_some_and(|header| header.contains(&b'@')) {
            return Err(UeventError::Header);
        }
        let (mut action, mut devpath, mut subsystem) = (None, None, None);
        let mut properties = Properties::default();
        for string in strings {
            match split_property(string)? {
                (b"ACTION", value) => action = value,
                (b"DEVPATH", value) => devpath = value,
                (b"SUBSYSTEM", value) => subsystem = value,
                (key, value) => properties.set(key, value)?,
            }
        }
        let action = action.ok_or(UeventError::Missing("ACTION"))?;
        Ok(Self {
            action: Action::parse(action).ok_or(UeventError::Action)?,
            devpath: devpath.ok_or(UeventError::Missing("DEVPATH"))?,
            subsystem: subsystem.ok_or(UeventError::Missing("SUBSYSTEM"))?,
            properties,
        })
    }
}

/// The key, and the value if it is UTF-8.
fn split_property(string: &[u8]) -> Result<(&[u8], Option<&str>), UeventError> {
    let mut parts = string.splitn(2, |b| *b == b'=');
    match (parts.next(), parts.next()) {
        (Some(key), Some(value)) => Ok((key, core::str::from_utf8(value).ok())),
        _ => Err(UeventError::Line),
    }
}

fn number<T: core::str::FromStr>(
    key: &'static str,
    value: Option<&str>,
) -> Result<Option<T>, UeventError> {
    let parsed = value.and_then(|digits| digits.parse().ok());
    parsed.map(Some).ok_or(UeventError::Number(key))
}

/// Why a uevent cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UeventError {
    /// udev's own form, which only its listeners understand.
    Libudev,
    /// The last string has no NUL: the buffer was smaller than the datagram.
    Cut,
    /// It does not begin with `action@devpath`.
    Header,
    /// A string without `=`.
    Line,
    /// An `ACTION` that the kernel does not have.
    Action,
    /// This property, which every event has, is absent or not UTF-8.
    Missing(&'static str),
    /// This property should be a number.
    Number(&'static str),
}

impl fmt::Display for UeventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Libudev => f.write_str("uevent is a message of udev, not of the kernel"),
            Self::Cut => f.write_str("uevent is cut short"),
            Self::Header => f.write_str("uevent does not begin with ACTION@DEVPATH"),
            Self::Line => f.write_str("uevent has a property without ="),
            Self::Action => f.write_str("uevent has an unknown ACTION"),
            Self::Missing(key) => write!(f, "uevent has no {key}"),
            Self::Number(key) => write!(f, "uevent's {key} is not a number"),
        }
    }
}

impl core::error::Error for UeventError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel sends it for the first partition of a virtio-scsi disk.
    const ADD: &[u8] = b"add@/devices/pci0000:00/0000:00:04.0/virtio1/host0/target0:0:1/0:0:1:0/block/sdb/sdb1\0\
        ACTION=add\0\
        DEVPATH=/devices/pci0000:00/0000:00:04.0/virtio1/host0/target0:0:1/0:0:1:0/block/sdb/sdb1\0\
        SUBSYSTEM=block\0MAJOR=8\0MINOR=17\0DEVNAME=sdb1\0DEVTYPE=partition\0DISKSEQ=10\0PARTN=1\0SEQNUM=1409\0";

    #[test]
    fn a_partition_that_appears_is_read_whole() {
        let event = Uevent::parse(ADD).unwrap();
        assert_eq!(event.action, Action::Add);
        assert!(event.devpath.ends_with("/block/sdb/sdb1"));
        assert_eq!(event.subsystem, "block");
        let expected = Properties {
            devname: Some("sdb1"),
            devtype: Some("partition"),
            major: Some(8),
            minor: Some(17),
            partn: Some(1),
            diskseq: Some(10),
            ..Properties::default()
        };
        assert_eq!(event.properties, expected);
    }

    #[test]
    fn a_sysfs_file_has_the_same_properties() {
        let file = b"MAJOR=8\nMINOR=17\nDEVNAME=sdb1\nDEVTYPE=partition\nDISKSEQ=10\nPARTN=1\n";
        let properties = Properties::from_sysfs(file).unwrap();
        assert_eq!(properties, Uevent::parse(ADD).unwrap().properties);
        assert_eq!(Properties::from_sysfs(b""), Ok(Properties::default()));
    }

    #[test]
    fn a_partition_name_that_is_not_utf8_hides_only_itself() {
        let file = b"DEVNAME=sda1\nPARTNAME=na\xefve\nPARTN=1\n";
        let properties = Properties::from_sysfs(file).unwrap();
        assert_eq!((properties.partname, properties.partn), (None, Some(1)));
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        let properties = Properties::from_sysfs(b"MODALIAS=of:Na=b\n").unwrap();
        assert_eq!(properties.modalias, Some("of:Na=b"));
    }

    #[test]
    fn what_is_not_the_kernels_is_refused_by_its_fault() {
        let table: &[(&[u8], UeventError)] = &[
            (b"", UeventError::Cut),
            (b"\0", UeventError::Header),
            (b"libudev\0\xfe\xed\xca\xfe", UeventError::Libudev),
            (&ADD[..ADD.len() - 1], UeventError::Cut),
            (b"ACTION=add\0", UeventError::Header),
            (b"add@/d\0ACTION\0", UeventError::Line),
            (b"add@/d\0DEVPATH=/d\0", UeventError::Missing("ACTION")),
            (
                b"add@/d\0ACTION=add\0DEVPATH=/d\0",
                UeventError::Missing("SUBSYSTEM"),
            ),
            (b"fly@/d\0ACTION=fly\0", UeventError::Action),
            (
                b"add@/d\0ACTION=add\0MAJOR=8x\0",
                UeventError::Number("MAJOR"),
            ),
        ];
        for (datagram, error) in table {
            assert_eq!(Uevent::parse(datagram), Err(*error), "{error}");
        }
    }
}
