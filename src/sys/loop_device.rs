//! Loop devices: a file as a block device (loop(4), include/uapi/linux/loop.h).

use core::ffi::c_void;

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, NoArg, Opcode, ioctl};

use super::path::{Path, path};
use crate::cause::Cause;
use crate::error::{At, During, Fault, Op};

const CONTROL: &str = "/dev/loop-control";

const LOOP_CTL_GET_FREE: Opcode = 0x4c82;
const LOOP_CONFIGURE: Opcode = 0x4c0a;

const LO_FLAGS_READ_ONLY: u32 = 1;
/// The device is given up when its last user is gone.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// The file is not cached a second time; where its filesystem cannot do that, it is.
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// The length of `struct loop_config`.
const CONFIG: usize = 304;

/// The offset of `info.lo_flags` in it.
const FLAGS: usize = 60;

/// A loop device, which lives as long as this or another user has it open.
pub struct LoopDevice {
    /// Its node.
    pub node: Path,
    _open: OwnedFd,
}

impl LoopDevice {
    /// Makes a device of `file`; `name` is what it is called in an error.
    ///
    /// # Errors
    /// Those of opening `/dev/loop-control` and the device: `ENOENT` or `ENODEV` without a loop
    /// driver. Those of LOOP_CTL_GET_FREE and LOOP_CONFIGURE (Linux 5.8).
    pub fn new(file: BorrowedFd<'_>, is_read_only: bool, name: &str) -> Result<Self, Fault> {
        let access = if is_read_only {
            OFlags::RDONLY
        } else {
            OFlags::RDWR
        };
        let control = open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let control = control.during(Op::Open, format_args!("{CONTROL} for {name}"));
        let control = control.because(Cause::LoopDriver)?;
        let subject = format_args!("a loop device for {name}");
        loop {
            // SAFETY: the request takes no argument and gives a number.
            let number = unsafe { ioctl(&control, GetFree(NoArg::<LOOP_CTL_GET_FREE>::new())) };
            let number = number.during(Op::Configure, subject)?;
            let node = path(format_args!("/dev/loop{number}")).during(Op::Open, name)?;
            let device = open(node.as_str(), access | OFlags::CLOEXEC, Mode::empty())
                .during(Op::Open, &node)?;
            let mut config = Config::new(file, is_read_only);
            // SAFETY: the request is a whole configuration, of a descriptor that outlives the call.
            match unsafe { ioctl(&device, &mut config) } {
                Ok(()) => {
                    return Ok(Self {
                        node,
                        _open: device,
                    });
                }
                // Another process was faster; the next free one is another.
                Err(Errno::BUSY) => {}
                Err(errno) => return Err(errno).during(Op::Configure, subject),
            }
        }
    }
}

/// LOOP_CTL_GET_FREE answers with its result, not through a pointer.
struct GetFree(NoArg<LOOP_CTL_GET_FREE>);

// SAFETY: the request takes no argument.
unsafe impl Ioctl for GetFree {
    type Output = i32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        self.0.opcode()
    }

    fn as_ptr(&mut self) -> *mut c_void {
        core::ptr::null_mut()
    }

    unsafe fn output_from_ptr(number: IoctlOutput, _: *mut c_void) -> rustix::io::Result<i32> {
        Ok(number)
    }
}

/// `struct loop_config`, in the machine's byte order.
#[repr(align(8))]
struct Config([u8; CONFIG]);

impl Config {
    fn new(file: BorrowedFd<'_>, is_read_only: bool) -> Self {
        let mut config = [0; CONFIG];
        let read_only = if is_read_only { LO_FLAGS_READ_ONLY } else { 0 };
        let flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO | read_only;
        for (at, value) in [(0, file.as_raw_fd() as u32), (FLAGS, flags)] {
            // Both places are inside.
            if let Some(place) = config.get_mut(at..at + 4) {
                place.copy_from_slice(&value.to_ne_bytes());
            }
        }
        Self(config)
    }
}

// SAFETY: the pointer is to a whole `struct loop_config`, which the kernel reads.
unsafe impl Ioctl for &mut Config {
    type Output = ();

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CONFIGURE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}
