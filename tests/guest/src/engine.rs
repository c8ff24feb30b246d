//! The engine as a command uses it: a process that is not PID 1 starts containers from bundles in
//! `/nested`, one after the other, with its own choices.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use berth::container::{PendingStart, Place, Request, StartEvent, Streams, start, start_result};
use berth::parse::config::{Config, MOUNT_PLACES, MountPlace};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::io::IoSliceMut;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};

use crate::facts;

const NESTED: &str = "/nested";
const FIFO: &str = "/tmp/fifo";

/// One that containers read, too.
const GIVEN_FIFO: &str = "/tmp/given-fifo";

/// An additional group of the engine's process.
const GROUP: libc::gid_t = 4242;

/// Runs all of it.
pub(crate) fn conduct() -> Result<()> {
    // SAFETY: prctl(2): the request takes no pointers.
    ensure!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } == 0);
    // The root of a user namespace is somebody else here.
    rustix::process::umask(Mode::empty());
    // What no container is to have unless it asks for them.
    change_groups(&[GROUP])?;
    mknodat(CWD, FIFO, FileType::Fifo, Mode::from_raw_mode(0o622), 0).context("make a FIFO")?;
    mknodat(
        CWD,
        GIVEN_FIFO,
        FileType::Fifo,
        Mode::from_raw_mode(0o666),
        0,
    )?;
    let holder = hold()?;
    let names = ["mnt", "pid", "uts", "ipc", "cgroup", "net", "time"];
    fs::create_dir("/tmp/ns")?;
    for name in names {
        symlink(
            format!("/proc/{holder}/ns/{name}"),
            format!("/tmp/ns/{name}"),
        )?;
    }
    facts::namespaces("holder", &holder.to_string())?;
    run("joiner")?;
    run("in-its-mounts")?;
    run("no-groups")?;
    enter(holder)?;
    end(holder)?;

    let owner = begin("user", inherited(), None)?.1;
    symlink(format!("/proc/{owner}/ns/user"), "/tmp/ns/user")?;
    facts::namespaces("owner", &owner.to_string())?;
    run("joins-user")?;
    visit_and_hold(owner)?;
    end(owner)?;

    for id in ["missing", "no-namespace", "wrong-kind", "fifo"] {
        run(id)?;
    }
    terminal()?;
    lose_the_builder()?;
    unprivileged()
}

fn change_groups(groups: &[libc::gid_t]) -> Result<()> {
    // SAFETY: setgroups(2) reads as many groups as it is told there are.
    let result = unsafe { libc::setgroups(groups.len(), groups.as_ptr()) };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).context("setgroups"),
    }
}

fn inherited() -> Streams {
    Streams::Inherited { more: 0 }
}

/// Calls `user` with the configuration of the bundle `id`.
fn with_config<T>(id: &str, user: impl FnOnce(&str, &Config<'_>) -> Result<T>) -> Result<T> {
    let bundle = format!("{NESTED}/{id}");
    let text = fs::read(format!("{bundle}/config.json")).with_context(|| bundle.clone())?;
    let mut scratch = vec![0; text.len()];
    let mut places = [const { MountPlace::uninit() }; MOUNT_PLACES];
    let config = Config::parse(&text, &mut scratch, &mut places)
        .map_err(|error| anyhow!("{id}: {error}"))?;
    user(&bundle, &config)
}

fn make(
    id: &str,
    place: Place<'_>,
    streams: Streams,
    exec_fifo: Option<OwnedFd>,
) -> Result<PendingStart> {
    with_config(id, |bundle, config| {
        let request = Request {
            id,
            bundle,
            config,
            place,
            group: None,
            streams,
            exec_fifo,
            variables: &[],
            keeps_keyring: false,
            outside: None,
            environment: None,
        };
        start(request).map_err(|fault| anyhow!("{fault}"))
    })
}

/// Makes a container and waits for news of it; its first process.
fn begin(id: &str, streams: Streams, hold: Option<OwnedFd>) -> Result<(PendingStart, i32)> {
    let mut pending = make(id, Place::New, streams, hold)?;
    match pending.wait()? {
        Some(StartEvent::Failed(fault)) => bail!("{id}: {fault}"),
        _ => {
            let pid = number(pending.pid().context("no PID")?);
            Ok((pending, pid))
        }
    }
}

fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

/// Waits for the end of what is left of a container; the status of its first process.
fn collect(pending: &PendingStart) -> Result<String> {
    let mut ended = String::from("never was");
    for (pid, is_first) in [(pending.builder, false), (pending.pid(), true)] {
        let Some(pid) = pid else { continue };
        let (_, status) = waitpid(Some(pid), WaitOptions::empty())?.context("no child")?;
        if is_first {
            ended = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("ended with {code}"),
                (_, signal) => format!("was killed by {signal:?}"),
            };
        }
    }
    Ok(ended)
}

/// Runs a container to its end.
fn run(id: &str) -> Result<()> {
    let mut pending = make(id, Place::New, inherited(), None)?;
    match pending.wait()? {
        Some(StartEvent::Failed(fault)) => println!("{id} failed: {fault}"),
        event => ensure!(event == Some(StartEvent::Running), "{id}: {event:?}"),
    }
    println!("{id} {}", collect(&pending)?);
    Ok(())
}

/// A container that is made, holds, and is let go.
fn hold() -> Result<i32> {
    let fifo = open(FIFO, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let (mut pending, pid) = begin("holder", inherited(), Some(fifo))?;
    let command = fs::read(format!("/proc/{pid}/cmdline"))?;
    let is_guest = command.starts_with(b"/bin/guest\0until-asked");
    println!("holding: its program runs: {is_guest}");
    ensure!(
        pending.try_next().is_none(),
        "there are events while it holds"
    );
    pending.confirm_recorded();
    let mut bytes = Vec::new();
    File::open(FIFO)?.read_to_end(&mut bytes)?;
    println!("let go: {:?}", start_result(&bytes));
    println!("then: {:?}", pending.wait()?);
    // One whose program cannot be executed says so to who lets it go.
    let fifo = open(FIFO, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let (mut other, _) = begin("garbage", inherited(), Some(fifo))?;
    other.confirm_recorded();
    bytes.clear();
    File::open(FIFO)?.read_to_end(&mut bytes)?;
    match start_result(&bytes) {
        Err(fault) => println!("let go: {fault}"),
        Ok(()) => bail!("garbage was executed"),
    }
    ensure!(matches!(other.wait()?, Some(StartEvent::Failed(_))));
    collect(&other)?;
    Ok(pid)
}

/// One more process in a container that runs.
fn enter(pid: i32) -> Result<()> {
    let pid = Pid::from_raw(pid).context("no PID")?;
    let container = pidfd_open(pid, PidfdFlags::empty())?;
    let mut pending = make(
        "visitor",
        Place::Running {
            first: container.as_fd(),
            pid: Some(pid),
        },
        inherited(),
        None,
    )?;
    println!("visitor: {:?}", pending.wait()?);
    println!("visitor {}", collect(&pending)?);
    Ok(())
}

/// One that holds in a container with other users, where others see it.
fn visit_and_hold(pid: i32) -> Result<()> {
    let pid = Pid::from_raw(pid).context("no PID")?;
    let container = pidfd_open(pid, PidfdFlags::empty())?;
    let fifo = open(FIFO, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let place = Place::Running {
        first: container.as_fd(),
        pid: Some(pid),
    };
    let mut pending = make("visits-user", place, inherited(), Some(fifo))?;
    let event = pending.wait()?;
    println!("visits-user: {event:?}");
    ensure!(event == Some(StartEvent::Created), "it does not hold");
    pending.confirm_recorded();
    let held = number(pending.pid().context("no PID")?);
    // Files of a process belong to its user, unless it is not to be looked into (proc(5)).
    let owner = fs::metadata(format!("/proc/{held}/environ"))?.uid();
    println!("held, it belongs to {owner}");
    let mut bytes = Vec::new();
    File::open(FIFO)?.read_to_end(&mut bytes)?;
    println!("visits-user: {:?}", pending.wait()?);
    println!("visits-user {}", collect(&pending)?);
    Ok(())
}

fn end(pid: i32) -> Result<()> {
    let pid = Pid::from_raw(pid).context("no PID")?;
    kill_process(pid, Signal::KILL)?;
    waitpid(Some(pid), WaitOptions::empty())?;
    Ok(())
}

/// A container with a terminal that this process serves.
fn terminal() -> Result<()> {
    let (socket, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let (pending, _) = begin("terminal", Streams::Terminal(theirs), None)?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 64];
    let received = recvmsg(
        &socket,
        &mut [IoSliceMut::new(&mut text)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    println!(
        "terminal is sent as {}",
        String::from_utf8_lossy(&text[..received.bytes])
    );
    let mut messages = ancillary.drain();
    let Some(RecvAncillaryMessage::ScmRights(mut files)) = messages.next() else {
        bail!("no descriptor was sent")
    };
    let terminal = File::from(files.next().context("no descriptor")?);
    // The other end is closed when the container has ended: EIO (pty(7)).
    for line in BufReader::new(terminal).lines().map_while(Result::ok) {
        println!("on the terminal: {}", line.trim());
    }
    println!("terminal {}", collect(&pending)?);
    Ok(())
}

/// A container whose builder is killed while a hook of it runs.
fn lose_the_builder() -> Result<()> {
    let mut pending = make("hanging", Place::New, inherited(), None)?;
    let builder = pending.builder.context("no builder")?;
    while !Path::new("/tmp/hook-runs").exists() {
        std::thread::yield_now();
    }
    kill_process(builder, Signal::KILL)?;
    match pending.wait()? {
        Some(StartEvent::Failed(fault)) => println!("without its builder: {fault}"),
        event => bail!("{event:?}"),
    }
    println!("without its builder {}", collect(&pending)?);
    Ok(())
}

/// The same as a user without any right.
fn unprivileged() -> Result<()> {
    const USER: u32 = 1000;
    // SAFETY: there is one thread, so the child has all that it needs.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("fork"),
        0 => {
            // SAFETY: the calls take no pointers. What is given up is this process's.
            let is_user = unsafe {
                libc::setresgid(USER, USER, USER) == 0
                    && libc::setresuid(USER, USER, USER) == 0
                    && libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) == 0
                    && libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
            };
            println!(
                "unprivileged {is_user} {}",
                fs::metadata("/proc/self")?.uid()
            );
            run("unprivileged")?;
            // More than itself, nobody can map.
            run("presumptuous")?;
            be_looked_into()?;
            std::process::exit(0)
        }
        child => {
            let mut status = 0;
            // SAFETY: the status outlives the call.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            ensure!(status == 0, "the unprivileged process: {status}");
            Ok(())
        }
    }
}

/// One more process in a container that looks into it. Outside its root is the user who brings the
/// process in, so that nothing but the process itself is in its way.
fn be_looked_into() -> Result<()> {
    let (watcher, pid) = begin("watcher", inherited(), None)?;
    let pid = Pid::from_raw(pid).context("no PID")?;
    let container = pidfd_open(pid, PidfdFlags::empty())?;
    let fifo = open(GIVEN_FIFO, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let place = Place::Running {
        first: container.as_fd(),
        pid: Some(pid),
    };
    let mut watched = make("watched", place, inherited(), Some(fifo))?;
    println!("watched: {:?}", watched.wait()?);
    watched.confirm_recorded();
    println!("watched: {:?}", watched.wait()?);
    // The first process of a PID namespace takes the others along, and has ended when they are
    // collected (pid_namespaces(7)).
    collect(&watched)?;
    println!("watcher {}", collect(&watcher)?);
    Ok(())
}

/// Prints what a terminal is, from inside.
pub(crate) fn on_terminal() -> Result<()> {
    let input = std::io::stdin();
    let size = rustix::termios::tcgetwinsize(&input)?;
    println!("size {} {}", size.ws_row, size.ws_col);
    println!("name {}", fs::read_link("/proc/self/fd/0")?.display());
    let (own, console) = (
        fs::metadata("/proc/self/fd/0")?,
        fs::metadata("/dev/console")?,
    );
    println!("console {}", own.rdev() == console.rdev());
    let foreground = rustix::termios::tcgetpgrp(&input)? == rustix::process::getpgrp();
    println!("controlling {foreground} {}", input.as_raw_fd());
    Ok(())
}
