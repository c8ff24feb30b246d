//! berth as a command, on this machine: the cases that the guest program has, each a test here.
//! `vm::command` runs the same in a virtual machine, where all of them are possible.
//!
//! It takes root, to make namespaces. A case that this machine cannot run is not passed over: it is
//! named, with what is missing.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use berth_tests::{berth, guest, init};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    // One at a time: the containers have the same names, and so the same control groups.
    arguments.test_threads = Some(1);
    let (guest, berth) = (guest()?, berth()?);
    // They are looked for beside the directory of the cases.
    berth_tests::real_bundles()?;
    let listed = Command::new(&guest).arg("command-list").output();
    let listed = listed.context("start the guest program")?;
    ensure!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout)?;
    let directory = berth_qemu::target_dir().join("native");
    let mut trials = Vec::new();
    for line in listed.lines() {
        let (name, lacking) = line.split_once('\t').context("a list of cases")?;
        if !lacking.is_empty() {
            eprintln!("NOT POSSIBLE HERE: {name}: this machine lacks {lacking}");
        }
        let (guest, berth, directory) = (guest.clone(), berth.clone(), directory.clone());
        let name = name.to_owned();
        let trial = Trial::test(name.clone(), move || run(guest, berth, directory, &name));
        trials.push(trial.with_ignored_flag(!lacking.is_empty()));
    }
    trials.push(Trial::test("init_is_no_command", init_is_no_command));
    trials.push(Trial::test(
        "features_are_what_others_read",
        features_are_what_others_read,
    ));
    trials.push(Trial::test(
        "init_in_a_container_ends_and_touches_nothing",
        init_in_a_container,
    ));
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn run(guest: PathBuf, berth: PathBuf, directory: PathBuf, name: &str) -> Result<(), Failed> {
    let output = Command::new(guest)
        .arg("command-cases")
        .args([berth, directory])
        .arg(name)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim() == format!("ok {name}") {
        true => Ok(()),
        false => Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// Started where it is not PID 1, it touches nothing.
fn init_is_no_command() -> Result<(), Failed> {
    let output = Command::new(init()?).arg("list").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let is_said = said.contains("[B006]") && said.contains("the command is the program `berth`");
    match is_said && output.stdout.is_empty() && output.status.code() == Some(125) {
        true => Ok(()),
        false => Err(format!("{output:?}").into()),
    }
}

/// The crate of the specification knows each member, and what it reads is all that is there.
fn features_are_what_others_read() -> Result<(), Failed> {
    let output = Command::new(berth()?).arg("features").output()?;
    let text = String::from_utf8(output.stdout)?;
    let read: oci_spec::runtime::Features = serde_json::from_str(&text)?;
    let ours: serde_json::Value = serde_json::from_str(&text)?;
    let theirs = serde_json::to_value(&read)?;
    match ours == theirs {
        true => Ok(()),
        false => Err(format!("{ours}\n{theirs}").into()),
    }
}

/// As the first process of a container, which may have all rights and a root in memory, it is no
/// machine's.
fn init_in_a_container() -> Result<(), Failed> {
    let bundle = berth_qemu::target_dir().join("native/init-in-a-container");
    let rootfs = bundle.join("rootfs");
    std::fs::create_dir_all(rootfs.join("proc"))?;
    std::fs::copy(init()?, rootfs.join("init"))?;
    std::fs::write(rootfs.join("kept"), "")?;
    for capabilities in [r#""CAP_SYS_ADMIN","CAP_SYS_BOOT","CAP_SYS_CHROOT""#, ""] {
        for mounts in ["", r#"{"destination":"/proc","type":"proc"}"#] {
            let sets = ["bounding", "effective", "permitted"];
            let sets = sets
                .map(|set| format!(r#""{set}":[{capabilities}]"#))
                .join(",");
            let config = format!(
                r#"{{"ociVersion":"1.2.0","process":{{"args":["/init"],"cwd":"/","capabilities":{{{sets}}}}},
                "root":{{"path":"rootfs"}},"mounts":[{mounts}],"linux":{{"namespaces":[{{"type":"pid"}},{{"type":"mount"}}]}},
                "annotations":{{"berth.privileged":"true"}}}}"#
            );
            std::fs::write(bundle.join("config.json"), config)?;
            let output = Command::new(berth()?)
                .args(["--root".as_ref(), bundle.join("root").as_os_str()])
                .args(["run".as_ref(), "--bundle".as_ref(), bundle.as_os_str()])
                .arg("init-in-a-container")
                .output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            let is_said = said.contains("first process of a container") && said.contains("[B006]");
            if !is_said || output.status.code() != Some(125) || !rootfs.join("kept").exists() {
                return Err(format!("{output:?}").into());
            }
        }
    }
    Ok(())
}
