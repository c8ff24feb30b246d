//! An operator in the machine, who has the command and looks after the containers that PID 1 has
//! started.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Where the command is.
const BERTH: &str = "/bin/berth";

/// How long a container may take to do what it is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does to the container `id` what the command can do, and prints what it says.
pub(crate) fn run(id: &str) -> Result<()> {
    await_status(id, "running")?;
    let listed = berth(&["list", "--quiet"])?;
    let mut ids: Vec<_> = listed.lines().collect();
    ids.sort_unstable();
    println!("listed {}", ids.join(","));
    println!(
        "exec {}",
        berth(&["exec", id, "/bin/guest", "say", "inside"])?.trim()
    );
    println!(
        "ps {}",
        berth(&["ps", "--format", "json", id])?
            .trim()
            .split(',')
            .count()
    );
    berth(&["pause", id])?;
    await_status(id, "paused")?;
    berth(&["resume", id])?;
    await_status(id, "running")?;
    berth(&["update", "--pids-limit", "77", id])?;
    let limit = std::fs::read_to_string(format!("/sys/fs/cgroup/berth/{id}/pids.max"))?;
    println!("limit {}", limit.trim());
    let events = berth(&["events", "--stats", id])?;
    println!("events {}", events.contains("\"pids\""));
    berth(&["kill", id, "KILL"])?;
    let began = Instant::now();
    while berth(&["state", id]).is_ok() {
        ensure!(
            began.elapsed() < PATIENCE,
            "{id} is remembered for too long"
        );
        thread::sleep(Duration::from_millis(100));
    }
    println!("gone {id}");
    Ok(())
}

fn await_status(id: &str, status: &str) -> Result<()> {
    let expected = format!("\"status\":\"{status}\"");
    let began = Instant::now();
    loop {
        let said = berth(&["state", id]);
        let is_it = |said: &String| said.replace(": ", ":").contains(&expected);
        if said.as_ref().is_ok_and(is_it) {
            println!("status {status}");
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "{id} is not {status}: {said:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// What the command prints.
pub(crate) fn berth(words: &[&str]) -> Result<String> {
    let output = Command::new(BERTH).args(words).output().context(BERTH)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{words:?}: {}: {said}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
