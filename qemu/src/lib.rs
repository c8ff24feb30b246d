//! Everything that is needed to boot berth on a machine that exists only while it is looked at.
//!
//! The parts stand in the order in which they are used:
//!
//! * [`setup`] finds the programs that the rest relies on, and installs the packages that are
//!   missing.
//! * [`kernel`] gets a distribution's kernel package, unpacked and never installed.
//! * [`disk`] makes disk images from [`tree`]s of files: no root, no loop devices, fixed
//!   identifiers.
//! * [`accel`] decides between KVM and TCG, and trusts KVM only after a guest has run in it.
//! * [`vm`] boots a machine, follows its console, its events and its hypervisor, and says how it
//!   ended.
//! * [`control`] asks a running machine for things over its control port, and [`ctl`] is the
//!   command that does so for people.
//! * [`demo`] is the machine that `make run` boots.
//! * [`mod@cross`] builds berth for another architecture.
//! * [`packages`] gets programs that others wrote, for guests in which berth stands beside them.
//! * [`system`] makes a disk with a whole Debian that boots to systemd, for those that need one
//!   around them.
//!
//! All that is made stays below `target/`: kernels in `target/kernels/`, logs in
//! `target/vm/<machine>/`.
//!
//! A test of a whole boot is a few lines:
//!
//! ```no_run
//! use berth_qemu::{arch::Arch, disk::{Disk, Fs}, kernel, tree::Tree, vm::{Ended, Vm}};
//!
//! fn root_is_mounted_from_sdb1() -> anyhow::Result<()> {
//!     let disk = Disk::mbr(0xb0a7_0001).partition(Fs::vfat("BERTH", 0xb0a7_0002, Tree::new())).build()?;
//!     let vm = Vm::builder("root_is_mounted_from_sdb1")
//!         .kernel(&kernel::default(Arch::X86_64)?)
//!         .initrd("target/initramfs.cpio")
//!         .append("root=/dev/sdb1")
//!         .scsi(&Disk::empty(16).build()?)
//!         .scsi(&disk)
//!         .start()?;
//!     vm.expect_event("end")?;
//!     vm.wait()?.assert_ended(Ended::PowerOff)?;
//!     Ok(())
//! }
//! ```

mod apt;
mod paths;
mod program;

pub mod accel;
pub mod arch;
pub mod control;
pub mod cross;
pub mod ctl;
pub mod demo;
pub mod disk;
pub mod kernel;
pub mod packages;
pub mod rootfs;
pub mod setup;
pub mod system;
pub mod terminal;
pub mod tree;
pub mod vm;
pub mod whole;

pub use demo::busybox;
pub use paths::{target_dir, vm_dir};
