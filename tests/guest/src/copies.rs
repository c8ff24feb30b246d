//! A container that shows what two copies of a machine could have in common: what is drawn, and the
//! time of day.

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, Timespec, clock_settime};

/// How long it rests between two lines: much longer than it takes to print one, so that a copy is
/// made while it rests.
const REST: Duration = Duration::from_millis(500);

/// `RNDRESEEDCRNG` of include/uapi/linux/random.h.
const RESEED: libc::Ioctl = 0x5207;

/// Prints an id that the kernel draws, and the time in seconds since 1970, again and again.
///
/// The kernel draws from what it has gathered only now and then (drivers/char/random.c,
/// `CRNG_RESEED_INTERVAL`). Here it does so before each line is there to be seen, so that the next
/// one depends on nothing that comes later.
pub(crate) fn draw() -> Result<()> {
    let random = OpenOptions::new().write(true).open("/dev/urandom");
    let random = random.context("open /dev/urandom")?;
    loop {
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        // SAFETY: the descriptor is open, and RNDRESEEDCRNG takes no argument.
        let result = unsafe { libc::ioctl(random.as_raw_fd(), RESEED) };
        let error = std::io::Error::last_os_error();
        // In the first moments of a machine there is nothing yet to draw anew from.
        let is_early = error.raw_os_error() == Some(libc::ENODATA);
        ensure!(result == 0 || is_early, "{error}");
        println!("{} {now}", id.trim());
        std::thread::sleep(REST);
    }
}

/// Sets the time of day.
pub(crate) fn set_clock(seconds: &str) -> Result<()> {
    let time = Timespec {
        tv_sec: seconds.parse()?,
        tv_nsec: 0,
    };
    clock_settime(ClockId::Realtime, time).context("set the clock")
}
