//! The machine's name: that of `ip=`, else that of the root's `/etc/hostname`, else what a DHCP
//! server says. The kernel's own `hostname=` counts before the last two: it has set the name
//! already.

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::system::{setdomainname, sethostname, uname};

use crate::error::{During, Fault, Op};
use crate::parse::ip_word::is_hostname;
use crate::sys::fs::read_up_to;

/// The name that a machine has which has none (CONFIG_DEFAULT_HOSTNAME).
const NONE: &[u8] = b"(none)";

const FILE: &str = "/etc/hostname";

/// The largest file that is read.
const FILE_MAX: usize = 4096;

/// Whether nobody has named the machine yet.
pub(super) fn is_unset() -> bool {
    let name = uname();
    let name = name.nodename().to_bytes();
    name == NONE || name.is_empty()
}

/// Names the machine.
///
/// # Errors
/// Those of sethostname(2).
pub(super) fn set(name: &str) -> Result<(), Fault> {
    sethostname(name.as_bytes()).during(Op::SetHostname, name)
}

/// Names the machine's NIS domain.
///
/// # Errors
/// Those of setdomainname(2).
pub(super) fn set_domain(name: &str) -> Result<(), Fault> {
    setdomainname(name.as_bytes()).during(Op::Set, format_args!("domainname {name}"))
}

/// Names the machine as its root says, if it says something.
///
/// # Errors
/// Those of openat(2) and read(2); `EINVAL` for what cannot be a name.
pub(super) fn set_from_root() -> Result<(), Fault> {
    let mut room = [0; FILE_MAX];
    let content = match read(&mut room) {
        Err(Errno::NOENT) => return Ok(()),
        content => content.during(Op::Read, FILE)?,
    };
    match name_in(content) {
        Some("") => Ok(()),
        Some(name) => set(name),
        None => Err(Errno::INVAL).during(Op::Parse, FILE),
    }
}

fn read(room: &mut [u8]) -> Result<&[u8], Errno> {
    // Whatever it is, it is not waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = openat(CWD, FILE, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let len = read_up_to(&file, room)?;
    Ok(room.get(..len).unwrap_or_default())
}

/// The name in the file: its first line that is neither empty nor a comment (hostname(5)). `None`
/// if that cannot be a name; nothing without such a line.
fn name_in(content: &[u8]) -> Option<&str> {
    let lines = content.split(|byte| *byte == b'\n');
    let mut lines = lines.map(<[u8]>::trim_ascii);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with(b"#"));
    let name = core::str::from_utf8(line.unwrap_or_default()).ok()?;
    Some(name).filter(|name| name.is_empty() || is_hostname(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_says_something_is_the_name() {
        for (content, expected) in [
            (&b"web\n"[..], Some("web")),
            (b"web", Some("web")),
            (
                b"# a name\n\n  web.example.org \nother\n",
                Some("web.example.org"),
            ),
            (b"", Some("")),
            (b"\n\n", Some("")),
            (b"we b\n", None),
            (b"../web\n", None),
            (b"\xff\n", None),
            (&[b'x'; 65], None),
        ] {
            assert_eq!(name_in(content), expected, "{content:?}");
        }
    }
}
