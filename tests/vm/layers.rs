//! Containers with a writable layer above their root filesystem: `berth.overlay`.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use berth_initramfs::Compression;
use berth_qemu::disk::{Disk, DiskImage, Fs};
use berth_qemu::vm::{Builder, Ended, Outcome};
use berth_tests::{Bundle, Lab, MODULES, Seen, Shared, disk};
use serde_json::json;

use crate::images::image;
use crate::verity::{BLOCK, Verified, used_by_squashfs};
use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere changes_are_in_the_layer_and_nowhere_else,
    everywhere layer_is_above_an_image_too,
    everywhere layer_in_a_user_namespace_has_its_own_notes,
    everywhere root_that_is_read_only_stays_so_with_a_layer,
    everywhere layer_that_cannot_be_is_named,
    once root_below_a_layer_is_like_the_one_without,
    everywhere nothing_is_left_of_layers_when_their_containers_have_ended,
    once layer_on_vfat_is_refused_in_the_kernels_words,
    once kernel_says_that_a_layer_is_in_use,
    once layer_without_a_driver_is_told_so,
];

const ROOT: &str = "root=UUID=b0a70000-0000-4000-8000-000000000003";

static LAYERED: Shared = Shared::new(boot);

/// A container that looks at its root and changes it.
fn layered(id: &str, layer: &str) -> Bundle {
    Bundle::new(id)
        .annotation("berth.overlay", layer)
        .runs(["/bin/guest", "change-root", id])
}

/// Runs as another user than the host's root, if `outside` is not 0.
fn with_users(bundle: Bundle, outside: u32) -> Bundle {
    let map = json!([{ "containerID": 0, "hostID": outside, "size": 65536 }]);
    bundle
        .namespaces(&["mount", "pid", "uts", "ipc", "user"])
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

fn imaged(bundle: Bundle) -> Bundle {
    bundle.annotation("berth.image", "app.img")
}

/// Those that run, with their layers.
fn running(root_hash: &str) -> Vec<Bundle> {
    let switch = |bundle: Bundle, how| bundle.annotation("berth.root-switch", how);
    vec![
        layered("kept", "layer"),
        layered("absolute", "/layers/absolute"),
        layered("forgotten", "tmpfs"),
        switch(layered("moved", "tmpfs"), "move"),
        switch(layered("rooted", "layer"), "chroot"),
        layered("sealed", "tmpfs").set("/root/readonly", true.into()),
        imaged(layered("imaged", "layer")),
        imaged(layered("checked", "tmpfs")).annotation("berth.verity", root_hash),
        with_users(layered("user-tmpfs", "tmpfs"), 100_000),
        with_users(layered("user-layer", "layer"), 0),
    ]
}

/// Those whose layer cannot be, and what is said of them.
fn failing() -> [(Bundle, &'static str); 6] {
    [
        (
            layered("nowhere", "/nothing/layer"),
            "open /nothing/layer for nowhere: ENOENT",
        ),
        (
            layered("file", "config.json"),
            "open config.json for file: ENOTDIR",
        ),
        (layered("linked", "link"), "open link for linked: ELOOP"),
        (
            layered("outside", "../kept/layer"),
            "open ../kept/layer for outside: EXDEV",
        ),
        (
            layered("kernel", "/sys"),
            "create upper for berth.overlay=/sys for kernel: EPERM",
        ),
        (
            with_users(layered("stranger", "layer"), 100_000),
            "open layer for stranger: EACCES",
        ),
    ]
}

fn machine(lab: &Lab, name: &str, root: &DiskImage, more: &[&str]) -> Result<Builder> {
    let spec = lab.spec()?.load(MODULES).load(more.iter().copied());
    let image = spec.build(Compression::Zstd)?;
    Ok(lab.machine_with(name, &image).append(ROOT).blk(root))
}

fn boot(lab: &Lab) -> Result<Outcome> {
    let squashfs = image("squashfs")?;
    let checked = Verified::behind(&squashfs, used_by_squashfs(&squashfs)?, BLOCK)?;
    let watcher = Bundle::new("watcher")
        .namespaces(&["mount", "uts"])
        .mount("/sys", "sysfs", "sysfs", &[])
        .runs(["/bin/guest", "outlast"]);
    let good = running(&checked.root_hash);
    let bad = failing();
    let all = good.iter().chain(bad.iter().map(|(bundle, _)| bundle));
    let mut tree = disk::files(all.clone().cloned().chain([watcher]))?;
    for bundle in all {
        tree = tree.file(
            format!("containers/{}/rootfs/etc/below", bundle.id()),
            "below",
        );
    }
    for id in ["imaged", "checked"] {
        tree = tree.file(format!("containers/{id}/app.img"), fs::read(&checked.data)?);
    }
    let tree = tree
        .directory("layers")
        .symlink("containers/linked/link", "/layers");
    let root = Disk::bare(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(300)).build()?;
    let more = ["loop", "squashfs", "dm_verity", "overlay"];
    let vm = machine(lab, "layers", &root, &more)?.start()?;
    let outcome = vm.wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    // What is on the disk afterwards.
    for (path, content) in [
        ("kept/rootfs/etc/below", "below"),
        ("kept/layer/upper/etc/below", "kept"),
        ("kept/layer/upper/left", "kept"),
        ("kept/rootfs/left", ""),
        ("../layers/absolute/upper/left", "absolute"),
        ("absolute/rootfs/left", ""),
        ("forgotten/rootfs/etc/below", "below"),
        ("rooted/layer/upper/left", "rooted"),
        ("imaged/layer/upper/left", "imaged"),
        ("user-layer/layer/upper/left", "user-layer"),
    ] {
        let path = format!("/containers/{path}").replace("/containers/../", "/");
        let output = Command::new("debugfs")
            .args(["-R", &format!("cat {path}")])
            .arg(vm.disk(0))
            .output()?;
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(found == content, "{path}: {found:?}: {output:?}");
    }
    Ok(outcome)
}

/// Holds a container to having an overlay as its root, and all of its changes to have been made.
fn changed(outcome: &Outcome, id: &str) -> Result<()> {
    let seen = Seen::new(outcome, id);
    seen.exited(0)?;
    let root = seen.mount_at("/")?;
    ensure!(root.fstype == "overlay", "{id}: {root:?}");
    ensure!(!root.has_option("ro"), "{id}: {root:?}");
    seen.printed("left error 2")?;
    seen.printed(&format!("write ok {id}"))
}

fn changes_are_in_the_layer_and_nowhere_else(lab: &Lab) -> Result<()> {
    let outcome = LAYERED.outcome(lab)?;
    for id in ["kept", "absolute", "forgotten", "moved", "rooted"] {
        changed(&outcome, id)?;
        let seen = Seen::new(&outcome, id);
        seen.printed("below ok below")?;
        seen.printed(&format!("change ok {id}"))?;
        seen.printed("remove ok ")?;
        seen.printed("make ok ")?;
    }
    Ok(())
}

fn layer_is_above_an_image_too(lab: &Lab) -> Result<()> {
    let outcome = LAYERED.outcome(lab)?;
    changed(&outcome, "imaged")?;
    changed(&outcome, "checked")
}

fn layer_in_a_user_namespace_has_its_own_notes(lab: &Lab) -> Result<()> {
    let outcome = LAYERED.outcome(lab)?;
    for id in ["user-tmpfs", "user-layer"] {
        changed(&outcome, id)?;
        let root = Seen::new(&outcome, id).mount_at("/")?;
        ensure!(root.filesystem_options.contains("userxattr"), "{root:?}");
    }
    let user = Seen::new(&outcome, "user-layer");
    user.printed("remove ok ")?;
    user.printed("make ok ")
}

fn root_that_is_read_only_stays_so_with_a_layer(lab: &Lab) -> Result<()> {
    let outcome = LAYERED.outcome(lab)?;
    let seen = Seen::new(&outcome, "sealed");
    let root = seen.mount_at("/")?;
    ensure!(
        root.fstype == "overlay" && root.has_option("ro"),
        "{root:?}"
    );
    seen.printed("write error 30")
}

fn layer_that_cannot_be_is_named(lab: &Lab) -> Result<()> {
    let outcome = LAYERED.outcome(lab)?;
    for (bundle, text) in failing() {
        Seen::new(&outcome, bundle.id()).failed("B053", text)?;
    }
    Ok(())
}

fn root_below_a_layer_is_like_the_one_without(lab: &Lab) -> Result<()> {
    let plain = Bundle::new("plain").runs(["/bin/guest", "change-root", "plain"]);
    let bundles = [plain, layered("layered", "tmpfs")];
    let tree = disk::files(bundles)?;
    let root = Disk::bare(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(64)).build()?;
    let name = "root_below_a_layer_is_like_the_one_without";
    let outcome = machine(lab, name, &root, &["overlay"])?.start()?.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let mode = |id| Seen::new(&outcome, id).facts("mode");
    ensure!(!mode("plain").is_empty() && mode("plain") == mode("layered"));
    Ok(())
}

fn nothing_is_left_of_layers_when_their_containers_have_ended(lab: &Lab) -> Result<()> {
    let outcome = LAYERED.outcome(lab)?;
    let watcher = Seen::new(&outcome, "watcher");
    watcher.printed("no loop device is in use, no device is mapped")?;
    let mounts = watcher.mounts("host")?;
    let left = |fstype: &str| mounts.iter().any(|mount| mount.fstype == fstype);
    ensure!(!left("overlay") && !left("squashfs"), "{mounts:#?}");
    ensure!(
        !mounts
            .iter()
            .any(|mount| mount.point.starts_with("/containers")),
        "{mounts:#?}"
    );
    Ok(())
}

/// The layer on vfat above a root that is none, and the other way round.
fn layer_on_vfat_is_refused_in_the_kernels_words(lab: &Lab) -> Result<()> {
    let bundles = [imaged(layered("upper", "layer")), layered("lower", "tmpfs")];
    let tree = disk::files(bundles)?;
    let tree = tree.file("containers/upper/app.img", fs::read(image("squashfs")?)?);
    let root = disk::of(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, tree))?;
    let spec = lab.spec()?.load(MODULES);
    let spec = spec.load(["loop", "squashfs", "overlay"]);
    let name = "layer_on_vfat_is_refused_in_the_kernels_words";
    let outcome = lab
        .machine_with(name, &spec.build(Compression::Zstd)?)
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?
        .wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    for (id, layer) in [("upper", "layer"), ("lower", "tmpfs")] {
        Seen::new(&outcome, id).failed(
            "B053",
            &format!("for berth.overlay={layer} for {id}: EINVAL: overlayfs: "),
        )?;
    }
    Ok(())
}

fn kernel_says_that_a_layer_is_in_use(lab: &Lab) -> Result<()> {
    let stays = |id| layered(id, "/layers/shared").runs(["/bin/guest", "until-asked"]);
    // overlayfs empties the work directory of a mount that it makes: of two at once, either may
    // lose it to the other.
    let second = stays("second").annotation("berth.after", "first");
    let tree = disk::files([stays("first"), second])?.directory("layers");
    let root = Disk::bare(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(64)).build()?;
    let name = "kernel_says_that_a_layer_is_in_use";
    let vm = machine(lab, name, &root, &["overlay"])?.start()?;
    for id in ["first", "second"] {
        vm.expect("both to run", |event| event.is_container(id, "started"))?;
    }
    vm.ctrl_alt_delete()?;
    let outcome = vm.wait()?;
    ensure!(outcome.console.contains("in-use"), "{}", outcome.console);
    Ok(outcome.assert(Ended::Reboot, 0)?)
}

fn layer_without_a_driver_is_told_so(lab: &Lab) -> Result<()> {
    let tree = disk::files([layered("lost", "tmpfs")])?;
    let root = Disk::bare(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(64)).build()?;
    let name = "layer_without_a_driver_is_told_so";
    let outcome = machine(lab, name, &root, &[])?.start()?.wait()?;
    outcome.assert_ended(Ended::PowerOff)?;
    Seen::new(&outcome, "lost")
        .failed("B053", "mount overlay as overlay for berth.overlay=tmpfs")?;
    ensure!(outcome.console.contains("`--module NAME` in the image"));
    Ok(())
}
