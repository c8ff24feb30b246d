//! The block devices that there are.

use super::Report;
use crate::error::Code;
use crate::sys::block::{self, WINDOW};
use crate::sys::buffer::Buffer;
use crate::text::Text;

/// The most devices that are listed.
const DEVICES: usize = 24;

/// Lists what there is instead of a root: name, size, and what is on it, of each block device that is not empty.
pub(super) fn list(report: &mut Report<'_>, _code: Code) {
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
    if count == 0 {
        report.line(format_args!(
            "there are no block devices: is the disk's driver loaded?"
        ));
        return;
    }
    // Partitions follow their disk.
    devices.sort_unstable_by_key(|device| device.number);
    let mut window = Buffer::new();
    let shown = devices
        .iter()
        .take_while(|device| report.has_room_for_the_rest() && show(report, device, &mut window))
        .count();
    if let Some(more @ 1..) = count.checked_sub(shown) {
        report.line(format_args!("… and {more} more block devices"));
    }
}

fn show(report: &mut Report<'_>, device: &block::Device, window: &mut Buffer<WINDOW>) -> bool {
    let size = Size(device.sectors);
    let mut line = Text::<256>::new(format_args!("/dev/{}: {size}", device.name));
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
    report.line(format_args!("{line}"))
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
