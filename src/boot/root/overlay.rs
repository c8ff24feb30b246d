//! `berth.overlay=`: a writable layer above a read-only root
//! (Documentation/filesystems/overlayfs.rst).
//!
//! The root is mounted read-only as the lower layer, the upper one is a tmpfs or a filesystem on a
//! device, and the overlay of both becomes `/`. Both layers stay to be seen below
//! `/run/berth-boot`, which moves to the new root with `/run`: what was changed is in the upper
//! one.
//!
//! On a device the layer is in the directories `berth/upper` and `berth/work`, which are made if
//! they are missing, so that the device may hold other things too.

use rustix::fd::AsFd;
use rustix::fs::CWD;
use rustix::mount::MountAttrFlags;

use super::mount::{attach, make, refused};
use super::search::Search;
use super::{Machine, SYSROOT, btrfs};
use crate::boot::UPPER_LAYER;
use crate::error::{At, Code, During, Error, Fault, Op, SUBJECT_MAX};
use crate::parse::device::DeviceRef;
use crate::parse::mount_options::RootOptions;
use crate::plan::Plan;
use crate::sys::mount::Detached;
use crate::sys::overlay::{self, Layer};
use crate::sys::path::path;
use crate::sys::{clock, fs, kmsg};
use crate::text::Text;

/// Where the layers are mounted.
pub(super) const LOWER: &str = "/run/berth-boot/lower";
const UPPER: &str = UPPER_LAYER;

/// Makes the directories on which the layers are mounted.
///
/// # Errors
/// [`Code::RootMount`].
pub(super) fn prepare() -> Result<(), Error> {
    ["/run/berth-boot", LOWER, UPPER]
        .into_iter()
        .try_for_each(fs::make_directory)
        .at(Code::RootMount)
}

/// Mounts the upper layer, and the overlay of it and of what is at [`LOWER`] as the root. Says what
/// the upper layer is on.
///
/// # Errors
/// [`Code::RootNotFound`] for a device that does not come, [`Code::RootUnknownType`],
/// [`Code::RootNoDriver`], [`Code::RootMount`].
#[inline(never)]
pub(super) fn mount(
    machine: &mut Machine,
    plan: &Plan<'_>,
    wanted: DeviceRef<'_>,
) -> Result<Text<SUBJECT_MAX>, Error> {
    let (layer, name) = match wanted {
        DeviceRef::Tmpfs => {
            let mut options = ["mode=0755"].into_iter();
            let attributes = MountAttrFlags::empty();
            let made = Detached::new("tmpfs", "tmpfs", &mut options, attributes);
            (made.at(Code::RootMount)?, Text::new("tmpfs"))
        }
        _ => on_device(machine, plan, wanted)?,
    };
    attach(&layer, UPPER)?;
    let directory = path(format_args!("{UPPER}/berth")).during(Op::Create, UPPER);
    directory
        .and_then(|directory| make_layer(&directory))
        .at(Code::RootMount)?;
    machine.load_for_filesystem(plan, "overlay", "");
    let mark = kmsg::LogPosition::here();
    let [upper, work] = [
        format_args!("{UPPER}/berth/upper"),
        format_args!("{UPPER}/berth/work"),
    ];
    let overlay = overlay::mount(&LOWER, &upper, &work, &[]);
    let overlay = overlay.map_err(|fault| refused(fault, "overlay", &mark))?;
    attach(&overlay, SYSROOT)?;
    Ok(name)
}

/// The filesystem on the device `wanted`, writable.
#[inline(never)]
fn on_device(
    machine: &mut Machine,
    plan: &Plan<'_>,
    wanted: DeviceRef<'_>,
) -> Result<(Detached, Text<SUBJECT_MAX>), Error> {
    let deadline = plan.rootwait.limit().map(|limit| clock::now() + limit);
    let mut search = Search::new(wanted)?;
    let Some(device) = search.run(machine, plan, deadline)? else {
        return Err(search.not_found(plan, "berth.overlay"));
    };
    let fstype = device.fstype(format_args!(" for berth.overlay={wanted}"))?;
    device.check(machine, plan)?;
    btrfs::register_all(machine, plan, &device)?;
    machine.load_for_filesystem(plan, fstype, "");
    let mark = kmsg::LogPosition::here();
    let layer = make(&device.node, fstype, &RootOptions::NONE, false)
        .map_err(|fault| refused(fault, fstype, &mark))?;
    Ok((layer, Text::new(&device.node)))
}

fn make_layer(directory: &str) -> Result<(), Fault> {
    fs::make_directory(directory)?;
    let [layer, lower] = [
        fs::open_directory(CWD, directory)?,
        fs::open_directory(CWD, LOWER)?,
    ];
    Layer::prepare(layer.as_fd(), lower.as_fd()).map(drop)
}
