//! The program for aarch64, built where a standard library for it is to be had.

use std::path::Path;

use anyhow::{Context, Result};
use berth_qemu::arch::Arch;
use berth_qemu::cross::Toolchain;

use crate::binary;

/// Builds it, holds it to the rules of binaries, and leaves it at `target/init-aarch64`.
pub(crate) fn check(workspace: &Path) -> Result<()> {
    let toolchain = Toolchain::get(Arch::Aarch64)
        .context("aarch64 was NOT checked: there is no standard library for it")?;
    let program = toolchain.build(workspace)?;
    let kept = workspace.join("target/init-aarch64");
    std::fs::copy(&program, &kept).with_context(|| format!("write {}", kept.display()))?;
    binary::check(&kept)
}
