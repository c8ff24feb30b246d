//! The users of a container, as its `/etc/passwd` has them (passwd(5)).

/// The home directory of the first user with this id. `None` if there is no such user, or none that
/// is a path.
#[must_use]
pub fn home(file: &[u8], uid: u32) -> Option<&str> {
    let mut lines = file.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let mut fields = core::str::from_utf8(line).ok()?.split(':');
        let id = fields.nth(2)?.parse::<u32>().ok()?;
        let home = fields.nth(2)?;
        (id == uid && home.starts_with('/') && !home.contains('\0')).then_some(home)
    })
}

#[cfg(test)]
mod tests {
    use super::home;

    #[test]
    fn the_home_of_a_user_is_the_sixth_field_of_its_line() {
        let file = b"root:x:0:0:root:/root:/bin/sh\n# a comment\nbad:x:7\n\xff:x:8:8::/no:\n\
            web:x:8:8:,,,:/srv/web:\nother:x:8:9::/other:/bin/sh\nnone:x:9:9:::\nlast:x:10:10::/last:";
        assert_eq!(home(file, 0), Some("/root"));
        assert_eq!(home(file, 8), Some("/srv/web"));
        assert_eq!(home(file, 10), Some("/last"));
        for uid in [1, 7, 9] {
            assert_eq!(home(file, uid), None, "{uid}");
        }
        assert_eq!(home(b"", 0), None);
    }
}
