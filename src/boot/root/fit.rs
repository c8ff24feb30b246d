//! Whether what was mounted can be the root. With further candidates in `berth.root_fallback=`, an
//! empty one is given up for the next, as one that cannot be mounted is.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::{Machine, SYSROOT, overlay, usr};
use crate::boot::{UPPER_LAYER, handover, switch};
use crate::cause::Cause;
use crate::error::{At, Code, During, Error, Op, Stage};
use crate::parse::config::container_id;
use crate::plan::Plan;
use crate::sys::{device_mapper, fs, mount};

/// Whether the root at [`SYSROOT`] has the program of `init=`, or bundles, and what is needed to
/// move onto it.
///
/// # Errors
/// Those of the stages that would fail: [`Code::InitMissing`] and the like, [`Code::NoContainers`],
/// [`Code::MountPoints`].
#[inline(never)]
pub(super) fn check(plan: &Plan<'_>, usr: Option<Error>) -> Result<(), Error> {
    match plan.init {
        Some(program) => {
            handover::check(SYSROOT, program).map_err(|error| usr.unwrap_or(error))?;
        }
        None => has_bundles(plan.containers)?,
    }
    switch::prepare_mount_points()
}

fn has_bundles(containers: &str) -> Result<(), Error> {
    let mut has_one = false;
    let found = fs::open_directory(CWD, SYSROOT)
        .and_then(|root| mount::resolve_in_root(root.as_fd(), containers))
        .and_then(|place| open(place.as_fd(), c".").during(Op::List, containers))
        .and_then(|directory| {
            fs::each_entry(directory.as_fd(), |name, _| {
                let bundle = open(directory.as_fd(), name);
                // After a power cut, files may be there and empty; and not every name is a
                // container's.
                has_one = container_id(name.to_bytes()).is_ok()
                    && bundle
                        .and_then(|bundle| statat(bundle, c"config.json", AtFlags::empty()))
                        .is_ok_and(|file| file.st_size > 0);
                !has_one
            })
            .during(Op::List, containers)
        });
    found.at(Code::NoContainers)?;
    if has_one {
        return Ok(());
    }
    Err(Error::new(
        Code::NoContainers,
        Op::List,
        containers,
        "there is no bundle: no directory with a config.json that has something in it",
    )
    .because(Cause::NoBundle))
}

fn open(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// Unmounts the root at [`SYSROOT`], and what was mounted for it. What cannot be unmounted is
/// detached.
pub(super) fn discard(machine: &mut Machine, plan: &Plan<'_>) {
    let layers = [usr::PLACE, SYSROOT, UPPER_LAYER, overlay::LOWER];
    for place in layers {
        if !fs::is_mount_point(place) {
            continue;
        }
        if let Err(fault) = mount::unmount_now(place.as_bytes()).during(Op::Unmount, place) {
            machine.journal.warn(Stage::Root, format_args!("{fault}"));
            // Nothing else can be done about it.
            let _ = mount::unmount_detach(place);
        }
    }
    if plan.verity.is_some() {
        // The next candidate's device will have its name. If this fails, too, the first failure is
        // the one to report.
        let _ = device_mapper::remove(super::verity::NAME);
    }
}
