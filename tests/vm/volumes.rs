//! Directories of the host in containers, and what is mounted in them while the containers run: one
//! boot, in which many share a volume and one acts on the host.

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, MountLine, Seen, Shared, disk};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere mount_of_the_host_appears_in_slaves_and_goes_again,
    everywhere mount_of_the_host_stays_out_of_private_volumes,
    everywhere mount_of_a_container_stays_inside,
    everywhere unmounting_inside_leaves_the_hosts_mount,
    everywhere shared_volume_passes_mounts_to_the_host_and_to_other_containers,
    everywhere volume_propagates_as_it_asks_whatever_the_root_does,
    everywhere inherited_mounts_are_slaves,
    everywhere nested_namespace_is_a_peer_of_the_container,
    everywhere host_has_the_same_mounts_after_all_containers,
    everywhere every_container_ends_well,
    everywhere mount_that_comes_while_a_container_is_set_up_is_in_all_its_volumes,
];

/// A container, the options of its volume, and its `linux.rootfsPropagation`.
const CONTAINERS: [(&str, &[&str], Option<&str>); 10] = [
    ("default", &["rbind"], None),
    ("slave", &["rbind", "rslave"], None),
    ("unmounter", &["rbind", "rslave"], None),
    ("private", &["rbind", "private"], None),
    ("unbindable", &["rbind", "runbindable"], None),
    ("shared", &["rbind", "rshared"], None),
    ("shared-too", &["rbind", "shared"], Some("slave")),
    ("slave-in-private", &["rbind", "rslave"], Some("private")),
    ("slave-in-shared", &["rbind", "slave"], Some("shared")),
    (
        "shared-in-unbindable",
        &["rbind", "rshared"],
        Some("unbindable"),
    ),
];

/// Those in whose volumes the host's mounts appear.
const FOLLOWERS: [&str; 7] = [
    "default",
    "slave",
    "shared",
    "shared-too",
    "slave-in-private",
    "slave-in-shared",
    "shared-in-unbindable",
];

/// Those whose own mounts in the volume appear on the host, and so in all of the above.
const SHARING: [&str; 3] = ["shared", "shared-too", "shared-in-unbindable"];

static BOOT: Shared = Shared::new(boot);

fn boot(lab: &Lab) -> Result<Outcome> {
    let ids = CONTAINERS.map(|(id, ..)| id);
    let host = Bundle::new("host")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .runs(["/bin/guest", "act-on-volume"].into_iter().chain(ids));
    let with_volume = CONTAINERS.map(|(id, options, propagation)| {
        let takes = if id == "unmounter" { "takes" } else { "leaves" };
        let bundle = Bundle::new(id)
            .mount("/mnt", "", "/volume", options)
            .set("/linux/rootfsPropagation", json!(propagation))
            .runs(["/bin/guest", "volume", id, id, takes]);
        match id {
            // By the bundle: when the volume is not yet what it will be.
            "slave-in-private" => bundle.mount("/mnt/inside", "tmpfs", "tmpfs", &[]),
            _ => bundle,
        }
    });
    let inherits = Bundle::new("inherits")
        .mount("/mnt", "", "/", &["rbind"])
        .set("/linux/rootfsPropagation", json!("slave"))
        .runs(["/bin/guest", "facts"]);
    let nested = Bundle::new("nested").runs(["/bin/guest", "nested"]);
    let bundles = [host, inherits, nested].into_iter().chain(with_volume);
    let tree = ids.iter().fold(disk::files(bundles)?, |tree, id| {
        tree.directory(format!("volume/{id}"))
    });
    // Each bundle holds a guest program of its own.
    let root = Fs::vfat(
        disk::LABEL,
        disk::VFAT_SERIAL,
        tree.directory("volume/host").directory("volume/inside"),
    )
    .mib(384);
    let vm = lab.machine("volumes")?.append("root=/dev/sda1");
    Ok(vm.scsi(&disk::of(root)?).start()?.wait()?)
}

/// The mounts of the container, or of the host, in that round.
fn mounts(outcome: &Outcome, id: &str, round: &'static str) -> Result<Vec<MountLine>> {
    Seen::new(outcome, id).mounts(round)
}

fn is_mounted(outcome: &Outcome, id: &str, round: &'static str, point: &str) -> Result<bool> {
    let mounts = mounts(outcome, id, round)?;
    Ok(mounts.iter().any(|mount| mount.point == point))
}

fn mount_of_the_host_appears_in_slaves_and_goes_again(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in FOLLOWERS.into_iter().chain(["unmounter"]) {
        ensure!(
            is_mounted(&outcome, id, "one", "/mnt/host")?,
            "{id} has not got it"
        );
        ensure!(
            !is_mounted(&outcome, id, "two", "/mnt/host")?,
            "{id} still has it"
        );
    }
    Ok(())
}

fn mount_of_the_host_stays_out_of_private_volumes(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in ["private", "unbindable"] {
        ensure!(
            !is_mounted(&outcome, id, "one", "/mnt/host")?,
            "{id} has got it"
        );
    }
    Ok(())
}

fn mount_of_a_container_stays_inside(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for (id, ..) in CONTAINERS {
        let own = format!("/mnt/{id}");
        ensure!(is_mounted(&outcome, id, "one", &own)?, "{id} has made none");
        for (other, ..) in CONTAINERS {
            let is_passed_on = SHARING.contains(&id) || other == id;
            let is_there = is_mounted(&outcome, other, "one", &own)?;
            ensure!(is_passed_on || !is_there, "that of {id} is in {other}");
        }
        let is_on_host = is_mounted(&outcome, "host", "one", &format!("/volume/{id}"))?;
        ensure!(
            is_on_host == SHARING.contains(&id),
            "that of {id} on the host: {is_on_host}"
        );
    }
    ensure!(is_mounted(
        &outcome,
        "slave-in-private",
        "one",
        "/mnt/inside"
    )?);
    for round in ["one", "two"] {
        ensure!(
            !is_mounted(&outcome, "host", round, "/volume/inside")?,
            "on the host"
        );
    }
    Ok(())
}

fn unmounting_inside_leaves_the_hosts_mount(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    ensure!(is_mounted(&outcome, "unmounter", "one", "/mnt/host")?);
    ensure!(is_mounted(&outcome, "host", "two", "/volume/host")?);
    Ok(())
}

fn shared_volume_passes_mounts_to_the_host_and_to_other_containers(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in SHARING {
        ensure!(
            is_mounted(&outcome, "host", "one", &format!("/volume/{id}"))?,
            "that of {id} is not on the host"
        );
        for other in FOLLOWERS {
            ensure!(
                is_mounted(&outcome, other, "one", &format!("/mnt/{id}"))?,
                "that of {id} is not in {other}"
            );
        }
    }
    Ok(())
}

fn volume_propagates_as_it_asks_whatever_the_root_does(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let host = mounts(&outcome, "host", "one")?;
    let host = host
        .iter()
        .find(|mount| mount.point == "/")
        .context("the host has no root")?;
    let [group] = host.propagation.as_slice() else {
        anyhow::bail!("the host's root is not a peer group of its own: {host:?}")
    };
    let master = group.replace("shared:", "master:");
    for (id, options, root) in CONTAINERS {
        let mounts = mounts(&outcome, id, "one")?;
        let of = |point: &str| {
            mounts
                .iter()
                .find(|mount| mount.point == point)
                .map(|mount| mount.propagation.clone())
        };
        let volume = of("/mnt").with_context(|| format!("{id} has no volume"))?;
        let word = options
            .last()
            .copied()
            .unwrap_or_default()
            .trim_start_matches('r');
        let is_right = match word {
            "bind" => {
                matches!(volume.as_slice(), [own, other] if own.starts_with("shared:") && own != group && *other == master)
            }
            "slave" => volume == [master.clone()],
            "shared" => volume == [group.clone()],
            "private" => volume.is_empty(),
            _ => volume == [word],
        };
        ensure!(
            is_right,
            "{id} has asked for {options:?}, and has {volume:?}; the host's group is {group}"
        );
        let top = of("/").unwrap_or_default();
        let is_right = match root {
            None => {
                matches!(top.as_slice(), [own, other] if own.starts_with("shared:") && *other == master)
            }
            Some("slave") => top == [master.clone()],
            Some("private") => top.is_empty(),
            Some("shared") => {
                matches!(top.as_slice(), [own] if own.starts_with("shared:") && own != group)
            }
            Some(word) => top == [word],
        };
        ensure!(
            is_right,
            "{id} has asked for {root:?}, and has {top:?}; the host's group is {group}"
        );
    }
    Ok(())
}

fn inherited_mounts_are_slaves(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let mounts = Seen::new(&outcome, "inherits").mounts("mount")?;
    // What it made itself in its rootfs is seen there too.
    let of_host = |point: &str| {
        point == "/"
            || point.starts_with("/mnt") && !point.starts_with("/mnt/containers/inherits/rootfs/")
    };
    let inherited: Vec<_> = mounts
        .iter()
        .filter(|mount| of_host(&mount.point))
        .collect();
    ensure!(inherited.len() > 4, "these are not the host's: {mounts:#?}");
    for mount in inherited {
        ensure!(mount.is_slave() && !mount.is_shared(), "{mount:?}");
    }
    Ok(())
}

fn nested_namespace_is_a_peer_of_the_container(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "nested").printed("nested is a peer")
}

fn host_has_the_same_mounts_after_all_containers(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let mounts = mounts(&outcome, "host", "end")?;
    let mut points: Vec<_> = mounts.iter().map(|mount| mount.point.as_str()).collect();
    points.sort_unstable();
    let expected = [
        "/",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/proc",
        "/run",
        "/sys",
        "/sys/fs/cgroup",
    ];
    ensure!(points == expected, "{mounts:#?}");
    let mut groups: Vec<_> = mounts.iter().map(|mount| &mount.propagation).collect();
    groups.sort_unstable();
    groups.dedup();
    ensure!(
        groups.len() == mounts.len(),
        "each is a peer group of its own: {mounts:#?}"
    );
    ensure!(
        mounts
            .iter()
            .all(|mount| mount.is_shared() && !mount.is_slave()),
        "{mounts:#?}"
    );
    Ok(())
}

fn every_container_ends_well(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let others = ["host", "inherits", "nested"];
    for id in CONTAINERS.into_iter().map(|(id, ..)| id).chain(others) {
        Seen::new(&outcome, id).exited(0)?;
    }
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

/// A volume that is a copy in no tree for a moment misses what is mounted in that moment; of many,
/// some would.
fn mount_that_comes_while_a_container_is_set_up_is_in_all_its_volumes(lab: &Lab) -> Result<()> {
    const VOLUMES: usize = 200;
    const MOUNTS: usize = 400;
    let host = Bundle::new("host")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .runs(["/bin/guest", "mount-while-set-up", "follower"]);
    let follower = (0..VOLUMES)
        .fold(Bundle::new("follower"), |bundle, volume| {
            bundle.mount(
                &format!("/mnt/{volume}"),
                "",
                "/volume",
                &["rbind", "rslave"],
            )
        })
        .annotation("berth.after", "host")
        .runs(["/bin/guest", "count-in-volumes"]);
    let tree = (0..MOUNTS).fold(disk::files([host, follower])?, |tree, mount| {
        tree.directory(format!("volume/{mount}"))
    });
    let root = Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, tree).mib(64);
    let vm = lab.machine("volumes-meanwhile")?.append("root=/dev/sda1");
    let outcome = vm.scsi(&disk::of(root)?).start()?.wait()?;

    let host: Vec<_> = Seen::new(&outcome, "host").lines().collect();
    let [mounted] = host[..] else {
        anyhow::bail!("{host:?}");
    };
    let mounted = mounted.strip_prefix("mounted ").context("a count")?;
    let (mounted, _) = mounted.split_once(" of ").context("of how many")?;
    let is_enough = mounted.parse::<usize>()? > 10;
    ensure!(is_enough, "the host mounted only {mounted}");
    let has = Seen::new(&outcome, "follower").facts("has");
    let misses = has.iter().filter(|has| **has != mounted).count();
    ensure!(
        has.len() == VOLUMES && misses == 0,
        "of {mounted} mounts of the host, {misses} volumes miss some: {has:?}"
    );
    Ok(())
}
