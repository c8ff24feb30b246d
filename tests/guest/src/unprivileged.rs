//! The library in a user namespace, where this process is root over nothing of the machine's.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use berth::container::devices;
use berth::error::Fault;
use berth::sys::mount::Detached;
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat, openat};
use rustix::mount::MountAttrFlags;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::facts;

/// Becomes the program, as root of a user namespace in which no others may be made.
pub(crate) fn without_namespaces(program: &str, words: &[&str]) -> Result<()> {
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    // SAFETY: no table of descriptors is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {} 1", uid.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("0 {} 1", gid.as_raw()))?;
    fs::write("/proc/sys/user/max_user_namespaces", "0")?;
    Err(Command::new(program).args(words).exec()).context("execute it")
}

/// Makes a `/dev` on `/tmp` and looks at what is in it.
pub(crate) fn dev() -> Result<()> {
    // SAFETY: no table of descriptors is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", "0 0 1")?;
    fs::write("/proc/self/gid_map", "0 0 1")?;

    let none = MountAttrFlags::empty();
    let dev = Detached::new("tmpfs", "tmpfs", &mut std::iter::empty(), none).map_err(fault)?;
    let null = makedev(1, 3);
    let made = mknodat(dev.root(), "x", FileType::CharacterDevice, Mode::RUSR, null);
    ensure!(made.is_err(), "nodes can be made here");
    let nodes = devices::populate(dev.root()).map_err(fault)?;
    let target = openat(CWD, "/tmp", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    dev.attach(target.as_fd())?;
    nodes.bind(dev.root()).map_err(fault)?;

    let names = ["null", "zero", "full", "random", "urandom", "tty"];
    let paths = names.map(|name| format!("/tmp/{name}"));
    facts::nodes(&paths.each_ref().map(String::as_str))?;
    fs::write("/tmp/null", "into nothing").context("write to null")?;
    println!("points to {}", fs::read_link("/tmp/fd")?.display());
    facts::mounts("mount", "/proc/self/mountinfo")
}

fn fault(fault: Fault) -> anyhow::Error {
    anyhow!("{fault}")
}
