//! Pipes that nobody reads: what berth writes to them is lost, and nothing else is. By default the
//! first such write is a program's end (pipe(7), SIGPIPE), and a container would be half made.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::lab::{Lab, Running};
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing failure_that_nobody_hears_leaves_nothing,
    Nothing warnings_that_nobody_reads_keep_from_nothing,
    Nothing container_is_made_whoever_reads_its_output,
    Nothing program_is_not_ended_by_an_output_that_nobody_reads,
    Nothing list_that_nobody_reads_ends_as_others_do,
];

/// A pipe that nobody reads, for one command.
fn closed() -> Result<Stdio> {
    let (reader, writer) = rustix::pipe::pipe()?;
    drop(reader);
    Ok(Stdio::from(OwnedFd::from(File::from(writer))))
}

/// Calls it with such pipes as standard output and error.
fn unheard(command: &mut Command) -> Result<ExitStatus> {
    Ok(command.stdout(closed()?).stderr(closed()?).status()?)
}

/// As berth ends that ends by itself.
fn ends(lab: &Lab, words: &[&str], code: i32) -> Result<()> {
    // The second opens the pipe by its name, and writes there what only engines read.
    for log in [&[][..], &["--debug"], &["--log", "/proc/self/fd/2"]] {
        let status = unheard(&mut lab.command(log.iter().chain(words)))?;
        ensure!(status.code() == Some(code), "{log:?} {words:?}: {status}");
    }
    Ok(())
}

fn is_empty(lab: &Lab) -> Result<()> {
    let left = lab.ok(&["list"])?;
    ensure!(left.lines().count() <= 1, "something is left: {left}");
    Ok(())
}

fn hook(config: &mut Value, moment: &str, path: &str, args: &[&str]) {
    config["hooks"][moment] = json!([{ "path": path, "args": args }]);
}

fn failure_that_nobody_hears_leaves_nothing(lab: &Lab) -> Result<()> {
    let guest = std::env::current_exe()?;
    let guest = guest.to_str().context("a name")?;
    type Change<'c> = &'c dyn Fn(&mut Value);
    let changes: [(i32, Change<'_>); 4] = [
        (127, &|config| {
            config["process"]["args"] = json!(["/bin/missing"])
        }),
        (125, &|config| {
            config["mounts"][0]["type"] = json!("nonesuch")
        }),
        (125, &|config| {
            hook(config, "createRuntime", guest, &["guest", "exit", "1"])
        }),
        (125, &|config| {
            config["process"]["apparmorProfile"] = json!("nonesuch")
        }),
    ];
    for (code, change) in changes {
        lab.bundle_with("b", &["stay"], change)?;
        for words in [
            &["create", "--bundle", "b", "one"][..],
            &["run", "--bundle", "b", "one"],
            &["run", "--detach", "--bundle", "b", "one"],
        ] {
            ends(lab, words, code)?;
            is_empty(lab)?;
        }
    }
    // What fails when the program is executed, of which `run` has a container by then.
    lab.bundle("b", &["stay"])?;
    fs::write(lab.directory.join("b/rootfs/bin/broken"), "no program")?;
    let broken = lab.directory.join("b/rootfs/bin/broken");
    fs::set_permissions(broken, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    lab.bundle_with("b", &[], |config| {
        config["process"]["args"] = json!(["/bin/broken"]);
    })?;
    ends(lab, &["run", "--bundle", "b", "one"], 126)?;
    is_empty(lab)?;
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "--detach", "--bundle", "b", "one"])?;
    ends(lab, &["exec", "one", "/bin/missing"], 127)?;
    ensure!(lab.status("one")? == "running");
    Ok(())
}

fn warnings_that_nobody_reads_keep_from_nothing(lab: &Lab) -> Result<()> {
    let guest = std::env::current_exe()?;
    let guest = guest.to_str().context("a name")?;
    lab.bundle_with("b", &["stay"], |config| {
        // A warning before there is anything, and some when all is there.
        config["process"]["capabilities"] = json!({ "bounding": ["CAP_NONESUCH"] });
        hook(config, "poststart", guest, &["guest", "exit", "1"]);
        hook(config, "poststop", guest, &["guest", "exit", "1"]);
    })?;
    for log in [&["--debug"][..], &["--log", "/proc/self/fd/2"]] {
        let run = |words: &[&str]| {
            let mut command = lab.command(log.iter().chain(words));
            // The program prints something.
            let status = command.stdout(Stdio::null()).stderr(closed()?).status()?;
            ensure!(status.success(), "{log:?} {words:?}: {status}");
            Ok(())
        };
        run(&["create", "--bundle", "b", "one"])?;
        ensure!(lab.status("one")? == "created");
        run(&["start", "one"])?;
        ensure!(lab.status("one")? == "running");
        run(&["delete", "--force", "one"])?;
        is_empty(lab)?;
        run(&["run", "--detach", "--bundle", "b", "one"])?;
        run(&["exec", "one", "/bin/guest", "exit", "0"])?;
        run(&["delete", "--force", "one"])?;
        is_empty(lab)?;
    }
    Ok(())
}

/// `berth create … | head -c0`: the program's output is the pipe, and its end by that is its own.
fn container_is_made_whoever_reads_its_output(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["inherited"])?;
    let status =
        unheard(&mut lab.command(["create", "--bundle", "b", "--pid-file", "pid", "one"]))?;
    ensure!(status.success(), "{status}");
    let pid = lab.state("one")?["pid"].to_string();
    ensure!(fs::read_to_string(lab.directory.join("pid"))? == pid);
    let process = fs::read_to_string(format!("/proc/{pid}/status"))?;
    ensure!(
        process.contains("\nSigIgn:\t0000000000000000\n"),
        "{process}"
    );
    let status = unheard(&mut lab.command(["start", "one"]))?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// The command between the program's terminal and a pipe cannot write to that. The signal that it
/// gets for it is its own affair.
fn program_is_not_ended_by_an_output_that_nobody_reads(lab: &Lab) -> Result<()> {
    lab.bundle_with("b", &["until-asked"], |config| {
        config["process"]["terminal"] = json!(true);
        // The first of a PID namespace would not be ended by a signal (pid_namespaces(7)).
        config["linux"]["namespaces"] =
            json!([{ "type": "mount" }, { "type": "uts" }, { "type": "ipc" }]);
    })?;
    let mut run = lab.command(["run", "--bundle", "b", "one"]);
    let mut child = run.stdout(closed()?).stderr(closed()?).spawn()?;
    let end = Instant::now() + Duration::from_secs(60);
    let is_waiting = || -> Result<bool> {
        let output = lab.call(&["state", "one"])?;
        let state = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{}/status", state["pid"]));
        // Of its library, SIGBUS and SIGSEGV.
        Ok(status.is_ok_and(|status| status.contains("\nSigCgt:\t0000000000000440\n")))
    };
    while !is_waiting()? {
        ensure!(Instant::now() < end, "it does not begin");
        ensure!(child.try_wait()?.is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    // What it prints next is what cannot be written.
    std::thread::sleep(Duration::from_millis(500));
    let status = child.try_wait()?;
    ensure!(status.is_none(), "it was ended: {status:?}");
    lab.ok(&["kill", "one", "TERM"])?;
    let status = child.wait()?;
    ensure!(status.code() == Some(5), "{status}");
    is_empty(lab)?;

    // Somebody else's signal is passed on.
    let mut running = Running::start(&mut lab.command(["run", "--bundle", "b", "one"]))?;
    ensure!(running.line()? == "waiting");
    running.signal(Signal::PIPE)?;
    let status = running.status()?;
    ensure!(status == Some(128 + libc::SIGPIPE), "{status:?}");
    Ok(())
}

fn list_that_nobody_reads_ends_as_others_do(lab: &Lab) -> Result<()> {
    for words in [&["list"][..], &["features"], &["--help"], &["check", "b"]] {
        lab.bundle("b", &["stay"])?;
        let status = unheard(&mut lab.command(words))?;
        ensure!(
            status.signal() == Some(libc::SIGPIPE),
            "{words:?}: {status}"
        );
        // Whose caller ignores the signal is told.
        let mut command = lab.command_behind("be-odd", words)?;
        let output = command.stdout(closed()?).stderr(Stdio::piped()).output()?;
        let says = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(125)
                && says.contains("write to standard output: EPIPE: broken pipe  [B077]"),
            "{words:?}: {}: {says}",
            output.status
        );
    }
    Ok(())
}
