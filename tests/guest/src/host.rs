//! What a container without a PID namespace sees of the host: the move onto the new root, from the
//! other side.
//!
//! The program joins the mount namespace of PID 1 (setns(2)) and prints what is there.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, mount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Joins the host's mount namespace.
pub(crate) fn join() -> Result<()> {
    let host = File::open("/proc/1/ns/mnt").context("open the host's mount namespace")?;
    move_into_link_name_space(host.as_fd(), Some(LinkNameSpaceType::Mount))
        .context("join the host's mount namespace")
}

/// Prints where `/` is, what PID 1 has open and mapped, with the device numbers, and the memory
/// that files in memory take.
pub(crate) fn describe() -> Result<()> {
    let init = fs::read_to_string("/proc/1/maps")?;
    join()?;
    println!("root on {}", fs::metadata("/")?.dev());
    for name in ["init", "etc", "lib", "sysroot"] {
        println!(
            "/{name} {}",
            if fs::symlink_metadata(format!("/{name}")).is_ok() {
                "exists"
            } else {
                "is gone"
            }
        );
    }
    for line in init.lines().filter(|line| line.contains('/')) {
        let mut fields = line.split_whitespace().skip(3);
        let device = fields.next().unwrap_or_default();
        println!(
            "mapped {} from {device}",
            fields.skip(1).collect::<Vec<_>>().join(" ")
        );
    }
    for entry in fs::read_dir("/proc/1/fd")? {
        let path = entry?.path();
        let (target, file) = (fs::read_link(&path)?, fs::metadata(&path)?);
        println!("open {} on {}", target.display(), file.dev());
    }
    // Pages of a ramfs are unevictable, pages of a tmpfs are shared memory
    // (Documentation/filesystems/proc.rst).
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib = |name: &str| -> Option<u64> {
        memory.lines().find_map(|line| {
            line.strip_prefix(name)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
    };
    let files = kib("Unevictable:").unwrap_or(0) + kib("Shmem:").unwrap_or(0);
    println!("files in memory {files}");
    Ok(())
}

/// Mounts filesystems on the host and writes to them: one at a path longer than a name can be, one
/// at a path that is no text, and one behind so many mounts that are kept until the end that the
/// list of them is longer than 64 KiB.
pub(crate) fn mount_out_of_the_way() -> Result<()> {
    join()?;
    let name = "n".repeat(200);
    let none = MountFlags::empty();
    for number in 0..400 {
        let kept = PathBuf::from(format!("/dev/{number}-{name}"));
        fs::create_dir(&kept)?;
        mount("tmpfs", &kept, "tmpfs", none, None).context("mount a tmpfs")?;
    }
    let list = fs::read("/proc/self/mountinfo")?;
    ensure!(list.len() > 65536, "{} bytes of mounts", list.len());
    for (device, place) in [
        ("/dev/vda2", format!("/{name}/{name}/{name}").into_bytes()),
        ("/dev/vda3", b"/no\xfftext\xfe".to_vec()),
        ("/dev/vda4", b"/last".to_vec()),
    ] {
        let place = Path::new(OsStr::from_bytes(&place));
        fs::create_dir_all(place)?;
        mount(device, place, "ext4", none, None).with_context(|| format!("mount {device}"))?;
        fs::write(place.join("file"), "written")?;
    }
    println!("mounted");
    Ok(())
}

/// In the PID namespace of the host: waits until PID 1 has no other child.
pub(crate) fn wait_alone() -> Result<()> {
    let own = std::process::id().to_string();
    let is_alone = || {
        let children = fs::read_to_string("/proc/1/task/1/children")?;
        Ok::<_, std::io::Error>(children.trim() == own)
    };
    while !is_alone()? {
        std::thread::yield_now();
    }
    Ok(())
}

/// The same, and then until nothing is left of the devices that
/// they used.
pub(crate) fn outlast() -> Result<()> {
    wait_alone()?;
    let is_used = || {
        let mut devices = fs::read_dir("/sys/block")?.filter_map(Result::ok);
        Ok::<_, std::io::Error>(devices.any(|device| {
            let is_mapped = device.file_name().to_string_lossy().starts_with("dm-");
            is_mapped || device.path().join("loop/backing_file").exists()
        }))
    };
    while is_used()? {
        std::thread::yield_now();
    }
    println!("no loop device is in use, no device is mapped");
    Ok(())
}

/// Stops PID 1 as a debugger does, and stays, so that it remains stopped.
pub(crate) fn hold_first() -> Result<()> {
    const FIRST: libc::pid_t = 1;
    for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
        // SAFETY: neither request takes a pointer that is used.
        let result = unsafe { libc::ptrace(request, FIRST, 0_usize, 0_usize) };
        ensure!(
            result == 0,
            "PID 1 is not traced: {}",
            io::Error::last_os_error()
        );
    }
    loop {
        std::thread::park();
    }
}
