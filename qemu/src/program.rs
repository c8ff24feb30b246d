//! Other programs: found on the search path, run to their end, their complaint kept.

use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

/// Where the system's own tools live, which an ordinary user's `PATH` may lack.
const SYSTEM_DIRS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The path of `program`, or `None` where it is not installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRS.map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A command for `program`, wherever it is. Its messages are in English, since some are read.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(find(program).map_or_else(|| program.into(), OsString::from));
    command.env("LC_ALL", "C");
    command
}

/// Runs the command to its end and returns what it printed. The error is the program's own last
/// words.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            bail!("{name} is not installed: run `berth-qemu setup`")
        }
        Err(e) => bail!("{name} does not start: {e}"),
    };
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = complaint.lines().map(str::trim).collect();
        bail!("{name}: {}: {}", output.status, lines.join("; "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
