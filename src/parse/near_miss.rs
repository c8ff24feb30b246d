//! What comes close to the device that was asked for, for the report of a search that found
//! nothing.
//!
//! Most searches fail for one of a few reasons: the name is of something that is not a filesystem,
//! it was typed with another case or one letter wrong, it is the other kind of UUID, or the disk is
//! on another bus than it used to be. Each is told from one device at a time, by a pure function.

use core::fmt;

use super::device::DeviceRef;
use super::nearest::nearest;
use super::partition::Entry;
use super::superblock::{Content, Kind, Label};

/// A device as far as it is known.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// Its name, without `/dev/`.
    pub name: &'a str,
    /// The number of the partition; `None` for a whole disk.
    pub partition: Option<u32>,
    /// What is on it.
    pub content: &'a Content,
    /// Its entry in the partition table of its disk.
    pub entry: Option<&'a Entry>,
}

/// How a device comes close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NearMiss {
    /// The name is right, and what carries it is no filesystem.
    NotAFilesystem(Kind),
    /// `UUID=` was given the partition's, which is asked for with `PARTUUID=`.
    IsPartUuid,
    /// `PARTUUID=` was given the filesystem's, which is asked for with `UUID=`.
    IsUuid,
    /// `LABEL=` was given the partition's name, which is asked for with `PARTLABEL=`.
    IsPartLabel,
    /// `PARTLABEL=` was given the filesystem's, which is asked for with `LABEL=`.
    IsLabel,
    /// The name differs in upper and lower case only, which counts.
    Case,
    /// The name differs in a letter or two.
    Spelling,
    /// It is the disk of the partition that was asked for, which does not have this partition.
    NoSuchPartition(u32),
    /// It is the partition of that number on another disk.
    SamePartition(u32),
}

/// How `seen` comes close to `wanted`, if it does.
#[must_use]
pub fn near_miss(wanted: &DeviceRef<'_>, seen: &Seen<'_>) -> Option<NearMiss> {
    let content = seen.content;
    let label = content.label.as_ref();
    let part_label = seen.entry.and_then(|entry| entry.name.as_ref());
    let is_uuid = |typed: &str| content.uuid.is_some_and(|uuid| uuid.matches(typed));
    let is = |label: Option<&Label>, typed: &str| label.is_some_and(|label| label.is(typed));
    let part_uuid = seen.entry.map(|entry| entry.partuuid);
    match *wanted {
        DeviceRef::Uuid(typed) if is_uuid(typed) => Some(NearMiss::NotAFilesystem(content.kind)),
        DeviceRef::Uuid(typed) if part_uuid.is_some_and(|uuid| uuid.matches(typed)) => {
            Some(NearMiss::IsPartUuid)
        }
        DeviceRef::Uuid(typed) => {
            let is_near = content.uuid.is_some_and(|uuid| uuid.is_near(typed));
            is_near.then_some(NearMiss::Spelling)
        }
        DeviceRef::PartUuid { uuid, .. } => is_uuid(uuid).then_some(NearMiss::IsUuid),
        DeviceRef::Label(typed) if is(label, typed) => Some(NearMiss::NotAFilesystem(content.kind)),
        DeviceRef::Label(typed) if is(part_label, typed) => Some(NearMiss::IsPartLabel),
        DeviceRef::Label(typed) => similar(typed, label),
        DeviceRef::PartLabel(typed) if is(label, typed) => Some(NearMiss::IsLabel),
        DeviceRef::PartLabel(typed) => similar(typed, part_label),
        DeviceRef::Path(path) => by_path(path, seen),
        _ => None,
    }
}

fn similar(typed: &str, found: Option<&Label>) -> Option<NearMiss> {
    let found = core::str::from_utf8(found?.bytes()).ok()?;
    if found.eq_ignore_ascii_case(typed) {
        return Some(NearMiss::Case);
    }
    let is_near = nearest(typed, core::iter::once(found)).is_some();
    is_near.then_some(NearMiss::Spelling)
}

fn by_path(path: &str, seen: &Seen<'_>) -> Option<NearMiss> {
    let (disk, number) = split_partition(path.strip_prefix("/dev/")?)?;
    match seen.partition {
        None if seen.name == disk => Some(NearMiss::NoSuchPartition(number)),
        Some(its) if its == number => Some(NearMiss::SamePartition(number)),
        _ => None,
    }
}

/// `sdb1` is the first partition of `sdb`; that of a disk whose name ends in a digit has a `p` in
/// between, `nvme0n1p1` (block/partitions/core.c). This is for guessing what was meant; which
/// partitions there are is known from sysfs.
fn split_partition(name: &str) -> Option<(&str, u32)> {
    let disk = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name.strip_prefix(disk)?.parse().ok()?;
    let ends_in_digit = |name: &str| name.ends_with(|c: char| c.is_ascii_digit());
    let numbered = disk.strip_suffix('p').filter(|disk| ends_in_digit(disk));
    Some((numbered.unwrap_or(disk), number))
}

/// A near miss as a line of the report.
#[derive(Clone, Copy)]
pub struct Advice<'a> {
    /// What was asked for.
    pub wanted: &'a DeviceRef<'a>,
    /// The device.
    pub seen: Seen<'a>,
    /// How it comes close.
    pub near: NearMiss,
}

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, seen, near } = self;
        let name = seen.name;
        match *near {
            NearMiss::NotAFilesystem(kind) => {
                write!(
                    f,
                    "{wanted} is /dev/{name}, and that is {kind}: no filesystem"
                )
            }
            NearMiss::IsPartUuid => {
                write!(
                    f,
                    "that is the partition /dev/{name}: ask for it with root=PARTUUID="
                )
            }
            NearMiss::IsUuid => {
                write!(
                    f,
                    "that is the filesystem on /dev/{name}: ask for it with root=UUID="
                )
            }
            NearMiss::IsPartLabel => {
                write!(
                    f,
                    "that is the partition /dev/{name}: ask for it with root=PARTLABEL="
                )
            }
            NearMiss::IsLabel => {
                write!(
                    f,
                    "that is the filesystem on /dev/{name}: ask for it with root=LABEL="
                )
            }
            NearMiss::Case => write!(
                f,
                "/dev/{name} differs in upper and lower case only, which counts"
            ),
            NearMiss::Spelling => write!(f, "/dev/{name} is nearly that: a typing error?"),
            NearMiss::NoSuchPartition(number) => {
                write!(
                    f,
                    "the disk /dev/{name} is there, and has no partition {number}"
                )
            }
            NearMiss::SamePartition(_) => {
                write!(
                    f,
                    "there is /dev/{name}: is the disk on another bus, or did disks change places? Names like UUID= do not"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_told_from_its_disk() {
        for (name, expected) in [
            ("sdb1", Some(("sdb", 1))),
            ("vda12", Some(("vda", 12))),
            ("nvme0n1p2", Some(("nvme0n1", 2))),
            ("mmcblk0p1", Some(("mmcblk0", 1))),
            ("sdp1", Some(("sdp", 1))),
            ("sdb", None),
            ("", None),
        ] {
            assert_eq!(split_partition(name), expected, "{name}");
        }
    }
}
