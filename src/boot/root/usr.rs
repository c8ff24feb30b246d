//! A `/usr` that is a filesystem of its own, for a machine that is handed over. Distributions keep
//! the program of `init=` and its libraries there, and expect an initramfs to mount it as the
//! root's `/etc/fstab` says. It is mounted read-only, as theirs do; the next init remounts it.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, lstat, openat2};

use super::search::Search;
use super::{Machine, SYSROOT};
use crate::error::{At, Code, During, Error, Op, SUBJECT_MAX, Stage};
use crate::parse::device::DeviceRef;
use crate::parse::fstab;
use crate::parse::list::List;
use crate::plan::{Access, Plan};
use crate::sys::buffer::Buffer;
use crate::sys::{clock, fs, kmsg};
use crate::text::Text;

const FSTAB: &str = "/etc/fstab";
const USR: &str = "/usr";

/// Where `/usr` of the new root is until the switch.
pub(super) const PLACE: &str = "/sysroot/usr";

/// As much of the file is looked at, in bytes.
const FSTAB_MAX: usize = 64 * 1024;

/// Mounts what `/etc/fstab` of the root at [`SYSROOT`] has for `/usr`, if there is such a line.
///
/// # Errors
/// Those of finding and mounting a root; [`Code::RootMount`] for what is on no block device of this
/// machine.
#[inline(never)]
pub(super) fn mount(machine: &mut Machine, plan: &Plan<'_>) -> Result<(), Error> {
    let mut buffer = Buffer::<FSTAB_MAX>::new();
    // A root without the file has no such line.
    let Ok(file) = open_fstab() else {
        return Ok(());
    };
    let text = buffer.fill_from(&file).unwrap_or_default();
    let Some(entry) = fstab::find(text, USR) else {
        return Ok(());
    };
    let refused = |why: &str| {
        let subject = format_args!("{} on {USR}, as {FSTAB} of the root has it", entry.source);
        Error::new(Code::RootMount, Op::Mount, subject, why)
    };
    let source = DeviceRef::parse(entry.source).ok();
    let source = source.filter(DeviceRef::is_block);
    let source = source.ok_or_else(|| refused("this is no block device of the machine"))?;
    // A link would be followed in the initramfs.
    let is_directory =
        lstat(PLACE).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    if !is_directory {
        return Err(refused("the root has no such directory"));
    }
    let types = Some(entry.fstype).filter(|fstype| *fstype != "auto");
    let types = types.and_then(|types| List::parse(types, |fstype| !fstype.is_empty()));
    let mut plan = plan.clone();
    plan.root = Some(source);
    plan.rootfstype = types.unwrap_or_default();
    plan.rootflags = Some(entry.options);
    plan.access = Some(Access::ReadOnly);
    plan.overlay = None;
    plan.verity = None;
    let deadline = plan.rootwait.limit().map(|limit| clock::now() + limit);
    let mut search = Search::new(source)?;
    let Some(device) = search.run(machine, &plan, deadline)? else {
        // The report compares with what was asked for last.
        machine.root_request.root = Text::<SUBJECT_MAX>::new(source);
        return Err(search.not_found(&plan, "/usr"));
    };
    let mounted = device.mount(machine, &plan, PLACE)?;
    kmsg::notice(
        Stage::Root,
        format_args!(
            "{} is mounted on {USR}, {}, ro, as {FSTAB} says",
            device.node, mounted.fstype
        ),
    );
    Ok(())
}

/// The file, as a path inside the root leads to it.
fn open_fstab() -> Result<OwnedFd, Error> {
    let root = fs::open_directory(CWD, SYSROOT).at(Code::RootMount)?;
    openat2(
        root.as_fd(),
        FSTAB,
        // A FIFO does not hold the boot.
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
    .during(Op::Open, FSTAB)
    .at(Code::RootMount)
}
