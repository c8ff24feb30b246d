//! `berth-qemu ctl`: looks into a running machine, and steers it, over its control port.
//!
//! The verbs are those of `docs/control.md`. A [`Verb`] is turned into a request, the request is
//! seen to its end, and what comes is written as lines, as JSON, or as the bytes of a program.

mod output;
mod session;
mod stdin;
mod verb;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::control::{self, Lock};
use crate::paths::target_dir;

pub use verb::Verb;

/// The status where what was asked for could not be done.
pub const FAILED: u8 = 125;

/// What is said on the command line.
#[derive(Args)]
pub struct Ctl {
    /// The socket of the machine's control port [default: target/control.sock]
    #[arg(long, value_name = "SOCKET")]
    socket: Option<PathBuf>,
    /// Print JSON objects as they come, one a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

/// Where `berth-qemu run` has the socket, unless told otherwise.
pub fn default_socket() -> PathBuf {
    target_dir().join("control.sock")
}

/// Does what is asked for. Failures are told on standard error.
pub fn run(ctl: &Ctl) -> ExitCode {
    match ask(ctl) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            output::complain(&format!("{error:#}"), "");
            ExitCode::from(FAILED)
        }
    }
}

fn ask(ctl: &Ctl) -> Result<u8> {
    let socket = ctl.socket.clone().unwrap_or_else(default_socket);
    // So that one that is not there is said before anything is waited for.
    if !socket.exists() {
        control::connect(&socket)?;
    }
    let _lock = Lock::take(&socket, &ctl.verb.to_string(), |holder| {
        output::complain(&format!("waits for another client: {holder}"), "");
    })?;
    session::run(&socket, &ctl.verb, ctl.json)
}
