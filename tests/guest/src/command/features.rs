//! `berth features` held against what berth's own reader does with each word: what is listed is
//! taken and acted on, and what the specification has besides is refused or warned of.

use anyhow::{Context, Result, ensure};
use berth::parse::config::{Config, MOUNT_PLACES, MountPlace};
use serde_json::{Value, json};

use super::lab::Lab;
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing features_are_those_of_the_specification,
    Nothing features_are_what_the_reader_takes,
];

/// config.md, "Linux mount options".
const OPTIONS: &str = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
    nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind \
    rdev rdiratime relatime remount rexec rnoatime rnodiratime rnodev rnoexec rnorelatime rnostrictatime rnosuid \
    rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared \
    silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap";

/// config-linux.md, "Seccomp".
const ACTIONS: &str = "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY";
const OPERATORS: &str = "NE LT LE EQ GE GT MASKED_EQ";
const FLAGS: &str = "TSYNC LOG SPEC_ALLOW WAIT_KILLABLE_RECV";

/// config-linux.md, "Memory policy".
const POLICIES: &str = "DEFAULT BIND INTERLEAVE WEIGHTED_INTERLEAVE PREFERRED PREFERRED_MANY LOCAL";
const POLICY_FLAGS: &str = "NUMA_BALANCING RELATIVE_NODES STATIC_NODES";

fn words<'v>(features: &'v Value, pointer: &str) -> Result<Vec<&'v str>> {
    let list = features.pointer(pointer).and_then(Value::as_array);
    let list = list.with_context(|| format!("no {pointer} in {features}"))?;
    Ok(list.iter().filter_map(Value::as_str).collect())
}

fn features_are_those_of_the_specification(lab: &Lab) -> Result<()> {
    let features: Value = serde_json::from_str(&lab.ok(&["features"])?)?;
    for (pointer, prefix, expected) in [
        ("/mountOptions", "", OPTIONS),
        (
            "/hooks",
            "",
            "prestart createRuntime createContainer startContainer poststart poststop",
        ),
        (
            "/linux/namespaces",
            "",
            "cgroup ipc mount network pid time user uts",
        ),
        ("/linux/seccomp/actions", "SCMP_ACT_", ACTIONS),
        ("/linux/seccomp/operators", "SCMP_CMP_", OPERATORS),
        ("/linux/seccomp/knownFlags", "SECCOMP_FILTER_FLAG_", FLAGS),
        (
            "/linux/seccomp/supportedFlags",
            "SECCOMP_FILTER_FLAG_",
            FLAGS,
        ),
        ("/linux/memoryPolicy/modes", "MPOL_", POLICIES),
        ("/linux/memoryPolicy/flags", "MPOL_F_", POLICY_FLAGS),
        (
            "/potentiallyUnsafeConfigAnnotations",
            "",
            "berth. org.systemd.property.",
        ),
    ] {
        let mut found = words(&features, pointer)?;
        found.sort_unstable();
        let expected = expected.split_whitespace();
        let mut expected: Vec<_> = expected.map(|word| format!("{prefix}{word}")).collect();
        expected.sort_unstable();
        ensure!(found == expected, "{pointer}: {found:?}, not {expected:?}");
    }
    let capabilities = words(&features, "/linux/capabilities")?;
    ensure!(capabilities.len() == 41, "{capabilities:?}");
    for (pointer, value) in [
        ("/ociVersionMin", json!("1.0.0")),
        ("/ociVersionMax", json!("1.3.0")),
        ("/linux/cgroup/rdma", json!(true)),
        ("/linux/intelRdt/enabled", json!(true)),
        ("/linux/intelRdt/schemata", json!(true)),
        ("/linux/intelRdt/monitoring", json!(true)),
        ("/linux/netDevices/enabled", json!(true)),
        ("/linux/cgroup/v1", json!(false)),
        ("/linux/cgroup/v2", json!(true)),
        ("/linux/cgroup/systemd", json!(true)),
        ("/linux/cgroup/systemdUser", json!(true)),
        ("/linux/seccomp/enabled", json!(true)),
        ("/linux/apparmor/enabled", json!(true)),
        ("/linux/selinux/enabled", json!(true)),
        ("/linux/mountExtensions/idmap/enabled", json!(true)),
    ] {
        ensure!(
            features.pointer(pointer) == Some(&value),
            "{pointer}: {features}"
        );
    }
    Ok(())
}

/// Reads a configuration that has `value` at this pointer (RFC 6901), and looks at it.
fn read<T>(pointer: &str, value: Value, look: impl FnOnce(&Config<'_>) -> T) -> Result<T> {
    let ids = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    let mut config = json!({
        "ociVersion": "1.0.0",
        "process": { "args": ["x"], "cwd": "/", "capabilities": {} },
        "root": { "path": "x" },
        "mounts": [],
        "hooks": {},
        "linux": { "namespaces": [{ "type": "mount" }], "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x" } },
    });
    let (parent, name) = pointer.rsplit_once('/').context("a pointer")?;
    config.pointer_mut(parent).context("a parent")?[name] = value;
    if config.to_string().contains("\"user\"") {
        config["linux"]["uidMappings"] = ids.clone();
        config["linux"]["gidMappings"] = ids;
    }
    let text = config.to_string();
    let mut scratch = vec![0; text.len()];
    let mut places = [const { MountPlace::uninit() }; MOUNT_PLACES];
    match Config::parse(text.as_bytes(), &mut scratch, &mut places) {
        Ok(config) => {
            ensure!(
                config.warnings.is_empty(),
                "{pointer}: {:?}",
                config.warnings
            );
            Ok(look(&config))
        }
        Err(error) => Err(anyhow::anyhow!("{error}")),
    }
}

fn features_are_what_the_reader_takes(lab: &Lab) -> Result<()> {
    let features: Value = serde_json::from_str(&lab.ok(&["features"])?)?;
    for version in ["/ociVersionMin", "/ociVersionMax"] {
        let version = features.pointer(version).context("no version")?;
        read("/ociVersion", version.clone(), |_| ())?;
    }
    for word in words(&features, "/mountOptions")? {
        let mut mount =
            json!({ "destination": "/x", "type": "tmpfs", "source": "/x", "options": [word] });
        if word.ends_with("idmap") {
            let ids = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
            mount["uidMappings"] = ids.clone();
            mount["gidMappings"] = ids;
        }
        // What is the filesystem's is in no list.
        let data = read("/mounts", json!([mount]), |config| {
            let mount = config.mounts.iter().next();
            mount.map_or("", |mount| mount.options.data).to_owned()
        })?;
        ensure!(data.is_empty(), "{word} is handed to the filesystem");
    }
    for kind in words(&features, "/linux/namespaces")? {
        let mut list = vec![json!({ "type": "mount" }), json!({ "type": kind })];
        list.dedup();
        read("/linux/namespaces", json!(list), |_| ())?;
    }
    for kind in words(&features, "/hooks")? {
        let has = |config: &Config<'_>| {
            let mut kinds = berth::parse::config::HookKind::ALL.into_iter();
            kinds.any(|one| one.name() == kind && config.hooks.has(&[one]))
        };
        ensure!(
            read("/hooks", json!({ kind: [{ "path": "/x" }] }), has)?,
            "{kind}"
        );
    }
    for name in words(&features, "/linux/capabilities")? {
        let set = |config: &Config<'_>| {
            let sets = config.process.capabilities;
            sets.map(|sets| sets.bounding.to_string())
                .unwrap_or_default()
        };
        let found = read("/process/capabilities/bounding", json!([name]), set)?;
        ensure!(found == name, "{name}: {found}");
    }
    let seccomp = |name: &str, value: Value| read(&format!("/linux/seccomp/{name}"), value, |_| ());
    let rule = |operator: &str| {
        let args = json!([{ "index": 0, "value": 0, "op": operator }]);
        json!([{ "names": ["read"], "action": "SCMP_ACT_LOG", "args": args }])
    };
    for word in words(&features, "/linux/seccomp/actions")? {
        let rules = json!([{ "names": ["mkdir"], "action": word }]);
        seccomp("syscalls", rules)?;
    }
    for word in words(&features, "/linux/seccomp/operators")? {
        seccomp("syscalls", rule(word))?;
    }
    for word in words(&features, "/linux/seccomp/archs")? {
        seccomp("architectures", json!([word]))?;
    }
    for word in words(&features, "/linux/seccomp/knownFlags")? {
        seccomp("flags", json!([word]))?;
    }
    let policy = |value: Value| {
        let of = |config: &Config<'_>| config.process.memory_policy.map(|policy| policy.mode);
        read("/linux/memoryPolicy", value, of)
    };
    let mut modes = Vec::new();
    for word in words(&features, "/linux/memoryPolicy/modes")? {
        modes.push(policy(json!({ "mode": word }))?);
    }
    // In the order of their numbers.
    let numbers: Vec<_> = (0..7).map(Some).collect();
    ensure!(modes == numbers, "{modes:?}");
    for word in words(&features, "/linux/memoryPolicy/flags")? {
        policy(json!({ "mode": "MPOL_BIND", "flags": [word] }))?;
    }
    for (name, value) in [
        ("defaultAction", json!("SCMP_ACT_ASK")),
        ("flags", json!(["SECCOMP_FILTER_FLAG_NEW_LISTENER"])),
        ("syscalls", rule("SCMP_CMP_XX")),
        ("architectures", json!(["SCMP_ARCH_MIPS"])),
    ] {
        ensure!(
            seccomp(name, value).is_err(),
            "{name} is not listed, and taken"
        );
    }
    Ok(())
}
