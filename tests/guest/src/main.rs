//! Runs inside the virtual machines of the tests, as the program of a container or as `init=`, and prints what it sees.
//! `guest <what> [arguments]`; it is linked statically, because there is nothing else where it runs.

mod host;
mod init;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(status) => status,
        Err(error) => {
            println!("guest: {}: {error:#}", words.join(" "));
            ExitCode::from(99)
        }
    }
}

fn run(words: &[&str]) -> Result<ExitCode> {
    match words {
        ["say", text @ ..] => println!("{}", text.join(" ")),
        ["exit", status] => return Ok(ExitCode::from(status.parse::<u8>()?)),
        ["init", words @ ..] => init::run(words)?,
        ["power-off"] => init::power_off()?,
        ["describe-host"] => host::describe()?,
        ["hold-a-mount"] => host::hold_a_mount()?,
        _ => bail!("there is no such check"),
    }
    Ok(ExitCode::SUCCESS)
}
