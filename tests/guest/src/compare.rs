//! Programs that start a container, measured one after the other: what each of them takes until the
//! container's program runs.
//!
//! It runs as PID 1 of a machine whose clock counts instructions, and whose files are all in
//! memory. `/compare.json` says what is started. Each command gets a control group of its own, and
//! the containers that it makes have theirs in it, so that the kernel counts the memory of all of
//! it (`memory.peak`). What happens is told by trace events: forks, executions, and in a pass of
//! its own, because that takes time, the calls of all of its processes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use berth::parse::config::{Config, MOUNT_PLACES, MountPlace};
use berth::parse::seccomp::{MAX_INSTRUCTIONS, compile};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::WaitOptions;
use serde_json::{Value, json};

use crate::init;

const GROUPS: &str = "/sys/fs/cgroup";
/// What is measured: a command, and the container that it makes beside it.
const MEASURED: &str = "/sys/fs/cgroup/measured";
const COMMAND: &str = "/sys/fs/cgroup/measured/command";

const TRACING: &str = "/sys/kernel/tracing";
/// In KiB: some ten thousand calls.
const TRACE_SIZE: &str = "16384";

/// Which descriptor the filter is read from.
const FILTER: i32 = 3;

/// What a pass looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Times,
    Calls,
}

/// Runs all that `/compare.json` lists, prints what came of each, and switches the machine off.
pub(crate) fn conduct() -> Result<()> {
    if let Err(error) = measure() {
        println!("guest: compare: {error:#}");
    }
    // What the console has not shown yet goes with the machine.
    rustix::termios::tcdrain(io::stdout())?;
    init::end()
}

fn measure() -> Result<()> {
    set_up()?;
    let plan: Value = serde_json::from_slice(&fs::read("/compare.json")?)?;
    let program = plan["program"].as_str().context("a program")?;
    let passes = plan["passes"].as_u64().context("a number of passes")?;
    for run in plan["runs"].as_array().context("a list of runs")? {
        let words: Vec<&str> = run["words"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let filter = run["filter"].as_str();
        let measured = one(&words, filter, program, passes);
        let measured = measured.with_context(|| words.join(" "))?;
        println!(
            "compare: {}",
            json!({ "name": run["name"], "measured": measured })
        );
    }
    Ok(())
}

fn set_up() -> Result<()> {
    mount("tracefs", TRACING, "tracefs", MountFlags::empty(), None).context("mount tracefs")?;
    trace("buffer_size_kb", TRACE_SIZE)?;
    trace("options/event-fork", "1")?;
    trace("events/sched/sched_process_fork/enable", "1")?;
    trace("events/sched/sched_process_exec/enable", "1")?;
    trace("tracing_on", "0")?;
    enable_controllers(GROUPS)
}

/// Has the groups in this one all controllers, as on most machines: who enables one waits for all
/// processors to notice.
fn enable_controllers(group: &str) -> Result<()> {
    for name in fs::read_to_string(format!("{group}/cgroup.controllers"))?.split_whitespace() {
        fs::write(
            format!("{group}/cgroup.subtree_control"),
            format!("+{name}"),
        )
        .with_context(|| format!("enable {name} in {group}"))?;
    }
    Ok(())
}

fn trace(file: &str, text: &str) -> Result<()> {
    fs::write(format!("{TRACING}/{file}"), text).with_context(|| format!("{file} of tracefs"))
}

/// Once so that all is where it will be, then what is counted.
fn one(words: &[&str], filter: Option<&str>, program: &str, passes: u64) -> Result<Value> {
    let run = |pass| pass_of(words, filter, program, pass);
    run(Pass::Times)?;
    let mut times = Vec::new();
    for _ in 0..passes {
        times.push(run(Pass::Times)?);
    }
    trace("events/raw_syscalls/sys_enter/enable", "1")?;
    let calls = run(Pass::Calls)?;
    trace("events/raw_syscalls/sys_enter/enable", "0")?;
    Ok(json!({ "times": times, "calls": calls["calls"] }))
}

/// Runs a command to its end. What it took: `whole` from its own execution to that of the program,
/// in µs, `clone` from the clone of the process that becomes the program, `memory` in bytes, and
/// how many `calls` there were, in a pass that counts them.
fn pass_of(words: &[&str], filter: Option<&str>, program: &str, pass: Pass) -> Result<Value> {
    fs::create_dir(MEASURED).context("a control group")?;
    enable_controllers(MEASURED)?;
    fs::create_dir(COMMAND)?;
    trace("trace", "")?;
    trace("tracing_on", "1")?;
    let status = start(words, filter, pass);
    // Who reads makes calls too.
    trace("tracing_on", "0")?;
    trace("set_event_pid", "")?;
    let status = status?;
    ensure!(status.success(), "{status}");
    let memory: u64 = fs::read_to_string(format!("{MEASURED}/memory.peak"))?
        .trim()
        .parse()?;
    for group in [COMMAND, MEASURED] {
        fs::remove_dir(group).with_context(|| group.to_owned())?;
    }
    let events = fs::read_to_string(format!("{TRACING}/trace"))?;
    let mut measured = between(&events, words[0], program)?;
    measured["memory"] = memory.into();
    Ok(measured)
}

fn start(words: &[&str], filter: Option<&str>, pass: Pass) -> Result<std::process::ExitStatus> {
    let filter = filter.map(File::open).transpose()?;
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env_clear()
        .env("PATH", "/usr/bin:/usr/sbin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let prepare = move || {
        fs::write(format!("{COMMAND}/cgroup.procs"), "0")?;
        if pass == Pass::Calls {
            let number = std::process::id().to_string();
            fs::write(format!("{TRACING}/set_event_pid"), number)?;
        }
        if let Some(filter) = &filter {
            // SAFETY: dup2(2) takes no pointers. Nobody here owns a descriptor of that number,
            // except perhaps the filter itself.
            let result = unsafe {
                match filter.as_raw_fd() {
                    FILTER => libc::fcntl(FILTER, libc::F_SETFD, 0),
                    other => libc::dup2(other, FILTER),
                }
            };
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: this program has one thread, so its child may do what it might.
    unsafe { command.pre_exec(prepare) };
    let status = command.status()?;
    // What it left behind became ours, and keeps its control group busy.
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return Ok(status),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Finds what was measured among the events between two executions.
fn between(events: &str, command: &str, program: &str) -> Result<Value> {
    let executes = |line: &str, file: &str| line.contains(&format!(" filename={file} "));
    let lines: Vec<&str> = events
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let begin = lines.iter().position(|line| executes(line, command));
    let begin = begin.with_context(|| format!("{command} was not executed: {events}"))?;
    let end = lines.iter().position(|line| executes(line, program));
    let end = end.with_context(|| format!("{program} was not executed: {events}"))?;
    let pid = value(lines[end], "pid=").context("an execution has a PID")?;
    let is_its = |line: &&&str| value(line, "child_pid=") == Some(pid);
    let clone = lines[begin..end].iter().find(is_its).context("a clone")?;
    let is_call = |line: &&&str| line.contains("sys_enter: NR ");
    let calls = lines[begin..end].iter().filter(is_call).count();
    let now = time(lines[end])?;
    Ok(json!({
        "whole": now - time(lines[begin])?,
        "clone": now - time(clone)?,
        "calls": calls,
    }))
}

fn value<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(name))
}

/// The time of an event in µs: `crun-80 [000] ..... 1.234567: sched_process_exec: …`.
fn time(line: &str) -> Result<u64> {
    let words = line
        .split_whitespace()
        .filter_map(|word| word.strip_suffix(':'));
    let time = words.filter_map(|word| word.split_once('.')).next();
    let (seconds, fraction) = time.with_context(|| format!("no time in: {line}"))?;
    Ok(seconds.parse::<u64>()? * 1_000_000 + fraction.parse::<u64>()?)
}

/// Prints the filter of a bundle as the kernel takes it, for programs that read none from a
/// `config.json`.
pub(crate) fn print_filter(config: &str) -> Result<()> {
    let text = fs::read(config)?;
    let mut scratch = vec![0; text.len()];
    let mut places = [const { MountPlace::uninit() }; MOUNT_PLACES];
    let config = Config::parse(&text, &mut scratch, &mut places)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let profile = config.seccomp.context("no linux.seccomp")?;
    let mut room = vec![[0; 8]; MAX_INSTRUCTIONS];
    let program = compile(&profile, &mut room).map_err(|why| anyhow::anyhow!("{why:?}"))?;
    Ok(io::stdout().write_all(program.as_flattened())?)
}
