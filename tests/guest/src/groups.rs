//! The library's control groups, used as somebody else than PID 1 uses them: made, filled, stopped,
//! changed, removed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use berth::container::cgroup::Group;
use berth::errno::Name;
use berth::error::Fault;
use berth::parse::config::{Config, Resources};
use berth::parse::json;
use berth::sys::process::{self, Forked};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat, open};
use rustix::io::Errno;

const ROOT: &str = "/sys/fs/cgroup";
const KMSG: &str = "/tmp/kmsg";

/// Checks all of it; says what was checked, or how it failed.
pub(crate) fn check() -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(ROOT, flags, Mode::empty())?;
    life(&root)?;
    devices(&root)
}

fn life(root: &OwnedFd) -> Result<()> {
    let path = "engine/a/b";
    let few = resources(r#"{"pids": {"limit": 5}}"#)?;
    let group = Group::create(root.as_fd(), path, &few).map_err(fault)?;
    group.apply(&few).map_err(fault)?;
    println!("limit {}", read(&format!("{path}/pids.max"))?);

    fs::create_dir(format!("{ROOT}/{path}/inner"))?;
    let mut asked = put(Command::new("/bin/guest").arg("until-asked"), path)?;
    let mut other = put(
        Command::new("/bin/guest").arg("stay"),
        &format!("{path}/inner"),
    )?;
    // Until they are ready, a signal would end them in another way.
    let _outputs = [first_line(&mut asked)?, first_line(&mut other)?];
    let mut pids = Vec::new();
    group
        .each_process(&mut |pid| pids.push(pid))
        .map_err(fault)?;
    pids.sort_unstable();
    let mut expected = [asked.id(), other.id()];
    expected.sort_unstable();
    println!("processes {}", pids == expected);

    let again = Group::create(root.as_fd(), path, &few).map(drop);
    println!("again {}", errno(again));
    println!("removed {}", errno(group.remove()));

    group.freeze().map_err(fault)?;
    println!(
        "frozen {}",
        read(&format!("{path}/cgroup.events"))?.contains("frozen 1")
    );
    // It is heard when the process goes on.
    let pid = rustix::process::Pid::from_child(&asked);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    println!("stopped {}", asked.try_wait()?.is_none());
    group.thaw().map_err(fault)?;
    println!("thawed {:?}", asked.wait()?.code());

    let more = resources(r#"{"pids": {"limit": 7}}"#)?;
    group.apply(&more).map_err(fault)?;
    println!("changed {}", read(&format!("{path}/pids.max"))?);
    let needed = resources(r#"{"memory": {"limit": 4096, "checkBeforeUpdate": true}}"#)?;
    println!("checked {}", errno(group.apply(&needed)));

    group.kill().map_err(fault)?;
    println!(
        "killed {:?}",
        std::os::unix::process::ExitStatusExt::signal(&other.wait()?)
    );
    group.remove().map_err(fault)?;
    println!("gone {}", !fs::exists(format!("{ROOT}/engine"))?);
    Ok(())
}

/// Waits until the process has said something, and says that. What it says later goes where this
/// returns.
fn first_line(child: &mut Child) -> Result<BufReader<ChildStdout>> {
    let mut output = BufReader::new(child.stdout.take().context("no output")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    print!("{line}");
    Ok(output)
}

/// The last policy is the only one.
fn devices(root: &OwnedFd) -> Result<()> {
    mknodat(
        CWD,
        KMSG,
        FileType::CharacterDevice,
        Mode::RUSR,
        makedev(1, 11),
    )?;
    let none = config(false)?;
    let all = config(true)?;
    let group = Group::create(root.as_fd(), "policies", &none.resources).map_err(fault)?;
    for policy in [
        None,
        Some(&none),
        Some(&all),
        Some(&none),
        Some(&none),
        Some(&all),
    ] {
        if let Some(policy) = policy {
            group.confine_devices(policy).map_err(fault)?;
        }
        println!("opened {}", open_inside(&group)?);
    }
    group.remove().map_err(fault)
}

/// Opens a device in a process of the group.
fn open_inside(group: &Group) -> Result<i32> {
    match process::fork(0, Some(group.as_fd()))? {
        Forked::Child => {
            let opened = open(KMSG, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
            process::exit(opened.map_or_else(Errno::raw_os_error, |_| 0))
        }
        Forked::Parent(pid) => {
            let status =
                rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
            let (_, status) = status.context("no status")?;
            status.exit_status().context("no exit status")
        }
    }
}

/// A configuration that allows all devices, or none but the default ones.
fn config(allow: bool) -> Result<Config<'static>> {
    let text = format!(
        r#"{{"ociVersion": "1.2.0", "root": {{"path": "r"}}, "process": {{"args": ["x"], "cwd": "/"}},
            "linux": {{"namespaces": [{{"type": "mount"}}],
                "resources": {{"devices": [{{"allow": {allow}, "access": "rwm"}}]}}}}}}"#
    );
    let scratch = vec![0; text.len()].leak();
    let text = Box::leak(text.into_boxed_str());
    Config::parse(text.as_bytes(), scratch, &mut []).map_err(|error| anyhow!("{error}"))
}

fn resources(section: &'static str) -> Result<Resources<'static>> {
    let section = json::check(section.as_bytes()).map_err(|error| anyhow!("{error}"))?;
    Resources::check(Some(section)).map_err(|error| anyhow!("{error}"))
}

fn put(command: &mut Command, group: &str) -> Result<Child> {
    let child = command.stdout(Stdio::piped()).spawn()?;
    fs::write(
        format!("{ROOT}/{group}/cgroup.procs"),
        child.id().to_string(),
    )?;
    ensure!(read(&format!("{group}/cgroup.procs"))? == child.id().to_string());
    Ok(child)
}

fn read(file: &str) -> Result<String> {
    let text = fs::read_to_string(format!("{ROOT}/{file}")).with_context(|| file.to_owned())?;
    Ok(text.trim().to_owned())
}

fn errno(result: Result<(), Fault>) -> String {
    result.map_or_else(|fault| Name(fault.errno).to_string(), |()| "ok".to_owned())
}

fn fault(fault: Fault) -> anyhow::Error {
    anyhow!("{fault}")
}
