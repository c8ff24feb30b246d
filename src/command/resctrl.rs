//! Groups of the resctrl filesystem (`linux.intelRdt`; Documentation/arch/x86/resctrl.rst). The
//! machine's administrator mounts it.
//!
//! A group that is named by `closID` belongs to many: one that exists must have what is asked for,
//! and it stays when the container goes. Without that name the container has a group of its own,
//! which goes with it; so does one for figures alone.

use rustix::fs::{CWD, Mode, OFlags, mkdir, openat, rmdir, statfs};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{During, Fault, Op, SUBJECT_MAX};
use crate::parse::config::IntelRdt;
use crate::parse::json::Unescaped;
use crate::sys::fs::read_file;
use crate::sys::path::{Path, path};
use crate::text::Text;

/// Where it is mounted.
const ROOT: &str = "/sys/fs/resctrl";

/// `RDTGROUP_SUPER_MAGIC` (include/uapi/linux/magic.h).
const MAGIC: i64 = 0x0765_5821;

/// What it is missing from a machine without it.
const NEEDED: &str = "linux.intelRdt, without a resctrl filesystem at /sys/fs/resctrl";

/// Bytes of `schemata`.
const SCHEMATA_MAX: usize = 4096;

type Schemata = heapless::String<SCHEMATA_MAX>;

/// Makes the groups that the container `id` asks for, or sees that what is there already is what it
/// asks for.
///
/// # Errors
/// `EOPNOTSUPP` without the filesystem, `ENOENT` for a group that is neither there nor described,
/// `EINVAL` for one that has something else; those of the filesystem.
pub(super) fn make(rdt: &IntelRdt<'_>, id: &str) -> Result<(), Fault> {
    if !statfs(ROOT).is_ok_and(|found| found.f_type == MAGIC) {
        return Err(Errno::OPNOTSUPP).during(Op::Configure, NEEDED);
    }
    make_below(ROOT, rdt, id)
}

/// The same, where the filesystem is at `root`.
fn make_below(root: &str, rdt: &IntelRdt<'_>, id: &str) -> Result<(), Fault> {
    let group = group(root, rdt, id)?;
    let wanted = schemata(rdt).during(Op::Configure, "linux.intelRdt")?;
    let is_made = match rdt.group() {
        Some(_) if wanted.is_empty() => match rustix::fs::stat(group.as_str()) {
            Ok(_) => false,
            Err(errno) => return Err(errno).during(Op::Open, &group),
        },
        _ => match mkdir(group.as_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => {
                let fault = Err(errno).during(Op::Create, &group);
                return fault.map_err(|fault| explained(fault, root));
            }
        },
    };
    let is_shared = rdt.group().is_some() && !is_made;
    let file = path(format_args!("{group}/schemata")).during(Op::Open, &group)?;
    if is_shared {
        let mut found = [0; SCHEMATA_MAX];
        let found = match wanted.is_empty() {
            true => &[],
            false => read_file(CWD, &file, &mut found)?,
        };
        let found = core::str::from_utf8(found).unwrap_or_default();
        if let Some(line) = wanted.lines().find(|line| !has_line(found, line)) {
            let subject = format_args!("linux.intelRdt: {group} exists and lacks {line}");
            return Err(Errno::INVAL).during(Op::Configure, subject);
        }
    } else if !wanted.is_empty() {
        let written = write(&file, &wanted).map_err(|fault| explained(fault, root));
        if written.is_err() && is_made {
            let _ = rmdir(group.as_str());
        }
        written?;
    }
    if !rdt.is_monitored() {
        return Ok(());
    }
    let figures = figures(root, rdt, id)?;
    match mkdir(figures.as_str(), Mode::from_raw_mode(0o755)) {
        Err(errno) if errno != Errno::EXIST => Err(errno).during(Op::Create, &figures),
        _ => Ok(()),
    }
}

/// Puts a process into them. Those that it makes later are in there too.
///
/// # Errors
/// Those of the filesystem.
pub(super) fn join(rdt: &IntelRdt<'_>, id: &str, pid: Pid) -> Result<(), Fault> {
    join_below(ROOT, rdt, id, pid)
}

fn join_below(root: &str, rdt: &IntelRdt<'_>, id: &str, pid: Pid) -> Result<(), Fault> {
    let number = Text::<16>::new(pid.as_raw_nonzero());
    // A group for figures takes those only that are in the group it belongs to.
    let groups = [
        Some(group(root, rdt, id)?),
        rdt.is_monitored()
            .then(|| figures(root, rdt, id))
            .transpose()?,
    ];
    for group in groups.iter().flatten() {
        let file = path(format_args!("{group}/tasks")).during(Op::Open, group)?;
        write(&file, number.as_str())?;
    }
    Ok(())
}

/// Removes what was made for the container `id`.
///
/// # Errors
/// Those of rmdir(2), but for what is not there.
pub(super) fn remove(rdt: &IntelRdt<'_>, id: &str) -> Result<(), Fault> {
    remove_below(ROOT, rdt, id)
}

fn remove_below(root: &str, rdt: &IntelRdt<'_>, id: &str) -> Result<(), Fault> {
    let own = match (rdt.group(), rdt.is_monitored()) {
        (None, _) => group(root, rdt, id)?,
        (Some(_), true) => figures(root, rdt, id)?,
        (Some(_), false) => return Ok(()),
    };
    match rmdir(own.as_str()) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed.during(Op::Remove, &own),
    }
}

fn group(root: &str, rdt: &IntelRdt<'_>, id: &str) -> Result<Path, Fault> {
    let group = match rdt.group() {
        Some(name) if name.is("/") => path(format_args!("{root}")),
        Some(name) => path(format_args!("{root}/{}", Unescaped(name))),
        None => path(format_args!("{root}/{id}")),
    };
    group.during(Op::Open, id)
}

fn figures(root: &str, rdt: &IntelRdt<'_>, id: &str) -> Result<Path, Fault> {
    let group = group(root, rdt, id)?;
    path(format_args!("{group}/mon_groups/{id}")).during(Op::Open, id)
}

/// All lines that are to be in `schemata`, each with its end.
fn schemata(rdt: &IntelRdt<'_>) -> Result<Schemata, Errno> {
    let mut all = Schemata::new();
    for (text, is_of_cache) in rdt.schemata() {
        let mut piece = Schemata::new();
        text.chars()
            .try_for_each(|c| piece.push(c))
            .map_err(|_| Errno::FBIG)?;
        let lines = piece.lines().map(str::trim);
        // What is said of the bandwidth, `memBwSchema` says.
        let lines =
            lines.filter(|line| !(line.is_empty() || is_of_cache && line.starts_with("MB:")));
        for part in lines.flat_map(|line| [line, "\n"]) {
            all.push_str(part).map_err(|_| Errno::FBIG)?;
        }
    }
    Ok(all)
}

/// The kernel shows lines with spaces before them.
fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|one| one.trim() == line)
}

/// Adds what the filesystem has to say of the last thing that it was asked for.
#[cold]
fn explained(fault: Fault, root: &str) -> Fault {
    let mut room = [0; SUBJECT_MAX];
    let said = path(format_args!("{root}/info/last_cmd_status"))
        .during(Op::Open, root)
        .and_then(|file| read_file(CWD, &file, &mut room).map(<[u8]>::trim_ascii_end));
    let mut subject = fault.subject;
    if let Ok(said) = said {
        subject.push(format_args!(": {}", Text::<SUBJECT_MAX>::from_bytes(said)));
    }
    Fault { subject, ..fault }
}

fn write(file: &str, text: &str) -> Result<(), Fault> {
    openat(
        CWD,
        file,
        OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .and_then(|opened| super::output::write_all(opened, text.as_bytes()))
    .during(Op::Write, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::config::Config;

    /// Does `then` with what `linux.intelRdt` says.
    fn with<T>(rdt: &str, then: impl FnOnce(&IntelRdt<'_>) -> T) -> T {
        let text = format!(
            r#"{{"ociVersion":"1.3.0","process":{{"args":["x"],"cwd":"/"}},"root":{{"path":"x"}},
            "linux":{{"namespaces":[{{"type":"mount"}}],"intelRdt":{rdt}}}}}"#
        );
        let mut scratch = vec![0; text.len()];
        let config = Config::parse(text.as_bytes(), &mut scratch, &mut []).unwrap();
        then(&config.intel_rdt.unwrap())
    }

    fn lines(rdt: &str) -> String {
        with(rdt, |rdt| schemata(rdt).unwrap().to_string())
    }

    #[test]
    fn lines_come_in_the_order_of_the_specification() {
        assert_eq!(lines("{}"), "");
        assert_eq!(
            lines(
                r#"{"schemata":["L2:0=f","MB:0=7"],"memBwSchema":"MB:0=20;1=70","l3CacheSchema":"L3:0=7f0;1=1f"}"#
            ),
            "L3:0=7f0;1=1f\nMB:0=20;1=70\nL2:0=f\nMB:0=7\n"
        );
        // Of the bandwidth, only the field for it is heard; unless it is said outright.
        assert_eq!(
            lines(r#"{"l3CacheSchema":"L3:0=f\nMB:0=10\nL3CODE:0=3\n"}"#),
            "L3:0=f\nL3CODE:0=3\n"
        );
        assert_eq!(lines(r#"{"memBwSchema":"MB:0=10"}"#), "MB:0=10\n");
    }

    /// A directory as the filesystem would have it, for the group `name`.
    fn filesystem(test: &str, name: &str) -> String {
        let root =
            std::env::temp_dir().join(format!("berth-resctrl-{test}-{}", std::process::id()));
        let group = root.join(name);
        std::fs::create_dir_all(group.join("mon_groups")).unwrap();
        for file in ["tasks", "schemata"] {
            std::fs::write(group.join(file), "").unwrap();
        }
        root.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_group_of_many_has_what_is_asked_for_and_stays() {
        let root = filesystem("many", "gold");
        std::fs::write(
            format!("{root}/gold/schemata"),
            "    MB:0=100\n    L3:0=ff;1=f\n",
        )
        .unwrap();
        with(
            r#"{"closID":"g\u006fld","schemata":["L3:0=ff;1=f"],"enableMonitoring":true}"#,
            |rdt| {
                assert_eq!(make_below(&root, rdt, "web"), Ok(()));
                std::fs::write(format!("{root}/gold/mon_groups/web/tasks"), "").unwrap();
                assert_eq!(
                    join_below(&root, rdt, "web", Pid::from_raw(77).unwrap()),
                    Ok(())
                );
                for tasks in ["gold/tasks", "gold/mon_groups/web/tasks"] {
                    assert_eq!(
                        std::fs::read_to_string(format!("{root}/{tasks}")).unwrap(),
                        "77"
                    );
                }
                // The kernel takes files with their directory.
                std::fs::remove_file(format!("{root}/gold/mon_groups/web/tasks")).unwrap();
                assert_eq!(remove_below(&root, rdt, "web"), Ok(()));
                assert_eq!(remove_below(&root, rdt, "web"), Ok(()));
            },
        );
        assert!(!std::fs::exists(format!("{root}/gold/mon_groups/web")).unwrap());
        assert!(std::fs::exists(format!("{root}/gold")).unwrap());
        let other = with(r#"{"closID":"gold","l3CacheSchema":"L3:0=1"}"#, |rdt| {
            make_below(&root, rdt, "web")
        });
        let said = other.unwrap_err().to_string();
        assert!(
            said.ends_with("gold exists and lacks L3:0=1: EINVAL"),
            "{said}"
        );
        let missing = with(r#"{"closID":"tin"}"#, |rdt| make_below(&root, rdt, "web"));
        assert_eq!(missing.unwrap_err().errno, Errno::NOENT);
        assert_eq!(
            with(r#"{"closID":"/"}"#, |rdt| make_below(&root, rdt, "web")),
            Ok(())
        );
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_group_of_its_own_gets_what_is_asked_for_and_goes() {
        let root = filesystem("own", "web");
        with(r#"{"schemata":["L3:0=ff"]}"#, |rdt| {
            assert_eq!(make_below(&root, rdt, "web"), Ok(()));
            assert_eq!(
                std::fs::read_to_string(format!("{root}/web/schemata")).unwrap(),
                "L3:0=ff\n"
            );
            std::fs::remove_dir_all(format!("{root}/web")).unwrap();
            std::fs::create_dir(format!("{root}/web")).unwrap();
            assert_eq!(remove_below(&root, rdt, "web"), Ok(()));
        });
        assert!(!std::fs::exists(format!("{root}/web")).unwrap());
        // One that could not be described does not stay.
        let failed = with(r#"{"schemata":["L3:0=ff"]}"#, |rdt| {
            make_below(&root, rdt, "db")
        });
        assert!(failed.is_err() && !std::fs::exists(format!("{root}/db")).unwrap());
        std::fs::remove_dir_all(root).unwrap();
    }
}
