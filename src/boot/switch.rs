//! The fourth stage: the machine moves onto the new root.
//!
//! # The rules that force the order (mount_namespaces(7), pivot_root(2), mount(2))
//!
//! * A mount cannot be moved out of a shared mount (EINVAL), so `/` goes private first.
//! * `pivot_root(".", ".")` puts the old root on top of the new one, from where it is detached.
//!   Before Linux 7.0 the initramfs is the bottom of the mount tree, which pivot_root refuses
//!   (EINVAL); then the new root is moved over `/` and the root directory of this process with it.
//!   Which of the two a kernel allows is found by trying.
//! * The initramfs is memory. What is on it stays until it is removed by name, or until the last
//!   file that is open on it is closed; this program is one. So its contents are removed, by
//!   descriptor, on both paths.
//! * A slave follows a *shared* master only, so `/` is made shared in the end: else no container
//!   would see a disk that is mounted after it was started.
//!
//! All that can be checked is checked before the first step that cannot be taken back.
//!
//! # Staying on the initramfs
//!
//! Without `root=` the initramfs remains `/`. So that containers can use pivot_root on old kernels
//! too, it is bound over itself and that mount takes the place of the new root; nothing is removed.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, fstatfs, lstat, stat};
use rustix::io::Errno;

use super::handover::Successor;
use super::journal::Journal;
use super::modules::{self, Modules};
use super::root::{Rooted, SYSROOT};
use super::shell::Shell;
use super::{Machine, berth, handover};
use crate::error::{At, Code, During, Error, Fault, Op, SUBJECT_MAX, Stage};
use crate::events::{Event, SwitchMethod};
use crate::parse::choice::BreakAt;
use crate::plan::Plan;
use crate::sys::fs;
use crate::sys::mount::{self, Propagation};
use crate::sys::path::path;
use crate::sys::process::{Arguments, Environment};
use crate::text::Text;

/// The mounts that move to the new root.
const MOVED: &[&str] = &["/dev", "/proc", "/sys", "/run"];

/// statfs(2), `f_type`: the filesystems that an initramfs can be.
const RAMFS_MAGIC: u64 = 0x8584_58f6;
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// `/` is the root of the machine from now on, and is shared.
pub struct Switched<'m> {
    machine: &'m mut Machine,
    successor: Option<Successor>,
    /// For `berth.break=containers`.
    shell: Option<Shell>,
}

impl<'m> Switched<'m> {
    /// Makes the filesystem at [`SYSROOT`] the root.
    ///
    /// # Errors
    /// [`Code::NewRoot`], [`Code::MountPoints`] and those of `init=` before anything was changed;
    /// [`Code::Switch`] after.
    #[inline(never)]
    pub(super) fn switch(rooted: Rooted<'m>, plan: &Plan<'_>) -> Result<Self, Error> {
        let machine = rooted.machine;
        if let Some(shell) = Shell::for_break(&mut machine.journal, plan, BreakAt::SwitchRoot) {
            shell.pause(&mut machine.journal, BreakAt::SwitchRoot);
        }
        let shell = Shell::for_break(&mut machine.journal, plan, BreakAt::Containers);
        let new_root = if rooted.has_device { SYSROOT } else { "/" };
        let successor = match plan.init {
            Some(program) => {
                let proven = handover::check(new_root, program);
                // What it is on may be missing.
                Some(proven.map_err(|error| rooted.usr.unwrap_or(error))?)
            }
            None => {
                machine.berth = Some(berth::copy_program(new_root)?);
                None
            }
        };
        let (method, removed) = if rooted.has_device {
            check_new_root()?;
            prepare_mount_points()?;
            let old_root = initramfs();
            if plan.automount.is_some()
                && let Err(fault) = modules::keep()
            {
                let text = format_args!("the modules of the image are not kept for disks: {fault}");
                machine.journal.warn(Stage::Switch, text);
            }
            // Its indexes are files of the initramfs, which stay in memory while they are mapped.
            machine.modules = Modules::default();
            let method = exchange_root().at(Code::Switch)?;
            let removed =
                old_root.map_or(0, |old_root| free_initramfs(&mut machine.journal, old_root));
            if method == SwitchMethod::Pivot {
                mount::unmount_detach(".").at(Code::Switch)?;
                mount::enter("/").at(Code::Switch)?;
            }
            (method, removed)
        } else {
            bind_over_itself().at(Code::Switch)?;
            (SwitchMethod::Bind, 0)
        };
        mount::set_propagation_recursive("/", Propagation::Shared).at(Code::Switch)?;
        machine
            .journal
            .events
            .emit(Event::Switch { method, removed });
        machine.journal.complete(
            Stage::Switch,
            format_args!(
                "switched root ({}), {removed} files of the initramfs freed",
                method.name()
            ),
        );
        Ok(Self {
            machine,
            successor,
            shell,
        })
    }

    /// The machine, on its root, after the pause that `berth.break=containers` asks for.
    pub(crate) fn into_machine(self) -> &'m mut Machine {
        if let Some(shell) = self.shell {
            shell.pause(&mut self.machine.journal, BreakAt::Containers);
        }
        self.machine
    }

    /// Hands the machine to the program of `init=`, with what this program was `started_with`.
    /// Without one, gives the machine back for supervising it.
    ///
    /// # Errors
    /// [`Code::InitExec`].
    #[inline(never)]
    pub fn hand_over(
        self,
        plan: &Plan<'_>,
        started_with: (Arguments<'_>, Environment<'_>),
    ) -> Result<Self, Error> {
        match &self.successor {
            Some(successor) => {
                Err(successor.execute(&mut self.machine.journal, plan, started_with))
            }
            None => Ok(self),
        }
    }
}

/// The new root must be another filesystem than the old one: emptying the old one would destroy it.
fn check_new_root() -> Result<(), Error> {
    let device = |at: &'static str| {
        stat(at)
            .map(|stat| stat.st_dev)
            .during(Op::Open, at)
            .at(Code::NewRoot)
    };
    if device("/")? == device(SYSROOT)? {
        return Err(Error::new(
            Code::NewRoot,
            Op::MoveMount,
            SYSROOT,
            "it is on the same filesystem as /",
        ));
    }
    Ok(())
}

/// The directories on which the moved mounts will lie. A root that can be written to gets what it
/// lacks.
pub(super) fn prepare_mount_points() -> Result<(), Error> {
    let mut missing = Text::<SUBJECT_MAX>::EMPTY;
    let mut errno = Errno::ROFS;
    for mount in MOVED {
        let target = sysroot_path(mount)?;
        if is_real_directory(&target) {
            continue;
        }
        if let Err(fault) = fs::make_directory(&target) {
            errno = fault.errno;
            let separator = if missing.is_empty() { "" } else { ", " };
            missing.push(format_args!("{separator}{mount}"));
        } else if !is_real_directory(&target) {
            return Err(Error::new(
                Code::MountPoints,
                Op::Create,
                mount,
                "something that is not a directory is in its place",
            ));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let fault = Fault::new(Op::Create, &missing, errno);
    let detail = if errno == Errno::ROFS {
        "the new root is mounted read-only and lacks these directories"
    } else {
        "the new root lacks these directories"
    };
    Err(fault.at(Code::MountPoints).with_detail(detail))
}

/// A symbolic link would be followed in the initramfs: one to `/sys` would put the mount there.
fn is_real_directory(path: &str) -> bool {
    lstat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn sysroot_path(mount: &str) -> Result<crate::sys::path::Path, Error> {
    path(format_args!("{SYSROOT}{mount}"))
        .during(Op::Create, mount)
        .at(Code::Switch)
}

/// The old root, if it is memory that may be freed: `/` could also be a disk that the kernel
/// mounted.
fn initramfs() -> Option<OwnedFd> {
    let root = mount::open_root().ok()?;
    let magic = fstatfs(&root).ok()?.f_type as u64;
    (magic == RAMFS_MAGIC || magic == TMPFS_MAGIC).then_some(root)
}

fn exchange_root() -> Result<SwitchMethod, Fault> {
    mount::set_propagation_recursive("/", Propagation::Private)?;
    for mount in MOVED {
        let target = path(format_args!("{SYSROOT}{mount}")).during(Op::MoveMount, mount)?;
        mount::mount_move(mount, &target)?;
    }
    mount::enter(SYSROOT)?;
    match mount::pivot_root_here() {
        Ok(()) => return Ok(SwitchMethod::Pivot),
        Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno).during(Op::PivotRoot, SYSROOT),
    }
    mount::move_here_to_root()?;
    mount::chroot_here(SYSROOT)?;
    Ok(SwitchMethod::Move)
}

/// Frees the memory of the initramfs. What cannot be removed costs memory, and the boot goes on.
fn free_initramfs(journal: &mut Journal, old_root: OwnedFd) -> usize {
    match fs::remove_contents(old_root.as_fd()) {
        Ok(removed) => removed,
        Err(fault) => {
            journal.warn(
                Stage::Switch,
                format_args!("the initramfs is not freed whole: {fault}"),
            );
            0
        }
    }
}

fn bind_over_itself() -> Result<(), Fault> {
    mount::set_propagation_recursive("/", Propagation::Private)?;
    fs::make_directory(SYSROOT)?;
    mount::mount_bind_recursive("/", SYSROOT)?;
    mount::enter(SYSROOT)?;
    mount::move_here_to_root()?;
    mount::chroot_here(SYSROOT)
}
