//! Containers with one directory of the host as their volume, and one that acts on the host, in
//! rounds.
//!
//! The volume is `/volume` on the host and `/mnt` in the containers. A round ends for a container
//! when it leaves the file `<round>-<id>` in it, and the next begins when the host leaves
//! `go-<round>`; so what was done in a round is to be seen in the next. What is mounted is printed,
//! a line of mountinfo each, with the time as the topic.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use berth::sys::mount::{Flags, mount_new, unmount_detach};

use crate::propagation::wait_for_file;
use crate::{facts, host};

/// The volume on the host.
const ON_HOST: &str = "/volume";

/// The volume in containers.
const INSIDE: &str = "/mnt";

/// Mounts and unmounts in the volume, on the host; `ids` are those that have it.
pub(crate) fn act(ids: &[&str]) -> Result<()> {
    host::join()?;
    let mounted = format!("{ON_HOST}/host");
    let all_are_at = |round: u32| -> Result<()> {
        let mut ids = ids.iter();
        ids.try_for_each(|id| wait_for_file(ON_HOST, &format!("{round}-{id}")))
    };
    let go = |round: u32| leave(ON_HOST, &format!("go-{round}"));
    all_are_at(0)?;
    go(0)?;
    all_are_at(1)?;
    mount(&mounted)?;
    show("one")?;
    go(1)?;
    all_are_at(2)?;
    show("two")?;
    unmount(&mounted)?;
    go(2)?;
    all_are_at(3)?;
    go(3)?;
    host::wait_alone()?;
    show("end")
}

/// Takes part in the rounds as the container `id`: it mounts on the directory `own` of the volume,
/// and unmounts what the host has mounted if it `takes` that.
pub(crate) fn take_part(id: &str, own: &str, takes: &str) -> Result<()> {
    let own = format!("{INSIDE}/{own}");
    let end_round = |round: u32| {
        leave(INSIDE, &format!("{round}-{id}"))?;
        wait_for_file(INSIDE, &format!("go-{round}"))
    };
    // Only when all run: what is mounted during the set-up of another may be there from the
    // beginning.
    end_round(0)?;
    mount(&own)?;
    end_round(1)?;
    show("one")?;
    match takes {
        "takes" => unmount(&format!("{INSIDE}/host"))?,
        "leaves" => {}
        _ => bail!("{takes}: it takes or leaves"),
    }
    end_round(2)?;
    show("two")?;
    unmount(&own)?;
    end_round(3)
}

/// Mounts in one directory of the volume after the other, on the host, from when the control group
/// of the container `id` is there until that container runs. Prints how many it mounted, and how
/// many there were to mount.
pub(crate) fn mount_while_it_is_set_up(id: &str) -> Result<()> {
    host::join()?;
    let directories: Vec<_> = fs::read_dir(ON_HOST)?.collect::<Result<_, _>>()?;
    let group = format!("/sys/fs/cgroup/berth/{id}");
    let runs = Path::new(ON_HOST).join(RUNS);
    // inotify(7) would tell of the group too late.
    while !Path::new(&group).exists() {
        std::thread::yield_now();
    }
    let mut mounted = 0;
    for directory in &directories {
        if runs.exists() {
            break;
        }
        let path = directory.path();
        mount(path.to_str().context("a name of the test's own")?)?;
        mounted += 1;
    }
    println!("mounted {mounted} of {}", directories.len());
    wait_for_file(ON_HOST, RUNS)?;
    leave(ON_HOST, "all-are-mounted")
}

/// The file that says that the container runs.
const RUNS: &str = "runs";

/// Prints how many mounts there are in each of this container's volumes when the host has mounted
/// all.
pub(crate) fn count() -> Result<()> {
    let first = format!("{INSIDE}/0");
    leave(&first, RUNS)?;
    wait_for_file(&first, "all-are-mounted")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let points: Vec<_> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .collect();
    for volume in fs::read_dir(INSIDE)? {
        let within = format!("{}/", volume?.path().display());
        let count = points
            .iter()
            .filter(|point| point.starts_with(&within))
            .count();
        println!("has {count}");
    }
    Ok(())
}

fn show(topic: &str) -> Result<()> {
    facts::mounts(topic, "/proc/self/mountinfo")
}

fn mount(path: &str) -> Result<()> {
    mount_new("tmpfs", "tmpfs", path, Flags::empty(), c"")
        .map_err(|fault| anyhow::anyhow!("{fault}"))
}

fn unmount(path: &str) -> Result<()> {
    unmount_detach(path).map_err(|fault| anyhow::anyhow!("{fault}"))
}

fn leave(directory: &str, name: &str) -> Result<()> {
    Ok(fs::write(Path::new(directory).join(name), "")?)
}
