//! `berth.verity=`: a root of which every block is checked against a hash
//! (Documentation/admin-guide/device-mapper/verity.rst).
//!
//! A device whose reads the kernel checks is put above the one that was found, and is mounted
//! read-only. The kind of its filesystem is read again from it, because what was read before was
//! not checked.
//!
//! The hash tree begins with the superblock of veritysetup(8). It lies where `berth.verity=` says,
//! or else behind the filesystem, at the next multiple of 4096.

use core::fmt;

use super::Machine;
use super::device::Device;
use super::mount::{self, Mounted};
use super::search::Search;
use crate::cause::Cause;
use crate::error::{At, Code, During, Error, Op};
use crate::parse::verity::tree::HashTree;
use crate::parse::verity::{self as parse, Tree, Verity};
use crate::plan::Plan;
use crate::sys::block::{self, Depth, WINDOW};
use crate::sys::buffer::Buffer;
use crate::sys::path::path;
use crate::sys::verity::{self, Place};
use crate::sys::{clock, device_mapper, kmsg};
use crate::text::Text;

/// The name of the device in the device-mapper.
pub(super) const NAME: &str = "root";

/// Mounts the filesystem on `device`, checked.
///
/// # Errors
/// [`Code::RootVerity`]; [`Code::RootNotFound`] for a device with the hash tree that does not come;
/// [`Code::RootCorrupt`] if what had to be read so far is not what the root hash says; those of
/// mounting a root.
#[inline(never)]
pub(super) fn mount<'s>(
    machine: &mut Machine,
    plan: &Plan<'s>,
    device: &Device,
    options: &Verity<'_>,
) -> Result<Mounted<'s>, Error> {
    let mark = kmsg::LogPosition::here();
    let verified = open(machine, plan, device, options)?;
    let mounted =
        identify(verified).and_then(|device| device.mount(machine, plan, mount::place(plan)));
    mounted.map_err(|error| {
        // Else the next candidate could not use the device below. If this fails, too, the first
        // failure is the one to report.
        let _ = device_mapper::remove(NAME);
        explain(error, &mark)
    })
}

/// Puts the checked device above `device` and says its number.
#[inline(never)]
fn open(
    machine: &mut Machine,
    plan: &Plan<'_>,
    device: &Device,
    options: &Verity<'_>,
) -> Result<(u32, u32), Error> {
    machine.load_by_name(plan, "dm_verity");
    let found;
    let (node, offset) = match options.tree {
        Tree::Offset(offset) => (&device.node, offset),
        Tree::AfterData => (&device.node, behind(device)?),
        Tree::Device(wanted) => {
            let deadline = plan.rootwait.limit().map(|limit| clock::now() + limit);
            let mut search = Search::for_hash_tree(wanted)?;
            found = search
                .run(machine, plan, deadline)?
                .ok_or_else(|| search.not_found(plan, "berth.verity"))?;
            (&found.node, 0)
        }
    };
    let place = Place { node, offset };
    let superblock = verity::read(&place).at(Code::RootVerity)?;
    let tree = HashTree::parse(&superblock)
        .map_err(|reason| refused(format_args!("{reason} at byte {offset} of {node}"), device))?;
    let algorithm = path(format_args!("crypto-{}", tree.algorithm));
    machine.load_by_name(plan, algorithm.as_deref().unwrap_or_default());
    let mark = kmsg::LogPosition::here();
    verity::create(NAME, &device.node, &tree, &place, options.root_hash).map_err(|mut fault| {
        let words = mark.first_complaint(b"device-mapper: table");
        fault.quote(words.as_str(), Cause::Unknown);
        fault.at(Code::RootVerity)
    })
}

/// Where the tree is, if it lies behind the filesystem.
fn behind(device: &Device) -> Result<u64, Error> {
    parse::behind(device.size).ok_or_else(|| {
        let kind = device.kind;
        refused(
            format_args!("where {kind} ends is not known: say where the hash tree is"),
            device,
        )
    })
}

fn refused(why: fmt::Arguments<'_>, device: &Device) -> Error {
    let subject = format_args!("dm-verity on {}", device.node);
    Error::new(Code::RootVerity, Op::Configure, subject, why)
}

/// What is on the checked device with this number.
#[inline(never)]
fn identify((_, minor): (u32, u32)) -> Result<Device, Error> {
    let node = path(format_args!("/dev/dm-{minor}"))
        .during(Op::Open, NAME)
        .at(Code::RootVerity)?;
    let content = block::content(&node, &mut Buffer::<WINDOW>::new(), Depth::Superblock);
    Ok(Device::new(node, content.at(Code::RootVerity)?))
}

/// What went wrong above a checked device, in the words of the check if it was that.
fn explain(error: Error, mark: &kmsg::LogPosition) -> Error {
    let words = mark.first_complaint(b"device-mapper: verity");
    if words.is_empty() {
        return error;
    }
    Error {
        code: Code::RootCorrupt,
        cause: Cause::Unknown,
        words: Text::new(words),
        ..error
    }
}
