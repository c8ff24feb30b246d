//! `/proc/<pid>/stat` (proc_pid_stat(5)): what tells a process from a later one of the same number.

/// What is read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process has ended; it is there only to be collected, or not even that (states `Z`, `X`,
    /// `x`).
    pub has_ended: bool,
    /// The number of the process whose child it is; 0 for the first of the kernel's.
    pub parent: i32,
    /// When it started, in clock ticks since the kernel did. A number is not given out twice within
    /// one tick.
    pub start: u64,
}

impl Stat {
    /// Reads the file; `None` if it is none.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        // The second field is the program's name in parentheses, and may hold any bytes,
        // parentheses too.
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let rest = core::str::from_utf8(text.get(end.checked_add(2)?..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let has_ended = matches!(fields.next()?, "Z" | "X" | "x");
        let parent = fields.next()?.parse().ok()?;
        // The third field was the first here, and the 22nd is wanted.
        let start = fields.nth(17)?.parse().ok()?;
        Some(Self {
            has_ended,
            parent,
            start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "4711 (a) Z (b) S 1 4711 4711 0 -1 4194304 97 0 0 0 0 0 0 0 20 0 1 0 3315 8192000 220";

    #[test]
    fn a_name_may_hold_anything() {
        let stat = Stat::parse(LINE.as_bytes()).unwrap();
        assert_eq!((stat.has_ended, stat.parent, stat.start), (false, 1, 3315));
    }

    #[test]
    fn a_zombie_has_ended() {
        let line = LINE.replace(") S ", ") Z ");
        assert!(Stat::parse(line.as_bytes()).unwrap().has_ended);
    }

    #[test]
    fn this_process_is_read_and_anything_else_is_none() {
        let own = std::fs::read("/proc/self/stat").unwrap();
        assert!(!Stat::parse(&own).unwrap().has_ended);
        for text in [
            "",
            ")",
            "1 (x",
            "1 (x) S 1 2",
            "1 (x) S a b c d e f g h i j k l m n o p q r s t",
        ] {
            assert_eq!(Stat::parse(text.as_bytes()), None, "{text}");
        }
    }
}
