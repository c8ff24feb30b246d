//! The watchdog: a timer that resets the machine unless it is fed
//! (Documentation/watchdog/watchdog-api.rst).

use core::time::Duration;

use linux_raw_sys::ioctl::{WDIOC_GETSUPPORT, WDIOC_SETTIMEOUT};
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat};
use rustix::io::{Errno, write};
use rustix::ioctl::{Getter, Updater, ioctl};

use crate::error::{During, Fault, Op};
use crate::text::Text;

/// The first watchdog of the machine.
const DEVICE: &str = "/dev/watchdog";

/// The byte that says that the device is closed on purpose, and any other.
const DISARM: &[u8] = b"V";
const FEED: &[u8] = b"\0";

/// `struct watchdog_info` of include/uapi/linux/watchdog.h.
#[repr(C)]
struct Info {
    options: u32,
    firmware: u32,
    identity: [u8; 32],
}

/// A watchdog that is armed.
pub struct Watchdog {
    device: OwnedFd,
    /// After so long without being fed, it resets the machine.
    pub timeout: Duration,
}

impl Watchdog {
    /// Whether the machine has one, and its driver.
    pub fn is_there() -> bool {
        accessat(CWD, DEVICE, Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Arms it. The driver may take another timeout than the one that is asked for.
    ///
    /// # Errors
    /// Those of open(2): `ENOENT` without a driver, `EBUSY` if somebody else has it; those of
    /// WDIOC_SETTIMEOUT: `EINVAL` for a timeout that it cannot have. It is not armed then.
    pub fn arm(timeout: Duration) -> Result<Self, Fault> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let device = openat(CWD, DEVICE, flags, Mode::empty()).during(Op::Open, DEVICE)?;
        let mut watchdog = Self { device, timeout };
        match watchdog.set_timeout() {
            Ok(()) => Ok(watchdog),
            Err(errno) => {
                watchdog.disarm();
                let seconds = timeout.as_secs();
                Err(errno).during(
                    Op::Configure,
                    format_args!("{DEVICE} for {seconds} seconds"),
                )
            }
        }
    }

    fn set_timeout(&mut self) -> Result<(), Errno> {
        let mut seconds = i32::try_from(self.timeout.as_secs()).map_err(|_| Errno::INVAL)?;
        // SAFETY: WDIOC_SETTIMEOUT reads an `int` of seconds and writes the one that holds.
        let request = unsafe { Updater::<WDIOC_SETTIMEOUT, i32>::new(&mut seconds) };
        // SAFETY: as above.
        unsafe { ioctl(&self.device, request) }?;
        let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
        self.timeout = Duration::from_secs(seconds.ok_or(Errno::INVAL)?);
        Ok(())
    }

    /// What its driver calls it.
    pub fn identity(&self) -> Text<32> {
        // SAFETY: WDIOC_GETSUPPORT writes a `struct watchdog_info`.
        let request = unsafe { Getter::<WDIOC_GETSUPPORT, Info>::new() };
        // SAFETY: as above.
        let info = unsafe { ioctl(&self.device, request) };
        let identity = info.map(|info| info.identity).unwrap_or_default();
        let mut parts = identity.split(|byte| *byte == 0);
        let name = parts.next().unwrap_or_default();
        Text::new(core::str::from_utf8(name).unwrap_or_default())
    }

    /// Starts its timer anew.
    pub fn feed(&self) {
        // If it could not be fed, it does what it is there for.
        let _ = write(&self.device, FEED);
    }

    /// Stops its timer, unless the kernel was built or told never to (`nowayout`).
    pub fn disarm(self) {
        let _ = write(&self.device, DISARM);
    }
}
