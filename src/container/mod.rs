//! The container engine: from a bundle to a running, isolated process.
//!
//! # What a container is
//!
//! A process in namespaces of its own, on a root of its own, in a control group of its own. The new process is made with
//! clone3(2), already in its namespaces and its control group, and sets the rest up itself, from inside; only then does it
//! execute the container's program. What fails on the way comes back through a pipe ([`report`]).
//!
//! # Mounts
//!
//! The new mount namespace begins as a copy of the host's, in which every mount is a *peer* of the original: what is
//! mounted in one appears in the other (mount_namespaces(7)). So the copy is first made a *slave*: the host's later mounts
//! still arrive, the container's own never leave. The rootfs is bound over itself, because pivot_root(2) wants a mount
//! point; everything else is mounted below it, by descriptor ([`mounts`]), and then it takes the place of `/` and the
//! host's tree is gone from the namespace ([`rootfs`]).

mod bundle;
mod cgroup;
mod devices;
mod image;
mod landlock;
mod mounts;
pub mod report;
mod rootfs;
mod setup;
mod spawn;

pub use bundle::{BUNDLES_MAX, ID_MAX, Id, each_bundle};
pub use cgroup::Groups;
pub use spawn::{Child, setup_error, spawn};
