//! Bytes and text become values here, and nothing else happens.
//!
//! Everything in this directory reads what somebody else wrote: a boot loader's command line, a
//! disk of unknown origin, a bundle from the network. So the rules are strict: no `unsafe`, no
//! allocation, no I/O, no logging, no panic on any input. A parser borrows from its input and
//! returns a value or a small `Copy` error whose `Display` is one clear line; the caller knows the
//! file's name and the stage, and adds them.
//!
//! One file per format:
//!
//! | module | reads | written by |
//! |---|---|---|
//! | [`cmdline`] | `/proc/cmdline` and `/etc/berth/cmdline`: words | boot loaders, people |
//! | [`ip_word`] | `ip=`, `nameserver=` | people |
//! | [`dhcp`] | what DHCP servers answer | anybody on the link |
//! | [`device`] | `root=` and its like: every way to name a device | people |
//! | [`list`], [`choice`], [`number`](mod@number), [`mount_options`] | the shapes of other values | people |
//! | [`verity`] | `berth.verity=`, and the superblock of a hash tree | people, veritysetup |
//! | [`uuid`] | the two shapes of a filesystem's UUID | mkfs |
//! | [`superblock`] | what lies on a block device | mkfs, or an attacker |
//! | [`partition`] | GPT and MBR partition tables | fdisk, or an attacker |
//! | [`cpio`] | the archive that becomes a root in memory | cpio, berth-initramfs |
//! | [`fstab`] | a root's `/etc/fstab` | distributions, people |
//! | [`automount`] | rules for disks that come, and their labels as names | people, or an attacker |
//! | [`mountinfo`] | `/proc/self/mountinfo` | the kernel |
//! | [`netlink`](mod@netlink) | messages of netlink(7), and ACPI's events in them | the kernel |
//! | [`uevent`] | netlink datagrams and sysfs `uevent` files | the kernel |
//! | [`kmsg`] | records of `/dev/kmsg` | the kernel, and programs |
//! | [`modules`] | `modules.dep`, `.softdep`, `.alias`, `.builtin` | depmod |
//! | [`arguments`] | the words behind the program's name | people, engines |
//! | [`stat`] | `/proc/<pid>/stat` | the kernel |
//! | [`executable`] | the beginning of a program's file | linkers, script authors |
//! | [`json`], and on it [`config`] | an OCI bundle's `config.json` | container tools |
//! | [`answer`] | what `berth` answers to PID 1 | a process that has read what container tools wrote |
//! | [`dbus`] | what systemd answers, and what it is asked | systemd, a bus, or who claims to be one |
//! | [`seccomp`] | the profile in it, which becomes a program for the kernel | container tools |
//!
//! [`device_policy`] goes the other way, from a bundle's rules to a program for the kernel.
//! [`read_at`] is what the readers of disks read from, [`checksum`] what formats are protected by.
//! [`nearest`] finds the word that a mistyped one was meant to be, [`near_miss`] the device, for
//! messages. [`device_order`] says which device comes first.
//!
//! What the command line *means* is one floor up, in [`crate::plan`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::string_slice, clippy::arithmetic_side_effects))]

pub mod answer;
pub mod arguments;
pub mod arp;
pub mod automount;
pub mod base64;
mod bytes;
mod checksum;
pub mod choice;
pub mod cmdline;
pub mod config;
pub mod control;
mod control_message;
pub mod cpio;
pub mod dbus;
pub mod device;
pub mod device_order;
pub mod device_policy;
pub mod dhcp;
pub mod executable;
pub mod fstab;
pub mod ip_word;
pub mod json;
pub mod kmsg;
pub mod list;
pub mod log;
pub mod machine_change;
pub mod meminfo;
pub mod modules;
pub mod mount_options;
pub mod mountinfo;
pub mod near_miss;
pub mod nearest;
pub mod netlink;
pub mod number;
pub mod partition;
pub mod passwd;
pub mod read_at;
pub mod request;
pub mod router;
pub mod seccomp;
pub mod stat;
pub mod superblock;
pub mod uevent;
pub mod uuid;
pub mod verity;
