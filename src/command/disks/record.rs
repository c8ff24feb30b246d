//! What is remembered of a disk, as a file in memory: that it was seen, and where it is mounted.
//!
//! A file is named for the device ([`Identity`]). Its lines are the state, the number of the
//! mounted filesystem, whether that is read-only, its name in the directory of disks, its type, its
//! UUID, and then, to the end, its label, which may be anything.

use core::fmt::{self, Write as _};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, mkdir, openat, stat, unlink};
use rustix::io::{Errno, write};

use crate::error::{During, Fault, Op};
use crate::parse::answer::{Disk, DiskState};
use crate::parse::automount::NAME_MAX;
use crate::sys::block::{self, Device};
use crate::sys::drivers::RUN;
use crate::sys::fs;
use crate::sys::path::{Path, path};
use crate::text::Text;

/// Where the files are.
pub(super) const DIRECTORY: &str = "/run/berth-boot/disks";

/// The longest file, in bytes.
const FILE_MAX: usize = 2048;

/// The name of a directory that a disk is mounted on, with a number behind it where another has its
/// name.
pub(super) type MountName = heapless::String<{ NAME_MAX + 8 }>;

/// A device, as long as it is there, with one medium in it. Another that comes later may have its
/// name, and not these numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The name of its directory in sysfs, where a slash is an exclamation mark.
    name: heapless::String<64>,
    /// The number of that directory, which is not used again (fs/kernfs/dir.c,
    /// `__kernfs_new_node`).
    directory: u64,
    /// The number of the medium (Documentation/ABI/stable/sysfs-block, `diskseq`); 0 before Linux
    /// 5.15.
    medium: u64,
}

impl Identity {
    /// That of a device that is there; `None` if it is not any more.
    pub(super) fn of(device: &Device) -> Option<Self> {
        let mut name = heapless::String::new();
        let mut characters = device.name.chars().map(|c| if c == '/' { '!' } else { c });
        characters.try_for_each(|c| name.push(c)).ok()?;
        Self::now(name)
    }

    fn now(name: heapless::String<64>) -> Option<Self> {
        let directory = path(format_args!("{}/{name}", block::CLASS)).ok()?;
        Some(Self {
            directory: stat(directory.as_str()).ok()?.st_ino,
            medium: block::medium(&name),
            name,
        })
    }

    /// That which a file is named for.
    pub(super) fn parse(file: &str) -> Option<Self> {
        let (rest, medium) = file.rsplit_once('.')?;
        let (name, directory) = rest.rsplit_once('.')?;
        Some(Self {
            name: heapless::String::try_from(name).ok()?,
            directory: directory.parse().ok()?,
            medium: medium.parse().ok()?,
        })
    }

    /// Whether the device is there, with that medium.
    pub(super) fn is_there(&self) -> bool {
        Self::now(self.name.clone()).as_ref() == Some(self)
    }

    /// Whether it is of the same device, whatever medium is in it.
    pub(super) fn is_of_same_device(&self, other: &Self) -> bool {
        self.name == other.name && self.directory == other.directory
    }

    /// The device, if it is there.
    pub(super) fn device(&self) -> Option<Device> {
        Device::named(&self.name)
    }

    /// What the kernel calls it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its node, for messages after its end too.
    pub(super) fn node(&self) -> Text<80> {
        let mut node = Text::new("/dev/");
        for part in self.name.split_inclusive('!') {
            match part.strip_suffix('!') {
                Some(part) => node.push(format_args!("{part}/")),
                None => node.push(format_args!("{part}")),
            }
        }
        node
    }

    fn file(&self) -> Result<Path, Errno> {
        path(format_args!("{DIRECTORY}/{self}"))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.name, self.directory, self.medium)
    }
}

/// How far it is with a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// It was seen, and nobody was told of it.
    #[default]
    Quiet,
    /// It could not be opened yet: it is in sysfs before it has its node, and then the kernel
    /// announces it.
    Unready,
    /// PID 1 was told of it.
    Told,
    /// It is mounted, or is about to be.
    Mounted,
}

impl State {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Quiet, "quiet"),
        (Self::Unready, "unready"),
        (Self::Told, "told"),
        (Self::Mounted, "mounted"),
    ];
}

/// What is remembered.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) state: State,
    /// The number of the mounted filesystem (`st_dev`).
    pub(super) filesystem: u64,
    pub(super) is_read_only: bool,
    /// Its name in the directory of disks.
    pub(super) name: MountName,
    pub(super) fstype: heapless::String<32>,
    pub(super) uuid: heapless::String<40>,
    /// What is no UTF-8 in it is escaped.
    pub(super) label: heapless::String<1024>,
}

impl Record {
    /// What is told of the disk with this node.
    pub(super) fn disk<'a>(
        &'a self,
        state: DiskState,
        device: &'a str,
        place: &'a str,
    ) -> Disk<'a> {
        Disk {
            state,
            device,
            fstype: &self.fstype,
            label: &self.label,
            uuid: &self.uuid,
            place,
            is_read_only: self.is_read_only,
        }
    }

    /// What is remembered of a disk.
    pub(super) fn read(identity: &Identity) -> Option<Self> {
        let mut room = [0; FILE_MAX];
        let file = identity.file().ok()?;
        let bytes = fs::read_file(CWD, &file, &mut room).ok()?;
        Self::parse(core::str::from_utf8(bytes).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.splitn(7, '\n');
        let state = lines.next()?;
        Some(Self {
            state: State::ALL.into_iter().find(|(_, name)| *name == state)?.0,
            filesystem: lines.next()?.parse().ok()?,
            is_read_only: lines.next()? == "ro",
            name: lines.next()?.try_into().ok()?,
            fstype: lines.next()?.try_into().ok()?,
            uuid: lines.next()?.try_into().ok()?,
            label: lines.next()?.try_into().ok()?,
        })
    }

    /// Remembers it. Without memory the disk is mounted all the same, and stays where it is when it
    /// is gone.
    #[inline(never)]
    pub(super) fn keep(&self, identity: &Identity) {
        let Ok(file) = identity.file() else {
            return;
        };
        let mut text = heapless::String::<FILE_MAX>::new();
        // There is room for the longest of all.
        let _ = write!(text, "{self}");
        // A process that reads it meanwhile finds nothing, and looks again when this one ends.
        let _ = fs::create_file(&file, text.as_bytes());
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = State::ALL.into_iter().find(|(its, _)| *its == self.state);
        let state = state.map_or("", |(_, name)| name);
        let access = if self.is_read_only { "ro" } else { "rw" };
        let Self {
            filesystem,
            name,
            fstype,
            uuid,
            label,
            ..
        } = self;
        write!(
            f,
            "{state}\n{filesystem}\n{access}\n{name}\n{fstype}\n{uuid}\n{label}"
        )
    }
}

/// Makes the directory of records.
pub(super) fn prepare() -> Result<(), Fault> {
    fs::make_directory(RUN)?;
    match mkdir(DIRECTORY, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).during(Op::Create, DIRECTORY),
    }
}

/// Whether the disk was seen before.
pub(super) fn is_known(identity: &Identity) -> bool {
    identity
        .file()
        .is_ok_and(|file| stat(file.as_str()).is_ok())
}

/// Remembers that the disk was seen; `false` if it was before.
pub(super) fn begin(identity: &Identity) -> bool {
    identity.file().is_ok_and(|file| {
        create(&file).is_ok_and(|file| {
            let text = Text::<64>::new(Record::default());
            write(file, text.as_str().as_bytes()).is_ok()
        })
    })
}

/// Forgets the disk.
pub(super) fn forget(identity: &Identity) {
    if let Ok(file) = identity.file() {
        // It may be forgotten already.
        let _ = unlink(file.as_str());
    }
}

/// Whether this has not been told before, which from now on it has: what is wrong with a device, or
/// with a rule, is told once and not each time that a disk comes.
pub(super) fn is_news(what: fmt::Arguments<'_>) -> bool {
    told(what).is_ok_and(|file| create(&file).is_ok())
}

/// Whether this has been told.
pub(super) fn was_told(what: fmt::Arguments<'_>) -> bool {
    told(what).is_ok_and(|file| stat(file.as_str()).is_ok())
}

/// The file that says that this was told.
fn told(what: fmt::Arguments<'_>) -> Result<Path, Errno> {
    /// The 64-bit FNV-1a hash of what is written to it.
    struct Hash(u64);
    impl fmt::Write for Hash {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for byte in text.bytes() {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
            Ok(())
        }
    }
    let mut hash = Hash(0xcbf2_9ce4_8422_2325);
    let _ = hash.write_fmt(what);
    path(format_args!("{DIRECTORY}/told-{:016x}", hash.0))
}

/// Makes a file that is not there.
fn create(file: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(CWD, file, flags, Mode::from_raw_mode(0o600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_told_from_another_of_its_name() {
        let identity = Identity::parse("sdb1.4294967312.17").unwrap();
        assert_eq!(identity.to_string(), "sdb1.4294967312.17");
        assert_eq!(identity.name(), "sdb1");
        assert_eq!(identity.node().as_str(), "/dev/sdb1");
        let changed = Identity::parse("sdb1.4294967312.18").unwrap();
        assert!(identity != changed && identity.is_of_same_device(&changed));
        let later = Identity::parse("sdb1.8589934608.18").unwrap();
        assert!(!later.is_of_same_device(&changed));
        let raid = Identity::parse("cciss!c0d0.1.0").unwrap();
        assert_eq!(raid.node().as_str(), "/dev/cciss/c0d0");
        for file in ["", "sdb1", "sdb1.1", "sdb1.x.1", "told-0123456789abcdef"] {
            assert_eq!(Identity::parse(file), None, "{file}");
        }
    }

    #[test]
    fn what_is_kept_is_read_again_whatever_the_label_is() {
        for label in ["", "BACKUP", "a\nb\n\n", "\n"] {
            let record = Record {
                state: State::Mounted,
                filesystem: 0x0811,
                is_read_only: true,
                name: "BACKUP-2".try_into().unwrap(),
                fstype: "vfat".try_into().unwrap(),
                uuid: "0123-4567".try_into().unwrap(),
                label: label.try_into().unwrap(),
            };
            assert_eq!(Record::parse(&record.to_string()).as_ref(), Some(&record));
        }
        let quiet = Record::default();
        assert_eq!(Record::parse(&quiet.to_string()), Some(quiet));
        for text in ["", "mounted\n", "odd\n0\nro\n\n\n\n", "told\nx\nro\n\n\n\n"] {
            assert_eq!(Record::parse(text), None, "{text:?}");
        }
    }
}
