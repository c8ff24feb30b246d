//! What separates containers from the host: one boot, in which a container without a PID namespace
//! acts on the host while others watch what reaches them.

use anyhow::{Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere only_configured_mounts_are_seen_inside,
    everywhere root_is_a_slave_of_the_host_and_a_peer_group_of_its_own,
    everywhere container_and_host_have_different_mount_namespaces,
    everywhere mount_made_inside_is_not_seen_by_the_host,
    everywhere mount_of_the_host_appears_inside_and_goes_again,
    everywhere only_pivot_leaves_the_right_to_mount,
    everywhere second_chroot_finds_no_host,
    everywhere container_sees_its_own_processes_only,
    everywhere nothing_but_the_standard_descriptors_is_inherited,
    everywhere rootfs_propagation_is_what_was_asked_for,
    everywhere every_neighbour_ends_well,
];

/// The ways onto the root; each observer is named for its own.
const SWITCHES: [&str; 3] = ["pivot", "move", "chroot"];

const PROPAGATIONS: [&str; 4] = ["slave", "private", "shared", "unbindable"];

static BOOT: Shared = Shared::new(boot);

fn boot(lab: &Lab) -> Result<Outcome> {
    let agent = Bundle::new("agent")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .runs(["/bin/guest", "act-on-host"].into_iter().chain(SWITCHES));
    let observers = SWITCHES.map(|switch| {
        Bundle::new(switch)
            .annotation("berth.root-switch", switch)
            .runs(["/bin/guest", "observe"])
    });
    let propagations = PROPAGATIONS.map(|word| {
        Bundle::new(word)
            .set("/linux/rootfsPropagation", json!(word))
            .runs(["/bin/guest", "facts"])
    });
    let bundles = [agent].into_iter().chain(observers).chain(propagations);
    // Each bundle holds a guest program of its own.
    let root = disk::of(Fs::vfat(disk::LABEL, disk::VFAT_SERIAL, disk::files(bundles)?).mib(256))?;
    Ok(lab
        .machine("isolation")?
        .append("root=/dev/sda1")
        .scsi(&root)
        .start()?
        .wait()?)
}

fn only_configured_mounts_are_seen_inside(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in SWITCHES.into_iter().chain(PROPAGATIONS) {
        let mounts = Seen::new(&outcome, id).mounts("mount")?;
        let mut points: Vec<_> = mounts.iter().map(|mount| mount.point.as_str()).collect();
        points.sort_unstable();
        // The bundles ask for /dev and /proc; the others are what every container has.
        let expected = [
            "/",
            "/dev",
            "/dev/mqueue",
            "/dev/pts",
            "/dev/shm",
            "/proc",
            "/sys",
        ];
        ensure!(points == expected, "{id}: {mounts:#?}");
        let root = Seen::new(&outcome, id).mount_at("/")?.root;
        ensure!(
            root == format!("/containers/{id}/rootfs"),
            "{id}: / is {root}"
        );
    }
    Ok(())
}

fn root_is_a_slave_of_the_host_and_a_peer_group_of_its_own(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in SWITCHES {
        let seen = Seen::new(&outcome, id);
        let root = seen.mount_at("/")?;
        ensure!(root.is_shared() && root.is_slave(), "{id}: {root:?}");
        // The others are new; they have no master, but pass on what is mounted in them to nested
        // namespaces.
        for point in ["/proc", "/dev"] {
            let mount = seen.mount_at(point)?;
            ensure!(mount.is_shared() && !mount.is_slave(), "{id}: {mount:?}");
        }
    }
    Ok(())
}

fn container_and_host_have_different_mount_namespaces(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let agent = Seen::new(&outcome, "agent");
    let [host, own] = ["host", "namespace"].map(|topic| agent.facts(topic));
    let of = |facts: &[&str], kind: &str| -> Option<String> {
        facts
            .iter()
            .find_map(|fact| Some(fact.strip_prefix(kind)?.trim().to_owned()))
    };
    ensure!(
        of(&host, "mnt").is_some() && of(&host, "mnt") != of(&own, "mnt"),
        "{host:?} {own:?}"
    );
    ensure!(
        of(&host, "pid") == of(&own, "pid"),
        "the agent asked for no PID namespace: {host:?} {own:?}"
    );
    for id in SWITCHES {
        let inside = Seen::new(&outcome, id).facts("namespace");
        for kind in ["mnt", "pid", "uts", "ipc"] {
            ensure!(
                of(&inside, kind).is_some() && of(&inside, kind) != of(&host, kind),
                "{id} shares {kind}"
            );
        }
        for kind in ["net", "cgroup"] {
            ensure!(
                of(&inside, kind) == of(&host, kind),
                "{id} did not ask for its own {kind}"
            );
        }
    }
    Ok(())
}

fn mount_made_inside_is_not_seen_by_the_host(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let pivot = Seen::new(&outcome, "pivot");
    pivot.printed("own mount made")?;
    ensure!(
        pivot
            .mounts("then")?
            .iter()
            .any(|mount| mount.point == "/tmp/own")
    );
    // The agent looked at the host after the observer had made it.
    let host = Seen::new(&outcome, "agent").mounts("pivot")?;
    ensure!(
        host.iter().any(|mount| mount.point == "/proc"),
        "these are not the host's mounts: {host:#?}"
    );
    ensure!(
        host.iter().all(|mount| !mount.point.ends_with("/own")),
        "{host:#?}"
    );
    ensure!(
        host.iter()
            .all(|mount| !mount.point.starts_with("/containers")),
        "{host:#?}"
    );
    Ok(())
}

fn mount_of_the_host_appears_inside_and_goes_again(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in SWITCHES {
        let seen = Seen::new(&outcome, id);
        seen.printed("mounted hello from the host")?;
        seen.printed("unmounted false")?;
    }
    Ok(())
}

fn only_pivot_leaves_the_right_to_mount(lab: &Lab) -> Result<()> {
    /// Bits of capability sets (capabilities(7)).
    const CAP_SYS_CHROOT: u64 = 1 << 18;
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let outcome = BOOT.outcome(lab)?;
    for id in SWITCHES {
        let seen = Seen::new(&outcome, id);
        let sets = seen.facts("capabilities");
        let [set] = sets[..] else {
            anyhow::bail!("{id}: {sets:?}")
        };
        let set = u64::from_str_radix(set, 16)?;
        let left = set & (CAP_SYS_ADMIN | CAP_SYS_CHROOT);
        if id == "pivot" {
            ensure!(left == CAP_SYS_ADMIN | CAP_SYS_CHROOT, "{id}: {set:x}");
        } else {
            ensure!(left == 0 && set != 0, "{id}: {set:x}");
            seen.printed("own mount EPERM")?;
        }
    }
    Ok(())
}

fn second_chroot_finds_no_host(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    Seen::new(&outcome, "pivot").printed("escape found nothing")?;
    Seen::new(&outcome, "move").printed("escape EPERM")?;
    Seen::new(&outcome, "chroot").printed("escape EPERM")
}

fn container_sees_its_own_processes_only(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in SWITCHES {
        let processes = Seen::new(&outcome, id).facts("process");
        ensure!(processes == ["1"], "{id}: {processes:?}");
    }
    Ok(())
}

fn nothing_but_the_standard_descriptors_is_inherited(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in SWITCHES {
        let mut descriptors = Seen::new(&outcome, id).facts("descriptor");
        descriptors.sort_unstable();
        // The fourth is the one by which they are listed.
        ensure!(descriptors == ["0", "1", "2", "3"], "{id}: {descriptors:?}");
    }
    Ok(())
}

fn rootfs_propagation_is_what_was_asked_for(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in PROPAGATIONS {
        let root = Seen::new(&outcome, id).mount_at("/")?;
        let found = (
            root.is_shared(),
            root.is_slave(),
            root.propagation.contains(&"unbindable".to_owned()),
        );
        let expected = match id {
            "slave" => (false, true, false),
            // A peer group of its own: the specification's word is not about the host.
            "shared" => (true, false, false),
            "private" => (false, false, false),
            _ => (false, false, true),
        };
        ensure!(found == expected, "{id}: {root:?}");
    }
    Ok(())
}

fn every_neighbour_ends_well(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in SWITCHES.into_iter().chain(PROPAGATIONS).chain(["agent"]) {
        Seen::new(&outcome, id).exited(0)?;
    }
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}
