//! The block devices that there are, and which of them come close to the one that was asked for.

use super::Report;
use crate::error::Code;
use crate::error::Fault;
use crate::parse::device::DeviceRef;
use crate::parse::near_miss::{Advice, Seen, near_miss};
use crate::parse::partition::Entry;
use crate::parse::superblock::Content;
use crate::sys::block::{self, Depth, WINDOW};
use crate::sys::buffer::Buffer;
use crate::text::Text;

/// The most devices that are listed.
const DEVICES: usize = 24;

/// The most near misses that are named.
const NEAR_MISSES: usize = 3;

/// Names the devices that come close to the root that was asked for, and lists all block devices
/// that are not empty: name, size, driver, what is on it and its names.
#[inline(never)]
pub(super) fn list(report: &mut Report<'_>, code: Code) {
    let request = report.machine.root_request.root;
    if let Some(wanted) = DeviceRef::parse(request.as_str()).ok()
        && code == Code::RootNotFound
    {
        each_near_miss(&wanted, &mut |advice| {
            report.line(format_args!("{advice}"));
        });
    }
    let mut devices = heapless::Vec::<block::Device, DEVICES>::new();
    let mut window = Buffer::new();
    let mut count = 0_usize;
    // A kernel without block devices has no such class.
    let _ = block::each_device(|device| {
        if device.sectors() > 0 {
            count = count.saturating_add(1);
            // Partitions follow their disk. What does not fit is counted.
            let place = devices.partition_point(|other| other.number < device.number);
            let _ = devices.insert(place, device.clone());
        }
        true
    });
    if count == 0 {
        report.line(format_args!(
            "there are no block devices: is the disk's driver loaded?"
        ));
        return;
    }
    let shown = devices
        .iter()
        .take_while(|device| report.has_room_for_the_rest() && show(report, device, &mut window))
        .count();
    if let Some(more @ 1..) = count.checked_sub(shown) {
        report.line(format_args!("… and {more} more block devices"));
    }
}

/// What is known of a device: what is on it, and its entry in a partition table.
fn look(
    device: &block::Device,
    window: &mut Buffer<WINDOW>,
) -> (Option<Result<Content, Fault>>, Option<Entry>) {
    let content = device
        .node()
        .ok()
        .map(|node| block::content(&node, window, Depth::Everything));
    let entry = device.partition.and_then(|number| {
        let entry = block::table_entry(&device.disk()?, number);
        entry.ok().flatten()
    });
    (content, entry)
}

/// Calls `tell` with each device that comes close to the one that is wanted, up to a few.
#[inline(never)]
pub(in crate::boot) fn each_near_miss(wanted: &DeviceRef<'_>, tell: &mut dyn FnMut(&Advice<'_>)) {
    let mut window = Buffer::new();
    let mut count = 0_usize;
    // A kernel without block devices has no such class.
    let _ = block::each_device(|device| {
        if let (Some(Ok(content)), entry) = look(device, &mut window)
            && device.sectors() > 0
        {
            let seen = Seen {
                name: &device.name,
                partition: device.partition,
                content: &content,
                entry: entry.as_ref(),
            };
            if let Some(near) = near_miss(wanted, &seen) {
                tell(&Advice { wanted, seen, near });
                count = count.saturating_add(1);
            }
        }
        count < NEAR_MISSES
    });
}

#[inline(never)]
fn show(report: &mut Report<'_>, device: &block::Device, window: &mut Buffer<WINDOW>) -> bool {
    let size = Size(device.sectors());
    let mut line = Text::<512>::new(format_args!("/dev/{}: {size}", device.name));
    if let Some(driver) = device.driver() {
        line.push(format_args!(", {driver}"));
    }
    let (content, entry) = look(device, window);
    let mut is_filesystem = false;
    match content {
        Some(Ok(content)) => {
            is_filesystem = content.kind.fstype().is_some();
            for (number, (kind, uuid, label)) in content.each().enumerate() {
                let also = if number > 0 { "and also " } else { "" };
                line.push(format_args!(", {also}{kind}"));
                if let Some(uuid) = uuid {
                    line.push(format_args!(", UUID={uuid}"));
                }
                if let Some(label) = label {
                    line.push(format_args!(", LABEL={label}"));
                }
            }
        }
        Some(Err(fault)) => line.push(format_args!(", {fault}")),
        None => {}
    }
    if let Some(Entry { partuuid, name }) = entry {
        line.push(format_args!(", PARTUUID={partuuid}"));
        if let Some(name) = name {
            line.push(format_args!(", PARTLABEL={name}"));
        }
    }
    let is_shown = report.line(format_args!("{line}"));
    // A filesystem that takes the disk may have the mark of a table in it.
    if !is_filesystem && let Some(flaw) = block::table_flaw(device) {
        report.line(format_args!(
            "/dev/{} lacks partitions: {flaw}",
            device.name
        ));
    }
    is_shown
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
