//! Bad neighbours, and a good one to live beside them.

use std::fs;
use std::io::{ErrorKind, Write};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Makes `count` processes whose parents end before them, as fast as it can.
pub(crate) fn orphans(count: u32) -> Result<()> {
    for _ in 0..count {
        // SAFETY: there is one thread, and the children do nothing but fork and _exit.
        match unsafe { libc::fork() } {
            -1 => return Err(std::io::Error::last_os_error()).context("fork"),
            0 => unsafe {
                // SAFETY: as above.
                libc::fork();
                libc::_exit(0);
            },
            // SAFETY: the status is not wanted; waitpid(2) takes null for that.
            child => unsafe {
                libc::waitpid(child, std::ptr::null_mut(), 0);
            },
        }
    }
    // Where this is the first process of a PID namespace, the orphans are its own to reap.
    // SAFETY: as above.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {}
    println!("orphans {count}");
    Ok(())
}

/// Leaves one process behind that holds a file open for writing and does not care for signals.
pub(crate) fn leave_a_writer() -> Result<()> {
    let mut file = fs::File::create("/tmp/open")?;
    ignore(libc::SIGTERM);
    // SAFETY: there is one thread; the child only writes and sleeps.
    if unsafe { libc::fork() } == 0 {
        file.write_all(b"written")?;
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

/// Writes `bytes` bytes to standard output, or without end if there is no number, in lines or in one.
pub(crate) fn flood(bytes: Option<usize>, in_lines: bool) -> Result<()> {
    let mut chunk = [b'x'; 64 * 1024];
    if in_lines {
        chunk.iter_mut().skip(63).step_by(64).for_each(|byte| *byte = b'\n');
    }
    let mut left = bytes.unwrap_or(usize::MAX);
    let mut output = std::io::stdout().lock();
    while left > 0 {
        let len = left.min(chunk.len());
        output.write_all(&chunk[..len])?;
        if bytes.is_some() {
            left -= len;
        }
    }
    Ok(())
}

/// Stays, whatever it is asked.
pub(crate) fn stay() -> Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        ignore(signal);
    }
    println!("staying");
    loop {
        std::thread::park();
    }
}

/// Kills every process that it can see but itself, from its first process and from another one.
pub(crate) fn kill_all() -> Result<()> {
    let mut victim = Command::new("/proc/self/exe").arg("stay").spawn()?;
    // SAFETY: kill(2) takes no pointers; -1 is every process that may be signalled.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    ensure!(!victim.wait()?.success(), "the victim lives");
    let killer = Command::new("/proc/self/exe").arg("kill-first").status()?;
    println!("killed all, {}", if killer.success() { "and the first process lives" } else { "and was killed" });
    Ok(())
}

/// Tries to kill the first process of its PID namespace.
pub(crate) fn kill_first() {
    // SAFETY: as above.
    unsafe { libc::kill(1, libc::SIGKILL) };
}

/// Ends by this signal.
pub(crate) fn end_by(signal: i32) {
    // SAFETY: as above; raise(3) takes no pointers.
    unsafe { libc::raise(signal) };
}

/// Closes standard output and goes on.
pub(crate) fn close_output() -> Result<()> {
    println!("closing");
    // SAFETY: nobody uses the descriptor afterwards but to see that it is closed.
    unsafe { libc::close(1) };
    let error = std::io::stderr().write(b"still here\n").err();
    ensure!(error.is_none(), "standard error: {error:?}");
    // SAFETY: as above.
    let result = unsafe { libc::write(1, b"x".as_ptr().cast(), 1) };
    ensure!(result == -1, "standard output is still open");
    Ok(())
}

/// Does ordinary work: programs, files, output. Fails if any of it goes wrong.
pub(crate) fn work(rounds: u32) -> Result<()> {
    for round in 0..rounds {
        let status = Command::new("/proc/self/exe").args(["exit", "0"]).status()?;
        ensure!(status.success(), "round {round}: {status}");
        let text = format!("round {round}");
        fs::write("/tmp/work", &text)?;
        ensure!(fs::read_to_string("/tmp/work")? == text, "round {round}: the file changed");
    }
    println!("worked {rounds}");
    Ok(())
}

/// Waits for a line on standard input, then prints what PID 1 and the host have by now.
pub(crate) fn audit() -> Result<()> {
    println!("waiting");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    crate::host::join()?;
    println!("audit descriptors {}", fs::read_dir("/proc/1/fd")?.count());
    println!("audit mounts {}", fs::read_to_string("/proc/1/mountinfo")?.lines().count());
    let groups = fs::read_dir("/sys/fs/cgroup/berth")?.filter_map(Result::ok);
    println!("audit cgroups {}", groups.filter(|entry| entry.path().is_dir()).count());
    println!("audit zombies {}", zombies()?);
    println!("audit done");
    Ok(())
}

fn zombies() -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        // A process may end while the list is gone through.
        match fs::read_to_string(entry?.path().join("status")) {
            Ok(status) if status.contains("\nState:\tZ") => count += 1,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error.into()),
            _ => {}
        }
    }
    Ok(count)
}

fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is no handler that could do anything.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}
