//! The container's root.
//!
//! # The rules that force the order (mount_namespaces(7), pivot_root(2))
//!
//! * In a new mount namespace every mount is a peer of the host's. Before anything is mounted, all
//!   are made slaves (or what `linux.rootfsPropagation` asks for), or it would appear on the host.
//! * pivot_root wants the new root to be a mount point, and no shared mount above it. So the rootfs
//!   is bound over itself, and becomes shared only afterwards.
//! * The old root, which lies on top after `pivot_root(".", ".")`, is detached at once. MS_MOVE and
//!   chroot leave it below, where a process with CAP_SYS_ADMIN or CAP_SYS_CHROOT could come back to
//!   it: those modes give up both capabilities.
//!
//! A container that shares its mount namespace is a program in a directory. Nothing is mounted for
//! it and no propagation is changed, since other processes would see that.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use super::handshake::{SyncSocket, Wanted};
use super::overlay;
use crate::error::{During, Fault, Op};
use crate::parse::config::{Config, Kind, RootSwitch};
use crate::parse::mount_options::Propagation;
use crate::sys::mount::{self, Detached};
use crate::sys::path::{Path, path};

/// The rootfs of a container: a mount of its own, in the container's namespace.
pub(super) struct Rootfs<'c> {
    mount: OwnedFd,
    path: Path,
    propagation: Option<Propagation>,
    switch: RootSwitch,
    /// Whether the mounts are the container's own.
    is_own: bool,
    shown: &'c str,
}

/// The path of the rootfs.
pub(super) fn path_of(bundle: &str, root: &str) -> Result<Path, Fault> {
    let separator = if root.starts_with('/') { "" } else { "/" };
    let bundle = if separator.is_empty() { "" } else { bundle };
    path(format_args!("{bundle}{separator}{root}")).during(Op::Open, root)
}

impl<'c> Rootfs<'c> {
    /// Opens the directory at `root`, relative to `bundle` unless absolute. Where this process
    /// cannot reach it, the builder opens it, through `sync`. Nothing more is done where the mount
    /// namespace is shared.
    #[inline(never)]
    pub(super) fn open(
        bundle: &str,
        root: &'c str,
        sync: Option<&SyncSocket>,
    ) -> Result<Self, Fault> {
        let path = path_of(bundle, root)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mount = match (openat(CWD, &*path, flags, Mode::empty()), sync) {
            (Err(Errno::ACCESS), Some(sync)) => sync.open(Wanted::Rootfs)?,
            (mount, _) => mount.during(Op::Open, &path)?,
        };
        Ok(Self {
            mount,
            path,
            propagation: None,
            switch: RootSwitch::Chroot,
            is_own: false,
            shown: root,
        })
    }

    /// Cuts the mounts of this namespace off from the host's, and binds the directory over itself,
    /// or mounts `image` there. Above that comes the writable layer that is asked for. `label` is
    /// the option that labels it.
    #[inline(never)]
    pub(super) fn bind(
        &mut self,
        bundle: &str,
        config: &Config<'_>,
        image: Option<Detached>,
        label: Option<&str>,
    ) -> Result<(), Fault> {
        let propagation = config.rootfs_propagation;
        let namespace = match propagation {
            None | Some(Propagation::Slave) => Propagation::Slave,
            // "shared" is a peer group of the container's own, not the host's (config-linux.md,
            // "Rootfs Mount Propagation").
            Some(Propagation::Shared | Propagation::Private | Propagation::Unbindable) => {
                Propagation::Private
            }
        };
        mount::set_propagation_recursive("/", namespace)?;
        let (place, path) = (self.mount.as_fd(), &self.path);
        let layer = config.annotations.overlay;
        let lower = match image {
            Some(image) => image,
            // The lower layer of an overlay is one filesystem, without the mounts in it.
            None => Detached::copy_of(place, layer.is_none())
                .during(Op::Mount, format_args!("{path} on itself"))?,
        };
        lower
            .attach(place)
            .during(Op::Mount, format_args!("the rootfs on {path}"))?;
        let mounted = match layer {
            Some(layer) => {
                let is_in_user_namespace = config.namespaces.has(Kind::User);
                overlay::mount_above(&lower, bundle, layer, is_in_user_namespace, label)?
            }
            None => lower,
        };
        self.mount = mounted.into_root();
        self.propagation = propagation;
        self.switch = config.annotations.root_switch;
        self.is_own = true;
        Ok(())
    }

    /// The root of the mount.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }

    /// Makes it `/`, and gives it the propagation that was asked for.
    pub(super) fn enter(&self) -> Result<(), Fault> {
        rustix::process::fchdir(&self.mount).during(Op::Chdir, self.shown)?;
        match self.switch {
            RootSwitch::Pivot => {
                mount::pivot_root_here().during(Op::PivotRoot, &self.path)?;
                mount::unmount_detach(".")?;
                mount::enter("/")?;
            }
            RootSwitch::Move => {
                mount::move_here_to_root()?;
                mount::chroot_here(&self.path)?;
                drop_escape_capabilities()?;
            }
            RootSwitch::Chroot => {
                mount::chroot_here(&self.path)?;
                drop_escape_capabilities()?;
            }
        }
        match self.propagation {
            _ if !self.is_own => Ok(()),
            None | Some(Propagation::Shared) => {
                mount::set_propagation_recursive("/", Propagation::Shared)
            }
            Some(Propagation::Slave | Propagation::Private) => Ok(()),
            // The rootfs alone: a volume in it may exchange mounts with the host.
            Some(Propagation::Unbindable) => mount::set_propagation("/", Propagation::Unbindable),
        }
    }
}

/// Removes both capabilities from the bounding set, so that no program of the container has them
/// (capabilities(7)): CAP_SYS_ADMIN could unmount what lies on top of the host's root, and with
/// CAP_SYS_CHROOT a second chroot leads out of the first (chroot(2)).
pub(super) fn drop_escape_capabilities() -> Result<(), Fault> {
    for capability in [CapabilitySet::SYS_ADMIN, CapabilitySet::SYS_CHROOT] {
        remove_capability_from_bounding_set(capability)
            .during(Op::Drop, "CAP_SYS_ADMIN and CAP_SYS_CHROOT")?;
    }
    Ok(())
}
