//! A hook: it prints one line about where and when it runs, and ends as it is told.
//!
//! Where there is a kernel log, the line goes there, in one piece and in its order; else to
//! standard output.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// `words`: the hook's name and what else it does: `exit <status>`, `touch <file>`, `wait-for
/// <file>`, `stay`.
pub(crate) fn run(name: &str, words: &[&str]) -> Result<u8> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let state: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let pid = state["pid"].as_i64();
    let host = namespace("1");
    let tell = |own: Option<String>| match own {
        Some(own) if Some(&own) == host.as_ref() => "host",
        Some(_) => "other",
        None => "none",
    };
    let first = pid.map(|pid| pid.to_string()).unwrap_or_default();
    let own_proc = format!(
        "/containers/{}/rootfs/proc ",
        state["id"].as_str().unwrap_or("-")
    );
    let is_before_pivot = fs::read_to_string(format!("/proc/{first}/mountinfo"))
        .is_ok_and(|mounts| mounts.contains(&own_proc));
    let sees_host = Path::new("/containers").exists();
    let line = format!(
        "hook {name} of {} {} pid={} in={} its={} before-pivot={is_before_pivot} sees-host={sees_host} users={} note={} args={} here={}",
        state["id"].as_str().unwrap_or("-"),
        state["status"].as_str().unwrap_or("-"),
        pid.is_some(),
        tell(namespace("self")),
        tell(namespace(&first)),
        users(&first).unwrap_or_default(),
        state["annotations"]["org.example.note"]
            .as_str()
            .unwrap_or("-"),
        words.join("+"),
        std::env::current_dir()?.display(),
    );
    match fs::OpenOptions::new().write(true).open("/dev/kmsg") {
        // An error, so that the console shows it.
        Ok(mut log) => log.write_all(format!("<3>{line}").as_bytes())?,
        Err(_) => println!("{line}"),
    }
    match words {
        ["exit", status] => return Ok(status.parse()?),
        ["touch", file] => fs::write(file, "")?,
        ["wait-for", file] => wait_for(file),
        ["touch", file, "stay"] => {
            fs::write(file, "")?;
            loop {
                std::thread::park();
            }
        }
        _ => {}
    }
    Ok(0)
}

/// Waits until there is such a file.
pub(crate) fn wait_for(file: &str) {
    while !Path::new(file).exists() {
        std::thread::yield_now();
    }
}

fn namespace(pid: &str) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()?;
    Some(link.display().to_string())
}

fn users(pid: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let users = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:\t"))?;
    Some(users.replace('\t', ","))
}
