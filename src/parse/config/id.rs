//! The name of a container: that of its bundle's directory.

use core::fmt;

/// Bytes that an id may have.
pub const MAX_ID: usize = 255;

/// Checks an id: 1 to 255 of `A-Z a-z 0-9 _ . - +`, but neither `.` nor `..`. It is part of paths,
/// cgroup names and log lines, and can do no harm in any of them.
///
/// # Errors
/// [`IdError`] for anything else.
pub fn container_id(name: &[u8]) -> Result<&str, IdError> {
    let is_allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'+');
    let is_id = (1..=MAX_ID).contains(&name.len())
        && name.iter().all(is_allowed)
        && !matches!(name, b"." | b"..");
    match core::str::from_utf8(name) {
        Ok(id) if is_id => Ok(id),
        _ => Err(IdError),
    }
}

/// A name that is no container's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdError;

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a container's id is 1 to 255 letters, digits, \"_\", \".\", \"-\" or \"+\"")
    }
}

impl core::error::Error for IdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_safe_in_a_path() {
        for id in ["a", "web-1.0_x", "a+b", "...", &"x".repeat(255)] {
            assert_eq!(container_id(id.as_bytes()), Ok(id));
        }
        for name in [
            &b""[..],
            b".",
            b"..",
            b"a/b",
            b"a b",
            b"\xff",
            b"a\0",
            &[b'x'; 256],
        ] {
            assert_eq!(container_id(name), Err(IdError));
        }
    }
}
