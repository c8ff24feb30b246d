//! Names of domains, as DHCP has them: in text, or as DNS has them on the wire.

use super::super::ip_word::is_hostname;

/// Bytes of all names to search, with spaces between them: what resolvers read of a line (256 with
/// its keyword, resolv.conf(5)).
pub const NAMES_MAX: usize = 248;

/// The longest name, in bytes.
const NAME_MAX: usize = 253;

/// Domains that names are looked up in, with a space between them.
pub type Names = heapless::String<NAMES_MAX>;

/// The names of option 15. There should be one; some servers send several, with spaces between.
pub(super) fn of_text(value: &[u8]) -> Names {
    let mut names = Names::new();
    // Some servers count a NUL in.
    let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = core::str::from_utf8(text).unwrap_or_default();
    for name in text.split_ascii_whitespace() {
        add(&mut names, name);
    }
    names
}

/// The names of option 119: those of DNS, in which the end of one may be that of an earlier one
/// (RFC 3397; RFC 1035, 4.1.4); and of the option of routers, in which zeros may follow them
/// (RFC 8106, 5.2). What follows a fault is left out.
#[must_use]
pub fn of_wire(value: &[u8]) -> Names {
    let mut names = Names::new();
    let mut next = 0;
    while let Some((name, behind)) = name_at(value, next) {
        add(&mut names, name.as_str());
        next = behind;
    }
    names
}

/// Appends a name that can be one, as far as it fits.
fn add(names: &mut Names, name: &str) {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = name.len() <= NAME_MAX && is_domain(name);
    let separator = if names.is_empty() { "" } else { " " };
    let len = names.len().saturating_add(separator.len());
    if is_name && len.saturating_add(name.len()) <= NAMES_MAX {
        // It fits.
        let _ = names.push_str(separator);
        let _ = names.push_str(name);
    }
}

/// Whether each label could be a machine's name. What is not might be another line of a file.
fn is_domain(name: &str) -> bool {
    name.split('.').all(is_hostname)
}

/// The name that begins at `at`, and where the next one does.
fn name_at(value: &[u8], at: usize) -> Option<(heapless::String<NAME_MAX>, usize)> {
    let mut name = heapless::String::new();
    let mut here = at;
    // Where the part begins that is read: what it refers to has to be before that, so that no name
    // goes on for ever.
    let mut start = at;
    let mut behind = None;
    loop {
        let len = usize::from(*value.get(here)?);
        let next = here.checked_add(1)?;
        match len {
            0 => return Some((name, behind.unwrap_or(next))),
            1..64 => {
                let end = next.checked_add(len)?;
                let label = core::str::from_utf8(value.get(next..end)?).ok()?;
                if !name.is_empty() {
                    name.push('.').ok()?;
                }
                name.push_str(label).ok()?;
                here = end;
            }
            192.. => {
                let low = usize::from(*value.get(next)?);
                let to = (len & 63) << 8 | low;
                if to >= start {
                    return None;
                }
                behind = behind.or(next.checked_add(1));
                (here, start) = (to, to);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_come_as_text() {
        for (value, expected) in [
            (&b"example.org"[..], "example.org"),
            (b"example.org\0", "example.org"),
            (b"example.org.", "example.org"),
            (b"a.example b.example", "a.example b.example"),
            (b"", ""),
            (
                b"example.org\nnameserver 192.0.2.66",
                "example.org nameserver 192.0.2.66",
            ),
            (b"a\x1b[2J b", "b"),
            (b"\xff", ""),
            (b"..", ""),
        ] {
            let names = of_text(value);
            assert_eq!(names.as_str(), expected);
            assert!(!names.contains('\n'));
        }
    }

    #[test]
    fn domains_come_compressed() {
        // The example of RFC 3397.
        let value = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        assert_eq!(of_wire(value).as_str(), "eng.apple.com marketing.apple.com");
        for len in 0..value.len() {
            let names = of_wire(&value[..len]);
            assert_eq!(names.as_str(), if len < 15 { "" } else { "eng.apple.com" });
        }
    }

    #[test]
    fn names_that_never_end_end() {
        for value in [
            &b"\xc0\x00"[..],
            b"\x01a\xc0\x00",
            b"\x01a\xc0\x02",
            b"\x01a\x00\xc0\x03",
            b"\xc0\xff",
            b"\x40a\x00",
            b"\x80\x00",
        ] {
            assert!(of_wire(value).len() <= 1, "{value:?}");
        }
        let long = [&[63][..], &[b'a'; 63]].concat();
        let long = [long.repeat(4), vec![0]].concat();
        assert_eq!(of_wire(&long).as_str(), "");
    }

    #[test]
    fn names_that_do_not_fit_are_left_out() {
        let name = format!("{}.example ", "x".repeat(60));
        let names = of_text(name.repeat(9).as_bytes());
        assert_eq!(names.split(' ').count(), 3);
        assert!(names.split(' ').all(|one| one == name.trim()));
    }
}
