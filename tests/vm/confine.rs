//! What of its own tree a container cannot see or change, the nodes it is given, the parameters of
//! its namespaces; and the refusal of what reaches further. One boot.

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere masked_paths_show_nothing_and_cannot_be_changed,
    everywhere masks_of_directories_are_one_filesystem,
    everywhere read_only_paths_are_read_only_with_all_below,
    once read_only_procfs_can_have_masks_on_top,
    once parameters_are_set_in_the_containers_namespaces_only,
    once parameters_do_not_go_where_the_bundle_has_mounted_something,
    once devices_are_made_as_they_are_asked_for,
    once every_failure_has_its_code_and_its_text,
    once every_confined_container_ends_well,
];

static BOOT: Shared = Shared::new(boot);

const SYSFS: [&str; 4] = ["ro", "nosuid", "noexec", "nodev"];

/// What container engines mask and make read-only by default.
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/etc/secret",
    "/etc/secrets",
    "/etc/link",
];

fn with(id: &str, section: &Value) -> Bundle {
    let members = section.as_object().into_iter().flatten();
    members.fold(Bundle::new(id), |bundle, (name, value)| {
        bundle.set(&format!("/linux/{name}"), value.clone())
    })
}

fn devices() -> Value {
    json!([
        { "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7, "gid": 8 },
        { "path": "/dev/some/where/disk", "type": "b", "major": 8, "minor": 1 },
        { "path": "/fifo", "type": "p", "fileMode": 0o600 },
        { "path": "/dev/null", "type": "c", "major": 1, "minor": 3 },
        { "path": "/dev/zero", "type": "u", "major": 1, "minor": 5, "fileMode": 0o400 },
    ])
}

fn confined() -> Vec<Bundle> {
    let parameters = json!({
        "kernel.shmmax": "65536",
        "kernel/msgmni": "77",
        "fs.mqueue.msg_max": "11",
        "net.ipv4.ip_forward": "1",
        "kernel.domainname": "a.domain",
    });
    vec![
        with("masked", &json!({ "maskedPaths": MASKED }))
            .mount("/sys", "sysfs", "sysfs", &SYSFS)
            .runs(["/bin/guest", "escape", "masks"].into_iter().chain(MASKED)),
        with("masked-seen", &json!({ "maskedPaths": MASKED }))
            .mount("/sys", "sysfs", "sysfs", &SYSFS)
            .runs(["/bin/guest", "facts"]),
        with(
            "fixed",
            &json!({ "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger", "/etc", "/nowhere"] }),
        )
        .mount("/etc/volume", "tmpfs", "tmpfs", &["nosuid", "nodev"])
        .runs([
            "/bin/guest",
            "look-at",
            "/proc/sys/kernel/shmmax",
            "/etc",
            "/etc/volume",
            "/mnt",
        ]),
        with(
            "fixed-seen",
            &json!({ "readonlyPaths": ["/proc/sys", "/etc"] }),
        )
        .mount("/etc/volume", "tmpfs", "tmpfs", &["nosuid", "nodev"])
        .runs(["/bin/guest", "facts"]),
        with(
            "both",
            &json!({ "readonlyPaths": ["/proc"], "maskedPaths": ["/proc/kcore", "/proc/scsi"] }),
        )
        .runs(["/bin/guest", "escape", "masks", "/proc/kcore", "/proc/scsi"]),
        with("parameters", &json!({ "sysctl": parameters }))
            .namespaces(&["mount", "pid", "uts", "ipc", "network"])
            .runs([
                "/bin/guest",
                "look-at",
                "/proc/sys/kernel/shmmax",
                "/proc/sys/kernel/msgmni",
                "/proc/sys/fs/mqueue/msg_max",
                "/proc/sys/net/ipv4/ip_forward",
                "/proc/sys/kernel/domainname",
            ]),
        with(
            "diverted",
            &json!({ "sysctl": { "kernel.shmmax": "65537" } }),
        )
        .mount("/proc/sys/kernel/shmmax", "bind", "/data", &["bind"])
        .mount("/mnt", "proc", "proc", &[])
        .runs([
            "/bin/guest",
            "look-at",
            "/proc/sys/kernel/shmmax",
            "/mnt/sys/kernel/shmmax",
        ]),
        Bundle::new("hosts")
            .set("/hostname", Value::Null)
            .namespaces(&["mount"])
            .runs([
                "/bin/guest",
                "look-at",
                "/proc/sys/kernel/shmmax",
                "/proc/sys/kernel/domainname",
                "/proc/sys/net/ipv4/ip_forward",
            ]),
        with("devices", &json!({ "devices": devices() })).runs([
            "/bin/guest",
            "escape",
            "nodes",
            "/dev/fuse",
            "/dev/some/where/disk",
            "/fifo",
            "/dev/null",
            "/dev/zero",
        ]),
    ]
}

/// A container that fails, the code, and what the report says.
fn failing() -> Vec<(Bundle, &'static str, &'static str)> {
    let device = |path: &str, kind: &str, minor: u32| json!({ "devices": [{ "path": path, "type": kind, "major": 1, "minor": minor }] });
    vec![
        (
            with("other-kind", &device("/dev/null", "b", 3)),
            "B053",
            "create /dev/null for other-kind: EEXIST",
        ),
        (
            with("other-number", &device("/dev/null", "c", 5)),
            "B053",
            "create /dev/null for other-number: EEXIST",
        ),
        (
            with("a-program", &device("/bin/guest", "c", 3)),
            "B053",
            "create /bin/guest for a-program: EEXIST",
        ),
        (
            with("a-link", &device("/dev/stdin", "c", 3)),
            "B053",
            "create /dev/stdin for a-link: EEXIST",
        ),
        (
            with("magic", &json!({ "maskedPaths": ["/proc/self/root"] })),
            "B053",
            "open /proc/self/root for magic: ELOOP",
        ),
        (
            with("below-a-file", &json!({ "maskedPaths": ["/bin/guest/x"] })),
            "B053",
            "open /bin/guest/x for below-a-file: ENOTDIR",
        ),
        (
            with(
                "no-value",
                &json!({ "sysctl": { "kernel.shmmni": "many" } }),
            ),
            "B053",
            "write to /proc/sys/kernel/shmmni for no-value: EINVAL",
        ),
        (
            with(
                "no-parameter",
                &json!({ "sysctl": { "fs.mqueue.nothing": "1" } }),
            ),
            "B053",
            "open /proc/sys/fs/mqueue/nothing for no-parameter: ENOENT",
        ),
        (
            with(
                "of-the-machine",
                &json!({ "sysctl": { "kernel.panic": "1" } }),
            ),
            "B052",
            "\"kernel.panic\" is of the whole machine, not of a namespace",
        ),
        (
            with(
                "of-the-host",
                &json!({ "sysctl": { "net.ipv4.ip_forward": "1" } }),
            ),
            "B052",
            "\"net.ipv4.ip_forward\" needs a namespace of type network",
        ),
        (
            with("of-the-root", &json!({ "maskedPaths": ["proc/.."] })),
            "B051",
            "linux.maskedPaths[0] is \"proc/..\"; it takes a path below /",
        ),
    ]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let bundles = failing()
        .into_iter()
        .map(|(bundle, ..)| bundle)
        .chain(confined());
    let mut tree = disk::files(bundles)?.file("data", "of the host");
    for id in ["masked", "masked-seen"] {
        let etc = format!("containers/{id}/rootfs/etc");
        tree = tree
            .file(format!("{etc}/secret"), "a secret")
            .file(format!("{etc}/secrets/one"), "a secret")
            .file(format!("{etc}/linked"), "a secret")
            .symlink(format!("{etc}/link"), "/etc/linked");
    }
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(512))?;
    Ok(lab
        .machine("confine")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?)
}

fn masked_paths_show_nothing_and_cannot_be_changed(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "masked");
    for file in [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/etc/secret",
        "/etc/link",
    ] {
        // Some kernels lack some of the files.
        let nothing = format!("mask {file} nothing");
        if !file.starts_with("/proc") || !seen.lines().any(|line| line == nothing) {
            seen.printed(&format!("mask {file} 1:3, chmod EROFS"))?;
        }
    }
    for directory in ["/sys/firmware", "/etc/secrets"] {
        seen.printed(&format!("mask {directory} 0 entries, chmod EROFS"))?;
    }
    seen.printed("mask /proc/kcore 1:3, chmod EROFS")?;
    // What is there but not asked for is not masked: the secret that the link leads to is.
    let linked = Seen::new(&outcome, "masked-seen").mount_at("/etc/linked")?;
    ensure!(
        linked.root == "/null" && linked.has_option("ro"),
        "{linked:?}"
    );
    Ok(())
}

fn masks_of_directories_are_one_filesystem(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "masked-seen");
    let [one, other] = [
        seen.mount_at("/sys/firmware")?,
        seen.mount_at("/etc/secrets")?,
    ];
    for mask in [&one, &other] {
        let options = ["ro", "nosuid", "nodev", "noexec"];
        ensure!(
            mask.fstype == "tmpfs" && options.iter().all(|option| mask.has_option(option)),
            "{mask:?}"
        );
        ensure!(
            mask.filesystem_options
                .split(',')
                .any(|option| option == "ro"),
            "{mask:?}"
        );
    }
    ensure!(one.device == other.device, "{one:?} {other:?}");
    Ok(())
}

fn read_only_paths_are_read_only_with_all_below(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let looked = Seen::new(&outcome, "fixed");
    for (path, expected) in [
        ("/etc", "directory, EROFS"),
        ("/etc/volume", "directory, EROFS"),
        ("/mnt", "directory, is writable"),
    ] {
        looked.printed(&format!("at {path} {expected}"))?;
    }
    let shmmax = looked
        .facts("at")
        .into_iter()
        .find(|fact| fact.contains("shmmax"));
    ensure!(
        shmmax.is_some_and(|fact| fact.ends_with("EROFS")),
        "{shmmax:?}"
    );
    let seen = Seen::new(&outcome, "fixed-seen");
    let copies: Vec<_> = seen
        .mounts("mount")?
        .into_iter()
        .filter(|mount| mount.point == "/etc/volume")
        .collect();
    let top = copies.last().context("no volume")?;
    ensure!(
        ["ro", "nosuid", "nodev"]
            .iter()
            .all(|option| top.has_option(option)),
        "{copies:#?}"
    );
    Ok(())
}

fn read_only_procfs_can_have_masks_on_top(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "both").printed("mask /proc/kcore 1:3, chmod EROFS")
}

fn parameters_are_set_in_the_containers_namespaces_only(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "parameters");
    for (path, value) in [
        ("kernel/shmmax", "65536"),
        ("kernel/msgmni", "77"),
        ("fs/mqueue/msg_max", "11"),
        ("net/ipv4/ip_forward", "1"),
        ("kernel/domainname", "a.domain"),
    ] {
        seen.printed(&format!("at /proc/sys/{path} file {value:?}, is writable"))?;
    }
    let hosts = Seen::new(&outcome, "hosts");
    hosts.printed("at /proc/sys/net/ipv4/ip_forward file \"0\", is writable")?;
    hosts.printed("at /proc/sys/kernel/domainname file \"(none)\", is writable")?;
    let facts = hosts.facts("at");
    ensure!(
        facts.iter().all(|fact| !fact.contains("\"65536\"")),
        "{facts:?}"
    );
    Ok(())
}

fn parameters_do_not_go_where_the_bundle_has_mounted_something(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "diverted");
    seen.printed("at /proc/sys/kernel/shmmax file \"of the host\", is writable")?;
    seen.printed("at /mnt/sys/kernel/shmmax file \"65537\", is writable")
}

fn devices_are_made_as_they_are_asked_for(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "devices");
    for node in [
        "/dev/fuse c 10:229 640 7:8",
        "/dev/some/where/disk b 8:1 666 0:0",
        "/fifo p 0:0 600 0:0",
        "/dev/null c 1:3 666 0:0",
        "/dev/zero c 1:5 400 0:0",
    ] {
        seen.printed(&format!("node {node}"))?;
    }
    Ok(())
}

fn every_failure_has_its_code_and_its_text(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (bundle, code, text) in failing() {
        Seen::new(&outcome, bundle.id()).failed(code, text)?;
    }
    Ok(())
}

fn every_confined_container_ends_well(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for bundle in confined() {
        Seen::new(&outcome, bundle.id()).exited(0)?;
    }
    // Berth's own, for those that it refused.
    Ok(outcome.assert(Ended::PowerOff, 125)?)
}
