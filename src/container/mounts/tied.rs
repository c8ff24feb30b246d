//! Bind mounts that exchange mounts with the host.
//!
//! They are copied before the namespace is cut loose ([`crate::container`]): from then on its mounts are slaves or private, and
//! so would be every copy of them. Of a private mount none can be a slave, and of a slave none a peer of its master
//! (mount_namespaces(7)).
//!
//! All others are copied late, just before they are attached, for what the host mounts meanwhile does not reach a detached copy.
//! So in a volume that is tied, what the host mounts or unmounts while the container is being set up passes it by; from then on,
//! everything arrives. A later copy cannot be a peer any more, and one that is attached early is cut loose with the rest.

use super::make::bind;
use crate::error::{During, Fault, Op};
use crate::parse::config::{MAX_MOUNTS, Mount};
use crate::parse::mount_options::Propagation;
use crate::sys::mount::Detached;

/// For each of the mounts its copy, if it is tied to the host's.
pub(in crate::container) type Tied = [Option<Detached>; MAX_MOUNTS];

/// Copies what asks to be the host's peer, or its slave where the container's `root` is none.
#[inline(never)]
pub(in crate::container) fn copy_tied(
    bundle: &str,
    items: &[Mount<'_>],
    root: Option<Propagation>,
) -> Result<Tied, Fault> {
    let mut tied = [const { None }; MAX_MOUNTS];
    let root_is_slave = matches!(root, None | Some(Propagation::Slave));
    for (place, item) in tied.iter_mut().zip(items) {
        let propagation = match item.options.propagation {
            Some((Propagation::Shared, _)) => Propagation::Shared,
            Some((Propagation::Slave, _)) if !root_is_slave => Propagation::Slave,
            _ => continue,
        };
        if !item.options.is_bind() {
            continue;
        }
        let copy = bind(bundle, item)?;
        // At once, with all that is bound with it: the container's mounts inside would appear on the host.
        copy.set_propagation(propagation, true)
            .during(Op::Propagation, item.destination)?;
        *place = Some(copy);
    }
    Ok(tied)
}
