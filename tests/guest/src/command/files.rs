//! Files that berth writes where the caller says: links that somebody has put there lead nowhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Result, ensure};

use super::lab::Lab;
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing pid_file_follows_no_link,
    Nothing log_follows_no_link,
    Nothing record_follows_no_link,
];

/// The names in a directory.
fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn pid_file_follows_no_link(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    let victim = lab.directory.join("victim");
    fs::write(&victim, "untouched")?;
    let directory = lab.directory.join("pids");
    fs::create_dir(&directory)?;
    for name in ["pid", "pid.next", ".pid", "pid.tmp"] {
        symlink(&victim, directory.join(name))?;
    }
    let before = names(&directory)?;
    let check = |pid: Option<i64>| {
        let file = directory.join("pid");
        let written = fs::read_to_string(&file)?;
        ensure!(fs::symlink_metadata(&file)?.is_file(), "it is a link still");
        ensure!(
            pid.is_none_or(|pid| written == pid.to_string()),
            "{written}"
        );
        ensure!(written.parse::<u32>().is_ok(), "{written}");
        ensure!(fs::read_to_string(&victim)? == "untouched");
        let after = names(&directory)?;
        ensure!(after == before, "{after:?}");
        fs::remove_file(&file)?;
        symlink(&victim, &file)?;
        Ok(())
    };
    lab.leaves(&["create", "--bundle", "b", "--pid-file", "pids/pid", "one"])?;
    check(lab.state("one")?["pid"].as_i64())?;
    lab.ok(&["start", "one"])?;
    lab.leaves(&[
        "exec",
        "-d",
        "--pid-file",
        "pids/pid",
        "one",
        "/bin/guest",
        "stay",
    ])?;
    check(None)?;
    // In the working directory, and with the longest of names.
    let long = "p".repeat(255);
    lab.leaves(&[
        "exec",
        "-d",
        "--pid-file",
        &long,
        "one",
        "/bin/guest",
        "stay",
    ])?;
    ensure!(
        fs::read_to_string(lab.directory.join(&long))?
            .parse::<u32>()
            .is_ok()
    );
    // What cannot be written is told, and nothing is left beside it.
    lab.fails(
        &[
            "exec",
            "-d",
            "--pid-file",
            "pids",
            "one",
            "/bin/guest",
            "exit",
            "0",
        ],
        125,
        &["write to pids: EISDIR", "[B077]"],
    )?;
    ensure!(
        !names(&lab.directory)?
            .iter()
            .any(|name| name.starts_with(".berth"))
    );
    Ok(())
}

fn log_follows_no_link(lab: &Lab) -> Result<()> {
    let victim = lab.directory.join("victim");
    fs::write(&victim, "untouched")?;
    let link = lab.directory.join("log");
    symlink(&victim, &link)?;
    for words in [&["--log", "log", "list"][..], &["list", "--log", "log"]] {
        lab.fails(words, 125, &["open log: ELOOP", "[B077]"])?;
    }
    symlink(
        lab.directory.join("nowhere"),
        lab.directory.join("dangling"),
    )?;
    lab.fails(&["--log", "dangling", "list"], 125, &["ELOOP", "[B077]"])?;
    ensure!(!lab.directory.join("nowhere").exists());
    ensure!(fs::read_to_string(&victim)? == "untouched");
    // A file is appended to, and the caller's own descriptors are no strangers' links.
    for _ in 0..2 {
        lab.fails(&["--log", "file", "state", "none"], 125, &["[B072]"])?;
    }
    let written = fs::read_to_string(lab.directory.join("file"))?;
    ensure!(written.lines().count() == 2, "{written}");
    for name in ["/dev/stderr", "/proc/self/fd/2", "/dev/fd/2"] {
        // Where such a link is missing, there is none to follow.
        if !Path::new(name).exists() {
            continue;
        }
        let command = &mut lab.command(["--log", name, "state", "none"]);
        let output = command.stdout(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.matches("[B072]").count() == 2, "{name}: {said}");
    }
    Ok(())
}

fn record_follows_no_link(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    let victim = lab.directory.join("victim");
    fs::write(&victim, "untouched")?;
    let directory = lab.root().join("one");
    fs::create_dir_all(&directory)?;
    for name in ["config.json", "state.json.next", "state.copy", "exec.fifo"] {
        symlink(&victim, directory.join(name))?;
    }
    lab.leaves(&["create", "--bundle", "b", "one"])?;
    ensure!(lab.status("one")? == "created");
    ensure!(fs::read_to_string(&victim)? == "untouched");
    for name in ["config.json", "state.json", "state.copy"] {
        let file = fs::symlink_metadata(directory.join(name))?;
        ensure!(file.is_file() && file.mode() & 0o777 == 0o600, "{name}");
    }
    lab.ok(&["delete", "one"])?;
    ensure!(!directory.exists() && victim.exists());
    // Nor is the file that is locked a link.
    fs::create_dir(&directory)?;
    symlink(&victim, directory.join("lock"))?;
    lab.fails(
        &["create", "--bundle", "b", "one"],
        125,
        &["open lock: ELOOP", "[B074]"],
    )?;
    fs::remove_dir_all(&directory)?;
    Ok(())
}
