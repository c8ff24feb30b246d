//! What the crate `oci-spec` says that a configuration says, put into the terms that berth has:
//! those of the kernel.

use std::collections::BTreeSet;

use oci_spec::runtime::{
    Capabilities, Hook, LinuxCapabilities, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType,
    LinuxIdMapping, LinuxNamespaceType, LinuxSeccomp, LinuxSeccompAction, Mount, Process, Spec,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::options;
use crate::resources::resources;

pub(crate) fn said(spec: &Spec) -> Value {
    let linux = spec.linux().clone().unwrap_or_default();
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let root = spec.root().as_ref();
    let offset = |clock: &str| {
        let offset = linux.time_offsets().as_ref()?.get(clock)?;
        Some(json!([
            offset.secs().unwrap_or(0),
            offset.nanosecs().unwrap_or(0)
        ]))
    };
    json!({
        "ociVersion": spec.version(),
        "process": spec.process().as_ref().map(|it| process(it, spec)),
        "root": {
            "path": root.map(|root| root.path()),
            "readonly": root.and_then(|root| root.readonly()).unwrap_or(false),
        },
        "hostname": text(spec.hostname()),
        "domainname": text(spec.domainname()),
        "mounts": spec.mounts().iter().flatten().map(mount).collect::<Vec<_>>(),
        "hooks": hooks(spec),
        "annotations": spec.annotations(),
        "warnings": warnings(spec),
        "namespaces": namespaces(spec),
        "uidMappings": id_map(linux.uid_mappings().as_deref()),
        "gidMappings": id_map(linux.gid_mappings().as_deref()),
        "timeOffsets": { "monotonic": offset("monotonic"), "boottime": offset("boottime") },
        "netDevices": linux.net_devices().iter().flatten().map(|(outside, device)| {
            let name = device.name().as_ref().filter(|name| !name.is_empty());
            (outside.clone(), json!(name.unwrap_or(outside)))
        }).collect::<Value>(),
        "intelRdt": linux.intel_rdt().as_ref().map(|rdt| {
            let lines = rdt.schemata().iter().flatten().map(|line| (line, false));
            let first = rdt.l3_cache_schema().iter().map(|line| (line, true));
            let second = rdt.mem_bw_schema().iter().map(|line| (line, false));
            let all = first.chain(second).chain(lines).filter(|(line, _)| !line.is_empty());
            json!({
                "closID": text(rdt.clos_id()),
                "schemata": all.map(|(line, of_cache)| json!([line, of_cache])).collect::<Vec<_>>(),
                "enableMonitoring": rdt.enable_monitoring().unwrap_or(false),
            })
        }),
        "rootfsPropagation": text(linux.rootfs_propagation()).map(|word| {
            word.strip_prefix('r').unwrap_or(&word).to_owned()
        }),
        "maskedPaths": listed(linux.masked_paths()),
        "readonlyPaths": listed(linux.readonly_paths()),
        "devices": linux.devices().iter().flatten().map(device).collect::<Vec<_>>(),
        "sysctl": linux.sysctl().iter().flatten().map(|(key, value)| {
            (parameter(key), json!(value))
        }).collect::<Value>(),
        "cgroupsPath": linux.cgroups_path().as_ref().and_then(|path| path.to_str()).and_then(|path| {
            (!path.is_empty()).then(|| json!([path.trim_matches('/'), path.starts_with('/')]))
        }),
        "resources": {
            "lines": resources(linux.resources().as_ref()),
            "devices": linux.resources().iter().flat_map(|it| it.devices().iter().flatten())
                .map(device_rule).collect::<Vec<_>>(),
            "check": linux.resources().as_ref().and_then(|it| it.memory().as_ref()).and_then(|it| {
                it.limit().filter(|limit| *limit > 0 && it.check_before_update() == Some(true))
            }),
        },
        "seccomp": linux.seccomp().as_ref().map(seccomp),
    })
}

/// The word that stands for a value in a document.
fn word(value: impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap();
    value.as_str().expect("a word").to_owned()
}

fn process(process: &Process, spec: &Spec) -> Value {
    let user = process.user();
    let scheduler = process.scheduler().as_ref();
    let affinity = process.exec_cpu_affinity().as_ref();
    let lists = [
        affinity.and_then(|it| it.initial().as_deref()),
        affinity.and_then(|it| it.cpu_affinity_final().as_deref()),
    ];
    let lists = lists.map(|list| list.filter(|list| !list.is_empty()).map(processors));
    const FLAGS: [&str; 5] = [
        "SCHED_FLAG_RESET_ON_FORK",
        "SCHED_FLAG_RECLAIM",
        "SCHED_FLAG_DL_OVERRUN",
        "SCHED_FLAG_KEEP_POLICY",
        "SCHED_FLAG_KEEP_PARAMS",
    ];
    const CLASSES: [&str; 4] = [
        "",
        "IOPRIO_CLASS_RT",
        "IOPRIO_CLASS_BE",
        "IOPRIO_CLASS_IDLE",
    ];
    let place = |words: &[&str], word: &str| words.iter().position(|it| *it == word).unwrap();
    let personality = spec
        .linux()
        .as_ref()
        .and_then(|it| it.personality().as_ref());
    json!({
        "args": process.args().clone().unwrap_or_default(),
        "env": process.env().clone().unwrap_or_default(),
        "cwd": process.cwd(),
        "terminal": process.terminal().unwrap_or(false),
        "consoleSize": process.console_size().map(|size| [size.height(), size.width()]),
        "user": {
            "uid": user.uid(), "gid": user.gid(), "umask": user.umask().unwrap_or(0o022),
            "additionalGids": user.additional_gids().clone().unwrap_or_default(),
        },
        "capabilities": capabilities(process.capabilities().as_ref()),
        "noNewPrivileges": process.no_new_privileges().unwrap_or(false),
        "rlimits": process.rlimits().iter().flatten().map(|limit| {
            json!([word(limit.typ()), limit.soft(), limit.hard()])
        }).collect::<Vec<_>>(),
        "oomScoreAdj": process.oom_score_adj(),
        "scheduler": scheduler.map(|it| json!({
            "policy": word(it.policy()),
            "flags": it.flags().iter().flatten().fold(0, |flags, flag| flags | 1 << place(&FLAGS, &word(flag))),
            "nice": it.nice().unwrap_or(0),
            "priority": it.priority().unwrap_or(0),
            "times": ([it.runtime(), it.deadline(), it.period()].map(|time| time.unwrap_or(0))),
        })),
        "ioPriority": process.io_priority().map(|io| {
            place(&CLASSES, &word(io.class())) as i64 * 8192 + io.priority()
        }),
        "execCPUAffinity": lists,
        "memoryPolicy": spec.linux().as_ref().and_then(|it| it.memory_policy().as_ref()).map(|policy| {
            const MODES: [&str; 7] = [
                "MPOL_DEFAULT", "MPOL_PREFERRED", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED_MANY",
                "MPOL_WEIGHTED_INTERLEAVE",
            ];
            const FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];
            let flags = policy.flags().iter().flatten();
            let flags = flags.fold(0, |bits, flag| bits | 1 << (13 + place(&FLAGS, &word(flag))));
            json!([place(&MODES, &word(policy.mode())) | flags, policy.nodes().as_deref().filter(|it| !it.is_empty()).map(processors)])
        }),
        "personality": personality.map(|it| if word(it.domain()) == "LINUX32" { 8 } else { 0 }),
    })
}

/// Without the field there are none.
fn capabilities(sets: Option<&LinuxCapabilities>) -> Value {
    let names = |set: fn(&LinuxCapabilities) -> &Option<Capabilities>| -> Vec<String> {
        let set = sets.and_then(|sets| set(sets).as_ref());
        let mut names: Vec<_> = set.into_iter().flatten().map(word).collect();
        names.sort();
        names
    };
    let both = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|name| b.contains(name)).cloned().collect()
    };
    let bounding = names(LinuxCapabilities::bounding);
    let permitted = both(&names(LinuxCapabilities::permitted), &bounding);
    let inheritable = both(&names(LinuxCapabilities::inheritable), &bounding);
    json!({
        "effective": both(&names(LinuxCapabilities::effective), &permitted),
        "ambient": both(&names(LinuxCapabilities::ambient), &both(&permitted, &inheritable)),
        "bounding": bounding, "permitted": permitted, "inheritable": inheritable,
    })
}

fn hooks(spec: &Spec) -> Value {
    let hooks = spec.hooks().clone().unwrap_or_default();
    let each = |list: &Option<Vec<Hook>>| -> Value {
        let hook = |hook: &Hook| {
            let path = hook.path().to_str().unwrap().to_owned();
            let args = hook.args().clone().filter(|args| !args.is_empty());
            json!({
                "path": path, "args": args.unwrap_or_else(|| vec![path.clone()]),
                "env": hook.env().clone().unwrap_or_default(), "timeout": hook.timeout(),
            })
        };
        list.iter().flatten().map(hook).collect()
    };
    json!({
        "prestart": each(hooks.prestart()),
        "createRuntime": each(hooks.create_runtime()),
        "createContainer": each(hooks.create_container()),
        "startContainer": each(hooks.start_container()),
        "poststart": each(hooks.poststart()),
        "poststop": each(hooks.poststop()),
    })
}

/// Paths from the root of the container.
fn listed(paths: &Option<Vec<String>>) -> Vec<String> {
    let paths = paths.iter().flatten();
    paths.map(|path| from_root(path)).collect()
}

/// A path from the root of the container, wherever it begins and whatever it spells out.
fn from_root(path: &str) -> String {
    let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    format!("/{}", names.collect::<Vec<_>>().join("/"))
}

/// The numbers of a list as `7,0-2`, in order; none for what is no such list, which berth refuses.
fn processors(list: &str) -> Option<BTreeSet<usize>> {
    let items = list.split(',').filter(|item| !item.trim().is_empty());
    let ranges = items.map(|item| {
        let ends = item.split('-').map(|end| end.trim().parse().ok());
        let ends: Vec<usize> = ends.collect::<Option<_>>()?;
        Some(*ends.first()?..=*ends.last()?)
    });
    let ranges: Vec<_> = ranges.collect::<Option<_>>()?;
    Some(ranges.into_iter().flatten().collect())
}

/// What berth does not act on, and says so.
fn warnings(spec: &Spec) -> Value {
    let linux = spec.linux().as_ref();
    let memory = linux
        .and_then(|linux| linux.resources().as_ref())
        .and_then(|resources| resources.memory().as_ref());
    let is_asked = |number: Option<i64>| number.is_some_and(|number| number != 0);
    let seccomp = linux.and_then(|linux| linux.seccomp().as_ref());
    let architectures = seccomp.and_then(|it| it.architectures().as_ref());
    let is_own = |name: &str| matches!(name, "SCMP_ARCH_X86_64" | "SCMP_ARCH_NATIVE");
    let is_foreign = architectures.is_some_and(|all| all.iter().any(|it| !is_own(&word(it))));
    let all = [
        (
            "linux.resources.memory.kernel",
            is_asked(memory.and_then(|it| it.kernel())),
        ),
        (
            "linux.resources.memory.kernelTCP",
            is_asked(memory.and_then(|it| it.kernel_tcp())),
        ),
        (
            "linux.seccomp.architectures besides this machine's",
            is_foreign,
        ),
    ];
    all.iter()
        .filter(|(_, is_asked)| *is_asked)
        .map(|(path, _)| json!(path))
        .collect()
}

fn namespaces(spec: &Spec) -> Value {
    let mut found = Map::new();
    let kinds = [
        LinuxNamespaceType::User,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Cgroup,
        LinuxNamespaceType::Time,
    ];
    for kind in kinds {
        let listed = spec
            .linux()
            .iter()
            .flat_map(|linux| linux.namespaces().iter().flatten());
        let mut of_kind = listed.filter(|it| it.typ() == kind);
        let path = of_kind
            .next()
            .map(|it| it.path().clone().unwrap_or_default());
        found.insert(word(kind), json!(path));
    }
    Value::Object(found)
}

fn id_map(ranges: Option<&[LinuxIdMapping]>) -> Value {
    let ranges = ranges.filter(|ranges| !ranges.is_empty());
    json!(ranges.map(|ranges| {
        let range = |it: &LinuxIdMapping| json!([it.container_id(), it.host_id(), it.size()]);
        ranges.iter().map(range).collect::<Vec<_>>()
    }))
}

fn mount(mount: &Mount) -> Value {
    let options = options::read(mount.options().as_deref().unwrap_or_default());
    let users = id_map(mount.uid_mappings().as_deref());
    // A filesystem that is made in the container's user namespace has the ids of that; none here is
    // a control group's.
    let is_bind = options.flags[0] & options::BIND != 0;
    let is_mapped = !users.is_null() || is_bind && options.map_ids.is_some();
    json!({
        "destination": mount.destination(),
        "type": mount.typ().clone().filter(|it| !it.is_empty()),
        "source": mount.source().clone().filter(|it| !it.as_os_str().is_empty()),
        "flags": options.flags,
        "below": options.below,
        "propagation": options.propagation,
        "tmpcopyup": options.copy_up,
        "data": options.data,
        "ids": is_mapped.then(|| {
            json!([users, id_map(mount.gid_mappings().as_deref()), options.map_ids.unwrap_or(false)])
        }),
    })
}

fn device(device: &LinuxDevice) -> Value {
    let kind = match device.typ() {
        LinuxDeviceType::B => "b",
        LinuxDeviceType::P => "p",
        _ => "c",
    };
    json!({
        "path": from_root(&device.path().display().to_string()), "type": kind,
        "numbers": (kind != "p").then(|| [device.major(), device.minor()]),
        "fileMode": device.file_mode().map(|mode| mode & 0o7777),
        "uid": device.uid(), "gid": device.gid(),
    })
}

fn device_rule(rule: &LinuxDeviceCgroup) -> Value {
    let kind = match rule.typ() {
        Some(LinuxDeviceType::B) => Some("b"),
        Some(LinuxDeviceType::C) => Some("c"),
        _ => None,
    };
    let number = |number: Option<i64>| number.filter(|number| *number != -1);
    let access = rule.access().clone().unwrap_or_default();
    let access = ['r', 'w', 'm'].map(|letter| access.contains(letter));
    json!([
        rule.allow(),
        kind,
        number(rule.major()),
        number(rule.minor()),
        access
    ])
}

/// The file of a parameter below `/proc/sys` (sysctl.d(5)).
fn parameter(key: &str) -> String {
    match key
        .find(['.', '/'])
        .is_some_and(|at| key[at..].starts_with('.'))
    {
        true => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
        false => key.to_owned(),
    }
}

/// seccomp(2), SECCOMP_RET_*.
fn verdict(action: LinuxSeccompAction, number: Option<u32>) -> u32 {
    match word(action).as_str() {
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | number.unwrap_or(1),
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | number.unwrap_or(1),
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        other => panic!("{other}"),
    }
}

fn seccomp(profile: &LinuxSeccomp) -> Value {
    let operator = |word: &str| match word {
        "SCMP_CMP_NE" => "NotEqual",
        "SCMP_CMP_LT" => "Less",
        "SCMP_CMP_LE" => "LessOrEqual",
        "SCMP_CMP_EQ" => "Equal",
        "SCMP_CMP_GE" => "GreaterOrEqual",
        "SCMP_CMP_GT" => "Greater",
        _ => "MaskedEqual",
    };
    let flag = |word: &str| match word {
        "SECCOMP_FILTER_FLAG_TSYNC" => 1,
        "SECCOMP_FILTER_FLAG_LOG" => 2,
        _ => 4,
    };
    let is_own = |name: &str| matches!(name, "SCMP_ARCH_X86_64" | "SCMP_ARCH_NATIVE");
    json!({
        "default": verdict(profile.default_action(), profile.default_errno_ret()),
        "flags": profile.flags().iter().flatten().fold(0, |flags, it| flags | flag(&word(it))),
        "foreign": profile.architectures().iter().flatten().any(|it| !is_own(&word(it))),
        "rules": profile.syscalls().iter().flatten().map(|rule| json!({
            "names": rule.names(),
            "verdict": verdict(rule.action(), rule.errno_ret()),
            "args": rule.args().iter().flatten().map(|it| {
                json!([it.index(), operator(&word(it.op())), it.value(), it.value_two().unwrap_or(0)])
            }).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
