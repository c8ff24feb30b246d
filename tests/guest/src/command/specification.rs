//! What the runtime specification has had since 1.3: memory policies, network devices that are
//! moved into a container, resctrl.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::Lab;
use super::{Case, cases};
use crate::interfaces;

pub(crate) const CASES: &[Case] = cases![
    Nothing memory_policy_is_that_of_all_programs_of_the_container,
    Nothing memory_policy_that_the_machine_does_not_have_is_refused,
    Tap network_devices_come_with_their_addresses_and_other_names,
    Tap network_devices_come_into_every_kind_of_container,
    Tap network_devices_stay_where_one_of_them_cannot_be_moved,
    Nothing resctrl_is_refused_where_there_is_none,
    Nothing what_the_command_alone_does_is_said_so,
];

const ONE: [&str; 4] = ["run", "--bundle", "b", "one"];

/// The policy of a program, as the kernel shows it of its memory (numa(7)).
fn policy(printed: &str) -> Result<&str> {
    let line = printed.lines().next().context("nothing was printed")?;
    line.split(' ').nth(1).context("no policy")
}

fn memory_policy_is_that_of_all_programs_of_the_container(lab: &Lab) -> Result<()> {
    const SHOW: [&str; 2] = ["show", "/proc/self/numa_maps"];
    for (asked, expected) in [
        (json!({}), "default"),
        (json!({ "mode": "MPOL_DEFAULT" }), "default"),
        (
            json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0" }),
            "interleave:0",
        ),
        (
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }),
            "bind=static:0",
        ),
        (
            json!({ "mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"] }),
            "prefer=relative:0",
        ),
        (
            json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }),
            "prefer (many):0",
        ),
        (json!({ "mode": "MPOL_LOCAL" }), "local"),
    ] {
        lab.bundle_with("b", &SHOW, |config| {
            config["linux"]["memoryPolicy"] = asked.clone()
        })?;
        let printed = lab.ok(&ONE)?;
        // One mode has a space in its name.
        let found = printed.lines().next().unwrap_or_default();
        ensure!(
            found
                .split_once(' ')
                .is_some_and(|(_, rest)| rest.starts_with(expected)),
            "{asked}: {found}, not {expected}"
        );
    }
    lab.bundle_with("b", &["until-asked"], |config| {
        config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": "0" });
    })?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
    let printed = lab.ok(&["exec", "one", "/bin/guest", SHOW[0], SHOW[1]])?;
    let found = policy(&printed)?;
    ensure!(found == "bind:0", "exec: {found}");
    Ok(())
}

fn memory_policy_that_the_machine_does_not_have_is_refused(lab: &Lab) -> Result<()> {
    for policy in [
        json!({ "mode": "MPOL_BIND", "nodes": "63" }),
        json!({ "mode": "MPOL_BIND", "nodes": "1023" }),
        json!({ "mode": "MPOL_BIND" }),
        json!({ "mode": "MPOL_DEFAULT", "nodes": "0" }),
        json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"] }),
    ] {
        lab.bundle_with("b", &["say", "hello"], |config| {
            config["linux"]["memoryPolicy"] = policy.clone();
        })?;
        lab.fails(&ONE, 125, &["linux.memoryPolicy", "EINVAL", "[B053]"])
            .with_context(|| policy.to_string())?;
    }
    ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    Ok(())
}

/// Taps of this machine's, which go with this.
struct Taps(&'static [&'static str]);

impl Taps {
    fn make(names: &'static [&'static str]) -> Result<Self> {
        let taps = Self(names);
        for (number, name) in (7..).zip(names) {
            interfaces::remove_tap(name)?;
            let four = [192, 0, 2, number].into();
            let six = [0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()].into();
            interfaces::make_tap(name, four, six)?;
        }
        Ok(taps)
    }

    /// Whether it is here, and in no container.
    fn is_here(name: &str) -> bool {
        interfaces::index(name).is_ok()
    }
}

impl Drop for Taps {
    fn drop(&mut self) {
        for name in self.0 {
            let _ = interfaces::remove_tap(name);
        }
    }
}

fn push(list: &mut Value, item: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}

/// A network namespace with these devices.
fn give(config: &mut Value, devices: Value) {
    let network = json!({ "type": "network" });
    push(&mut config["linux"]["namespaces"], network);
    config["linux"]["netDevices"] = devices;
}

fn network_devices_come_with_their_addresses_and_other_names(lab: &Lab) -> Result<()> {
    let _taps = Taps::make(&["bertht0", "bertht1", "bertht2"])?;
    lab.bundle_with("b", &["interfaces"], |config| {
        give(
            config,
            json!({ "bertht0": { "name": "inside" }, "bertht1": {}, "bertht2": { "name": "x%d" } }),
        );
        // A parameter of a device that comes from outside.
        config["linux"]["sysctl"] = json!({ "net.ipv4.conf.inside.forwarding": "1" });
    })?;
    lab.leaves(&["create", "--bundle", "b", "one"])?;
    // They are moved before there is a program.
    for name in ["bertht0", "bertht1", "bertht2"] {
        ensure!(!Taps::is_here(name), "{name} was not moved");
    }
    lab.ok(&["delete", "--force", "one"])?;
    let _taps = Taps::make(&["bertht0", "bertht1", "bertht2"])?;
    let printed = lab.ok(&ONE)?;
    ensure!(
        printed
            == "bertht1 up 192.0.2.8/24 2001:db8::8/64\n\
            inside up 192.0.2.7/24 2001:db8::7/64\n\
            x0 up 192.0.2.9/24 2001:db8::9/64\n",
        "{printed}"
    );
    Ok(())
}

fn network_devices_come_into_every_kind_of_container(lab: &Lab) -> Result<()> {
    const EXPECTED: &str = "inside up 192.0.2.7/24 2001:db8::7/64\n";
    let devices = json!({ "bertht0": { "name": "inside" } });
    // One of users.
    let taps = Taps::make(&["bertht0"])?;
    lab.bundle_with("b", &["interfaces"], |config| {
        give(config, devices.clone());
        push(
            &mut config["linux"]["namespaces"],
            json!({ "type": "user" }),
        );
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    })?;
    let printed = lab.ok(&ONE)?;
    ensure!(printed == EXPECTED, "users: {printed}");
    drop(taps);
    // The namespaces of another: of the network, of processes, both.
    lab.bundle_with("other", &["until-asked"], |config| give(config, json!({})))?;
    for kinds in [&["network"][..], &["pid"], &["pid", "network"]] {
        lab.leaves(&["run", "--detach", "--bundle", "other", "other"])?;
        let pid = lab.state("other")?["pid"].clone();
        let _taps = Taps::make(&["bertht0"])?;
        lab.bundle_with("b", &["interfaces"], |config| {
            give(config, devices.clone());
            for namespace in config["linux"]["namespaces"]
                .as_array_mut()
                .into_iter()
                .flatten()
            {
                let kind = namespace["type"].as_str().unwrap_or_default().to_owned();
                if kinds.contains(&kind.as_str()) {
                    let file = if kind == "network" { "net" } else { &kind };
                    namespace["path"] = json!(format!("/proc/{pid}/ns/{file}"));
                }
            }
        })?;
        let printed = lab.ok(&ONE).with_context(|| format!("{kinds:?}"))?;
        ensure!(printed == EXPECTED, "{kinds:?}: {printed}");
        lab.ok(&["delete", "--force", "other"])?;
    }
    Ok(())
}

fn network_devices_stay_where_one_of_them_cannot_be_moved(lab: &Lab) -> Result<()> {
    let _taps = Taps::make(&["bertht0", "bertht1"])?;
    for (devices, says) in [
        (
            json!({ "bertht0": {}, "no-such-device": {} }),
            [
                "network device no-such-device as no-such-device in the container",
                "ENODEV",
            ],
        ),
        (
            json!({ "bertht0": {}, "bertht1": { "name": "lo" } }),
            ["network device bertht1 as lo in the container", "EEXIST"],
        ),
    ] {
        lab.bundle_with("b", &["interfaces"], |config| give(config, devices))?;
        lab.fails(&ONE, 125, &says)?;
        ensure!(
            Taps::is_here("bertht0") && Taps::is_here("bertht1"),
            "{says:?}: one is gone"
        );
    }
    lab.bundle_with("b", &["interfaces"], |config| {
        config["linux"]["netDevices"] = json!({ "bertht0": {} });
    })?;
    let says = "linux.netDevices needs a namespace of type network";
    lab.fails(&ONE, 125, &[says])?;
    Ok(())
}

fn resctrl_is_refused_where_there_is_none(lab: &Lab) -> Result<()> {
    ensure!(
        !Path::new("/sys/fs/resctrl/schemata").exists(),
        "this machine has resctrl"
    );
    let mark = lab.directory.join("mark");
    for rdt in [
        json!({}),
        json!({ "closID": "gold", "schemata": ["L3:0=f"] }),
        json!({ "enableMonitoring": true }),
    ] {
        lab.bundle_with("b", &["say", "hello"], |config| {
            config["linux"]["intelRdt"] = rdt.clone();
            config["hooks"] = json!({ "createRuntime": [{
                "path": std::env::current_exe().unwrap_or_default(),
                "args": ["guest", "leave", mark, "x"],
            }] });
        })?;
        let says = [
            "linux.intelRdt, without a resctrl filesystem at /sys/fs/resctrl",
            "[B053]",
        ];
        lab.fails(&ONE, 125, &says)?;
        lab.fails(&["create", "--bundle", "b", "one"], 125, &says)?;
        ensure!(!fs::exists(&mark)?, "a hook was run");
    }
    ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    Ok(())
}

fn what_the_command_alone_does_is_said_so(lab: &Lab) -> Result<()> {
    lab.bundle_with("b", &["say", "hello"], |config| {
        give(config, json!({ "eth7": { "name": "inside" }, "eth8": {} }));
        config["linux"]["intelRdt"] =
            json!({ "closID": "gold", "schemata": ["L3:0=f"], "enableMBM": true });
        config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_LOCAL", "flags": [] });
    })?;
    let told = lab.ok(&["check", "b"])?;
    for line in [
        "done     linux.netDevices.eth7.name",
        "done     linux.netDevices.eth8",
        "done     linux.intelRdt.closID",
        "done     linux.intelRdt.schemata",
        "ignored  linux.intelRdt.enableMBM: not a field for this machine",
        "done     linux.memoryPolicy.mode",
    ] {
        ensure!(
            told.lines().any(|told| told == line),
            "{line:?} is not in {told}"
        );
    }
    Ok(())
}
