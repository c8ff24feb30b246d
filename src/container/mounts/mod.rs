//! What is mounted in a container besides its root: `mounts` of its `config.json`, in order, and
//! before them what every container has ([`defaults`]).
//!
//! Every mount is made detached, where nobody sees it, gets its contents and attributes there, and
//! is attached to a descriptor of its destination. The destination was resolved inside the rootfs
//! once (openat2(2), RESOLVE_IN_ROOT), so that a symbolic link in an image cannot lead the mount
//! elsewhere, neither before nor after the check. What is changed later is changed through the
//! descriptor of the mount.

mod control;
mod defaults;
mod early;
mod ids;
mod make;
mod resolver;

pub(super) use defaults::PROC;
pub(super) use early::{EarlyCopies, copy_early};
pub(super) use ids::map_of as map_ids_of;
pub(super) use make::{configure, open_source, source_of};
pub use resolver::RESOLV_CONF;

use linux_raw_sys::general::MS_RDONLY;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, fstat};
use rustix::io::fcntl_dupfd_cloexec;

use super::confine::ProcSysMounts;
use super::devices;
use super::handshake::{ProcfsSocket, SyncSocket};
use super::target::{self, Target};
use crate::error::{During, Fault, Op};
use crate::parse::config::{Mount, MountList};
use crate::parse::mount_options::Recursive;
use crate::sys::console;
use crate::sys::copy::{copy_attributes, copy_contents};
use crate::sys::fs::open_directory;
use crate::sys::mount::{self, Detached};
use crate::text::{Text, contains};

/// The mounts of a container, to be made.
pub(super) struct Mounts<'c> {
    /// The root of the container.
    pub(super) root: BorrowedFd<'c>,
    /// Where sources of bind mounts begin that are not absolute.
    pub(super) bundle: &'c str,
    /// What the bundle asks for.
    pub(super) items: MountList<'c>,
    /// What SELinux labels the files of new filesystems with.
    pub(super) label: Option<&'c str>,
    /// Whether the container has message queues of its own.
    pub(super) has_ipc: bool,
    /// Whether the container looks names up as the machine does.
    pub(super) has_resolver: bool,
    /// Whether the container has the machine's control.
    pub(super) has_control: bool,
    /// Whether the container has a cgroup namespace of its own.
    pub(super) has_cgroups: bool,
    /// Whether device nodes work nowhere but in `/dev`.
    pub(super) has_nodev: bool,
    /// The builder, if that maps the ids of mounts.
    pub(super) mapper: Option<&'c SyncSocket>,
    /// The process that makes procfs, if this one is not in the container's PID namespace: see
    /// [`super::shared_pid`].
    pub(super) procfs: Option<&'c ProcfsSocket>,
}

impl<'c> Mounts<'c> {
    /// Mounts what every container has, then everything that the bundle asks for. The result holds
    /// the mounts at `/proc` and `/sys`.
    ///
    /// `early` has the copies of bind mounts that were made before; afterwards it has the mounts
    /// that ask for a propagation of their own.
    #[inline(never)]
    pub(super) fn make(&self, early: &mut EarlyCopies) -> Result<ProcSysMounts, Fault> {
        let mut proc_and_sys = ProcSysMounts::default();
        self.make_defaults(&mut proc_and_sys)?;
        self.make_resolver()?;
        for (item, place) in self.items.iter().zip(early) {
            let copy = place.take();
            let mount = match item.options.is_remount() {
                true => make::remount(self.root, item)?,
                false => self.mount_item(item, copy, None)?,
            };
            if item.options.propagation.is_some() {
                let mount = fcntl_dupfd_cloexec(&mount, 0).during(Op::Mount, item.destination)?;
                *place = Some(Detached::from(mount));
            }
            proc_and_sys.record(item.destination, mount);
        }
        // In what the bundle mounts at `/run`.
        self.make_control()?;
        Ok(proc_and_sys)
    }

    /// Mounts one item on `target`, or where its destination is if that was not looked up yet;
    /// `copy` is the copy of what it binds, if that was made before.
    fn mount_item(
        &self,
        item: &Mount<'_>,
        copy: Option<Detached>,
        target: Option<Target>,
    ) -> Result<OwnedFd, Fault> {
        let destination = item.destination;
        let is_dev = item.fstype == Some("tmpfs") && item.is_at("dev") && !item.options.is_bind();
        // A filesystem that is filled becomes read-only only afterwards.
        let is_filled = is_dev || item.options.copy_up;
        let made = match copy {
            Some(copy) => copy,
            None => make::make(self, item, is_filled)?,
        };
        if self.has_nodev && !item.may_have_nodes() {
            mount::forbid_devices(made.root()).during(Op::Mount, destination)?;
        }
        // A filesystem begins with a directory; what is bound may be a file.
        let kind = match made.is_new() {
            true => Ok(FileType::Directory),
            false => fstat(made.root()).map(|stat| FileType::from_raw_mode(stat.st_mode)),
        }
        .during(Op::Mount, destination)?;
        let target = match target {
            Some(target) => target.accept(self.root, destination, kind)?,
            None => target::prepare(self.root, destination, kind)?,
        };
        if item.options.copy_up {
            copy_up(target.as_fd(), &made, item)?;
        }
        let nodes = match is_dev {
            true => Some(devices::populate(made.root())?),
            false => None,
        };
        if is_filled && item.options.flags.set & MS_RDONLY != 0 {
            mount::make_read_only(made.root()).during(Op::Mount, destination)?;
        }
        if let Some(ids) = &item.ids {
            ids::map(self.mapper, made.root(), item, ids)?;
        }
        made.attach(target.as_fd()).during(Op::Mount, destination)?;
        if let Some(nodes) = nodes {
            nodes.bind(made.root())?;
            self.make_defaults_in_dev()?;
        }
        Ok(made.into_root())
    }
}

/// Binds `terminal` on the container's console, so that it has a name inside.
pub(super) fn bind_console(root: BorrowedFd<'_>, terminal: BorrowedFd<'_>) -> Result<(), Fault> {
    let target = target::prepare(root, console::PATH, FileType::CharacterDevice)?;
    Detached::copy_of(terminal, false)
        .and_then(|copy| copy.attach(target.as_fd()))
        .during(Op::Mount, console::PATH)
}

/// Gives the mounts that were [made](Mounts::make) the propagation that they ask for. Called when
/// the container's root is `/`, and the propagation of the whole tree was set.
pub(super) fn propagate(items: MountList<'_>, made: &mut EarlyCopies) -> Result<(), Fault> {
    for (item, mount) in items.iter().zip(made) {
        if let (Some((propagation, recursive)), Some(mount)) =
            (item.options.propagation, mount.take())
        {
            mount
                .set_propagation(propagation, recursive == Recursive::Yes)
                .during(Op::Propagation, item.destination)?;
        }
    }
    Ok(())
}

/// Copies what `target` holds into `made`. The root of the copy gets the attributes of the
/// directory that it covers, unless the options name some.
fn copy_up(target: BorrowedFd<'_>, made: &Detached, item: &Mount<'_>) -> Result<(), Fault> {
    let destination = item.destination;
    let from = open_directory(target, ".")?;
    let to = open_directory(made.root(), ".")?;
    copy_contents(from.as_fd(), to.as_fd()).map_err(|fault| Fault {
        subject: Text::new(format_args!(
            "{} to the tmpfs on {destination}",
            fault.subject
        )),
        ..fault
    })?;
    let says = |option| contains(item.options.data, option);
    if says("mode=") || says("uid=") || says("gid=") {
        return Ok(());
    }
    copy_attributes(from.as_fd(), to.as_fd()).during(Op::Copy, destination)
}
