//! `linux.resources` and `linux.cgroupsPath`: limits as the container reads them, what they do, and
//! what is refused. Many containers in one boot, and one more for the library's own functions.

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk, line};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere limits_are_read_back_from_the_containers_group,
    once limits_of_what_few_use_are_read_back_too,
    everywhere limit_of_processes_is_in_force,
    everywhere limit_of_processes_is_a_share_of_the_machines_unless_the_bundle_says_more,
    everywhere limit_of_memory_ends_in_an_event_that_says_so,
    everywhere devices_are_those_that_the_list_allows,
    everywhere devices_are_those_of_the_list_in_a_user_namespace_too,
    everywhere without_a_list_all_devices_can_be_used,
    everywhere set_up_may_mount_what_the_program_may_not_open,
    everywhere control_group_is_where_the_path_says,
    everywhere own_limits_cannot_be_lifted_from_inside,
    everywhere groups_that_a_container_leaves_behind_are_removed,
    once thousands_of_groups_are_removed_beside_other_work,
    everywhere limits_that_cannot_be_set_are_refused_by_name,
    everywhere every_other_container_ends_well,
    everywhere groups_are_made_stopped_changed_and_removed,
];

static BOOT: Shared = Shared::new(boot);

const DENY: &str = r#"{"allow": false, "access": "rwm"}"#;

fn with(id: &str, resources: Value) -> Bundle {
    Bundle::new(id).set("/linux/resources", resources)
}

/// Has its group at `/sys/fs/cgroup`, and that is all it sees of the hierarchy.
fn seeing(bundle: Bundle, options: &[&str]) -> Bundle {
    bundle
        .namespaces(&["mount", "pid", "uts", "ipc", "cgroup"])
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", options)
}

/// Sees the whole hierarchy.
fn host(bundle: Bundle) -> Bundle {
    bundle
        .namespaces(&["mount", "uts"])
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &[])
}

fn devices(id: &str, rules: &[&str], tried: &[&str]) -> Result<Bundle> {
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| serde_json::from_str(rule))
        .collect::<Result<_, _>>()?;
    Ok(with(id, json!({ "devices": rules }))
        .mount("/tmp", "tmpfs", "tmpfs", &["dev"])
        .runs(
            ["/bin/guest", "try-devices"]
                .into_iter()
                .chain(tried.iter().copied()),
        ))
}

const LIMITS: [(&str, &str); 8] = [
    ("memory.max", "67108864"),
    ("memory.low", "33554432"),
    ("memory.high", "50331648"),
    ("pids.max", "20"),
    ("cpu.weight", "170"),
    ("cpu.max", "50000 200000"),
    ("cpu.max.burst", "10000"),
    ("cgroup.max.depth", "3"),
];

/// These need controllers that are more seldom asked for.
const SELDOM: [(&str, &str); 4] = [
    ("cpuset.cpus", "1"),
    ("cpuset.cpus.effective", "1"),
    ("hugetlb.2MB.max", "4194304"),
    ("hugetlb.2MB.rsvd.max", "4194304"),
];

fn good() -> Result<Vec<Bundle>> {
    let limits = with(
        "limits",
        json!({
            "memory": { "limit": 67108864, "reservation": 33554432 },
            "pids": { "limit": 20 },
            "cpu": { "shares": 2000, "quota": 50000, "period": 200000, "burst": 10000 },
            "unified": { "memory.high": "50331648", "cgroup.max.depth": "3" },
        }),
    );
    let seldom = with(
        "seldom",
        json!({
            "cpu": { "cpus": "1" },
            "hugepageLimits": [{ "pageSize": "2MB", "limit": 4194304 }],
            "blockIO": { "throttleReadBpsDevice": [{ "major": 254, "minor": 0, "rate": 1048576 }] },
        }),
    );
    let files =
        |list: &[(&'static str, &str)]| list.iter().map(|(file, _)| *file).collect::<Vec<_>>();
    let show = |files: Vec<&'static str>| ["/bin/guest", "limits"].into_iter().chain(files);
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let own = with("nester", json!({ "pids": { "limit": 20 } }));
    Ok(vec![
        seeing(limits.runs(show(files(&LIMITS))), &["ro"]),
        seeing(
            seldom.runs(show([files(&SELDOM), vec!["io.max"]].concat())),
            &[],
        ),
        seeing(Bundle::new("share").runs(["/bin/guest", "share"]), &["ro"]),
        seeing(
            with("unlimited", json!({ "pids": { "limit": -1 } })).runs(["/bin/guest", "share"]),
            &["ro"],
        ),
        with("few", json!({ "pids": { "limit": 5 } })).runs(["/bin/guest", "fill", "50"]),
        devices(
            "listed",
            &[
                DENY,
                r#"{"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}"#,
            ],
            &["c1:3", "c1:11", "c1:1", "b"],
        )?
        .mount("/mnt", "vfat", "/dev/vda2", &["ro"]),
        devices(
            "no-nodes",
            &[
                DENY,
                r#"{"allow": false, "access": "m"}"#,
                r#"{"allow": false, "type": "c", "major": 1, "minor": 5, "access": "w"}"#,
            ],
            &["c1:3"],
        )?,
        devices(
            "mapped",
            &[
                DENY,
                r#"{"allow": false, "type": "c", "major": 1, "minor": 5, "access": "w"}"#,
            ],
            &["c1:5"],
        )?
        .namespaces(&["mount", "pid", "uts", "ipc", "user"])
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map),
        devices(
            "anything",
            &[r#"{"allow": true, "access": "rwm"}"#],
            &["c1:11"],
        )?,
        Bundle::new("unlisted")
            .mount("/tmp", "tmpfs", "tmpfs", &["dev"])
            .runs(["/bin/guest", "try-devices", "c1:11"]),
        Bundle::new("absolute")
            .set("/linux/cgroupsPath", json!("/pods/a/b"))
            .runs(["/bin/guest", "limits"]),
        Bundle::new("relative")
            .set("/linux/cgroupsPath", json!("pods/c"))
            .runs(["/bin/guest", "limits"]),
        seeing(own.runs(["/bin/guest", "nest", "40", "60"]), &[]),
        seeing(
            Bundle::new("read-only").runs(["/bin/guest", "nest", "1", "1"]),
            &["ro"],
        ),
        host(Bundle::new("witness")).runs([
            "/bin/guest",
            "wait-until-gone",
            "berth/nester",
            "berth/relative",
            "berth/pods",
            "pods",
            "berth/no-field",
        ]),
    ])
}

/// A container that fails, the code, and what the report says.
fn failing() -> Vec<(Bundle, &'static str, &'static str)> {
    vec![
        (
            with("swappiness", json!({ "memory": { "swappiness": 60 } })),
            "B052",
            "linux.resources.memory.swappiness: control groups of version 2 have nothing like it",
        ),
        (
            Bundle::new("systemd").set("/linux/cgroupsPath", json!("system.slice:berth:web")),
            "B053",
            "linux.cgroupsPath as slice:prefix:name, which is for --systemd-cgroup",
        ),
        (
            with("half", json!({ "memory": { "limit": 0.5 } })),
            "B051",
            r#"linux.resources.memory.limit is \"0.5\"; it takes a whole number"#,
        ),
        (
            with(
                "no-controller",
                json!({ "unified": { "nonsense.max": "1" } }),
            ),
            "B053",
            "set up linux.resources.unified[0], which needs the controller nonsense: EOPNOTSUPP",
        ),
        (
            with("no-file", json!({ "unified": { "memory.nonsense": "1" } })),
            "B053",
            r#"write to memory.nonsense the value \"1\" of linux.resources.unified[0]: "#,
        ),
        (
            with("no-value", json!({ "unified": { "pids.max": "many" } })),
            "B053",
            r#"write to pids.max the value \"many\" of linux.resources.unified[0]: EINVAL"#,
        ),
        (
            with("no-field", json!({ "cpu": { "cpus": "0-3000" } })),
            "B053",
            r#"write to cpuset.cpus the value \"0-3000\" of linux.resources.cpu.cpus: E"#,
        ),
        (
            with(
                "no-page",
                json!({ "hugepageLimits": [{ "pageSize": "3MB", "limit": 1 }] }),
            ),
            "B053",
            "write to hugetlb.3MB.max",
        ),
        (
            // It comes behind whose group it wants.
            // The other way round the witness would be refused.
            Bundle::new("x-taken")
                .annotation("berth.after", "witness")
                .set("/linux/cgroupsPath", json!("/berth/witness")),
            "B053",
            // The kernel knows of a process in there, or PID 1 of the other.
            "witness",
        ),
    ]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let oom = with(
        "glutton",
        json!({ "memory": { "limit": 25165824, "swap": 25165824 } }),
    )
    .runs(["/bin/guest", "devour", "200"]);
    let failing = failing().into_iter().map(|(bundle, ..)| bundle);
    let bundles = good()?.into_iter().chain([oom]).chain(failing);
    let first = "limits";
    // All share the rootfs of the first, so that the disk stays small.
    let tree = bundles.fold(disk::files([Bundle::new(first)])?, |tree: Tree, bundle| {
        let id = bundle.id().to_owned();
        let rootfs = format!("/containers/{first}/rootfs");
        let bundle = bundle.set("/root/path", json!(rootfs));
        tree.file(format!("containers/{id}/config.json"), bundle.config())
    });
    let tree = tree.directory(format!("containers/{first}/rootfs/sys/fs/cgroup"));
    let root = Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(128))
        .partition(Fs::vfat(
            "SECOND",
            0xb0a7_0005,
            Tree::new().file("file", "of the vfat"),
        ))
        .build()?;
    Ok(lab
        .machine("resources")?
        .cpus(2)
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?)
}

fn limits_are_read_back_from_the_containers_group(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "limits");
    for (file, text) in LIMITS {
        seen.printed(&format!("limit {file} {text}"))?;
    }
    seen.printed("group 0::/")
}

fn limits_of_what_few_use_are_read_back_too(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "seldom");
    for (file, text) in SELDOM {
        seen.printed(&format!("limit {file} {text}"))?;
    }
    seen.printed("limit io.max 254:0 rbps=1048576 wbps=max riops=max wiops=max")?;
    seen.printed("processors 1")?;
    Seen::new(&outcome, "limits").printed("processors 2")
}

fn limit_of_processes_is_in_force(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    // With itself they are five.
    Seen::new(&outcome, "few").printed("filled 4 EAGAIN")
}

fn limit_of_processes_is_a_share_of_the_machines_unless_the_bundle_says_more(
    lab: &Lab,
) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let shares = Seen::new(&outcome, "share").facts("share");
    let (own, all) = shares
        .first()
        .and_then(|share| share.split_once(" of "))
        .context("no share")?;
    let share = all.parse::<u64>()? * 15 / 100;
    ensure!(own.parse() == Ok(share), "{shares:?}");
    let shares = Seen::new(&outcome, "unlimited").facts("share");
    ensure!(
        shares
            .first()
            .is_some_and(|share| share.starts_with("max ")),
        "{shares:?}"
    );
    Ok(())
}

fn limit_of_memory_ends_in_an_event_that_says_so(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let exited = Seen::new(&outcome, "glutton").state("exited");
    let exited = &exited.context("glutton did not end")?.raw;
    ensure!(exited["oom"] == true && exited["signal"] == 9, "{exited}");
    let exited = Seen::new(&outcome, "few").state("exited");
    let exited = &exited.context("few did not end")?.raw;
    ensure!(exited["oom"] == false, "{exited}");
    Ok(())
}

fn devices_are_those_that_the_list_allows(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let listed = Seen::new(&outcome, "listed");
    for way in ["mknod ok", "r ok", "w ok", "rw ok"] {
        listed.printed(&format!("device c1:3 {way}"))?;
    }
    // A node is made, which opens nothing.
    for way in ["mknod ok", "r ok", "w EPERM", "rw EPERM"] {
        listed.printed(&format!("device c1:11 {way}"))?;
    }
    for way in ["mknod ok", "r EPERM", "w EPERM", "rw EPERM"] {
        listed.printed(&format!("device c1:1 {way}"))?;
    }
    let no_nodes = Seen::new(&outcome, "no-nodes");
    no_nodes.printed("device c1:3 mknod EPERM")?;
    no_nodes.printed("device null rw ok")?;
    no_nodes.printed("device zero rw EPERM")?;
    for way in ["mknod ok", "r ok", "w ok", "rw ok"] {
        Seen::new(&outcome, "anything").printed(&format!("device c1:11 {way}"))?;
    }
    Ok(())
}

/// Where the container's own processes may attach no program to its group: the builder does it.
fn devices_are_those_of_the_list_in_a_user_namespace_too(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let mapped = Seen::new(&outcome, "mapped");
    // The host's nodes, which everybody could open; others cannot be made.
    mapped.printed("device c1:5 mknod EPERM")?;
    mapped.printed("device null rw ok")?;
    mapped.printed("device zero rw EPERM")
}

fn without_a_list_all_devices_can_be_used(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for way in ["mknod ok", "r ok", "w ok", "rw ok"] {
        Seen::new(&outcome, "unlisted").printed(&format!("device c1:11 {way}"))?;
    }
    Ok(())
}

fn set_up_may_mount_what_the_program_may_not_open(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    // What is mounted at /mnt.
    for way in ["mknod ok", "r EPERM", "rw EPERM"] {
        Seen::new(&outcome, "listed").printed(&format!("device b {way}"))?;
    }
    Ok(())
}

fn control_group_is_where_the_path_says(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "absolute").printed("group 0::/pods/a/b")?;
    Seen::new(&outcome, "relative").printed("group 0::/berth/pods/c")?;
    Seen::new(&outcome, "limits").printed("group 0::/")
}

fn own_limits_cannot_be_lifted_from_inside(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let nester = Seen::new(&outcome, "nester");
    nester.printed("wrote pids.max not: EPERM")?;
    // Nor does a container that sees all groups change what they all depend on.
    let cgroups = Seen::new(&outcome, "witness").mount_at("/sys/fs/cgroup")?;
    ensure!(
        cgroups.filesystem_options.contains("nsdelegate"),
        "{cgroups:?}"
    );
    let error = Seen::new(&outcome, "read-only")
        .lines()
        .last()
        .unwrap_or_default();
    ensure!(error.contains("Read-only file system"), "{error}");
    Ok(())
}

fn groups_that_a_container_leaves_behind_are_removed(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let nested = Seen::new(&outcome, "nester").facts("nested");
    ensure!(nested.len() == 1, "{nested:?}");
    let witness = Seen::new(&outcome, "witness");
    for group in [
        "berth/nester",
        "berth/relative",
        "berth/pods",
        "pods",
        "berth/no-field",
    ] {
        witness.printed(&format!("group {group} gone"))?;
    }
    Ok(())
}

fn thousands_of_groups_are_removed_beside_other_work(lab: &Lab) -> Result<()> {
    let bundles = [
        seeing(Bundle::new("nester"), &[])
            .annotation("berth.restart", "always")
            .runs(["/bin/guest", "nest", "2500", "1"]),
        Bundle::new("clock").runs(["/bin/guest", "tick"]),
    ];
    let root = disk::of(Fs::ext4(
        disk::LABEL,
        disk::EXT4_UUID,
        disk::files(bundles)?.directory("containers/nester/rootfs/sys/fs/cgroup"),
    ))?;
    let vm = lab
        .machine("thousands_of_groups")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    let expect = |state: &'static str, since: u64| {
        vm.expect(state, move |event| {
            event.is_container("nester", state) && event.t > since
        })
    };
    let ended = expect("restarting", 0)?.t;
    // Not before nothing is left of it.
    let again = expect("started", ended)?.t;
    vm.ctrl_alt_delete()?;
    let outcome = vm.wait()?;
    let removal = again - ended;
    ensure!(removal > 500_000, "they were gone after {removal} µs");
    let mut late = outcome.events.iter().filter_map(|event| {
        let (id, text) = line(event)?;
        let stamp: u64 = text
            .strip_prefix("at ")
            .filter(|_| id == "clock")?
            .parse()
            .ok()?;
        (ended..again)
            .contains(&stamp)
            .then(|| event.t.saturating_sub(stamp))
    });
    let latest = late.by_ref().max().context("the clock stood still")?;
    ensure!(latest < removal / 4, "{latest} µs late in {removal} µs");
    Ok(())
}

fn limits_that_cannot_be_set_are_refused_by_name(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (bundle, code, text) in failing() {
        Seen::new(&outcome, bundle.id()).failed(code, &text.replace('\\', ""))?;
    }
    Ok(())
}

fn every_other_container_ends_well(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for bundle in good()? {
        if bundle.id() != "read-only" {
            Seen::new(&outcome, bundle.id()).exited(0)?;
        }
    }
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}

fn groups_are_made_stopped_changed_and_removed(lab: &Lab) -> Result<()> {
    let bundle = host(Bundle::new("engine"))
        .set("/hostname", json!("engine"))
        .mount("/tmp", "tmpfs", "tmpfs", &["dev"])
        .directory("sys/fs/cgroup")
        .runs(["/bin/guest", "groups"]);
    let root = disk::vfat([bundle])?;
    let vm = lab.machine("groups_are_made")?.append("root=/dev/vda1");
    let outcome = vm.blk(&root).start()?.wait()?;
    let seen = Seen::new(&outcome, "engine");
    let lines: Vec<_> = seen.lines().collect();
    let expected = [
        "limit 5",
        "waiting",
        "staying",
        "processes true",
        "again EBUSY",
        "removed EBUSY",
        "frozen true",
        "stopped true",
        "thawed Some(5)",
        "changed 7",
        "checked EBUSY",
        "killed Some(9)",
        "gone true",
        "opened 0",
        "opened 1",
        "opened 0",
        "opened 1",
        "opened 1",
        "opened 0",
    ];
    ensure!(lines == expected, "{lines:#?}");
    seen.exited(0)?;
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}
