//! From sections of a configuration to what is written where.

use super::*;
use crate::parse::json::check;

/// What a section writes, one `file line` each.
fn written(section: &str) -> std::vec::Vec<std::string::String> {
    let section = check(section.as_bytes()).unwrap();
    let mut lines = vec![];
    Resources::check(Some(section))
        .unwrap()
        .each_setting(&mut |setting| lines.push(format!("{} {}", setting.file, setting.line)))
        .unwrap();
    lines
}

fn refusal(section: &str) -> std::string::String {
    let section = check(section.as_bytes()).unwrap();
    Resources::check(Some(section)).unwrap_err().to_string()
}

#[test]
fn rules_for_devices_are_no_settings() {
    for (section, has) in [
        ("{}", false),
        (
            r#"{"devices": [{"allow": false, "access": "rwm"}], "memory": {}}"#,
            false,
        ),
        (
            r#"{"devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 5}}"#,
            true,
        ),
    ] {
        let section = check(section.as_bytes()).unwrap();
        let resources = Resources::check(Some(section)).unwrap();
        assert_eq!(resources.has_settings(), has);
    }
    assert!(!Resources::default().has_settings());
}

#[test]
fn every_limit_is_a_line_of_a_file() {
    let table: &[(&str, &[&str])] = &[
        ("{}", &[]),
        (r#"{"pids": {"limit": 32}}"#, &["pids.max 32"]),
        (r#"{"pids": {"limit": -1}}"#, &["pids.max max"]),
        (r#"{"pids": {"limit": 0}}"#, &[]),
        (r#"{"memory": {"limit": 1048576}}"#, &["memory.max 1048576"]),
        (
            r#"{"memory": {"limit": 100, "swap": 150, "reservation": 50}}"#,
            &["memory.swap.max 50", "memory.max 100", "memory.low 50"],
        ),
        (
            r#"{"memory": {"limit": 100, "swap": 100}}"#,
            &["memory.swap.max 0", "memory.max 100"],
        ),
        (
            r#"{"memory": {"limit": 100, "swap": -1}}"#,
            &["memory.swap.max max", "memory.max 100"],
        ),
        (
            r#"{"memory": {"limit": -1}}"#,
            &["memory.swap.max max", "memory.max max"],
        ),
        (
            r#"{"memory": {"limit": 0, "swap": 0, "kernel": 5, "kernelTCP": 5, "disableOOMKiller": false,
                "useHierarchy": true, "checkBeforeUpdate": true}}"#,
            &[],
        ),
        (r#"{"cpu": {"shares": 1024}}"#, &["cpu.weight 100"]),
        (
            r#"{"cpu": {"shares": 1024, "idle": 0}}"#,
            &["cpu.idle 0", "cpu.weight 100"],
        ),
        (r#"{"cpu": {"shares": 1024, "idle": 1}}"#, &["cpu.idle 1"]),
        (
            r#"{"cpu": {"quota": 50000, "period": 100000}}"#,
            &["cpu.max 50000 100000"],
        ),
        (r#"{"cpu": {"quota": 50000}}"#, &["cpu.max 50000"]),
        (
            r#"{"cpu": {"quota": -1, "period": 1000}}"#,
            &["cpu.max max 1000"],
        ),
        (r#"{"cpu": {"period": 1000}}"#, &["cpu.max  1000"]),
        (
            r#"{"cpu": {"quota": 50000, "burst": 1000}}"#,
            &["cpu.max.burst 0", "cpu.max 50000", "cpu.max.burst 1000"],
        ),
        (
            r#"{"cpu": {"cpus": "0-1,3", "mems": "0", "realtimeRuntime": 0}}"#,
            &["cpuset.cpus 0-1,3", "cpuset.mems 0"],
        ),
        (r#"{"cpu": {"cpus": ""}}"#, &[]),
        (
            r#"{"blockIO": {"weight": 500, "leafWeight": 0}}"#,
            &["io.bfq.weight 500"],
        ),
        (
            r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 16, "weight": 10}]}}"#,
            &["io.bfq.weight 8:16 10"],
        ),
        (
            r#"{"blockIO": {
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 18446744073709551615}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 7}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}, {"major": 9, "minor": 1, "rate": 1}]}}"#,
            &[
                "io.max 8:0 rbps=600",
                "io.max 8:0 wbps=18446744073709551615",
                "io.max 8:0 riops=7",
                "io.max 8:0 wiops=18446744073709551615",
                "io.max 9:1 wiops=1",
            ],
        ),
        (
            r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 1073741824}]}"#,
            &[
                "hugetlb.2MB.rsvd.max 0",
                "hugetlb.2MB.max 0",
                "hugetlb.1GB.rsvd.max 1073741824",
                "hugetlb.1GB.max 1073741824",
            ],
        ),
        (
            r#"{"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 1}}}"#,
            &[
                "rdma.max mlx5_1 hca_handle=3 hca_object=10000",
                "rdma.max mlx4_0 hca_object=1",
            ],
        ),
        (
            r#"{"unified": {"memory.hi\u0067h": "5", "io.max": "8:0 rbps=1\n8:16 wbps=2\n", "cgroup.max.depth": "2",
                "of.the_future": "a \u00e9"}}"#,
            &[
                "memory.high 5",
                "io.max 8:0 rbps=1",
                "io.max 8:16 wbps=2",
                "cgroup.max.depth 2",
                "of.the_future a é",
            ],
        ),
        (
            r#"{"network": {"classID": 0, "priorities": []}, "unknown": 5}"#,
            &[],
        ),
    ];
    for (section, expected) in table {
        assert_eq!(written(section), *expected, "{section}");
    }
}

#[test]
fn a_kernel_without_bfq_takes_the_weight_in_its_own_words() {
    let section = r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 500}], "weight": 1000}}"#;
    let mut instead = vec![];
    let resources = Resources::check(Some(check(section.as_bytes()).unwrap())).unwrap();
    resources
        .each_setting(&mut |setting| {
            assert_eq!(setting.controller(), Some("io"));
            instead.push(format!("{:?}", setting.missing));
        })
        .unwrap();
    let expected = ["10000", "8:0 4950"].map(|line| format!("Instead(\"io.weight\", {line:?})"));
    assert_eq!(instead, expected);
}

#[test]
fn what_cannot_be_asked_for_is_refused_by_name() {
    const PREFIX: &str = "linux.resources.";
    for (section, expected) in [
        ("[]", "linux.resources is not an object"),
        (r#"{"memory": 5}"#, "memory is not an object"),
        (
            r#"{"memory": {"limit": 1.5}}"#,
            r#"memory.limit is "1.5"; it takes a whole number of 64 bits"#,
        ),
        (
            r#"{"memory": {"limit": 1e6}}"#,
            r#"memory.limit is "1e6"; it takes a whole number of 64 bits"#,
        ),
        (
            r#"{"memory": {"limit": 9223372036854775808}}"#,
            r#"memory.limit is "9223372036854775808"; it takes a whole number of 64 bits"#,
        ),
        (
            r#"{"memory": {"limit": "1m"}}"#,
            "memory.limit is not a number",
        ),
        (
            r#"{"memory": {"limit": -2}}"#,
            "memory.limit: it takes -1 or more",
        ),
        (
            r#"{"memory": {"swap": 5}}"#,
            "memory.swap needs linux.resources.memory.limit",
        ),
        (
            r#"{"memory": {"limit": 10, "swap": 5}}"#,
            "memory.swap: it holds memory and swap together, and is less than memory.limit",
        ),
        (
            r#"{"memory": {"swappiness": 0}}"#,
            "memory.swappiness: control groups of version 2 have nothing like it",
        ),
        (
            r#"{"memory": {"disableOOMKiller": true}}"#,
            "memory.disableOOMKiller: control groups of version 2 have nothing like it",
        ),
        (
            r#"{"memory": {"useHierarchy": 1}}"#,
            "memory.useHierarchy is not true or false",
        ),
        (r#"{"pids": {"limit": true}}"#, "pids.limit is not a number"),
        (
            r#"{"cpu": {"shares": -1}}"#,
            r#"cpu.shares is "-1"; it takes a whole number of 64 bits, 0 or more"#,
        ),
        (
            r#"{"cpu": {"idle": 2}}"#,
            r#"cpu.idle is "2"; it takes a smaller number, 0 or more"#,
        ),
        (
            r#"{"cpu": {"cpus": "all"}}"#,
            "cpu.cpus: it takes numbers, as 0-3,7",
        ),
        (
            r#"{"cpu": {"realtimeRuntime": 950000}}"#,
            "cpu.realtimeRuntime: control groups of version 2 have nothing like it",
        ),
        (
            r#"{"blockIO": {"weight": 5}}"#,
            "blockIO.weight: weight takes 10 to 1000",
        ),
        (
            r#"{"blockIO": {"leafWeight": 10}}"#,
            "blockIO.leafWeight: control groups of version 2 have nothing like it",
        ),
        (
            r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}}"#,
            "blockIO.weightDevice[0]: control groups of version 2 have nothing like leafWeight",
        ),
        (
            r#"{"blockIO": {"throttleReadBpsDevice": {}}}"#,
            "blockIO.throttleReadBpsDevice is not a list",
        ),
        (
            r#"{"blockIO": {"throttleReadBpsDevice": [{"minor": 0, "rate": 1}]}}"#,
            "blockIO.throttleReadBpsDevice[0] needs major",
        ),
        (
            r#"{"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 0}]}}"#,
            "blockIO.throttleWriteIOPSDevice[0] needs rate",
        ),
        (
            r#"{"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}"#,
            "hugepageLimits[0]: pageSize takes a number with KB, MB or GB",
        ),
        (
            r#"{"hugepageLimits": [{"pageSize": "2MB"}]}"#,
            "hugepageLimits[0] needs limit",
        ),
        (
            r#"{"network": {"classID": 1048577}}"#,
            "network.classID: control groups of version 2 have nothing like it",
        ),
        (
            r#"{"network": {"priorities": [{"name": "eth0", "priority": 500}]}}"#,
            "network.priorities: control groups of version 2 have nothing like it",
        ),
        (
            r#"{"rdma": {"a b": {"hcaHandles": 1}}}"#,
            "rdma[0]: its key is no name of a device",
        ),
        (
            r#"{"rdma": {"mlx5_1": {"hcaHandles": 4294967296}}}"#,
            r#"rdma[0] is "4294967296"; it takes a smaller number, 0 or more"#,
        ),
        (
            r#"{"unified": {"pids.max": 5}}"#,
            "unified[0] is not a string",
        ),
        (
            r#"{"unified": {"pids.max": "5\u0000"}}"#,
            "unified[0] holds NUL or a control character",
        ),
    ] {
        let expected = match expected.starts_with(PREFIX.trim_end_matches('.')) {
            true => expected.to_owned(),
            false => format!("{PREFIX}{expected}"),
        };
        assert_eq!(refusal(section), expected, "{section}");
    }
}

#[test]
fn a_key_of_unified_names_a_controllers_file_and_nothing_else() {
    for key in [
        "",
        ".",
        "..",
        ".x",
        "memory",
        "memory.",
        "../memory.max",
        "a/b.max",
        "memory.max ",
        "cgroup.procs",
        "cgroup.freeze",
        "cgroup.kill",
        "cgroup.subtree_control",
        "cgroup.type",
    ] {
        assert_eq!(
            refusal(&format!(r#"{{"unified": {{"{key}": "1"}}}}"#)),
            "linux.resources.unified[0]: its key is no file of a controller, as memory.high",
            "{key}"
        );
    }
    let long = format!(
        r#"{{"unified": {{"io.max": "{}"}}}}"#,
        "x".repeat(LINE_MAX + 1)
    );
    assert_eq!(
        refusal(&long),
        "linux.resources.unified[0]: it takes at most 256 bytes"
    );
}

#[test]
fn rules_for_devices_are_read_in_order() {
    use crate::parse::device_policy::{Kind, MKNOD, READ, WRITE};
    let section = check(
        br#"{"devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "a", "major": -1, "minor": -1, "access": "m"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            {"allow": false, "type": "b", "major": 8, "access": "w"}]}"#,
    )
    .unwrap();
    let resources = Resources::check(Some(section)).unwrap();
    let mut rules = vec![];
    resources
        .each_device_rule(&mut |rule| rules.push(*rule))
        .unwrap();
    let any = Rule {
        allow: false,
        kind: None,
        major: None,
        minor: None,
        access: READ | WRITE | MKNOD,
    };
    let expected = [
        any,
        Rule {
            allow: true,
            access: MKNOD,
            ..any
        },
        Rule {
            allow: true,
            kind: Some(Kind::Character),
            major: Some(10),
            minor: Some(229),
            access: READ | WRITE,
        },
        Rule {
            kind: Some(Kind::Block),
            major: Some(8),
            access: WRITE,
            ..any
        },
    ];
    assert_eq!(rules, expected);
}

#[test]
fn no_list_of_devices_and_an_empty_one_say_nothing() {
    for section in ["{}", r#"{"devices": []}"#, r#"{"devices": null}"#] {
        let resources = Resources::check(Some(check(section.as_bytes()).unwrap())).unwrap();
        assert!(!resources.has_device_rules(), "{section}");
    }
    assert!(!Resources::default().has_device_rules());
}

#[test]
fn a_rule_that_is_none_is_refused() {
    for (rule, expected) in [
        ("5", " is not an object"),
        (r#"{"access": "r"}"#, ".allow is missing or empty"),
        (
            r#"{"allow": 1, "access": "r"}"#,
            ".allow is not true or false",
        ),
        (r#"{"allow": true}"#, ".access is missing or empty"),
        (
            r#"{"allow": true, "access": ""}"#,
            ".access is missing or empty",
        ),
        (
            r#"{"allow": true, "access": "rx"}"#,
            ".access: it takes letters of rwm",
        ),
        (
            r#"{"allow": true, "access": "r", "type": "u"}"#,
            ".type: it takes a, b or c",
        ),
        (
            r#"{"allow": true, "access": "r", "major": 4096}"#,
            r#".major is "4096"; it takes a smaller number, 0 or more"#,
        ),
        (
            r#"{"allow": true, "access": "r", "minor": -2}"#,
            r#".minor is "-2"; it takes a smaller number, 0 or more"#,
        ),
    ] {
        let section = format!(r#"{{"devices": [{rule}]}}"#);
        assert_eq!(
            refusal(&section),
            format!("linux.resources.devices[0]{expected}")
        );
    }
    let rules = vec![r#"{"allow": true, "access": "r"}"#; MAX_RULES + 1].join(",");
    assert_eq!(
        refusal(&format!(r#"{{"devices": [{rules}]}}"#)),
        "linux.resources.devices has more than 256 items"
    );
}

#[test]
fn a_limit_is_checked_against_what_is_in_use_only_where_asked_for() {
    for (memory, expected) in [
        (r#"{"limit": 5, "checkBeforeUpdate": true}"#, Some(5)),
        (r#"{"limit": 5}"#, None),
        (r#"{"limit": -1, "checkBeforeUpdate": true}"#, None),
    ] {
        let section = format!(r#"{{"memory": {memory}}}"#);
        let resources = Resources::check(Some(check(section.as_bytes()).unwrap())).unwrap();
        assert_eq!(resources.limit_to_check(), expected, "{memory}");
    }
}
