//! What a program was started with: user, rights, limits, scheduling. One fact a line: `<topic>
//! <value>`.

use std::fs::{self, OpenOptions};
use std::{env, io, mem};

use anyhow::{Result, ensure};

/// The lines of `/proc/self/status` (proc_pid_status(5)) that are about this.
const STATUS: [&str; 10] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
];

/// `struct sched_attr` (sched_setattr(2)).
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Prints everything.
pub(crate) fn tell() -> Result<()> {
    for line in fs::read_to_string("/proc/self/status")?.lines() {
        if let Some((name, value)) = line.split_once(":\t")
            && STATUS.contains(&name)
        {
            println!("{name} {}", value.trim().replace('\t', " "));
        }
    }
    println!(
        "oom {}",
        fs::read_to_string("/proc/self/oom_score_adj")?.trim()
    );
    println!(
        "domainname {}",
        fs::read_to_string("/proc/sys/kernel/domainname")?.trim()
    );
    println!("directory {}", env::current_dir()?.display());
    for resource in 0..16 {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` is what the call writes.
        let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
        ensure!(result == 0, io::Error::last_os_error());
        println!("limit {resource} {} {}", limit.rlim_cur, limit.rlim_max);
    }
    scheduling()?;
    // SAFETY: the calls take no pointers. IOPRIO_WHO_PROCESS is 1; the largest number asks for the
    // personality.
    let (io_priority, personality) = unsafe {
        (
            libc::syscall(libc::SYS_ioprio_get, 1, 0),
            libc::personality(0xffff_ffff),
        )
    };
    println!("io {} {}", io_priority >> 13, io_priority & 0x1fff);
    println!("personality {personality}");
    let stdout = OpenOptions::new().write(true).open("/dev/stdout");
    println!(
        "stdout {}",
        stdout.map_or_else(
            |error| super::facts::name_of(&error),
            |_| "opens".to_owned()
        )
    );
    Ok(())
}

fn scheduling() -> Result<()> {
    let mut found = SchedAttr::default();
    let size = mem::size_of::<SchedAttr>();
    // SAFETY: `found` is what the call writes, of the size given.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut found, size, 0) };
    ensure!(result == 0, io::Error::last_os_error());
    println!(
        "scheduler {} {:#x} {} {}",
        found.policy, found.flags, found.nice, found.priority
    );
    println!(
        "deadline {} {} {}",
        found.runtime, found.deadline, found.period
    );
    Ok(())
}

/// Prints how many arguments and variables there are, and the last of each.
pub(crate) fn count(words: &[&str]) {
    let variables: Vec<_> = env::vars().collect();
    println!("arguments {} {}", words.len(), words.last().unwrap_or(&""));
    let (name, value) = variables.last().cloned().unwrap_or_default();
    println!("variables {} {name} {}", variables.len(), value.len());
}

/// Prints which socket it is to notify, and says these there.
pub(crate) fn notify(messages: &[&str]) -> Result<()> {
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else {
        println!("none");
        return Ok(());
    };
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    for message in messages {
        socket.send_to(message.as_bytes(), &path)?;
    }
    println!("{path}");
    Ok(())
}
