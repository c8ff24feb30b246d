//! Bad neighbours, and a good one to live beside them.

use std::fs;
use std::io::{ErrorKind, Write};
use std::process::Command;
use std::time::{Duration, Instant};

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
        // The first process of a PID namespace has to reap the orphans in it itself.
        reap(libc::WNOHANG);
    }
    reap(0);
    println!("orphans {count}");
    Ok(())
}

fn reap(options: i32) {
    // SAFETY: as above.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), options) } > 0 {}
}

/// Leaves one process behind that holds a file open for writing and does not care for signals. It
/// takes the longer to end the more memory it has: that is given back before files are closed.
pub(crate) fn leave_a_writer(mib: usize) -> Result<()> {
    let memory = vec![1u8; mib << 20];
    let mut file = fs::File::create("/tmp/open")?;
    ignore(libc::SIGTERM);
    // SAFETY: there is one thread; the child only writes and sleeps.
    if unsafe { libc::fork() } == 0 {
        file.write_all(&memory[..memory.len().min(1)])?;
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

/// Writes `bytes` bytes to standard output, or without end if there is no number, in lines or in
/// one.
pub(crate) fn flood(bytes: Option<usize>, in_lines: bool) -> Result<()> {
    let mut chunk = [b'x'; 64 * 1024];
    if in_lines {
        chunk
            .iter_mut()
            .skip(63)
            .step_by(64)
            .for_each(|byte| *byte = b'\n');
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

/// Waits for SIGTERM, and ends with a status of its own.
pub(crate) fn until_asked() -> ! {
    let mut signals = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset(3) makes the set that the others use; they take no other pointers but
    // null, for what is not wanted.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, signals.as_ptr(), std::ptr::null_mut());
        // The library has ignored it.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        println!("waiting");
        // A freeze interrupts it (signal(7)).
        while libc::sigwaitinfo(signals.as_ptr(), std::ptr::null_mut()) == -1 {}
    }
    println!("asked to end");
    std::process::exit(5)
}

/// Kills every process that it can see but itself, from its first process and from another one.
pub(crate) fn kill_all() -> Result<()> {
    let mut victim = Command::new("/proc/self/exe").arg("stay").spawn()?;
    // SAFETY: kill(2) takes no pointers; -1 is every process that may be signalled.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    ensure!(!victim.wait()?.success(), "the victim lives");
    let killer = Command::new("/proc/self/exe").arg("kill-first").status()?;
    println!(
        "killed all, {}",
        if killer.success() {
            "and the first process lives"
        } else {
            "and was killed"
        }
    );
    Ok(())
}

/// Sends a signal to the first process of its PID namespace.
pub(crate) fn signal_first(signal: i32) {
    // SAFETY: as above.
    unsafe { libc::kill(1, signal) };
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
        let status = Command::new("/proc/self/exe")
            .args(["exit", "0"])
            .status()?;
        ensure!(status.success(), "round {round}: {status}");
        let text = format!("round {round}");
        fs::write("/tmp/work", &text)?;
        ensure!(
            fs::read_to_string("/tmp/work")? == text,
            "round {round}: the file changed"
        );
    }
    println!("worked {rounds}");
    Ok(())
}

/// Waits for a line on standard input, then prints what PID 1 and the host have by now.
pub(crate) fn audit() -> Result<()> {
    /// How long killed processes may take to go, and PID 1 to reap them and have what is left of
    /// them cleared away.
    const PATIENCE: Duration = Duration::from_secs(60);
    println!("waiting");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    crate::host::join()?;
    /// So often PID 1 has had its turn and has nothing more to close.
    const QUIET: u32 = 20;
    let descriptors = || fs::read_dir("/proc/1/fd").map(Iterator::count);
    let (mut open, mut quiet) = (descriptors()?, 0);
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        // This container has a group itself.
        if zombies()? == 0 && groups()? == 1 && quiet >= QUIET {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        let now = descriptors()?;
        quiet = if now == open { quiet + 1 } else { 0 };
        open = now;
    }
    println!("audit descriptors {open}");
    let mounts = fs::read_to_string("/proc/1/mountinfo")?;
    println!("audit mounts {}", mounts.lines().count());
    println!("audit cgroups {}", groups()?);
    println!("audit zombies {}", zombies()?);
    println!("audit done");
    Ok(())
}

fn groups() -> Result<usize> {
    let entries = fs::read_dir("/sys/fs/cgroup/berth")?.filter_map(Result::ok);
    Ok(entries.filter(|entry| entry.path().is_dir()).count())
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

pub(crate) fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is no handler that could do anything.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}
