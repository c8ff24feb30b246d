//! Bind mounts that are copied before the namespace is cut off from the host's, and before this
//! process changes its user.
//!
//! # Volumes that exchange mounts with the host
//!
//! After the cut ([`crate::container`]), the mounts of the namespace are slaves or private, and so
//! would be every copy of them. A copy of a private mount cannot be a slave, and a copy of a slave
//! cannot be a peer of its master (mount_namespaces(7)). So these volumes are copied before it.
//!
//! All others are copied late, and are attached from their first moment on, since what the host
//! mounts meanwhile does not reach a detached copy. A volume that is copied early misses what the
//! host mounts or unmounts in it during the set-up; from then on, everything arrives. It cannot be
//! avoided: a later copy cannot be a peer any more, and a copy that is attached early is cut off
//! with the rest.
//!
//! # All volumes of a container in a user namespace
//!
//! As user 0 of its namespace, the first process has no rights outside, and cannot get through a
//! directory that only the host's root may enter. Container engines keep their containers in such
//! directories. Before that it is still its maker's user, and gets through directories of that
//! user, though it has no other rights any more (user_namespaces(7), "Capabilities"; see
//! [`crate::container::broker`]). It cannot come back to that.

use rustix::io::Errno;

use super::make::{bind, copy, source_of};
use crate::container::handshake::{SyncSocket, Wanted};
use crate::error::{During, Fault, Op};
use crate::parse::config::{MAX_MOUNTS, MountList};
use crate::parse::mount_options::Propagation;
use crate::sys::mount::Detached;
use crate::sys::path::LongPath;

/// For each of the mounts, also of one that was added, its copy, if it was copied early.
pub(in crate::container) type EarlyCopies = [Option<Detached>; MAX_MOUNTS + 1];

/// Copies the volumes that ask to be peers of the host's, and those that ask to be its slaves where
/// the container's `root` is none. In a user namespace, with `sync`, it copies all volumes, and has
/// the builder open the sources that this process cannot reach.
#[inline(never)]
pub(in crate::container) fn copy_early(
    bundle: &str,
    items: MountList<'_>,
    root: Option<Propagation>,
    sync: Option<&SyncSocket>,
    early: &mut EarlyCopies,
) -> Result<(), Fault> {
    let root_is_slave = matches!(root, None | Some(Propagation::Slave));
    for (which, (place, item)) in early.iter_mut().zip(items.iter()).enumerate() {
        let propagation = match item.options.propagation {
            Some((Propagation::Shared, _)) => Propagation::Shared,
            Some((Propagation::Slave, _)) if !root_is_slave => Propagation::Slave,
            _ if sync.is_none() => continue,
            // What the mounts of the namespace will be.
            _ if root_is_slave => Propagation::Slave,
            _ => Propagation::Private,
        };
        if !item.options.is_bind() {
            continue;
        }
        let copy = match (bind(bundle, item, false), sync) {
            (Err(fault), Some(sync)) if fault.errno == Errno::ACCESS => copy(
                &sync.open(Wanted::Mount(which))?,
                source_of(bundle, item, &mut LongPath::new())?,
                item,
            ),
            (copy, _) => copy,
        }?;
        // At once, with all mounts below it: else the container's mounts inside would appear on the
        // host.
        copy.set_propagation(propagation, true)
            .during(Op::Propagation, item.destination)?;
        *place = Some(copy);
    }
    Ok(())
}
