//! The library's mountat and unmountat, under parents of each propagation, with and without procfs,
//! and against somebody who renames what is mounted on.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use berth::parse::mount_options::Propagation;
use berth::sys::mount::at::{mountat, unmountat};
use berth::sys::mount::{Detached, set_propagation};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, open, renameat_with};
use rustix::mount::{MountAttrFlags, MountFlags, mount};

const PARENT: &str = "/tmp/parent";
const OUTSIDE: &str = "/tmp/outside";

/// How often the renamer is to be met.
const ROUNDS: usize = 1_000;

/// Checks all of it; says what was checked, or how it failed.
pub(crate) fn check() -> Result<()> {
    fs::create_dir_all(PARENT)?;
    fs::create_dir_all(OUTSIDE)?;
    let procfs = directory("/proc")?;
    for (name, propagation) in [
        ("shared", Propagation::Shared),
        ("private", Propagation::Private),
        ("slave", Propagation::Slave),
    ] {
        mount("parent", PARENT, "tmpfs", MountFlags::empty(), None)?;
        if propagation == Propagation::Slave {
            // A slave is one of a shared mount: the copy of a peer group's.
            set_propagation(PARENT, Propagation::Shared).map_err(fault)?;
            let copy = Detached::copy_of(directory(PARENT)?.as_fd(), false)?;
            copy.set_propagation(Propagation::Slave, false)?;
            copy.attach(directory(PARENT)?.as_fd())?;
        } else {
            set_propagation(PARENT, propagation).map_err(fault)?;
        }
        let parent = directory(PARENT)?;
        fs::create_dir(format!("{PARENT}/d"))?;
        fs::write(format!("{PARENT}/f"), "below")?;
        symlink(OUTSIDE, format!("{PARENT}/link"))?;

        for procfs in [Some(procfs.as_fd()), None] {
            let way = if procfs.is_some() { "with" } else { "without" };
            mountat(&tmpfs()?, parent.as_fd(), "d").map_err(fault)?;
            ensure!(
                fs::exists(format!("{PARENT}/d/mark"))?,
                "{name}: not mounted"
            );
            unmountat(parent.as_fd(), "d", procfs).map_err(fault)?;
            ensure!(
                !fs::exists(format!("{PARENT}/d/mark"))?,
                "{name}: not unmounted"
            );
            let again = unmountat(parent.as_fd(), "d", procfs);
            println!("{name} {way} procfs, again {}", errno(again));
        }

        let file = Detached::copy_of(
            open("/bin/guest", OFlags::PATH, Mode::empty())?.as_fd(),
            false,
        )?;
        mountat(&file, parent.as_fd(), "f").map_err(fault)?;
        println!(
            "{name} file without procfs {}",
            errno(unmountat(parent.as_fd(), "f", None))
        );
        unmountat(parent.as_fd(), "f", Some(procfs.as_fd())).map_err(fault)?;
        ensure!(fs::read_to_string(format!("{PARENT}/f"))? == "below");

        println!(
            "{name} link {}",
            errno(mountat(&tmpfs()?, parent.as_fd(), "link"))
        );
        println!(
            "{name} way out {}",
            errno(mountat(&tmpfs()?, parent.as_fd(), "../outside"))
        );
        race(&parent).with_context(|| format!("{name}: race"))?;
        println!("{name} raced");
        unmountat(directory("/tmp")?.as_fd(), "parent", None).map_err(fault)?;
        if propagation == Propagation::Slave {
            unmountat(directory("/tmp")?.as_fd(), "parent", None).map_err(fault)?;
        }
    }
    println!("directory {}", std::env::current_dir()?.display());
    Ok(())
}

/// Somebody exchanges the directory and a link to another one, as fast as they can.
fn race(parent: &OwnedFd) -> Result<()> {
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                // Busy while something is mounted on it.
                let _ = renameat_with(parent, "d", parent, "link", RenameFlags::EXCHANGE);
            }
        });
        let result = (0..ROUNDS).try_for_each(|_| {
            if mountat(&tmpfs()?, parent.as_fd(), "d").is_ok() {
                ensure!(!fs::exists(format!("{OUTSIDE}/mark"))?, "mounted outside");
                // The directory was mounted on, whatever it is called by now; while it is, it keeps
                // its name, but for the one exchange that had found it free before: so the first
                // name is tried once more.
                unmountat(parent.as_fd(), "d", None)
                    .or_else(|_| unmountat(parent.as_fd(), "link", None))
                    .or_else(|_| unmountat(parent.as_fd(), "d", None))
                    .map_err(fault)?;
            }
            Ok(())
        });
        ends.store(true, Ordering::Relaxed);
        result
    })?;
    ensure!(!fs::exists(format!("{OUTSIDE}/mark"))?, "mounted outside");
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!mounts.contains(OUTSIDE), "{mounts}");
    Ok(())
}

/// A filesystem with a file in it, mounted nowhere.
fn tmpfs() -> Result<Detached> {
    let made = Detached::new(
        "tmpfs",
        "marked",
        &mut std::iter::empty(),
        MountAttrFlags::empty(),
    );
    let made = made.map_err(fault)?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(made.root(), "mark", flags, Mode::from_raw_mode(0o644))?;
    Ok(made)
}

fn directory(path: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, path, flags, Mode::empty());
    opened.with_context(|| path.to_owned())
}

fn fault(fault: berth::error::Fault) -> anyhow::Error {
    anyhow::anyhow!("{fault}")
}

fn errno(result: Result<(), berth::error::Fault>) -> String {
    match result {
        Ok(()) => "done".to_owned(),
        Err(fault) => berth::errno::Name(fault.errno).to_string(),
    }
}
