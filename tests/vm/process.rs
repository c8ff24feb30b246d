//! `process` of a bundle: whom its program runs as, what it may do, how much it may use. One boot
//! with a container for each field, which prints what it was started with, and one for each value
//! that is refused.

use anyhow::{Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk, field};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere what_is_asked_for_is_what_the_program_has,
    everywhere what_cannot_be_is_refused_with_code_and_text,
    once bundles_that_no_container_is_named_after_are_warned_of,
    once capabilities_that_are_not_given_are_warned_of,
    once privileged_without_a_wish_it_is_as_documented,
];

static BOOT: Shared = Shared::new(boot);

/// The container whose rootfs all others use.
const FIRST: &str = "plain";

/// Its users.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:1234:100::/srv/web:\n";

/// Bits of capability sets (capabilities(7)).
const CHOWN: u64 = 1 << 0;
const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;
const SYS_CHROOT: u64 = 1 << 18;
const SYS_ADMIN: u64 = 1 << 21;
const CHECKPOINT_RESTORE: u64 = 1 << 40;

/// A container that prints what it was started with. Its directory of processes and its devices are
/// there by default.
fn tells(id: &str) -> Bundle {
    Bundle::new(id)
        .runs(["/bin/guest", "process"])
        .set("/root/path", json!(format!("/containers/{FIRST}/rootfs")))
        .set("/mounts", json!([]))
}

fn user(uid: u32) -> Value {
    json!({ "uid": uid, "gid": 100 })
}

/// Whose user 0 is another one outside.
fn with_users(bundle: Bundle) -> Bundle {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    bundle
        .set("/linux/namespaces/-", json!({ "type": "user" }))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

/// A container, and facts that it prints.
type Asked = (Bundle, Vec<String>);

fn asked(bundle: Bundle, facts: &[&str]) -> Asked {
    (
        bundle,
        facts.iter().map(|fact| (*fact).to_owned()).collect(),
    )
}

/// The capability sets as `/proc/self/status` has them: inheritable, permitted, effective,
/// bounding, ambient.
fn sets(bundle: Bundle, sets: [u64; 5]) -> Asked {
    let names = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    let facts = names.iter().zip(sets);
    let facts = facts.map(|(name, set)| format!("{name} {set:016x}"));
    (bundle, facts.collect())
}

/// A program that has `expected` as the last of its variables, `HOME`.
fn home(id: &str, uid: u32, variables: &[&str], expected: &str) -> Asked {
    asked(
        tells(id)
            .runs(["/bin/guest", "count", "argument"])
            .set("/process/user", user(uid))
            .set("/process/env", json!(variables)),
        &[&format!("variables 2 HOME {}", expected.len())],
    )
}

fn cases() -> Vec<Asked> {
    let with = |id, field: &str, value| tells(id).set(&format!("/process/{field}"), value);
    let few = ["CAP_CHOWN", "CAP_KILL", "CAP_CHECKPOINT_RESTORE"];
    let few_bits = CHOWN | KILL | CHECKPOINT_RESTORE;
    let bind = ["CAP_NET_BIND_SERVICE"];
    let as_user = |id: &str, capabilities: Value| {
        tells(id)
            .set("/process/user", user(1000))
            .set("/process/capabilities", capabilities)
    };
    vec![
        asked(
            with("user", "user", json!({ "uid": 1000, "gid": 100, "additionalGids": [5, 4294967294u32, 6], "umask": 0o077 })),
            &[
                "Uid 1000 1000 1000 1000",
                "Gid 100 100 100 100",
                "Groups 5 6 4294967294",
                "Umask 0077",
                // A pipe that is root's could be used and not opened.
                "stdout opens",
            ],
        ),
        // A change of the user leaves nothing but what it may have again.
        sets(with("user-only", "user", user(1000)), [0, 0, 0, (CHECKPOINT_RESTORE << 1) - 1, 0]),
        asked(with("unconfined", "apparmorProfile", json!("unconfined")), &["Uid 0 0 0 0"]),
        asked(with("root-umask", "user", json!({ "uid": 0, "gid": 0, "umask": 0 })), &["Umask 0000", "Uid 0 0 0 0"]),
        // What execve gives to root is the bounding set, whatever was permitted before.
        sets(
            with("bounding", "capabilities", json!({ "bounding": few, "permitted": ["CAP_CHOWN"] })),
            [0, few_bits, few_bits, few_bits, 0],
        ),
        sets(
            with("all-sets", "capabilities", json!({
                "bounding": few, "permitted": few, "effective": few, "inheritable": few, "ambient": ["CAP_KILL"],
            })),
            [few_bits, few_bits, few_bits, few_bits, KILL],
        ),
        sets(with("no-bounding", "capabilities", json!({ "permitted": few, "effective": few })), [0; 5]),
        sets(with("empty-bounding", "capabilities", json!({ "bounding": [], "permitted": few, "effective": few })), [0; 5]),
        sets(with("empty-sets", "capabilities", json!({})), [0; 5]),
        // Without ambient ones execve takes all from who is not root.
        sets(
            as_user("not-ambient", json!({ "bounding": bind, "permitted": bind, "effective": bind, "inheritable": bind })),
            [NET_BIND_SERVICE, 0, 0, NET_BIND_SERVICE, 0],
        ),
        sets(
            as_user("ambient", json!({
                "bounding": [bind[0], "CAP_CHOWN"], "permitted": bind, "effective": bind, "inheritable": bind, "ambient": bind,
            })),
            [NET_BIND_SERVICE, NET_BIND_SERVICE, NET_BIND_SERVICE, NET_BIND_SERVICE | CHOWN, NET_BIND_SERVICE],
        ),
        // The way back stays closed, for who is not root too.
        sets(
            as_user("moved", json!({
                "bounding": bind, "permitted": bind, "effective": bind, "inheritable": bind, "ambient": bind,
            }))
            .annotation("berth.root-switch", "move"),
            [NET_BIND_SERVICE; 5],
        ),
        sets(
            with("unknown", "capabilities", json!({ "bounding": ["CAP_CHOWN", "CAP_FLY", "chown"], "ambient": ["CAP_CHOWN"] })),
            [0, CHOWN, CHOWN, CHOWN, 0],
        ),
        asked(with("no-new-privileges", "noNewPrivileges", json!(true)), &["NoNewPrivs 1"]),
        asked(
            with("rlimits", "rlimits", json!([
                { "type": "RLIMIT_NOFILE", "soft": 33, "hard": 44 },
                { "type": "RLIMIT_CORE", "soft": 0, "hard": u64::MAX },
                { "type": "RLIMIT_RTTIME", "soft": 5_000_000, "hard": 6_000_000 },
            ])),
            &["limit 7 33 44", &format!("limit 4 0 {}", u64::MAX), "limit 15 5000000 6000000"],
        ),
        // Raised and lowered while there are the rights to do it.
        asked(
            with("user-rlimits", "rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 5000, "hard": 100_000 }]))
                .set("/process/user", user(1000)),
            &["limit 7 5000 100000", "Uid 1000 1000 1000 1000"],
        ),
        asked(with("oom", "oomScoreAdj", json!(-500)).set("/process/user", user(1000)), &["oom -500"]),
        asked(with("oom-zero", "oomScoreAdj", json!(0)), &["oom 0"]),
        // With rights that nobody has in the container.
        asked(
            with_users(with("mapped-rlimits", "rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 5000, "hard": 100_000 }]))),
            &["limit 7 5000 100000"],
        ),
        asked(with_users(with("mapped-oom", "oomScoreAdj", json!(-500))), &["oom -500"]),
        asked(
            with("fifo", "scheduler", json!({ "policy": "SCHED_FIFO", "priority": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"] })),
            &["scheduler 1 0x1 0 7"],
        ),
        asked(
            with("batch", "scheduler", json!({ "policy": "SCHED_BATCH", "nice": -5 })).set("/process/user", user(1000)),
            &["scheduler 3 0x0 -5 0"],
        ),
        asked(
            with("deadline", "scheduler", json!({
                "policy": "SCHED_DEADLINE", "runtime": 10_000_000, "deadline": 30_000_000, "period": 40_000_000,
            })),
            &["scheduler 6 0x0 0 0", "deadline 10000000 30000000 40000000"],
        ),
        asked(with("io", "ioPriority", json!({ "class": "IOPRIO_CLASS_RT", "priority": 3 })), &["io 1 3"]),
        asked(with("io-idle", "ioPriority", json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 })), &["io 3 0"]),
        asked(
            tells("personality").set("/linux/personality", json!({ "domain": "LINUX32" })),
            &["personality 8"],
        ),
        asked(tells("domainname").set("/domainname", json!("example.org")), &["domainname example.org"]),
        // Only root may enter it, and this is not root.
        asked(
            with("cwd", "user", user(1000))
                .set("/process/cwd", json!("/mnt"))
                .mount("/mnt", "tmpfs", "tmpfs", &["mode=700"]),
            &["directory /mnt", "Uid 1000 1000 1000 1000"],
        ),
        asked(
            tells("cwd-made")
                .set("/process/cwd", json!("/mnt/is/not/there"))
                .mount("/mnt", "tmpfs", "tmpfs", &[]),
            &["directory /mnt/is/not/there"],
        ),
        asked(
            tells("last-variable")
                .runs(["/bin/guest", "count", "argument"])
                .set("/process/env", json!(["HOME=/x", "A=1", "A=22"])),
            &["variables 2 A 2"],
        ),
        home("home-of-root", 0, &["A=1"], "/root"),
        home("home", 1234, &["A=1", "HOME="], "/srv/web"),
        home("home-unknown", 77, &["A=1"], "/"),
        asked(
            tells("many")
                .runs(["/bin/guest", "count"].into_iter().chain(std::iter::repeat_n("argument", 1022)))
                .set("/process/env", json!(std::iter::once("HOME=/".to_owned()).chain((1..1024).map(|number| format!("V{number}={}", "x".repeat(200)))).collect::<Vec<_>>())),
            &["arguments 1022 argument", "variables 1024 V1023 200"],
        ),
    ]
}

/// A container that is not started, the code, and what the report says.
type Refused = (Bundle, &'static str, &'static str);

fn refused() -> Vec<Refused> {
    let with = |id, field: &str, value| tells(id).set(&format!("/process/{field}"), value);
    let limit =
        |kind: &str, soft: u64, hard: u64| json!({ "type": kind, "soft": soft, "hard": hard });
    vec![
        (
            with("no-user", "user", user(u32::MAX)),
            "B051",
            "process.user.uid is \"4294967295\"; it takes 0 to 4294967294",
        ),
        (
            with(
                "way-back",
                "capabilities",
                json!({ "bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"] }),
            )
            .annotation("berth.root-switch", "move"),
            "B051",
            "CAP_SYS_ADMIN in process.capabilities needs berth.root-switch pivot",
        ),
        (
            with(
                "twice",
                "rlimits",
                json!([limit("RLIMIT_CORE", 1, 1), limit("RLIMIT_CORE", 1, 1)]),
            ),
            "B051",
            "process.rlimits[1].type needs to differ from those before it",
        ),
        (
            with("soft", "rlimits", json!([limit("RLIMIT_CORE", 2, 1)])),
            "B051",
            "process.rlimits[0].soft needs a hard limit that is not below it",
        ),
        (
            // More than fs.nr_open.
            with(
                "too-many",
                "rlimits",
                json!([limit("RLIMIT_NOFILE", 1, u64::MAX)]),
            ),
            "B053",
            "set RLIMIT_NOFILE for too-many: EPERM",
        ),
        (
            with("no-policy", "scheduler", json!({ "policy": "SCHED_ISO" })),
            "B053",
            "set SCHED_ISO for no-policy: EINVAL",
        ),
        (
            with(
                "clamp",
                "scheduler",
                json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"] }),
            ),
            "B052",
            "process.scheduler.flags[0]: \"SCHED_FLAG_UTIL_CLAMP_MIN\" is not supported yet",
        ),
        (
            with(
                "no-class",
                "ioPriority",
                json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }),
            ),
            "B051",
            "process.ioPriority.priority is \"8\"; it takes 0 to 7",
        ),
        (
            with("oom-far", "oomScoreAdj", json!(1001)),
            "B051",
            "process.oomScoreAdj is \"1001\"; it takes -1000 to 1000",
        ),
        (
            tells("domain-shared")
                .set("/hostname", Value::Null)
                .set("/domainname", json!("a"))
                .namespaces(&["mount", "pid"]),
            "B051",
            "domainname needs a namespace of type uts",
        ),
        (
            tells("bsd").set("/linux/personality", json!({ "domain": "BSD" })),
            "B051",
            "linux.personality.domain is \"BSD\"; it takes LINUX or LINUX32",
        ),
        (
            with("apparmor", "apparmorProfile", json!("confined")),
            "B053",
            "the profile of AppArmor, which this machine has not in force, confined for apparmor: EOPNOTSUPP",
        ),
        (
            with("selinux", "selinuxLabel", json!("a:b:c:s0")),
            "B053",
            "the label of SELinux, which this machine has not in force, a:b:c:s0 for selinux: EOPNOTSUPP",
        ),
        (
            tells("label").set("/linux/mountLabel", json!("a:b:c:s0")),
            "B053",
            "the label of SELinux, which this machine has not in force, a:b:c:s0 for label: EOPNOTSUPP",
        ),
        (
            // The user's rights are what counts for the program.
            with("not-his", "user", user(1000))
                .runs(["/mnt/bin/guest"])
                .mount("/mnt", "tmpfs", "tmpfs", &["mode=700"])
                .mount(
                    "/mnt/bin",
                    "",
                    &format!("/containers/{FIRST}/rootfs/bin"),
                    &["bind"],
                ),
            "B054",
            "execute /mnt/bin/guest for not-his: EACCES",
        ),
    ]
}

/// Names of bundles that are no container's: one is too long.
fn misnamed() -> [String; 2] {
    ["x".repeat(65), "a name".to_owned()]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let bundles = cases().into_iter().map(|(bundle, _)| bundle);
    let refused = refused().into_iter().map(|(bundle, ..)| bundle);
    let misnamed = misnamed().map(|name| tells(&name));
    let passwd = format!("containers/{FIRST}/rootfs/etc/passwd");
    let tree = bundles.chain(refused).chain(misnamed).fold(
        disk::files([tells(FIRST)])?.file(passwd, PASSWD),
        |tree: Tree, bundle| {
            tree.file(
                format!("containers/{}/config.json", bundle.id()),
                bundle.config(),
            )
        },
    );
    let root = disk::of(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, tree))?;
    Ok(lab
        .machine("process")?
        .append("root=/dev/sda1 security=selinux selinux=1")
        .scsi(&root)
        .start()?
        .wait()?)
}

fn what_is_asked_for_is_what_the_program_has(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let mut wrong = Vec::new();
    for (bundle, facts) in cases() {
        let seen = Seen::new(&outcome, bundle.id());
        let printed = facts.iter().map(|fact| seen.printed(fact));
        wrong.extend(printed.chain([seen.exited(0)]).filter_map(Result::err));
    }
    // All of them: one may explain the other.
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}

fn what_cannot_be_is_refused_with_code_and_text(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (bundle, code, text) in refused() {
        let seen = Seen::new(&outcome, bundle.id());
        seen.failed(code, text)?;
        ensure!(seen.lines().next().is_none(), "{} ran", bundle.id());
    }
    Ok(())
}

fn bundles_that_no_container_is_named_after_are_warned_of(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for name in misnamed() {
        let is_it = |event: &berth_qemu::vm::Event| {
            let text = field(event, "text").unwrap_or_default();
            text.starts_with(&format!("execute {name}: it is not started: "))
                && text.ends_with("[B051]")
        };
        ensure!(outcome.events.iter().any(is_it), "no warning of {name}");
    }
    Ok(())
}

fn capabilities_that_are_not_given_are_warned_of(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for warning in [
        "unknown: process.capabilities.bounding[1]: CAP_FLY is not known, and not given",
        "unknown: process.capabilities.bounding[2]: chown is not known, and not given",
        "unknown: process.capabilities: not given where another set lacks them: CAP_CHOWN",
        "no-bounding: process.capabilities: not given where another set lacks them: CAP_CHOWN, CAP_KILL, CAP_CHECKPOINT_RESTORE",
    ] {
        let is_it = |event: &berth_qemu::vm::Event| field(event, "text") == Some(warning);
        ensure!(outcome.events.iter().any(is_it), "no warning {warning:?}");
    }
    Ok(())
}

fn privileged_without_a_wish_it_is_as_documented(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, FIRST);
    for fact in [
        "Uid 0 0 0 0",
        "Gid 0 0 0 0",
        "Groups ",
        "Umask 0022",
        "NoNewPrivs 0",
        "oom 0",
        "scheduler 0 0x0 0 0",
        "personality 0",
        "domainname (none)",
        "stdout opens",
    ] {
        seen.printed(fact)?;
    }
    let bounding = seen.facts("CapBnd");
    let effective = seen.facts("CapEff");
    ensure!(bounding == effective, "{bounding:?} {effective:?}");
    let [set] = effective[..] else {
        anyhow::bail!("{effective:?}")
    };
    let set = u64::from_str_radix(set, 16)?;
    let some = CHOWN | SYS_CHROOT | SYS_ADMIN | CHECKPOINT_RESTORE;
    ensure!(set & some == some, "{set:x}");
    seen.exited(0)
}
