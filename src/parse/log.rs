//! Lines of containers as PID 1 keeps them: `1764491154.000123 17 o text`.

use super::number::number;

/// The directory that they are in.
pub const LOGS: &str = "/run/berth-boot/logs";

/// The longest line, in bytes: what a container prints comes in pieces of 512.
pub const LINE_MAX: usize = 640;

/// How much may be kept of a container, in bytes, of its last lines.
pub const SIZES: core::ops::RangeInclusive<u32> = 4 << 10..=16 << 20;

/// How much is kept of a container unless its bundle says otherwise (`berth.log-size`).
pub const SIZE: u32 = 64 << 10;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Seconds since 1970.
    pub seconds: u64,
    /// And microseconds.
    pub micros: u32,
    /// Which of the container's lines it is since the boot, the first being 1.
    pub number: u64,
    /// It was printed to standard error.
    pub is_error: bool,
    /// What was printed.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// The line that `bytes` hold, without its end; `None` if they hold none.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut parts = bytes.splitn(4, |byte| *byte == b' ');
        let time = core::str::from_utf8(parts.next()?).ok()?;
        let (seconds, micros) = time.split_once('.')?;
        let place = core::str::from_utf8(parts.next()?).ok()?;
        let is_error = match parts.next()? {
            b"o" => false,
            b"e" => true,
            _ => return None,
        };
        Some(Self {
            seconds: number(seconds)?,
            micros: number(micros).filter(|_| micros.len() == 6)?,
            number: number(place)?,
            is_error,
            text: parts.next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line = Line::parse(b"1764491154.000123 17 e two  words \xff").unwrap();
        assert_eq!((line.seconds, line.micros), (1_764_491_154, 123));
        assert_eq!(line.number, 17);
        assert!(line.is_error);
        assert_eq!(line.text, b"two  words \xff");
        assert_eq!(Line::parse(b"0.000000 1 o ").unwrap().text, b"");
    }

    #[test]
    fn what_is_no_line_is_none() {
        for bytes in [
            &b""[..],
            b"1.000000",
            b"1.000000 1",
            b"1.000000 1 o",
            b"1.000000 o text",
            b"1.000000 1 x text",
            b"1.000000 +1 o text",
            b"1.000000 -1 o text",
            b"1.00000 1 o text",
            b"+1.000000 1 o text",
            b"1.+00000 1 o text",
            b"1.-00000 1 o text",
            b"x.000000 1 o text",
            b"99999999999999999999.000000 1 o text",
            b"1.000000 99999999999999999999 o text",
        ] {
            assert_eq!(Line::parse(bytes), None, "{bytes:?}");
        }
    }
}
