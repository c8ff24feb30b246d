//! What engines ask of a runtime: files with process numbers, descriptors, logs, hooks.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::Lab;
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing pid_file_has_the_number_of_the_first_process,
    Nothing descriptors_are_preserved_as_asked_for,
    Nothing log_has_records_of_json,
    Nothing log_has_records_of_text,
    Nothing hooks_are_run_in_their_order,
    Nothing options_of_other_runtimes_are_accepted,
    Nothing annotations_for_pid_1_keep_no_container_from_running,
    Overlay changes_go_to_the_layer_of_the_bundle,
];

fn pid_file_has_the_number_of_the_first_process(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "-d", "-b", "b", "one", "--pid-file=a pid"])?;
    let pid = fs::read_to_string(lab.directory.join("a pid"))?;
    ensure!(
        json!(pid.parse::<u32>()?) == lab.state("one")?["pid"],
        "{pid:?}"
    );
    // Where it cannot be written, there is no container.
    let words = ["create", "--bundle", "b", "--pid-file", "no/where", "two"];
    lab.fails(&words, 125, &["no/where: ENOENT", "[B077]"])?;
    ensure!(lab.ok(&["list", "-q"])? == "one\n");
    Ok(())
}

/// Has the command start with `file` as descriptor 3.
fn with_descriptor_3(command: &mut Command, file: &File) {
    let number = file.as_raw_fd();
    let give = move || {
        // SAFETY: dup2(2) takes two numbers; the first is open until the command was started.
        match unsafe { libc::dup2(number, 3) } {
            3 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: dup2(2) may be called between fork(2) and execve(2).
    unsafe { command.pre_exec(give) };
}

fn descriptors_are_preserved_as_asked_for(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["show", "/proc/self/fd/3"])?;
    let path = lab.directory.join("file");
    File::create(&path)?.write_all(b"through descriptor 3\n")?;
    // Not one of the lowest numbers itself.
    let file = File::open(&path)?;
    let high = rustix::io::fcntl_dupfd_cloexec(&file, 20).map(File::from)?;
    let mut command = lab.command(["run", "--preserve-fds", "1", "--bundle", "b", "one"]);
    with_descriptor_3(&mut command, &high);
    let output = command.output()?;
    ensure!(
        output.stdout == b"through descriptor 3\n" && output.status.success(),
        "{output:?}"
    );
    // Without the option it is closed, and the guest program opens a descriptor of its own there at most.
    let mut command = lab.command(["run", "--bundle", "b", "one"]);
    with_descriptor_3(&mut command, &high);
    let output = command.output()?;
    ensure!(!output.stdout.starts_with(b"through"), "{output:?}");
    // Whoever started this may have left some open.
    lab.fails(
        &["run", "--preserve-fds", "1000", "--bundle", "b", "one"],
        125,
        &[" is not open", "[B070]"],
    )
    .map(drop)
}

fn log_has_records_of_json(lab: &Lab) -> Result<()> {
    lab.bundle_with("b", &["exit", "0"], |config| {
        config["solaris"] = json!({ "milestone": "x" })
    })?;
    lab.ok(&[
        "--log",
        "log",
        "--log-format",
        "json",
        "run",
        "--bundle",
        "b",
        "one",
    ])?;
    lab.fails(
        &["--log=log", "--log-format=json", "start", "two"],
        125,
        &["[B072]"],
    )?;
    lab.fails(
        &[
            "--log",
            "log",
            "create",
            "--log-format",
            "json",
            "-b",
            "no \"b\"",
            "x",
        ],
        125,
        &[],
    )?;
    let log = fs::read_to_string(lab.directory.join("log"))?;
    let records: Vec<Value> = log
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let field = |record: usize, name: &str| {
        records
            .get(record)
            .and_then(|record| record[name].as_str())
            .unwrap_or_default()
    };
    ensure!(records.len() == 3, "{log}");
    ensure!(
        field(0, "level") == "warning" && field(0, "msg").contains("solaris"),
        "{log}"
    );
    ensure!(
        field(1, "level") == "error" && field(1, "msg").starts_with("start: open two"),
        "{log}"
    );
    ensure!(field(2, "msg").contains("no \"b\": ENOENT"), "{log}");
    // The words that engines look for.
    ensure!(
        field(2, "msg").contains("no such file or directory"),
        "{log}"
    );
    let time = field(1, "time");
    ensure!(
        time.len() == 30 && time.ends_with('Z') && time.as_bytes()[10] == b'T',
        "{time}"
    );
    Ok(())
}

fn log_has_records_of_text(lab: &Lab) -> Result<()> {
    lab.fails(&["--log", "log", "start", "two"], 125, &["[B072]"])?;
    let log = fs::read_to_string(lab.directory.join("log"))?;
    ensure!(
        log.starts_with("time=\"20") && log.contains("\" level=error msg=\"start: open two"),
        "{log}"
    );
    ensure!(log.lines().count() == 1, "{log}");
    lab.fails(
        &["--log-format", "xml", "list"],
        125,
        &["\"xml\"", "[B070]"],
    )?;
    lab.fails(
        &["--log", "no/where", "list"],
        125,
        &["no/where: ENOENT", "[B077]"],
    )
    .map(drop)
}

fn hooks_are_run_in_their_order(lab: &Lab) -> Result<()> {
    let guest = std::env::current_exe()?;
    let order = lab.directory.join("order");
    lab.bundle_with("b", &["exit", "0"], |config| {
        for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
            let args = json!(["guest", "append", order, kind]);
            config["hooks"][kind] = json!([{ "path": guest, "args": args }]);
        }
    })?;
    lab.leaves(&["create", "--bundle", "b", "one"])?;
    let process = lab.process("one")?;
    lab.leaves(&["start", "one"])?;
    process.wait()?;
    lab.leaves(&["delete", "one"])?;
    let text = fs::read_to_string(&order)?;
    let mut seen = Vec::new();
    for line in text.lines() {
        let (kind, state) = line.split_once(' ').context("a hook without a state")?;
        let state: Value = serde_json::from_str(state)?;
        ensure!(state["id"] == "one", "{line}");
        seen.push(format!(
            "{kind} {}",
            state["status"].as_str().unwrap_or_default()
        ));
    }
    let expected = [
        "createRuntime creating",
        "createContainer creating",
        "poststart running",
        "poststop stopped",
    ];
    ensure!(seen == expected, "{seen:?}");
    // One that fails is the end of what does not run yet, and a warning afterwards.
    for (kind, fails) in [("createRuntime", true), ("poststart", false)] {
        lab.bundle_with("b", &["exit", "0"], |config| {
            let args = json!(["guest", "exit", "1"]);
            config["hooks"][kind] = json!([{ "path": guest, "args": args }]);
        })?;
        if fails {
            lab.fails(&["run", "--bundle", "b", "one"], 125, &[kind, "[B053]"])?;
        } else {
            lab.ok(&["--log", "log", "run", "--bundle", "b", "one"])?;
            let log = fs::read_to_string(lab.directory.join("log"))?;
            ensure!(log.contains("level=warning") && log.contains(kind), "{log}");
        }
        ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    }
    Ok(())
}

fn options_of_other_runtimes_are_accepted(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["say", "hello"])?;
    let words = [
        "--cgroup-manager",
        "cgroupfs",
        "run",
        "--no-new-keyring",
        "--bundle",
        "b",
        "one",
    ];
    ensure!(lab.ok(&words)? == "hello\n");
    // The root is moved then, as on an initramfs.
    ensure!(lab.ok(&["run", "--no-pivot", "--bundle", "b", "one"])? == "hello\n");
    Ok(())
}

/// There is nobody here who would start a container again, or knows of others.
fn annotations_for_pid_1_keep_no_container_from_running(lab: &Lab) -> Result<()> {
    const VALUES: [(&str, &str); 4] = [
        ("berth.restart", "always"),
        ("berth.after", "nobody"),
        ("berth.on-exit", "shutdown"),
        ("berth.stop-timeout", "1"),
    ];
    lab.bundle_with("b", &["say", "hello"], |config| {
        config["annotations"] = VALUES.into_iter().collect();
    })?;
    ensure!(lab.ok(&["run", "--bundle", "b", "one"])? == "hello\n");
    let told = lab.ok(&["check", "b"])?;
    for (name, _) in VALUES {
        let line = format!("done     annotations.{name}: by PID 1 only");
        ensure!(told.lines().any(|told| told == line), "{told}");
    }
    Ok(())
}

fn changes_go_to_the_layer_of_the_bundle(lab: &Lab) -> Result<()> {
    let words = ["leave", "/left", "by the container"];
    lab.bundle_with("b", &words, |config| {
        config["annotations"] = json!({ "berth.overlay": "layer" });
        config["root"]["readonly"] = json!(false);
    })?;
    lab.ok(&["run", "--bundle", "b", "one"])?;
    let bundle = lab.directory.join("b");
    ensure!(fs::read_to_string(bundle.join("layer/upper/left"))? == "by the container");
    ensure!(!bundle.join("rootfs/left").exists());
    Ok(())
}
