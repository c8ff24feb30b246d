//! The programs of `tests/c`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth_qemu::target_dir;

/// Where they are built, and where the headers are put that tell them what they shall do.
pub(crate) fn directory() -> Result<PathBuf> {
    let dir = target_dir().join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}

/// Compiles one, static. Returns the program.
pub(crate) fn compile(source: &str) -> Result<PathBuf> {
    let dir = directory()?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("c");
    let program = dir.join(source).with_extension("");
    let status = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-I"])
        .arg(&dir)
        .arg("-o")
        .arg(&program)
        .arg(sources.join(source))
        .status()
        .context("start cc: install the packages gcc and libc6-dev")?;
    ensure!(status.success(), "cc {source}: {status}");
    Ok(program)
}
