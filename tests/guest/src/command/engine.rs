//! What engines ask of a runtime: files with process numbers, descriptors, logs, hooks.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::Lab;
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing pid_file_has_the_number_of_the_first_process,
    Nothing descriptors_are_preserved_as_asked_for,
    Nothing sockets_of_systemd_are_handed_on,
    Nothing log_has_records_of_json,
    Nothing log_has_records_of_text,
    Nothing hooks_are_run_in_their_order,
    Nothing hooks_without_variables_inherit_those_of_berth,
    Nothing last_hooks_are_run_though_one_before_them_fails,
    Nothing large_configurations_are_read,
    Nothing paths_as_long_as_the_kernel_takes_are_used,
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
    // Without the option it is closed, and the guest program opens a descriptor of its own there at
    // most.
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

/// sd_listen_fds(3): the descriptors come first, then those of `--preserve-fds`.
fn sockets_of_systemd_are_handed_on(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["facts"])?;
    let file = File::open("/dev/null")?;
    let high = rustix::io::fcntl_dupfd_cloexec(&file, 20).map(File::from)?;
    let run = |variables: &[(&str, &str)]| -> Result<_> {
        let mut command = lab.command(["run", "--bundle", "b", "one"]);
        with_descriptor_3(&mut command, &high);
        command.envs(variables.iter().copied());
        Ok(String::from_utf8(command.output()?.stdout)?)
    };
    let (one, names) = (("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "web"));
    let facts = run(&[one, names])?;
    let variables: Vec<_> = facts
        .lines()
        .filter(|line| line.starts_with("variable LISTEN"))
        .collect();
    let expected = [
        "variable LISTEN_FDS=1",
        "variable LISTEN_PID=1",
        "variable LISTEN_FDNAMES=web",
    ];
    ensure!(variables == expected, "{facts}");
    // The three standard ones, the socket, and the one that lists them.
    let count = |facts: &str| facts.matches("\ndescriptor ").count();
    ensure!(count(&facts) == 5, "{facts}");
    // They are another's.
    let facts = run(&[one, ("LISTEN_PID", "999999")])?;
    ensure!(count(&facts) == 4 && !facts.contains("LISTEN"), "{facts}");
    let mut command = lab.command(["run", "--bundle", "b", "one"]);
    let output = command.env("LISTEN_FDS", "1000").output()?;
    let errors = String::from_utf8(output.stderr)?;
    ensure!(
        errors.contains("LISTEN_FDS is 1000, and descriptor"),
        "{errors}"
    );
    Ok(())
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
    // Without a file, who reads standard error has nothing else there.
    let said = lab.fails(&["--log-format=json", "start", "two"], 125, &["[B072]"])?;
    let record: Value = serde_json::from_str(&said).context(said)?;
    ensure!(record["level"] == "error", "{record}");
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

fn hooks_without_variables_inherit_those_of_berth(lab: &Lab) -> Result<()> {
    let guest = std::env::current_exe()?;
    for (env, expected) in [
        (json!(null), "OF_BERTH=1"),
        (json!(["OWN=1"]), "OWN=1"),
        (json!([]), ""),
    ] {
        let mut said = Vec::new();
        for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
            lab.bundle_with("b", &["exit", "0"], |config| {
                let args = json!(["guest", "show", "/proc/self/environ"]);
                config["hooks"][kind] = json!([{ "path": guest, "args": args, "env": env }]);
            })?;
            let mut command = lab.command(["run", "--bundle", "b", "one"]);
            let output = command.env_clear().env("OF_BERTH", "1").output()?;
            ensure!(output.status.success(), "{kind}: {output:?}");
            said.push(String::from_utf8(output.stdout)?.replace('\0', ""));
        }
        ensure!(said == [expected; 4], "{said:?}, not {expected}");
    }
    Ok(())
}

fn last_hooks_are_run_though_one_before_them_fails(lab: &Lab) -> Result<()> {
    let guest = std::env::current_exe()?;
    let order = lab.directory.join("order");
    lab.bundle_with("b", &["exit", "0"], |config| {
        for kind in ["poststart", "poststop"] {
            let append = json!({ "path": guest, "args": ["guest", "append", order, kind] });
            config["hooks"][kind] = json!([
                { "path": guest, "args": ["guest", "exit", "3"] }, { "path": "/nowhere" }, append,
            ]);
        }
    })?;
    lab.ok(&["--log", "log", "run", "--bundle", "b", "one"])?;
    let text = fs::read_to_string(&order)?;
    let kinds: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    ensure!(kinds == ["poststart", "poststop"], "{text}");
    let log = fs::read_to_string(lab.directory.join("log"))?;
    ensure!(log.matches("level=warning").count() == 4, "{log}");
    Ok(())
}

fn large_configurations_are_read(lab: &Lab) -> Result<()> {
    // As deep as engines have them.
    let long = format!("rootfs/{}", ["directory-of-some-length"; 12].join("/"));
    let source = lab.directory.join("b").join(&long);
    fs::create_dir_all(&source)?;
    fs::write(source.join("file"), "at the end of a long path\n")?;
    let id = format!("a+b-{}", "x".repeat(251));
    lab.bundle_with("b", &["show", "/mnt/file"], |config| {
        let variables = (0..2000).map(|number| json!(format!("VARIABLE_{number}=x")));
        config["process"]["env"] = variables.collect();
        config["annotations"]["org.example.large"] = json!("x".repeat(1 << 20));
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.push(json!({ "destination": "/mnt", "source": source, "options": ["bind"] }));
        }
    })?;
    ensure!(lab.ok(&["run", "--bundle", "b", &id])? == "at the end of a long path\n");
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "-d", "--bundle", "b", &id])?;
    ensure!(lab.status(&id)? == "running");
    ensure!(lab.ok(&["list", "-q"])?.trim() == id);
    let many = ["x"; 900];
    let words = [&["exec", &id, "/bin/guest", "say"][..], &many].concat();
    ensure!(lab.ok(&words)?.matches('x').count() == many.len());
    lab.ok(&["delete", "--force", &id])?;
    let long = format!("{id}x");
    lab.fails(&["state", &long], 125, &["1 to 255 letters", "[B070]"])
        .map(drop)
}

/// A path of as many bytes that begins with `start`, in directories that are made on the host.
fn deep(start: &Path, length: usize) -> Result<PathBuf> {
    let mut path = start.to_str().context("a path")?.to_owned();
    while path.len() < length {
        let left = length - path.len() - 1;
        // The last name is none of a directory, and there is one.
        let name = if left > 252 { 200 } else { left };
        path = format!("{path}/{}", "d".repeat(name));
    }
    let path = PathBuf::from(path);
    fs::create_dir_all(path.parent().context("a directory")?)?;
    Ok(path)
}

fn paths_as_long_as_the_kernel_takes_are_used(lab: &Lab) -> Result<()> {
    const LONGEST: usize = 4095;
    let guest = std::env::current_exe()?;
    lab.bundle("b", &["exit", "0"])?;
    let rootfs = lab.directory.join("b/rootfs");
    let [source, hook] = ["source", "hook"].map(|name| deep(&lab.directory.join(name), LONGEST));
    let (source, hook) = (source?, hook?);
    fs::write(&source, "at the end of a long path\n")?;
    std::os::unix::fs::symlink(&guest, &hook)?;
    let masked = deep(&rootfs.join("etc"), LONGEST)?;
    fs::write(&masked, "not to be seen")?;
    let masked = format!("/{}", masked.strip_prefix(&rootfs)?.display());
    let destination = format!("/tmp{}", "/name".repeat((LONGEST - 4) / 5));
    let mark = lab.directory.join("mark");
    let run = |words: &[&str], masked: &str| {
        lab.bundle_with("b", words, |config| {
            config["linux"]["maskedPaths"] = json!([masked]);
            config["linux"]["readonlyPaths"] = json!([masked]);
            config["hooks"]["createRuntime"] =
                json!([{ "path": hook, "args": ["guest", "append", mark, "x"] }]);
            if let Some(mounts) = config["mounts"].as_array_mut() {
                mounts.push(
                    json!({ "destination": "/mnt/file", "source": source, "options": ["bind"] }),
                );
                mounts.push(json!({ "destination": destination, "type": "tmpfs" }));
                let many = (0..300).map(|number| format!("/mnt/{number}"));
                mounts.extend(many.map(|path| json!({ "destination": path, "type": "tmpfs" })));
            }
        })?;
        lab.command(["run", "--bundle", "b", "one"])
            .output()
            .context("run")
    };
    let said = |words: &[&str]| {
        let output = run(words, &masked)?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    ensure!(said(&["show", "/mnt/file"])? == "at the end of a long path\n");
    ensure!(said(&["show", &masked])?.is_empty(), "it is not masked");
    let mounts = said(&["show", "/proc/self/mountinfo"])?;
    ensure!(
        mounts.lines().count() > 300 && mounts.contains(&destination),
        "{mounts}"
    );
    ensure!(mark.exists(), "the hook was not run");
    let output = run(&["exit", "0"], &format!("{masked}{}", "x".repeat(LONGEST)))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        errors.contains("linux.maskedPaths[0] is") && errors.contains("[B051]"),
        "{errors}"
    );
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
