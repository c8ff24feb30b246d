//! The clock of the event stream: CLOCK_BOOTTIME (clock_gettime(2)), which no one sets and which
//! suspends do not stop.

use core::ops::{Add, Sub};
use core::time::Duration;

use linux_raw_sys::general as linux;
use rustix::event::Timespec;
use rustix::io::Errno;

use super::raw::call;

/// A moment, in microseconds since the kernel started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// Now.
pub fn now() -> Moment {
    let time = read(linux::CLOCK_BOOTTIME);
    Moment(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000)
}

/// The time of day: seconds since 1970, and nanoseconds.
pub fn wall() -> (u64, u32) {
    let time = read(linux::CLOCK_REALTIME);
    // A clock from before 1970 has not been set.
    (u64::try_from(time.tv_sec).unwrap_or(0), time.tv_nsec as u32)
}

/// Sets the time of day (clock_settime(2)).
///
/// # Errors
/// `EPERM` without the right to; `EINVAL` for a time that the kernel does not take.
pub fn set_wall(seconds: u64, nanoseconds: u32) -> Result<(), Errno> {
    let time = Timespec {
        tv_sec: i64::try_from(seconds).map_err(|_| Errno::INVAL)?,
        tv_nsec: nanoseconds.into(),
    };
    rustix::time::clock_settime(rustix::time::ClockId::Realtime, time)
}

/// The time of day that the machine's clock chip has, which runs while it is off: seconds since
/// 1970 (Documentation/ABI/testing/sysfs-class-rtc). `None` where there is none, or no driver.
pub fn of_chip() -> Option<u64> {
    let mut text = [0; 32];
    let file = format_args!("/sys/class/rtc/rtc0/since_epoch");
    let text = super::fs::read_attribute(file, &mut text)?.trim_ascii();
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// `clock_gettime(2)` of a clock that every kernel has: no error is possible.
///
/// rustix would look the call up in the vDSO, which saves nothing for a clock that is read a few
/// dozen times.
fn read(clock: u32) -> Timespec {
    let mut time = linux::__kernel_timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let arguments = [clock as usize, (&raw mut time).expose_provenance(), 0, 0, 0];
    // SAFETY: `time` is what the kernel writes, and outlives the call.
    let _ = unsafe { call(linux::__NR_clock_gettime, arguments) };
    Timespec {
        tv_sec: time.tv_sec,
        tv_nsec: time.tv_nsec,
    }
}

impl Moment {
    /// How long it is from now until this moment, as poll(2) and its kin take it; zero if it has
    /// passed.
    pub fn from_now(self) -> Timespec {
        let left = self.0.saturating_sub(now().0);
        Timespec {
            tv_sec: (left / 1_000_000) as i64,
            // Rounded up: waking a moment early would mean another round with nothing to do.
            tv_nsec: ((left % 1_000_000) * 1000 + 999).min(999_999_999) as i64,
        }
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    #[inline(never)]
    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub for Moment {
    type Output = u64;

    /// Microseconds from `earlier` to `self`.
    fn sub(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_that_has_passed_is_waited_for_no_longer() {
        let left = Moment(0).from_now();
        assert_eq!((left.tv_sec, left.tv_nsec), (0, 999));
    }

    #[test]
    fn far_moments_do_not_overflow() {
        assert_eq!(Moment(5) + Duration::MAX, Moment(u64::MAX));
        assert_eq!(Moment(5) - Moment(7), 0);
    }
}
