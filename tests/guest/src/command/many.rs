//! Many containers, one after the other, and what is left of them: nothing.
//!
//! It runs in a container of PID 1's that is in the host's namespaces, so that PID 1 inherits what
//! these containers leave behind, and is looked at as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::{GROUPS, Lab};
use crate::host;

/// A kind of container: what its bundle is, and what is done with it.
struct Kind {
    name: &'static str,
    words: &'static [&'static str],
    change: fn(&mut Value),
    run: fn(&Lab, bundle: &str, id: &str) -> Result<()>,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "plain",
        words: &["exit", "3"],
        change: |_| {},
        run: |lab, bundle, id| ends(lab, bundle, id, 3, ""),
    },
    Kind {
        name: "mounts",
        words: &["exit", "0"],
        change: |config| {
            for mount in [
                json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "tmpcopyup"] }),
                json!({ "destination": "/mnt", "source": "/bin", "options": ["rbind", "rro", "rslave"] }),
                json!({ "destination": "/made/here", "type": "tmpfs", "source": "tmpfs" }),
            ] {
                push(&mut config["mounts"], mount);
            }
            config["linux"]["maskedPaths"] = json!(["/proc/kcore", "/proc/keys", "/sys/firmware"]);
            config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/proc/bus"]);
        },
        run: |lab, bundle, id| ends(lab, bundle, id, 0, ""),
    },
    Kind {
        name: "confined",
        words: &["exit", "0"],
        change: |config| {
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["keyctl", "bpf"], "action": "SCMP_ACT_ERRNO" }],
            });
            config["linux"]["resources"] = json!({
                "pids": { "limit": 20 }, "memory": { "limit": 67_108_864 },
                "devices": [{ "allow": false, "access": "rwm" }],
            });
            config["process"]["capabilities"] = json!({ "bounding": ["CAP_CHOWN"] });
            config["process"]["noNewPrivileges"] = json!(true);
            push(
                &mut config["linux"]["namespaces"],
                json!({ "type": "network" }),
            );
            push(
                &mut config["linux"]["namespaces"],
                json!({ "type": "cgroup" }),
            );
        },
        run: |lab, bundle, id| ends(lab, bundle, id, 0, ""),
    },
    Kind {
        name: "image",
        words: &["exit", "0"],
        change: |config| config["annotations"]["berth.image"] = json!("app.img"),
        run: |lab, bundle, id| ends(lab, bundle, id, 0, ""),
    },
    Kind {
        name: "user",
        words: &["exit", "0"],
        change: |config| {
            let map = json!([{ "containerID": 0, "hostID": 0, "size": 1000 }]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
            push(
                &mut config["linux"]["namespaces"],
                json!({ "type": "user" }),
            );
            config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/berth", "args": ["berth", "--version"] }] });
        },
        run: |lab, bundle, id| ends(lab, bundle, id, 0, ""),
    },
    Kind {
        name: "created",
        words: &["exit", "0"],
        change: |_| {},
        run: |lab, bundle, id| {
            lab.leaves(&["create", "--bundle", bundle, id])?;
            let process = lab.process(id)?;
            lab.ok(&["start", id])?;
            process.wait()?;
            lab.ok(&["delete", id]).map(drop)
        },
    },
    Kind {
        name: "killed",
        words: &["stay"],
        change: |_| {},
        run: |lab, bundle, id| {
            lab.leaves(&["run", "--detach", "--bundle", bundle, id])?;
            lab.ok(&["exec", id, "/bin/guest", "exit", "0"])?;
            lab.ok(&["delete", "--force", id]).map(drop)
        },
    },
    Kind {
        name: "no-program",
        words: &[],
        change: |config| config["process"]["args"] = json!(["/bin/nothing"]),
        run: |lab, bundle, id| ends(lab, bundle, id, 127, "[B054]"),
    },
    Kind {
        name: "bad-mount",
        words: &["exit", "0"],
        change: |config| {
            let mount = json!({ "destination": "/mnt", "source": "/nowhere", "options": ["bind"] });
            push(&mut config["mounts"], mount);
        },
        run: |lab, bundle, id| ends(lab, bundle, id, 125, "[B053]"),
    },
    Kind {
        name: "refused",
        words: &["exit", "0"],
        change: |config| config["vm"] = json!({ "kernel": { "path": "/x" } }),
        run: |lab, bundle, id| ends(lab, bundle, id, 125, "[B052]"),
    },
];

fn push(list: &mut Value, item: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}

/// A run in the foreground, whose standard error has these words in it.
fn ends(lab: &Lab, bundle: &str, id: &str, status: i32, says: &str) -> Result<()> {
    let output = lab.call(&["run", "--bundle", bundle, id])?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let has_said = match says {
        "" => errors.is_empty(),
        says => errors.contains(says),
    };
    ensure!(
        output.status.code() == Some(status) && has_said,
        "{bundle}: {}: {errors}",
        output.status
    );
    Ok(())
}

/// Runs `count` containers of all kinds by the command, and says what there was before and after,
/// and what PID 1's own have left. `image` is a squashfs with this program.
pub(crate) fn many(berth: &Path, image: &Path, count: usize) -> Result<()> {
    host::join()?;
    host::wait_alone()?;
    let lab = Lab::new(berth, Path::new("/many"), "many")?;
    account(&lab, None)?.print("others");
    for kind in KINDS {
        let bundle = lab.bundle_with(kind.name, kind.words, kind.change)?;
        fs::hard_link(image, bundle.join("app.img")).context("link the image")?;
    }
    let run = |number: usize| {
        let kind = &KINDS[number % KINDS.len()];
        let id = format!("{}-{number}", kind.name);
        (kind.run)(&lab, kind.name, &id).with_context(|| id)
    };
    // What is used for the first time stays: code in memory, nodes of devices.
    for number in 0..count.min(KINDS.len()) {
        run(number)?;
    }
    let before = account(&lab, None)?;
    before.print("before");
    for number in 0..count {
        run(number)?;
        // Whoever waits for the machine sees that it goes on.
        if number % 10 == 9 {
            println!("many {} of {count}", number + 1);
        }
    }
    println!("many {count} were run");
    account(&lab, Some(&before))?.print("after");
    Ok(())
}

/// What there is on the machine and in PID 1, by name.
#[derive(PartialEq)]
struct Account(BTreeMap<&'static str, u64>);

impl Account {
    fn print(&self, when: &str) {
        for (name, number) in &self.0 {
            println!("{when} {number} {name}");
        }
    }
}

/// What there is once the kernel is done with what has ended, or once it is as `expected`.
fn account(lab: &Lab, expected: Option<&Account>) -> Result<Account> {
    /// How often others get another turn: the kernel takes devices and groups apart in threads of
    /// its own.
    const TURNS: u32 = 10_000;
    /// So often PID 1 has had its turn and has nothing more to remove.
    const QUIET: u32 = 20;
    let mut found = look(lab)?;
    let mut quiet = 0;
    for _ in 0..TURNS {
        let is_settled = match expected {
            Some(expected) => found == *expected,
            None => {
                found.0["zombies"] == 0
                    && found.0["loop devices"] == 0
                    && found.0["entries of /run"] > 0
                    && quiet >= QUIET
            }
        };
        if is_settled {
            break;
        }
        std::thread::yield_now();
        let next = look(lab)?;
        let name = "descriptors of PID 1";
        quiet = match next.0[name] == found.0[name] {
            true => quiet + 1,
            false => 0,
        };
        found = next;
    }
    Ok(found)
}

fn look(lab: &Lab) -> Result<Account> {
    let lines = |file: &str| fs::read_to_string(file).map(|text| text.lines().count() as u64);
    let entries = |path: &Path| fs::read_dir(path).map_or(0, |entries| entries.count() as u64);
    let mut found = BTreeMap::from([
        ("mounts", lines("/proc/1/mountinfo")?),
        ("descriptors of PID 1", entries(Path::new("/proc/1/fd"))),
        ("mappings of PID 1", lines("/proc/1/maps")?),
        ("control groups", directories(Path::new(GROUPS))),
        ("loop devices", loop_devices()?),
        ("containers remembered", entries(&lab.root())),
        ("entries of /run", entries(Path::new("/run"))),
        (
            "terminals",
            fs::read_to_string("/proc/sys/kernel/pty/nr")?
                .trim()
                .parse()?,
        ),
        ("sockets", lines("/proc/net/unix")?),
    ]);
    let (mut processes, mut zombies) = (0, 0);
    for entry in fs::read_dir("/proc")? {
        // One may end while the list is gone through. The kernel's own threads come and go.
        let status = fs::read_to_string(entry?.path().join("status")).unwrap_or_default();
        let is_ours = status.contains("\nVmSize:");
        let is_dead = status.contains("\nState:\tZ");
        processes += u64::from(is_ours);
        zombies += u64::from(is_dead);
    }
    found.extend([("processes", processes), ("zombies", zombies)]);
    let kib = |text: &str, field: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.with_context(|| field.to_owned())?.parse()?)
    };
    let status = fs::read_to_string("/proc/1/status")?;
    let pages = fs::read_to_string("/proc/1/smaps_rollup")?;
    found.extend([
        ("KiB of addresses of PID 1", kib(&status, "VmSize:")?),
        ("KiB of data of PID 1", kib(&status, "VmData:")?),
        ("KiB of memory of PID 1", kib(&pages, "Rss:")?),
        (
            "KiB of memory of PID 1 that it has changed",
            kib(&pages, "Private_Dirty:")?,
        ),
    ]);
    Ok(Account(found))
}

fn directories(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.map(|entry| 1 + directories(&entry.path())).sum()
}

/// Those that have a file, and mapped devices.
fn loop_devices() -> Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir("/sys/block")? {
        let path = entry?.path();
        let is_mapped = path.to_string_lossy().contains("/dm-");
        count += u64::from(is_mapped || path.join("loop/backing_file").exists());
    }
    Ok(count)
}
