//! The time of day as RFC 3339 writes it: what engines read in logs and lists.

use core::fmt;

use crate::sys::clock;
use crate::text::Text;

/// A moment in universal time, with nanoseconds: `2026-11-24T22:01:34.000000001Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    seconds: u64,
    nanoseconds: u32,
}

impl Time {
    pub(super) fn now() -> Self {
        let (seconds, nanoseconds) = clock::wall();
        Self::of(seconds, nanoseconds)
    }

    pub(super) const fn of(seconds: u64, nanoseconds: u32) -> Self {
        Self {
            seconds,
            nanoseconds,
        }
    }

    pub(super) const fn seconds(self) -> u64 {
        self.seconds
    }

    pub(super) const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// The moment that `text` is in universal time: `2026-11-24T22:01:34Z`, perhaps with a fraction
    /// of the second of up to nine digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let part = |place: core::ops::Range<usize>| {
            let digits = text.get(place)?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u64>().ok().filter(|_| is_number)
        };
        let [year, month, day] = [part(0..4)?, part(5..7)?, part(8..10)?];
        let [hour, minute, second] = [part(11..13)?, part(14..16)?, part(17..19)?];
        // A few hundred days at most are looked through.
        let first = year.checked_sub(1970)? * 365;
        let days = (first..first + 800).find(|days| date(*days) == (year, month, day))?;
        let fraction = text.get(19..)?.strip_suffix('Z')?;
        let nanoseconds = match fraction.strip_prefix('.') {
            None if fraction.is_empty() => 0,
            Some(digits)
                if digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                let missing = 9 - digits.len() as u32;
                digits.parse::<u32>().ok()? * 10_u32.pow(missing)
            }
            _ => return None,
        };
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
        let time = Self::of(seconds, nanoseconds);
        // What is shown is what was meant: no 31st of June, no 25 o'clock.
        let shown = Text::<40>::new(time);
        let is_same = shown.as_str().get(..19) == text.get(..19);
        is_same.then_some(time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.seconds / 86_400, self.seconds % 86_400);
        let (year, month, day) = date(days);
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
            second / 3600,
            second / 60 % 60,
            second % 60,
            self.nanoseconds
        )
    }
}

/// Year, month and day of the day that is so many days after 1970-01-01, in the Gregorian calendar.
/// Years are counted from March, so that the day that only some have is the last.
const fn date(days: u64) -> (u64, u64, u64) {
    /// From 0000-03-01 to 1970-01-01.
    const TO_1970: u64 = 719_468;
    /// Days of 400 years, after which the calendar repeats.
    const ERA: u64 = 146_097;
    let days = days + TO_1970;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + carry, month, of_month)
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn times_are_read_with_a_fraction_or_without() {
        for (text, expected) in [
            ("1970-01-01T00:00:01Z", Some((1, 0))),
            ("2026-12-31T23:59:59.5Z", Some((1_798_761_599, 500_000_000))),
            ("2026-12-31T23:59:59.000000001Z", Some((1_798_761_599, 1))),
            ("2026-12-31T23:59:59.0000000001Z", None),
            ("2026-12-31T23:59:59.Z", None),
            ("2026-12-31T23:59:59.+1Z", None),
            ("2026-12-31T23:59:59", None),
            ("2026-06-31T23:59:59Z", None),
            ("2026-12-31T25:59:59Z", None),
        ] {
            let time = Time::parse(text).map(|time| (time.seconds, time.nanoseconds));
            assert_eq!(time, expected, "{text}");
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00.000000001Z"),
            (951_782_399, "2000-02-28T23:59:59.000000001Z"),
            (951_782_400, "2000-02-29T00:00:00.000000001Z"),
            (951_868_800, "2000-03-01T00:00:00.000000001Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000000001Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000001Z"),
        ] {
            let time = Time {
                seconds,
                nanoseconds: 1,
            };
            assert_eq!(time.to_string(), shown);
        }
    }
}
