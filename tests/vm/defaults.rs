//! What a container may do of which nothing is said, and what a word more gives it: capabilities,
//! devices, masks. One boot.

use anyhow::{Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere what_a_container_may_do_by_default,
    once privileged_is_said_in_capitals,
];

static BOOT: Shared = Shared::new(boot);

/// The container that makes a node of `/dev/kmsg`, in the rootfs that all have; and the program on
/// the host.
const MAKER: &str = "maker";
const ROOTFS: &str = "/containers/maker/rootfs";
const GUEST: &str = "/containers/maker/rootfs/bin/guest";

/// The kernel's log: a device that nobody is given.
const NODE: &str = "/tmp/c1:11";

/// A container that begins when the node is there, and then tries this.
fn tries(id: &str, attempts: &[&str]) -> Bundle {
    let node = format!("{ROOTFS}{NODE}");
    let wait = json!([{ "path": GUEST, "args": ["guest", "wait-for", node] }]);
    Bundle::new(id)
        .confined()
        .set("/root/path", json!(ROOTFS))
        .set("/hooks", json!({ "createRuntime": wait }))
        .runs(
            ["/bin/guest", "try-rights"]
                .into_iter()
                .chain(attempts.iter().copied()),
        )
}

fn bounding(bundle: Bundle, capabilities: &[&str]) -> Bundle {
    bundle.set("/process/capabilities", json!({ "bounding": capabilities }))
}

fn kmsg(path: &str) -> Value {
    json!({ "path": path, "type": "c", "major": 1, "minor": 11, "fileMode": 0o600 })
}

/// A container, and what it prints.
type Asked = (Bundle, Vec<String>);

fn tried(bundle: Bundle, attempts: &[(&str, &str)]) -> Asked {
    let words: Vec<_> = attempts.iter().map(|(attempt, _)| *attempt).collect();
    let bundle = bundle.runs(["/bin/guest", "try-rights"].into_iter().chain(words));
    let facts = attempts.iter();
    let facts = facts.map(|(attempt, result)| format!("attempt {attempt} {result}"));
    (bundle, facts.collect())
}

fn sets(bundle: Bundle, set: u64) -> Asked {
    let names = ["CapPrm", "CapEff", "CapBnd"];
    let facts = names.iter().map(|name| format!("{name} {set:016x}"));
    let inherited = ["CapInh", "CapAmb"].map(|name| format!("{name} {:016x}", 0));
    let bundle = bundle.runs(["/bin/guest", "process"]);
    (bundle, facts.chain(inherited).collect())
}

const ALL: u64 = (1 << 41) - 1;

fn cases() -> Vec<Asked> {
    let node = format!("append:{NODE}");
    let node = node.as_str();
    let users = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
    let mapped = |id| {
        tries(id, &[])
            .set("/linux/namespaces/-", json!({ "type": "user" }))
            .set("/linux/uidMappings", users.clone())
            .set("/linux/gidMappings", users.clone())
    };
    let masks = ["/proc/kcore", "/proc/keys", "/sys/firmware"];
    vec![
        sets(tries("nothing", &[]), 0),
        sets(
            tries("all", &[]).annotation("berth.privileged", "true"),
            ALL,
        ),
        sets(
            bounding(tries("few-of-all", &[]), &["CAP_CHOWN"])
                .annotation("berth.privileged", "true"),
            1,
        ),
        sets(mapped("nothing-mapped"), 0),
        tried(
            tries("plain", &[]),
            &[
                (node, "EACCES"),
                ("append:/dev/null", "ok"),
                ("append:/proc/sysrq-trigger", "EROFS"),
                ("append:/proc/sys/kernel/panic", "EROFS"),
            ],
        ),
        (
            tries("masked", &[]).runs(["/bin/guest", "escape", "masks"].into_iter().chain(masks)),
            vec![
                "mask /proc/kcore 1:3, chmod EROFS".into(),
                "mask /sys/firmware 0 entries, chmod EROFS".into(),
            ],
        ),
        tried(
            tries("unmasked", &[])
                .set("/linux/maskedPaths", json!([]))
                .set("/linux/readonlyPaths", json!([])),
            &[
                (node, "EACCES"),
                ("append:/proc/sysrq-trigger", "ok"),
                ("append:/proc/sys/kernel/panic", "ok"),
            ],
        ),
        tried(
            tries("privileged", &[]).annotation("berth.privileged", "true"),
            &[(node, "ok"), ("append:/proc/sysrq-trigger", "ok")],
        ),
        // Whoever can make nodes or mounts is held by a program.
        (
            bounding(tries("makes-nodes", &[]), &["CAP_MKNOD"]).runs([
                "/bin/guest",
                "try-devices",
                "c1:5",
                "c1:12",
            ]),
            [
                "c1:5 mknod ok",
                "c1:5 rw ok",
                "c1:12 mknod ok",
                "c1:12 r EPERM",
                "c1:12 w EPERM",
            ]
            .map(|fact| format!("device {fact}"))
            .into(),
        ),
        tried(
            bounding(tries("mounts", &[]), &["CAP_SYS_ADMIN"]),
            &[(node, "EPERM"), ("append:/dev/null", "ok")],
        ),
        tried(
            bounding(mapped("mounts-mapped"), &["CAP_SYS_ADMIN"]),
            &[(node, "EPERM"), ("append:/dev/null", "ok")],
        ),
        tried(
            mapped("mapped"),
            &[(node, "EACCES"), ("append:/dev/null", "ok")],
        ),
        tried(
            tries("directory", &[]).mount("/mnt", "bind", &format!("{ROOTFS}/tmp"), &["bind"]),
            &[("append:/mnt/c1:11", "EACCES")],
        ),
        tried(
            tries("asks-for-nodes", &[]).mount(
                "/mnt",
                "bind",
                &format!("{ROOTFS}/tmp"),
                &["bind", "dev"],
            ),
            &[("append:/mnt/c1:11", "EPERM")],
        ),
        tried(
            tries("devices-of-the-host", &[]).mount("/mnt", "bind", "/dev", &["rbind"]),
            &[("append:/mnt/null", "ok"), ("append:/mnt/kmsg", "EPERM")],
        ),
        tried(
            tries("one-of-the-host", &[]).mount("/mnt/x", "bind", "/dev/kmsg", &["bind"]),
            &[("append:/mnt/x", "EPERM")],
        ),
        tried(
            tries("listed", &[]).set(
                "/linux/devices",
                json!([kmsg("/dev/kmsg"), kmsg("/srv/x/kmsg")]),
            ),
            &[
                ("append:/dev/kmsg", "ok"),
                ("append:/srv/x/kmsg", "ok"),
                (node, "EACCES"),
            ],
        ),
        tried(
            bounding(tries("listed-by-program", &[]), &["CAP_MKNOD"])
                .set("/linux/devices", json!([kmsg("/dev/kmsg")])),
            &[
                ("append:/dev/kmsg", "ok"),
                (node, "ok"),
                ("read:/dev/null", "ok"),
            ],
        ),
        tried(
            tries("shared", &[])
                .annotation("berth.root-switch", "chroot")
                .set("/mounts", json!([]))
                .set("/hostname", Value::Null)
                .namespaces(&["pid"]),
            &[(node, "EPERM")],
        ),
    ]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let maker = Bundle::new(MAKER).runs(["/bin/guest", "try-devices", "c1:11"]);
    let bundles = cases().into_iter().map(|(bundle, _)| bundle).chain([maker]);
    let tree = disk::files(bundles)?;
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(512))?;
    Ok(lab
        .machine("defaults")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?)
}

fn what_a_container_may_do_by_default(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (bundle, facts) in cases() {
        let seen = Seen::new(&outcome, bundle.id());
        for fact in facts {
            seen.printed(&fact)?;
        }
        seen.exited(0)?;
    }
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

fn privileged_is_said_in_capitals(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let says = |id: &str| outcome.console.contains(&format!("{id}: PRIVILEGED"));
    for id in ["all", "privileged", MAKER] {
        ensure!(says(id), "{id}: nothing is said");
    }
    ensure!(!says("plain"), "plain is privileged");
    Ok(())
}
