//! Block devices as sysfs shows them (Documentation/ABI/stable/sysfs-block), and what is on them.

use core::fmt::Write as _;
use core::mem::MaybeUninit;

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{
    Advice, CWD, FileType, Mode, SeekFrom, fadvise, major, makedev, minor, mknodat, readlinkat_raw,
    seek, stat,
};
use rustix::io::{Errno, pread};

use super::buffer::Buffer;
use super::fs::{each_name, open_file, read_attribute};
use super::path::{Path, path};
use super::raw::call;
use crate::error::{During, Fault, Op};
use crate::parse::partition::{self, Entry, Flaw};
use crate::parse::read_at::ReadAt;
use crate::parse::superblock::{self, Kind};
use crate::parse::uevent::Properties;
use crate::text::Text;

/// Where sysfs lists the devices.
pub const CLASS: &str = "/sys/class/block";

pub use crate::parse::superblock::{Content, Depth, WINDOW};

/// What sysfs and the device-mapper count in, in bytes, whatever a device's own sectors are.
pub const SECTOR: u64 = 512;

/// A block device: a disk or a partition.
#[derive(Clone, Debug)]
pub struct Device {
    /// The kernel's name, without `/dev/`; `!` in sysfs is `/` here.
    pub name: heapless::String<64>,
    /// The device number.
    pub number: (u32, u32),
    /// The number of the partition; `None` for a whole disk.
    pub partition: Option<u32>,
}

impl Device {
    /// Its node in devtmpfs.
    ///
    /// # Errors
    /// `ENAMETOOLONG`: never, as the name is bounded.
    pub fn node(&self) -> Result<Path, Errno> {
        path(format_args!("/dev/{}", self.name))
    }

    /// The device that the kernel calls `name`, if it is there.
    pub fn named(name: &str) -> Option<Self> {
        Self::at(format_args!("{CLASS}/{}", SysfsName(name)))
    }

    /// The disk that this partition is on.
    pub fn disk(&self) -> Option<Self> {
        self.partition?;
        // The class has links into the tree of devices, where a partition's directory is inside its
        // disk's.
        Self::at(format_args!("{CLASS}/{}/..", SysfsName(&self.name)))
    }

    /// The name of the driver of its disk: `virtio_blk`, `sd`, `nvme`, …
    pub fn driver(&self) -> Option<Text<32>> {
        let up = if self.partition.is_some() { "/.." } else { "" };
        let name = SysfsName(&self.name);
        // What an NVMe namespace or a card's block device belongs to is a class device, whose
        // parent has the driver.
        ["device/driver", "device/device/driver"]
            .iter()
            .find_map(|link| {
                let link = path(format_args!("{CLASS}/{name}{up}/{link}")).ok()?;
                let mut buffer = [MaybeUninit::uninit(); 256];
                let (target, _) = readlinkat_raw(CWD, link.as_str(), &mut buffer).ok()?;
                target
                    .rsplit(|byte| *byte == b'/')
                    .next()
                    .map(Text::from_bytes)
            })
    }

    /// The size in sectors of 512 bytes, whatever the device's own sectors are. None for a device
    /// that is gone.
    pub fn sectors(&self) -> u64 {
        self.attribute("size").unwrap_or_default()
    }

    /// The size of its sectors, in bytes.
    fn sector_size(&self) -> u32 {
        const USUAL: u64 = 512;
        let size = self.attribute("queue/logical_block_size");
        size.unwrap_or(USUAL) as u32
    }

    /// The number that its attribute `name` holds.
    fn attribute(&self, name: &str) -> Option<u64> {
        number_in(format_args!("{CLASS}/{}/{name}", SysfsName(&self.name)))
    }

    fn at(directory: core::fmt::Arguments<'_>) -> Option<Self> {
        let mut buffer = [0; 1024];
        let uevent = read_attribute(format_args!("{directory}/uevent"), &mut buffer)?;
        let properties = Properties::from_sysfs(uevent).ok()?;
        Some(Self {
            name: heapless::String::try_from(properties.devname?).ok()?,
            number: (properties.major?, properties.minor?),
            partition: properties.partn,
        })
    }
}

/// A device's name as its directory in sysfs has it, where a slash cannot be: `cciss!c0d0`.
struct SysfsName<'a>(&'a str);

impl core::fmt::Display for SysfsName<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| formatter.write_char(if c == '/' { '!' } else { c }))
    }
}

// What follows is of a device by the name of its directory in sysfs.

/// The number of the medium in the disk, or in the disk that this is a partition of: another medium
/// has another (`diskseq`, Linux 5.15); 0 if there is none.
pub fn medium(name: &str) -> u64 {
    let of_disk = || number_in(format_args!("{CLASS}/{name}/../diskseq"));
    let own = number_in(format_args!("{CLASS}/{name}/diskseq"));
    own.or_else(of_disk).unwrap_or_default()
}

/// Whether the device cannot be written.
pub fn is_read_only(name: &str) -> bool {
    number_in(format_args!("{CLASS}/{name}/ro")) == Some(1)
}

/// The path of the device's directory in sysfs, from `/devices` on.
pub fn devpath(name: &str) -> Option<Text<512>> {
    let link = path(format_args!("{CLASS}/{name}")).ok()?;
    let mut buffer = [MaybeUninit::uninit(); 512];
    let (target, _) = readlinkat_raw(CWD, link.as_str(), &mut buffer).ok()?;
    Some(Text::from_bytes(target))
}

/// Whether the medium of the drive can be changed.
pub fn is_removable(name: &str) -> bool {
    number_in(format_args!("{CLASS}/{name}/removable")) == Some(1)
}

/// Has the kernel ask a drive for its medium every two seconds, if the medium can be changed and
/// the drive does not tell of it by itself (Documentation/ABI/stable/sysfs-block,
/// `events_poll_msecs`). A machine with udev does so for all drives.
pub fn watch_for_media(name: &str) {
    let has_media = |attribute: &str| {
        let mut buffer = [0; 64];
        let events = read_attribute(format_args!("{CLASS}/{name}/{attribute}"), &mut buffer);
        let words = events.unwrap_or_default().split(u8::is_ascii_whitespace);
        words.into_iter().any(|word| word == b"media_change")
    };
    if is_removable(name)
        && has_media("events")
        && !has_media("events_async")
        && let Ok(interval) = path(format_args!("{CLASS}/{name}/events_poll_msecs"))
    {
        // Without it a change is noticed when the disk is used.
        let _ = super::fs::write_file(CWD, &interval, b"2000");
    }
}

fn number_in(file: core::fmt::Arguments<'_>) -> Option<u64> {
    let mut buffer = [0; 32];
    let text = read_attribute(file, &mut buffer)?;
    core::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// Whether a drive for discs, which is open, has one. Other devices have, as far as is known here.
pub fn has_medium(drive: &OwnedFd) -> bool {
    // Of include/uapi/linux/cdrom.h.
    const CDROM_DRIVE_STATUS: usize = 0x5326;
    const CDSL_CURRENT: usize = i32::MAX as usize;
    const CDS_NO_DISC: usize = 1;
    const CDS_DRIVE_NOT_READY: usize = 3;
    let arguments = [
        drive.as_raw_fd() as usize,
        CDROM_DRIVE_STATUS,
        CDSL_CURRENT,
        0,
        0,
    ];
    // SAFETY: the request takes a number and no pointer.
    let status = unsafe { call(linux_raw_sys::general::__NR_ioctl, arguments) };
    !status.is_ok_and(|status| (CDS_NO_DISC..=CDS_DRIVE_NOT_READY).contains(&status))
}

/// Calls `visit` with each block device until it answers `false`.
///
/// # Errors
/// Those of reading the class directory. A device that vanishes while it is looked at is not
/// visited.
pub fn each_device(mut visit: impl FnMut(&Device) -> bool) -> Result<(), Fault> {
    visit_devices(&mut visit)
}

/// [`each_device`] without a copy of the code for each visitor.
#[inline(never)]
fn visit_devices(visit: &mut dyn FnMut(&Device) -> bool) -> Result<(), Fault> {
    each_name(CLASS, |name| {
        let device = Device::at(format_args!("{CLASS}/{name}"));
        device.is_none_or(|device| visit(&device))
    })
}

/// Makes the node of the device `name`, where no devtmpfs does.
pub fn make_node(name: &str, (major, minor): (u32, u32)) {
    if let Ok(node) = path(format_args!("/dev/{name}")) {
        // A node that is there already is the one that is wanted.
        let mode = Mode::from_raw_mode(0o600);
        let _ = mknodat(
            CWD,
            node.as_str(),
            FileType::BlockDevice,
            mode,
            makedev(major, minor),
        );
    }
}

/// Whether another device is made of the one at `node`, as by the device-mapper: then it cannot be
/// mounted itself.
pub fn is_held(node: &str) -> bool {
    let mut is_held = false;
    if let Some(name) = node.strip_prefix("/dev/")
        && let Ok(holders) = path(format_args!("{CLASS}/{}/holders", SysfsName(name)))
    {
        // Without sysfs nothing is known to hold it.
        let _ = each_name(&holders, |_| {
            is_held = true;
            false
        });
    }
    is_held
}

/// The device number of the block device node at `path`.
///
/// # Errors
/// Those of stat(2); `ENOTBLK` if it is something else.
pub fn number_of(path: &str) -> Result<(u32, u32), Errno> {
    let stat = stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Err(Errno::NOTBLK);
    }
    Ok((major(stat.st_rdev), minor(stat.st_rdev)))
}

/// What lies on the device at `node`.
///
/// # Errors
/// Those of [`Opened::open`] and [`Opened::content`].
pub fn content(node: &str, window: &mut Buffer<WINDOW>, depth: Depth) -> Result<Content, Fault> {
    Opened::open(node)?.content(window, depth)
}

/// Fills `into` with what begins at the byte `offset` of the device at `node`.
///
/// # Errors
/// Those of openat(2), lseek(2) and read(2); `ENODATA` if the device ends before.
pub fn read_at(node: &str, offset: u64, into: &mut [u8]) -> Result<(), Fault> {
    let mut file = Opened::open(node)?;
    let read = file.read_at(offset, into);
    read.ok_or(file.failed.unwrap_or(Errno::NODATA))
        .during(Op::Read, format_args!("{node} at byte {offset}"))
}

/// The entry of the partition with this number in the table of the disk `disk`.
///
/// # Errors
/// Those of openat(2), lseek(2) and read(2).
pub fn table_entry(disk: &Device, number: u32) -> Result<Option<Entry>, Fault> {
    let node = disk.node().during(Op::Open, &disk.name)?;
    let mut file = Opened::open(&node)?;
    let entry = partition::entry(&mut file, disk.sector_size(), number);
    match file.failed {
        Some(errno) if entry.is_none() => Err(errno).during(Op::Read, &node),
        _ => Ok(entry),
    }
}

/// What is wrong with the partition table of a whole disk, of which the kernel made no partitions
/// or not all; `None` if nothing is, or there is no table.
pub fn table_flaw(disk: &Device) -> Option<Flaw> {
    if disk.partition.is_some() {
        return None;
    }
    let mut has_partitions = false;
    let directory = path(format_args!("{CLASS}/{}", SysfsName(&disk.name))).ok()?;
    // The directories of partitions are in that of their disk, and are called as they are.
    let _ = each_name(&directory, |name| {
        let file = path(format_args!("{directory}/{name}/partition"));
        has_partitions = file.is_ok_and(|file| stat(file.as_str()).is_ok());
        !has_partitions
    });
    let node = disk.node().ok()?;
    let mut opened = Opened::open(&node).ok()?;
    match partition::flaw(&mut opened, disk.sector_size(), has_partitions)? {
        Flaw::Unread(_) if disk.name.starts_with("loop") => Some(Flaw::Loop),
        // Such a device has one minor number (GENHD_FL_NO_PART).
        Flaw::Unread(_) if disk.attribute("ext_range") == Some(1) => Some(Flaw::Whole),
        flaw => Some(flaw),
    }
}

/// A device that is open for reading.
pub struct Opened<'n> {
    node: &'n str,
    file: OwnedFd,
    size: u64,
    /// Why the first read that failed did.
    failed: Option<Errno>,
}

impl<'n> Opened<'n> {
    /// Opens the device at `node`.
    ///
    /// # Errors
    /// Those of openat(2) and lseek(2); `ENOMEDIUM` from a drive without a medium is one of them.
    pub fn open(node: &'n str) -> Result<Self, Fault> {
        Self::of(open_file(CWD, node)?, node)
    }

    /// The device, or the file with a filesystem in it, that is open already; `node` is what it is
    /// called in errors.
    ///
    /// # Errors
    /// Those of lseek(2).
    pub fn of(file: OwnedFd, node: &'n str) -> Result<Self, Fault> {
        // A few places are read, and what is read ahead of them is thrown away when the last
        // descriptor of the device is closed. Where nothing is read ahead anyway there is no such
        // advice.
        let _ = fadvise(&file, 0, None, Advice::Random);
        let size = seek(&file, SeekFrom::End(0)).during(Op::Read, node)?;
        Ok(Self {
            node,
            file,
            size,
            failed: None,
        })
    }

    /// Whether there is nothing, as of a drive without a medium.
    pub const fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// What lies on it.
    ///
    /// # Errors
    /// Those of read(2), if nothing was recognised; `ENOMEM`.
    pub fn content(&mut self, window: &mut Buffer<WINDOW>, depth: Depth) -> Result<Content, Fault> {
        let window = window.bytes_mut().during(Op::Read, self.node)?;
        let content = superblock::identify(self, window, depth);
        match self.failed {
            Some(errno) if content.kind == Kind::Unknown => Err(errno).during(Op::Read, self.node),
            _ => Ok(content),
        }
    }

    /// Whether it is a member of a RAID array that has its superblock at the end, behind a
    /// filesystem of `taken` bytes. One that cannot be read is none.
    pub fn is_member_by_its_end(&mut self, taken: Option<u64>) -> bool {
        superblock::is_member_by_its_end(self, taken.unwrap_or_default())
    }
}

impl ReadAt for Opened<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, mut offset: u64, into: &mut [u8]) -> Option<()> {
        let mut rest = into;
        // What lies behind the end is no failure of the device.
        let end = offset.checked_add(rest.len() as u64)?;
        if end > self.size {
            return None;
        }
        while !rest.is_empty() {
            match pread(&self.file, &mut *rest, offset) {
                Ok(0) => return None,
                Ok(len) => {
                    offset = offset.saturating_add(len as u64);
                    rest = rest.get_mut(len..)?;
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    self.failed.get_or_insert(errno);
                    return None;
                }
            }
        }
        Some(())
    }
}
