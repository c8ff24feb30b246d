//! Bind mounts that are copied before the namespace is cut loose from the host's, and before this
//! process is somebody else.
//!
//! # Those that exchange mounts with the host
//!
//! They are copied before the namespace is cut loose ([`crate::container`]): from then on its
//! mounts are slaves or private, and so would be every copy of them. Of a private mount none can be
//! a slave, and of a slave none a peer of its master (mount_namespaces(7)).
//!
//! All others are copied late, just before they are attached, for what the host mounts meanwhile
//! does not reach a detached copy. So in a volume that is tied, what the host mounts or unmounts
//! while the container is being set up passes it by; from then on, everything arrives. A later copy
//! cannot be a peer any more, and one that is attached early is cut loose with the rest.
//!
//! # All of a container in a user namespace
//!
//! As user 0 inside, its first process is somebody without rights outside, and does not get through
//! a directory that only the host's root may enter: container engines keep their containers in
//! such. Until then it is still whoever made it, and owns what he owns, though it has no rights
//! beyond that any more (user_namespaces(7), "Capabilities"): see [`crate::container::broker`]. It
//! cannot come back to that.

use rustix::io::Errno;

use super::make::{bind, copy, source_of};
use crate::container::handshake::{SyncSocket, Wanted};
use crate::error::{During, Fault, Op};
use crate::parse::config::{MAX_MOUNTS, MountList};
use crate::parse::mount_options::Propagation;
use crate::sys::mount::Detached;
use crate::sys::path::LongPath;

/// For each of the mounts, also of one that was added, its copy, if it is tied to the host's.
pub(in crate::container) type EarlyCopies = [Option<Detached>; MAX_MOUNTS + 1];

/// Copies what asks to be the host's peer, or its slave where the container's `root` is none; or
/// all that is bound, by way of the `sync` where this process may not go.
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
            // What the namespace will be.
            _ if root_is_slave => Propagation::Slave,
            _ => Propagation::Private,
        };
        if !item.options.is_bind() {
            continue;
        }
        let copy = match (bind(bundle, item), sync) {
            (Err(fault), Some(sync)) if fault.errno == Errno::ACCESS => copy(
                &sync.open(Wanted::Mount(which))?,
                source_of(bundle, item, &mut LongPath::new())?,
                item,
            ),
            (copy, _) => copy,
        }?;
        // At once, with all that is bound with it: the container's mounts inside would appear on
        // the host.
        copy.set_propagation(propagation, true)
            .during(Op::Propagation, item.destination)?;
        *place = Some(copy);
    }
    Ok(())
}
