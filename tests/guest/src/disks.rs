//! A container that has the directory of disks, and says what it sees in it.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, kill_process};

use crate::facts;

/// Where the container has the directory of disks.
const DISKS: &str = "/mnt";

/// A disk of this name ends the container.
const END: &str = "END";

/// Prints the names of the disks that are mounted, each time that they are others; until the disk
/// `END` comes, or as many times as `rounds` says.
pub(crate) fn watch(rounds: Option<usize>) -> Result<()> {
    let mut before = None;
    let mut left = rounds.unwrap_or(usize::MAX);
    each_change(&mut |names| {
        if before.as_deref() != Some(names) {
            println!("disks {}", names.join(" "));
            before = Some(names.to_vec());
            left -= 1;
        }
        Ok(left > 0 && !names.iter().any(|name| name == END))
    })
}

/// Mounts something of its own beside the disks, and inside the disk `name` when it comes; then
/// says what it sees, as [`watch`].
pub(crate) fn intrude(name: &str) -> Result<()> {
    wait_for(name)?;
    for place in [format!("{DISKS}/{name}/inside"), format!("{DISKS}/own")] {
        let made = fs::create_dir(&place)
            .and_then(|()| Ok(mount("own", &place, "tmpfs", MountFlags::empty(), None)?));
        match made {
            Ok(()) => println!("mounted {place}"),
            Err(error) => println!("mounted {place}: {}", facts::name_of(&error)),
        }
    }
    watch(None)
}

/// Writes to the disk `name` until that fails, and says how.
pub(crate) fn write(name: &str) -> Result<()> {
    let path = wait_for(name)?.join("file");
    let mut file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    println!("writing");
    let block = [0x5a; 64 * 1024];
    let error = loop {
        let written = file.rewind().and_then(|()| file.write_all(&block));
        if let Err(error) = written.and_then(|()| file.sync_all()) {
            break error;
        }
    };
    println!("failed {}", facts::name_of(&error));
    Ok(())
}

/// Prints what a file in the directory of disks holds, and whether a new one can be written beside
/// it and executed, once the disk `name` is there.
pub(crate) fn use_disk(name: &str, file: &str) -> Result<()> {
    let directory = wait_for(name)?;
    println!("read {}", fs::read_to_string(directory.join(file))?.trim());
    let program = directory.join("program");
    // A script: there is no room for the program itself.
    match fs::write(&program, "#!/bin/guest\n") {
        Ok(()) => println!("written"),
        Err(error) => println!("written {}", facts::name_of(&error)),
    }
    match std::process::Command::new(&program)
        .arg("say")
        .arg("x")
        .status()
    {
        Ok(status) => println!("executed {status}"),
        Err(error) => println!("executed {}", facts::name_of(&error)),
    }
    Ok(())
}

/// Waits for the disk `name`, and says where it is.
pub(crate) fn wait_for(name: &str) -> Result<PathBuf> {
    each_change(&mut |names| Ok(!names.iter().any(|other| other == name)))?;
    Ok(Path::new(DISKS).join(name))
}

/// Calls `visit` with the names of the disks now, and again after each change of the mounts, until
/// it answers `false`. The kernel tells who polls that file (proc(5)).
fn each_change(visit: &mut dyn FnMut(&[String]) -> Result<bool>) -> Result<()> {
    let mut mounts = File::open("/proc/self/mountinfo").context("open mountinfo")?;
    loop {
        let mut text = String::new();
        mounts.rewind()?;
        mounts.read_to_string(&mut text)?;
        if !visit(&names(&text))? {
            return Ok(());
        }
        poll(&mut [PollFd::new(&mounts, PollFlags::PRI)], None)?;
    }
}

/// The names below the directory of disks on which something is mounted, in order.
fn names(mounts: &str) -> Vec<String> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let names = points.filter_map(|point| point.strip_prefix(DISKS)?.strip_prefix('/'));
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// Kills who looks at a disk, by a signal that a broken program gets; the disk is one that answers
/// slowly, and comes after the disk `name`.
pub(crate) fn kill_who_looks(name: &str) -> Result<()> {
    wait_for(name)?;
    // A child that waits for a device is not to be heard of otherwise.
    let child = loop {
        match slow_child()? {
            Some(child) => break child,
            None => sleep(Duration::from_millis(5)),
        }
    };
    kill_process(child, Signal::SEGV)?;
    Ok(())
}

/// A child of the process that looks after disks which waits for a device (proc_pid_stat(5), `D`).
fn slow_child() -> Result<Option<Pid>> {
    for entry in fs::read_dir("/proc")? {
        let directory = entry?.path();
        let read = |name| fs::read(directory.join(name)).unwrap_or_default();
        let (line, stat) = (read("cmdline"), read("stat"));
        let mut words = line.split(|byte| *byte == 0);
        let stat = String::from_utf8_lossy(&stat);
        let state = stat.rsplit(") ").next().unwrap_or_default();
        if words.any(|word| word == b"pid1-disks") && state.starts_with('D') {
            let number = directory.file_name().and_then(|name| name.to_str());
            let number = number.and_then(|number| number.parse().ok());
            return Ok(number.and_then(Pid::from_raw));
        }
    }
    Ok(None)
}
