//! Numbers that others do not foresee (random(4), getrandom(2)).

use linux_raw_sys::ioctl::{RNDADDENTROPY, RNDRESEEDCRNG};
use rustix::event::{Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read, write};
use rustix::ioctl::{NoArg, Setter, ioctl};
use rustix::rand::{GetRandomFlags, getrandom};

use super::clock::{self, Moment};
use crate::error::{During, Fault, Op};

/// The kernel's generator.
const DEVICE: &str = "/dev/urandom";

/// How many bytes are credited at once, at most.
pub const ENTROPY_MAX: usize = 512;

/// `struct rand_pool_info` of include/uapi/linux/random.h, with its bytes.
#[repr(C)]
struct Pool {
    /// In bits.
    entropy: i32,
    /// How many of the bytes count.
    len: i32,
    bytes: [u8; ENTROPY_MAX],
}

/// How urgently numbers are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Once the kernel has gathered enough for numbers that nobody foresees; it sees to that, and
    /// takes a second at most (Linux 5.4).
    Patient,
    /// The same, but not if it has not yet (`EAGAIN`).
    IfReady,
    /// From what the kernel has, also in the first moments of a machine, in which it would have
    /// others wait (GRND_INSECURE).
    Now,
}

/// A number. No secret may be made of it.
#[must_use]
pub fn number() -> u32 {
    let mut bytes = [0; 4];
    // Kernels before 5.6 do not know the flag; a number that is foreseen is good enough there.
    let _ = getrandom(&mut bytes, GetRandomFlags::INSECURE);
    u32::from_ne_bytes(bytes)
}

/// Fills `bytes`.
///
/// # Errors
/// Those of getrandom(2) but `EINTR`.
pub fn fill(bytes: &mut [u8], urgency: Urgency) -> Result<(), Errno> {
    let flags = match urgency {
        Urgency::Patient => GetRandomFlags::empty(),
        Urgency::IfReady => GetRandomFlags::NONBLOCK,
        Urgency::Now => GetRandomFlags::INSECURE,
    };
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match getrandom(room, flags) {
            Ok(len) => filled += len,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn device() -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    openat(CWD, DEVICE, flags, Mode::empty())
}

/// Mixes `bytes` into what the kernel has gathered. Nothing is assumed of them.
///
/// # Errors
/// Those of openat(2) and write(2).
pub fn mix(bytes: &[u8]) -> Result<(), Fault> {
    device()
        .and_then(|device| write(device, bytes))
        .map(drop)
        .during(Op::Write, DEVICE)
}

/// The same, for bytes of which nobody knows any: all of their bits count (RNDADDENTROPY).
///
/// # Errors
/// Those of openat(2) and ioctl(2); `EMSGSIZE` for more than [`ENTROPY_MAX`].
pub fn credit(bytes: &[u8]) -> Result<(), Fault> {
    let mut pool = Pool {
        entropy: bytes.len() as i32 * 8,
        len: bytes.len() as i32,
        bytes: [0; ENTROPY_MAX],
    };
    let room = pool.bytes.get_mut(..bytes.len()).ok_or(Errno::MSGSIZE);
    room.map(|room| room.copy_from_slice(bytes))
        .and_then(|()| {
            let device = device()?;
            // SAFETY: RNDADDENTROPY reads a `struct rand_pool_info` and as many bytes behind it as
            // that says, which are there.
            let request = unsafe { Setter::<RNDADDENTROPY, Pool>::new(pool) };
            // SAFETY: as above.
            unsafe { ioctl(&device, request) }
        })
        .during(Op::Configure, DEVICE)
}

/// Has the numbers from now on depend on all that was gathered until now (RNDRESEEDCRNG).
///
/// # Errors
/// Those of openat(2) and ioctl(2); `ENODATA` if the kernel has not gathered enough yet: then it
/// does so by itself.
pub fn reseed() -> Result<(), Fault> {
    device()
        .and_then(|device| {
            // SAFETY: RNDRESEEDCRNG takes no argument.
            let request = unsafe { NoArg::<RNDRESEEDCRNG>::new() };
            // SAFETY: as above.
            unsafe { ioctl(&device, request) }
        })
        .during(Op::Configure, DEVICE)
}

/// Fills `bytes` from the device at `path`, which may take until the deadline.
///
/// # Errors
/// `ETIMEDOUT`; those of openat(2) and read(2).
pub fn fill_from(path: &str, bytes: &mut [u8], deadline: Moment) -> Result<(), Errno> {
    /// How long it is waited for more: no readiness is told of (hw_random/core.c).
    const REST: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 10_000_000,
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let device = openat(CWD, path, flags, Mode::empty())?;
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match read(&device, room) {
            Ok(0) => return Err(Errno::NODATA),
            Ok(len) => filled += len,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if clock::now() < deadline => _ = poll(&mut [], Some(&REST)),
            Err(Errno::AGAIN) => return Err(Errno::TIMEDOUT),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
