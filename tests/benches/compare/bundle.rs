//! The container that all of them make: as a bundle, and as the answers that the C program is
//! given.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_tests::guest;
use serde_json::{Value, json};

use crate::c;
use crate::container::{BUSYBOX, SCRIPT};

/// busybox, which answers to this name. Nothing else is called so.
pub(super) const PROGRAM: &str = "/bin/true";

pub(super) const ROOTFS: &str = "/rootfs";
pub(super) const HOSTNAME: &str = "compared";
/// In the control group whose memory is measured.
const GROUP: &str = "/measured/container";
pub(super) const VOLUMES: usize = 20;
const MEMORY_MAX: u64 = 64 << 20;
const PIDS_MAX: u64 = 64;

/// podman's default, and their numbers (linux/capability.h).
pub(super) const CAPABILITIES: [(&str, u32); 11] = [
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_FOWNER", 3),
    ("CAP_FSETID", 4),
    ("CAP_KILL", 5),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SETPCAP", 8),
    ("CAP_NET_BIND_SERVICE", 10),
    ("CAP_SYS_CHROOT", 18),
    ("CAP_SETFCAP", 31),
];

/// What stands in a `config.json`; with a filter it is the full one.
pub(super) fn config(filter: Option<Value>) -> Value {
    let mut config = json!({
        "ociVersion": "1.2.0",
        "process": {
            "args": [PROGRAM], "cwd": "/", "env": ["PATH=/bin"],
            "user": { "uid": 0, "gid": 0 },
            "noNewPrivileges": true,
            "capabilities": {},
        },
        "root": { "path": ROOTFS },
        "hostname": HOSTNAME,
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"] },
        ],
        "linux": {
            "cgroupsPath": GROUP,
            "namespaces": [{ "type": "mount" }, { "type": "pid" }, { "type": "uts" }, { "type": "ipc" }],
            // PID 1 would have some.
            "maskedPaths": [], "readonlyPaths": [],
        },
    });
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = CAPABILITIES.map(|(name, _)| name).into();
    }
    if let Some(filter) = filter {
        config["linux"]["seccomp"] = filter;
        config["linux"]["resources"] =
            json!({ "memory": { "limit": MEMORY_MAX }, "pids": { "limit": PIDS_MAX } });
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.extend((0..VOLUMES).map(|number| {
                json!({ "destination": inside(number), "type": "bind", "source": outside(number), "options": ["bind", "ro"] })
            }));
        }
    }
    config
}

/// The same for PID 1: it makes the control group where it makes all, and the program prints what
/// the kernel recorded.
pub(super) fn printing(config: &Value) -> Value {
    let mut config = config.clone();
    config["process"]["args"] = json!([BUSYBOX, "sh", "-c", SCRIPT]);
    if let Some(linux) = config["linux"].as_object_mut() {
        linux.remove("cgroupsPath");
    }
    if let Some(mounts) = config["mounts"].as_array_mut() {
        let trace = json!({ "destination": "/trace", "type": "tracefs", "source": "tracefs" });
        mounts.push(trace);
    }
    config
}

/// A `config.json`, its members in the order in which engines write them; it matters to readers
/// that go through it several times.
pub(super) fn text(config: &Value) -> String {
    let members = [
        "ociVersion",
        "process",
        "root",
        "hostname",
        "mounts",
        "linux",
    ];
    let members = members.map(|name| format!("\"{name}\":{}", config[name]));
    format!("{{{}}}", members.join(","))
}

pub(super) fn outside(volume: usize) -> String {
    format!("/volumes/{volume:02}")
}

pub(super) fn inside(volume: usize) -> String {
    format!("/mnt/{volume:02}")
}

/// podman's filter as `linux.seccomp`: of its rules those for this architecture and these rights.
pub(super) fn filter_for_this_machine(profile: &Value) -> Result<Value> {
    let has = |list: &Value, is_there: &dyn Fn(&str) -> bool| {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).any(is_there)
    };
    let is_here = |arch: &str| arch == "amd64";
    let is_held = |right: &str| CAPABILITIES.iter().any(|(name, _)| *name == right);
    let holds = |condition: &Value, if_empty: bool| {
        let (arches, caps) = (&condition["arches"], &condition["caps"]);
        match (arches.is_array(), caps.is_array()) {
            (false, false) => if_empty,
            _ => has(arches, &is_here) || has(caps, &is_held),
        }
    };
    let rules = profile["syscalls"].as_array().context("rules")?;
    let rules = rules
        .iter()
        .filter(|rule| holds(&rule["includes"], true) && !holds(&rule["excludes"], false));
    let rules: Vec<Value> = rules
        .map(|rule| {
            let mut item = json!({ "names": rule["names"], "action": rule["action"] });
            for optional in ["args", "errnoRet"] {
                if !rule[optional].is_null() {
                    item[optional] = rule[optional].clone();
                }
            }
            item
        })
        .collect();
    ensure!(!rules.is_empty(), "podman's filter has no rules");
    Ok(json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": rules,
    }))
}

/// The filter of a bundle, by berth's own compiler.
pub(super) fn compiled(bundle: &Value) -> Result<Vec<u8>> {
    let file = c::directory()?.join("full.json");
    fs::write(&file, text(bundle)).context("write a bundle")?;
    let output = Command::new(guest()?).arg("filter").arg(&file).output()?;
    ensure!(
        output.status.success(),
        "no filter: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(output.stdout)
}

/// Tells the C program all answers.
pub(super) fn header(filter: &[u8]) -> String {
    let held = CAPABILITIES.iter().map(|(_, number)| 1_u64 << number);
    let held: u64 = held.sum();
    let mut text = format!(
        "#define PROGRAM \"{PROGRAM}\"\n\
         #define ROOTFS \"{ROOTFS}\"\n\
         #define GROUP \"/sys/fs/cgroup{GROUP}\"\n\
         #define HOSTNAME \"{HOSTNAME}\"\n\
         #define MEMORY_MAX \"{MEMORY_MAX}\"\n\
         #define PIDS_MAX \"{PIDS_MAX}\"\n\
         #define CAPABILITIES {held}ull\n\
         static const struct {{ const char *source, *target; }} VOLUMES[] = {{\n"
    );
    for number in 0..VOLUMES {
        let (source, target) = (outside(number), inside(number));
        let target = target.trim_start_matches('/');
        let _ = writeln!(text, "    {{\"{source}\", \"{target}\"}},");
    }
    text.push_str("};\nstatic const uint64_t FILTER[] = {\n");
    for instruction in filter.as_chunks().0 {
        let _ = writeln!(text, "    {:#x}ull,", u64::from_le_bytes(*instruction));
    }
    text.push_str("};\n");
    text
}
