//! `berth.landlock.*`: the container's rights to files and ports, put into force.
//!
//! Paths are those of the container, so its root is `/` by now. From then on nothing can be
//! mounted, also not with every capability (Documentation/userspace-api/landlock.rst, "Current
//! limitations"), so it comes after all mounts.
//!
//! Asking for what the kernel cannot restrict is an error. What is asked for in general, that
//! nothing else can be changed, is as much as the kernel knows of: truncating a file is a right of
//! its own since Linux 6.2, before that it is nobody's to forbid.

use rustix::fd::AsFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::error::{During, Fault, Op};
use crate::parse::config::Landlock;
use crate::parse::config::landlock::{Paths, Ports};
use crate::sys::landlock::{self, BIND, CONNECT, EXECUTE, Files, OF_A_FILE, READ, Ruleset, Tcp};

/// The ruleset that restricts this process, and so the program that it becomes
/// ([`Ruleset::restrict_self`]); `None` if nothing is asked for.
///
/// # Errors
/// `EOPNOTSUPP` and `ENOSYS` on a kernel without Landlock, or with one that cannot restrict ports;
/// those of opening the paths.
#[inline(never)]
pub(super) fn ruleset(asked: &Landlock<'_>) -> Result<Option<Ruleset>, Fault> {
    if !asked.is_asked_for() {
        return Ok(None);
    }
    let version = landlock::version().during(Op::Configure, "Landlock")?;
    let ports = [
        ("berth.landlock.bind", asked.bind, BIND),
        ("berth.landlock.connect", asked.connect, CONNECT),
    ];
    let mut tcp = 0;
    for (name, _, right) in ports.iter().filter(|(_, ports, _)| ports.is_some()) {
        if version < landlock::WITH_PORTS {
            let subject = format_args!("{name}, which takes Linux 6.7");
            return Err(Errno::OPNOTSUPP).during(Op::Configure, subject);
        }
        tcp |= right;
    }
    let all = landlock::all_of(version);
    let handled = if asked.is_about_files() { all } else { 0 };
    let ruleset = Ruleset::new(handled, tcp).during(Op::Configure, "Landlock")?;
    for (paths, rights) in [
        (asked.read, READ),
        (asked.execute, READ | EXECUTE),
        (asked.write, all & !EXECUTE),
    ] {
        allow_beneath(&ruleset, paths, rights)?;
    }
    for (name, ports, right) in ports {
        allow_ports(&ruleset, name, ports, right)?;
    }
    Ok(Some(ruleset))
}

fn allow_beneath(ruleset: &Ruleset, paths: Paths<'_>, rights: Files) -> Result<(), Fault> {
    for path in paths.iter() {
        let at = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let at = at.during(Op::Open, path)?;
        let stat = fstat(&at).during(Op::Open, path)?;
        let rights = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => rights,
            _ => rights & OF_A_FILE,
        };
        ruleset
            .allow_beneath(at.as_fd(), rights)
            .during(Op::Configure, format_args!("Landlock for {path}"))?;
    }
    Ok(())
}

fn allow_ports(
    ruleset: &Ruleset,
    name: &str,
    ports: Option<Ports<'_>>,
    right: Tcp,
) -> Result<(), Fault> {
    let Some(ports) = ports else { return Ok(()) };
    let mut ports = ports.iter();
    ports
        .try_for_each(|port| ruleset.allow_port(port, right))
        .during(Op::Configure, name)
}
