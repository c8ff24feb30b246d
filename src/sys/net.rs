//! Network interfaces (netdevice(7)).

use core::ffi::c_void;

use linux_raw_sys::ioctl::SIOCSIFFLAGS;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::{During, Fault, Op};

/// The interface is up (`<linux/if.h>`).
const IFF_UP: u16 = 1;

/// `struct ifreq` of `<linux/if.h>`, as far as it is used: a name and flags in a union of 24 bytes.
#[repr(C)]
struct SetFlags {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

// SAFETY: SIOCSIFFLAGS reads a `struct ifreq`, which this is, and writes nothing.
unsafe impl Ioctl for &SetFlags {
    type Output = ();

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        SIOCSIFFLAGS
    }

    fn as_ptr(&mut self) -> *mut c_void {
        core::ptr::from_ref::<SetFlags>(self).cast_mut().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// Brings `lo` up in the network namespace of this process; the kernel gives it its addresses. It
/// does nothing where it is up already.
///
/// # Errors
/// Those of socket(2), and of SIOCSIFFLAGS: `EPERM` without CAP_NET_ADMIN.
pub fn bring_loopback_up() -> Result<(), Fault> {
    const SUBJECT: &str = "the loopback interface";
    let mut request = SetFlags {
        name: [0; 16],
        flags: IFF_UP,
        rest: [0; 22],
    };
    request.name[..2].copy_from_slice(b"lo");
    // Any socket will do, and this kind is always there.
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .during(Op::Socket, SUBJECT)?;
    // SAFETY: the request is of the kind that the opcode takes, see above.
    unsafe { ioctl(&socket, &request) }.during(Op::Configure, SUBJECT)
}
