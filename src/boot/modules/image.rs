//! The indexes of the image's modules.

use rustix::fd::AsFd;
use rustix::fs::CWD;
use rustix::io::Errno;

use super::{LIST, MODULES};
use crate::boot::journal::Journal;
use crate::error::{At, Code, During, Error, Fault, Op, Stage};
use crate::sys::drivers::{IndexFiles, KEPT_MODULES, RUN, release};
use crate::sys::fs;
use crate::sys::mount::Detached;
use crate::sys::path::path;
use crate::text::Text;

/// The releases for which the image has modules.
pub(super) fn releases() -> Text<128> {
    let mut found = Text::EMPTY;
    // No directory of modules is the case of no modules.
    let _ = fs::each_name(MODULES, |name| {
        let separator = if found.is_empty() { "" } else { ", " };
        found.push(format_args!("{separator}{name}"));
        true
    });
    found
}

/// Says why there are no modules, although some are wanted: the image may have none at all, for a
/// kernel with everything built in, or those of another kernel.
pub(super) fn explain_absence(journal: &mut Journal, release: &str) -> Result<(), Error> {
    let others = releases();
    if others.is_empty() {
        journal.warn(
            Stage::Modules,
            format_args!("the image has no modules; those listed in {LIST} are not loaded"),
        );
        return Ok(());
    }
    Err(Error::new(
        Code::ModuleRelease,
        Op::Open,
        format_args!("{MODULES}/{release}/modules.dep"),
        format_args!("the kernel is {release}, the image has modules of {others}"),
    ))
}

/// Keeps the modules of the image where `berth` finds them after the switch, for the disks that
/// come later: of what is mounted, the initramfs is not emptied. The memory stays in use until
/// `berth` has removed what it has no need of.
///
/// # Errors
/// Those of mkdir(2), open_tree(2) and move_mount(2).
#[inline(never)]
pub(in crate::boot) fn keep() -> Result<(), Fault> {
    let release = release();
    let directory = path(format_args!("{MODULES}/{release}")).during(Op::Open, MODULES)?;
    let source = match fs::open_directory(CWD, directory.as_str()) {
        Err(fault) if fault.errno == Errno::NOENT => return Ok(()),
        opened => opened?,
    };
    fs::make_directory(RUN)?;
    fs::make_directory(KEPT_MODULES)?;
    for place in [KEPT_MODULES, &directory] {
        let target = fs::open_directory(CWD, place)?;
        Detached::copy_of(source.as_fd(), false)
            .and_then(|copy| copy.attach(target.as_fd()))
            .during(Op::Mount, place)?;
    }
    Ok(())
}

/// depmod's indexes for the running kernel; `None` if the image has no modules for it.
#[inline(never)]
pub(super) fn open(release: &str) -> Result<Option<IndexFiles>, Error> {
    let directory = path(format_args!("{MODULES}/{release}"));
    directory
        .during(Op::Open, MODULES)
        .and_then(|directory| IndexFiles::open(&directory))
        .at(Code::ModuleIndex)
}
