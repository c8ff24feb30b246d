//! `exec`: one more process.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::lab::{self, Lab, Process, Running};
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing exec_gets_arguments_variables_and_directory,
    Nothing exec_is_in_the_namespaces_of_the_container,
    Nothing processes_begin_in_their_group_whatever_cgroup_namespace_they_join,
    Nothing exec_ends_as_its_program_ends,
    Nothing exec_reads_the_process_from_a_file,
    Nothing exec_of_a_bad_process_is_refused,
    Nothing exec_tells_what_ended_a_process_that_could_not,
    Nothing exec_that_fails_leaves_no_process,
    Nothing exec_goes_its_own_way_when_detached,
    Nothing exec_hands_signals_on,
    Nothing exec_is_whom_it_is_told_to_be,
    Nothing exec_adds_groups_and_capabilities,
    Group exec_begins_in_a_group_below,
    Group exec_of_a_paused_container_waits_if_it_is_told_to,
    Processors exec_runs_on_the_processors_that_it_is_given,
    Nothing exec_on_processors_that_there_are_not_is_refused,
];

fn with_container(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])
}

fn exec_gets_arguments_variables_and_directory(lab: &Lab) -> Result<()> {
    with_container(lab)?;
    let words = [
        "exec",
        "-e",
        "A=1",
        "--env=B=2 \"two\"",
        "--cwd",
        "/mnt",
        "one",
        "guest",
        "facts",
        "-t",
        "--",
        "x",
    ];
    let facts = lab.ok(&words)?;
    let all = |topic: &str| -> Vec<&str> {
        facts
            .lines()
            .filter_map(|line| line.strip_prefix(topic))
            .collect()
    };
    ensure!(all("argument ") == ["-t", "--", "x"], "{facts}");
    let expected = ["PATH=/bin", "FROM=config", "A=1", "B=2 \"two\"", "HOME=/"];
    ensure!(all("variable ") == expected, "{facts}");
    ensure!(all("directory ") == ["/mnt"], "{facts}");
    // The three standard ones, and the one that lists them.
    ensure!(all("descriptor ").len() == 4, "{facts}");
    Ok(())
}

fn exec_is_in_the_namespaces_of_the_container(lab: &Lab) -> Result<()> {
    with_container(lab)?;
    let facts = lab.ok(&["exec", "one", "/bin/guest", "facts"])?;
    ensure!(facts.contains("\nhostname container\n"), "{facts}");
    let processes: Vec<_> = facts
        .lines()
        .filter(|line| line.starts_with("process "))
        .collect();
    ensure!(
        processes.len() == 2 && processes.contains(&"process 1"),
        "{processes:?}"
    );
    let pid = lab.state("one")?["pid"].clone();
    for kind in ["mnt", "pid", "uts", "ipc"] {
        use std::os::unix::fs::MetadataExt;
        let inode = fs::metadata(format!("/proc/{pid}/ns/{kind}"))?.ino();
        ensure!(
            facts.contains(&format!("\nnamespace {kind} {inode}\n")),
            "{kind}: {facts}"
        );
    }
    Ok(())
}

/// A hierarchy that is mounted with `nsdelegate` lets nobody into a group that is not below the
/// root of his namespace.
fn processes_begin_in_their_group_whatever_cgroup_namespace_they_join(lab: &Lab) -> Result<()> {
    let with = |name, words: &[&str], namespace| {
        lab.bundle_with(name, words, |config| {
            if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
                list.push(namespace);
            }
        })
    };
    with("b", &["stay"], json!({ "type": "cgroup" }))?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
    let facts = lab.ok(&["exec", "one", "/bin/guest", "facts"])?;
    ensure!(facts.contains("\ncgroup 0::/\n"), "{facts}");

    let path = format!("/proc/{}/ns/cgroup", lab.state("one")?["pid"]);
    with(
        "beside",
        &["facts"],
        json!({ "type": "cgroup", "path": path }),
    )?;
    let facts = lab.ok(&["run", "--bundle", "beside", "two"])?;
    let inode = fs::read_link(&path)?.display().to_string();
    let inode = inode.trim_matches(|c: char| !c.is_ascii_digit());
    ensure!(
        facts.contains(&format!("\nnamespace cgroup {inode}\n")),
        "{facts}"
    );
    ensure!(!facts.contains("\ncgroup 0::/\n"), "{facts}");
    Ok(())
}

fn exec_ends_as_its_program_ends(lab: &Lab) -> Result<()> {
    with_container(lab)?;
    for status in [0, 9] {
        let output = lab.call(&["exec", "one", "/bin/guest", "exit", &status.to_string()])?;
        ensure!(output.status.code() == Some(status), "{output:?}");
    }
    let output = lab.call(&["exec", "one", "/bin/guest", "end-by", "15"])?;
    ensure!(output.status.code() == Some(128 + 15), "{output:?}");
    lab.fails(&["exec", "one", "/bin/nothing"], 127, &["[B054]"])?;
    lab.fails(&["exec", "one", "/etc"], 126, &["[B054]"])?;
    ensure!(lab.status("one")? == "running");
    Ok(())
}

fn exec_reads_the_process_from_a_file(lab: &Lab) -> Result<()> {
    with_container(lab)?;
    let process = json!({
        "args": ["/bin/guest", "facts", "from", "a \"file\""],
        "env": ["ONLY=this"], "cwd": "/etc", "user": { "uid": 0, "gid": 0 },
    });
    fs::write(lab.directory.join("process.json"), process.to_string())?;
    for words in [
        ["exec", "--process", "process.json", "one"],
        ["exec", "one", "-p", "process.json"],
    ] {
        let facts = lab.ok(&words)?;
        ensure!(
            facts.starts_with(
                "argument from\nargument a \"file\"\nvariable ONLY=this\nvariable HOME=/\ndirectory /etc\n"
            ),
            "{facts}"
        );
    }
    Ok(())
}

fn exec_of_a_bad_process_is_refused(lab: &Lab) -> Result<()> {
    with_container(lab)?;
    let file = lab.directory.join("process.json");
    for (text, says) in [
        ("{\"args\":[]}", "process.args is missing or empty"),
        ("{\"args\":[\"x\"],\"cwd\":\"x\"}", "process.cwd"),
        ("{} , \"hooks\": {}", "line 1"),
        ("", "ends in the middle"),
    ] {
        fs::write(&file, text)?;
        lab.fails(
            &["exec", "--process", "process.json", "one"],
            125,
            &[says, "[B051]"],
        )?;
    }
    lab.fails(
        &["exec", "--process", "nothing.json", "one"],
        125,
        &["nothing.json: ENOENT", "[B051]"],
    )?;
    lab.fails(&["exec", "one"], 125, &["no program", "[B070]"])?;
    lab.fails(
        &["exec", "--user", "root", "one", "x"],
        125,
        &["UID or UID:GID", "[B070]"],
    )
    .map(drop)
}

/// The container gives up no right of its first process after it has its filter; the process that
/// comes in has to.
fn exec_tells_what_ended_a_process_that_could_not(lab: &Lab) -> Result<()> {
    lab.bundle_with("b", &["stay"], |config| {
        config["process"]["noNewPrivileges"] = json!(true);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["setresuid"], "action": "SCMP_ACT_KILL_PROCESS" }],
        });
    })?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
    let process = json!({
        "args": ["/bin/guest", "exit", "0"], "cwd": "/", "user": { "uid": 1000, "gid": 1000 },
        "noNewPrivileges": false,
    });
    fs::write(lab.directory.join("process.json"), process.to_string())?;
    let says = ["could not say why", "it was ended by signal 31", "[B053]"];
    lab.fails(&["exec", "-p", "process.json", "one"], 125, &says)?;
    ensure!(lab.status("one")? == "running");
    Ok(())
}

/// One that nobody has collected would keep the container's first process from ending.
fn exec_that_fails_leaves_no_process(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
    // From now on, what is left behind becomes this process's child.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let nothing_is_left = |words: &[&str], status, says: &str| {
        let output = lab.command(words).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(status) && errors.contains(says),
            "{words:?}: {}: {errors}",
            output.status
        );
        let left = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
        let is_nothing = matches!(left, Err(rustix::io::Errno::CHILD));
        ensure!(is_nothing, "{words:?}: {left:?}");
        Ok(())
    };
    let program = ["one", "/bin/guest", "stay"];
    let checked = nothing_is_left(&["exec", "one", "/bin/missing"], 127, "[B054]")
        .and_then(|()| nothing_is_left(&["exec", "-d", "one", "/bin/missing"], 127, "[B054]"))
        .and_then(|()| {
            // The program runs by then.
            let words = ["exec", "-d", "--pid-file", "b"].into_iter().chain(program);
            nothing_is_left(&words.collect::<Vec<_>>(), 125, "[B077]")
        })
        .and_then(|()| {
            let words = ["exec", "--pid-file", "b"].into_iter().chain(program);
            nothing_is_left(&words.collect::<Vec<_>>(), 125, "[B077]")
        });
    rustix::process::set_child_subreaper(None)?;
    checked
}

fn exec_goes_its_own_way_when_detached(lab: &Lab) -> Result<()> {
    with_container(lab)?;
    lab.leaves(&[
        "exec",
        "--detach",
        "--pid-file",
        "pid",
        "one",
        "/bin/guest",
        "until-asked",
    ])?;
    let pid = fs::read_to_string(lab.directory.join("pid"))?.parse()?;
    let process = Process::open(pid)?;
    // It is in the container's PID namespace, and goes with it.
    lab.ok(&["delete", "--force", "one"])?;
    process.wait()
}

fn exec_hands_signals_on(lab: &Lab) -> Result<()> {
    with_container(lab)?;
    let words = ["exec", "one", "/bin/guest", "until-asked"];
    let mut running = Running::start(&mut lab.command(words))?;
    ensure!(running.line()? == "waiting");
    running.signal(rustix::process::Signal::TERM)?;
    ensure!(running.line()? == "asked to end");
    ensure!(running.status()? == Some(5));
    Ok(())
}

fn exec_is_whom_it_is_told_to_be(lab: &Lab) -> Result<()> {
    lab.bundle_with("b", &["stay"], |config| {
        config["process"]["user"] = json!({ "uid": 3, "gid": 4, "additionalGids": [8] });
        config["process"]["capabilities"] = json!({ "bounding": [], "effective": [] });
    })?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
    for (words, uid, gid) in [
        (&["exec"][..], 3, 4),
        (&["exec", "--user", "5"], 5, 4),
        (&["exec", "-u", "5:6"], 5, 6),
    ] {
        let words = [words, &["one", "/bin/guest", "show", "/proc/self/status"]].concat();
        let status = lab.ok(&words)?;
        for line in [
            format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"),
            format!("Gid:\t{gid}\t{gid}\t{gid}\t{gid}"),
            // What the container may not do, it may not do either.
            "CapBnd:\t0000000000000000".to_owned(),
        ] {
            ensure!(
                status.lines().any(|one| one == line),
                "{line:?} is not in {status}"
            );
        }
    }
    Ok(())
}

fn exec_adds_groups_and_capabilities(lab: &Lab) -> Result<()> {
    lab.bundle_with("b", &["stay"], |config| {
        config["process"]["user"] = json!({ "uid": 0, "gid": 0, "additionalGids": [8] });
        let kill = json!(["CAP_KILL"]);
        config["process"]["capabilities"] =
            json!({ "bounding": kill, "effective": kill, "permitted": kill });
    })?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
    let options = [
        "exec",
        "--cap",
        "CAP_SYSLOG",
        "-c=net_raw",
        "-g",
        "9",
        "--additional-gids=10",
    ];
    let words = [
        &options[..],
        &["one", "/bin/guest", "show", "/proc/self/status"],
    ]
    .concat();
    let status = lab.ok(&words)?;
    // CAP_KILL is 5, CAP_NET_RAW 13, CAP_SYSLOG 34.
    for line in [
        "Groups:\t8 9 10 ",
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000400002020",
        "CapEff:\t0000000400002020",
        "CapBnd:\t0000000400002020",
    ] {
        ensure!(
            status.lines().any(|one| one == line),
            "{line:?} is not in {status}"
        );
    }
    lab.fails(
        &["exec", "-g", "users", "one", "x"],
        125,
        &["--additional-gids is GID, not \"users\"", "[B070]"],
    )
    .map(drop)
}

/// Where the container's own group cannot hold processes, the process joins the first one's group,
/// as other runtimes have it.
fn exec_begins_in_a_group_below(lab: &Lab) -> Result<()> {
    with_container(lab)?;
    let group = Path::new(lab::GROUPS).join("berth/one");
    fs::create_dir(group.join("below"))?;
    let of = |options: &[&str]| -> Result<String> {
        let words = [&["exec"], options, &["one", "/bin/guest", "facts"]].concat();
        let facts = lab.ok(&words)?;
        let cgroup = facts
            .lines()
            .find_map(|line| line.strip_prefix("cgroup 0::"));
        Ok(cgroup.context("no group")?.to_owned())
    };
    for (options, end) in [
        (&[][..], "/berth/one"),
        (&["--cgroup", "/"], "/berth/one"),
        (&["--cgroup", "below"], "/berth/one/below"),
        (&["--cgroup=/below/"], "/berth/one/below"),
    ] {
        let found = of(options)?;
        ensure!(found.ends_with(end), "{options:?}: {found}");
    }
    for (path, says) in [
        ("nowhere", "nowhere: ENOENT"),
        ("../two", "a path of names below"),
        ("below/..", "a path of names below"),
    ] {
        let words = ["exec", "--cgroup", path, "one", "/bin/guest"];
        lab.fails(&words, 125, &[says])?;
    }
    let pid = lab.state("one")?["pid"].to_string();
    fs::write(group.join("below/cgroup.procs"), pid)?;
    let controllers = fs::read_to_string(group.join("cgroup.controllers"))?;
    if controllers.split_whitespace().any(|name| name == "pids") {
        fs::write(group.join("cgroup.subtree_control"), "+pids")?;
        ensure!(of(&[])?.ends_with("/berth/one/below"));
    }
    Ok(())
}

fn exec_of_a_paused_container_waits_if_it_is_told_to(lab: &Lab) -> Result<()> {
    with_container(lab)?;
    lab.ok(&["pause", "one"])?;
    let says = [
        "cannot exec in a paused container",
        "--ignore-paused",
        "[B073]",
    ];
    lab.fails(&["exec", "one", "/bin/guest"], 125, &says)?;
    let words = [
        "exec",
        "--ignore-paused",
        "one",
        "/bin/guest",
        "say",
        "hello",
    ];
    let mut running = Running::start(&mut lab.command(words))?;
    lab.ok(&["resume", "one"])?;
    ensure!(running.line()? == "hello");
    ensure!(running.status()? == Some(0));
    Ok(())
}

/// The lists of the container's process, which are nothing to itself, and others of a file.
fn exec_runs_on_the_processors_that_it_is_given(lab: &Lab) -> Result<()> {
    let all = lab::processors()?;
    lab.bundle_with("b", &["stay"], |config| {
        config["process"]["execCPUAffinity"] = json!({ "initial": "1", "final": "" });
    })?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
    let first = lab.state("one")?["pid"].clone();
    let of_first = fs::read_to_string(format!("/proc/{first}/status"))?;
    ensure!(lab::processors_of(&of_first)? == all, "{of_first}");
    let show = ["/bin/guest", "show", "/proc/self/status"];
    let words = [&["exec", "one"][..], &show].concat();
    ensure!(lab::processors_of(&lab.ok(&words)?)? == "1");
    for (affinity, expected) in [
        (json!({}), all.as_str()),
        (json!({ "initial": "0" }), "0"),
        (json!({ "final": "1" }), "1"),
        (json!({ "initial": "0", "final": "1" }), "1"),
        // The machine has some of these.
        (json!({ "initial": "1", "final": "0-0,900-1023" }), "0"),
    ] {
        let process = json!({ "args": show, "cwd": "/", "execCPUAffinity": affinity });
        fs::write(lab.directory.join("process.json"), process.to_string())?;
        let status = lab.ok(&["exec", "--process", "process.json", "one"])?;
        let found = lab::processors_of(&status)?;
        ensure!(found == expected, "{affinity}: {found}");
    }
    Ok(())
}

fn exec_on_processors_that_there_are_not_is_refused(lab: &Lab) -> Result<()> {
    with_container(lab)?;
    for (affinity, says) in [
        (
            json!({ "initial": "1023" }),
            [
                "set process.execCPUAffinity.initial for one: EINVAL",
                "[B053]",
            ],
        ),
        (
            json!({ "final": "1023" }),
            [
                "set process.execCPUAffinity.final for one: EINVAL",
                "[B053]",
            ],
        ),
        (
            json!({ "initial": "3-1" }),
            [
                "process.execCPUAffinity.initial is \"3-1\"; it takes numbers of processors up to 1023",
                "[B051]",
            ],
        ),
        (
            json!({ "final": "1024" }),
            ["process.execCPUAffinity.final is \"1024\"", "[B051]"],
        ),
        (
            json!("0"),
            ["process.execCPUAffinity is not an object", "[B051]"],
        ),
        (
            json!({ "final": 0 }),
            ["process.execCPUAffinity.final is not a string", "[B051]"],
        ),
    ] {
        let process = json!({ "args": ["/bin/guest"], "cwd": "/", "execCPUAffinity": affinity });
        fs::write(lab.directory.join("process.json"), process.to_string())?;
        lab.fails(&["exec", "--process", "process.json", "one"], 125, &says)?;
    }
    Ok(())
}
