//! The demo's configuration, and everything that may be wrong with one.

use linux_raw_sys::general as linux;

use super::rlimits::Rlimit;
use super::scheduling::Scheduler;
use super::strings::Strings;
use super::user::MAX_GROUPS;
use super::*;
use crate::parse::json::Unescaped;
use heapless::Vec;

const MINIMAL: &str = r#"{
    "ociVersion": "1.0.2",
    "process": {"args": ["/bin/true"], "cwd": "/"},
    "root": {"path": "rootfs"},
    "linux": {"namespaces": [{"type": "mount"}]}
}"#;

/// Reads a configuration and hands the result out; the buffers end here.
fn with<T>(file: &[u8], use_result: impl FnOnce(Result<Config<'_>, ConfigError<'_>>) -> T) -> T {
    let mut scratch = vec![0; file.len()];
    use_result(Config::parse(
        file,
        &mut scratch,
        &mut [const { MountPlace::uninit() }; MOUNT_PLACES],
    ))
}

fn refusal(file: impl AsRef<[u8]>) -> String {
    with(file.as_ref(), |result| result.unwrap_err().to_string())
}

/// What is called with paths is called with.
fn paths(
    each: impl FnOnce(&mut dyn FnMut(&str) -> Result<(), ()>) -> Result<(), ()>,
) -> std::vec::Vec<String> {
    let mut paths = vec![];
    each(&mut |path| {
        paths.push(path.to_owned());
        Ok(())
    })
    .unwrap();
    paths
}

fn plain(strings: Strings<'_>) -> std::vec::Vec<String> {
    let texts = strings.iter().map(|text| Unescaped(text).to_string());
    texts.collect()
}

/// [`MINIMAL`] with a part replaced.
fn changed(from: &str, to: &str) -> String {
    assert!(MINIMAL.contains(from), "{from}");
    MINIMAL.replacen(from, to, 1)
}

/// [`MINIMAL`] with more members in an object: `linux`, `process`, `root` or, for "", the whole.
fn extended(object: &str, members: &str) -> String {
    let open = match object {
        "" => "{".to_string(),
        name => format!("\"{name}\": {{"),
    };
    changed(&open, &format!("{open}{members}, "))
}

#[test]
fn a_whole_configuration_is_read() {
    let file = br#"{
        "ociVersion": "1.2.0",
        "process": {
            "terminal": true,
            "user": {"uid": 1000, "gid": 100, "additionalGids": [5, 4294967294], "umask": 63},
            "args": ["/bin/sh", "-c", "echo \"a\u003cb\"\n\ttrue"],
            "env": ["PATH=/bin", "EMPTY="],
            "cwd": "/tmp",
            "noNewPrivileges": true,
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 1024},
                        {"type": "RLIMIT_CPU", "hard": 9, "soft": 9}],
            "oomScoreAdj": -7,
            "scheduler": {"policy": "SCHED_DEADLINE", "nice": -20, "priority": 0, "runtime": 1, "deadline": 2,
                          "period": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 7}
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "web",
        "domainname": "example.org",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
            {"destination": "/data", "type": "none", "source": "/srv/data", "options": ["rbind", "ro"]},
            {"destination": "run", "type": "tmpfs", "options": ["size=64k", "mode=755"]}
        ],
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "pid", "path": ""}, {"type": "uts"}],
            "rootfsPropagation": "shared",
            "resources": {"devices": []},
            "personality": {"domain": "LINUX32", "flags": []},
            "maskedPaths": null,
            "cgroupsPath": "/web"
        },
        "annotations": {"org.example.note": "x", "berth.console": "true", "berth.restart": "no",
                        "berth.on-exit": "shutdown", "berth.log-size": "1M",
                        "berth.root-switch": "move", "berth.stop-timeout": "3"},
        "unknown": [{"a": [1, 2, {"b": null}]}]
    }"#;
    with(file, |result| {
        let config = result.unwrap();
        assert_eq!(config.oci_version, "1.2.0");
        let process = &config.process;
        assert_eq!(
            plain(process.args),
            ["/bin/sh", "-c", "echo \"a<b\"\n\ttrue"]
        );
        assert_eq!(plain(process.env), ["PATH=/bin", "EMPTY="]);
        assert_eq!((process.cwd, process.terminal), ("/tmp", true));
        let user = process.user;
        assert_eq!((user.uid, user.gid, user.umask), (1000, 100, 0o77));
        assert_eq!(
            user.groups.iter().collect::<Vec<_, 2>>(),
            [5, 4_294_967_294]
        );
        assert!(process.no_new_privileges);
        let limit = |resource, soft, hard| Rlimit {
            resource,
            soft,
            hard,
        };
        assert_eq!(
            process.rlimits,
            [
                limit(linux::RLIMIT_NOFILE, 1024, u64::MAX),
                limit(linux::RLIMIT_CPU, 9, 9)
            ]
        );
        assert_eq!(process.oom_score_adj, Some(-7));
        let scheduler = Scheduler {
            policy: linux::SCHED_DEADLINE,
            flags: (linux::SCHED_FLAG_RESET_ON_FORK | linux::SCHED_FLAG_DL_OVERRUN).into(),
            nice: -20,
            priority: 0,
            runtime: 1,
            deadline: 2,
            period: 3,
        };
        assert_eq!(process.scheduler, Some(scheduler));
        assert_eq!(process.io_priority, Some(2 << 13 | 7));
        assert_eq!(process.personality, Some(8));
        assert_eq!(config.domainname, Some("example.org"));
        assert_eq!((config.root_path, config.root_readonly), ("rootfs", true));
        assert_eq!(config.hostname, Some("web"));
        let mounts: std::vec::Vec<_> = config.mounts.iter().collect();
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[0].fstype, Some("proc"));
        assert!(mounts[1].options.is_bind());
        assert_eq!(mounts[1].source, Some("/srv/data"));
        assert_eq!(mounts[2].destination, "run");
        assert_eq!(mounts[2].source, None);
        assert_eq!(mounts[2].options.data, "size=64k,mode=755");
        let new = Kind::ALL
            .into_iter()
            .filter(|kind| config.namespaces.is_new(*kind));
        assert!(new.eq([Kind::Mount, Kind::Pid, Kind::Uts]));
        assert_eq!(config.namespaces.joined().count(), 0);
        let annotations = config.all_annotations.unwrap();
        assert!(annotations.starts_with(r#"{"org.example.note": "x", "berth.console""#));
        assert!(annotations.ends_with(r#""berth.stop-timeout": "3"}"#));
        assert_eq!(config.rootfs_propagation, Some(Propagation::Shared));
        let annotations = Annotations {
            root_switch: RootSwitch::Move,
            console: true,
            on_exit: OnExit::Shutdown,
            log_size: 1 << 20,
            stop_timeout: Some(core::time::Duration::from_secs(3)),
            ..Annotations::default()
        };
        assert_eq!(config.annotations, annotations);
        assert_eq!(config.warnings, [] as [&str; 0]);
        let (names, is_absolute) = ("web", true);
        let group = CgroupsPath::Path { names, is_absolute };
        assert_eq!(config.cgroups_path, Some(group));
    });
}

#[test]
fn the_least_configuration_has_the_documented_defaults() {
    with(MINIMAL.as_bytes(), |result| {
        let config = result.unwrap();
        let process = &config.process;
        assert_eq!(process.env.iter().count(), 0);
        let user = process.user;
        assert_eq!((user.uid, user.gid, user.umask), (0, 0, 0o22));
        assert_eq!(user.groups.iter().count(), 0);
        let sets = process.capabilities.unwrap();
        assert_eq!((sets.bounding, sets.ambient), Default::default());
        assert!(!process.no_new_privileges);
        assert!(process.rlimits.is_empty() && process.scheduler.is_none());
        assert_eq!(process.oom_score_adj, None);
        assert_eq!((process.io_priority, process.personality), (None, None));
        assert!(!config.root_readonly && !config.process.terminal);
        assert_eq!((config.hostname, config.domainname), (None, None));
        assert_eq!(config.rootfs_propagation, None);
        assert_eq!(config.annotations, Annotations::default());
        assert!(config.mounts.iter().next().is_none() && config.warnings.is_empty());
    });
}

#[test]
fn what_is_no_configuration_at_all_is_refused_in_one_line() {
    let large = " ".repeat(MAX_SIZE + 1);
    assert_eq!(
        refusal(large),
        "config.json is 2097153 bytes; the limit is 2097152"
    );
    let cut = &MINIMAL[..100];
    assert_eq!(
        refusal(cut),
        "line 4 column 20: the file ends in the middle of a value"
    );
    assert_eq!(
        refusal(r#"{"a":"#.repeat(10_000)),
        "line 1 column 161: nested deeper than 32"
    );
    assert_eq!(
        refusal(b"{\"a\": \"\xc3\x28\"}"),
        "line 1 column 8: not UTF-8"
    );
    assert_eq!(refusal("[]"), "config.json is not an object");
    let twice = changed(r#""cwd": "/""#, r#""cwd": "/", "\u0061rgs": []"#);
    assert_eq!(
        refusal(twice),
        r#"line 3 column 52: the key "\u0061rgs" comes twice"#
    );
}

#[test]
fn a_missing_field_is_named() {
    let without = |part| refusal(changed(part, ""));
    assert_eq!(
        without(r#""ociVersion": "1.0.2","#),
        "ociVersion is missing or empty"
    );
    assert_eq!(
        without(r#""args": ["/bin/true"], "#),
        "process.args is missing or empty"
    );
    assert_eq!(
        without(r#", "cwd": "/""#),
        "process.cwd is missing or empty"
    );
    assert_eq!(
        without(r#""path": "rootfs""#),
        "root.path is missing or empty"
    );
    assert_eq!(
        refusal(changed("rootfs", "")),
        "root.path is missing or empty"
    );
    assert_eq!(
        refusal(changed(r#""/bin/true""#, "")),
        "process.args is missing or empty"
    );
    let mount = |mount| refusal(extended("", &format!(r#""mounts": [{mount}]"#)));
    assert_eq!(mount("{}"), "mounts[0].destination is missing or empty");
    assert_eq!(
        mount(r#"{"destination": "/a"}"#),
        "mounts[0].type is missing or empty"
    );
    let bind = mount(r#"{"destination": "/a", "options": ["bind"]}"#);
    assert_eq!(bind, "mounts[0].source is missing or empty");
    let namespaces = refusal(changed(r#"{"type": "mount"}"#, "{}"));
    assert_eq!(namespaces, "linux.namespaces[0].type is missing or empty");
}

#[test]
fn a_field_of_another_type_is_named_with_what_it_should_be() {
    let with = |from, to| refusal(changed(from, to));
    assert_eq!(with(r#"["/bin/true"]"#, "5"), "process.args is not a list");
    assert_eq!(
        with(r#""/bin/true""#, "\"a\", 5"),
        "process.args[1] is not a string"
    );
    assert_eq!(with(r#"{"path": "rootfs"}"#, "[]"), "root is not an object");
    assert_eq!(with(r#""1.0.2""#, "1.0"), "ociVersion is not a string");
    let readonly = refusal(extended("root", r#""readonly": "yes""#));
    assert_eq!(readonly, "root.readonly is not true or false");
    assert_eq!(
        refusal(extended("", r#""mounts": {}"#)),
        "mounts is not a list"
    );
    assert_eq!(
        refusal(extended("", r#""mounts": [7]"#)),
        "mounts[0] is not an object"
    );
    let annotation = refusal(extended("", r#""annotations": {"berth.console": true}"#));
    assert_eq!(annotation, "berth.console is not a string");
}

#[test]
fn a_value_that_is_not_taken_is_answered_with_what_is() {
    let with = |from, to| refusal(changed(from, to));
    assert_eq!(
        with("1.0.2", "2.0.0"),
        r#"ociVersion is "2.0.0"; it takes 1.x"#
    );
    let cwd = with(r#""cwd": "/""#, r#""cwd": "tmp""#);
    assert_eq!(cwd, r#"process.cwd is "tmp"; it takes an absolute path"#);
    let env = refusal(extended("process", r#""env": ["A=1", "=x"]"#));
    assert_eq!(env, r#"process.env[1] is "=x"; it takes NAME=value"#);
    let program = with("/bin/true", "");
    assert_eq!(program, r#"process.args is ""; it takes a program first"#);
    let propagation = refusal(extended("linux", r#""rootfsPropagation": "rbind""#));
    assert_eq!(
        propagation,
        r#"linux.rootfsPropagation is "rbind"; it takes slave, private, shared or unbindable"#
    );
    let kind = with(r#""mount"}"#, r#""mnt"}"#);
    assert_eq!(
        kind,
        r#"linux.namespaces[0].type is "mnt"; it takes mount, pid, network, ipc, uts, cgroup, user or time"#
    );
    let twice = with(
        r#"{"type": "mount"}"#,
        r#"{"type": "mount"}, {"type": "mount"}"#,
    );
    assert_eq!(
        twice,
        r#"linux.namespaces[1].type is "mount"; it takes each type once"#
    );
    let console = refusal(extended("", r#""annotations": {"berth.console": "yes"}"#));
    assert_eq!(
        console,
        r#"berth.console is "yes"; it takes true, false or raw"#
    );
    for size in ["4095", "3K", "17M", "16777217", "64k", ""] {
        let annotation = format!(r#""annotations": {{"berth.log-size": "{size}"}}"#);
        let refused = format!(r#"berth.log-size is "{size}"; it takes bytes, 4K to 16M"#);
        assert_eq!(refusal(extended("", &annotation)), refused);
    }
    let long = refusal(extended(
        "",
        &format!(r#""hostname": "{}""#, "h".repeat(65)),
    ));
    assert!(long.ends_with("it takes at most 64 bytes"), "{long}");
}

#[test]
fn what_needs_a_namespace_says_so() {
    let hostname = refusal(extended("", r#""hostname": "web""#));
    assert_eq!(
        hostname,
        "hostname needs a namespace of type uts in linux.namespaces"
    );
    let domainname = refusal(extended("", r#""domainname": "example.org""#));
    assert_eq!(
        domainname,
        "domainname needs a namespace of type uts in linux.namespaces"
    );
    let both = |parameter: &str| {
        let text = extended(
            "linux",
            &format!(r#""sysctl": {{"kernel/domainname": "{parameter}"}}"#),
        );
        text.replacen(
            r#"{"type": "mount"}"#,
            r#"{"type": "mount"}, {"type": "uts"}"#,
            1,
        )
        .replacen('{', r#"{"domainname": "own", "#, 1)
    };
    with(both("own").as_bytes(), |config| assert!(config.is_ok()));
    assert_eq!(
        refusal(both("other")),
        r#"linux.sysctl is "other"; it takes for kernel.domainname what domainname is"#
    );
    let none = refusal(changed(r#"{"type": "mount"}"#, r#"{"type": "pid"}"#));
    assert_eq!(
        none,
        "linux.namespaces needs the type mount without a path, unless berth.root-switch is chroot"
    );
}

#[test]
fn nul_is_refused_everywhere_and_control_characters_where_a_name_is_asked_for() {
    let with = |from, to| refusal(changed(from, to));
    assert_eq!(
        with("/bin/true", r"a\u0000b"),
        "process.args[0] holds NUL or a control character"
    );
    assert_eq!(
        with("rootfs", r"root\nfs"),
        "root.path holds NUL or a control character"
    );
}

#[test]
fn a_list_that_is_too_long_is_refused_and_not_cut() {
    let list = |item: &str, count| vec![item; count].join(",");
    let args = refusal(changed(r#""/bin/true""#, &list(r#""a""#, MAX_STRINGS + 1)));
    assert_eq!(args, "process.args has more than 4096 items");
    let env = extended(
        "process",
        &format!(r#""env": [{}]"#, list(r#""A=1""#, MAX_STRINGS + 1)),
    );
    assert_eq!(refusal(env), "process.env has more than 4096 items");
    let groups = format!(
        r#""user": {{"uid": 1, "gid": 1, "additionalGids": [{}]}}"#,
        list("1", MAX_GROUPS + 1)
    );
    let groups = refusal(extended("process", &groups));
    assert_eq!(
        groups,
        "process.user.additionalGids has more than 1024 items"
    );
    let mount = r#"{"destination": "/a", "type": "tmpfs"}"#;
    let mounts = extended(
        "",
        &format!(r#""mounts": [{}]"#, list(mount, MAX_MOUNTS + 1)),
    );
    assert_eq!(refusal(mounts), "mounts has more than 512 items");
}

#[test]
fn what_bears_on_security_and_cannot_be_done_is_refused_by_name() {
    for (object, member, name) in [
        ("", r#""vm": {"kernel": {"path": "/k"}}"#, "vm"),
        ("", r#""windows": {"layerFolders": ["C"]}"#, "windows"),
        (
            "linux",
            r#""personality": {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}"#,
            "linux.personality.flags",
        ),
    ] {
        let expected = format!("{name} is not supported yet");
        assert_eq!(refusal(extended(object, member)), expected);
    }
}

#[test]
fn labels_are_taken_as_they_are_written_and_empty_ones_ask_for_nothing() {
    let labels = |file: String| {
        with(file.as_bytes(), |result| {
            let config = result.unwrap();
            let process = config.process;
            let labels = [process.apparmor_profile, process.selinux_label];
            [labels[0], labels[1], config.mount_label].map(|label| label.map(str::to_owned))
        })
    };
    let named = |name: &str, label: &str| format!(r#""{name}": "{label}""#);
    for label in ["a:b:c:s0:c1,c2", "unconfined", ":ns:docker-default//&x"] {
        let some = Some(label.to_owned());
        for (object, name, place) in [
            ("process", "apparmorProfile", 0),
            ("process", "selinuxLabel", 1),
            ("linux", "mountLabel", 2),
        ] {
            let mut expected = [const { None }; 3];
            expected[place].clone_from(&some);
            assert_eq!(labels(extended(object, &named(name, label))), expected);
            assert_eq!(
                labels(extended(object, &named(name, ""))),
                [None, None, None]
            );
            let control = refusal(extended(object, &named(name, "a\\nb")));
            assert!(control.contains(&format!("{object}.{name}")), "{control}");
            let number = refusal(extended(object, &format!(r#""{name}": 1"#)));
            assert!(number.contains("a string"), "{number}");
        }
    }
}

/// [`MINIMAL`] with other namespaces, and with more members in `linux`.
fn namespaced(namespaces: &str, members: &str) -> String {
    let list = changed(r#"{"type": "mount"}"#, namespaces);
    list.replacen(r#""linux": {"#, &format!(r#""linux": {{{members}"#), 1)
}

#[test]
fn namespaces_are_made_or_joined() {
    let file = namespaced(
        r#"{"type": "mount"}, {"type": "network", "path": "/proc/7/ns/net"}, {"type": "time"}"#,
        r#""timeOffsets": {"boottime": {"secs": -5, "nanosecs": 7}}, "#,
    );
    with(file.as_bytes(), |result| {
        let config = result.unwrap();
        let namespaces = config.namespaces;
        assert!(namespaces.joined().eq([(Kind::Network, "/proc/7/ns/net")]));
        assert!(namespaces.has(Kind::Network) && !namespaces.is_new(Kind::Network));
        assert!(namespaces.is_new(Kind::Time) && !namespaces.has(Kind::Ipc));
        let [monotonic, boottime] = config.time_offsets;
        assert_eq!(monotonic, None);
        let boottime = boottime.unwrap();
        assert_eq!((boottime.seconds, boottime.nanoseconds), (-5, 7));
    });
    let refused = |namespaces: &str, members: &str, expected: &str| {
        let refusal = refusal(namespaced(namespaces, members));
        assert_eq!(refusal, expected);
    };
    refused(
        r#"{"type": "mount"}, {"type": "pid", "path": "ns"}"#,
        "",
        r#"linux.namespaces[1].path is "ns"; it takes an absolute path"#,
    );
    let needs = "linux.timeOffsets needs a new namespace of type time in linux.namespaces";
    for namespaces in [
        r#"{"type": "mount"}"#,
        r#"{"type": "mount"}, {"type": "time", "path": "/x"}"#,
    ] {
        refused(
            namespaces,
            r#""timeOffsets": {"monotonic": {"secs": 1}}, "#,
            needs,
        );
    }
    for offsets in [
        r#"{"monotonic": {"nanosecs": 1000000000}}"#,
        r#"{"monotonic": {"secs": 1.5}}"#,
        r#"{"realtime": {"secs": 1}}"#,
    ] {
        refused(
            r#"{"type": "mount"}, {"type": "time"}"#,
            &format!(r#""timeOffsets": {offsets}, "#),
            "linux.timeOffsets is not monotonic and boottime, each with secs and nanosecs below 1000000000",
        );
    }
}

#[test]
fn without_mounts_of_its_own_a_container_is_a_program_in_a_directory() {
    let chroot = r#""annotations": {"berth.root-switch": "chroot"}"#;
    for namespaces in [
        r#"{"type": "pid"}"#,
        r#"{"type": "mount", "path": "/proc/7/ns/mnt"}"#,
    ] {
        let list = changed(r#"{"type": "mount"}"#, namespaces);
        assert_eq!(
            refusal(&list),
            "linux.namespaces needs the type mount without a path, unless berth.root-switch is chroot"
        );
        let good = list.replacen('{', &format!("{{{chroot}, "), 1);
        with(good.as_bytes(), |result| assert!(result.is_ok()));
        let needs = "needs a mount namespace of the container's own in linux.namespaces";
        let mounts = good.replacen(
            '{',
            r#"{"mounts": [{"destination": "/a", "type": "tmpfs"}], "#,
            1,
        );
        assert_eq!(refusal(mounts), format!("mounts {needs}"));
        let readonly = good.replacen(
            r#""path": "rootfs""#,
            r#""path": "rootfs", "readonly": true"#,
            1,
        );
        assert_eq!(refusal(readonly), format!("root.readonly {needs}"));
        for name in ["berth.image", "berth.overlay"] {
            let annotation = format!(r#""annotations": {{"{name}": "i", "#);
            let asked = good.replacen(r#""annotations": {"#, &annotation, 1);
            assert_eq!(refusal(asked), format!("{name} {needs}"));
        }
    }
}

#[test]
fn maps_of_users_are_there_exactly_with_a_user_namespace() {
    const BOTH: &str = r#"{"type": "mount"}, {"type": "user"}"#;
    let maps = |users: &str| {
        let groups = r#"[{"containerID": 0, "hostID": 1, "size": 1}]"#;
        format!(r#""uidMappings": {users}, "gidMappings": {groups}, "#)
    };
    let good = r#"[{"containerID": 0, "hostID": 100000, "size": 65536}, {"containerID": 65536, "hostID": 0, "size": 1}]"#;
    with(namespaced(BOTH, &maps(good)).as_bytes(), |result| {
        let ranges: std::vec::Vec<_> = result.unwrap().uid_map.unwrap().ranges().collect();
        let numbers = ranges
            .iter()
            .map(|range| (range.inside, range.outside, range.count));
        assert!(numbers.eq([(0, 100_000, 65536), (65536, 0, 1)]));
    });
    let without = "linux.uidMappings needs a namespace of type user in linux.namespaces";
    assert_eq!(
        refusal(namespaced(r#"{"type": "mount"}"#, &maps(good))),
        without
    );
    let joined = r#"{"type": "mount"}, {"type": "user", "path": "/x"}"#;
    // Whether that has these maps is seen there.
    with(namespaced(joined, &maps(good)).as_bytes(), |result| {
        assert_eq!(result.unwrap().uid_map.unwrap().ranges().count(), 2);
    });
    with(namespaced(joined, "").as_bytes(), |result| {
        assert!(result.unwrap().gid_map.is_none());
    });
    for members in ["", &maps("[]"), &maps("null")] {
        assert_eq!(
            refusal(namespaced(BOTH, members)),
            "linux.uidMappings needs at least one range, for the namespace of type user"
        );
    }
    let range = |inside: u32, outside: u32, size: u32| {
        format!(r#"{{"containerID": {inside}, "hostID": {outside}, "size": {size}}}"#)
    };
    let refused = |ranges: &[String], what: &str| {
        let list = format!("[{}]", ranges.join(","));
        assert_eq!(
            refusal(namespaced(BOTH, &maps(&list))),
            format!("linux.uidMappings is not a list of {what}")
        );
    };
    let apart = "ranges that are apart from each other";
    refused(&[range(0, 0, 2), range(1, 9, 1)], apart);
    refused(&[range(9, 1, 1), range(1, 0, 2)], apart);
    let numbers =
        "containerID, hostID and size, with a size above 0 and no number above 4294967294";
    refused(&[range(0, 0, 0)], numbers);
    refused(&[range(0, 0, 1), range(u32::MAX, 5, 1)], numbers);
    refused(&[r#"{"containerID": 0, "hostID": 0}"#.into()], numbers);
    refused(
        &[r#"{"containerID": -1, "hostID": 0, "size": 1}"#.into()],
        numbers,
    );
    let many: std::vec::Vec<_> = (0..=id_map::MAX_RANGES as u32)
        .map(|id| range(id, id, 1))
        .collect();
    assert_eq!(
        refusal(namespaced(BOTH, &maps(&format!("[{}]", many.join(","))))),
        "linux.uidMappings has more than 340 items"
    );
}

#[test]
fn hooks_are_programs_with_arguments_variables_and_a_time() {
    let file = extended(
        "",
        r#""hooks": {
            "createRuntime": [{"path": "/bin/\u0061", "args": ["a", "b\tc"], "env": ["X=1"], "timeout": 3}, {"path": "/b"}],
            "poststop": [{"path": "/c", "args": []}],
            "unknown": 5
        }"#,
    );
    with(file.as_bytes(), |result| {
        let hooks = result.unwrap().hooks;
        let all: std::vec::Vec<_> = hooks.of(HookKind::CreateRuntime).collect();
        let [first, second] = &all[..] else {
            panic!("{all:?}")
        };
        assert!(first.path.is("/bin/a") && second.path.is("/b"));
        let args: std::vec::Vec<_> = first
            .args()
            .map(|arg| json::Unescaped(arg).to_string())
            .collect();
        assert_eq!(args, ["a", "b\tc"]);
        assert!(first.env().unwrap().next().unwrap().is("X=1"));
        let seconds =
            |timeout: Option<core::time::Duration>| timeout.map(|timeout| timeout.as_secs());
        assert_eq!(
            (seconds(first.timeout), seconds(second.timeout)),
            (Some(3), None)
        );
        // execve(2) wants the program's name first, and there is only one.
        assert_eq!(second.args().count(), 1);
        let last = hooks.of(HookKind::Poststop).next().unwrap();
        assert!(last.args().next().unwrap().is("/c"));
        assert!(hooks.has(&[HookKind::Prestart, HookKind::Poststop]));
        assert!(!hooks.has(&[HookKind::Prestart, HookKind::Poststart]));
    });
    let refused = |hook: &str, expected: &str| {
        let hooks = format!(r#""hooks": {{"prestart": [{{"path": "/a"}}, {hook}]}}"#);
        assert_eq!(
            refusal(extended("", &hooks)),
            format!("hooks.prestart[1] {expected}")
        );
    };
    refused("{}", "is missing or empty");
    refused(r#"{"path": "a"}"#, "is not a program with an absolute path");
    refused(r#"{"path": "/a", "args": [1]}"#, "is not a string");
    refused(
        r#"{"path": "/a", "args": ["\u0000"]}"#,
        "holds NUL or a control character",
    );
    refused(
        r#"{"path": "/a", "env": ["X"]}"#,
        "is not a program with an env of NAME=value",
    );
    refused(
        r#"{"path": "/a", "env": ["=X"]}"#,
        "is not a program with an env of NAME=value",
    );
    for timeout in ["0", "-1", "1.5", "\"1\""] {
        refused(
            &format!(r#"{{"path": "/a", "timeout": {timeout}}}"#),
            "is not a program with a timeout of whole seconds, at least 1",
        );
    }
    let list = refusal(extended("", r#""hooks": {"poststart": {}}"#));
    assert_eq!(list, "hooks.poststart is not a list");
}

#[test]
fn a_consoles_size_is_two_numbers() {
    let size = |size: &str| extended("process", &format!(r#""consoleSize": {size}"#));
    with(
        size(r#"{"height": 24, "width": 80}"#).as_bytes(),
        |result| {
            assert_eq!(result.unwrap().process.console_size, Some([24, 80]));
        },
    );
    for bad in ["{}", r#"{"height": 24, "width": 65536}"#, "5"] {
        assert_eq!(
            refusal(size(bad)),
            "process.consoleSize is not height and width, each from 0 to 65535"
        );
    }
}

#[test]
fn what_confines_is_read_from_the_document_again() {
    let linux = r#""maskedPaths": ["/proc/kcore", "//sys/fi\u0072mware/"], "readonlyPaths": ["/proc/sys"],
        "sysctl": {"kernel.shmmax": "65536", "net/ipv4/conf/eth0.1/forwarding": "1", "fs.mqueue.msg_max": "a\tb"},
        "devices": [
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 7, "gid": 8},
            {"path": "/dev/sda", "type": "b", "major": 8, "minor": 0, "fileMode": 24998},
            {"path": "/run/fifo", "type": "p"}
        ]"#;
    let text = extended("linux", linux).replacen(
        r#"{"type": "mount"}"#,
        r#"{"type": "mount"}, {"type": "ipc"}, {"type": "network"}"#,
        1,
    );
    with(text.as_bytes(), |result| {
        let confinement = result.unwrap().confinement;
        let masked: std::vec::Vec<_> = paths(|see| confinement.each_masked_path(see));
        assert_eq!(masked, ["/proc/kcore", "/sys/firmware"]);
        let readonly: std::vec::Vec<_> = paths(|see| confinement.each_readonly_path(see));
        assert_eq!(readonly, ["/proc/sys"]);
        let sysctls: std::vec::Vec<_> = confinement
            .sysctls()
            .map(|(path, value)| format!("{path}={value}"))
            .collect();
        assert_eq!(
            sysctls,
            [
                "kernel/shmmax=65536",
                "net/ipv4/conf/eth0.1/forwarding=1",
                "fs/mqueue/msg_max=a\tb"
            ]
        );
        let devices: std::vec::Vec<_> = confinement.devices().collect();
        let [fuse, disk, fifo] = &devices[..] else {
            panic!("{devices:?}")
        };
        assert_eq!(
            (fuse.path.as_str(), fuse.kind),
            ("/dev/fuse", NodeKind::Character(10, 229))
        );
        assert_eq!(
            (fuse.mode, fuse.uid, fuse.gid),
            (Some(0o666), Some(7), Some(8))
        );
        // The type of the node is in the mode too.
        assert_eq!((disk.kind, disk.mode), (NodeKind::Block(8, 0), Some(0o646)));
        assert_eq!(
            (fifo.kind, fifo.mode, fifo.uid),
            (NodeKind::Fifo, None, None)
        );
    });
}

#[test]
fn what_confines_is_refused_when_it_is_wrong() {
    let long = format!(r#""maskedPaths": ["/{}"]"#, "x".repeat(4095));
    let path = "it takes a path below /, of at most 4095 bytes";
    for (linux, expected) in [
        (
            r#""maskedPaths": "/proc""#,
            "linux.maskedPaths is not a list".to_owned(),
        ),
        (
            r#""maskedPaths": ["/a", 1]"#,
            "linux.maskedPaths[1] is not a string".to_owned(),
        ),
        (
            r#""maskedPaths": ["/a/.."]"#,
            format!(r#"linux.maskedPaths[0] is "/a/.."; {path}"#),
        ),
        (
            r#""maskedPaths": ["/"]"#,
            format!(r#"linux.maskedPaths[0] is "/"; {path}"#),
        ),
        (
            r#""readonlyPaths": [".."]"#,
            format!(r#"linux.readonlyPaths[0] is ".."; {path}"#),
        ),
        (
            r#""readonlyPaths": ["./"]"#,
            format!(r#"linux.readonlyPaths[0] is "./"; {path}"#),
        ),
        (
            r#""readonlyPaths": ["/a\u0001"]"#,
            "linux.readonlyPaths[0] holds NUL or a control character".to_owned(),
        ),
        (long.as_str(), format!("; {path}")),
        (
            r#""sysctl": []"#,
            "linux.sysctl is not an object".to_owned(),
        ),
        (
            r#""sysctl": {"net.core.somaxconn": 1}"#,
            "needs a namespace of type network".to_owned(),
        ),
        (
            r#""sysctl": {"kernel.sem": "1"}"#,
            r#"linux.sysctl: "kernel.sem" needs a namespace of type ipc in linux.namespaces"#
                .to_owned(),
        ),
        (
            r#""sysctl": {"fs.mqueue.x": "1"}"#,
            "needs a namespace of type ipc".to_owned(),
        ),
        (
            r#""sysctl": {"kernel.domainname": "x"}"#,
            "needs a namespace of type uts".to_owned(),
        ),
        (
            r#""sysctl": {"kernel.hostname": "x"}"#,
            r#""kernel.hostname" is the field hostname"#.to_owned(),
        ),
        (
            r#""sysctl": {"kernel.panic": "1"}"#,
            r#"linux.sysctl: "kernel.panic" is of the whole machine, not of a namespace"#
                .to_owned(),
        ),
        (
            r#""sysctl": {"kernel/shmmaxx": "1"}"#,
            "is of the whole machine".to_owned(),
        ),
        (
            r#""sysctl": {"fs.mqueue": "1"}"#,
            "is of the whole machine".to_owned(),
        ),
        (
            r#""sysctl": {"net.../kernel.panic": "1"}"#,
            "it takes names with . or / in between".to_owned(),
        ),
        (
            r#""devices": [{"path": "/dev/x"}]"#,
            "linux.devices[0].type is missing or empty".to_owned(),
        ),
        (
            r#""devices": [{"type": "c"}]"#,
            "linux.devices[0].path is missing or empty".to_owned(),
        ),
        (
            r#""devices": [{"type": "a", "path": "/x"}]"#,
            r#"linux.devices[0].type is "a"; it takes c, b, u or p"#.to_owned(),
        ),
        (
            r#""devices": [{"type": "c", "path": "."}]"#,
            format!(
                r#"linux.devices[0].path is "."; {}"#,
                path.replace("4095", "511")
            ),
        ),
        (
            r#""devices": [{"type": "c", "path": "/x"}]"#,
            "linux.devices[0].major is missing or empty".to_owned(),
        ),
        (
            r#""devices": [{"type": "c", "path": "/x", "major": 1}]"#,
            "linux.devices[0].minor is missing or empty".to_owned(),
        ),
        (
            r#""devices": [{"type": "c", "path": "/x", "major": 4096, "minor": 0}]"#,
            "linux.devices[0].major is not a number, or too large".to_owned(),
        ),
        (
            r#""devices": [{"type": "c", "path": "/x", "major": -1, "minor": 0}]"#,
            "linux.devices[0].major is not a number, or too large".to_owned(),
        ),
        (
            r#""devices": [{"type": "p", "path": "/x", "fileMode": 24576}]"#,
            "linux.devices[0].fileMode is not the permissions of a node of this type".to_owned(),
        ),
        (
            r#""devices": [{"type": "p", "path": "/x", "uid": 4294967295}]"#,
            "linux.devices[0].uid is not a number, or too large".to_owned(),
        ),
    ] {
        let refusal = refusal(extended("linux", linux));
        assert!(refusal.contains(&expected), "{linux}: {refusal}");
    }
}

/// Each is an object's member, and what is said of it.
#[test]
fn a_process_that_cannot_be_is_refused_by_field_and_value() {
    let limit = |kind: &str, soft: u64, hard: u64| {
        format!(r#"{{"type": "{kind}", "soft": {soft}, "hard": {hard}}}"#)
    };
    let nofile = limit("RLIMIT_NOFILE", 1, 1);
    let large = nofile.replace("1}", "18446744073709551616}");
    for (member, expected) in [
        (r#""user": 5"#, "process.user is not an object"),
        (
            r#""user": {"uid": 1}"#,
            "process.user.gid is missing or empty",
        ),
        (
            r#""user": {"gid": 1}"#,
            "process.user.uid is missing or empty",
        ),
        (
            r#""user": {"uid": 4294967295, "gid": 1}"#,
            r#"process.user.uid is "4294967295"; it takes 0 to 4294967294"#,
        ),
        (
            r#""user": {"uid": -1, "gid": 1}"#,
            r#"process.user.uid is "-1"; it takes 0 to 4294967294"#,
        ),
        (
            r#""user": {"uid": 1, "gid": 1.5}"#,
            r#"process.user.gid is "1.5"; it takes 0 to 4294967294"#,
        ),
        (
            r#""user": {"uid": "root", "gid": 1}"#,
            "process.user.uid is not a number",
        ),
        (
            r#""user": {"uid": 1, "gid": 1, "additionalGids": [1, 4294967295]}"#,
            r#"process.user.additionalGids[1] is "4294967295"; it takes 0 to 4294967294"#,
        ),
        (
            r#""user": {"uid": 0, "gid": 0, "umask": 512}"#,
            r#"process.user.umask is "512"; it takes 0 to 511, which is octal 777"#,
        ),
        (
            r#""oomScoreAdj": 1001"#,
            r#"process.oomScoreAdj is "1001"; it takes -1000 to 1000"#,
        ),
        (
            &format!(r#""rlimits": [{nofile}, {nofile}]"#),
            "process.rlimits[1].type needs to differ from those before it",
        ),
        (
            &format!(r#""rlimits": [{}]"#, limit("NOFILE", 1, 1)),
            r#"process.rlimits[0].type is "NOFILE"; it takes RLIMIT_ and a name of setrlimit(2)"#,
        ),
        (
            &format!(r#""rlimits": [{}]"#, limit("RLIMIT_CORE", 2, 1)),
            "process.rlimits[0].soft needs a hard limit that is not below it",
        ),
        (
            &format!(r#""rlimits": [{large}]"#),
            "process.rlimits[0].hard is \"18446744073709551616\"; \
             it takes 0 to 18446744073709551615, which is no limit",
        ),
        (
            r#""rlimits": [{"type": "RLIMIT_CORE", "hard": 1}]"#,
            "process.rlimits[0].soft is missing or empty",
        ),
        (
            r#""scheduler": {}"#,
            "process.scheduler.policy is missing or empty",
        ),
        (
            r#""scheduler": {"policy": "FIFO"}"#,
            r#"process.scheduler.policy is "FIFO"; it takes a SCHED_ policy of sched(7)"#,
        ),
        (
            r#""scheduler": {"policy": "SCHED_OTHER", "nice": 20}"#,
            r#"process.scheduler.nice is "20"; it takes -20 to 19"#,
        ),
        (
            r#""scheduler": {"policy": "SCHED_FIFO", "priority": 100}"#,
            r#"process.scheduler.priority is "100"; it takes 0 to 99"#,
        ),
        (
            r#""scheduler": {"policy": "SCHED_DEADLINE", "runtime": -1}"#,
            r#"process.scheduler.runtime is "-1"; it takes nanoseconds"#,
        ),
        (
            r#""scheduler": {"policy": "SCHED_OTHER", "flags": ["RECLAIM"]}"#,
            r#"process.scheduler.flags[0] is "RECLAIM"; it takes the SCHED_FLAG_ of sched_setattr(2)"#,
        ),
        (
            r#""scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MAX"]}"#,
            r#"process.scheduler.flags[0]: "SCHED_FLAG_UTIL_CLAMP_MAX" is not supported yet"#,
        ),
        (
            r#""ioPriority": {"class": "IOPRIO_CLASS_NONE", "priority": 1}"#,
            "process.ioPriority.class is \"IOPRIO_CLASS_NONE\"; \
             it takes IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE",
        ),
        (
            r#""ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 8}"#,
            r#"process.ioPriority.priority is "8"; it takes 0 to 7"#,
        ),
        (
            r#""ioPriority": {"priority": 1}"#,
            "process.ioPriority.class is missing or empty",
        ),
    ] {
        assert_eq!(refusal(extended("process", member)), expected);
    }
    let personality = refusal(extended("linux", r#""personality": {"domain": "BSD"}"#));
    let expected = r#"linux.personality.domain is "BSD"; it takes LINUX or LINUX32"#;
    assert_eq!(personality, expected);
}

#[test]
fn what_leads_back_to_the_host_is_not_given_where_its_root_is_left_below() {
    for switch in ["move", "chroot", "pivot"] {
        for capability in ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_NET_ADMIN"] {
            let annotation = format!(r#""annotations": {{"berth.root-switch": "{switch}"}}"#);
            let capabilities =
                format!(r#""process": {{"capabilities": {{"bounding": ["{capability}"]}},"#);
            let file = extended("", &annotation).replacen(r#""process": {"#, &capabilities, 1);
            let result = with(file.as_bytes(), |result| {
                result.map(|_| ()).map_err(|error| error.to_string())
            });
            let expected = match (switch, capability) {
                ("pivot", _) | (_, "CAP_NET_ADMIN") => Ok(()),
                _ => Err(format!(
                    "{capability} in process.capabilities needs berth.root-switch pivot: else it leads back to the host's root"
                )),
            };
            assert_eq!(result, expected);
        }
    }
}

#[test]
fn a_control_group_has_a_path_of_names() {
    let group = |path: &str| extended("linux", &format!(r#""cgroupsPath": "{path}""#));
    for (path, names, is_absolute) in [
        ("/pods/a:b/c/", "pods/a:b/c", true),
        ("pods/a", "pods/a", false),
    ] {
        with(group(path).as_bytes(), |result| {
            let group = CgroupsPath::Path { names, is_absolute };
            assert_eq!(result.unwrap().cgroups_path, Some(group));
        });
    }
    with(group("").as_bytes(), |result| {
        assert_eq!(result.unwrap().cgroups_path, None);
    });
    for path in ["/", "//", "a/../b", "/a//b", "./a"] {
        let refusal = refusal(group(path));
        assert!(refusal.contains("it takes a path of names"), "{refusal}");
    }
    for (path, slice, prefix, name) in [
        ("machine.slice:libpod:1f", "machine.slice", "libpod", "1f"),
        (":docker:a-b", "", "docker", "a-b"),
        ("a-b.slice::x", "a-b.slice", "", "x"),
    ] {
        with(group(path).as_bytes(), |result| {
            let group = CgroupsPath::Unit {
                slice,
                prefix,
                name,
            };
            assert_eq!(result.unwrap().cgroups_path, Some(group));
        });
    }
    let mut bad = vec!["a.slice:b".to_owned(), "a:b:c".into(), "a.slice:b:".into()];
    bad.extend(["a.slice:b:c:d", "a/b.slice:c:d", ".slice:b/../c:d"].map(str::to_owned));
    bad.push(format!("a.slice:b:{}", "x".repeat(448)));
    for path in bad {
        let refusal = refusal(group(&path));
        assert!(
            refusal.contains("slice:prefix:name with a slice"),
            "{refusal}"
        );
    }
    let long = refusal(group(&"x".repeat(449)));
    assert_eq!(long, "linux.cgroupsPath: it takes at most 448 bytes");
}

#[test]
fn an_image_is_in_the_bundle_and_its_hash_tree_in_the_image() {
    const HASH: &str = "00112233445566778899aabbccddeeff";
    let member = |members: &str| extended("", &format!(r#""annotations": {{{members}}}"#));
    let good = member(&format!(
        r#""berth.image": "images/app.squashfs", "berth.verity": "{HASH},4096""#
    ));
    with(good.as_bytes(), |result| {
        let annotations = result.unwrap().annotations;
        assert_eq!(annotations.image, Some("images/app.squashfs"));
        assert_eq!(
            annotations.verity.unwrap().to_string(),
            format!("{HASH},4096")
        );
    });
    for (members, expected) in [
        (
            r#""berth.image": "/app""#.to_owned(),
            r#"berth.image is "/app"; it takes a path in the bundle"#,
        ),
        (
            r#""berth.image": """#.to_owned(),
            r#"berth.image is ""; it takes a path in the bundle"#,
        ),
        (
            format!(r#""berth.verity": "{HASH}""#),
            "berth.image is missing or empty",
        ),
        (
            format!(r#""berth.image": "a", "berth.verity": "{HASH},/dev/sda""#),
            "it takes ROOT-HASH, or ROOT-HASH,OFFSET",
        ),
    ] {
        let refusal = refusal(member(&members));
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn a_writable_layer_is_in_memory_or_in_a_directory() {
    let with_value = |value: &str| {
        let member = format!(r#""annotations": {{"berth.overlay": "{value}"}}"#);
        extended("", &member)
    };
    for (value, expected) in [
        ("tmpfs", Overlay::Tmpfs),
        ("./tmpfs", Overlay::Directory("./tmpfs")),
        ("/data/layer", Overlay::Directory("/data/layer")),
    ] {
        with(with_value(value).as_bytes(), |result| {
            assert_eq!(result.unwrap().annotations.overlay, Some(expected));
        });
    }
    assert_eq!(
        refusal(with_value("")),
        r#"berth.overlay is ""; it takes tmpfs, or the path of a directory"#
    );
}

#[test]
fn a_container_is_started_again_as_its_annotation_says() {
    let with_value = |value: &str| {
        let member = format!(r#""annotations": {{"berth.restart": "{value}"}}"#);
        extended("", &member)
    };
    for (value, expected) in [
        ("no", Restart::No),
        ("always", Restart::Always),
        ("on-failure", Restart::OnFailure { max: None }),
        ("on-failure:3", Restart::OnFailure { max: Some(3) }),
    ] {
        with(with_value(value).as_bytes(), |result| {
            let annotations = result.unwrap().annotations;
            assert_eq!(annotations.restart, expected);
        });
    }
    for value in [
        "",
        "yes",
        "always:3",
        "on-failure:",
        "on-failure:0",
        "on-failure:+1",
        "on-failure:x",
    ] {
        let expected = format!(
            r#"berth.restart is "{value}"; it takes no, always, on-failure or on-failure:N, for N restarts at most"#
        );
        assert_eq!(refusal(with_value(value)), expected);
    }
}

#[test]
fn a_container_is_started_after_others_by_their_names() {
    for key in ["berth.after", "berth.requires"] {
        let with_value = |value: &str| {
            let member = format!(r#""annotations": {{"{key}": "{value}"}}"#);
            extended("", &member)
        };
        for (value, expected) in [
            ("db", &["db"][..]),
            ("db,my.cache", &["db", "my.cache"]),
            ("", &[]),
        ] {
            with(with_value(value).as_bytes(), |result| {
                let annotations = result.unwrap().annotations;
                let lists = [annotations.after, annotations.requires];
                let [list, other] = match key {
                    "berth.after" => lists,
                    _ => [lists[1], lists[0]],
                };
                assert_eq!(list.iter().collect::<Vec<_, 2>>(), expected);
                assert!(other.is_empty());
            });
        }
        for value in ["db,", "db, cache", "..", "a/b"] {
            let accepts = match key {
                "berth.after" => "containers, a comma list",
                _ => "containers and network, a comma list",
            };
            let expected = format!(r#"{key} is "{value}"; it takes {accepts}"#);
            assert_eq!(refusal(with_value(value)), expected);
        }
    }
}

#[test]
fn a_container_is_ready_as_its_bundle_says() {
    let with_value = |value: &str| {
        let member = format!(r#""annotations": {{"berth.ready": "{value}"}}"#);
        extended("", &member)
    };
    let longest = format!("path:/{}", "x".repeat(READY_PATH_MAX - 1));
    for (value, expected) in [
        ("started", Ready::Started),
        ("exited", Ready::Exited),
        ("notify", Ready::Notify),
        ("path:/", Ready::Path("/")),
        ("path:/run/a:b", Ready::Path("/run/a:b")),
        (&longest, Ready::Path(&longest[5..])),
    ] {
        with(with_value(value).as_bytes(), |result| {
            assert_eq!(result.unwrap().annotations.ready, expected);
        });
    }
    let longer = longest.clone() + "x";
    for value in [
        "", "Notify", "path", "path:", "path:run", "exited:0", &longer,
    ] {
        let message = refusal(with_value(value));
        let accepts = "it takes started, exited, notify, or path:/PATH in the container";
        assert!(message.contains(accepts), "{value}: {message}");
    }
}

#[test]
fn who_notifies_has_mounts_of_its_own() {
    let with_ready = |ready: &str| {
        let root = r#""berth.root-switch": "chroot""#;
        let member = format!(r#""annotations": {{{root}, "berth.ready": "{ready}"}}"#);
        extended("", &member).replacen(r#"{"type": "mount"}"#, r#"{"type": "pid"}"#, 1)
    };
    let expected =
        "berth.ready needs the type mount without a path in linux.namespaces, for the socket";
    assert_eq!(refusal(with_ready("notify")), expected);
    with(with_ready("path:/run/ready").as_bytes(), |result| {
        assert!(result.is_ok());
    });
}

#[test]
fn control_is_for_root_of_the_machine_in_mounts_of_its_own() {
    let with_control = |value: &str, namespaces: &str| {
        let root = r#""berth.root-switch": "chroot""#;
        let member = format!(r#""annotations": {{{root}, "berth.control": "{value}"}}"#);
        extended("", &member).replacen(r#"{"type": "mount"}"#, namespaces, 1)
    };
    const MOUNT: &str = r#"{"type": "mount"}"#;
    for (value, expected) in [("true", true), ("false", false)] {
        with(with_control(value, MOUNT).as_bytes(), |result| {
            assert_eq!(result.unwrap().annotations.control, expected);
        });
    }
    let expected = r#"berth.control is "yes"; it takes true or false"#;
    assert_eq!(refusal(with_control("yes", MOUNT)), expected);
    let of_user = r#"{"type": "mount"}, {"type": "user"}"#;
    let expected = "berth.control: the control is for root of the machine, and nobody in a user \
        namespace is that";
    assert_eq!(refusal(with_control("true", of_user)), expected);
    let joined = r#"{"type": "mount"}, {"type": "user", "path": "/proc/7/ns/user"}"#;
    assert_eq!(refusal(with_control("true", joined)), expected);
    let expected =
        "berth.control needs the type mount without a path in linux.namespaces, for the socket";
    assert_eq!(
        refusal(with_control("true", r#"{"type": "pid"}"#)),
        expected
    );
    with(
        with_control("false", r#"{"type": "pid"}"#).as_bytes(),
        |result| assert!(result.is_ok()),
    );
}

#[test]
fn an_unknown_annotation_of_ours_is_refused_with_the_nearest() {
    let annotation = |key| refusal(extended("", &format!(r#""annotations": {{"{key}": ""}}"#)));
    let near = "there is no annotation berth.root_switch, perhaps berth.root-switch";
    assert_eq!(annotation("berth.root_switch"), near);
    assert_eq!(
        annotation(r"berth\u002ex"),
        "there is no annotation berth.x"
    );
}

/// [`MINIMAL`] with this profile.
fn filtered(profile: &str) -> String {
    extended("linux", &format!(r#""seccomp": {profile}"#))
}

#[test]
fn a_seccomp_profile_is_read_where_it_stands() {
    use crate::parse::seccomp::Verdict;
    let file = filtered(
        r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
        "syscalls": [
            {"names": ["read", "\u0077rite"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["kill"], "action": "SCMP_ACT_TRACE", "errnoRet": 65535, "args": [
                {"index": 1, "value": 18446744073709551615, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"},
                {"index": 1, "value": 9, "op": "SCMP_CMP_LT"}
            ]}
        ]}"#,
    );
    with(file.as_bytes(), |result| {
        let config = result.unwrap();
        let profile = config.seccomp.unwrap();
        assert_eq!(profile.default, Verdict(Verdict::ERRNO.0 | 38));
        assert_eq!(profile.flags, 3);
        let rules: std::vec::Vec<_> = profile.rules().collect();
        assert!(rules[0].names().nth(1).unwrap().is("write"));
        assert_eq!(rules[0].verdict(), Verdict::ALLOW);
        assert!(rules[0].comparisons().next().is_none());
        assert_eq!(rules[1].verdict(), Verdict(Verdict::TRACE.0 | 0xffff));
        let masked = seccomp::Comparison {
            index: 1,
            operator: seccomp::Operator::MaskedEqual,
            value: u64::MAX,
            value_two: 7,
        };
        assert_eq!(rules[1].comparisons().next(), Some(masked));
        assert!(rules[1].compares_twice());
        assert_eq!(
            config.warnings,
            ["linux.seccomp.architectures besides this machine's"]
        );
    });
}

#[test]
fn an_agent_is_one_that_a_rule_has_asked() {
    let agent = |action: &str, members: &str| {
        let file = filtered(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], {members},
            "syscalls": [{{"names": ["mkdir"], "action": "{action}"}}, {{"names": ["read"], "action": "SCMP_ACT_LOG"}}]}}"#,
        ));
        with(file.as_bytes(), |result| {
            let profile = result.unwrap().seccomp.unwrap();
            let agent = profile.agent.map(|agent| {
                let metadata = agent.metadata.map(str::to_owned);
                (agent.path.to_owned(), metadata)
            });
            (agent, profile.flags)
        })
    };
    let longest = format!("/{}", "x".repeat(106));
    let path = format!(r#""listenerPath": "{longest}""#);
    assert_eq!(agent("SCMP_ACT_NOTIFY", &path), (Some((longest, None)), 32));
    let members = r#""listenerPath": "/\u0061", "listenerMetadata": "\u0062\n""#;
    let as_written = Some(r#""\u0062\n""#.to_owned());
    assert_eq!(
        agent("SCMP_ACT_NOTIFY", members),
        (Some(("/a".to_owned(), as_written)), 32)
    );
    // An agent that is not asked need not be there, and a flag that the kernel takes with an agent
    // only is not used.
    assert_eq!(agent("SCMP_ACT_LOG", members), (None, 0));
    assert_eq!(
        agent("SCMP_ACT_LOG", r#""listenerPath": "not absolute""#),
        (None, 0)
    );
}

#[test]
fn a_mistake_in_a_seccomp_profile_is_named() {
    let profile = |members: &str| {
        let default = r#""defaultAction": "SCMP_ACT_ALLOW""#;
        refusal(filtered(&format!("{{{default}, {members}}}")))
    };
    let rule = |rule: &str| {
        let read = r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW"}"#;
        profile(&format!(r#""syscalls": [{read}, {rule}]"#))
    };
    let arg = |arg: &str| {
        rule(&format!(
            r#"{{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{arg}]}}"#
        ))
    };
    const ARG: &str = "linux.seccomp.syscalls[1].args[]";
    const ASKS: &str = r#"{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}"#;
    let asking = |members: &str| profile(&format!(r#"{members}, "syscalls": [{ASKS}]"#));
    for (found, expected) in [
        (refusal(filtered("[]")), "linux.seccomp is not an object"),
        (
            refusal(filtered("{}")),
            "linux.seccomp.defaultAction is missing or empty",
        ),
        (
            refusal(filtered(r#"{"defaultAction": "SCMP_ACT_DENY"}"#)),
            r#"linux.seccomp.defaultAction is "SCMP_ACT_DENY"; it takes SCMP_ACT_ALLOW, ERRNO, KILL, KILL_PROCESS, KILL_THREAD, LOG, NOTIFY, TRACE or TRAP"#,
        ),
        (
            refusal(filtered(r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#)),
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY here would have the agent asked about the calls by which it is told",
        ),
        (
            profile(r#""defaultErrnoRet": 1"#),
            "linux.seccomp.defaultErrnoRet needs SCMP_ACT_ERRNO or SCMP_ACT_TRACE as its action",
        ),
        (
            profile(r#""architectures": ["x86_64"]"#),
            r#"linux.seccomp.architectures[0] is "x86_64"; it takes "#,
        ),
        (
            profile(r#""flags": ["SECCOMP_FILTER_FLAG_LOG", "LOG"]"#),
            r#"linux.seccomp.flags[1] is "LOG"; it takes SECCOMP_FILTER_FLAG_TSYNC, LOG, SPEC_ALLOW or WAIT_KILLABLE_RECV"#,
        ),
        (
            profile(r#""listenerMetadata": "x""#),
            "linux.seccomp.listenerMetadata needs linux.seccomp.listenerPath",
        ),
        (
            rule(ASKS),
            "linux.seccomp.syscalls[1].action needs linux.seccomp.listenerPath",
        ),
        (
            asking("\"listenerPath\": \"\""),
            "linux.seccomp.syscalls[0].action needs linux.seccomp.listenerPath",
        ),
        (
            asking(r#""listenerPath": "run/agent""#),
            r#"linux.seccomp.listenerPath is "run/agent"; it takes an absolute path of at most 107 bytes"#,
        ),
        (
            asking(&format!(r#""listenerPath": "/{}""#, "x".repeat(107))),
            r#"linux.seccomp.listenerPath is "/xxxx"#,
        ),
        (
            asking(r#""listenerPath": ["/x"]"#),
            "linux.seccomp.listenerPath is not a string",
        ),
        (
            asking(r#""listenerPath": "/x", "listenerMetadata": ["x"]"#),
            "linux.seccomp.listenerMetadata is not a string",
        ),
        (
            rule(r#"{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY", "errnoRet": 1}"#),
            "linux.seccomp.syscalls[1].errnoRet needs SCMP_ACT_ERRNO or SCMP_ACT_TRACE as its action",
        ),
        (
            profile(r#""syscalls": {}"#),
            "linux.seccomp.syscalls is not a list",
        ),
        (rule("7"), "linux.seccomp.syscalls[1] is not an object"),
        (
            rule(r#"{"action": "SCMP_ACT_LOG"}"#),
            "linux.seccomp.syscalls[1].names[] is missing or empty",
        ),
        (
            rule(r#"{"names": [""], "action": "SCMP_ACT_LOG"}"#),
            "linux.seccomp.syscalls[1].names[] is missing or empty",
        ),
        (
            rule(r#"{"names": [5], "action": "SCMP_ACT_LOG"}"#),
            "linux.seccomp.syscalls[1].names[] is not a string",
        ),
        (
            rule(r#"{"names": ["read"]}"#),
            "linux.seccomp.syscalls[1].action is missing or empty",
        ),
        (
            rule(r#"{"names": ["read"], "action": 5}"#),
            "linux.seccomp.syscalls[1].action is not a string",
        ),
        (
            rule(r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096}"#),
            r#"linux.seccomp.syscalls[1].errnoRet is "4096"; it takes 0 to 4095"#,
        ),
        (
            rule(r#"{"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536}"#),
            r#"linux.seccomp.syscalls[1].errnoRet is "65536"; it takes 0 to 65535"#,
        ),
        (arg("[]"), &format!("{ARG} is not an object")),
        (
            arg(r#"{"index": 0, "value": 1}"#),
            &format!("{ARG}.op is missing or empty"),
        ),
        (
            arg(r#"{"index": 0, "value": 1, "op": "EQ"}"#),
            &format!(r#"{ARG}.op is "EQ"; it takes SCMP_CMP_NE, LT, LE, EQ, GE, GT or MASKED_EQ"#),
        ),
        (
            arg(r#"{"value": 1, "op": "SCMP_CMP_EQ"}"#),
            &format!("{ARG}.index is missing or empty"),
        ),
        (
            arg(r#"{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}"#),
            &format!(r#"{ARG}.index is "6"; it takes 0 to 5"#),
        ),
        (
            arg(r#"{"index": 0, "op": "SCMP_CMP_EQ"}"#),
            &format!("{ARG}.value is missing or empty"),
        ),
        (
            arg(r#"{"index": 0, "value": "1", "op": "SCMP_CMP_EQ"}"#),
            &format!("{ARG}.value is not a number"),
        ),
        (
            arg(r#"{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}"#),
            &format!(r#"{ARG}.value is "-1"; it takes 0 to 18446744073709551615"#),
        ),
        (
            arg(
                r#"{"index": 0, "value": 1, "valueTwo": 18446744073709551616, "op": "SCMP_CMP_EQ"}"#,
            ),
            &format!(
                r#"{ARG}.valueTwo is "18446744073709551616"; it takes 0 to 18446744073709551615"#
            ),
        ),
    ] {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}
