//! What runs as `init=`: it reports how it was started, line by line on the event port, and
//! switches the machine off.
//!
//! Its lines are events of the kind `output`, as if a container `init` had written them, so that
//! tests read them like any other. That the port can be opened shows something too: it takes one
//! opener at a time, so berth has let go of it.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::WaitOptions;
use rustix::system::{RebootCommand, reboot};
use serde_json::json;

use crate::command::killed;

/// Reports, and never returns. `words` are the arguments.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let mut port = Port::open()?;
    let mut say = |line: String| port.say(&line);
    say(format!("process {}", std::process::id()))?;
    for (number, word) in words.iter().enumerate() {
        say(format!("argument {number} {word}"))?;
    }
    for (name, value) in env::vars() {
        say(format!("variable {name}={value}"))?;
    }
    say(format!("directory {}", env::current_dir()?.display()))?;
    for line in fs::read_to_string("/proc/self/status")?
        .lines()
        .filter(|line| line.starts_with("Sig"))
    {
        say(line.replace(":\t", " "))?;
    }
    for line in descriptors()? {
        say(line)?;
    }
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        say(format!("mount {line}"))?;
    }
    say("done".to_owned())?;
    end()
}

/// Has the cases of [`crate::command`] run, as PID 1 of a machine that berth has brought up, and
/// collects what processes leave behind meanwhile: a container that somebody's zombie belongs to
/// does not end (pid_namespaces(7)).
pub(crate) fn command_cases(berth: &str, directory: &str) -> Result<()> {
    let mut port = Port::open()?;
    let mut cases = Command::new("/proc/self/exe")
        .args(["command-cases", berth, directory])
        .env(killed::STRIDE, "11")
        .stdout(Stdio::piped())
        .spawn()
        .context("start the cases")?;
    let lines = cases.stdout.take().context("no output")?;
    let number = i32::try_from(cases.id())?;
    let collector = std::thread::spawn(move || {
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == number => {
                    return status.exit_status();
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    });
    for line in BufReader::new(lines).lines() {
        port.say(&line?)?;
    }
    let status = collector.join().ok().flatten();
    port.say(&format!("done {status:?}"))?;
    end()
}

/// Runs a program, reports what it prints, and switches the machine off.
pub(crate) fn report(program: &str, words: &[&str]) -> Result<()> {
    let mut port = Port::open()?;
    let (from, to) = std::io::pipe()?;
    let mut command = Command::new(program);
    command
        .args(words)
        .stdout(to.try_clone()?)
        .stderr(to)
        .stdin(Stdio::null());
    let mut child = command.spawn().context("start the program")?;
    drop(command);
    for line in BufReader::new(from).lines() {
        port.say(&line?)?;
    }
    port.say(&format!("done {:?}", child.wait()?.code()))?;
    power_off()
}

/// The event port, and what is said there.
struct Port(File);

impl Port {
    fn open() -> Result<Self> {
        let port = File::options().write(true).open(event_port()?);
        port.map(Self).context("open the event port")
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let event =
            json!({ "t": 0, "event": "output", "id": "init", "stream": "stdout", "line": line });
        Ok(writeln!(self.0, "{event}")?)
    }
}

/// Switches the machine off, and waits for that.
pub(crate) fn end() -> Result<()> {
    // Not from here: if reboot(2) came back before the power is off, PID 1 would end.
    Command::new("/proc/self/exe")
        .arg("power-off")
        .spawn()
        .context("start a child")?;
    loop {
        std::thread::park();
    }
}

/// Switches the machine off.
pub(crate) fn power_off() -> Result<()> {
    rustix::fs::sync();
    Ok(reboot(RebootCommand::PowerOff)?)
}

/// The open descriptors and what they refer to, but for the port.
fn descriptors() -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        // The descriptor that lists the directory is gone by now.
        let Ok(target) = fs::read_link(entry.path()) else {
            continue;
        };
        let is_ours = target.starts_with("/proc") || target == event_port()?;
        if !is_ours {
            lines.push(format!(
                "descriptor {} {}",
                entry.file_name().display(),
                target.display()
            ));
        }
    }
    Ok(lines)
}

fn event_port() -> Result<PathBuf> {
    for entry in fs::read_dir("/sys/class/virtio-ports")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("name"))?.trim() == "org.berth.events" {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    anyhow::bail!("there is no port org.berth.events")
}
