//! Containers of a user who has no rights at all: not over control groups, and over no id but the
//! own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::{self, Lab, USER};
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    UserNamespaces user_without_rights_runs_what_spec_writes,
    UserNamespaces user_without_rights_has_the_whole_life_of_a_container,
    UserNamespaces user_without_rights_is_told_what_he_cannot_have,
    UserNamespaces kernel_that_forbids_user_namespaces_is_told_of,
];

/// Becomes the user, with a bundle that is his as `spec --rootless` writes it, but for the program
/// and the terminal.
fn with_bundle(lab: &Lab, words: &[&str], change: impl FnOnce(&mut Value)) -> Result<()> {
    let bundle = lab.bundle("b", &[])?;
    let file = bundle.join("config.json");
    fs::remove_file(&file)?;
    chown(&bundle, Some(USER), Some(USER))?;
    lab.become_user()?;
    lab.ok(&["spec", "--rootless", "--bundle", "b"])?;
    let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let args: Vec<_> = ["/bin/guest"].iter().chain(words).collect();
    config["process"]["args"] = json!(args);
    config["process"]["terminal"] = json!(false);
    change(&mut config);
    Ok(fs::write(&file, config.to_string())?)
}

/// Who he is inside: root, who is nobody but himself outside, and keeps his groups.
fn is_himself(said: &str) -> Result<()> {
    for line in [
        "Uid 0 0 0 0".to_owned(),
        "Gid 0 0 0 0".to_owned(),
        // CAP_AUDIT_WRITE, CAP_KILL, CAP_NET_BIND_SERVICE.
        "CapEff 0000000020000420".to_owned(),
        format!("uid_map 0 {USER} 1"),
        format!("gid_map 0 {USER} 1"),
        "setgroups deny".to_owned(),
        "root EROFS".to_owned(),
    ] {
        ensure!(said.lines().any(|one| one == line), "{line:?}: {said}");
    }
    Ok(())
}

fn user_without_rights_runs_what_spec_writes(lab: &Lab) -> Result<()> {
    if lab::has_groups() {
        // Root has had containers here: the group above theirs is there, and not the user's.
        fs::create_dir_all(Path::new(lab::GROUPS).join("berth"))?;
    }
    with_bundle(lab, &["identity"], |_| {})?;
    is_himself(&lab.ok(&["run", "--bundle", "b", "one"])?)?;
    // Nothing is left, and nobody else may look.
    let root = lab.root();
    ensure!(fs::read_dir(&root)?.next().is_none(), "{root:?}");
    let mode = fs::metadata(&root)?.permissions().mode();
    ensure!(mode & 0o077 == 0o011, "{mode:o}");
    Ok(())
}

fn user_without_rights_has_the_whole_life_of_a_container(lab: &Lab) -> Result<()> {
    with_bundle(lab, &["stay"], |_| {})?;
    lab.leaves(&["create", "--bundle", "b", "one"])?;
    ensure!(lab.root().join("one/state.json").exists());
    ensure!(lab.status("one")? == "created");
    let first = lab.process("one")?;
    lab.ok(&["start", "one"])?;
    ensure!(lab.status("one")? == "running");
    is_himself(&lab.ok(&["exec", "one", "/bin/guest", "identity"])?)?;
    let listed = lab.ok(&["list", "--quiet"])?;
    ensure!(listed == "one\n", "{listed}");
    lab.ok(&["kill", "one", "KILL"])?;
    first.wait()?;
    ensure!(lab.status("one")? == "stopped");
    lab.ok(&["delete", "one"])?;
    ensure!(lab.ok(&["list", "--quiet"])?.is_empty());
    Ok(())
}

fn user_without_rights_is_told_what_he_cannot_have(lab: &Lab) -> Result<()> {
    with_bundle(lab, &["stay"], |config| {
        config["linux"]["uidMappings"][0]["size"] = json!(2);
    })?;
    let run = ["run", "--bundle", "b", "one"];
    let says = ["/uid_map for one: EPERM", "only the own id", "[B053]"];
    lab.fails(&run, 125, &says)?;
    let elsewhere = ["--root", "/proc/berth", "list"];
    ensure!(lab.ok(&elsewhere)?.lines().count() == 1);
    let elsewhere = [&["--root", "/proc/berth"], &run[..]].concat();
    lab.fails(&elsewhere, 125, &["/proc/berth: ", "--root", "[B074]"])?;
    let file = lab.directory.join("b/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
    config["linux"]["uidMappings"][0]["size"] = json!(1);
    fs::write(&file, config.to_string())?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
    for command in ["pause", "ps"] {
        lab.fails(
            &[command, "one"],
            125,
            &["it has no control group", "[B075]"],
        )?;
    }
    config["linux"]["resources"] = json!({ "pids": { "limit": 5 } });
    fs::write(&file, config.to_string())?;
    let run = ["run", "--bundle", "b", "two"];
    lab.fails(&run, 125, &["linux.resources", "[B053]"])?;
    // No node is the user's to make, so rules about them ask for nothing. Rootless buildah sends
    // these.
    let rules = json!({ "devices": [{ "allow": false, "access": "rwm" }], "memory": {} });
    config["linux"]["resources"] = rules;
    fs::write(&file, config.to_string())?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "two"])
        .map(drop)
}

/// In a user namespace whose limit of further ones is none.
fn kernel_that_forbids_user_namespaces_is_told_of(lab: &Lab) -> Result<()> {
    with_bundle(lab, &["stay"], |_| {})?;
    let output = lab
        .command_behind(
            "without-user-namespaces",
            ["--root", "run/berth", "run", "--bundle", "b", "one"],
        )?
        .output()
        .context("start the guest program")?;
    let errors = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(125), "{errors}");
    for part in [
        "create a process in a user namespace for one: ENOSPC",
        "user.max_user_namespaces",
        "[B053]",
    ] {
        ensure!(errors.contains(part), "{part:?} is not in {errors}");
    }
    Ok(())
}
