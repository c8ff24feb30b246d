//! What berth says that a configuration says.

use berth::parse::config::affinity::PROCESSORS_MAX;
use berth::parse::config::capabilities::Set;
use berth::parse::config::memory_policy::NODES_MAX;
use berth::parse::config::{
    CLOCKS, CgroupsPath, Config, Hook, HookKind, IdMap, Kind, Mount, Namespace, NodeKind, Process,
};
use berth::parse::device_policy;
use berth::parse::json::Text;
use berth::parse::mount_options::{MountFlags, Recursive};
use serde_json::{Map, Value, json};

use crate::resources::in_order;

/// What is called with paths is called with.
fn paths(
    each: impl FnOnce(&mut dyn FnMut(&str) -> Result<(), ()>) -> Result<(), ()>,
) -> Vec<String> {
    let mut paths = Vec::new();
    let all = each(&mut |path| {
        paths.push(path.to_owned());
        Ok(())
    });
    assert!(all.is_ok());
    paths
}

pub(crate) fn said(config: &Config<'_>) -> Value {
    let confinement = &config.confinement;
    json!({
        "ociVersion": config.oci_version,
        "process": process(&config.process),
        "root": { "path": config.root_path, "readonly": config.root_readonly },
        "hostname": config.hostname,
        "domainname": config.domainname,
        "mounts": config.mounts.iter().map(mount).collect::<Vec<_>>(),
        "hooks": object(HookKind::ALL.map(|kind| {
            (kind.name(), config.hooks.of(kind).map(|it| hook(&it)).collect())
        })),
        "annotations": config.all_annotations.map(|text| serde_json::from_str::<Value>(text).unwrap()),
        "warnings": config.warnings.iter().collect::<Vec<_>>(),
        "namespaces": object(Kind::ALL.map(|kind| {
            let path = match config.namespaces.get(kind) {
                Namespace::Host => Value::Null,
                Namespace::New => json!(""),
                Namespace::At(path) => json!(path),
            };
            (kind.name(), path)
        })),
        "uidMappings": config.uid_map.map(id_map),
        "gidMappings": config.gid_map.map(id_map),
        "timeOffsets": CLOCKS.iter().zip(config.time_offsets).map(|(clock, offset)| {
            let offset = offset.map(|offset| json!([offset.seconds, offset.nanoseconds]));
            ((*clock).to_owned(), json!(offset))
        }).collect::<Value>(),
        "netDevices": config.net_devices.iter().map(|(outside, inside)| {
            (outside.to_string(), json!(inside.as_str()))
        }).collect::<Value>(),
        "intelRdt": config.intel_rdt.map(|rdt| json!({
            "closID": rdt.group().map(|name| name.chars().collect::<String>()),
            "schemata": rdt.schemata().map(|(text, of_cache)| {
                json!([text.chars().collect::<String>(), of_cache])
            }).collect::<Vec<_>>(),
            "enableMonitoring": rdt.is_monitored(),
        })),
        "rootfsPropagation": config.rootfs_propagation.map(|it| format!("{it:?}").to_lowercase()),
        "maskedPaths": paths(|see| confinement.each_masked_path(see)),
        "readonlyPaths": paths(|see| confinement.each_readonly_path(see)),
        "devices": confinement.devices().map(|device| {
            let (kind, numbers) = match device.kind {
                NodeKind::Character(major, minor) => ("c", json!([major, minor])),
                NodeKind::Block(major, minor) => ("b", json!([major, minor])),
                NodeKind::Fifo => ("p", Value::Null),
            };
            json!({
                "path": device.path.to_string(), "type": kind, "numbers": numbers,
                "fileMode": device.mode, "uid": device.uid, "gid": device.gid,
            })
        }).collect::<Vec<_>>(),
        "sysctl": confinement.sysctls().map(|(path, value)| {
            (path.to_string(), json!(value.to_string()))
        }).collect::<Value>(),
        "cgroupsPath": config.cgroups_path.map(|path| match path {
            CgroupsPath::Path { names, is_absolute } => json!([names, is_absolute]),
            CgroupsPath::Unit { slice, prefix, name } => {
                json!([format!("{slice}:{prefix}:{name}"), false])
            }
        }),
        "resources": resources(config),
        "seccomp": seccomp(config),
    })
}

fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    let members = members.into_iter();
    members
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn texts<'a>(texts: impl Iterator<Item = Text<'a>>) -> Vec<String> {
    texts.map(|text| text.chars().collect()).collect()
}

fn process(process: &Process<'_>) -> Value {
    let user = process.user;
    let set = |set: Set| {
        let mut names: Vec<String> = set.to_string().split(", ").map(str::to_owned).collect();
        names.retain(|name| !name.is_empty());
        names.sort();
        names
    };
    json!({
        "args": texts(process.args.iter()),
        "env": texts(process.env.iter()),
        "cwd": process.cwd,
        "terminal": process.terminal,
        "consoleSize": process.console_size,
        "user": {
            "uid": user.uid, "gid": user.gid, "umask": user.umask,
            "additionalGids": user.groups.iter().collect::<Vec<_>>(),
        },
        "capabilities": process.capabilities.map(|sets| json!({
            "bounding": set(sets.bounding), "effective": set(sets.effective),
            "inheritable": set(sets.inheritable), "permitted": set(sets.permitted),
            "ambient": set(sets.ambient),
        })),
        "noNewPrivileges": process.no_new_privileges,
        "rlimits": process.rlimits.iter().map(|limit| {
            json!([format!("RLIMIT_{}", limit.name()), limit.soft, limit.hard])
        }).collect::<Vec<_>>(),
        "oomScoreAdj": process.oom_score_adj,
        "scheduler": process.scheduler.map(|it| json!({
            "policy": format!("SCHED_{}", it.name()), "flags": it.flags, "nice": it.nice,
            "priority": it.priority, "times": [it.runtime, it.deadline, it.period],
        })),
        "ioPriority": process.io_priority,
        "execCPUAffinity": process.exec_affinity.map(|list| list.map(|list| {
            (0..PROCESSORS_MAX).filter(|number| list.has(*number)).collect::<Vec<_>>()
        })),
        "personality": process.personality,
        "memoryPolicy": process.memory_policy.map(|policy| json!([
            policy.mode,
            policy.nodes.map(|list| (0..NODES_MAX).filter(|it| list.has(*it)).collect::<Vec<_>>()),
        ])),
    })
}

fn hook(hook: &Hook<'_>) -> Value {
    json!({
        "path": hook.path.chars().collect::<String>(),
        "args": texts(hook.args()),
        "env": texts(hook.env().into_iter().flatten()),
        "timeout": hook.timeout.map(|time| time.as_secs()),
    })
}

fn id_map(map: IdMap<'_>) -> Value {
    let ranges = map.ranges();
    ranges
        .map(|range| json!([range.inside, range.outside, range.count]))
        .collect()
}

fn mount(mount: &Mount<'_>) -> Value {
    let options = &mount.options;
    let flags = |flags: MountFlags| json!([flags.set, flags.clear]);
    let below = |recursive| recursive == Recursive::Yes;
    json!({
        "destination": mount.destination,
        "type": mount.fstype,
        "source": mount.source,
        "flags": flags(options.flags),
        "below": flags(options.below),
        "propagation": options.propagation.map(|(kind, recursive)| {
            json!([format!("{kind:?}").to_lowercase(), below(recursive)])
        }),
        "tmpcopyup": options.copy_up,
        "data": options.data,
        "ids": mount.ids.map(|ids| {
            let [users, groups] = ids.maps.map_or([Value::Null, Value::Null], |maps| maps.map(id_map));
            json!([users, groups, below(ids.recursive)])
        }),
    })
}

fn resources(config: &Config<'_>) -> Value {
    let mut lines = Vec::new();
    let seen = config.resources.each_setting(&mut |setting| {
        lines.push((setting.file.to_owned(), setting.line.to_owned()));
    });
    seen.unwrap();
    let mut rules = Vec::new();
    let seen = config.resources.each_device_rule(&mut |rule| {
        let kind = rule.kind.map(|kind| match kind {
            device_policy::Kind::Block => "b",
            device_policy::Kind::Character => "c",
        });
        let has = |bit| rule.access & bit != 0;
        let access = [
            device_policy::READ,
            device_policy::WRITE,
            device_policy::MKNOD,
        ]
        .map(has);
        rules.push(json!([rule.allow, kind, rule.major, rule.minor, access]));
    });
    seen.unwrap();
    json!({ "lines": in_order(lines), "devices": rules, "check": config.resources.limit_to_check() })
}

fn seccomp(config: &Config<'_>) -> Value {
    let Some(profile) = &config.seccomp else {
        return Value::Null;
    };
    let rules = profile.rules().map(|rule| {
        let comparisons = rule.comparisons().map(|it| {
            json!([
                it.index,
                format!("{:?}", it.operator),
                it.value,
                it.value_two
            ])
        });
        json!({
            "names": texts(rule.names()), "verdict": rule.verdict().0,
            "args": comparisons.collect::<Vec<_>>(),
        })
    });
    json!({
        "default": profile.default.0, "flags": profile.flags, "foreign": profile.has_foreign,
        "rules": rules.collect::<Vec<_>>(),
    })
}
