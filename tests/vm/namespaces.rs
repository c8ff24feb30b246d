//! The namespaces of containers: made, joined, and refused. One boot with PID 1's containers; and
//! one in which a process starts them as a command does, since only who makes one after the other
//! can say which namespaces are there to join.

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk, guest};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere users_of_a_user_namespace_are_others_outside,
    everywhere clocks_of_a_time_namespace_are_ahead,
    once namespaces_of_the_host_can_be_named,
    once without_mounts_of_its_own_a_program_is_in_a_directory,
    once what_cannot_be_made_is_refused_by_name,
    everywhere a_container_joins_all_namespaces_of_another,
    everywhere a_container_joins_a_user_namespace,
    everywhere a_process_enters_a_container_that_runs,
    everywhere a_process_that_enters_is_not_to_be_looked_into,
    everywhere who_enters_is_looked_into_only_when_its_program_runs,
    everywhere a_container_holds_before_its_program,
    everywhere a_terminal_is_made_in_the_container_and_sent_out,
    once what_is_no_namespace_is_not_joined,
    once without_its_builder_a_container_does_not_go_on,
    everywhere a_user_without_rights_is_root_in_a_container,
    once groups_of_the_engine_stay_only_where_they_cannot_be_given_up,
    everywhere the_machines_end_well,
];

static BOOT: Shared = Shared::new(boot);
static CONDUCTED: Shared = Shared::new(boot_conductor);

/// User 0 is another one outside.
const FIRST: u32 = 100_000;

fn map(inside: u32, outside: u32, size: u32) -> Value {
    json!([{ "containerID": inside, "hostID": outside, "size": size }])
}

fn with_maps(bundle: Bundle, users: &Value) -> Bundle {
    bundle
        .namespaces(&["mount", "pid", "uts", "ipc", "user"])
        .set("/linux/uidMappings", users.clone())
        .set("/linux/gidMappings", users.clone())
}

fn joining(bundle: Bundle, kinds: &[(&str, &str)]) -> Bundle {
    let list: Vec<_> = kinds
        .iter()
        .map(|(kind, path)| json!({ "type": kind, "path": path }))
        .collect();
    bundle
        .set("/hostname", Value::Null)
        .set("/linux/namespaces", json!(list))
}

fn clock(id: &str, offsets: Value) -> Bundle {
    Bundle::new(id)
        .namespaces(&["mount", "pid", "uts", "time"])
        .set("/linux/timeOffsets", offsets)
        .runs(["/bin/guest", "clocks"])
}

/// Containers that fail, and what is said of them.
fn failing() -> Vec<(Bundle, &'static str)> {
    let many: Vec<_> = (0..340u32)
        .map(|id| json!({ "containerID": id * 2, "hostID": 1_000_000_000 + id * 2, "size": 1 }))
        .collect();
    vec![
        (
            with_maps(Bundle::new("nobody"), &map(1, FIRST, 10)),
            "become group 0 of the user namespace for nobody: EINVAL",
        ),
        (
            with_maps(Bundle::new("long-map"), &json!(many)),
            "write to uidMappings for long-map: E2BIG",
        ),
        (
            clock("before-all", json!({ "boottime": { "secs": -100_000 } })),
            "write to /proc/self/timens_offsets for before-all: ERANGE",
        ),
        (
            joining(
                Bundle::new("nowhere"),
                &[("mount", ""), ("network", "/proc/1/ns/nothing")],
            ),
            "join /proc/1/ns/nothing as namespace of type network for nowhere: ENOENT",
        ),
    ]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let user = with_maps(Bundle::new("user"), &map(0, FIRST, 65536))
        .runs(["/bin/guest", "identity"])
        .mount("/tmp", "tmpfs", "tmpfs", &[])
        .set(
            "/hooks",
            json!({ "createRuntime": [{
                "path": "/containers/user/rootfs/bin/guest",
                "args": ["guest", "hook", "outside"],
            }]}),
        );
    let hosts = ["network", "ipc", "uts", "pid", "cgroup"].map(|kind| {
        let name = if kind == "network" { "net" } else { kind };
        (kind, format!("/proc/1/ns/{name}"))
    });
    let mut list = vec![("mount", "")];
    list.extend(hosts.iter().map(|(kind, path)| (*kind, path.as_str())));
    let bundles = [
        user,
        clock(
            "clock",
            json!({ "boottime": { "secs": 1_000_000 }, "monotonic": { "secs": 500_000, "nanosecs": 5 } }),
        ),
        joining(Bundle::new("hosts"), &list).runs(["/bin/guest", "facts"]),
        Bundle::new("few")
            .set("/hostname", Value::Null)
            .namespaces(&["mount"])
            .runs(["/bin/guest", "facts"]),
        Bundle::new("directory")
            .annotation("berth.root-switch", "chroot")
            .set("/mounts", json!([]))
            .namespaces(&["pid", "uts"])
            .runs(["/bin/guest", "look-at", "/proc/self", "/bin", "/containers"]),
    ];
    let failing = failing().into_iter().map(|(bundle, _)| bundle);
    let tree = disk::files(bundles.into_iter().chain(failing))?;
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(256))?;
    Ok(lab
        .machine("namespaces")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?)
}

fn users_of_a_user_namespace_are_others_outside(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let user = Seen::new(&outcome, "user");
    for line in [
        "Uid 0 0 0 0",
        "Gid 0 0 0 0",
        "Groups ",
        "uid_map 0 100000 65536",
        "gid_map 0 100000 65536",
        "setgroups allow",
        "root is writable",
        "owner /tmp/written 0:0",
        // The host's root is nobody here.
        "owner /bin/guest 65534:65534",
    ] {
        user.printed(line)?;
    }
    user.exited(0)?;
    ensure!(
        outcome.console.contains("hook outside of user creating")
            && outcome
                .console
                .contains("users=100000,100000,100000,100000"),
        "the host sees other users"
    );
    Ok(())
}

fn clocks_of_a_time_namespace_are_ahead(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let clock = Seen::new(&outcome, "clock");
    let seconds = |name| -> Result<u64> {
        let facts = clock.facts(name);
        Ok(facts.first().context("no such clock")?.parse()?)
    };
    // The machine itself is up for some seconds, or minutes where it is emulated.
    let [boottime, monotonic] = [seconds("boottime")?, seconds("monotonic")?];
    ensure!((1_000_000..1_001_000).contains(&boottime), "{boottime}");
    ensure!((500_000..501_000).contains(&monotonic), "{monotonic}");
    clock.exited(0)
}

fn namespace(seen: Seen<'_>, topic: &'static str, kind: &str) -> Result<String> {
    let facts = seen.facts(topic);
    let found = facts
        .iter()
        .find_map(|fact| fact.strip_prefix(kind)?.strip_prefix(' '));
    Ok(found
        .with_context(|| format!("no {topic} {kind} in {facts:?}"))?
        .to_owned())
}

fn namespaces_of_the_host_can_be_named(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let [hosts, few] = ["hosts", "few"].map(|id| Seen::new(&outcome, id));
    for kind in ["net", "ipc", "uts", "pid", "cgroup"] {
        let [a, b] = [
            namespace(hosts, "namespace", kind)?,
            namespace(few, "namespace", kind)?,
        ];
        ensure!(a == b, "{kind}: {a} {b}");
    }
    ensure!(namespace(hosts, "namespace", "mnt")? != namespace(few, "namespace", "mnt")?);
    hosts.exited(0)
}

fn without_mounts_of_its_own_a_program_is_in_a_directory(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "directory");
    seen.printed("at /proc/self nothing")?;
    seen.printed("at /bin directory, is writable")?;
    seen.printed("at /containers nothing")?;
    seen.exited(0)?;
    // What the others were given is in their own mounts.
    let mounts = Seen::new(&outcome, "few").mounts("mount")?;
    ensure!(
        mounts
            .iter()
            .all(|mount| !mount.point.contains("directory"))
    );
    Ok(())
}

fn what_cannot_be_made_is_refused_by_name(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (bundle, expected) in failing() {
        Seen::new(&outcome, bundle.id()).failed("B053", expected)?;
    }
    Ok(())
}

/// The namespaces of the container `holder`, as it is called there.
const HELD: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

fn nested() -> Vec<Bundle> {
    let new = |id: &str| Bundle::new(id).set("/root/path", json!("/nested/rootfs"));
    let paths = HELD.map(|(kind, name)| (kind, format!("/tmp/ns/{name}")));
    let mut held: Vec<_> = paths
        .iter()
        .map(|(kind, path)| (*kind, path.as_str()))
        .collect();
    held.push(("mount", ""));
    let network = |id, path| joining(new(id), &[("mount", ""), ("network", path)]);
    let runs_as_user = |bundle: Bundle, outside| {
        with_maps(bundle, &map(0, outside, 1))
            .runs(["/bin/guest", "identity"])
            .mount("/tmp", "tmpfs", "tmpfs", &[])
    };
    vec![
        new("holder")
            .namespaces(&["mount", "pid", "uts", "ipc", "network", "cgroup", "time"])
            .set(
                "/linux/timeOffsets",
                json!({ "boottime": { "secs": 7_000_000 } }),
            )
            .runs(["/bin/guest", "until-asked"]),
        new("garbage").runs(["/bin/garbage"]),
        new("no-groups").runs(["/bin/guest", "process"]),
        joining(new("joiner"), &held).runs(["/bin/guest", "namespaces", "joined"]),
        joining(
            Bundle::new("in-its-mounts").set("/root/path", json!("/")),
            &[("mount", "/tmp/ns/mnt"), ("pid", "/tmp/ns/pid")],
        )
        .annotation("berth.root-switch", "chroot")
        .set("/mounts", json!([]))
        .runs(["/bin/guest", "namespaces", "shared"]),
        new("visitor")
            .namespaces(&["mount", "pid", "uts", "ipc", "network", "cgroup", "time"])
            .runs(["/bin/guest", "facts", "visits"]),
        with_maps(new("user"), &map(0, FIRST, 65536)).runs(["/bin/guest", "until-asked"]),
        joining(
            new("joins-user"),
            &[("user", "/tmp/ns/user"), ("mount", ""), ("pid", "")],
        )
        .runs(["/bin/guest", "namespaces", "with-user"]),
        with_maps(new("visits-user"), &map(0, FIRST, 65536)).runs(["/bin/guest", "identity"]),
        network("missing", "/tmp/ns/nothing"),
        network("no-namespace", "/nested/missing/config.json"),
        network("wrong-kind", "/proc/self/ns/ipc"),
        network("fifo", "/tmp/fifo"),
        new("terminal")
            .set("/process/terminal", json!(true))
            .set(
                "/process/consoleSize",
                json!({ "height": 33, "width": 121 }),
            )
            .mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &["newinstance", "ptmxmode=0666", "mode=0620"],
            )
            .runs(["/bin/guest", "on-terminal"]),
        new("hanging").set(
            "/hooks",
            json!({ "createRuntime": [{
                "path": "/bin/guest",
                "args": ["guest", "hook", "hanging", "touch", "/tmp/hook-runs", "stay"],
            }]}),
        ),
        runs_as_user(new("unprivileged"), 1000),
        runs_as_user(new("presumptuous"), 0),
        runs_as_user(new("watcher"), 1000)
            .mount("/tmp/fifo", "bind", "/tmp/given-fifo", &["bind"])
            .runs(["/bin/guest", "escape", "look-into-who-enters", "/tmp/fifo"]),
        runs_as_user(new("watched"), 1000).runs(["/bin/guest", "until-asked"]),
    ]
}

fn boot_conductor(lab: &Lab) -> Result<Outcome> {
    let conductor = Bundle::new("conductor")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .runs(["/bin/guest", "conduct"]);
    let base = "containers/conductor/rootfs/nested";
    let tree = nested().iter().fold(
        disk::files([conductor])?
            .copy(guest()?, format!("{base}/rootfs/bin/guest"))
            .executable(
                format!("{base}/rootfs/bin/garbage"),
                "neither ELF nor a script",
            ),
        |tree: Tree, bundle| {
            let path = format!("{base}/{}/config.json", bundle.id());
            tree.file(path, bundle.config())
        },
    );
    let tree = ["dev", "proc", "tmp"].iter().fold(tree, |tree, name| {
        tree.directory(format!("{base}/rootfs/{name}"))
    });
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(128))?;
    Ok(lab
        .machine("namespaces_conducted")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?)
}

fn a_container_joins_all_namespaces_of_another(lab: &Lab) -> Result<()> {
    let outcome = CONDUCTED.outcome(lab)?;
    let seen = Seen::new(&outcome, "conductor");
    for (_, kind) in HELD {
        let [held, joined] = [
            namespace(seen, "holder", kind)?,
            namespace(seen, "joined", kind)?,
        ];
        ensure!(held == joined, "{kind}: {held} {joined}");
    }
    ensure!(namespace(seen, "holder", "mnt")? != namespace(seen, "joined", "mnt")?);
    seen.printed("joiner ended with 0")?;
    for kind in ["mnt", "pid"] {
        let [held, shared] = [
            namespace(seen, "holder", kind)?,
            namespace(seen, "shared", kind)?,
        ];
        ensure!(held == shared, "{kind}: {held} {shared}");
    }
    ensure!(namespace(seen, "holder", "net")? != namespace(seen, "shared", "net")?);
    seen.printed("in-its-mounts ended with 0")
}

fn a_container_joins_a_user_namespace(lab: &Lab) -> Result<()> {
    let outcome = CONDUCTED.outcome(lab)?;
    let seen = Seen::new(&outcome, "conductor");
    let [owner, joined] = [
        namespace(seen, "owner", "user")?,
        namespace(seen, "with-user", "user")?,
    ];
    ensure!(owner == joined, "{owner} {joined}");
    ensure!(namespace(seen, "owner", "pid")? != namespace(seen, "with-user", "pid")?);
    seen.printed("joins-user ended with 0")
}

fn a_process_enters_a_container_that_runs(lab: &Lab) -> Result<()> {
    let outcome = CONDUCTED.outcome(lab)?;
    let seen = Seen::new(&outcome, "conductor");
    seen.printed("visitor: Some(Running)")?;
    for line in ["argument visits", "hostname holder", "process 1"] {
        seen.printed(line)?;
    }
    for kind in ["mnt", "pid", "uts", "ipc", "cgroup", "net", "time"] {
        let [held, entered] = [
            namespace(seen, "holder", kind)?,
            namespace(seen, "namespace", kind)?,
        ];
        ensure!(held == entered, "{kind}: {held} {entered}");
    }
    seen.printed("visitor ended with 0")
}

fn a_process_that_enters_is_not_to_be_looked_into(lab: &Lab) -> Result<()> {
    let outcome = CONDUCTED.outcome(lab)?;
    let seen = Seen::new(&outcome, "conductor");
    for line in [
        "visits-user: Some(Created)",
        "held, it belongs to 0",
        "visits-user: Some(Running)",
        "uid_map 0 100000 65536",
        "visits-user ended with 0",
    ] {
        seen.printed(line)?;
    }
    Ok(())
}

/// Until it executes the program, it has the host's memory, descriptors and binary; and a
/// container's root may trace all that is in its user namespace.
fn who_enters_is_looked_into_only_when_its_program_runs(lab: &Lab) -> Result<()> {
    let outcome = CONDUCTED.outcome(lab)?;
    let seen = Seen::new(&outcome, "conductor");
    for (way, errno) in [
        ("ptrace", "EPERM"),
        ("memory", "EPERM"),
        ("pidfd", "EPERM"),
        ("exe", "EACCES"),
        ("mem", "EACCES"),
        ("environ", "EACCES"),
        ("maps", "EACCES"),
        ("link-exe", "EACCES"),
        ("link-root", "EACCES"),
        ("link-cwd", "EACCES"),
        ("link-fd/1", "EACCES"),
        ("link-ns/mnt", "EACCES"),
    ] {
        seen.printed(&format!("escape enters-{way} {errno}"))?;
        seen.printed(&format!("escape entered-{way} open"))?;
    }
    seen.printed("watcher ended with 0")
}

fn a_container_holds_before_its_program(lab: &Lab) -> Result<()> {
    let outcome = CONDUCTED.outcome(lab)?;
    let seen = Seen::new(&outcome, "conductor");
    for line in [
        "holding: its program runs: false",
        "let go: Ok(())",
        "then: Some(Running)",
        "let go: execute /bin/garbage: ENOEXEC",
    ] {
        seen.printed(line)?;
    }
    Ok(())
}

fn a_terminal_is_made_in_the_container_and_sent_out(lab: &Lab) -> Result<()> {
    let outcome = CONDUCTED.outcome(lab)?;
    let seen = Seen::new(&outcome, "conductor");
    for line in [
        "terminal is sent as /dev/ptmx",
        "on the terminal: size 33 121",
        "on the terminal: name /dev/pts/0",
        "on the terminal: console true",
        "on the terminal: controlling true 0",
        "terminal ended with 0",
    ] {
        seen.printed(line)?;
    }
    Ok(())
}

fn what_is_no_namespace_is_not_joined(lab: &Lab) -> Result<()> {
    let outcome = CONDUCTED.outcome(lab)?;
    let seen = Seen::new(&outcome, "conductor");
    for (id, path, errno) in [
        ("missing", "/tmp/ns/nothing", "ENOENT"),
        ("no-namespace", "/nested/missing/config.json", "EINVAL"),
        ("wrong-kind", "/proc/self/ns/ipc", "EINVAL"),
        ("fifo", "/tmp/fifo", "EINVAL"),
    ] {
        seen.printed(&format!(
            "{id} failed: join {path} as namespace of type network: {errno}"
        ))?;
        seen.printed(&format!("{id} never was"))?;
    }
    Ok(())
}

fn without_its_builder_a_container_does_not_go_on(lab: &Lab) -> Result<()> {
    let outcome = CONDUCTED.outcome(lab)?;
    let seen = Seen::new(&outcome, "conductor");
    seen.printed("without its builder: wait for the process that makes the container: EPIPE")?;
    seen.printed("without its builder ended with 127")
}

fn a_user_without_rights_is_root_in_a_container(lab: &Lab) -> Result<()> {
    let outcome = CONDUCTED.outcome(lab)?;
    let seen = Seen::new(&outcome, "conductor");
    for line in [
        "unprivileged true 1000",
        "Uid 0 0 0 0",
        "uid_map 0 1000 1",
        "gid_map 0 1000 1",
        "setgroups deny",
        "owner /tmp/written 0:0",
        "unprivileged ended with 0",
    ] {
        seen.printed(line)?;
    }
    let refused = seen.facts("presumptuous");
    ensure!(
        refused
            .first()
            .is_some_and(|line| line.starts_with("failed: write to /proc/")
                && line.ends_with("/uid_map: EPERM")),
        "{refused:?}"
    );
    Ok(())
}

fn groups_of_the_engine_stay_only_where_they_cannot_be_given_up(lab: &Lab) -> Result<()> {
    let outcome = CONDUCTED.outcome(lab)?;
    let seen = Seen::new(&outcome, "conductor");
    // `no-groups`, `visits-user`; and `unprivileged`, in whose user namespace the group has no
    // number.
    let groups = seen.facts("Groups");
    ensure!(groups == ["", "", "65534"], "{groups:?}");
    Ok(())
}

fn the_machines_end_well(lab: &Lab) -> Result<()> {
    BOOT.outcome(lab)?.assert(Ended::PowerOff, 125)?;
    let conducted = CONDUCTED.outcome(lab)?;
    Seen::new(&conducted, "conductor").exited(0)?;
    Ok(conducted.assert(Ended::PowerOff, 0)?)
}
