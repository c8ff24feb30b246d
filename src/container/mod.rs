//! The container engine: from a bundle to a running, isolated process.
//!
//! # What a container is
//!
//! A process in namespaces of its own, on a root of its own, in a control group of its own. The new
//! process is made with clone3(2), already in its namespaces and its control group, and sets the
//! rest up itself, from inside; only then does it execute the container's program. What fails on
//! the way comes back through a pipe ([`status_pipe`], [`report`]).
//!
//! # How to start one
//!
//! [`start()`] takes a [`Request`] (the bundle's directory, the parsed configuration, the control
//! group, where the standard descriptors lead, whether to hold before the program is executed) and
//! gives a [`PendingStart`] at once. [`PendingStart::wait`] waits for [`StartEvent`]: it holds, it
//! runs, it failed. [`PendingStart::pid`] is the first process, as soon as it is known. Where
//! making the container takes time, a short-lived builder does it ([`builder`]); the first process
//! becomes the caller's child when the builder has ended, so a caller that is not PID 1 and wants
//! to wait for the container asks for orphans first (prctl(2), PR_SET_CHILD_SUBREAPER), and
//! collects [`PendingStart::builder`] too.
//!
//! [`Place::Running`] starts one more process in a container that runs.
//!
//! # Mounts
//!
//! The new mount namespace begins as a copy of the host's, in which every mount is a *peer* of the
//! original: what is mounted in one appears in the other (mount_namespaces(7)). So the copy is
//! first made a *slave*: the host's later mounts still arrive, the container's own never leave.
//! What a bundle binds to exchange mounts with the host in another way, with `slave` or `shared`
//! among its options, is copied before that. The rootfs is bound over itself, because pivot_root(2)
//! wants a mount point, and a writable layer laid above it where one is asked for ([`overlay`]);
//! everything else is mounted below it, by descriptor ([`mounts`]), and then it takes the place of
//! `/` and the host's tree is gone from the namespace ([`rootfs`]).
//!
//! # The order
//!
//! Rootfs, mounts, devices, console; read-only paths, masks; the root read-only; then the root is
//! entered. A mask comes after all that could be mounted over it ([`confine`]), a node before its
//! filesystem is read-only, and everything before the host's tree is gone: sources, the host's
//! `/dev/null` and its nodes are found there, through nothing that an image says. Parameters of the
//! kernel are set when hooks and the caller have brought what comes from outside, as network
//! devices, through a procfs that is mounted nowhere.
//!
//! # What leads back
//!
//! Until the program runs, the process is the host's in all but its namespaces. So it cannot be
//! traced, has a session keyring of its own, closes every descriptor before it looks at a path of
//! the container's for its own sake (the working directory, the program), and sees that the kernel
//! calls the working directory reachable. The binary behind its `/proc/<pid>/exe` is a sealed copy
//! ([`crate::sys::sealed`]): PID 1 has made one, and a command becomes one of itself first.

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
pub use failure::{PRIVILEGED, StartFailure, refusal, setup_error};
pub use hooks::run_all as run_hooks;
pub use request::{Outside, Place, Request, Streams};
pub use seccomp::is_agent_notified_at_create;
pub use start::start;
pub use state::{State, Status};
pub use status_pipe::{PendingStart, StartEvent, start_result};
