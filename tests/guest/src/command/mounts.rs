//! Mounts of a container, as runc and crun have them.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::Lab;
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing mounts_are_in_no_peer_group_that_was_not_asked_for,
    Nothing devices_have_the_link_that_peers_make,
    Nothing devices_that_are_there_as_they_should_be_are_listed,
    Nothing hundreds_of_mounts_are_made_in_their_order,
];

/// How each mount of a container passes on mounts (proc_pid_mountinfo(5), "optional fields"), and
/// its place.
fn propagations(lab: &Lab, id: &str, asked: Option<&str>) -> Result<Vec<(String, String)>> {
    lab.bundle_with(id, &["show", "/proc/self/mountinfo"], |config| {
        if let Some(asked) = asked {
            config["linux"]["rootfsPropagation"] = json!(asked);
        }
    })?;
    let text = lab.ok(&["run", "--bundle", id, id])?;
    let lines = text.lines().map(|line| {
        let (fields, _) = line.split_once(" - ").context("no separator")?;
        let mut fields = fields.split(' ').skip(4);
        let point = fields.next().context("no place")?.to_owned();
        Ok((point, fields.skip(1).collect::<Vec<_>>().join(" ")))
    });
    lines.collect()
}

fn mounts_are_in_no_peer_group_that_was_not_asked_for(lab: &Lab) -> Result<()> {
    for asked in [None, Some("rslave"), Some("slave"), Some("rprivate")] {
        let found = propagations(lab, asked.unwrap_or("none"), asked)?;
        ensure!(found.len() > 3, "{found:?}");
        let are_shared = found.iter().any(|(_, words)| words.contains("shared:"));
        ensure!(!are_shared, "{asked:?}: {found:#?}");
    }
    let found = propagations(lab, "shared", Some("rshared"))?;
    let are_shared = found.iter().all(|(_, words)| words.contains("shared:"));
    ensure!(are_shared, "{found:#?}");
    let found = propagations(lab, "unbindable", Some("runbindable"))?;
    let is_it = |(point, words): &(String, String)| point == "/" && words == "unbindable";
    ensure!(found.iter().any(is_it), "{found:#?}");
    Ok(())
}

fn devices_have_the_link_that_peers_make(lab: &Lab) -> Result<()> {
    if fs::exists("/proc/kcore")? {
        lab.bundle("b", &["stay"])?;
        lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
        let link = format!("/proc/{}/root/dev/core", lab.state("one")?["pid"]);
        ensure!(fs::read_link(link)?.ends_with("proc/kcore"));
    }
    Ok(())
}

/// With `--privileged` engines list what the host's `/dev` has, and part of that is in every
/// container's.
fn devices_that_are_there_as_they_should_be_are_listed(lab: &Lab) -> Result<()> {
    let device = |path: &str, major: u32, minor: u32| json!({ "path": path, "type": "c", "major": major, "minor": minor });
    let there = [
        device("/dev/ptmx", 5, 2),
        device("/dev/null", 1, 3),
        device("/dev/tty", 5, 0),
        device("/dev/pts/ptmx", 5, 2),
        device("/dev/more/zero", 1, 5),
    ];
    let bundle = |devices: &[Value]| {
        lab.bundle_with("b", &["exit", "0"], |config| {
            config["linux"]["devices"] = json!(devices);
        })
    };
    bundle(&there)?;
    lab.ok(&["run", "--bundle", "b", "one"])?;
    for other in [device("/dev/ptmx", 1, 3), device("/dev/pts", 1, 3)] {
        bundle(&[other])?;
        lab.fails(
            &["run", "--bundle", "b", "one"],
            125,
            &["/dev/pt", "EEXIST"],
        )?;
    }
    Ok(())
}

/// As many as an engine lists that may make no nodes, and more.
const MANY: usize = 500;

fn hundreds_of_mounts_are_made_in_their_order(lab: &Lab) -> Result<()> {
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1000 }]);
    for id in ["many", "many-of-users"] {
        lab.bundle_with(id, &["show", "/proc/self/mountinfo"], |config| {
            let mounts = (0..MANY).map(|number| {
                json!({
                    "destination": format!("/dev/{number}"), "source": "/dev/null", "type": "none",
                    "options": ["bind", "rprivate", "nosuid", "noexec"],
                })
            });
            if let Some(list) = config["mounts"].as_array_mut() {
                list.extend(mounts);
            }
            if id != "many" {
                config["linux"]["uidMappings"] = map.clone();
                config["linux"]["gidMappings"] = map.clone();
                config["linux"]["namespaces"][3] = json!({ "type": "user" });
            }
        })?;
        let text = lab.ok(&["run", "--bundle", id, id])?;
        let points = text.lines().filter_map(|line| line.split(' ').nth(4));
        let numbers = points.filter_map(|point| point.strip_prefix("/dev/")?.parse().ok());
        let numbers: Vec<usize> = numbers.collect();
        ensure!(numbers == (0..MANY).collect::<Vec<_>>(), "{id}: {text}");
    }
    Ok(())
}
