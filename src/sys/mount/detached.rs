//! Mounts that nobody sees yet.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsmount, fsopen, mount, move_mount, open_tree, unmount,
};

use super::Propagation;
use super::attributes::{change_attributes, is_read_only, propagate};
use super::context::{MountSubject, message, refused, set_option, set_options};
use crate::error::Fault;
use crate::sys::buffer::Buffer;
use crate::text::Text;

/// What mount(2) takes as options, with the NUL behind them.
const PAGE: usize = 4096;

/// A mount that is in no tree yet: it can be configured before anyone sees it.
#[derive(Debug)]
pub struct Detached {
    mount: OwnedFd,
    /// What it was made in, where the filesystem may have left a warning.
    context: Option<OwnedFd>,
}

/// Whether the kernel has this filesystem. It answers a process that may mount, at least in a mount
/// namespace of its own.
#[must_use]
pub fn has_filesystem(fstype: &str) -> bool {
    fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).is_ok()
}

/// One that is attached already.
impl From<OwnedFd> for Detached {
    fn from(mount: OwnedFd) -> Self {
        let context = None;
        Self { mount, context }
    }
}

impl Detached {
    /// A new instance of a filesystem: fsopen(2), one fsconfig(2) for each option, fsmount(2).
    ///
    /// Each option is `key=value` or `key`; quotes around a value are removed. An error names the
    /// option that the kernel refused, and has the kernel's own words where it left any in the
    /// context.
    ///
    /// # Errors
    /// Those of the three calls; `ENODEV` is that of fsopen(2) for a filesystem that the kernel
    /// does not have.
    pub fn new(
        fstype: &str,
        source: &str,
        options: &mut dyn Iterator<Item = &str>,
        attributes: MountAttrFlags,
    ) -> Result<Self, Fault> {
        let about = MountSubject {
            source,
            fstype,
            on: "",
        };
        Self::of(Self::configure(&about, options)?, &about, attributes)
    }

    /// A new instance of a filesystem that is no mount yet.
    ///
    /// # Errors
    /// Those of fsopen(2) and fsconfig(2).
    pub fn configure(
        about: &MountSubject<'_>,
        options: &mut dyn Iterator<Item = &str>,
    ) -> Result<OwnedFd, Fault> {
        let context = match fsopen(about.fstype, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(context) => context,
            Err(errno) => return Err(refused(errno, about, None, "")),
        };
        if let Err(errno) = set_option(&context, "source", Some(about.source)) {
            return Err(refused(errno, about, Some(&context), "source"));
        }
        set_options(&context, about, options)?;
        match fsconfig_create(&context) {
            Ok(()) => Ok(context),
            Err(errno) => Err(refused(errno, about, Some(&context), "")),
        }
    }

    /// A new instance of a filesystem whose `options` are too long for fsconfig(2), which takes 255
    /// bytes of each: mount(2) takes a page of all together. It mounts on `/`, on top of which
    /// `/..` leads; from there a copy is taken, and it is unmounted. So `/` must not be shared.
    /// `flags` are `MS_*` bits.
    ///
    /// # Errors
    /// `E2BIG` for what is longer than a page, those of mount(2).
    #[inline(never)]
    pub fn of_page(
        about: &MountSubject<'_>,
        flags: u32,
        options: &mut dyn Iterator<Item = &str>,
    ) -> Result<Self, Fault> {
        const TOP: &str = "/..";
        let mount = || {
            let mut room = Buffer::<PAGE>::new();
            let text = room.bytes_mut()?;
            let mut len = 0;
            for option in options {
                // The comma behind the last is nothing to the kernel.
                let rest = text.get_mut(len..).ok_or(Errno::TOOBIG)?;
                let (place, comma) = rest
                    .split_at_mut_checked(option.len())
                    .ok_or(Errno::TOOBIG)?;
                place.copy_from_slice(option.as_bytes());
                *comma.first_mut().ok_or(Errno::TOOBIG)? = b',';
                len += option.len() + 1;
            }
            let text = CStr::from_bytes_until_nul(text).map_err(|_| Errno::TOOBIG)?;
            let flags = MountFlags::from_bits_retain(flags);
            mount(about.source, "/", about.fstype, flags, text)?;
            let copy = openat(CWD, TOP, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .and_then(|top| Self::copy_of(top.as_fd(), false));
            unmount(TOP, UnmountFlags::DETACH)?;
            copy
        };
        mount().map_err(|errno| refused(errno, about, None, "options of more than 255 bytes"))
    }

    /// What was [configured](Self::configure), as a mount.
    ///
    /// # Errors
    /// Those of fsmount(2).
    pub fn of(
        context: OwnedFd,
        about: &MountSubject<'_>,
        attributes: MountAttrFlags,
    ) -> Result<Self, Fault> {
        match fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes) {
            Ok(mount) => Ok(Self {
                mount,
                context: Some(context),
            }),
            Err(errno) => Err(refused(errno, about, Some(&context), "")),
        }
    }

    /// A copy of the mount that `source` is in, from `source` down (open_tree(2), OPEN_TREE_CLONE);
    /// with the mounts below it if `recursive`.
    ///
    /// The copy of a shared mount is its *peer*: what is mounted in one appears in the other. Use
    /// [`Self::set_propagation`] before [`Self::attach`] where that is not wanted.
    ///
    /// # Errors
    /// Those of open_tree(2).
    pub fn copy_of(source: BorrowedFd<'_>, recursive: bool) -> Result<Self, Errno> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
        open_tree(source, c"", flags).map(|mount| Self {
            mount,
            context: None,
        })
    }

    /// A copy of the mount that the directory `source` is in, from `source` down, which is attached
    /// all along: what is mounted or unmounted in `source` meanwhile reaches it, as far as it
    /// propagates. Nothing reaches a copy that is in no tree, however short that is.
    ///
    /// It lies on top of `/`, where no path leads but `/..`, until it is [attached](Self::attach)
    /// elsewhere. The mount that `/` is in must not be shared, or it can be moved no more
    /// (mount_namespaces(7)), and no other process may use the namespace.
    ///
    /// # Errors
    /// Those of mount(2) and openat(2); `ENOTDIR` for a file.
    pub fn attached_copy_of(source: &str, recursive: bool) -> Result<Self, Errno> {
        let mut bind = MountFlags::BIND;
        bind.set(MountFlags::REC, recursive);
        mount(source, c"/", c"", bind, None)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, c"/..", flags, Mode::empty()).map(Self::from)
    }

    /// Sets how it, and with `recursive` all below it, pass on mounts: mount_setattr(2).
    ///
    /// # Errors
    /// Those of mount_setattr(2).
    pub fn set_propagation(&self, propagation: Propagation, recursive: bool) -> Result<(), Errno> {
        propagate(self.root(), propagation, recursive)
    }

    /// Sets and clears attributes (`MOUNT_ATTR_*`) of it, and with `recursive` of all below it:
    /// mount_setattr(2).
    ///
    /// # Errors
    /// Those of mount_setattr(2).
    pub fn change_attributes(
        &self,
        set: MountAttrFlags,
        clear: MountAttrFlags,
        recursive: bool,
    ) -> Result<(), Errno> {
        change_attributes(self.root(), set, clear, recursive)
    }

    /// Attaches it on the file or directory `target`, wherever it was: move_mount(2).
    ///
    /// # Errors
    /// Those of move_mount(2).
    pub fn attach(&self, target: BorrowedFd<'_>) -> Result<(), Errno> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&self.mount, c"", target, c"", flags)
    }

    /// The root of the mount, which stays usable when it is attached.
    pub fn into_root(self) -> OwnedFd {
        self.mount
    }

    /// Whether nothing can be written there: see [`is_read_only`].
    pub fn is_read_only(&self) -> bool {
        is_read_only(self.root())
    }

    /// Whether it is a new instance of a filesystem, no copy of a mount.
    pub const fn is_new(&self) -> bool {
        self.context.is_some()
    }

    /// What the filesystem had to say although it could be made, if anything.
    pub fn warning(&self) -> Text<128> {
        let context = self.context.as_ref();
        context.map_or(Text::EMPTY, |context| message(context.as_fd()))
    }

    /// The root of the mount.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}
