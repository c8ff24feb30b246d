//! The container engine: from a bundle to a running, isolated process.
//!
//! # What a container is
//!
//! A process in namespaces of its own, on a root of its own, in a control group of its own.
//! clone3(2) makes the new process already in its namespaces and its control group. That process
//! sets the rest up from inside, and only then executes the container's program. A failure on the
//! way comes back through a pipe ([`status_pipe`], [`report`]).
//!
//! # How to start one
//!
//! [`start()`] takes a [`Request`] and gives a [`PendingStart`] at once.
//!
//! * [`PendingStart::wait`] waits for the next [`StartEvent`]: the container is created, its
//!   program runs, or the start failed.
//! * [`PendingStart::pid`] is the first process, as soon as it is known.
//! * Where making the container takes time, a short-lived builder does it ([`builder`]). The first
//!   process becomes the caller's child when the builder has ended. So a caller that is not PID 1,
//!   and wants to wait for the container, asks for orphans first (prctl(2),
//!   PR_SET_CHILD_SUBREAPER), and collects [`PendingStart::builder`], too.
//!
//! [`Place::Running`] starts one more process in a container that runs.
//!
//! # The set-up
//!
//! [`setup`] is lists of steps, each with the reason why it stands where it does. What the
//! processes that make a container say to each other is in [`handshake`].
//!
//! # Mounts
//!
//! The new mount namespace begins as a copy of the host's, in which every mount is a *peer* of the
//! original: what is mounted in one appears in the other (mount_namespaces(7)). So the copy is
//! first made a *slave*: later mounts of the host still arrive, and the container's own never
//! leave. A volume that exchanges mounts with the host in another way, with `slave` or `shared`
//! among its options, is copied before that.
//!
//! The rootfs is bound over itself, because pivot_root(2) wants a mount point; a writable layer
//! lies above it where the bundle asks for one ([`overlay`]). Everything else is mounted below it,
//! by descriptor ([`mounts`]). Then it takes the place of `/`, and the host's tree is gone from the
//! namespace ([`rootfs`]).
//!
//! # What could lead back to the host
//!
//! Until the program runs, the process is the host's in all but its namespaces. So it
//!
//! * cannot be traced, and has a session keyring of its own ([`exposure`]);
//! * closes every descriptor before it looks at a path of the container's for its own sake, as the
//!   working directory and the program are;
//! * checks that the kernel calls the working directory reachable.
//!
//! The binary behind its `/proc/<pid>/exe` is a sealed copy ([`crate::sys::sealed`]): PID 1 has
//! made one, and a command becomes one of itself first.

mod broker;
mod builder;
mod bundle;
pub mod cgroup;
mod confine;
mod credentials;
mod deferred;
pub mod devices;
mod exposure;
mod failure;
mod handshake;
mod hooks;
mod image;
mod labels;
mod landlock;
mod limits;
mod mounts;
mod namespaces;
mod overlay;
mod program;
mod report;
mod request;
mod rootfs;
mod seccomp;
mod setup;
mod shared_pid;
mod start;
mod state;
mod status_pipe;
mod target;
mod terminal;

pub use bundle::{BUNDLES_MAX, ID_MAX, Id, each_bundle};
pub use cgroup::{Group, Groups, Owner};
pub use failure::{CONTROLS, PRIVILEGED, StartFailure, refusal, setup_error};
pub use hooks::run_all as run_hooks;
pub use mounts::RESOLV_CONF;
pub use request::{Outside, Place, Request, Streams};
pub use seccomp::is_agent_notified_at_create;
pub use start::start;
pub use state::{State, Status};
pub use status_pipe::{PendingStart, StartEvent, start_result};
