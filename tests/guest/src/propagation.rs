//! Two sides of mount propagation: a container that watches its mounts, and one that acts on the
//! host.
//!
//! They meet through files in the observer's rootfs, and each wakes up by what it waits for: the
//! kernel tells who polls `/proc/self/mountinfo` when it changes (proc(5)), and inotify(7) tells of
//! files.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use crate::{facts, host};

/// Where the host's mount appears in the observer.
const TARGET: &str = "/mnt";

/// Tries a mount of its own, then waits for one of the host's to come and to go, and tries to get
/// out.
pub(crate) fn observe() -> Result<()> {
    facts::tell(&[])?;
    fs::create_dir_all("/tmp/own")?;
    match mount("own", "/tmp/own", "tmpfs", MountFlags::empty(), None) {
        Ok(()) => println!("own mount made"),
        Err(errno) => println!("own mount {}", facts::name_of(&errno.into())),
    }
    facts::mounts("then", "/proc/self/mountinfo")?;
    fs::write("/tmp/ready", "")?;
    wait_for_mount(true)?;
    println!(
        "mounted {}",
        fs::read_to_string(format!("{TARGET}/greeting"))?
    );
    fs::write("/tmp/seen", "")?;
    wait_for_mount(false)?;
    println!("unmounted {}", Path::new(TARGET).join("greeting").exists());
    println!("escape {}", escape());
    Ok(())
}

/// For each of the containers in `ids`: waits until it is ready, looks at the host's mounts, makes
/// one below its rootfs, and takes it away when it was seen.
pub(crate) fn act_on_host(ids: &[&str]) -> Result<()> {
    facts::namespaces("namespace", "self")?;
    facts::namespaces("host", "1")?;
    host::join()?;
    fs::write("/greeting/greeting", "hello from the host").or_else(|_| {
        fs::create_dir("/greeting")?;
        fs::write("/greeting/greeting", "hello from the host")
    })?;
    for id in ids {
        let rootfs = format!("/containers/{id}/rootfs");
        let target = format!("{rootfs}{TARGET}");
        wait_for_file(&format!("{rootfs}/tmp"), "ready")?;
        facts::mounts(id, "/proc/self/mountinfo")?;
        mount_bind("/greeting", &target).with_context(|| format!("mount on {target}"))?;
        wait_for_file(&format!("{rootfs}/tmp"), "seen")?;
        unmount(&target, UnmountFlags::DETACH).with_context(|| format!("unmount {target}"))?;
    }
    Ok(())
}

/// Waits until something is mounted on [`TARGET`], or nothing.
fn wait_for_mount(wanted: bool) -> Result<()> {
    let mut file = File::open("/proc/self/mountinfo")?;
    loop {
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        let is_there = text
            .lines()
            .any(|line| line.split(' ').nth(4) == Some(TARGET));
        if is_there == wanted {
            return Ok(());
        }
        poll(&mut [PollFd::new(&file, PollFlags::PRI)], None)?;
    }
}

/// Waits until there is a file of this name.
pub(crate) fn wait_for_file(directory: &str, name: &str) -> Result<()> {
    let watch = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, directory, WatchFlags::CREATE)
        .with_context(|| format!("watch {directory}"))?;
    while !Path::new(directory).join(name).exists() {
        rustix::io::read(&watch, &mut [0; 1024])?;
    }
    Ok(())
}

/// The classic way out of a chroot: a second one, and up from where the first no longer holds.
fn escape() -> String {
    let climb = || -> std::io::Result<()> {
        rustix::process::chroot("/tmp")?;
        for _ in 0..64 {
            std::env::set_current_dir("..")?;
        }
        Ok(rustix::process::chroot(".")?)
    };
    match climb() {
        Ok(()) if Path::new("/containers").exists() => "found the host".to_owned(),
        Ok(()) => "found nothing".to_owned(),
        Err(error) => facts::name_of(&error),
    }
}
