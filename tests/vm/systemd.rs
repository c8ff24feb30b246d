//! Containers whose control groups systemd makes, on a machine that it runs.

use std::time::Duration;

use anyhow::{Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, MODULES, Seen, Shared, busybox, disk, systemd};
use serde_json::json;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere systemd_makes_a_scope_for_each_container,
    everywhere limits_that_are_changed_outlast_a_reload_of_systemd,
    everywhere a_scope_goes_with_its_container,
    everywhere what_systemd_refuses_leaves_nothing_behind,
    everywhere systemd_is_asked_directly_where_there_is_no_bus,
    everywhere the_manager_of_a_user_makes_scopes_for_the_user,
    everywhere a_profile_of_apparmor_confines_the_program_and_what_joins_it,
];

/// The programs are large, and interpreted instruction by instruction.
const DEADLINE: Duration = Duration::from_secs(600);

static BOOT: Shared = Shared::new(boot);

/// What root tells; each part prints `== NAME` first.
const SCRIPT: &str = r#"
berth() { /bin/berth --systemd-cgroup "$@"; }
step() { "$@"; echo "status $?"; }
show() { systemctl show "$@" | sort; }
device='/bin/busybox mknod /tmp/kmsg c 1 11 2>/dev/null; echo x >/dev/null && echo x >/tmp/kmsg'
scope=/sys/fs/cgroup/machine.slice/machine-some.slice/libpod-two.scope
echo == foreground
step berth run --bundle /containers/one one 2>&1
show berth-one.scope -p LoadState
ls -d /sys/fs/cgroup/system.slice/berth-one.scope
echo == detached
step berth create --bundle /containers/two two </dev/null >/dev/null
show libpod-two.scope -p ActiveState,Slice,ControlGroup,Delegate,DefaultDependencies,MemoryMax,MemoryLow,TasksMax,CPUWeight,CPUQuotaPerSecUSec,AllowedCPUs,TimeoutStopUSec,Description
cat $scope/cgroup.procs
step berth start two
step berth exec two /bin/sh -c 'cat /proc/self/cgroup /sys/fs/cgroup/memory.max'
wc -l <$scope/container/cgroup.procs
echo == update
step berth update --memory 50m --pids-limit 40 two
systemctl daemon-reload
show libpod-two.scope -p MemoryMax,TasksMax
step berth exec two /bin/sh -c "$device" 2>&1
cd $scope
cat memory.max container/memory.max pids.max container/pids.max
cd /
echo == end
step berth pause two
cat $scope/container/cgroup.freeze
step berth resume two
step berth kill two KILL
step berth delete --force two
show libpod-two.scope -p LoadState
ls -d $scope
step berth run --detach --bundle /containers/plain plain </dev/null
systemctl daemon-reload
step berth exec plain /bin/sh -c "cat /proc/self/cgroup; $device" 2>&1
step berth delete --force plain
echo == refused
for bundle in bad-property no-property path; do
    step berth run --bundle /containers/$bundle bad 2>&1
    show berth-bad.scope -p LoadState
done
step /bin/berth run --bundle /containers/two bad
echo == apparmor
apparmor_parser --skip-cache --replace /profiles 2>/dev/null
step berth run --bundle /containers/confined confined 2>&1
step berth run --bundle /containers/mapped mapped 2>&1
step berth run --bundle /containers/free free
berth create --bundle /containers/long long </dev/null >/dev/null
berth start long
cat /proc/$(cat $(ls -d /sys/fs/cgroup/system.slice/berth-long.scope)/container/cgroup.procs | head -n 1)/attr/current
step berth exec long /bin/cat /etc/name
step berth exec --apparmor other long /bin/cat /etc/name
step berth exec --apparmor unconfined long /bin/cat /etc/secret
step berth exec --apparmor= long /bin/cat /etc/secret 2>&1
step berth exec --process /whole.json long 2>&1
step berth exec --apparmor none long /bin/true 2>&1 | head -n 1
step berth delete --force long
step berth create --bundle /containers/unknown unknown 2>&1 | head -n 1
step berth run --bundle /containers/label label 2>&1 | head -n 1
echo == direct
systemctl stop dbus.socket dbus.service
step berth run --bundle /containers/one one
echo == user
busybox su user -c "XDG_RUNTIME_DIR=/run/user/1000 systemctl --user start rootless.service"
cat /run/user/1000/said
"#;

/// A program that is to be confined.
const CONFINED: &str = "cat /proc/self/attr/current /etc/name /etc/secret; exit 3";

/// Profiles of AppArmor that deny one file each.
const PROFILES: &str = "
profile some flags=(attach_disconnected, mediate_deleted) { file, capability, signal, ptrace, deny /etc/secret r, }
profile other flags=(attach_disconnected, mediate_deleted) { file, capability, signal, ptrace, deny /etc/name r, }
";

/// One more process, of which it is not said how it is confined.
const WHOLE: &str = r#"{ "cwd": "/", "args": ["/bin/cat", "/etc/name", "/etc/secret"], "user": { "uid": 0, "gid": 0 }, "apparmorProfile": "" }"#;

/// What user 1000 tells, below the own manager. There is no bus.
const ROOTLESS: &str = r#"
exec >/run/user/1000/said 2>&1
step() { "$@"; echo "status $?"; }
step /bin/berth --systemd-cgroup run --bundle /containers/rootless mine
step /bin/berth --systemd-cgroup run --detach --bundle /containers/stays stays </dev/null
systemctl --user show libpod-stays.scope -p MemoryMax,ControlGroup | sort
step /bin/berth exec stays /bin/cat /proc/self/cgroup
step /bin/berth update --memory 50m stays
systemctl --user show libpod-stays.scope -p MemoryMax
step /bin/berth delete --force stays
systemctl --user show libpod-stays.scope -p LoadState
"#;

fn boot(lab: &Lab) -> Result<Outcome> {
    let bundle = |id, script| {
        Bundle::new(id)
            .set("/root/path", json!("/box"))
            .runs(["/bin/sh", "-c", script])
            .namespaces(&["mount", "pid", "uts", "ipc"])
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"])
    };
    let one = bundle("one", "cat /proc/self/cgroup; exit 7");
    let devices = json!([{ "allow": false, "access": "rwm" }]);
    let two = bundle("two", "trap 'exit 3' TERM; sleep 1000 & wait")
        .namespaces(&["mount", "pid", "uts", "ipc", "cgroup"])
        .annotation("org.systemd.property.TimeoutStopSec", "5")
        .set("/linux/cgroupsPath", json!("machine-some.slice:libpod:two"))
        .set(
            "/linux/resources",
            json!({
                "memory": { "limit": 64 << 20, "reservation": 1 << 20 }, "pids": { "limit": 50 },
                "cpu": { "shares": 2048, "quota": 50000, "period": 100_000, "cpus": "0" },
                "devices": devices.clone(),
            }),
        );
    let bad_property = bundle("bad-property", "exit 1")
        .annotation("org.systemd.property.TimeoutStopUSec", "uint64 soon");
    let no_property =
        bundle("no-property", "exit 1").annotation("org.systemd.property.NoSuch", "true");
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    let rootless = |id, script| {
        bundle(id, script)
            .namespaces(&["mount", "pid", "uts", "ipc", "user"])
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map.clone())
            .set("/mounts", json!([]))
    };
    let root = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let mine = rootless("rootless", "cat /proc/self/cgroup; exit 5");
    let stays = rootless("stays", "sleep 1000 & wait")
        .set("/linux/cgroupsPath", json!("some.slice:libpod:stays"))
        .set(
            "/linux/resources",
            json!({ "memory": { "limit": 64 << 20 } }),
        );
    let plain = bundle("plain", "sleep 1000 & wait")
        .set("/linux/resources", json!({ "devices": devices }))
        .annotation("run.oci.systemd.subgroup", "")
        .set("/linux/cgroupsPath", json!(":docker:plain"));
    // It has a /proc that is none, with the file that says how it is confined.
    let confined = |id: &'static str, profile: &str| {
        bundle(id, CONFINED).set("/process/apparmorProfile", json!(profile))
    };
    let long = confined("long", "some")
        .runs(["/bin/sh", "-c", "sleep 1000 & wait"])
        .mount("/proc", "bind", "/fake", &["bind"]);
    let mapped = confined("mapped", "some")
        .set("/process/noNewPrivileges", json!(true))
        .namespaces(&["mount", "pid", "uts", "ipc", "user"])
        .set("/linux/uidMappings", root.clone())
        .set("/linux/gidMappings", root);
    let label = bundle("label", "exit 1").set("/process/selinuxLabel", json!("a:b:c:s0"));
    let path = bundle("path", "exit 1").set("/linux/cgroupsPath", json!("/some/path"));
    let tree = disk::files([
        confined("confined", "some"),
        confined("free", "unconfined"),
        confined("unknown", "none"),
        long,
        mapped,
        label,
        one,
        two,
        bad_property,
        no_property,
        path,
        plain,
        mine,
        stays,
    ])?
    .copy(lab.berth.clone(), "bin/berth")
    .file("rootless", ROOTLESS)
    .file("profiles", PROFILES)
    .file("whole.json", WHOLE)
    .file("fake/self/attr/apparmor/exec", "")
    .file("box/etc/name", "name\n")
    .file("box/etc/secret", "secret\n")
    .file(
        "etc/systemd/user/rootless.service",
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/sh /rootless\n",
    );
    let mut tree = busybox(systemd(tree, SCRIPT)?, "box")?;
    for directory in ["dev", "etc", "proc", "run", "sys", "tmp"] {
        tree = tree.directory(format!("box/{directory}"));
    }
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(400))?;
    let spec = lab.spec()?.load(MODULES);
    let vm = lab
        .machine_with("systemd", &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda1 init=/usr/lib/systemd/systemd")
        .append("apparmor=1 security=apparmor systemd.log_target=kmsg")
        .memory(512)
        .cpus(2)
        .deadline(DEADLINE)
        .blk(&root)
        .start()?;
    Ok(vm.wait()?)
}

/// What the script printed in a part of it.
fn said<'o>(outcome: &'o Outcome, part: &str) -> Vec<&'o str> {
    let mut lines = Seen::new(outcome, "init").lines();
    lines
        .by_ref()
        .find(|line| line.strip_prefix("== ") == Some(part));
    lines.take_while(|line| !line.starts_with("== ")).collect()
}

/// Holds a part to what it is to say.
fn says(lab: &Lab, part: &str, expected: &[&str]) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    outcome.assert_ended(Ended::PowerOff)?;
    let said = said(&outcome, part);
    ensure!(said == expected, "{said:#?}");
    Ok(())
}

/// systemd has no rules for devices of its own, and leaves the program that is attached to the
/// group, its own group or not.
const DEVICE_DENIED: &str = "/bin/sh: can't create /tmp/kmsg: Operation not permitted";

fn systemd_makes_a_scope_for_each_container(lab: &Lab) -> Result<()> {
    let expected = [
        "0::/system.slice/berth-one.scope/container",
        "status 7",
        "LoadState=not-found",
        "ls: /sys/fs/cgroup/system.slice/berth-one.scope: No such file or directory",
    ];
    says(lab, "foreground", &expected)?;
    let expected = [
        "ActiveState=active",
        "AllowedCPUs=0",
        "CPUQuotaPerSecUSec=500ms",
        "CPUWeight=174",
        "ControlGroup=/machine.slice/machine-some.slice/libpod-two.scope",
        "DefaultDependencies=no",
        "Delegate=yes",
        "Description=berth container two",
        "MemoryLow=1048576",
        "MemoryMax=67108864",
        "Slice=machine-some.slice",
        "TasksMax=50",
        "TimeoutStopUSec=5s",
        "status 0",
        "0::/",
        "67108864",
        "status 0",
        "2",
    ];
    says(lab, "detached", &expected)
}

fn limits_that_are_changed_outlast_a_reload_of_systemd(lab: &Lab) -> Result<()> {
    let expected = [
        "status 0",
        "MemoryMax=52428800",
        "TasksMax=40",
        DEVICE_DENIED,
        "status 1",
        "52428800",
        "52428800",
        "40",
        "40",
    ];
    says(lab, "update", &expected)
}

fn a_scope_goes_with_its_container(lab: &Lab) -> Result<()> {
    let expected = [
        "status 0",
        "1",
        "status 0",
        "status 0",
        "status 0",
        "LoadState=not-found",
        "ls: /sys/fs/cgroup/machine.slice/machine-some.slice/libpod-two.scope: No such file or directory",
        "status 0",
        "0::/system.slice/docker-plain.scope",
        DEVICE_DENIED,
        "status 1",
        "status 0",
    ];
    says(lab, "end", &expected)
}

fn what_systemd_refuses_leaves_nothing_behind(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let said = said(&outcome, "refused");
    let causes: Vec<_> = said.iter().filter(|line| !line.starts_with(' ')).collect();
    let expected = [
        "annotations.org.systemd.property.TimeoutStopUSec: its name is letters",
        "status 125",
        "LoadState=not-found",
        "create berth-bad.scope by systemd: org.freedesktop.DBus.Error.PropertyReadOnly: Cannot set property NoSuch",
        "status 125",
        "LoadState=not-found",
        "linux.cgroupsPath is some/path, and --systemd-cgroup takes slice:prefix:name",
        "status 125",
        "LoadState=not-found",
        "linux.cgroupsPath as slice:prefix:name, which is for --systemd-cgroup",
        "status 125",
    ];
    let is_as_expected = |(line, expected): (&&&str, &&str)| line.contains(*expected);
    ensure!(
        causes.len() == expected.len() && causes.iter().zip(&expected).all(is_as_expected),
        "{said:#?}"
    );
    Ok(())
}

fn systemd_is_asked_directly_where_there_is_no_bus(lab: &Lab) -> Result<()> {
    let expected = ["0::/system.slice/berth-one.scope/container", "status 7"];
    says(lab, "direct", &expected)
}

fn the_manager_of_a_user_makes_scopes_for_the_user(lab: &Lab) -> Result<()> {
    let expected = [
        "0::/user.slice/user-1000.slice/user.service/user.slice/berth-mine.scope/container",
        "status 5",
        "status 0",
        "ControlGroup=/user.slice/user-1000.slice/user.service/some.slice/libpod-stays.scope",
        "MemoryMax=67108864",
        "0::/user.slice/user-1000.slice/user.service/some.slice/libpod-stays.scope/container",
        "status 0",
        "status 0",
        "MemoryMax=52428800",
        "status 0",
        "LoadState=not-found",
        "done Some(0)",
    ];
    says(lab, "user", &expected)
}

fn a_profile_of_apparmor_confines_the_program_and_what_joins_it(lab: &Lab) -> Result<()> {
    const DENIED: &str = "cat: can't open '/etc/secret': Permission denied";
    let expected = [
        "some (enforce)",
        "name",
        DENIED,
        "status 3",
        "some (enforce)",
        "name",
        DENIED,
        "status 3",
        "unconfined",
        "name",
        "secret",
        "status 3",
        "some (enforce)",
        "name",
        "status 0",
        "cat: can't open '/etc/name': Permission denied",
        "status 1",
        "secret",
        "status 0",
        DENIED,
        "status 1",
        "name",
        DENIED,
        "status 1",
        "berth: error: exec: set up the profile of AppArmor none for long: ENOENT: no such file or directory  [B053]",
        "status 0",
        "berth: error: create: set up the profile of AppArmor none for unknown: ENOENT: no such file or directory  [B053]",
        "berth: error: run: set up the label of SELinux, which this machine has not in force, a:b:c:s0 for label: EOPNOTSUPP: operation not supported  [B053]",
    ];
    says(lab, "apparmor", &expected)
}
