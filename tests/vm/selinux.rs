//! Labels of SELinux, with a policy that is loaded and enforced by a hook before the other
//! containers are made.

use std::fs;

use anyhow::{Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, MODULES, Seen, Shared, busybox, disk, selinux_policy};
use serde_json::json;

use crate::images::image;
use crate::verity::{SMALL_BLOCK, Verified};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once a_program_has_its_label_and_is_confined_by_it,
    once new_filesystems_have_the_label_of_mounts,
    once root_filesystems_that_are_mounted_have_it_too,
    once what_lies_in_dev_and_on_masks_has_it_too,
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

/// Where the files of the first of these containers, which are not labelled, are.
const PLAIN: &str = "labels";

/// A container that shows mounts and labels, and whose new filesystems have one.
fn shows(id: &str, paths: &[&str]) -> Bundle {
    Bundle::new(id)
        .runs(["/bin/guest", "labels"].iter().chain(paths).copied())
        .annotation("berth.after", "policy")
        .set("/linux/mountLabel", json!("u:r:secret_t"))
}

/// Those that have a root filesystem of their own, and whether it can be written.
fn rooted(verity: &str) -> Vec<(Bundle, bool)> {
    let layered = |id, layer: &str| {
        shows(id, &["/", "/made", "/bin/guest"])
            .set("/root/path", json!(format!("/containers/{PLAIN}/rootfs")))
            .annotation("berth.overlay", layer)
    };
    let imaged = |id, paths: &[&str], file: &str| {
        shows(id, paths).annotation("berth.image", &format!("app.{file}"))
    };
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let there = ["/", "/bin/guest"];
    let made = ["/", "/made", "/bin/guest"];
    vec![
        (layered("layer", "tmpfs"), true),
        (layered("layer-kept", "changes"), true),
        (
            layered("layer-of-user", "tmpfs")
                .set("/linux/namespaces/-", json!({ "type": "user" }))
                .set("/linux/uidMappings", map.clone())
                .set("/linux/gidMappings", map),
            true,
        ),
        (imaged("squashfs", &there, "squashfs"), false),
        (imaged("erofs", &there, "erofs"), false),
        (imaged("ext4", &made, "ext4"), true),
        (
            imaged("checked", &there, "checked").annotation("berth.verity", verity),
            false,
        ),
        (
            imaged("image-and-layer", &made, "squashfs").annotation("berth.overlay", "tmpfs"),
            true,
        ),
    ]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", POLICY], "env": ["PATH=/bin"] });
    let policy = Bundle::new("policy").set("/hooks", json!({ "prestart": [hook] }));
    let labelled = |id, label: &str| bundle(id).set("/process/selinuxLabel", json!(label));
    let mounts = |bundle: Bundle| bundle.set("/linux/mountLabel", json!("u:r:secret_t"));
    let size = format!("size={}4m", "0".repeat(300));
    let [squashfs, erofs, ext4] = ["squashfs", "erofs", "ext4"].map(image);
    let (squashfs, erofs, ext4) = (squashfs?, erofs?, ext4?);
    let checked = Verified::behind(&ext4, fs::metadata(&ext4)?.len(), SMALL_BLOCK)?;
    let verity = format!("{},{}", checked.root_hash, checked.offset);
    let mut tree = disk::files(rooted(&verity).into_iter().map(|(bundle, _)| bundle))?;
    for (id, file, data) in [
        ("squashfs", "squashfs", squashfs.as_ref()),
        ("image-and-layer", "squashfs", squashfs.as_ref()),
        ("erofs", "erofs", erofs.as_ref()),
        ("ext4", "ext4", ext4.as_ref()),
        ("checked", "checked", checked.data.as_ref()),
    ] {
        tree = tree.copy(data, format!("containers/{id}/app.{file}"));
    }
    for bundle in [
        shows(PLAIN, &DEV),
        shows("masked", &["/etc", "/dev/mqueue"])
            .set("/linux/maskedPaths", json!(["/etc", "/sys/kernel"])),
        policy,
        bundle("plain"),
        labelled("confined", "u:r:box_t"),
        mounts(labelled("denied", "u:r:box_t")),
        // An option that fsconfig(2) does not take.
        mounts(labelled("long", "u:r:box_t").mount("/new", "tmpfs", "tmpfs", &[&size])),
        mounts(bundle("mounts")),
        labelled("unknown", "u:r:nobody_t"),
        bundle("unknown-mounts").set("/linux/mountLabel", json!("u:r:nobody_t")),
    ] {
        tree = bundle.put(tree)?;
    }
    let tree = tree.file("policy", selinux_policy()?).directory("mnt");
    let mut tree = busybox(busybox(tree, "")?, "box")?;
    for directory in ["dev", "etc", "new", "proc", "run", "sys", "tmp"] {
        tree = tree.directory(format!("box/{directory}"));
    }
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(700))?;
    let spec = lab.spec()?.load(MODULES);
    let spec = spec.load(["loop", "squashfs", "erofs", "dm_verity", "overlay"]);
    Ok(lab
        .machine_with("selinux", &spec.build(Compression::Zstd)?)
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

/// Whether the container's mount at `point` has the label.
fn is_labelled(seen: Seen<'_>, point: &str) -> Result<bool> {
    let mount = seen.mount_at(point)?;
    let mut options = mount.filesystem_options.split(',');
    Ok(options.any(|option| option == "context=u:r:secret_t"))
}

fn root_filesystems_that_are_mounted_have_it_too(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (bundle, is_writable) in rooted("") {
        let id = bundle.id();
        let seen = Seen::new(&outcome, id);
        seen.exited(0)?;
        ensure!(is_labelled(seen, "/")?, "{id}: {:?}", seen.mount_at("/")?);
        let made = is_writable.then_some("label /made u:r:secret_t");
        for fact in ["label / u:r:secret_t", "label /bin/guest u:r:secret_t"]
            .into_iter()
            .chain(made)
        {
            seen.printed(fact)?;
        }
    }
    // What is bound has the labels that it has.
    let seen = Seen::new(&outcome, PLAIN);
    ensure!(!is_labelled(seen, "/")?, "{:?}", seen.mount_at("/")?);
    Ok(())
}

/// What every `/dev` has. A file on the one for message queues cannot be labelled beforehand.
const DEV: [&str; 8] = [
    "/dev",
    "/dev/null",
    "/dev/pts",
    "/dev/pts/ptmx",
    "/dev/shm",
    "/dev/shm/made",
    "/dev/mqueue",
    "/dev/made",
];

fn what_lies_in_dev_and_on_masks_has_it_too(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, PLAIN);
    seen.exited(0)?;
    for path in DEV {
        seen.printed(&format!("label {path} u:r:secret_t"))?;
    }
    let seen = Seen::new(&outcome, "masked");
    seen.printed("label /etc u:r:secret_t")?;
    seen.printed("label /dev/mqueue u:r:secret_t")?;
    ensure!(
        is_labelled(seen, "/etc")? && is_labelled(seen, "/sys/kernel")?,
        "{:#?}",
        seen.mounts("mount")?
    );
    Ok(())
}

fn a_label_that_the_policy_does_not_know_is_refused(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "unknown").failed(
        "B053",
        "the label of SELinux u:r:nobody_t for unknown: EINVAL",
    )?;
    Seen::new(&outcome, "unknown-mounts").failed("B053", "context=\"u:r:nobody_t\"")
}
