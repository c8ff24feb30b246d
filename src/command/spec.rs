//! `spec`: a configuration to begin with. It is confined as containers usually are: three
//! capabilities, no new privileges, no devices but the usual ones, and what of `/proc` and `/sys`
//! is the host's masked.

use core::fmt::{self, Write as _};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{getegid, geteuid};

use super::launch::BUNDLE;
use super::output::write_all;
use super::{Call, OrReport, Reported, Subcommand};
use crate::error::{Code, During, Op};
use crate::parse::arguments::Opt;
use crate::parse::config::SPECIFICATION;
use crate::sys::path::path;

const ROOTLESS: Opt = Opt {
    long: "rootless",
    short: None,
    value: None,
    about: "write one for an unprivileged user: with a user namespace and the host's network",
};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "spec",
    operands: "",
    count: (0, 0),
    raw_from: usize::MAX,
    options: &[&BUNDLE, &ROOTLESS],
    about: "write a config.json to start from",
    run,
};

/// Room for it.
type Document = heapless::String<4096>;

fn run(call: &Call<'_>) -> Result<u8, Reported> {
    let users = [geteuid().as_raw(), getegid().as_raw()];
    let users = Some(users).filter(|_| call.given.has(&ROOTLESS));
    let mut text = Document::new();
    let written = write(&mut text, users);
    let bundle = call.given.value(&BUNDLE).unwrap_or(".");
    let file = path(format_args!("{bundle}/config.json"))
        .during(Op::Create, bundle)
        .or_report(call, Code::Output)?;
    // What is there is not written over.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(CWD, file.as_str(), flags, Mode::from_raw_mode(0o644))
        .and_then(|opened| {
            written.map_err(|_| rustix::io::Errno::FBIG)?;
            write_all(opened, text.as_bytes())
        })
        .during(Op::Create, &file)
        .or_report(call, Code::Output)?;
    Ok(0)
}

/// Writes the document; `users` are the user and the group outside that root in the container is.
fn write(out: &mut Document, users: Option<[u32; 2]>) -> fmt::Result {
    const CAPABILITIES: &str = r#"["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]"#;
    write!(
        out,
        r#"{{
  "ociVersion": "{SPECIFICATION}",
  "process": {{
    "terminal": true,
    "user": {{ "uid": 0, "gid": 0 }},
    "args": ["sh"],
    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
    "cwd": "/",
    "capabilities": {{
      "bounding": {CAPABILITIES},
      "effective": {CAPABILITIES},
      "permitted": {CAPABILITIES}
    }},
    "rlimits": [{{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }}],
    "noNewPrivileges": true
  }},
  "root": {{ "path": "rootfs", "readonly": true }},
  "hostname": "berth",
  "mounts": [
    {{ "destination": "/proc", "type": "proc", "source": "proc" }},
    {{ "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
      "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] }},
    {{ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
      "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] }},
    {{ "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
      "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] }},
    {{ "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] }},
"#
    )?;
    match users {
        None => out.write_str(
            r#"    { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
    { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
      "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }
  ],
  "linux": {
    "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
    "namespaces": [
      { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" }
    ],
"#,
        )?,
        Some([user, group]) => write!(
            out,
            r#"    {{ "destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] }}
  ],
  "linux": {{
    "uidMappings": [{{ "containerID": 0, "hostID": {user}, "size": 1 }}],
    "gidMappings": [{{ "containerID": 0, "hostID": {group}, "size": 1 }}],
    "namespaces": [
      {{ "type": "user" }}, {{ "type": "pid" }}, {{ "type": "ipc" }}, {{ "type": "uts" }}, {{ "type": "mount" }}, {{ "type": "cgroup" }}
    ],
"#
        )?,
    }
    out.write_str(
        r#"    "maskedPaths": [
      "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
      "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
    ],
    "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
  }
}
"#,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::config::{Config, MOUNT_PLACES, MountPlace};

    #[test]
    fn what_is_written_asks_for_nothing_that_is_refused_or_ignored() {
        for users in [None, Some([u32::MAX - 1; 2])] {
            let mut text = Document::new();
            write(&mut text, users).unwrap();
            let mut scratch = [0; 4096];
            let mut places = [const { MountPlace::uninit() }; MOUNT_PLACES];
            let config = Config::parse(text.as_bytes(), &mut scratch, &mut places).unwrap();
            assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        }
    }
}
