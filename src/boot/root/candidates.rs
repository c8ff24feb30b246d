//! Which device is taken where several have the name that was asked for: copies of a disk, or a
//! label that was given twice.
//!
//! It is the first one in the order in which the kernel counts devices ([`device_order`]); the
//! order in which devices appear, and in which sysfs lists them, changes from boot to boot. A
//! device on which something else was recognised too is taken only if there is no other. The
//! devices of a filesystem that lies on several count as one.

use super::device::Device;
use crate::boot::journal::Journal;
use crate::error::{DETAIL_MAX, Stage};
use crate::parse::device::DeviceRef;
use crate::parse::device_order::device_order;
use crate::sys::path::Path;
use crate::text::Text;

/// The most that are named.
const NAMED: usize = 8;

/// Devices that have the name.
#[derive(Default)]
pub(super) struct Candidates {
    first: Option<Device>,
    /// Their nodes, in order.
    nodes: heapless::Vec<Path, NAMED>,
    count: usize,
}

impl Candidates {
    /// Whether there is none so far.
    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Adds one.
    pub(super) fn add(&mut self, device: Device) {
        let is_before = |first: &Device| {
            let by_doubt = device.also.is_some().cmp(&first.also.is_some());
            by_doubt
                .then_with(|| device_order(&device.node, &first.node))
                .is_lt()
        };
        let first = self.first.as_ref();
        let is_first = first.is_none_or(is_before);
        let is_member =
            first.is_some_and(|first| first.spread.is_some() && first.spread == device.spread);
        if !is_member {
            self.count = self.count.saturating_add(1);
            let place = self
                .nodes
                .partition_point(|node| device_order(node, &device.node).is_lt());
            if self.nodes.is_full() && place < NAMED {
                self.nodes.pop();
            }
            // Behind the last that is named it is only counted.
            let _ = self.nodes.insert(place, device.node.clone());
        }
        if is_first {
            self.first = Some(device);
        }
    }

    /// The one that is used. If there are others, that is a warning.
    pub(super) fn choose(self, journal: &mut Journal, wanted: DeviceRef<'_>) -> Option<Device> {
        let first = self.first?;
        if self.count > 1 {
            let mut nodes = Text::<DETAIL_MAX>::EMPTY;
            for node in &self.nodes {
                let separator = if nodes.is_empty() { "" } else { ", " };
                nodes.push(format_args!("{separator}{node}"));
            }
            if let Some(more @ 1..) = self.count.checked_sub(self.nodes.len()) {
                nodes.push(format_args!(" and {more} more"));
            }
            let node = &first.node;
            journal.warn(
                Stage::Root,
                format_args!("{wanted} is on {nodes}: {node} is taken"),
            );
        }
        Some(first)
    }
}
