//! The fuzz targets, each for a while.
//!
//! They begin with the seeds that are kept with them and what earlier runs found below
//! `target/fuzz/`. No wall time is asserted: the time only says when to stop.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Builds and runs all targets, as many at a time as there are processors.
pub(crate) fn run_all(workspace: &Path, duration: Duration) -> Result<()> {
    let package = workspace.join("tests/fuzz");
    let target_dir = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), PathBuf::from)
        .join("fuzz");
    // Its `.cargo/config.toml` counts only from inside, and names the compiler's coverage options.
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--release", "--target-dir"])
        .arg(&target_dir)
        .current_dir(&package)
        .env_remove("RUSTFLAGS")
        .status()
        .context("start cargo")?;
    ensure!(built.success(), "the fuzz targets do not build: {built}");

    let programs = target_dir.join(host()?).join("release");
    let names = names(&package.join("targets"))?;
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    for names in names.chunks(at_once) {
        let running: Vec<_> = names
            .iter()
            .map(|name| start(&package, &target_dir, &programs.join(name), duration))
            .collect::<Result<_>>()?;
        for (name, child) in names.iter().zip(running) {
            finish(name, child)?;
        }
    }
    println!(
        "fuzz: {} targets, {} s each: nothing found",
        names.len(),
        duration.as_secs()
    );
    Ok(())
}

/// The targets, by their files.
fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    ensure!(!names.is_empty(), "{} holds no targets", dir.display());
    Ok(names)
}

/// The compiler's name for this machine, which is part of the path of what it builds.
fn host() -> Result<String> {
    let rustc = Command::new("rustc")
        .args(["--print", "host-tuple"])
        .output();
    let output = rustc.context("start rustc")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn start(package: &Path, target_dir: &Path, program: &Path, duration: Duration) -> Result<Child> {
    let name = program.file_name().unwrap_or_default();
    let corpus = target_dir.join("corpus").join(name);
    let artifacts = target_dir.join("artifacts").join(name);
    for dir in [&corpus, &artifacts] {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    let dictionary = package.join("dictionaries").join(name);
    let dictionary = dictionary
        .exists()
        .then(|| format!("-dict={}", dictionary.display()));
    Command::new(program)
        .arg(format!("-max_total_time={}", duration.as_secs()))
        .args(dictionary)
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([corpus, package.join("seeds").join(name)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", program.display()))
}

/// libFuzzer ends with 0 when the time is up, and explains on standard error whatever else it
/// found.
fn finish(name: &str, child: Child) -> Result<()> {
    let output = child
        .wait_with_output()
        .with_context(|| format!("wait for {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "fuzz target {name}: {}\n{said}",
        output.status
    );
    let runs = said.lines().rev().find(|line| line.starts_with("Done"));
    println!("fuzz: {name}: {}", runs.unwrap_or("ended"));
    Ok(())
}
