//! Configurations that berth takes: every field of the specification for Linux, with any value that
//! it may have.

use serde_json::{Value, json};

use crate::choices::{Choices, Member};

const NAMESPACES: [&str; 7] = ["pid", "network", "ipc", "uts", "cgroup", "user", "time"];

/// capabilities(7).
const CAPABILITIES: &str = "\
    AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH \
    FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN \
    NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT \
    SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM";

/// setrlimit(2).
const RLIMITS: &str = "\
    AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME SIGPENDING STACK";

/// set_mempolicy(2).
const POLICIES: &str = "DEFAULT PREFERRED BIND INTERLEAVE LOCAL PREFERRED_MANY WEIGHTED_INTERLEAVE";

const HOOKS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// Options that any mount may have; each of these also with an `r` before it.
const ATTRIBUTES: &str = "\
    ro rw nosuid suid nodev dev noexec exec noatime atime relatime norelatime strictatime nostrictatime nodiratime \
    diratime nosymfollow symfollow private shared";
const RECURSIVE: &str = "\
    rro rrw rnosuid rsuid rnodev rdev rnoexec rexec rnoatime ratime rrelatime rnorelatime rstrictatime \
    rnostrictatime rnodiratime rdiratime rnosymfollow rsymfollow rprivate rshared";
const OTHERS: &str = "\
    defaults slave rslave unbindable runbindable silent loud async nofail _netdev noauto x-a=b";
/// What only a filesystem of its own has.
const OF_FILESYSTEM: [&str; 14] = [
    "sync",
    "dirsync",
    "lazytime",
    "nolazytime",
    "mand",
    "nomand",
    "iversion",
    "noiversion",
    "size=64k",
    "mode=1777",
    "é=\"a,b\"",
    "uid=\\0",
    "nr_inodes=7",
    "",
];

const ACTIONS: &str = "\
    SCMP_ACT_ALLOW SCMP_ACT_KILL SCMP_ACT_KILL_PROCESS SCMP_ACT_KILL_THREAD SCMP_ACT_TRAP SCMP_ACT_LOG \
    SCMP_ACT_ERRNO SCMP_ACT_TRACE";

fn words(text: &'static str) -> Vec<&'static str> {
    text.split_whitespace().collect()
}

fn must<'m, 'b>(name: &'static str, make: &'m dyn Fn(&mut Choices<'b>) -> Value) -> Member<'m, 'b> {
    Member(name, true, make)
}

fn may<'m, 'b>(name: &'static str, make: &'m dyn Fn(&mut Choices<'b>) -> Value) -> Member<'m, 'b> {
    Member(name, false, make)
}

/// A whole configuration.
pub(crate) fn config<'b>(c: &mut Choices<'b>) -> Value {
    let kinds = c.some(&NAMESPACES);
    let has = |kind| kinds.contains(&kind);
    let mut namespaces = vec![json!({ "type": "mount" })];
    let mut is_new = Vec::new();
    for kind in &kinds {
        namespaces.push(match c.flag() {
            true => json!({ "type": kind, "path": c.path() }),
            false => {
                is_new.push(*kind);
                json!({ "type": kind })
            }
        });
    }
    namespaces.rotate_left(1);
    let mut config = c.object(&[
        must("ociVersion", &|c| {
            json!(c.of(&["1.0.2", "1.2.1", "1.0.2-dev"]))
        }),
        must("process", &process),
        must("root", &|c| {
            c.object(&[must("path", &|c| json!(c.word())), may("readonly", &flag)])
        }),
        may("mounts", &|c| c.list(0, 4, |c| mount(c, has("user")))),
        may("hooks", &|c| {
            let members = HOOKS.map(|kind| may(kind, &|c| c.list(0, 2, hook)));
            c.object(&members)
        }),
        may("annotations", &|c| map(c, &|c| (c.word(), json!(c.text())))),
        must("linux", &|c| linux(c, &is_new, &has)),
    ]);
    config["linux"]["namespaces"] = json!(namespaces);
    for name in ["hostname", "domainname"] {
        if has("uts") && c.flag() {
            config[name] = json!(c.word());
        }
    }
    let name = config["domainname"].clone();
    if let Some(parameter) = config.pointer_mut("/linux/sysctl/kernel.domainname")
        && !name.is_null()
    {
        *parameter = name;
    }
    config
}

fn flag(c: &mut Choices<'_>) -> Value {
    json!(c.flag())
}

fn map<'b>(c: &mut Choices<'b>, make: &dyn Fn(&mut Choices<'b>) -> (String, Value)) -> Value {
    let count = c.below(4);
    (0..count).map(|_| make(c)).collect()
}

/// An id that is one: the last is nobody's.
fn id(c: &mut Choices<'_>) -> Value {
    c.number(0, i128::from(u32::MAX) - 1)
}

fn process(c: &mut Choices<'_>) -> Value {
    c.object(&[
        must("args", &|c| {
            let mut args = c.list(1, 4, |c| json!(c.text()));
            args[0] = json!(c.word());
            args
        }),
        must("cwd", &|c| json!(c.path())),
        must("user", &|c| {
            c.object(&[
                must("uid", &id),
                must("gid", &id),
                may("umask", &|c| c.number(0, 0o777)),
                may("additionalGids", &|c| c.list(0, 4, id)),
                may("username", &|c| json!(c.word())),
            ])
        }),
        may("env", &|c| {
            c.list(0, 3, |c| json!(format!("x{}={}", c.text(), c.text())))
        }),
        may("terminal", &flag),
        may("consoleSize", &|c| {
            let size = |c: &mut Choices<'_>| c.number(0, u16::MAX.into());
            c.object(&[must("height", &size), must("width", &size)])
        }),
        may("noNewPrivileges", &flag),
        may("capabilities", &|c| {
            let set = |c: &mut Choices<'_>| {
                let names = c.some(&words(CAPABILITIES));
                names
                    .iter()
                    .map(|name| json!(format!("CAP_{name}")))
                    .collect()
            };
            let sets = [
                "bounding",
                "effective",
                "inheritable",
                "permitted",
                "ambient",
            ];
            c.object(&sets.map(|name| may(name, &set)))
        }),
        may("rlimits", &|c| {
            let limits = c.some(&words(RLIMITS));
            let limit = |name: &&str| {
                let soft = c.number(0, u64::MAX.into());
                let hard = c.number(soft.as_u64().unwrap_or_default().into(), u64::MAX.into());
                json!({ "type": format!("RLIMIT_{name}"), "soft": soft, "hard": hard })
            };
            limits.iter().map(limit).collect()
        }),
        may("oomScoreAdj", &|c| c.number(-1000, 1000)),
        may("scheduler", &|c| {
            let time = |c: &mut Choices<'_>| c.number(0, u64::MAX.into());
            let policies = "OTHER FIFO RR BATCH ISO IDLE DEADLINE";
            let flags = [
                "SCHED_FLAG_RECLAIM",
                "SCHED_FLAG_KEEP_POLICY",
                "SCHED_FLAG_KEEP_PARAMS",
            ];
            c.object(&[
                must("policy", &|c| {
                    json!(format!("SCHED_{}", c.of(&words(policies))))
                }),
                may("nice", &|c| c.number(-20, 19)),
                may("priority", &|c| c.number(0, 99)),
                may("flags", &|c| json!(c.some(&flags))),
                may("runtime", &time),
                may("deadline", &time),
                may("period", &time),
            ])
        }),
        may("ioPriority", &|c| {
            let classes = ["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];
            c.object(&[
                must("class", &|c| json!(c.of(&classes))),
                must("priority", &|c| c.number(0, 7)),
            ])
        }),
        may("execCPUAffinity", &|c| {
            let lists = ["0-3", "7,0-2", "5", "1000-1023"];
            c.object(&[
                may("initial", &|c| json!(c.of(&lists))),
                may("final", &|c| json!(c.of(&lists))),
            ])
        }),
    ])
}

fn hook(c: &mut Choices<'_>) -> Value {
    c.object(&[
        must("path", &|c| json!(c.path())),
        may("args", &|c| c.list(0, 3, |c| json!(c.text()))),
        may("env", &|c| {
            c.list(0, 2, |c| json!(format!("x{}={}", c.text(), c.text())))
        }),
        may("timeout", &|c| c.number(1, u32::MAX.into())),
    ])
}

fn mount(c: &mut Choices<'_>, has_users: bool) -> Value {
    let mut options = Vec::new();
    for _ in 0..c.below(6) {
        let kind = c.of(&[ATTRIBUTES, RECURSIVE, OTHERS, "norelatime=recursive"]);
        options.push(c.of(&words(kind)));
    }
    let destination = match c.flag() {
        true => c.path(),
        false => c.word(),
    };
    let mut mount = json!({ "destination": destination });
    let kind = c.below(4);
    match kind {
        0 | 1 => {
            options.extend(c.some(&OF_FILESYSTEM));
            mount["type"] = json!(c.of(&["tmpfs", "vfat", "proc"]));
            if c.flag() {
                mount["source"] = json!(c.word());
            }
            if mount["type"] == "tmpfs" && c.flag() {
                options.push("tmpcopyup");
            }
        }
        2 => {
            options.extend(c.some(&OF_FILESYSTEM));
            options.push(c.of(&["bind", "rbind"]));
            options.extend(c.some(&["bind", "rbind", "nocopy"]));
            mount["source"] = json!(c.path());
            if c.flag() {
                mount["type"] = json!("none");
            }
        }
        _ => options.extend(["remount", c.of(&["defaults", "iversion"])]),
    }
    if kind < 3 && c.flag() {
        options.extend(c.some(&["idmap", "ridmap"]));
        // Without maps, the words mean those of the container.
        if !has_users || c.flag() {
            mount["uidMappings"] = id_map(c);
            mount["gidMappings"] = id_map(c);
        }
    }
    let by = c.below(options.len().max(1));
    options.rotate_left(by);
    if c.flag() || !options.is_empty() {
        mount["options"] = json!(options);
    }
    mount
}

/// Ranges that are apart from each other, one behind the other.
fn id_map(c: &mut Choices<'_>) -> Value {
    let count = 1 + c.below(3) as u64;
    let range = |index: u64| {
        let first = index * 1_000_000_000;
        let mut inside = |end: u64| c.number(first.into(), (first + end).into());
        json!({
            "containerID": inside(500_000_000), "hostID": inside(500_000_000),
            "size": c.number(1, 400_000_000),
        })
    };
    (0..count).map(range).collect()
}

fn linux<'b>(c: &mut Choices<'b>, is_new: &[&str], has: &dyn Fn(&'static str) -> bool) -> Value {
    let paths = |c: &mut Choices<'_>| c.list(0, 3, |c| json!(c.path()));
    let mut linux = c.object(&[
        may("rootfsPropagation", &|c| {
            json!(c.of(&["slave", "private", "rshared", "runbindable", ""]))
        }),
        may("maskedPaths", &paths),
        may("readonlyPaths", &paths),
        may("devices", &|c| c.list(0, 3, device)),
        may("sysctl", &|c| sysctl(c, has)),
        may("cgroupsPath", &|c| match (c.flag(), c.flag()) {
            (true, _) => json!(c.path()),
            (false, true) => json!(format!("x{}", c.path())),
            (false, false) => json!(format!("{}:x:y-1", c.of(&["", "a-b.slice"]))),
        }),
        may("resources", &resources),
        may("seccomp", &seccomp),
        may(
            "personality",
            &|c| json!({ "domain": c.of(&["LINUX", "LINUX32"]) }),
        ),
        may("intelRdt", &|c| {
            c.object(&[
                may("closID", &|c| json!(c.of(&["gold", "/", "é", ""]))),
                may("l3CacheSchema", &|c| {
                    json!(c.of(&["L3:0=7f0;1=1f", "", "L3:0=f\nMB:0=7"]))
                }),
                may("memBwSchema", &|c| json!(c.of(&["MB:0=20", ""]))),
                may("schemata", &|c| {
                    c.list(0, 2, |c| json!(c.of(&["L2:0=f", "x\ny", ""])))
                }),
                may("enableMonitoring", &|c| json!(c.flag())),
            ])
        }),
        may("memoryPolicy", &|c| {
            c.object(&[
                must("mode", &|c| {
                    json!(format!("MPOL_{}", c.of(&words(POLICIES))))
                }),
                must("nodes", &|c| json!(c.of(&["0", "0-3,7", "2, 1023"]))),
                may("flags", &|c| {
                    c.list(0, 2, |c| {
                        let flags = ["NUMA_BALANCING", "RELATIVE_NODES", "STATIC_NODES"];
                        json!(format!("MPOL_F_{}", c.of(&flags)))
                    })
                }),
            ])
        }),
    ]);
    if has("network") && c.flag() {
        let device =
            |c: &mut Choices<'_>| c.object(&[may("name", &|c| json!(c.of(&["é", "x%d", ""])))]);
        linux["netDevices"] = c.object(&[may("eth0", &device), may("x\"\\", &device)]);
    }
    if is_new.contains(&"user") || has("user") && c.flag() {
        linux["uidMappings"] = id_map(c);
        linux["gidMappings"] = id_map(c);
    }
    if is_new.contains(&"time") && c.flag() {
        let offset = |c: &mut Choices<'_>| {
            c.object(&[
                may("secs", &|c| c.number(i64::MIN.into(), i64::MAX.into())),
                may("nanosecs", &|c| c.number(0, 999_999_999)),
            ])
        };
        linux["timeOffsets"] = c.object(&[may("monotonic", &offset), may("boottime", &offset)]);
    }
    linux
}

fn device(c: &mut Choices<'_>) -> Value {
    let kind = c.of(&["c", "b", "u", "p"]);
    let mut device = c.object(&[
        must("path", &|c| json!(c.path())),
        may("fileMode", &|c| c.number(0, 0o7777)),
        may("uid", &id),
        may("gid", &id),
    ]);
    device["type"] = json!(kind);
    if kind != "p" {
        device["major"] = c.number(0, 0xfff);
        device["minor"] = c.number(0, 0xf_ffff);
    }
    device
}

fn sysctl(c: &mut Choices<'_>, has: &dyn Fn(&'static str) -> bool) -> Value {
    let keys = [
        (
            "network",
            &[
                "net.ipv4.ip_forward",
                "net/ipv4/conf/eth0.1/mtu",
                "net.ipv4.conf.eth1/1.mtu",
            ][..],
        ),
        ("ipc", &["kernel.shmmax", "kernel/sem", "fs.mqueue.msg_max"]),
        ("uts", &["kernel.domainname"]),
    ];
    let possible: Vec<_> = keys.iter().filter(|(kind, _)| has(kind)).collect();
    let keys: Vec<&str> = possible.iter().flat_map(|(_, keys)| c.some(keys)).collect();
    keys.iter()
        .map(|key| ((*key).to_owned(), json!(c.text())))
        .collect()
}

fn resources(c: &mut Choices<'_>) -> Value {
    let most = i128::from(i64::MAX);
    let whole = i128::from(u64::MAX);
    c.object(&[
        may("devices", &|c| c.list(0, 3, device_rule)),
        may("memory", &memory),
        may("cpu", &|c| {
            let numbers = |c: &mut Choices<'_>| json!(c.of(&["0-3,7", "0", ""]));
            c.object(&[
                may("shares", &|c| c.number(0, whole)),
                may("quota", &|c| c.number(-most, most)),
                may("period", &|c| c.number(0, whole)),
                may("burst", &|c| c.number(0, whole)),
                may("idle", &|c| c.number(0, 1)),
                may("cpus", &numbers),
                may("mems", &numbers),
            ])
        }),
        may("pids", &|c| json!({ "limit": c.number(-1, most) })),
        may("blockIO", &|c| {
            let weight = |c: &mut Choices<'_>| c.number(10, 1000);
            let numbers = |c: &mut Choices<'_>| {
                json!({ "major": c.number(0, 0xfff), "minor": c.number(0, 0xf_ffff) })
            };
            let throttle = |c: &mut Choices<'_>| {
                c.list(0, 2, |c| {
                    let mut device = numbers(c);
                    device["rate"] = c.number(0, whole);
                    device
                })
            };
            c.object(&[
                may("weight", &weight),
                may("weightDevice", &|c| {
                    c.list(0, 2, |c| {
                        let mut device = numbers(c);
                        if c.flag() {
                            device["weight"] = weight(c);
                        }
                        device
                    })
                }),
                may("throttleReadBpsDevice", &throttle),
                may("throttleWriteBpsDevice", &throttle),
                may("throttleReadIOPSDevice", &throttle),
                may("throttleWriteIOPSDevice", &throttle),
            ])
        }),
        may("hugepageLimits", &|c| {
            c.list(0, 2, |c| {
                json!({ "pageSize": c.of(&["64KB", "2MB", "1GB"]), "limit": c.number(0, most) })
            })
        }),
        may("rdma", &|c| {
            let number = |c: &mut Choices<'_>| c.number(0, u32::MAX.into());
            let limits = |c: &mut Choices<'_>| {
                c.object(&[may("hcaHandles", &number), may("hcaObjects", &number)])
            };
            map(c, &|c| (c.of(&["mlx5_1", "mlx5_2"]).to_owned(), limits(c)))
        }),
        may("unified", &|c| {
            let lines = ["1", "a b\nc d\n", "max\n\n", ""];
            map(c, &|c| {
                let file = c.of(&["memory.high", "cgroup.max.depth", "io.latency"]);
                (file.to_owned(), json!(c.of(&lines)))
            })
        }),
    ])
}

fn memory(c: &mut Choices<'_>) -> Value {
    let most = i128::from(i64::MAX);
    let mut memory = c.object(&[
        may("limit", &|c| c.number(-1, most)),
        may("reservation", &|c| c.number(-1, most)),
        may("kernel", &|c| c.number(0, most)),
        may("kernelTCP", &|c| c.number(0, most)),
        may("disableOOMKiller", &|_| json!(false)),
        may("useHierarchy", &flag),
        may("checkBeforeUpdate", &flag),
    ]);
    let limit = memory["limit"].as_i64().unwrap_or(0);
    match c.below(4) {
        0 => {}
        1 => memory["swap"] = json!(-1),
        2 => memory["swap"] = json!(0),
        _ if limit > 0 => memory["swap"] = c.number(limit.into(), most),
        _ => {}
    }
    memory
}

fn device_rule(c: &mut Choices<'_>) -> Value {
    c.object(&[
        must("allow", &flag),
        must("access", &|c| {
            json!(c.of(&["rwm", "r", "w", "m", "mr", "ww"]))
        }),
        may("type", &|c| json!(c.of(&["a", "b", "c"]))),
        may("major", &|c| c.number(-1, 0xfff)),
        may("minor", &|c| c.number(-1, 0xf_ffff)),
    ])
}

/// An action, and the number that goes with it where one does.
fn outcome(c: &mut Choices<'_>, action: &str, data: &str, object: &mut Value) {
    let word = c.of(&words(ACTIONS));
    object[action] = json!(word);
    let largest = match word {
        "SCMP_ACT_ERRNO" => 4095,
        "SCMP_ACT_TRACE" => 65535,
        _ => return,
    };
    if c.flag() {
        object[data] = c.number(0, largest);
    }
}

fn seccomp(c: &mut Choices<'_>) -> Value {
    let whole = i128::from(u64::MAX);
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let architectures = [
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_NATIVE",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_ARM",
    ];
    let flags = [
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    ];
    let mut profile = c.object(&[
        may("architectures", &|c| json!(c.some(&architectures))),
        may("flags", &|c| json!(c.some(&flags))),
        may("syscalls", &|c| {
            c.list(0, 3, |c| {
                let mut rule = c.object(&[
                    must("names", &|c| c.list(1, 3, |c| json!(c.word()))),
                    may("args", &|c| {
                        c.list(0, 2, |c| {
                            c.object(&[
                                must("index", &|c| c.number(0, 5)),
                                must("value", &|c| c.number(0, whole)),
                                may("valueTwo", &|c| c.number(0, whole)),
                                must("op", &|c| json!(format!("SCMP_CMP_{}", c.of(&operators)))),
                            ])
                        })
                    }),
                ]);
                outcome(c, "action", "errnoRet", &mut rule);
                rule
            })
        }),
    ]);
    outcome(c, "defaultAction", "defaultErrnoRet", &mut profile);
    profile
}
