//! Mounts, by path and by descriptor.
//!
//! By path, with mount(2), for the first mounts and for the root: nobody else runs yet, so a path means the same to us and
//! to the kernel. By descriptor, with the calls of Linux 5.2 (fsopen(2), open_tree(2), move_mount(2)), for containers:
//! their trees are not ours, and a path that was checked may mean something else when it is used.

pub mod at;

use core::ffi::CStr;

use linux_raw_sys::general as linux;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, ResolveFlags, accessat, openat2};
use rustix::io::{Errno, read};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
    fsopen, mount_change, move_mount, open_tree, unmount,
};

pub use rustix::mount::MountFlags as Flags;

use super::raw;
use crate::error::{During, Fault, Op};
use crate::parse::mount_options::MountFlags;
pub use crate::parse::mount_options::Propagation;
use crate::text::Text;

const fn flag(propagation: Propagation) -> MountPropagationFlags {
    match propagation {
        Propagation::Shared => MountPropagationFlags::SHARED,
        // rustix's word for MS_SLAVE.
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
    }
}

/// Its name in mount(8).
const fn name_of(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Shared => "shared",
        Propagation::Slave => "slave",
        Propagation::Private => "private",
        Propagation::Unbindable => "unbindable",
    }
}

/// `mount(source, target, fstype, flags, data)`.
///
/// # Errors
/// Those of mount(2).
pub fn mount_new(
    fstype: &str,
    source: &str,
    target: &str,
    flags: Flags,
    data: &CStr,
) -> Result<(), Fault> {
    let data = (!data.is_empty()).then_some(data);
    rustix::mount::mount(source, target, fstype, flags, data)
        .during(Op::Mount, format_args!("{source} as {fstype} on {target}"))
}

/// Moves the mount at `source` to `target` (MS_MOVE). The kernel refuses with EINVAL when the mount that `source` is in is
/// shared.
///
/// # Errors
/// Those of mount(2).
pub fn mount_move(source: &str, target: &str) -> Result<(), Fault> {
    rustix::mount::mount_move(source, target)
        .during(Op::MoveMount, format_args!("{source} to {target}"))
}

/// Binds the tree at `source`, with the mounts in it, to `target` (MS_BIND | MS_REC).
///
/// # Errors
/// Those of mount(2).
pub fn mount_bind_recursive(source: &str, target: &str) -> Result<(), Fault> {
    rustix::mount::mount_bind_recursive(source, target)
        .during(Op::Mount, format_args!("{source} on {target}"))
}

/// Sets how the mount at `target`, and all below it, pass on mounts.
///
/// # Errors
/// Those of mount(2).
pub fn set_propagation_recursive(target: &str, propagation: Propagation) -> Result<(), Fault> {
    mount_change(target, flag(propagation) | MountPropagationFlags::REC).during(
        Op::Propagation,
        format_args!("{target}: {}", name_of(propagation)),
    )
}

/// Sets how the one mount at `target` passes on mounts.
///
/// # Errors
/// Those of mount(2).
pub fn set_propagation(target: &str, propagation: Propagation) -> Result<(), Fault> {
    mount_change(target, flag(propagation)).during(
        Op::Propagation,
        format_args!("{target}: {}", name_of(propagation)),
    )
}

/// Makes the mount at `target` read-only, leaving its other flags: what is left to do for a root that cannot be unmounted.
///
/// # Errors
/// Those of mount(2); `EBUSY` while a file is open for writing.
pub fn remount_read_only(target: &str) -> Result<(), Fault> {
    rustix::mount::mount_remount(target, Flags::RDONLY, c"")
        .during(Op::Mount, format_args!("{target} read-only"))
}

/// Makes the mount that `root` is the root of read-only, not the filesystem (mount_setattr(2)).
///
/// # Errors
/// Those of mount_setattr(2).
pub fn make_read_only(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let attributes = linux::mount_attr {
        attr_set: linux::MOUNT_ATTR_RDONLY.into(),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    raw::mount_setattr(root, 0, &attributes)
}

/// Takes the mount at `target` out of the tree; it ends when its last user does (MNT_DETACH).
///
/// # Errors
/// Those of umount2(2).
pub fn unmount_detach(target: &str) -> Result<(), Fault> {
    unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).during(Op::Unmount, target)
}

/// Unmounts `target`, if nothing uses it.
///
/// # Errors
/// Those of umount2(2).
pub fn unmount_now(target: &str) -> Result<(), Fault> {
    unmount(target, UnmountFlags::NOFOLLOW).during(Op::Unmount, target)
}

/// Opens what `path` names inside `root`, where `..` and symbolic links cannot lead out of it (openat2(2),
/// RESOLVE_IN_ROOT), for use as a mount source or target.
///
/// # Errors
/// Those of openat2(2).
pub fn resolve_in_root(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Fault> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(
        root,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    )
    .during(Op::Open, path)
}

/// The attributes of a mount, each as a flag of mount(2) and as one of mount_setattr(2).
const ATTRIBUTES: &[(u32, MountAttrFlags)] = &[
    (linux::MS_RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
    (linux::MS_NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
    (linux::MS_NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
    (linux::MS_NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
    (linux::MS_NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
    (
        linux::MS_STRICTATIME,
        MountAttrFlags::MOUNT_ATTR_STRICTATIME,
    ),
    (linux::MS_NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    (
        linux::MS_NOSYMFOLLOW,
        MountAttrFlags::from_bits_retain(linux::MOUNT_ATTR_NOSYMFOLLOW),
    ),
];

/// Flags of mount(2) that belong to the filesystem, as fsconfig(2) names them.
const FILESYSTEM_FLAGS: &[(u32, &str)] = &[
    (linux::MS_SYNCHRONOUS, "sync"),
    (linux::MS_DIRSYNC, "dirsync"),
    (linux::MS_LAZYTIME, "lazytime"),
    (linux::MS_MANDLOCK, "mand"),
];

/// Those of `flags` that are attributes of a mount.
pub fn attributes_to_set(flags: MountFlags) -> MountAttrFlags {
    attributes(flags.set)
}

/// What a copy of a mount shall not inherit. The kind of access times is one field of the kernel's, cleared as a whole
/// whenever any of it is set (mount_setattr(2)).
pub fn attributes_to_clear(flags: MountFlags) -> MountAttrFlags {
    const ACCESS_TIMES: u32 = linux::MS_NOATIME | linux::MS_STRICTATIME | linux::MS_RELATIME;
    let mut clear = attributes(flags.clear);
    clear.remove(MountAttrFlags::MOUNT_ATTR__ATIME);
    if (flags.set | flags.clear) & ACCESS_TIMES != 0 {
        clear.insert(MountAttrFlags::MOUNT_ATTR__ATIME);
    }
    clear
}

fn attributes(bits: u32) -> MountAttrFlags {
    ATTRIBUTES
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, attribute)| *attribute)
        .collect()
}

/// Those of `flags` that belong to the filesystem, as options without a value.
pub fn filesystem_flags<'o>(flags: MountFlags) -> impl Iterator<Item = &'o str> {
    let is_set = move |(bit, _): &&(u32, &str)| flags.set & bit != 0;
    FILESYSTEM_FLAGS
        .iter()
        .filter(is_set)
        .map(|(_, name)| *name)
}

/// A mount that is in no tree yet: it can be configured before anyone sees it.
#[derive(Debug)]
pub struct Detached {
    mount: OwnedFd,
    /// What it was made in, where the filesystem may have left a warning.
    context: Option<OwnedFd>,
}

impl Detached {
    /// A new instance of a filesystem: fsopen(2), one fsconfig(2) for each option, fsmount(2).
    ///
    /// Each option is `key=value` or `key`; quotes around a value are removed. The subject of an error is the option that the
    /// kernel refused, with the kernel's own words where it left any in the context.
    ///
    /// # Errors
    /// Those of the three calls; `ENODEV` is that of fsopen(2) for a filesystem that the kernel does not have.
    pub fn new(
        fstype: &str,
        source: &str,
        options: &mut dyn Iterator<Item = &str>,
        attributes: MountAttrFlags,
    ) -> Result<Self, Fault> {
        let step = |errno, context: Option<&OwnedFd>, what: &str| {
            let words = context.map_or(Text::EMPTY, |context| context_message(context.as_fd()));
            let [before_what, before_words] =
                [what, words.as_str()].map(|text| if text.is_empty() { "" } else { ": " });
            Err(errno).during(
                Op::Mount,
                format_args!("{source} as {fstype}{before_what}{what}{before_words}{words}"),
            )
        };
        let context = match fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(context) => context,
            Err(errno) => return step(errno, None, ""),
        };
        if let Err(errno) = fsconfig_set_string(&context, "source", source) {
            return step(errno, Some(&context), "source");
        }
        for option in options {
            let result = match option.split_once('=') {
                Some((key, value)) => {
                    let quoted = value
                        .strip_prefix('"')
                        .and_then(|value| value.strip_suffix('"'));
                    fsconfig_set_string(&context, key, quoted.unwrap_or(value))
                }
                None => fsconfig_set_flag(&context, option),
            };
            if let Err(errno) = result {
                return step(errno, Some(&context), option);
            }
        }
        if let Err(errno) = fsconfig_create(&context) {
            return step(errno, Some(&context), "");
        }
        match fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes) {
            Ok(mount) => Ok(Self {
                mount,
                context: Some(context),
            }),
            Err(errno) => step(errno, Some(&context), ""),
        }
    }

    /// A copy of the mount that `source` is in, from `source` down (open_tree(2), OPEN_TREE_CLONE); with the mounts below it
    /// if `recursive`.
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
        open_tree(source, "", flags).map(|mount| Self {
            mount,
            context: None,
        })
    }

    /// Sets how it, and with `recursive` all below it, pass on mounts: mount_setattr(2).
    ///
    /// # Errors
    /// Those of mount_setattr(2).
    pub fn set_propagation(&self, propagation: Propagation, recursive: bool) -> Result<(), Errno> {
        self.set_attributes(0, 0, flag(propagation).bits().into(), recursive)
    }

    /// Sets and clears attributes (`MOUNT_ATTR_*`) of it, and with `recursive` of all below it: mount_setattr(2).
    ///
    /// # Errors
    /// Those of mount_setattr(2).
    pub fn change_attributes(
        &self,
        set: MountAttrFlags,
        clear: MountAttrFlags,
        recursive: bool,
    ) -> Result<(), Errno> {
        self.set_attributes(set.bits().into(), clear.bits().into(), 0, recursive)
    }

    fn set_attributes(
        &self,
        set: u64,
        clear: u64,
        propagation: u64,
        recursive: bool,
    ) -> Result<(), Errno> {
        let attributes = linux::mount_attr {
            attr_set: set,
            attr_clr: clear,
            propagation,
            userns_fd: 0,
        };
        let flags = if recursive { linux::AT_RECURSIVE } else { 0 };
        raw::mount_setattr(self.mount.as_fd(), flags, &attributes)
    }

    /// Attaches it on the file or directory `target`: move_mount(2).
    ///
    /// # Errors
    /// Those of move_mount(2).
    pub fn attach(&self, target: BorrowedFd<'_>) -> Result<(), Errno> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&self.mount, "", target, "", flags)
    }

    /// The root of the mount, which stays usable when it is attached.
    pub fn into_root(self) -> OwnedFd {
        self.mount
    }

    /// Whether nothing can be written there, be it for the mount or for the filesystem (access(2), `EROFS`). statfs(2) would
    /// tell too, but has vfat count its free clusters.
    pub fn is_read_only(&self) -> bool {
        accessat(&self.mount, ".", Access::WRITE_OK, AtFlags::empty()) == Err(Errno::ROFS)
    }

    /// What the filesystem had to say although it could be made, if anything.
    pub fn warning(&self) -> Text<128> {
        let context = self.context.as_ref();
        context.map_or(Text::EMPTY, |context| context_message(context.as_fd()))
    }

    /// The root of the mount.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}

/// What the kernel has to say about the last call on a filesystem context (fsopen(2), "Message retrieval"), without the
/// letter that gives its kind.
fn context_message(context: BorrowedFd<'_>) -> Text<128> {
    let mut last = Text::EMPTY;
    let mut message = [0; 256];
    while let Ok(len) = read(context, &mut message) {
        let text = message.get(2..len).unwrap_or_default();
        if message[0] == b'e' || last.is_empty() {
            last = Text::from_bytes(text.strip_suffix(b"\n").unwrap_or(text));
        }
    }
    last
}

/// `pivot_root(".", ".")` with the new root as the working directory, then the old root, which now lies on top of it, is
/// taken away (pivot_root(2), "NOTES").
///
/// # Errors
/// Those of pivot_root(2); `EINVAL` where the current root is the initramfs of a kernel before 7.0.
pub fn pivot_root_here() -> Result<(), Errno> {
    rustix::process::pivot_root(".", ".")
}

/// Makes the working directory the root directory.
///
/// # Errors
/// Those of chroot(2) and chdir(2).
pub fn chroot_here(shown: &str) -> Result<(), Fault> {
    rustix::process::chroot(".").during(Op::Chroot, shown)?;
    rustix::process::chdir("/").during(Op::Chdir, "/")
}

/// Changes the working directory.
///
/// # Errors
/// Those of chdir(2).
pub fn enter(path: &str) -> Result<(), Fault> {
    rustix::process::chdir(path).during(Op::Chdir, path)
}

/// Opens `/` as a directory, to come back to it when the name means something else.
///
/// # Errors
/// Those of openat(2).
pub fn open_root() -> Result<OwnedFd, Fault> {
    super::fs::open_directory(CWD, "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn flags(set: u32, clear: u32) -> MountFlags {
        MountFlags { set, clear }
    }

    #[test]
    fn flags_become_attributes() {
        let asked = flags(
            linux::MS_RDONLY | linux::MS_NODEV | linux::MS_BIND | linux::MS_REC,
            0,
        );
        let expected = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
        assert_eq!(attributes_to_set(asked), expected);
        assert!(attributes_to_clear(asked).is_empty());
    }

    #[test]
    fn the_kind_of_access_times_is_cleared_as_a_whole() {
        for asked in [
            flags(linux::MS_NOATIME, 0),
            flags(linux::MS_RELATIME, 0),
            flags(0, linux::MS_NOATIME),
        ] {
            assert!(attributes_to_clear(asked).contains(MountAttrFlags::MOUNT_ATTR__ATIME));
        }
        let exec = flags(0, linux::MS_NOEXEC);
        assert_eq!(attributes_to_clear(exec), MountAttrFlags::MOUNT_ATTR_NOEXEC);
    }

    #[test]
    fn flags_of_the_filesystem_are_options_of_it() {
        let asked = flags(
            linux::MS_SYNCHRONOUS | linux::MS_NODEV | linux::MS_LAZYTIME,
            0,
        );
        assert_eq!(
            filesystem_flags(asked).collect::<Vec<_>>(),
            ["sync", "lazytime"]
        );
    }
}
