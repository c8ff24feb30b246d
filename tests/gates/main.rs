//! What every change is held to, beyond what the compiler, rustfmt and clippy check. `make lint`
//! runs all of them.
//!
//! A gate prints one line when it holds and names every place where it does not. A gate that cannot
//! be checked on this machine has failed: only what was seen to hold counts.

mod aarch64;
mod binary;
mod comments;
mod flags;
mod fuzz;
mod layers;
mod visibility;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Checks of berth's own rules.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    gate: Gate,
}

#[derive(Subcommand)]
enum Gate {
    /// No module names one of a higher layer, and `unsafe` stays where it may be
    Layers,
    /// The programs are static, no segment is writable and executable, and they are small enough
    Binary {
        /// The programs
        files: Vec<PathBuf>,
    },
    /// Lines of comments are not too long
    Comments,
    /// Both programs are built with the same flags, and a build without them says so
    Flags,
    /// What is `pub` is named elsewhere
    Visibility,
    /// Sizes of files, and of the parts of those that are programs
    Size {
        /// The files
        files: Vec<PathBuf>,
    },
    /// Every fuzz target runs for a while without finding anything
    Fuzz {
        /// For how many seconds each
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// The programs build for aarch64, and pass `binary` there
    Aarch64,
}

fn main() -> ExitCode {
    match run(Cli::parse().gate) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gates: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(gate: Gate) -> Result<()> {
    let workspace = workspace();
    match gate {
        Gate::Layers => layers::check(&workspace.join("src")),
        Gate::Binary { files } => files.iter().try_for_each(|file| binary::check(file)),
        Gate::Comments => comments::check(&workspace),
        Gate::Flags => flags::check(&workspace),
        Gate::Visibility => visibility::check(&workspace),
        Gate::Size { files } => files.iter().try_for_each(|file| binary::sizes(file)),
        Gate::Fuzz { seconds } => fuzz::run_all(&workspace, Duration::from_secs(seconds)),
        Gate::Aarch64 => aarch64::check(&workspace),
    }
}

/// The directory of the workspace, in which the gates were built.
fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
