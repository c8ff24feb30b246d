//! What there is, for the report of a boot that misses something.

use rustix::fs::CWD;

use crate::error::Stage;
use crate::sys::block::{self, WINDOW};
use crate::sys::buffer::Buffer;
use crate::sys::fs::{each_name, read_file};
use crate::sys::kmsg;
use crate::sys::path::path;
use crate::text::Text;

/// The most devices that are listed: the report is one screen of 40 lines, and a device with a UUID takes two.
const DEVICES: usize = 16;

/// virtio device number of a console (Virtual I/O Device specification, section 5).
const VIRTIO_CONSOLE: &[u8] = b"0x0003";

/// Logs one line for each block device that is not empty: name, size, and what is on it.
pub(super) fn log_block_devices() {
    let mut devices = heapless::Vec::<block::Device, DEVICES>::new();
    let mut count = 0_usize;
    // A kernel without block devices has no such class.
    let _ = block::each_device(|device| {
        if device.sectors > 0 {
            count = count.saturating_add(1);
            // What does not fit is counted.
            let _ = devices.push(device.clone());
        }
        true
    });
    // Partitions follow their disk.
    devices.sort_unstable_by_key(|device| device.number);
    let mut window = Buffer::new();
    for device in &devices {
        log_device(device, &mut window);
    }
    match count {
        0 => kmsg::error(
            Stage::Root,
            format_args!("  there are no block devices: is the disk's driver loaded?"),
        ),
        1..=DEVICES => {}
        _ => kmsg::error(
            Stage::Root,
            format_args!("  … and {} more block devices", count - DEVICES),
        ),
    }
}

fn log_device(device: &block::Device, window: &mut Buffer<WINDOW>) {
    let mut line = Text::<256>::new(format_args!(
        "  /dev/{}: {}",
        device.name,
        Size(device.sectors)
    ));
    match device.node().map(|node| block::probe(&node, window)) {
        Ok(Ok(Some(superblock))) => {
            line.push(format_args!(", {}", superblock.fstype));
            if let Some(uuid) = superblock.uuid {
                line.push(format_args!(", UUID={uuid}"));
            }
            if let Some(label) = superblock.label {
                line.push(format_args!(", LABEL={label}"));
            }
        }
        Ok(Ok(None)) => line.push(format_args!(", no filesystem that berth knows")),
        Ok(Err(fault)) => line.push(format_args!(", {fault}")),
        Err(_) => {}
    }
    kmsg::error(Stage::Root, format_args!("{line}"));
}

/// True if a virtio console exists, whose ports may still be on their way.
pub(super) fn has_virtio_console() -> bool {
    let mut found = false;
    // Without virtio there is no such bus.
    let _ = each_name("/sys/bus/virtio/devices", |name| {
        let mut buffer = [0; 16];
        found = path(format_args!("/sys/bus/virtio/devices/{name}/device")).is_ok_and(|file| {
            read_file(CWD, &file, &mut buffer).is_ok_and(|id| id.trim_ascii_end() == VIRTIO_CONSOLE)
        });
        !found
    });
    found
}

/// Sectors of 512 bytes in the largest binary unit that leaves a number.
struct Size(u64);

impl core::fmt::Display for Size {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        const UNITS: &[(&str, u64)] = &[("TiB", 1 << 31), ("GiB", 1 << 21), ("MiB", 1 << 11)];
        for (unit, sectors) in UNITS {
            if self.0 >= *sectors {
                return write!(formatter, "{} {unit}", self.0 / sectors);
            }
        }
        write!(formatter, "{} KiB", self.0 / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn sizes_are_shown_in_a_unit_that_fits() {
        for (sectors, shown) in [
            (0, "0 KiB"),
            (2048, "1 MiB"),
            (4 << 21, "4 GiB"),
            (3 << 31, "3 TiB"),
        ] {
            assert_eq!(Size(sectors).to_string(), shown);
        }
    }
}
