//! What is mounted in a container, by itself and because the bundle asks for it: many containers in
//! one boot from an ext4, with a vfat and an ext4 beside it.

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::{Disk, Fs};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, MountLine, Seen, Shared, disk};
use serde_json::json;
use uuid::Uuid;

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once read_only_root_is_read_only,
    once default_devices_are_there_and_for_everybody,
    once default_filesystems_do_not_cover_what_the_bundle_mounts_in_them,
    once message_queues_and_sysfs_are_left_out_where_they_are_not_the_containers,
    once rootfs_without_the_directories_gets_no_default_mounts,
    once filesystems_are_mounted_with_their_options,
    once block_devices_are_mounted_with_their_options,
    once files_and_directories_are_bound,
    once single_mount_has_the_propagation_it_asks_for,
    once symbolic_link_in_an_image_leads_no_mount_out,
    once missing_destination_is_created,
    once destinations_stay_inside_and_are_made_before_the_root_is_read_only,
    once devices_and_sockets_are_bound_like_files,
    once every_container_ends_well,
];

static BOOT: Shared = Shared::new(boot);

fn facts(id: &str) -> Bundle {
    Bundle::new(id).runs(["/bin/guest", "facts"])
}

fn bundles() -> Vec<Bundle> {
    vec![
        facts("read-only").set("/root/readonly", json!(true)),
        facts("defaults").set("/mounts", json!([])).mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["mode=1777", "size=1m"],
        ),
        facts("shared-ipc")
            .namespaces(&["mount", "uts"])
            .directory("sys/below")
            .mount("/sys/below", "tmpfs", "tmpfs", &[]),
        Bundle::new("bare")
            .set("/mounts", json!([]))
            .set("/root/path", json!("empty")),
        facts("filesystems")
            .mount(
                "/sys",
                "sysfs",
                "sysfs",
                &["nosuid", "noexec", "nodev", "ro"],
            )
            .mount(
                "/tmp",
                "tmpfs",
                "scratch",
                &["noexec", "size=2m", "mode=1777"],
            )
            .mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &["newinstance", "ptmxmode=0666", "mode=0620"],
            )
            .mount("/dev/mqueue", "mqueue", "mqueue", &[]),
        facts("disks")
            .mount("/mnt", "vfat", "/dev/vda2", &["ro", "umask=077"])
            .mount("/etc", "ext4", "/dev/vda3", &["noatime"])
            .runs(["/bin/guest", "look-at", "/mnt/file", "/etc/file"]),
        Bundle::new("disks-seen")
            .mount("/mnt", "vfat", "/dev/vda2", &["ro", "umask=077"])
            .mount("/etc", "ext4", "/dev/vda3", &["noatime"])
            .runs(["/bin/guest", "facts"]),
        Bundle::new("binds")
            .mount("/mnt", "", "shared", &["bind"])
            .mount("/tmp", "none", "/data", &["rbind", "ro"])
            .mount("/etc/one", "bind", "shared/file", &["bind", "ro"])
            .mount("/new/deep/file", "bind", "shared/file", &["bind"])
            .mount("/new/directory", "bind", "/data", &["bind", "nosuid"])
            .runs([
                "/bin/guest",
                "look-at",
                "/mnt",
                "/mnt/file",
                "/tmp",
                "/etc/one",
                "/new/deep/file",
                "/new/directory",
            ]),
        facts("propagations")
            .mount("/mnt", "none", "/data", &["rbind", "rprivate"])
            .mount("/tmp", "none", "/data", &["rbind", "slave"])
            .mount("/etc", "none", "/data", &["bind", "unbindable"]),
        facts("links")
            .mount("/absolute", "tmpfs", "tmpfs", &[])
            .mount("/relative/inside", "tmpfs", "tmpfs", &[])
            .mount("/chain", "bind", "/data/file", &["bind"]),
        facts("ways")
            .set("/root/readonly", json!(true))
            .set("/mounts/1/options", json!(["ro", "mode=755"]))
            .mount("/made/../../../etc/up", "tmpfs", "tmpfs", &[])
            .mount("no/slash/", "tmpfs", "tmpfs", &[])
            .mount("/a/missing/file", "bind", "/data/file", &["bind"]),
        Bundle::new("nodes")
            .mount("/usb", "bind", "/dev/vda2", &["bind"])
            .mount("/etc/nothing", "bind", "/dev/null", &["bind", "ro"])
            .mount("/etc/socket", "bind", "/data/socket", &["bind"])
            .runs(["/bin/guest", "nodes", "/usb", "/etc/nothing", "/etc/socket"]),
    ]
}

fn boot(lab: &Lab) -> Result<Outcome> {
    // The links lead out of the rootfs, for whoever follows them on the host.
    let tree = disk::files(bundles())?
        .file("data/file", "of the host")
        .file("containers/binds/shared/file", "of the bundle")
        .socket("data/socket")
        .directory("outside")
        .symlink("containers/links/rootfs/absolute", "/outside")
        .symlink("containers/links/rootfs/relative", "../../../outside")
        .symlink("containers/links/rootfs/chain", "etc/next")
        .symlink("containers/links/rootfs/etc/next", "../mnt/./last")
        .copy(berth_tests::guest()?, "containers/bare/empty/bin/guest");
    let on = |text: &str| Tree::new().file("file", text);
    let root = Disk::mbr(0xb0a7_0001)
        .partition(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(512))
        .partition(Fs::vfat("SECOND", 0xb0a7_0005, on("of the vfat")))
        .partition(Fs::ext4("THIRD", Uuid::from_u128(3), on("of the ext4")))
        .build()?;
    let vm = lab
        .machine("mounts")?
        .append("root=/dev/vda1")
        .blk(&root)
        .start()?;
    Ok(vm.wait()?)
}

fn read_only_root_is_read_only(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let [read_only, other] = ["read-only", "defaults"].map(|id| Seen::new(&outcome, id));
    ensure!(read_only.mount_at("/")?.has_option("ro"));
    read_only.printed("root EROFS")?;
    ensure!(
        read_only.mount_at("/dev")?.has_option("rw"),
        "only the root is read-only"
    );
    ensure!(other.mount_at("/")?.has_option("rw"));
    other.printed("root is writable")
}

fn default_devices_are_there_and_for_everybody(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    // One mounts its own tmpfs on /dev, the other says nothing of it.
    for id in ["read-only", "defaults"] {
        let mut devices = Seen::new(&outcome, id).facts("device");
        devices.sort_unstable();
        let expected = [
            "full 1:7 666",
            "null 1:3 666",
            "random 1:8 666",
            "tty 5:0 666",
            "urandom 1:9 666",
            "zero 1:5 666",
        ];
        ensure!(devices == expected, "{id}: {devices:?}");
        let mut links = Seen::new(&outcome, id).facts("link");
        links.sort_unstable();
        let expected = [
            "core /proc/kcore",
            "fd /proc/self/fd",
            "ptmx pts/ptmx",
            "stderr /proc/self/fd/2",
            "stdin /proc/self/fd/0",
            "stdout /proc/self/fd/1",
        ];
        ensure!(links == expected, "{id}: {links:?}");
    }
    Ok(())
}

fn default_filesystems_do_not_cover_what_the_bundle_mounts_in_them(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "defaults");
    for (point, fstype, options) in [
        ("/proc", "proc", "rw,nosuid,nodev,noexec,relatime"),
        ("/sys", "sysfs", "ro,nosuid,nodev,noexec,relatime"),
        ("/dev", "tmpfs", "rw,nosuid,relatime"),
        ("/dev/pts", "devpts", "rw,nosuid,noexec,relatime"),
        ("/dev/mqueue", "mqueue", "rw,nosuid,nodev,noexec,relatime"),
        // The bundle's own.
        ("/dev/shm", "tmpfs", "rw,relatime"),
    ] {
        let mount = seen.mount_at(point)?;
        ensure!(
            (mount.fstype.as_str(), mount.options.as_str()) == (fstype, options),
            "{mount:?}"
        );
    }
    let shm = seen.mount_at("/dev/shm")?;
    ensure!(shm.filesystem_options.contains("size=1024k"), "{shm:?}");
    // A /dev that the bundle mounts gets the same.
    let other = Seen::new(&outcome, "read-only");
    let shm = other.mount_at("/dev/shm")?;
    ensure!(shm.filesystem_options.contains("size=65536k"), "{shm:?}");
    ensure!(other.mount_at("/dev/pts")?.fstype == "devpts");
    Ok(())
}

/// Without an IPC namespace the queues would be the host's, and what the bundle mounts in /sys is
/// not to be covered.
fn message_queues_and_sysfs_are_left_out_where_they_are_not_the_containers(
    lab: &Lab,
) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let points = |id: &'static str| -> Result<Vec<String>> {
        let mounts = Seen::new(&outcome, id).mounts("mount")?;
        Ok(mounts.into_iter().map(|mount| mount.point).collect())
    };
    let mut found = points("shared-ipc")?;
    found.sort_unstable();
    let expected = ["/", "/dev", "/dev/pts", "/dev/shm", "/proc", "/sys/below"];
    ensure!(found == expected, "{found:?}");
    Ok(())
}

fn rootfs_without_the_directories_gets_no_default_mounts(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "bare");
    seen.printed("bare")?;
    seen.exited(0)
}

fn filesystems_are_mounted_with_their_options(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "filesystems");
    let holds =
        |mount: &MountLine, options: &[&str]| options.iter().all(|option| mount.has_option(option));
    let sys = seen.mount_at("/sys")?;
    ensure!(
        sys.fstype == "sysfs" && holds(&sys, &["ro", "nosuid", "nodev", "noexec"]),
        "{sys:?}"
    );
    let tmp = seen.mount_at("/tmp")?;
    ensure!(
        tmp.fstype == "tmpfs" && holds(&tmp, &["rw", "noexec"]),
        "{tmp:?}"
    );
    ensure!(tmp.filesystem_options.contains("size=2048k"), "{tmp:?}");
    let pts = seen.mount_at("/dev/pts")?;
    ensure!(
        pts.fstype == "devpts" && pts.filesystem_options.contains("ptmxmode=666"),
        "{pts:?}"
    );
    ensure!(seen.mount_at("/dev/mqueue")?.fstype == "mqueue");
    Ok(())
}

fn block_devices_are_mounted_with_their_options(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let looked = Seen::new(&outcome, "disks");
    looked.printed("at /mnt/file file \"of the vfat\", EROFS")?;
    looked.printed("at /etc/file file \"of the ext4\", is writable")?;
    let seen = Seen::new(&outcome, "disks-seen");
    let [vfat, ext4] = [seen.mount_at("/mnt")?, seen.mount_at("/etc")?];
    ensure!(vfat.fstype == "vfat" && vfat.has_option("ro"), "{vfat:?}");
    ensure!(vfat.filesystem_options.contains("fmask=0077"), "{vfat:?}");
    ensure!(
        ext4.fstype == "ext4" && ext4.has_option("rw") && ext4.has_option("noatime"),
        "{ext4:?}"
    );
    Ok(())
}

fn files_and_directories_are_bound(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "binds");
    seen.printed("at /mnt directory, is writable")?;
    seen.printed("at /mnt/file file \"of the bundle\", is writable")?;
    seen.printed("at /tmp directory, EROFS")?;
    seen.printed("at /etc/one file \"of the bundle\", EROFS")
}

fn single_mount_has_the_propagation_it_asks_for(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "propagations");
    let of = |point: &str| -> Result<(bool, bool)> {
        let mount = seen.mount_at(point)?;
        Ok((mount.is_shared(), mount.is_slave()))
    };
    ensure!(of("/mnt")? == (false, false), "private: {:?}", of("/mnt")?);
    ensure!(
        of("/")? == (true, true),
        "the root is as ever: {:?}",
        of("/")?
    );
    ensure!(
        seen.mount_at("/etc")?.propagation == ["unbindable"],
        "{:?}",
        seen.mount_at("/etc")?
    );
    ensure!(of("/tmp")? == (false, true), "slave: {:?}", of("/tmp")?);
    Ok(())
}

/// Links that lead nowhere in the rootfs, and to directories of the host: what is missing inside is
/// made.
fn symbolic_link_in_an_image_leads_no_mount_out(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "links");
    for point in ["/outside", "/outside/inside"] {
        ensure!(seen.mount_at(point)?.fstype == "tmpfs");
    }
    ensure!(seen.mount_at("/mnt/last")?.root == "/data/file");
    Ok(())
}

fn destinations_stay_inside_and_are_made_before_the_root_is_read_only(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "ways");
    ensure!(seen.mount_at("/")?.has_option("ro"));
    ensure!(seen.mount_at("/dev")?.has_option("ro"));
    ensure!(seen.facts("device").len() == 6, "it was filled before");
    for point in ["/etc/up", "/no/slash", "/a/missing/file"] {
        seen.mount_at(point)?;
    }
    Ok(())
}

fn devices_and_sockets_are_bound_like_files(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "nodes");
    let host = seen
        .facts("node")
        .into_iter()
        .find_map(|line| line.strip_prefix("/usb block "))
        .context("no block device")?;
    ensure!(host.ends_with(":2 readable"), "{host}");
    seen.printed("node /etc/nothing char 1:3 readable")?;
    seen.printed("node /etc/socket socket 0:0 ENXIO")
}

fn missing_destination_is_created(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let seen = Seen::new(&outcome, "binds");
    seen.printed("at /new/deep/file file \"of the bundle\", is writable")?;
    seen.printed("at /new/directory directory, is writable")
}

fn every_container_ends_well(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for bundle in bundles() {
        Seen::new(&outcome, bundle.id()).exited(0)?;
    }
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}
