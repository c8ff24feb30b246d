//! Paths that are put together at run time.

use core::fmt;

use rustix::io::Errno;

/// The longest path that is put together here, in bytes: what rustix copies to the stack to end it with a NUL.
pub const PATH_MAX: usize = 255;

/// A path of bounded length.
pub type Path = heapless::String<PATH_MAX>;

/// The path that `arguments` spell.
///
/// # Errors
/// `ENAMETOOLONG` if it is longer than [`PATH_MAX`]. A path is never cut: it would name something else.
pub fn path(arguments: fmt::Arguments<'_>) -> Result<Path, Errno> {
    let mut path = Path::new();
    fmt::Write::write_fmt(&mut path, arguments).map_err(|_| Errno::NAMETOOLONG)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_is_refused() {
        let long = "x".repeat(PATH_MAX + 1);
        assert_eq!(path(format_args!("{long}")), Err(Errno::NAMETOOLONG));
        assert_eq!(
            path(format_args!("/dev/{}", "sdb1")).as_deref(),
            Ok("/dev/sdb1")
        );
    }
}
