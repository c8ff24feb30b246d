//! The control device of btrfs (include/uapi/linux/btrfs.h).

use core::ffi::c_void;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

use crate::error::{During, Fault, Op};

const CONTROL: &str = "/dev/btrfs-control";

/// The length of `struct btrfs_ioctl_vol_args`, and where the path begins in it.
const ARGUMENTS: usize = 4096;
const PATH: usize = 8;

/// Tells the kernel that the device at `node` belongs to a btrfs: BTRFS_IOC_SCAN_DEV.
///
/// # Errors
/// Those of openat(2): `ENOENT` or `ENODEV` without a driver; those of the ioctl, `EINVAL` for what
/// is no btrfs.
pub fn register(node: &str) -> Result<(), Fault> {
    let control = open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let control = control.during(Op::Open, CONTROL)?;
    let mut arguments = ScanDevice([0; ARGUMENTS]);
    // SAFETY: the request is a whole `struct btrfs_ioctl_vol_args`, which the kernel reads.
    let scanned = arguments
        .set_path(node)
        .and_then(|()| unsafe { ioctl(&control, &mut arguments) });
    scanned.during(Op::Configure, format_args!("{node} for btrfs"))
}

/// `struct btrfs_ioctl_vol_args`, in the machine's byte order.
#[repr(align(8))]
struct ScanDevice([u8; ARGUMENTS]);

impl ScanDevice {
    fn set_path(&mut self, node: &str) -> Result<(), Errno> {
        let place = self.0.get_mut(PATH..).unwrap_or_default();
        // The last byte stays the NUL that ends it.
        let place = place
            .get_mut(..node.len())
            .filter(|_| node.len() < ARGUMENTS - PATH);
        place
            .ok_or(Errno::NAMETOOLONG)?
            .copy_from_slice(node.as_bytes());
        Ok(())
    }
}

// SAFETY: the opcode has the length of the structure in it, and what is given is one.
unsafe impl Ioctl for &mut ScanDevice {
    type Output = ();

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::write::<[u8; ARGUMENTS]>(0x94, 4)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_that_of_the_header_file() {
        // As BTRFS_IOC_SCAN_DEV expands on x86-64 and aarch64.
        let mut arguments = ScanDevice([0; ARGUMENTS]);
        let request = &mut arguments;
        assert_eq!(request.opcode(), 0x5000_9404);
        arguments.set_path("/dev/vda1").unwrap();
        assert_eq!(&arguments.0[PATH..PATH + 10], b"/dev/vda1\0");
        let long = "x".repeat(ARGUMENTS - PATH);
        assert_eq!(arguments.set_path(&long), Err(Errno::NAMETOOLONG));
        assert!(arguments.set_path(&long[1..]).is_ok());
    }
}
