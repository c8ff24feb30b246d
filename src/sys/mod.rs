//! How things are done: thin calls over rustix, and the few that rustix lacks.
//!
//! A function here makes one system call, or the few that make up one step, and adds the operation
//! and its subject to the error number. What is done, and in which order, is decided above.
//! Together with the programs' `rt.rs` this is the only place with `unsafe`.

pub mod acpi;
pub mod arch;
pub mod attributes;
pub mod block;
pub mod bpf;
pub mod btrfs;
pub mod buffer;
pub mod clock;
pub mod console;
pub mod copy;
pub mod descriptors;
pub mod device_mapper;
pub mod drivers;
pub mod epoll;
pub mod freeze;
pub mod fs;
pub mod id_maps;
pub mod keyring;
pub mod kmsg;
pub mod landlock;
pub mod leftovers;
pub mod loop_device;
pub mod mapped;
pub mod module;
pub mod mount;
pub mod namespace;
pub mod net;
pub mod netlink;
mod netlink_request;
pub mod node;
pub mod overlay;
pub mod packet;
pub mod path;
pub mod pidfd;
pub mod process;
pub mod procfs;
pub mod random;
mod raw;
pub mod resident;
pub mod rtnetlink;
pub mod sealed;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod strings;
pub mod verity;
pub mod virtio_port;
pub mod watchdog;
