//! The initramfs: build it, list it, verify it.
//!
//! An initramfs is a *newc* cpio archive, or several one behind the other, each compressed or not,
//! which the kernel unpacks into the first root before it starts `/init` (kernel:
//! `Documentation/driver-api/early-userspace/buffer-format.rst`). berth needs little in it: itself,
//! the modules between the kernel and the root device, and two small text files.
//!
//! ```text
//! /init                          berth
//! /dev/console                   character device 5:1, for kernels that open it before devtmpfs is mounted
//! /dev /proc /sys /run /sysroot  mount points
//! /etc/berth/modules             modules to load always, one a line
//! /etc/berth/cmdline             defaults for the kernel command line
//! /lib/modules/<release>/        module files, modules.dep, .alias, .softdep, .builtin, trimmed to these files
//! ```
//!
//! # Build
//!
//! [`ModuleTree::open`] finds the modules of one kernel release, in a running system's
//! `/lib/modules` as well as in a package that was unpacked and never installed (it then has no
//! `modules.dep`; [`depmod`] makes one). A [`Spec`] says what goes in and [`Spec::build`] gives the
//! [`Image`].
//!
//! ```no_run
//! use berth_initramfs::{Compression, ModuleTree, Spec};
//!
//! let tree = ModuleTree::open("target/kernels/6.1".as_ref(), None)?;
//! let image = Spec::new("target/init")
//!     .berth("target/berth")
//!     .modules(tree)
//!     .load(["virtio_pci", "virtio_scsi", "sd_mod", "vfat"])
//!     .cmdline("root=/dev/sdb1")
//!     .build(Compression::Zstd)?;
//! image.write("target/initramfs.cpio.zst".as_ref())?;
//! print!("{}", image.report);
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! Modules that are to be loaded always are named with [`Spec::load`]. With [`Spec::for_devices`],
//! [`Spec::for_filesystems`] and [`Spec::from_running_system`] they are in the image for whatever
//! asks for them.
//!
//! The same inputs give the same bytes, whatever the source directory, umask, user, locale or order
//! of its entries: paths are sorted, owners are root, modes are 0755 or 0644, times are one fixed
//! number, inode numbers count up.
//!
//! # Verify
//!
//! [`verify`] reads an image the way the kernel would, ours or one packed by hand, and names what
//! would fail at boot: modules of another release, modules whose files are missing, a vfat without
//! its character sets, an `/init` that cannot run. What it cannot see is hardware: whether the
//! modules suffice to reach the root device is for a boot to show.

pub mod archive;
mod build;
mod compression;
mod contents;
pub mod depmod;
mod devices;
mod index;
pub mod kernel;
mod libraries;
mod list;
mod modinfo;
mod program;
mod report;
mod resolve;
mod root_archive;
mod signature;
mod spec;
#[cfg(test)]
mod testing;
mod tree;
mod verify;

pub use build::Image;
pub use compression::Compression;
pub use devices::DeviceClass;
pub use list::list;
pub use report::Report;
pub use spec::Spec;
pub use tree::ModuleTree;
pub use verify::verify;
