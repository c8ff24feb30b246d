//! NOTIFY_SOCKET: what a container says through berth to who has started that as a service.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::lab::Lab;
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing container_says_that_it_is_ready_and_nothing_else,
    Nothing start_waits_until_the_container_is_ready,
    Nothing container_that_ends_before_it_is_ready_is_not_waited_for,
    Nothing message_that_is_too_long_means_nothing,
    Nothing flood_of_messages_keeps_no_command,
    Nothing bundle_with_a_notify_socket_of_its_own_keeps_it,
];

/// What a container tries besides.
const TRICKS: [&str; 6] = [
    "STATUS=up",
    "MAINPID=1",
    "XREADY=1\nREADY=10\nFDSTORE=1",
    "READY=1\nMAINPID=1\nSTATUS=up",
    "WATCHDOG=trigger",
    "STOPPING=1",
];

/// The caller's socket, and its name as the variable has it.
fn caller(lab: &Lab) -> Result<(UnixDatagram, String)> {
    let path = lab.directory.join("n");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok((socket, path.to_str().context("a path")?.to_owned()))
}

/// The next that was sent.
fn next(socket: &UnixDatagram) -> Result<String> {
    let mut text = [0; 4096];
    let len = socket.recv(&mut text)?;
    Ok(String::from_utf8_lossy(&text[..len]).into_owned())
}

/// Nothing more was sent by who has ended.
fn is_all(socket: &UnixDatagram) -> Result<()> {
    socket.set_nonblocking(true)?;
    match socket
        .recv(&mut [0])
        .map_err(|error: io::Error| error.kind())
    {
        Err(ErrorKind::WouldBlock) => Ok(()),
        other => anyhow::bail!("more was sent: {other:?}"),
    }
}

fn container_says_that_it_is_ready_and_nothing_else(lab: &Lab) -> Result<()> {
    // More than a socket's queue holds: nobody is to wait for who does not read.
    let words: Vec<_> = ["notify"].into_iter().chain([TRICKS; 9].concat()).collect();
    lab.bundle_with("b", &words, |config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    })?;
    let (socket, path) = caller(lab)?;
    let name = format!("berth-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name)?;
    let unnamed = UnixDatagram::bind_addr(&address)?;
    for (socket, address) in [(socket, path), (unnamed, format!("@{name}"))] {
        let mut run = lab.command(["run", "--bundle", "b", "one"]);
        let output = run.env("NOTIFY_SOCKET", address).output()?;
        ensure!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        ensure!(output.stdout == b"/run/notify/notify.sock\n", "{output:?}");
        ensure!(next(&socket)? == "READY=1");
        is_all(&socket)?;
    }
    ensure!(fs::read_dir(lab.root())?.count() == 0, "something is left");
    // Nobody listens: it runs all the same.
    let mut run = lab.command(["--debug", "run", "--bundle", "b", "one"]);
    let output = run.env("NOTIFY_SOCKET", "/nowhere").output()?;
    let says = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && says.contains("NOTIFY_SOCKET: ENOENT"),
        "{output:?}"
    );
    // And without, there is none.
    let output = lab.call(&["run", "--bundle", "b", "one"])?;
    ensure!(output.stdout.starts_with(b"none"), "{output:?}");
    Ok(())
}

fn start_waits_until_the_container_is_ready(lab: &Lab) -> Result<()> {
    let bundle = lab.bundle("b", &["notify-when", "/tmp/now", "STATUS=up", "READY=1"])?;
    let (socket, path) = caller(lab)?;
    for detached in [false, true] {
        let mut start = match detached {
            true => lab.command(["run", "--detach", "--bundle", "b", "one"]),
            false => {
                let mut create = lab.command(["create", "--bundle", "b", "one"]);
                create
                    .env("NOTIFY_SOCKET", &path)
                    .stdout(std::process::Stdio::null());
                ensure!(create.status()?.success());
                lab.command(["start", "one"])
            }
        };
        start
            .env("NOTIFY_SOCKET", &path)
            .stdout(std::process::Stdio::null());
        let mut start = start.spawn()?;
        fs::write(bundle.join("rootfs/tmp/now"), "")?;
        let said = next(&socket)?;
        let pid = lab.state("one")?["pid"].clone();
        ensure!(said == format!("READY=1\nMAINPID={pid}"), "{said}");
        ensure!(next(&socket)? == "BARRIER=1");
        ensure!(start.wait()?.success());
        ensure!(lab.status("one")? == "running");
        lab.ok(&["delete", "--force", "one"])?;
        ensure!(fs::read_dir(lab.root())?.count() == 0, "something is left");
        fs::remove_file(bundle.join("rootfs/tmp/now"))?;
    }
    is_all(&socket)
}

fn container_that_ends_before_it_is_ready_is_not_waited_for(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["notify", "STATUS=up"])?;
    let (socket, path) = caller(lab)?;
    let mut run = lab.command(["run", "--detach", "--bundle", "b", "one"]);
    let run = run
        .env("NOTIFY_SOCKET", &path)
        .stdout(std::process::Stdio::null());
    ensure!(run.status()?.success());
    is_all(&socket)
}

fn message_that_is_too_long_means_nothing(lab: &Lab) -> Result<()> {
    // As long as one may be, and longer.
    let [longest, longer] = [4096, 4097].map(|len| format!("READY=1\n{}", "x".repeat(len - 8)));
    let (socket, path) = caller(lab)?;
    for (message, is_heard) in [(longer, false), (longest, true)] {
        lab.bundle("b", &["notify", &message])?;
        let mut run = lab.command(["run", "--bundle", "b", "one"]);
        let run = run
            .env("NOTIFY_SOCKET", &path)
            .stdout(std::process::Stdio::null());
        ensure!(run.status()?.success());
        if is_heard {
            ensure!(next(&socket)? == "READY=1");
        }
        is_all(&socket)?;
        socket.set_nonblocking(false)?;
    }
    Ok(())
}

/// Who floods the socket outlives the container's first process, and is not waited for.
fn flood_of_messages_keeps_no_command(lab: &Lab) -> Result<()> {
    lab.bundle_with("b", &["be-flooded", "unready"], |config| {
        config["linux"]["namespaces"] = json!([{ "type": "mount" }]);
        config["hostname"] = json!(null);
    })?;
    let (socket, path) = caller(lab)?;
    for detached in [false, true] {
        let mut run = match detached {
            true => lab.command(["run", "--detach", "--bundle", "b", "one"]),
            false => lab.command(["run", "--bundle", "b", "one"]),
        };
        let run = run
            .env("NOTIFY_SOCKET", &path)
            .stdout(std::process::Stdio::null());
        ensure!(run.status()?.success());
        lab.call(&["delete", "--force", "one"])?;
        fs::remove_file(lab.directory.join("b/rootfs/tmp/flooded"))?;
    }
    is_all(&socket)
}

fn bundle_with_a_notify_socket_of_its_own_keeps_it(lab: &Lab) -> Result<()> {
    lab.bundle_with("b", &["notify"], |config| {
        config["process"]["env"] = json!(["NOTIFY_SOCKET=/own"]);
    })?;
    let mut run = lab.command(["run", "--bundle", "b", "one"]);
    let output = run.env("NOTIFY_SOCKET", "/callers").output()?;
    ensure!(
        output.stdout == b"/own\n" && output.status.success(),
        "{output:?}"
    );
    Ok(())
}
