//! Labels of SELinux, with a policy that is loaded and enforced by a hook before the other containers are made.

use anyhow::Result;
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, busybox, disk, selinux_policy};
use serde_json::json;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once a_program_has_its_label_and_is_confined_by_it,
    once new_filesystems_have_the_label_of_mounts,
    once a_label_that_the_policy_does_not_know_is_refused,
];

static BOOT: Shared = Shared::new(boot);

const POLICY: &str =
    "mount -t selinuxfs none /mnt && cat /policy >/mnt/load && echo 1 >/mnt/enforce";

/// What a container tries with a file on a new filesystem.
const TRY: &str = r#"grep -o '[a-z:_]*' /proc/self/attr/current
echo text >/new/file
cat /new/file 2>&1
while read -r source place kind options; do
    case "$options" in *context=u:r:secret_t*) echo "$place" ;; esac
done </proc/mounts"#;

fn bundle(id: &str) -> Bundle {
    Bundle::new(id)
        .set("/root/path", json!("/box"))
        .runs(["/bin/sh", "-c", TRY])
        .annotation("berth.after", "policy")
        .mount("/new", "tmpfs", "tmpfs", &[])
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", POLICY], "env": ["PATH=/bin"] });
    let policy = Bundle::new("policy").set("/hooks", json!({ "prestart": [hook] }));
    let labelled = |id, label: &str| bundle(id).set("/process/selinuxLabel", json!(label));
    let mounts = |bundle: Bundle| bundle.set("/linux/mountLabel", json!("u:r:secret_t"));
    let size = format!("size={}4m", "0".repeat(300));
    let tree = disk::files([
        policy,
        bundle("plain"),
        labelled("confined", "u:r:box_t"),
        mounts(labelled("denied", "u:r:box_t")),
        // An option that fsconfig(2) does not take.
        mounts(labelled("long", "u:r:box_t").mount("/new", "tmpfs", "tmpfs", &[&size])),
        mounts(bundle("mounts")),
        labelled("unknown", "u:r:nobody_t"),
        bundle("unknown-mounts").set("/linux/mountLabel", json!("u:r:nobody_t")),
    ])?
    .file("policy", selinux_policy()?)
    .directory("mnt");
    let mut tree = busybox(busybox(tree, "")?, "box")?;
    for directory in ["dev", "etc", "new", "proc", "run", "sys", "tmp"] {
        tree = tree.directory(format!("box/{directory}"));
    }
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(300))?;
    Ok(lab
        .machine("selinux")?
        .append("root=/dev/vda1 security=selinux selinux=1")
        .blk(&root)
        .start()?
        .wait()?)
}

fn says(lab: &Lab, id: &str, lines: &[&str]) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    outcome.assert(Ended::PowerOff, 125)?;
    let said: Vec<_> = Seen::new(&outcome, id).lines().collect();
    anyhow::ensure!(said == lines, "{said:#?}");
    Ok(())
}

fn a_program_has_its_label_and_is_confined_by_it(lab: &Lab) -> Result<()> {
    says(lab, "plain", &["u:r:all_t", "text"])?;
    says(lab, "confined", &["u:r:box_t", "text"])?;
    let denied = [
        "u:r:box_t",
        "cat: can't open '/new/file': Permission denied",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/new",
        "/new",
    ];
    says(lab, "denied", &denied[..6])?;
    says(lab, "long", &denied)
}

fn new_filesystems_have_the_label_of_mounts(lab: &Lab) -> Result<()> {
    says(
        lab,
        "mounts",
        &["u:r:all_t", "text", "/dev", "/dev/pts", "/dev/shm", "/new"],
    )
}

fn a_label_that_the_policy_does_not_know_is_refused(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "unknown").failed(
        "B053",
        "the label of SELinux u:r:nobody_t for unknown: EINVAL",
    )?;
    Seen::new(&outcome, "unknown-mounts").failed("B053", "context=\"u:r:nobody_t\"")
}
