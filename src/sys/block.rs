//! Block devices as sysfs shows them (Documentation/ABI/stable/sysfs-block), and what is on them.

use rustix::fs::{CWD, FileType, Mode, major, makedev, minor, mknodat, stat};
use rustix::io::Errno;

use super::buffer::Buffer;
use super::fs::{each_name, open_file, read_file};
use super::path::{Path, path};
use crate::error::{During, Fault, Op};
use crate::parse::superblock::{self, Superblock};
use crate::parse::uevent::Properties;

const CLASS: &str = "/sys/class/block";

pub use crate::parse::superblock::WINDOW;

/// A block device: a disk or a partition.
#[derive(Clone, Debug)]
pub struct Device {
    /// The kernel's name, without `/dev/`; `!` in sysfs is `/` here.
    pub name: heapless::String<64>,
    /// The device number.
    pub number: (u32, u32),
    /// The size in sectors of 512 bytes, whatever the device's own sectors are.
    pub sectors: u64,
}

impl Device {
    /// Its node in devtmpfs.
    ///
    /// # Errors
    /// `ENAMETOOLONG`: never, as the name is bounded.
    pub fn node(&self) -> Result<Path, Errno> {
        path(format_args!("/dev/{}", self.name))
    }
}

/// Calls `visit` with each block device until it answers `false`.
///
/// # Errors
/// Those of reading the class directory. A device that vanishes while it is looked at is not visited.
pub fn each_device(mut visit: impl FnMut(&Device) -> bool) -> Result<(), Fault> {
    each_name(CLASS, |name| {
        device(name).is_none_or(|device| visit(&device))
    })
}

fn device(sysfs_name: &str) -> Option<Device> {
    let mut buffer = [0; 1024];
    let attribute = |name: &str| path(format_args!("{CLASS}/{sysfs_name}/{name}")).ok();
    let uevent = read_file(CWD, &attribute("uevent")?, &mut buffer).ok()?;
    let properties = Properties::from_sysfs(uevent).ok()?;
    let name = heapless::String::try_from(properties.devname?).ok()?;
    let number = (properties.major?, properties.minor?);
    let size = read_file(CWD, &attribute("size")?, &mut buffer).ok()?;
    let sectors = core::str::from_utf8(size.trim_ascii()).ok()?.parse().ok()?;
    Some(Device {
        name,
        number,
        sectors,
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

/// Recognises the filesystem on the device at `path`, if it is one that berth knows.
///
/// `window` is room for the start of the device.
///
/// # Errors
/// Those of openat(2) and read(2); `ENOMEDIUM` from a drive without a medium is one of them.
pub fn probe<'w>(
    path: &str,
    window: &'w mut Buffer<WINDOW>,
) -> Result<Option<Superblock<'w>>, Fault> {
    let device = open_file(CWD, path)?;
    let start = window.fill_from(&device).during(Op::Read, path)?;
    Ok(superblock::probe(start))
}
