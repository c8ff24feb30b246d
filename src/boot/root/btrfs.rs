//! A btrfs that lies on several devices (btrfs(5), "MULTIPLE DEVICES"): the kernel mounts it when
//! all of them were registered. udev does that where it runs; here each device with the UUID of the
//! filesystem is registered before the mount.

use super::Machine;
use super::device::Device;
use crate::cause::Cause;
use crate::error::{At, Code, Error, Fault, Op, SUBJECT_MAX, Stage};
use crate::parse::device_order::device_order;
use crate::parse::superblock::Kind;
use crate::parse::uuid::Uuid;
use crate::plan::Plan;
use crate::sys::block::{self, Depth};
use crate::sys::buffer::Buffer;
use crate::sys::{btrfs, clock, kmsg};
use crate::text::Text;

const FSTYPE: &str = "btrfs";

/// Registers the devices of the filesystem on `device`, if it lies on several, and waits for those
/// that are missing as long as `rootwait=` says.
///
/// # Errors
/// [`Code::RootMount`] when some do not come, unless `degraded` is among the options;
/// [`Code::EventLoop`].
#[inline(never)]
pub(super) fn register_all(
    machine: &mut Machine,
    plan: &Plan<'_>,
    device: &Device,
) -> Result<(), Error> {
    let is_asked_for = plan.rootfstype.is_empty() && device.also.is_none()
        || plan.rootfstype.iter().any(|fstype| fstype == FSTYPE);
    let Some((uuid, devices)) = device.spread.filter(|_| is_asked_for) else {
        return Ok(());
    };
    machine.load_for_filesystem(plan, FSTYPE, "");
    let deadline = plan.rootwait.limit().map(|limit| clock::now() + limit);
    let mut is_waiting = false;
    let there = loop {
        let there = register(&uuid).at(Code::RootMount)?;
        let count = there.len() as u64;
        if count >= devices {
            return Ok(());
        }
        if !is_waiting {
            is_waiting = true;
            kmsg::notice(
                Stage::Root,
                format_args!("waiting for the devices of {uuid}: {count} of {devices} are there"),
            );
        }
        if !machine.wait_for_device(plan, deadline)? {
            break there;
        }
    };
    let mut names = Text::<SUBJECT_MAX>::EMPTY;
    for name in &there {
        let separator = if names.is_empty() { "" } else { ", " };
        names.push(format_args!("{separator}/dev/{name}"));
    }
    let error = Error::new(
        Code::RootMount,
        Op::Mount,
        format_args!("{} as {FSTYPE}", device.node),
        format_args!(
            "{} of the {devices} devices of this filesystem are there: {names}",
            there.len(),
        ),
    )
    .because(Cause::MissingDevices);
    let flags = plan.rootflags.unwrap_or_default();
    if flags.split(',').any(|word| word == "degraded") {
        machine.journal.warn_of(&error);
        return Ok(());
    }
    Err(error)
}

/// The most devices of one filesystem.
const DEVICES: usize = 64;

type Names = heapless::Vec<heapless::String<64>, DEVICES>;

/// Registers each device of that filesystem with the kernel; their names, in order.
fn register(uuid: &Uuid) -> Result<Names, Fault> {
    let mut names = Names::new();
    let mut window = Buffer::new();
    let mut failed = None;
    block::each_device(|device| {
        let Ok(node) = device.node() else { return true };
        let content = block::content(&node, &mut window, Depth::Superblock);
        let is_member = content.is_ok_and(|content| {
            content.kind == Kind::Filesystem(FSTYPE) && content.uuid == Some(*uuid)
        });
        // A device that another one is made of has the same content.
        if is_member && !block::is_held(&node) {
            match btrfs::register(&node) {
                Ok(()) => {
                    let place =
                        names.partition_point(|name| device_order(name, &device.name).is_lt());
                    // No filesystem has more.
                    let _ = names.insert(place, device.name.clone());
                }
                Err(fault) => failed = Some(fault),
            }
        }
        true
    })?;
    match failed {
        Some(fault) if names.is_empty() => Err(fault),
        _ => Ok(names),
    }
}
