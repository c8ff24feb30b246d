//! Agents that are asked about calls (`SCMP_ACT_NOTIFY`): who is told what, and whose calls are
//! answered.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::lab::{Lab, Running, USER};
use super::{Case, cases};
use crate::agent::{ANSWERS, Agent, Answer, HEARD, Told};

pub(crate) const CASES: &[Case] = cases![
    Nothing agent_answers_for_a_program_that_runs,
    Nothing agent_is_told_when_a_container_is_created,
    Nothing agent_is_told_when_a_container_is_started_that_could_not_hold,
    Landlock agent_is_told_early_or_late_of_a_container_with_rights_to_few_files,
    Nothing container_that_holds_with_its_filter_is_one_like_others,
    Nothing agent_is_told_of_each_process_that_comes_in,
    Nothing agent_is_told_before_a_user_is_become,
    Nothing agent_answers_whether_a_program_is_executed,
    Nothing agent_that_goes_leaves_calls_that_do_not_exist,
    Nothing agent_is_told_a_state_of_any_length,
    Nothing agent_has_its_flag,
    Nothing agent_of_a_user_namespace_is_reached_by_who_makes_it,
    UserNamespaces agent_of_a_user_without_rights_is_asked,
    Nothing agent_that_cannot_be_reached_is_the_end,
    Nothing profile_that_its_agent_could_not_be_told_of_is_refused,
    Nothing check_tells_whether_an_agent_is_asked,
];

const METADATA: &str = "of \"one\"\n";

fn path(lab: &Lab) -> PathBuf {
    lab.directory.join("agent")
}

/// A profile that has the agent asked about these calls.
fn asking(lab: &Lab, names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path(lab),
        "listenerMetadata": METADATA,
        "syscalls": [{ "names": names, "action": "SCMP_ACT_NOTIFY" }],
    })
}

/// A bundle `b` with that, and changes.
fn bundle(
    lab: &Lab,
    words: &[&str],
    names: &[&str],
    change: impl FnOnce(&mut Value),
) -> Result<PathBuf> {
    lab.bundle_with("b", words, |config| {
        config["linux"]["seccomp"] = asking(lab, names);
        change(config);
    })
}

const MAKES: [&str; 2] = ["make-directories", "/tmp"];

/// Holds a program that made directories to what it was answered, and to no descriptors but the
/// standard ones.
fn has_heard(said: &str) -> Result<()> {
    let expected = HEARD.join("\n") + "\ndescriptors 3\n";
    ensure!(said == expected, "{said:?}");
    Ok(())
}

/// Holds what an agent was told of a process to what there is.
fn is_state(lab: &Lab, told: &Told, status: &str) -> Result<()> {
    let state = &told.state;
    let bundle = lab.directory.join("b");
    for (pointer, expected) in [
        ("/ociVersion", json!("1.3.0")),
        ("/fds", json!(["seccompFd"])),
        ("/metadata", json!(METADATA)),
        ("/state/ociVersion", json!("1.3.0")),
        ("/state/id", json!("one")),
        ("/state/status", json!(status)),
        ("/state/bundle", json!(bundle)),
        (
            "/state/annotations",
            json!({ "org.example.key": "value \"in quotes\"" }),
        ),
    ] {
        ensure!(
            state.pointer(pointer) == Some(&expected),
            "{pointer}: {state}"
        );
    }
    let members = |value: &Value| value.as_object().map(serde_json::Map::len);
    ensure!(
        (members(state), members(&state["state"])) == (Some(5), Some(6)),
        "{state}"
    );
    Ok(())
}

/// The processes that the process of this number is, from the caller's namespace inwards.
fn numbers(pid: &Value) -> Result<Vec<String>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let numbers = line.context("no NSpid")?.split_whitespace();
    Ok(numbers.map(str::to_owned).collect())
}

/// Runs the bundle, with what the agent does meanwhile; what the program printed.
fn run(lab: &Lab, serve: impl FnOnce(&Agent) -> Result<()>) -> Result<String> {
    let agent = Agent::new(&path(lab))?;
    served(lab, &["run", "--bundle", "b", "one"], || serve(&agent))
}

fn served(lab: &Lab, words: &[&str], serve: impl FnOnce() -> Result<()>) -> Result<String> {
    let running = Running::start(&mut lab.command(words))?;
    let served = serve();
    let output = running.output()?;
    served.with_context(|| format!("{output:?}"))?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

fn agent_answers_for_a_program_that_runs(lab: &Lab) -> Result<()> {
    for no_new_privileges in [false, true] {
        bundle(lab, &MAKES, &["mkdir"], |config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        })?;
        let said = run(lab, |agent| {
            let told = agent.hear()?;
            is_state(lab, &told, "creating")?;
            let pid = &told.state["pid"];
            ensure!(told.state["state"]["pid"] == *pid, "{}", told.state);
            // The number that it has here, and the one that it has inside.
            ensure!(numbers(pid)? == [pid.to_string(), "1".to_owned()]);
            told.serve(libc::SYS_mkdir, &ANSWERS)
        })?;
        has_heard(&said)?;
        fs::remove_file(path(lab))?;
    }
    Ok(())
}

type Change = fn(&mut Value);

/// Creates it, and starts it when the agent knows its process as `told` says, and has the
/// descriptor or not.
fn created_and_served(lab: &Lab, is_early: bool, change: Change) -> Result<()> {
    bundle(lab, &MAKES, &["mkdir"], change)?;
    let agent = Agent::new(&path(lab))?;
    fs::set_permissions(
        lab.directory.join("b/rootfs/tmp"),
        fs::Permissions::from_mode(0o1777),
    )?;
    let output = fs::File::create(lab.directory.join("said"))?;
    let created = lab
        .command(["create", "--bundle", "b", "one"])
        .stdout(output)
        .status()?;
    ensure!(created.success());
    let stream = agent.accept()?;
    ensure!(lab.status("one")? == "created");
    let told = match is_early {
        true => Some(Told::receive(&stream)?),
        false => {
            let early = rustix::net::recv(&stream, &mut [0; 1], RecvFlags::DONTWAIT);
            ensure!(early == Err(Errno::AGAIN), "{early:?}");
            None
        }
    };
    let pid = lab.state("one")?["pid"].clone();
    let process = lab.process("one")?;
    served(lab, &["start", "one"], || {
        let told = told.map_or_else(|| Told::receive(&stream), Ok)?;
        is_state(lab, &told, "creating")?;
        ensure!(told.state["pid"] == pid, "{}", told.state);
        told.serve(libc::SYS_mkdir, &ANSWERS)
    })?;
    process.wait()?;
    has_heard(&fs::read_to_string(lab.directory.join("said"))?)?;
    lab.ok(&["delete", "one"])?;
    Ok(fs::remove_file(path(lab))?)
}

fn agent_is_told_when_a_container_is_created(lab: &Lab) -> Result<()> {
    let changes: [Change; 6] = [
        |_| {},
        |config| config["process"]["noNewPrivileges"] = json!(true),
        |config| {
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            config["process"]["noNewPrivileges"] = json!(true);
        },
        |config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }),
        |config| {
            // With no descriptor left for the FIFO, and all but what it takes denied.
            config["process"]["rlimits"] =
                json!([{ "type": "RLIMIT_NOFILE", "soft": 5, "hard": 5 }]);
            config["process"]["noNewPrivileges"] = json!(true);
            deny(
                config,
                &["recvfrom", "setresuid", "capset", "umask", "chdir"],
            );
        },
        |config| {
            has_users(
                config,
                json!({ "containerID": 0, "hostID": 100_000, "size": 65536 }),
            );
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        created_and_served(lab, true, change).with_context(|| format!("change {index}"))?;
    }
    Ok(())
}

/// Has these calls fail.
fn deny(config: &mut Value, names: &[&str]) {
    if let Some(rules) = config["linux"]["seccomp"]["syscalls"].as_array_mut() {
        rules.push(json!({ "names": names, "action": "SCMP_ACT_ERRNO" }));
    }
}

/// Where the filter would come in the way of what is done until then, it comes after that.
fn agent_is_told_when_a_container_is_started_that_could_not_hold(lab: &Lab) -> Result<()> {
    let changes: [Change; 3] = [
        |config| {
            config["hooks"]["startContainer"] =
                json!([{ "path": "/bin/guest", "args": ["guest", "exit", "0"] }]);
            deny(config, &["clone3"]);
        },
        |config| {
            config["process"]["rlimits"] =
                json!([{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 64 }]);
            config["process"]["noNewPrivileges"] = json!(true);
            deny(config, &["prlimit64"]);
        },
        |config| {
            let rule = json!({
                "names": ["openat"],
                "action": "SCMP_ACT_ERRNO",
                "args": [{ "index": 2, "value": 1 << 19 | 1, "op": "SCMP_CMP_EQ" }],
            });
            let rules = config["linux"]["seccomp"]["syscalls"].as_array_mut();
            if let Some(rules) = rules {
                rules.push(rule);
            }
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        created_and_served(lab, false, change).with_context(|| format!("change {index}"))?;
        let told = lab.ok(&["check", "b"])?;
        let line = "done     linux.seccomp.listenerPath: by start, and not by create\n";
        ensure!(told.contains(line), "{line:?} is not in {told}");
    }

    // One that hangs up before.
    let agent = Agent::new(&path(lab))?;
    lab.leaves(&["create", "--bundle", "b", "one"])?;
    drop(agent.accept()?);
    let says = ["write to the agent of linux.seccomp for one: EPIPE: broken pipe  [B053]"];
    lab.fails(&["start", "one"], 125, &says)?;
    ensure!(lab.status("one")? == "stopped");
    Ok(())
}

/// Landlock comes when the FIFO was opened, which is outside of what the container may open.
fn agent_is_told_early_or_late_of_a_container_with_rights_to_few_files(lab: &Lab) -> Result<()> {
    for no_new_privileges in [true, false] {
        let words = ["try-rights", "make:/etc/new", "make:/tmp/new"];
        bundle(lab, &words, &["mkdir"], |config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["annotations"]["berth.landlock.write"] = json!("/tmp");
            config["annotations"]["berth.landlock.execute"] = json!("/bin");
        })?;
        let agent = Agent::new(&path(lab))?;
        let output = fs::File::create(lab.directory.join("said"))?;
        let mut create = lab.command(["create", "--bundle", "b", "one"]);
        ensure!(create.stdout(output).status()?.success());
        let stream = agent.accept()?;
        let early = rustix::net::recv(&stream, &mut [0; 1], RecvFlags::DONTWAIT | RecvFlags::PEEK);
        ensure!(early.is_ok() == no_new_privileges, "{early:?}");
        let process = lab.process("one")?;
        lab.ok(&["start", "one"])?;
        process.wait()?;
        let said = fs::read_to_string(lab.directory.join("said"))?;
        ensure!(
            said.contains("make:/etc/new EACCES\n") && said.contains("make:/tmp/new ok\n"),
            "{said}"
        );
        lab.ok(&["delete", "one"])?;
        fs::remove_file(lab.directory.join("b/rootfs/tmp/new"))?;
        fs::remove_file(path(lab))?;
    }
    Ok(())
}

/// An agent that is asked is answered by nobody else: a container that holds is killed and deleted
/// all the same.
fn container_that_holds_with_its_filter_is_one_like_others(lab: &Lab) -> Result<()> {
    bundle(lab, &MAKES, &["mkdir", "execve", "exit_group"], |_| {})?;
    let agent = Agent::new(&path(lab))?;
    lab.leaves(&["create", "--bundle", "b", "one"])?;
    let told = agent.hear()?;
    let pid = &told.state["pid"];
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    ensure!(status.contains("\nSeccomp:\t2\n"), "{status}");
    lab.ok(&["kill", "one", "KILL"])?;
    lab.process("one")
        .map_or(Ok(()), |process| process.wait())?;
    lab.ok(&["delete", "one"])?;
    // That there is no program is said when it is created, and with nothing left.
    bundle(lab, &MAKES, &["mkdir"], |config| {
        config["process"]["args"] = json!(["/bin/missing"]);
    })?;
    lab.fails(&["create", "--bundle", "b", "one"], 127, &["[B054]"])?;
    ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    Ok(())
}

fn agent_is_told_of_each_process_that_comes_in(lab: &Lab) -> Result<()> {
    bundle(lab, &["stay"], &["mkdir"], |config| {
        config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
    })?;
    let agent = Agent::new(&path(lab))?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
    let of_first = agent.hear()?;
    let first = &of_first.state["pid"];
    ensure!(lab.state("one")?["pid"] == *first, "{}", of_first.state);
    for options in [&[][..], &["--no-new-privs"], &["--user", "1000"]] {
        let words = ["exec"].iter().chain(options);
        let words = words.chain(&["one", "/bin/guest", "make-directories", "/tmp"]);
        let words: Vec<_> = words.copied().collect();
        fs::set_permissions(
            lab.directory.join("b/rootfs/tmp"),
            fs::Permissions::from_mode(0o1777),
        )?;
        let said = served(lab, &words, || {
            let told = agent.hear()?;
            is_state(lab, &told, "running")?;
            let pid = &told.state["pid"];
            ensure!(told.state["state"]["pid"] == *first, "{}", told.state);
            let numbers = numbers(pid)?;
            ensure!(
                numbers.len() == 2 && numbers[0] == format!("{pid}") && numbers[1] != "1",
                "{numbers:?}"
            );
            told.serve(libc::SYS_mkdir, &ANSWERS)
        })?;
        has_heard(&said)?;
    }
    // Nobody is there any more: nothing comes in, and the container goes on.
    drop(agent);
    let says = [
        "open socket for the agent at",
        "for one: ECONNREFUSED: connection refused  [B053]",
    ];
    lab.fails(&["exec", "one", "/bin/guest", "exit", "0"], 125, &says)?;
    ensure!(lab.status("one")? == "running");
    Ok(())
}

/// Who will have no rights has the filter before; what it asks about then, the agent can answer
/// already.
fn agent_is_told_before_a_user_is_become(lab: &Lab) -> Result<()> {
    bundle(lab, &["identity"], &["setresuid", "chdir"], |config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    })?;
    let said = run(lab, |agent| {
        let told = agent.hear()?;
        told.serve(libc::SYS_setresuid, &[Answer::Make])
    })?;
    ensure!(said.contains("Uid 1000 1000 1000 1000\n"), "{said}");
    Ok(())
}

fn agent_answers_whether_a_program_is_executed(lab: &Lab) -> Result<()> {
    bundle(lab, &["say", "executed"], &["execve"], |_| {})?;
    let agent = Agent::new(&path(lab))?;
    let words = ["run", "--bundle", "b", "one"];
    let said = served(lab, &words, || {
        agent.hear()?.serve(libc::SYS_execve, &[Answer::Make])
    })?;
    ensure!(said == "executed\n", "{said}");
    let running = Running::start(&mut lab.command(words))?;
    let answers = [Answer::Fail(Errno::NOMEDIUM)];
    agent.hear()?.serve(libc::SYS_execve, &answers)?;
    let output = running.output()?;
    let errors = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.code() == Some(126)
            && errors.contains("execute /bin/guest for one: ENOMEDIUM: no medium found  [B054]"),
        "{errors}"
    );
    ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    Ok(())
}

fn agent_that_goes_leaves_calls_that_do_not_exist(lab: &Lab) -> Result<()> {
    bundle(lab, &["call", "getppid"], &["getppid"], |_| {})?;
    let said = run(lab, |agent| agent.hear().map(drop))?;
    ensure!(said.starts_with("call getppid ENOSYS\n"), "{said}");
    // Not even the process's own copy of the listener keeps it waiting.
    bundle(lab, &["say", "executed"], &["execve"], |_| {})?;
    fs::remove_file(path(lab))?;
    let agent = Agent::new(&path(lab))?;
    let running = Running::start(&mut lab.command(["run", "--bundle", "b", "two"]))?;
    drop(agent.hear()?);
    let errors = String::from_utf8(running.output()?.stderr)?;
    ensure!(
        errors.contains("for two: ENOSYS: function not implemented  [B054]"),
        "{errors}"
    );
    Ok(())
}

/// More than a socket holds: it is sent as it is read, and by whom nobody else waits for.
fn agent_is_told_a_state_of_any_length(lab: &Lab) -> Result<()> {
    let long = "x".repeat(255 << 10);
    bundle(lab, &MAKES, &["mkdir"], |config| {
        config["annotations"] = json!({ "long": "" });
        let room = (256 << 10) - config.to_string().len();
        config["annotations"] = json!({ "long": long[..room.min(long.len())] });
        let list = config["linux"]["seccomp"].as_object_mut();
        list.map(|list| list.remove("listenerMetadata"));
    })?;
    let said = run(lab, |agent| {
        let told = agent.hear()?;
        let annotation = told.state["state"]["annotations"]["long"].as_str();
        ensure!(
            annotation.is_some_and(|text| text.len() > 250 << 10),
            "it is not whole"
        );
        ensure!(told.state.get("metadata").is_none(), "there is metadata");
        told.serve(libc::SYS_mkdir, &ANSWERS)
    })?;
    has_heard(&said)
}

/// With SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, who has asked waits for the answer whatever signal
/// comes, as long as that does not kill; its state is `D` then (proc_pid_stat(5)). Without the flag
/// a signal ends the call, and the question.
fn agent_has_its_flag(lab: &Lab) -> Result<()> {
    for (flags, is_kept) in [
        (json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), true),
        (
            json!([
                "SECCOMP_FILTER_FLAG_TSYNC",
                "SECCOMP_FILTER_FLAG_LOG",
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
            ]),
            true,
        ),
        (json!([]), false),
        (json!(["SECCOMP_FILTER_FLAG_TSYNC"]), false),
    ] {
        bundle(lab, &["trap", "getppid"], &["getppid"], |config| {
            config["linux"]["seccomp"]["flags"] = flags;
        })?;
        let said = run(lab, |agent| {
            let told = agent.hear()?;
            let question = told.question()?;
            let pid = Pid::from_raw(question.pid.try_into()?).context("no process")?;
            // The one that it handles.
            kill_process(pid, Signal::SYS)?;
            let end = Instant::now() + Duration::from_secs(60);
            let is_seen = || -> Result<bool> {
                // One that does not wait any more may have ended.
                Ok(match is_kept {
                    true => fs::read_to_string(format!("/proc/{}/status", question.pid))?
                        .contains("State:\tD"),
                    false => !told.is_waited_for(&question),
                })
            };
            while !is_seen()? {
                ensure!(Instant::now() < end, "the signal has changed nothing");
                std::thread::yield_now();
            }
            match is_kept {
                true => told.answer(&question, Answer::Fail(Errno::NOMEDIUM)),
                false => Ok(()),
            }
        })?;
        let answer = if is_kept { "ENOMEDIUM" } else { "EINTR" };
        ensure!(
            said.contains("caught ") && said.contains(&format!("call getppid {answer}\n")),
            "{said}"
        );
        fs::remove_file(path(lab))?;
    }
    Ok(())
}

fn has_users(config: &mut Value, ids: Value) {
    let namespaces = ["user", "mount", "pid", "uts", "ipc"];
    config["linux"]["namespaces"] = namespaces.map(|kind| json!({ "type": kind })).into();
    config["linux"]["uidMappings"] = json!([ids]);
    config["linux"]["gidMappings"] = json!([ids]);
}

/// Root of the container is nobody outside, and could not connect.
fn agent_of_a_user_namespace_is_reached_by_who_makes_it(lab: &Lab) -> Result<()> {
    let bundle = bundle(lab, &MAKES, &["mkdir"], |config| {
        has_users(
            config,
            json!({ "containerID": 0, "hostID": 100_000, "size": 65536 }),
        );
    })?;
    fs::set_permissions(
        bundle.join("rootfs/tmp"),
        fs::Permissions::from_mode(0o1777),
    )?;
    let said = run(lab, |agent| {
        let told = agent.hear()?;
        is_state(lab, &told, "creating")?;
        told.serve(libc::SYS_mkdir, &ANSWERS)
    })?;
    has_heard(&said)
}

fn agent_of_a_user_without_rights_is_asked(lab: &Lab) -> Result<()> {
    let bundle = bundle(lab, &MAKES, &["mkdir"], |config| {
        has_users(
            config,
            json!({ "containerID": 0, "hostID": USER, "size": 1 }),
        );
    })?;
    chown(bundle.join("rootfs/tmp"), Some(USER), Some(USER))?;
    let agent = Agent::new(&path(lab))?;
    lab.become_user()?;
    let words = ["run", "--bundle", "b", "one"];
    let says = ["for one: EACCES: "];
    lab.fails(&words, 125, &says)?;
    chown(path(lab), Some(USER), Some(USER))?;
    let said = served(lab, &words, || {
        agent.hear()?.serve(libc::SYS_mkdir, &ANSWERS)
    })?;
    has_heard(&said)
}

fn agent_that_cannot_be_reached_is_the_end(lab: &Lab) -> Result<()> {
    bundle(lab, &["say", "executed"], &["mkdir"], |_| {})?;
    let at = format!("open socket for the agent at {}", path(lab).display());
    let fails = |errno: &str| {
        for words in [
            &["run", "--bundle", "b", "one"][..],
            &["create", "--bundle", "b", "one"],
        ] {
            let says = [&format!("{at} for one: {errno}"), "start the agent first"];
            lab.fails(words, 125, &says)?;
            ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
        }
        Ok(())
    };
    fails("ENOENT")?;
    drop(Agent::new(&path(lab))?);
    fails("ECONNREFUSED")
}

fn profile_that_its_agent_could_not_be_told_of_is_refused(lab: &Lab) -> Result<()> {
    let agent = Agent::new(&path(lab))?;
    let keeps = "linux.seccomp, which does not always allow sendmsg and close, by which its agent is told for one: EPERM: ";
    let refused = |change: &dyn Fn(&mut Value), says: &str| {
        bundle(lab, &["say", "executed"], &["mkdir"], |config| {
            change(&mut config["linux"]["seccomp"]);
        })?;
        lab.fails(&["run", "--bundle", "b", "one"], 125, &[says])?;
        ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
        Ok(())
    };
    let names =
        |names: Value| move |profile: &mut Value| profile["syscalls"][0]["names"] = names.clone();
    refused(&names(json!(["sendmsg"])), keeps)?;
    refused(&names(json!(["mkdir", "close"])), keeps)?;
    refused(
        &|profile| {
            profile["defaultAction"] = json!("SCMP_ACT_ERRNO");
            profile["syscalls"] = json!([
                { "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" },
                { "names": ["execve", "close"], "action": "SCMP_ACT_ALLOW" },
            ]);
        },
        keeps,
    )?;
    refused(
        &|profile| profile["defaultAction"] = json!("SCMP_ACT_NOTIFY"),
        "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY here would have the agent asked about the calls by which it is told  [B052]",
    )?;
    refused(
        &|profile| profile["listenerPath"] = Value::Null,
        "linux.seccomp.listenerMetadata needs linux.seccomp.listenerPath  [B051]",
    )?;
    refused(
        &|profile| {
            profile["listenerPath"] = json!("");
            profile["listenerMetadata"] = json!("");
        },
        "linux.seccomp.syscalls[0].action needs linux.seccomp.listenerPath  [B051]",
    )?;
    refused(
        &|profile| profile["listenerPath"] = json!("agent"),
        "linux.seccomp.listenerPath is \"agent\"; it takes an absolute path of at most 107 bytes  [B051]",
    )?;
    drop(agent);
    Ok(())
}

fn check_tells_whether_an_agent_is_asked(lab: &Lab) -> Result<()> {
    bundle(lab, &["say"], &["mkdir"], |config| {
        config["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    })?;
    let told = lab.ok(&["check", "b"])?;
    for line in [
        "done     linux.seccomp.listenerPath\n",
        "done     linux.seccomp.listenerMetadata\n",
        "done     linux.seccomp.flags\n",
        "done     linux.seccomp.syscalls[0].action\n",
    ] {
        ensure!(told.contains(line), "{line:?} is not in {told}");
    }
    bundle(lab, &["say"], &["mkdir"], |config| {
        config["linux"]["seccomp"]["syscalls"][0]["action"] = json!("SCMP_ACT_LOG");
    })?;
    let told = lab.ok(&["check", "b"])?;
    for name in ["listenerPath", "listenerMetadata"] {
        let line = format!("ignored  linux.seccomp.{name}: no rule asks an agent\n");
        ensure!(told.contains(&line), "{line:?} is not in {told}");
    }
    bundle(lab, &["say"], &["mkdir"], |config| {
        config["linux"]["seccomp"]["listenerPath"] = json!("");
        config["linux"]["seccomp"]["listenerMetadata"] = json!("");
    })?;
    let output = lab.call(&["check", "b"])?;
    let told = String::from_utf8(output.stdout)?;
    let line = "refused  linux.seccomp.syscalls[0].action needs linux.seccomp.listenerPath\n";
    ensure!(
        output.status.code() == Some(1) && told.contains(line),
        "{told}"
    );
    Ok(())
}
