//! What berth and the crate differ in on purpose.

/// A pointer (RFC 6901) into [`MINIMAL`], the value that is put there or nothing if it is taken
/// away, and why berth refuses that.
type Refused = (&'static str, &'static str, &'static str);

/// What the crate takes and berth refuses: what the specification forbids and the crate does not
/// look at, what has no meaning on this system, what berth cannot do.
pub(crate) const REFUSED: &[Refused] = &[
    (
        "/ociVersion",
        r#""2.0.0""#,
        r#"ociVersion is "2.0.0"; it takes 1.x"#,
    ),
    ("/root", "", "root.path is missing or empty"),
    ("/process", "", "process.args is missing or empty"),
    ("/process/args", "", "process.args is missing or empty"),
    ("/process/args", "[]", "process.args is missing or empty"),
    (
        "/process/args",
        r#"[""]"#,
        r#"process.args is ""; it takes a program first"#,
    ),
    (
        "/process/args",
        r#"["a\u0000b"]"#,
        "process.args[0] holds NUL or a control character",
    ),
    (
        "/process/cwd",
        r#""relative""#,
        r#"process.cwd is "relative"; it takes an absolute path"#,
    ),
    (
        "/process/env",
        r#"["novalue"]"#,
        r#"process.env[0] is "novalue"; it takes NAME=value"#,
    ),
    (
        "/process/user/uid",
        "4294967295",
        r#"process.user.uid is "4294967295"; it takes 0 to 4294967294"#,
    ),
    (
        "/process/user/umask",
        "512",
        r#"process.user.umask is "512"; it takes 0 to 511, which is octal 777"#,
    ),
    (
        "/process/consoleSize",
        r#"{ "height": 65536, "width": 1 }"#,
        "process.consoleSize is not height and width, each from 0 to 65535",
    ),
    (
        "/process/rlimits",
        r#"[{ "type": "RLIMIT_CPU", "soft": 2, "hard": 1 }]"#,
        "process.rlimits[0].soft needs a hard limit that is not below it",
    ),
    (
        "/process/rlimits",
        r#"[{ "type": "RLIMIT_CPU", "soft": 1, "hard": 1 }, { "type": "RLIMIT_CPU", "soft": 2, "hard": 2 }]"#,
        "process.rlimits[1].type needs to differ from those before it",
    ),
    (
        "/process/oomScoreAdj",
        "1001",
        r#"process.oomScoreAdj is "1001"; it takes -1000 to 1000"#,
    ),
    (
        "/process/ioPriority",
        r#"{ "class": "IOPRIO_CLASS_BE", "priority": 8 }"#,
        r#"process.ioPriority.priority is "8"; it takes 0 to 7"#,
    ),
    (
        "/process/scheduler",
        r#"{ "policy": "SCHED_OTHER", "nice": 20 }"#,
        r#"process.scheduler.nice is "20"; it takes -20 to 19"#,
    ),
    (
        "/process/scheduler",
        r#"{ "policy": "SCHED_OTHER", "flags": ["SCHED_RESET_ON_FORK"] }"#,
        r#"process.scheduler.flags[0] is "SCHED_RESET_ON_FORK"; it takes the SCHED_FLAG_ of sched_setattr(2)"#,
    ),
    (
        "/process/scheduler",
        r#"{ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"] }"#,
        r#"process.scheduler.flags[0]: "SCHED_FLAG_UTIL_CLAMP_MIN" is not supported yet"#,
    ),
    (
        "/hostname",
        r#""x""#,
        "hostname needs a namespace of type uts in linux.namespaces",
    ),
    (
        "/hooks",
        r#"{ "prestart": [{ "path": "relative" }] }"#,
        "hooks.prestart[0] is not a program with an absolute path",
    ),
    (
        "/hooks",
        r#"{ "prestart": [{ "path": "/x", "timeout": 0 }] }"#,
        "hooks.prestart[0] is not a program with a timeout of whole seconds, at least 1",
    ),
    (
        "/mounts",
        r#"[{ "destination": "/x" }]"#,
        "mounts[0].type is missing or empty",
    ),
    (
        "/mounts",
        r#"[{ "destination": "/x", "type": "tmpfs", "options": ["idmap"] }]"#,
        "mounts[0] needs both uidMappings and gidMappings for idmap",
    ),
    (
        "/annotations",
        r#"{ "berth.unknown": "x" }"#,
        "there is no annotation berth.unknown",
    ),
    (
        "/linux/namespaces",
        "[]",
        "linux.namespaces needs the type mount without a path, unless berth.root-switch is chroot",
    ),
    (
        "/linux/namespaces",
        r#"[{ "type": "mount" }, { "type": "mount" }]"#,
        r#"linux.namespaces[1].type is "mount"; it takes each type once"#,
    ),
    (
        "/linux/namespaces",
        r#"[{ "type": "mount" }, { "type": "user" }]"#,
        "linux.uidMappings needs at least one range, for the namespace of type user",
    ),
    (
        "/linux/namespaces",
        r#"[{ "type": "mount" }, { "type": "pid", "path": "relative" }]"#,
        r#"linux.namespaces[1].path is "relative"; it takes an absolute path"#,
    ),
    (
        "/linux/uidMappings",
        r#"[{ "containerID": 0, "hostID": 0, "size": 1 }]"#,
        "linux.uidMappings needs a namespace of type user in linux.namespaces",
    ),
    (
        "/linux/timeOffsets",
        r#"{ "boottime": { "secs": 1 } }"#,
        "linux.timeOffsets needs a new namespace of type time in linux.namespaces",
    ),
    (
        "/linux/maskedPaths",
        r#"["/a/.."]"#,
        r#"linux.maskedPaths[0] is "/a/.."; it takes a path below /, of at most 4095 bytes"#,
    ),
    (
        "/linux/devices",
        r#"[{ "type": "c", "path": "/dev/x", "major": 4096, "minor": 0 }]"#,
        "linux.devices[0].major is not a number, or too large",
    ),
    (
        "/linux/devices",
        r#"[{ "type": "a", "path": "/dev/x", "major": 1, "minor": 1 }]"#,
        r#"linux.devices[0].type is "a"; it takes c, b, u or p"#,
    ),
    (
        "/linux/sysctl",
        r#"{ "kernel.panic": "1" }"#,
        r#"linux.sysctl: "kernel.panic" is of the whole machine, not of a namespace"#,
    ),
    (
        "/linux/cgroupsPath",
        r#""slice:x:y""#,
        r#"linux.cgroupsPath is "slice:x:y"; it takes a path, or slice:prefix:name with a slice of systemd, as machine.slice:prefix:name"#,
    ),
    (
        "/linux/resources/memory",
        r#"{ "swappiness": 0 }"#,
        "linux.resources.memory.swappiness: control groups of version 2 have nothing like it",
    ),
    (
        "/linux/resources/memory",
        r#"{ "disableOOMKiller": true }"#,
        "linux.resources.memory.disableOOMKiller: control groups of version 2 have nothing like it",
    ),
    (
        "/linux/resources/memory",
        r#"{ "limit": 2, "swap": 1 }"#,
        "linux.resources.memory.swap: it holds memory and swap together, and is less than memory.limit",
    ),
    (
        "/linux/resources/cpu",
        r#"{ "realtimeRuntime": 1 }"#,
        "linux.resources.cpu.realtimeRuntime: control groups of version 2 have nothing like it",
    ),
    (
        "/linux/resources/network",
        r#"{ "classID": 1 }"#,
        "linux.resources.network.classID: control groups of version 2 have nothing like it",
    ),
    (
        "/linux/resources/blockIO",
        r#"{ "leafWeight": 10 }"#,
        "linux.resources.blockIO.leafWeight: control groups of version 2 have nothing like it",
    ),
    (
        "/linux/resources/devices",
        r#"[{ "allow": true }]"#,
        "linux.resources.devices[0].access is missing or empty",
    ),
    (
        "/linux/resources/unified",
        r#"{ "cgroup.procs": "1" }"#,
        "linux.resources.unified[0]: its key is no file of a controller, as memory.high",
    ),
    (
        "/linux/seccomp/defaultErrnoRet",
        "1",
        "linux.seccomp.defaultErrnoRet needs SCMP_ACT_ERRNO or SCMP_ACT_TRACE as its action",
    ),
    (
        "/linux/seccomp/defaultAction",
        r#""SCMP_ACT_NOTIFY""#,
        "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY here would have the agent asked about the calls by which it is told",
    ),
    (
        "/linux/seccomp/listenerMetadata",
        r#""x""#,
        "linux.seccomp.listenerMetadata needs linux.seccomp.listenerPath",
    ),
    (
        "/linux/seccomp/syscalls",
        r#"[{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }]"#,
        "linux.seccomp.syscalls[0].action needs linux.seccomp.listenerPath",
    ),
    (
        "/linux/seccomp/syscalls",
        r#"[{ "names": [], "action": "SCMP_ACT_LOG" }]"#,
        "linux.seccomp.syscalls[0].names[] is missing or empty",
    ),
    (
        "/linux/personality",
        r#"{ "domain": "LINUX", "flags": ["x"] }"#,
        "linux.personality.flags is not supported yet",
    ),
    (
        "/linux/memoryPolicy",
        r#"{ "mode": "MPOL_BIND", "nodes": "1024" }"#,
        r#"linux.memoryPolicy.nodes is "1024"; it takes numbers of memory nodes up to 1023, as 0-3,7"#,
    ),
    (
        "/linux/netDevices",
        r#"{ "eth0": {} }"#,
        "linux.netDevices needs a namespace of type network in linux.namespaces",
    ),
    (
        "/linux/intelRdt",
        r#"{ "closID": "a/b" }"#,
        r#"linux.intelRdt.closID is "a/b"; it takes a name without /, or / alone"#,
    ),
    (
        "/vm",
        r#"{ "kernel": { "path": "/x" } }"#,
        "vm is not supported yet",
    ),
];

/// What berth takes and the crate refuses: the crate is stricter than the specification, or older,
/// or spells a word otherwise.
pub(crate) const TAKEN: &[(&str, &str)] = &[
    ("/process/user", ""),
    (
        "/process/capabilities",
        r#"{ "bounding": ["CAP_OF_A_NEWER_KERNEL"] }"#,
    ),
    (
        "/process/scheduler",
        r#"{ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"] }"#,
    ),
    (
        "/process/scheduler",
        r#"{ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_DL_OVERRUN"] }"#,
    ),
    ("/annotations", r#"{ "x": null }"#),
    ("/annotations", r#"{ "x": 1 }"#),
    (
        "/linux/resources/hugepageLimits",
        r#"[{ "pageSize": "2MB", "limit": 18446744073709551615 }]"#,
    ),
    (
        "/linux/seccomp/architectures",
        r#"["SCMP_ARCH_OF_ANOTHER_DAY"]"#,
    ),
];

/// Configurations of other tools that are refused. crun makes up a map of users where it is given
/// none, from who calls it.
pub(crate) const REFUSED_OF_OTHER_TOOLS: [(&str, &str); 1] = [(
    "crun-spec-rootless",
    "linux.uidMappings needs at least one range, for the namespace of type user",
)];

/// The least that both take.
pub(crate) const MINIMAL: &str = r#"{
    "ociVersion": "1.2.1",
    "process": { "args": ["sh"], "cwd": "/", "user": { "uid": 0, "gid": 0 } },
    "root": { "path": "rootfs" },
    "linux": {
        "namespaces": [{ "type": "mount" }], "resources": {},
        "seccomp": { "defaultAction": "SCMP_ACT_ALLOW" }
    }
}"#;
