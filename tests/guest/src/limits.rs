//! What a container notices of its control group: its limits, the devices that it may use, the
//! groups that it may make.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use berth::errno::Name;
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat, open};
use rustix::io::Errno;

/// Where the hierarchy, or a part of it, is mounted.
const GROUP: &str = "/sys/fs/cgroup";

/// Prints what these files of its group hold.
pub(crate) fn show(files: &[&str]) -> Result<()> {
    for file in files {
        match fs::read_to_string(format!("{GROUP}/{file}")) {
            Ok(text) => println!("limit {file} {}", text.trim().replace('\n', ", ")),
            Err(error) => println!("limit {file} {}", crate::facts::name_of(&error)),
        }
    }
    let set = rustix::thread::sched_getaffinity(None)?;
    println!("processors {}", set.count());
    print!("group {}", fs::read_to_string("/proc/self/cgroup")?);
    Ok(())
}

/// Takes memory until the kernel ends it for that.
pub(crate) fn use_memory() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(vec![1u8; 1 << 20]);
    }
}

/// Makes processes until the kernel makes no more; at most `most`.
pub(crate) fn fill(most: usize) -> Result<()> {
    let mut children = Vec::new();
    let error = loop {
        ensure!(children.len() < most, "no end after {most}");
        match Command::new("/bin/guest").arg("stay").spawn() {
            Ok(child) => children.push(child),
            Err(error) => break error,
        }
    };
    println!(
        "filled {} {}",
        children.len(),
        crate::facts::name_of(&error)
    );
    for mut child in children {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

/// Prints what time it is, again and again.
pub(crate) fn tick() -> ! {
    loop {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        println!("at {}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Lets nobody make a process, nor map memory, any more.
pub(crate) fn starve_for_good() -> Result<()> {
    for (limit, value) in [
        ("kernel/threads-max", "20"),
        ("vm/overcommit_kbytes", "0"),
        ("vm/overcommit_ratio", "0"),
        ("vm/overcommit_memory", "2"),
    ] {
        fs::write(format!("/proc/sys/{limit}"), value)?;
    }
    Ok(())
}

/// Lets nobody make a process until there is a line on standard input.
pub(crate) fn starve() -> Result<()> {
    const LIMIT: &str = "/proc/sys/kernel/threads-max";
    let before = fs::read_to_string(LIMIT)?;
    // The least that the kernel takes; its own threads are more.
    fs::write(LIMIT, "20")?;
    println!("starved");
    std::io::stdin().read_line(&mut String::new())?;
    Ok(fs::write(LIMIT, before)?)
}

/// Prints the limit of processes of its group, and what there is of them on the machine.
pub(crate) fn share() -> Result<()> {
    let read = |file: &str| -> Result<String> { Ok(fs::read_to_string(file)?.trim().to_owned()) };
    let number = |file: &str| -> Result<u64> { Ok(read(file)?.parse()?) };
    let limits = ["pid_max", "threads-max"].map(|name| format!("/proc/sys/kernel/{name}"));
    let all = number(&limits[0])?.min(number(&limits[1])?);
    let own = read(&format!("{GROUP}/pids.max"))?;
    println!("share {own} of {all}");
    Ok(())
}

/// Uses more memory than it may.
pub(crate) fn devour(mib: usize) -> Result<()> {
    let memory = vec![1u8; mib << 20];
    println!(
        "devoured {} of it",
        memory.iter().filter(|byte| **byte == 1).count()
    );
    Ok(())
}

/// For each of these, `<kind><major>:<minor>`, makes a node and opens it in each way; `b` alone is
/// the device below `/mnt`.
pub(crate) fn try_devices(devices: &[&str]) -> Result<()> {
    for name in devices {
        let kind = match name.as_bytes().first() {
            Some(b'b') => FileType::BlockDevice,
            _ => FileType::CharacterDevice,
        };
        let number = match name.get(1..).and_then(|numbers| numbers.split_once(':')) {
            Some((major, minor)) => makedev(major.parse()?, minor.parse()?),
            None => fs::metadata("/mnt")?.dev(),
        };
        let path = format!("/tmp/{name}");
        let made = mknodat(CWD, &path, kind, Mode::from_raw_mode(0o600), number);
        println!("device {name} mknod {}", word(made));
        if made.is_ok() {
            for (way, flags) in [
                ("r", OFlags::RDONLY),
                ("w", OFlags::WRONLY),
                ("rw", OFlags::RDWR),
            ] {
                let opened = open(&path, flags | OFlags::NONBLOCK, Mode::empty()).map(drop);
                println!("device {name} {way} {}", word(opened));
            }
        }
    }
    // Where nodes cannot be made, those of /dev are still there.
    for name in ["null", "zero"] {
        let opened = File::options()
            .read(true)
            .write(true)
            .open(format!("/dev/{name}"));
        let file_type = fs::metadata(format!("/dev/{name}"))?.file_type();
        ensure!(file_type.is_char_device());
        println!(
            "device {name} rw {}",
            opened.map_or_else(|e| crate::facts::name_of(&e), |_| "ok".to_owned())
        );
    }
    Ok(())
}

fn word(result: Result<(), Errno>) -> String {
    result.map_or_else(|errno| Name(errno).to_string(), |()| "ok".to_owned())
}

/// Leaves groups behind: many side by side, and some in each other, of which the last holds a
/// process.
pub(crate) fn nest(count: usize, depth: usize) -> Result<()> {
    for number in 0..count {
        fs::create_dir_all(format!("{GROUP}/many{number}/below"))?;
    }
    let mut path = format!("{GROUP}/deep");
    for _ in 0..depth {
        fs::create_dir(&path).with_context(|| path.clone())?;
        path.push_str("/x");
    }
    let last = path.trim_end_matches("/x");
    let last = format!("{}{}", last, "/x".repeat(depth - 1));
    let child = Command::new("/bin/guest").arg("stay").spawn()?;
    fs::write(format!("{last}/cgroup.procs"), child.id().to_string())?;
    println!(
        "nested {}",
        fs::read_to_string(format!("/proc/{}/cgroup", child.id()))?
            .trim()
            .len()
    );
    // The limits of its own group are not its affair, whatever it may do below.
    for (file, text) in [("pids.max", "1000"), ("many0/pids.max", "5")] {
        match fs::write(format!("{GROUP}/{file}"), text) {
            Ok(()) => println!("wrote {file}"),
            Err(error) => println!("wrote {file} not: {}", crate::facts::name_of(&error)),
        }
    }
    Ok(())
}

/// Sees the whole hierarchy, and waits until none of these groups is there any more.
pub(crate) fn wait_until_gone(groups: &[&str]) -> Result<()> {
    /// How often others get a turn meanwhile.
    const TURNS: u32 = 1_000_000;
    crate::facts::mounts("mount", "/proc/self/mountinfo")?;
    for group in groups {
        let mut turns = 0;
        while fs::exists(format!("{GROUP}/{group}"))? && turns < TURNS {
            std::thread::yield_now();
            turns += 1;
        }
        println!(
            "group {group} {}",
            if fs::exists(format!("{GROUP}/{group}"))? {
                "stays"
            } else {
                "gone"
            }
        );
    }
    Ok(())
}
