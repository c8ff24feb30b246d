//! A program that fails a few times.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

/// Counts in `file` how often it was run, and ends well from the run of this number on, and leaves
/// another file then.
pub(crate) fn attempt(number: u32, file: &str) -> Result<ExitCode> {
    let before = match fs::read_to_string(file) {
        Ok(text) => text.trim().parse()?,
        Err(_) => 0,
    };
    let now: u32 = before + 1;
    fs::write(file, now.to_string())?;
    println!("attempt {now}");
    if now < number {
        return Ok(ExitCode::from(7));
    }
    fs::write(format!("{file}.done"), "")?;
    Ok(ExitCode::SUCCESS)
}

/// Leaves a process behind that does not end when it is asked to.
pub(crate) fn leave() -> Result<()> {
    let mut command = Command::new("/bin/guest");
    let mut child = command.arg("stay").stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("no output")?;
    // It says so when it stays.
    BufReader::new(output).read_line(&mut String::new())?;
    Ok(())
}
