//! Where the things that are made are kept.

use std::path::{Path, PathBuf};

/// The workspace's `target/`. Fixed when the crate is built, so that a test and `berth-qemu` share
/// one cache whatever directory they are started in.
pub fn target_dir() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).join("target")
}

/// `target/vm/<name>/`: the logs and disks of the machine of that name.
pub fn vm_dir(name: &str) -> PathBuf {
    target_dir().join("vm").join(name)
}
