//! Signals by name and by number (signal(7)).

/// In the order of their numbers, from 1; the same on x86_64 and aarch64.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first and the last of those without a name. Two before them are the C library's.
const REAL_TIME: (u32, u32) = (34, 64);

/// The number that `text` means: `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+3`.
pub(super) fn number(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse::<u32>() {
        return (number <= REAL_TIME.1).then_some(number);
    }
    let name = match text.split_at_checked(3) {
        Some((prefix, name)) if prefix.eq_ignore_ascii_case("SIG") => name,
        _ => text,
    };
    let real_time = |prefix: &str, from: u32, sign: i8| {
        let (start, offset) = name.split_at_checked(prefix.len())?;
        let offset = match offset.strip_prefix(if sign < 0 { '-' } else { '+' }) {
            Some(offset) => offset.parse::<u32>().ok()?,
            None if offset.is_empty() => 0,
            None => return None,
        };
        let number =
            from.checked_add_signed(i32::from(sign).checked_mul(offset.try_into().ok()?)?)?;
        let is_one =
            start.eq_ignore_ascii_case(prefix) && (REAL_TIME.0..=REAL_TIME.1).contains(&number);
        is_one.then_some(number)
    };
    let place = NAMES
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name));
    place
        .and_then(|place| u32::try_from(place + 1).ok())
        .or_else(|| real_time("RTMIN", REAL_TIME.0, 1))
        .or_else(|| real_time("RTMAX", REAL_TIME.1, -1))
}

#[cfg(test)]
mod tests {
    use super::number;
    use linux_raw_sys::general as linux;

    #[test]
    fn a_signal_is_known_by_every_name() {
        for (text, signal) in [
            ("9", linux::SIGKILL),
            ("KILL", linux::SIGKILL),
            ("SIGKILL", linux::SIGKILL),
            ("sigterm", linux::SIGTERM),
            ("hup", linux::SIGHUP),
            ("SYS", linux::SIGSYS),
            ("WINCH", linux::SIGWINCH),
            ("CHLD", linux::SIGCHLD),
            ("0", 0),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(number(text), Some(signal), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "", "SIG", "65", "-9", "KILLED", "RTMIN+31", "RTMAX-31", "RTMIN-1", "RTMIN+x", "é",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
