//! QEMU as a child process, and the threads that listen to it.
//!
//! Console, QMP and ports are socket pairs whose other ends QEMU inherits: connected before it
//! runs, so that not a byte is lost, and without names that could clash or be too long. Only the
//! control port has a name, for those who come while the machine runs.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::{Context, Result, anyhow};
use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};

use super::watch::Watch;

/// The first descriptor that is free for QEMU, behind the standard ones.
const FIRST_FD: i32 = 3;

/// Socket pairs on their way to QEMU.
#[derive(Default)]
pub(crate) struct Sockets {
    mappings: Vec<FdMapping>,
}

impl Sockets {
    /// One more socket. Returns our end, and the number of the descriptor that QEMU's end will be.
    pub(crate) fn add(&mut self) -> Result<(UnixStream, i32)> {
        let (ours, theirs) = UnixStream::pair().context("make a socket pair")?;
        Ok((ours, self.pass(theirs.into())?))
    }

    /// One more descriptor. Returns its number in QEMU.
    pub(crate) fn pass(&mut self, parent_fd: OwnedFd) -> Result<i32> {
        let child_fd = FIRST_FD + i32::try_from(self.mappings.len())?;
        self.mappings.push(FdMapping {
            parent_fd,
            child_fd,
        });
        Ok(child_fd)
    }
}

/// The running QEMU.
pub(crate) struct Process {
    pidfd: rustix::fd::OwnedFd,
}

impl Process {
    /// Starts the command with the sockets, its messages kept in the file `complaints`. Its end is
    /// told to `watch`.
    pub(crate) fn start(
        mut command: Command,
        sockets: Sockets,
        complaints: &Path,
        watch: Arc<Watch>,
    ) -> Result<Self> {
        let stderr =
            File::create(complaints).with_context(|| format!("create {}", complaints.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        command.fd_mappings(sockets.mappings)?;
        // SAFETY: prctl(2) is one system call and allocates nothing, so it may run between fork and
        // exec.
        unsafe {
            command.pre_exec(|| {
                set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)
            });
        }
        let complaints = complaints.to_owned();
        let (started, starting) = mpsc::channel();
        // The death signal follows the thread that forked, so that thread stays until QEMU is gone.
        thread::spawn(move || {
            let spawned = command.spawn();
            // The command holds QEMU's ends of the sockets, and would keep them open.
            drop(command);
            let mut child = match spawned.and_then(|child| Ok((open(&child)?, child))) {
                Ok((pidfd, child)) => {
                    let _ = started.send(Ok(pidfd));
                    child
                }
                Err(e) => {
                    let _ = started.send(Err(e));
                    return;
                }
            };
            let status = child.wait();
            let complaint = fs::read_to_string(complaints).unwrap_or_default();
            // Only a caller that reaped our child could make waiting fail.
            let status = status.expect("QEMU is this thread's child");
            watch.add(|seen| seen.set_exit(status, complaint));
        });
        let pidfd = starting
            .recv()
            .map_err(|_| anyhow!("the thread that starts QEMU died"))?;
        Ok(Self {
            pidfd: pidfd.context("start QEMU: run `berth-qemu setup`")?,
        })
    }

    /// Kills it. It may be gone already.
    pub(crate) fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

fn open(child: &Child) -> io::Result<rustix::fd::OwnedFd> {
    let pid = Pid::from_child(child);
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Reads the console to its end, into the log, onto the screen if there is one, and into `watch`.
pub(crate) fn follow_console(
    mut console: UnixStream,
    mut log: File,
    mut screen: Option<Box<dyn Write + Send>>,
    watch: Arc<Watch>,
) {
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        // QEMU that is killed resets the connection: an end like another.
        while let Ok(count @ 1..) = console.read(&mut bytes) {
            let bytes = &bytes[..count];
            // A full disk or a closed terminal must not stop the guest, which would wait for its
            // console.
            let _ = log.write_all(bytes);
            if let Some(screen) = &mut screen {
                let _ = screen.write_all(bytes).and_then(|()| screen.flush());
            }
            watch.add(|seen| seen.add_console(bytes));
        }
        watch.add(|seen| seen.close_stream());
    });
}

/// Reads the event port to its end, into the log and into `watch`.
pub(crate) fn follow_events(events: UnixStream, mut log: File, watch: Arc<Watch>) {
    thread::spawn(move || {
        for line in BufReader::new(events).lines().map_while(Result::ok) {
            let _ = writeln!(log, "{line}");
            watch.add(|seen| seen.add_event(&line));
        }
        watch.add(|seen| seen.close_stream());
    });
}

/// Runs `read` to its end, which is the end of a stream.
pub(crate) fn follow(read: impl FnOnce() + Send + 'static, watch: Arc<Watch>) {
    thread::spawn(move || {
        read();
        watch.add(|seen| seen.close_stream());
    });
}
