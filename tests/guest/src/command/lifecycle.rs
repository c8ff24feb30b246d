//! A container's life: create, start, state, kill, delete, run; and who gets a name.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::lab::{GROUPS, Lab, Process, Running, has_groups};
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing container_goes_from_created_to_stopped,
    Nothing state_is_that_of_the_specification,
    Nothing run_ends_as_its_program_ends,
    Nothing kept_container_stays_until_it_is_deleted,
    Group events_tell_what_a_container_uses,
    Controllers events_tell_that_memory_ran_out,
    Nothing run_ends_with_the_signal_of_its_program,
    Nothing run_hands_signals_on,
    Nothing standard_streams_pass_through_untouched,
    Nothing detached_run_leaves_a_running_container,
    Nothing id_that_is_in_use_is_refused,
    Nothing of_creates_at_once_exactly_one_wins,
    Nothing bad_bundle_leaves_nothing_behind,
    Nothing program_that_is_missing_is_told_by_create,
    Nothing program_that_others_take_away_is_told_by_start,
    Nothing what_a_user_writes_chooses_no_hint,
    Nothing container_that_was_not_started_is_deleted,
    Nothing running_container_is_not_deleted_without_force,
    Nothing killed_run_does_not_block_the_next,
    Nothing container_that_is_not_there_is_named,
    Group processes_are_listed_and_frozen,
    Group options_behind_the_id_are_those_of_ps,
    Group signal_to_all_reaches_every_process,
    Group deleted_container_leaves_no_group,
    Group group_that_is_gone_is_named_and_no_obstacle,
    Controllers limits_are_in_force_and_can_be_changed,
];

fn container_goes_from_created_to_stopped(lab: &Lab) -> Result<()> {
    let bundle = lab.bundle("b", &["until-asked"])?;
    let bundle = bundle.to_str().context("a path")?;
    lab.leaves(&["create", "--bundle", bundle, "one"])?;
    ensure!(lab.status("one")? == "created");
    let process = lab.process("one")?;
    lab.fails(
        &["exec", "one", "/bin/guest"],
        125,
        &["it is created", "[B073]"],
    )?;
    lab.ok(&["start", "one"])?;
    ensure!(lab.status("one")? == "running");
    let says = ["cannot start an already running container", "[B073]"];
    lab.fails(&["start", "one"], 125, &says)?;
    lab.ok(&["kill", "one", "KILL"])?;
    process.wait()?;
    ensure!(lab.status("one")? == "stopped");
    // containerd takes it for one that has ended.
    let says = ["container not running: it is stopped", "[B073]"];
    for words in [
        &["kill", "one"][..],
        &["exec", "one", "x"],
        &["pause", "one"],
    ] {
        lab.fails(words, 125, &says)?;
    }
    lab.ok(&["delete", "one"])?;
    lab.fails(&["state", "one"], 125, &["[B072]"])?;
    ensure!(fs::read_dir(lab.root())?.count() == 0, "something is left");
    Ok(())
}

fn state_is_that_of_the_specification(lab: &Lab) -> Result<()> {
    let bundle = lab.bundle("b", &["stay"])?;
    lab.leaves(&["create", "--pid-file", "pid", "-b", "b", "one"])?;
    let pid: u32 = fs::read_to_string(lab.directory.join("pid"))?.parse()?;
    let state = lab.state("one")?;
    let expected = json!({
        "ociVersion": state["ociVersion"], "id": "one", "status": "created", "pid": pid, "bundle": bundle,
        "annotations": { "org.example.key": "value \"in quotes\"" },
    });
    ensure!(state == expected, "{state}");
    let version = state["ociVersion"].as_str().unwrap_or_default();
    ensure!(version.starts_with("1."), "{version}");
    let process = lab.process("one")?;
    lab.ok(&["kill", "one", "9"])?;
    process.wait()?;
    let state = lab.state("one")?;
    ensure!(
        state["status"] == "stopped" && state.get("pid").is_none(),
        "{state}"
    );
    Ok(())
}

fn run_ends_as_its_program_ends(lab: &Lab) -> Result<()> {
    for status in [0, 7, 255] {
        lab.bundle("b", &["exit", &status.to_string()])?;
        let output = lab.call(&["run", "--bundle", "b", "one"])?;
        ensure!(output.status.code() == Some(status), "{}", output.status);
        ensure!(
            output.stdout.is_empty() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
    ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    Ok(())
}

fn kept_container_stays_until_it_is_deleted(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["exit", "4"])?;
    let output = lab.call(&["run", "--keep", "--bundle", "b", "one"])?;
    ensure!(output.status.code() == Some(4), "{output:?}");
    ensure!(lab.status("one")? == "stopped");
    lab.fails(&["run", "--bundle", "b", "one"], 125, &["[B071]"])?;
    lab.ok(&["delete", "one"])?;
    ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    Ok(())
}

/// An event, by the names that runc has.
fn event(line: &str, kind: &str) -> Result<Value> {
    let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
    ensure!(event["type"] == kind && event["id"] == "one", "{line}");
    Ok(event["data"].clone())
}

fn events_tell_what_a_container_uses(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "-d", "--bundle", "b", "one"])?;
    let once = lab.ok(&["events", "--stats", "one"])?;
    ensure!(once.lines().count() == 1, "{once}");
    let data = event(&once, "stats")?;
    for path in [
        "/cpu/usage/total",
        "/cpu/usage/kernel",
        "/cpu/usage/user",
        "/cpu/throttling/throttledTime",
        "/cpuset/cpu_exclusive",
        "/memory/usage/usage",
        "/memory/usage/limit",
        "/memory/swap/limit",
        "/pids/current",
    ] {
        let number = data.pointer(path);
        ensure!(number.is_some_and(Value::is_u64), "{path}: {once}");
    }
    for path in [
        "/memory/raw",
        "/memory/event_count",
        "/hugetlb",
        "/intel_rdt",
    ] {
        ensure!(
            data.pointer(path).is_some_and(Value::is_object),
            "{path}: {once}"
        );
    }
    ensure!(
        data["blkio"]["ioServiceBytesRecursive"].is_array(),
        "{once}"
    );
    ensure!(data["cpu"]["usage"]["total"] != 0, "{once}");
    let mut running = Running::start(&mut lab.command(["events", "--interval=10ms", "one"]))?;
    for _ in 0..2 {
        event(&running.line()?, "stats")?;
    }
    // It ends with the container.
    lab.ok(&["kill", "one", "KILL"])?;
    ensure!(running.status()? == Some(0));
    lab.fails(
        &["events", "one"],
        125,
        &["container not running", "[B073]"],
    )?;
    lab.fails(
        &["events", "--interval", "0s", "one"],
        125,
        &["--interval is a time above 0", "[B070]"],
    )
    .map(drop)
}

fn events_tell_that_memory_ran_out(lab: &Lab) -> Result<()> {
    lab.bundle_with("b", &["stay"], |config| {
        config["linux"]["resources"] = json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20 } });
    })?;
    lab.leaves(&["run", "-d", "--bundle", "b", "one"])?;
    let mut running = Running::start(&mut lab.command(["events", "--interval=10ms", "one"]))?;
    event(&running.line()?, "stats")?;
    let output = lab.call(&["exec", "one", "/bin/guest", "use-memory"])?;
    ensure!(output.status.code() == Some(137), "{output:?}");
    let mut line = running.line()?;
    while line.contains("\"stats\"") {
        line = running.line()?;
    }
    event(&line, "oom")?;
    let data = event(&lab.ok(&["events", "--stats", "one"])?, "stats")?;
    ensure!(data["memory"]["usage"]["limit"] == 32 << 20, "{data}");
    ensure!(data["memory"]["event_count"]["oom_kill"] == 1, "{data}");
    lab.ok(&["delete", "--force", "one"])?;
    ensure!(running.status()? == Some(0));
    Ok(())
}

fn run_ends_with_the_signal_of_its_program(lab: &Lab) -> Result<()> {
    // The first process of a PID namespace gets no signal from itself that it does not handle.
    lab.bundle_with("b", &["end-by", "6"], |config| {
        config["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "uts" }]);
    })?;
    let output = lab.call(&["run", "--bundle", "b", "one"])?;
    ensure!(output.status.code() == Some(128 + 6), "{}", output.status);
    Ok(())
}

fn run_hands_signals_on(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["until-asked"])?;
    let mut running = Running::start(&mut lab.command(["run", "-b", "b", "one"]))?;
    ensure!(running.line()? == "waiting");
    ensure!(lab.status("one")? == "running");
    running.signal(Signal::TERM)?;
    ensure!(running.line()? == "asked to end");
    ensure!(running.status()? == Some(5));
    lab.fails(&["state", "one"], 125, &["[B072]"]).map(drop)
}

fn standard_streams_pass_through_untouched(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["copy"])?;
    let mut child = lab
        .command(["run", "--bundle", "b", "one"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let mut input = child.stdin.take().context("no input")?;
    let written = bytes.clone();
    let writer = std::thread::spawn(move || input.write_all(&written));
    let output = child.wait_with_output()?;
    writer.join().ok().context("the writer")??;
    ensure!(
        output.stdout == bytes,
        "{} bytes came out",
        output.stdout.len()
    );
    ensure!(
        output.stderr == b"copied 300000\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn detached_run_leaves_a_running_container(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
    ensure!(lab.status("one")? == "running");
    ensure!(lab.ok(&["list", "--quiet"])? == "one\n");
    let list: serde_json::Value = serde_json::from_str(&lab.ok(&["list", "--format=json"])?)?;
    ensure!(
        list[0]["id"] == "one" && list[0]["status"] == "running" && list[0]["pid"].is_u64(),
        "{list}"
    );
    let table = lab.ok(&["list"])?;
    ensure!(
        table.starts_with("ID ") && table.lines().count() == 2,
        "{table}"
    );
    lab.ok(&["delete", "--force", "one"])?;
    ensure!(lab.ok(&["list", "-f", "json"])? == "[]\n");
    Ok(())
}

fn id_that_is_in_use_is_refused(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["create", "--bundle", "b", "one"])?;
    for command in ["create", "run"] {
        lab.fails(
            &[command, "--bundle", "b", "one"],
            125,
            &[
                "create one: container with given ID already exists",
                "[B071]",
            ],
        )?;
    }
    ensure!(
        lab.status("one")? == "created",
        "the first one is as it was"
    );
    let process = lab.process("one")?;
    lab.ok(&["kill", "one", "KILL"])?;
    process.wait()?;
    // Stopped, and remembered until it is deleted.
    lab.fails(&["create", "--bundle", "b", "one"], 125, &["[B071]"])?;
    lab.ok(&["delete", "one"])?;
    lab.leaves(&["create", "--bundle", "b", "one"])
}

fn of_creates_at_once_exactly_one_wins(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    for round in 0..3 {
        let errors = |number: usize| lab.directory.join(format!("errors-{round}-{number}"));
        let mut children = Vec::new();
        for number in 0..6 {
            let mut command = lab.command(["create", "--bundle", "b", "one"]);
            command
                .stdout(Stdio::null())
                .stderr(fs::File::create(errors(number))?);
            children.push(command.spawn()?);
        }
        let mut won = 0;
        for (number, mut child) in children.into_iter().enumerate() {
            let errors = fs::read_to_string(errors(number));
            match child.wait()?.code() {
                Some(0) => won += 1,
                code => ensure!(code == Some(125), "{code:?}: {errors:?}"),
            }
        }
        let mut told = 0;
        for number in 0..6 {
            told += usize::from(fs::read_to_string(errors(number))?.contains("[B071]"));
        }
        ensure!(won == 1 && told == 5, "{won} have won, {told} were told");
        ensure!(lab.status("one")? == "created");
        lab.ok(&["delete", "-f", "one"])?;
    }
    Ok(())
}

fn bad_bundle_leaves_nothing_behind(lab: &Lab) -> Result<()> {
    lab.fails(
        &["run", "--bundle", "nowhere", "one"],
        125,
        &["open nowhere: ENOENT", "[B051]"],
    )?;
    fs::create_dir(lab.directory.join("empty"))?;
    lab.fails(
        &["create", "--bundle", "empty", "one"],
        125,
        &["config.json: ENOENT", "[B051]"],
    )?;
    let bundle = lab.bundle("b", &["stay"])?;
    fs::write(bundle.join("config.json"), "{\n \"ociVersion\": 1,")?;
    lab.fails(
        &["create", "--bundle", "b", "one"],
        125,
        &["line 2", "[B051]"],
    )?;
    lab.bundle_with("b", &["stay"], |config| {
        config["vm"] = json!({ "kernel": { "path": "/x" } });
    })?;
    lab.fails(
        &["create", "--bundle", "b", "one"],
        125,
        &["vm is not supported", "[B052]"],
    )?;
    lab.bundle_with("b", &["stay"], |config| {
        config["root"]["path"] = json!("nothing")
    })?;
    lab.fails(
        &["create", "--bundle", "b", "one"],
        125,
        &["nothing", "ENOENT", "[B053]"],
    )?;
    ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    Ok(())
}

fn program_that_is_missing_is_told_by_create(lab: &Lab) -> Result<()> {
    for (program, path, status, says) in [
        (
            "/bin/nothing",
            "/bin",
            127,
            "execute /bin/nothing for one: ENOENT: no such file or directory  [B054]",
        ),
        (
            "/bin/guest/x",
            "/bin",
            126,
            "execute /bin/guest/x for one: ENOTDIR: not a directory",
        ),
        (
            "nothing",
            "/bin:/etc",
            127,
            "execute nothing in PATH for one: ENOENT: no such file or directory: executable file not found in $PATH  [B054]",
        ),
        (
            "/etc",
            "/bin",
            126,
            "execute /etc for one: EACCES: permission denied",
        ),
        (
            "/etc/plain",
            "/bin",
            126,
            "execute /etc/plain for one: EACCES",
        ),
        (
            "plain",
            "/bin:/etc",
            126,
            "execute plain in PATH for one: EACCES: permission denied",
        ),
    ] {
        let bundle = lab.bundle_with("b", &[], |config| {
            config["process"]["args"] = json!([program]);
            config["process"]["env"] = json!([format!("PATH={path}")]);
        })?;
        fs::write(bundle.join("rootfs/etc/plain"), "no program")?;
        for command in ["create", "run"] {
            lab.fails(
                &[command, "--bundle", "b", "one"],
                status,
                &[says, "[B054]"],
            )?;
        }
        ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    }
    // What stands further down in PATH is found all the same.
    lab.bundle_with("b", &[], |config| {
        config["process"]["args"] = json!(["guest", "exit", "4"]);
        config["process"]["env"] = json!(["PATH=/nowhere:/etc:/bin"]);
    })?;
    lab.fails(&["run", "--bundle", "b", "one"], 4, &[])
        .map(drop)
}

fn what_a_user_writes_chooses_no_hint(lab: &Lab) -> Result<()> {
    lab.bundle_with("cwd", &[], |config| {
        config["process"]["cwd"] = json!("/bin/guest");
    })?;
    let with_mount = |name: &str, kind: &str, source: &str, options: Value| {
        lab.bundle_with(name, &[], |config| {
            config["mounts"] = json!([
                { "destination": "/mnt", "type": kind, "source": source, "options": options },
            ]);
        })
    };
    with_mount("option", "tmpfs", "tmpfs", json!(["IO charset=1"]))?;
    with_mount("value", "tmpfs", "tmpfs", json!(["size=/dev/loop-control"]))?;
    let source = "/nowhere/the agent at xfs_repair by systemd";
    with_mount("source", "bind", source, json!(["bind"]))?;
    let generally = "correct config.json, or build the kernel with what it asks for";
    let option = "correct the options of this mount in config.json";
    let there = "make the file or directory, or correct the path in config.json";
    for (bundle, id, says, hint) in [
        (
            "cwd",
            "my-id_map",
            "enter directory /bin/guest for my-id_map: ENOTDIR: not a directory  [B053]",
            generally,
        ),
        (
            "option",
            "codepage",
            "mount tmpfs as tmpfs on /mnt: IO charset=1 for codepage: EINVAL: invalid argument: tmpfs: Unknown parameter 'IO charset'  [B053]",
            option,
        ),
        (
            "value",
            "AppArmor",
            "mount tmpfs as tmpfs on /mnt: size=/dev/loop-control for AppArmor: EINVAL: invalid argument: tmpfs: Bad value for 'size'  [B053]",
            option,
        ),
        (
            "source",
            "xfs_repair",
            "open /nowhere/the agent at xfs_repair by systemd to mount it on /mnt for xfs_repair: ENOENT: no such file or directory  [B053]",
            there,
        ),
    ] {
        lab.fails(&["run", "--bundle", bundle, id], 125, &[says, hint])?;
    }
    Ok(())
}

fn program_that_others_take_away_is_told_by_start(lab: &Lab) -> Result<()> {
    let bundle = lab.bundle("b", &["exit", "0"])?;
    lab.leaves(&["create", "--bundle", "b", "one"])?;
    fs::remove_file(bundle.join("rootfs/bin/guest"))?;
    let says = ["execute /bin/guest for one: ENOENT", "[B054]"];
    lab.fails(&["start", "one"], 127, &says)?;
    lab.ok(&["delete", "--force", "one"]).map(drop)
}

fn container_that_was_not_started_is_deleted(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    for words in [&["delete", "one"][..], &["delete", "--force", "one"]] {
        lab.leaves(&["create", "--bundle", "b", "one"])?;
        let process = lab.process("one")?;
        lab.ok(words)?;
        process.wait()?;
        ensure!(lab.ok(&["list", "-q"])?.is_empty(), "it is listed");
    }
    Ok(())
}

fn running_container_is_not_deleted_without_force(lab: &Lab) -> Result<()> {
    const WHY: &str = "cannot delete container that is not stopped";
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "-d", "--bundle", "b", "one"])?;
    let process = lab.process("one")?;
    lab.fails(&["delete", "one"], 125, &[WHY, "it is running", "[B073]"])?;
    if has_groups() {
        lab.ok(&["pause", "one"])?;
        lab.fails(&["delete", "one"], 125, &[WHY, "it is paused", "[B073]"])?;
        ensure!(lab.status("one")? == "paused", "nothing is done to it");
    }
    lab.ok(&["delete", "--force", "one"])?;
    process.wait()?;
    lab.leaves(&["run", "-d", "--bundle", "b", "one"])?;
    let process = lab.process("one")?;
    lab.ok(&["kill", "one", "KILL"])?;
    process.wait()?;
    lab.ok(&["delete", "one"])?;
    lab.fails(&["delete", "one"], 125, &["does not exist", "[B072]"])?;
    lab.ok(&["delete", "--force", "one"]).map(drop)
}

fn killed_run_does_not_block_the_next(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["until-asked"])?;
    let command = &mut lab.command(["run", "--bundle", "b", "one"]);
    let mut running = Running::start(command)?;
    ensure!(running.line()? == "waiting");
    let process = lab.process("one")?;
    running.signal(Signal::KILL)?;
    running.child.wait()?;
    // The container is not its process, and lives on.
    lab.fails(
        &["run", "--bundle", "b", "one"],
        125,
        &["running", "[B071]"],
    )?;
    lab.ok(&["kill", "one", "KILL"])?;
    process.wait()?;
    lab.bundle("b", &["exit", "3"])?;
    let output = lab.call(&["run", "--bundle", "b", "one"])?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    Ok(())
}

fn container_that_is_not_there_is_named(lab: &Lab) -> Result<()> {
    for words in [
        &["state", "none"][..],
        &["start", "none"],
        &["kill", "none"],
        &["delete", "none"],
        &["exec", "none", "sh"],
        &["ps", "none"],
        &["pause", "none"],
    ] {
        let says = [
            "berth: error: ",
            "open none: container does not exist",
            "[B072]",
        ];
        lab.fails(words, 125, &says)?;
    }
    lab.ok(&["delete", "--force", "none"]).map(drop)
}

fn processes_are_listed_and_frozen(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "-d", "--bundle", "b", "one"])?;
    let pid = lab.state("one")?["pid"].clone();
    ensure!(lab.ok(&["ps", "--format", "json", "one"])? == format!("[{pid}]\n"));
    ensure!(lab.ok(&["ps", "one"])? == format!("PID\n{pid}\n"));
    lab.fails(
        &["resume", "one"],
        125,
        &["container not paused: it is running", "[B073]"],
    )?;
    lab.ok(&["pause", "one"])?;
    ensure!(lab.status("one")? == "paused");
    lab.fails(&["pause", "one"], 125, &["it is paused", "[B073]"])?;
    lab.fails(
        &["exec", "one", "/bin/guest"],
        125,
        &["it is paused", "[B073]"],
    )?;
    lab.ok(&["resume", "one"])?;
    ensure!(lab.status("one")? == "running");
    lab.ok(&["pause", "one"])?;
    // One that is frozen can be killed all the same.
    lab.ok(&["delete", "--force", "one"]).map(drop)
}

/// The host's `ps` is a link to the guest program here, which prints the same columns on every
/// machine.
fn options_behind_the_id_are_those_of_ps(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "-d", "--bundle", "b", "one"])?;
    let pid = lab.state("one")?["pid"].to_string();
    symlink(std::env::current_exe()?, lab.directory.join("ps"))?;
    let ps = |options: &[&str]| {
        let mut command = lab.command([&["ps", "one"][..], options].concat());
        command.env("PATH", &lab.directory).output()
    };
    for options in [&["aux"][..], &["-ef", "--format", "json"]] {
        let shown = String::from_utf8(ps(options)?.stdout)?;
        let lines: Vec<_> = shown.lines().collect();
        let title = format!("OPTIONS PID {}", options.join(" "));
        ensure!(lines == [title, format!("of {pid} guest")], "{shown}");
    }
    for (options, says) in [
        ("without", "it has no column PID"),
        ("--nonsense", "execute ps: it ended with status 1"),
    ] {
        let output = ps(&[options])?;
        let errors = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(125) && output.stdout.is_empty());
        ensure!(
            errors.contains(says) && errors.contains("[B075]"),
            "{errors}"
        );
    }
    fs::remove_file(lab.directory.join("ps"))?;
    let errors = String::from_utf8(ps(&["aux"])?.stderr)?;
    ensure!(errors.contains("execute ps in PATH: ENOENT"), "{errors}");
    Ok(())
}

fn signal_to_all_reaches_every_process(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "-d", "--bundle", "b", "one"])?;
    lab.leaves(&[
        "exec",
        "-d",
        "--pid-file",
        "second",
        "one",
        "/bin/guest",
        "until-asked",
    ])?;
    let pid = fs::read_to_string(lab.directory.join("second"))?.parse()?;
    let (first, second) = (lab.process("one")?, Process::open(pid)?);
    let mut both: Vec<i64> = serde_json::from_str(&lab.ok(&["ps", "-f", "json", "one"])?)?;
    both.sort_unstable();
    ensure!(both.len() == 2 && both.contains(&pid), "{both:?}");
    // The first does not care.
    lab.ok(&["kill", "--all", "one", "SIGTERM"])?;
    second.wait()?;
    ensure!(lab.status("one")? == "running");
    lab.ok(&["kill", "-a", "one", "KILL"])?;
    first.wait()
}

fn deleted_container_leaves_no_group(lab: &Lab) -> Result<()> {
    let groups = || count_directories(GROUPS.as_ref());
    lab.bundle("b", &["exit", "0"])?;
    lab.ok(&["run", "--bundle", "b", "first"])?;
    let before = groups()?;
    lab.ok(&["run", "--bundle", "b", "one"])?;
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["create", "--bundle", "b", "two"])?;
    ensure!(groups()? > before, "the container has a group");
    lab.ok(&["delete", "-f", "two"])?;
    ensure!(groups()? == before, "{} groups more", groups()? - before);
    Ok(())
}

fn group_that_is_gone_is_named_and_no_obstacle(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["create", "--bundle", "b", "one"])?;
    let process = lab.process("one")?;
    lab.ok(&["kill", "one", "KILL"])?;
    process.wait()?;
    fs::remove_dir(format!("{GROUPS}/berth/one"))?;
    lab.fails(&["ps", "one"], 125, &["berth/one: ENOENT", "[B075]"])?;
    // Nothing of it is left, and nobody to be signalled.
    let words = ["kill", "--all", "one", "KILL"];
    lab.fails(&words, 125, &["container not running", "[B073]"])?;
    lab.ok(&["delete", "one"]).map(drop)
}

fn limits_are_in_force_and_can_be_changed(lab: &Lab) -> Result<()> {
    lab.bundle_with("b", &["stay"], |config| {
        config["linux"]["resources"] = json!({ "pids": { "limit": 20 } });
        config["linux"]["cgroupsPath"] = json!("/of-the-case/one");
    })?;
    lab.leaves(&["run", "-d", "--bundle", "b", "one"])?;
    let limit = || fs::read_to_string(format!("{GROUPS}/of-the-case/one/pids.max"));
    ensure!(limit()? == "20\n", "{:?}", limit());
    fs::write(lab.directory.join("limits"), "{\"pids\":{\"limit\":30}}")?;
    lab.ok(&["update", "--resources", "limits", "one"])?;
    ensure!(limit()? == "30\n", "{:?}", limit());
    let mut command = lab.command(["update", "one", "-r", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let input = child.stdin.take().context("no input")?;
    (&input).write_all(b"{\"pids\":{\"limit\":40}}")?;
    drop(input);
    ensure!(
        child.wait()?.success() && limit()? == "40\n",
        "{:?}",
        limit()
    );
    fs::write(
        lab.directory.join("limits"),
        "{\"pids\":{\"limit\":\"many\"}}",
    )?;
    let words = ["update", "--resources", "limits", "one"];
    lab.fails(&words, 125, &["linux.resources.pids.limit", "[B051]"])?;
    lab.fails(
        &["update", "one"],
        125,
        &["--resources or a limit is missing", "[B070]"],
    )?;
    let of_group = |file: &str| {
        let text = fs::read_to_string(format!("{GROUPS}/of-the-case/one/{file}"));
        text.map(|text| text.trim().to_owned())
    };
    lab.ok(&[
        "update",
        "--memory=64m",
        "--memory-reservation=32m",
        "--cpus=0.5",
        "--cpu-shares=512",
        "--pids-limit=50",
        "--cpuset-cpus=0",
        "one",
    ])?;
    for (file, expected) in [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("cpu.max", "50000 100000"),
        ("cpu.weight", "59"),
        ("pids.max", "50"),
        ("cpuset.cpus", "0"),
    ] {
        let found = of_group(file)?;
        ensure!(found == expected, "{file}: {found}");
    }
    // A period has the quota that there is, and the other way round; and processors are a share of
    // the default one.
    for (option, expected) in [
        ("--cpu-period=50000", "50000 50000"),
        ("--cpu-quota=20000", "20000 50000"),
        ("--cpus=2", "200000 100000"),
        ("--cpu-quota=-1", "max 100000"),
        ("--cpu-period=50000", "max 50000"),
    ] {
        lab.ok(&["update", option, "one"])?;
        let found = of_group("cpu.max")?;
        ensure!(found == expected, "{option}: {found}");
    }
    fs::write(lab.directory.join("limits"), "{\"cpu\":{\"quota\":7000}}")?;
    lab.ok(&["update", "--resources", "limits", "one"])?;
    fs::write(lab.directory.join("limits"), "{\"cpu\":{\"period\":9000}}")?;
    lab.ok(&["update", "--resources", "limits", "one"])?;
    ensure!(of_group("cpu.max")? == "7000 9000");
    // What is not mentioned stays.
    lab.ok(&["update", "one", "--pids-limit", "-1"])?;
    ensure!(of_group("pids.max")? == "max" && of_group("memory.max")? == "67108864");
    let words = ["update", "--resources=limits", "--memory=1g", "one"];
    lab.fails(&words, 125, &["remove the other options", "[B070]"])?;
    let words = ["update", "--blkio-weight=5", "one"];
    lab.fails(&words, 125, &["weight takes 10 to 1000", "[B051]"])
        .map(drop)
}

fn count_directories(path: &std::path::Path) -> Result<usize> {
    let mut count = 1;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            count += count_directories(&entry.path())?;
        }
    }
    Ok(count)
}
