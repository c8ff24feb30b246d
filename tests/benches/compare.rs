//! Commands that start a container: berth beside crun, runc, bubblewrap, unshare, and the same system calls by hand, in C.
//!
//! All are started in one boot, each several times, from a root that is in memory, so that no disk takes part. What they make is
//! the same container, twice: `plain` has namespaces, a root, `/proc`, `/dev` and few rights; `full` has podman's filter of system
//! calls, limits and twenty volumes too. The guest program measures (`tests/guest/src/compare.rs`).
//!
//! bubblewrap makes no control groups, and is given the filter that berth compiled. unshare makes namespaces and mounts `/proc`;
//! it has nothing of `full`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use berth_initramfs::{Compression, Spec};
use berth_qemu::kernel::Kernel;
use berth_qemu::packages::{LIBRARIES, Packages};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Vm};
use berth_tests::guest;
use serde_json::{Value, json};

use crate::c;

/// Idling counts, as it does for whoever waits.
const WORDS: &str = "quiet idle=poll root=tmpfs rootflags=size=80% init=/bin/guest -- compare";

/// How often each is measured; the table has the medians.
const PASSES: usize = 7;

/// The host's static busybox, which answers to this name; nothing else is called so.
const BUSYBOX: &str = "/bin/busybox";
const PROGRAM: &str = "/bin/true";

const ROOTFS: &str = "/rootfs";
const HOSTNAME: &str = "compared";
/// In the control group whose memory is measured.
const GROUP: &str = "/measured/container";
const VOLUMES: usize = 20;
const MEMORY_MAX: u64 = 64 << 20;
const PIDS_MAX: u64 = 64;

/// podman's default, and their numbers (linux/capability.h).
const CAPABILITIES: [(&str, u32); 11] = [
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

/// Packages, and the program of each that is measured.
const OTHERS: [(&str, &str); 4] = [
    ("crun", "usr/bin/crun"),
    ("runc", "usr/sbin/runc"),
    ("bubblewrap", "usr/bin/bwrap"),
    ("util-linux", "usr/bin/unshare"),
];

/// Has podman's filter.
const PROFILE_PACKAGE: &str = "golang-github-containers-common";
const PROFILE: &str = "usr/share/containers/seccomp.json";

/// Returns the table.
pub(crate) fn measure(kernel: &Kernel, init: &Path) -> Result<String> {
    let wanted = OTHERS.map(|(package, _)| package);
    let packages = Packages::get("compared", &[&wanted[..], &[PROFILE_PACKAGE]].concat())?;
    let profile = fs::read(packages.root.join(PROFILE)).context("podman's filter")?;
    let profile = for_this_machine(&serde_json::from_slice(&profile)?)?;

    let bundles = [("plain", bundle(None)), ("full", bundle(Some(profile)))];
    let filter = compiled(&bundles[1].1)?;
    fs::write(c::directory()?.join("compare.h"), header(&filter)).context("write compare.h")?;
    let by_hand = c::compile("compare.c")?;
    let root = tempfile::tempdir()?;
    tree(init, &by_hand, &packages, &bundles, filter)?.make(root.path())?;
    index_libraries(root.path())?;

    let image = Spec::new(init)
        .root_archive(root.path())
        .build(Compression::None)?;
    let outcome = Vm::builder("bench/compare")
        .kernel(kernel)
        .initrd_bytes(image.bytes)
        .append(WORDS)
        .memory(1024)
        .without_events()
        .counted()
        .deadline(Duration::from_secs(1800))
        .silence(Duration::from_secs(600))
        .start()?
        .wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    let mut figures = BTreeMap::new();
    for line in outcome.console.lines() {
        if let Some(line) = line.strip_prefix("compare: ") {
            let of: Value = serde_json::from_str(line)?;
            let name = of["name"].as_str().unwrap_or_default().to_owned();
            figures.insert(name, Figures::of(&of["measured"])?);
        }
    }
    table(&packages, &figures).with_context(|| outcome.log.display().to_string())
}

/// What stands in a `config.json`; with a filter it is the full one.
fn bundle(filter: Option<Value>) -> Value {
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

/// A `config.json`, its members in the order in which engines write them; it matters to readers that
/// go through it several times.
fn text(config: &Value) -> String {
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

fn outside(volume: usize) -> String {
    format!("/volumes/{volume:02}")
}

fn inside(volume: usize) -> String {
    format!("/mnt/{volume:02}")
}

/// podman's filter as `linux.seccomp`: of its rules those for this architecture and these rights.
fn for_this_machine(profile: &Value) -> Result<Value> {
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
fn compiled(bundle: &Value) -> Result<Vec<u8>> {
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
fn header(filter: &[u8]) -> String {
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

/// The root of the machine.
fn tree(
    init: &Path,
    by_hand: &Path,
    packages: &Packages,
    bundles: &[(&str, Value)],
    filter: Vec<u8>,
) -> Result<Tree> {
    let plan = json!({ "program": PROGRAM, "passes": PASSES, "runs": runs() });
    let mut tree = Tree::new()
        .copy(guest()?, "bin/guest")
        .copy(init, "bin/berth")
        .copy(by_hand, "bin/compare")
        .file("filter", filter)
        .file("compare.json", plan.to_string())
        .copy(BUSYBOX, format!("{ROOTFS}{PROGRAM}"));
    for (name, config) in bundles {
        tree = tree.file(format!("bundles/{name}/config.json"), text(config));
    }
    for number in 0..VOLUMES {
        tree = tree
            .directory(outside(number))
            .directory(format!("{ROOTFS}{}", inside(number)));
    }
    for name in ["dev", "proc", "run", "sys", "tmp"] {
        tree = tree.directory(name);
    }
    for name in ["dev", "proc"] {
        tree = tree.directory(format!("{ROOTFS}/{name}"));
    }
    tree = tree.file("etc/ld.so.conf", format!("/{LIBRARIES}\n"));
    for (_, program) in OTHERS {
        for file in [vec![program.to_owned()], packages.libraries(program)?].concat() {
            tree = tree.copy(fs::canonicalize(packages.root.join(&file))?, file);
        }
    }
    Ok(tree.symlink("lib64", LIBRARIES))
}

/// As where packages are installed: without the index the dynamic linker would look for libraries in many places.
fn index_libraries(root: &Path) -> Result<()> {
    let status = Command::new("/sbin/ldconfig")
        .arg("-r")
        .arg(root)
        .status()
        .context("start ldconfig")?;
    ensure!(status.success(), "ldconfig: {status}");
    Ok(())
}

/// What is started: names that the table knows, and the words.
fn runs() -> Vec<Value> {
    let mut runs = Vec::new();
    for case in ["plain", "full"] {
        let bundle = format!("/bundles/{case}");
        let mut add = |name: &str, words: Vec<String>, filter: Option<&str>| {
            runs.push(
                json!({ "name": format!("{name} {case}"), "words": words, "filter": filter }),
            );
        };
        let words = |words: &str| -> Vec<String> { words.split(' ').map(str::to_owned).collect() };
        add("C", words(&format!("/bin/compare {case}")), None);
        let run = format!("run --bundle {bundle} {HOSTNAME}");
        for (name, program) in [("berth", "bin/berth"), OTHERS[0], OTHERS[1]] {
            add(name, words(&format!("/{program} {run}")), None);
        }
        let mut bubble = words(&format!(
            "/{} --unshare-pid --unshare-uts --unshare-ipc --hostname {HOSTNAME} --as-pid-1 --new-session --cap-drop ALL \
             --bind {ROOTFS} / --proc /proc --dev /dev --mqueue /dev/mqueue",
            OTHERS[2].1
        ));
        for (right, _) in CAPABILITIES {
            bubble.extend(["--cap-add".to_owned(), right.to_owned()]);
        }
        if case == "full" {
            for number in 0..VOLUMES {
                bubble.extend(["--ro-bind".to_owned(), outside(number), inside(number)]);
            }
            bubble.extend(words("--seccomp 3"));
        }
        bubble.push(PROGRAM.to_owned());
        add(OTHERS[2].0, bubble, (case == "full").then_some("/filter"));
        if case == "plain" {
            let unshare = format!(
                "/{} --mount --pid --uts --ipc --fork --root={ROOTFS} --wd=/ --mount-proc {PROGRAM}",
                OTHERS[3].1
            );
            add(OTHERS[3].0, words(&unshare), None);
        }
    }
    runs
}

/// What was measured of one.
struct Figures {
    /// Instructions.
    clone: f64,
    /// Instructions.
    whole: f64,
    calls: f64,
    /// Bytes.
    memory: f64,
}

impl Figures {
    /// The medians.
    fn of(measured: &Value) -> Result<Self> {
        let times = measured["times"].as_array().context("no times")?;
        let median = |name: &str| -> Result<f64> {
            let mut all: Vec<f64> = times
                .iter()
                .filter_map(|pass| pass[name].as_f64())
                .collect();
            all.sort_unstable_by(f64::total_cmp);
            all.get(all.len() / 2)
                .copied()
                .with_context(|| format!("no {name}"))
        };
        let calls = measured["calls"].as_array().context("no calls")?.len();
        Ok(Self {
            // One instruction is one ns, and these are µs.
            clone: median("clone")? * 1e3,
            whole: median("whole")? * 1e3,
            calls: calls as f64,
            memory: median("memory")?,
        })
    }
}

fn table(packages: &Packages, figures: &BTreeMap<String, Figures>) -> Result<String> {
    let mut text = String::from(
        "| command, container | clone to program | its own start to program | system calls | memory at most |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for case in ["plain", "full"] {
        let floor = figures
            .get(&format!("C {case}"))
            .context("nothing beside the C program")?;
        let others = OTHERS.map(|(package, _)| package);
        for name in [&["C", "berth"][..], &others].concat() {
            let shown = match packages.version(name) {
                // Without the distribution's own part.
                Some(version) => {
                    format!("{name} {}", version.split('-').next().unwrap_or_default())
                }
                None => name.to_owned(),
            };
            let Some(of) = figures.get(&format!("{name} {case}")) else {
                let _ = writeln!(text, "| {shown}, {case} | - | - | - | - |");
                continue;
            };
            let million =
                |count: f64, beside: f64| format!("{:.2} M, × {:.2}", count / 1e6, count / beside);
            let _ = writeln!(
                text,
                "| {shown}, {case} | {} | {} | {}, × {:.1} | {:.0} KiB, × {:.1} |",
                million(of.clone, floor.clone),
                million(of.whole, floor.whole),
                of.calls,
                of.calls / floor.calls,
                of.memory / 1024.0,
                of.memory / floor.memory,
            );
        }
    }
    Ok(text)
}
