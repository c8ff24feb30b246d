//! Containers that say when they are ready, and one that steers them.

use std::fs;
use std::io::{BufRead, ErrorKind};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// What is sent before anything that counts.
const TRICKS: [&[u8]; 6] = [
    b"",
    b"READY=0",
    b"READY=10\nXREADY=1",
    b"STATUS=up",
    b"READY=1\0",
    b"ready=1",
];

/// More than a message may have.
const TOO_LONG: usize = 10_000;

/// So many messages are sent before one counts.
const FLOOD: usize = 1_000;

/// Waits until there is such a file, which others make on a machine that is busy.
fn wait_for(file: &str) {
    while !Path::new(file).exists() {
        thread::sleep(Duration::from_millis(5));
    }
}

struct Socket(UnixDatagram, String);

impl Socket {
    fn open() -> Result<Self> {
        let path = std::env::var("NOTIFY_SOCKET").context("no NOTIFY_SOCKET")?;
        Ok(Self(UnixDatagram::unbound()?, path))
    }

    fn say(&self, message: &[u8]) -> std::io::Result<()> {
        self.0.send_to(message, &self.1).map(drop)
    }
}

/// Says much that means nothing; when it is told to by a file, that it is ready; and fails when it
/// is told to.
pub(crate) fn serve() -> Result<ExitCode> {
    let socket = Socket::open()?;
    let mut long = b"READY=1\n".repeat(TOO_LONG / 8);
    long.resize(TOO_LONG, b'x');
    for trick in TRICKS.into_iter().chain([&*long]) {
        socket.say(trick)?;
    }
    println!("tricked");
    wait_for("/tmp/say");
    fs::remove_file("/tmp/say")?;
    socket.say(b"STATUS=up\nREADY=1\nX_MAINPID=1")?;
    wait_for("/tmp/fail");
    fs::remove_file("/tmp/fail")?;
    Ok(ExitCode::from(7))
}

/// Has another process flood the socket, and in the midst of that says that it is ready, if it
/// `is_ready`, and ends.
pub(crate) fn be_flooded(is_ready: bool) -> Result<()> {
    Command::new("/bin/guest").arg("flood-socket").spawn()?;
    wait_for("/tmp/flooded");
    if is_ready {
        Socket::open()?.say(b"READY=1")?;
    }
    println!("flooded");
    Ok(())
}

/// Floods the socket until nobody listens.
pub(crate) fn flood() -> Result<()> {
    let socket = Socket::open()?;
    let long = [b'x'; TOO_LONG];
    for count in 0.. {
        let message = if count % 2 == 0 {
            &long[..]
        } else {
            b"READY=2"
        };
        match socket.say(message) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
            Err(error) => bail!(error),
        }
        if count == FLOOD {
            fs::write("/tmp/flooded", "")?;
        }
    }
    Ok(())
}

/// Makes a file and the directories that it is in, or says nothing of it and mounts a filesystem
/// there first.
pub(crate) fn make(file: &str, on: &str) -> Result<()> {
    let path = Path::new(file);
    if on == "mount" {
        let directory = path.parent().context("no directory")?;
        rustix::mount::mount(
            "tmpfs",
            directory,
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            None,
        )?;
    }
    make_file(path)
}

fn make_file(path: &Path) -> Result<()> {
    fs::create_dir_all(path.parent().context("no directory")?)?;
    fs::write(path, "")?;
    Ok(())
}

/// Does what the lines of the terminal say, and says so.
pub(crate) fn steer() -> Result<()> {
    println!("steering");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["file", path] => make_file(Path::new(path))?,
            ["link", target, path] => {
                fs::create_dir_all(Path::new(path).parent().context("no directory")?)?;
                symlink(target, path)?;
            }
            ["kill", id] => {
                let pid = starter(id)?.context("nobody starts it")?;
                kill_process(pid, Signal::KILL)?;
            }
            ["weigh", id] => {
                let pid = starter(id)?.context("nobody starts it")?.as_raw_nonzero();
                weigh(&id_of(id), pid.get())?;
                weigh("PID 1", 1)?;
            }
            _ => bail!("what is {line}?"),
        }
        println!("did {line}");
    }
    Ok(())
}

fn id_of(id: &str) -> String {
    format!("berth for {id}")
}

/// The process that has started a container and stays.
fn starter(id: &str) -> Result<Option<Pid>> {
    for entry in fs::read_dir("/proc")? {
        let path: PathBuf = entry?.path();
        let Ok(words) = fs::read(path.join("cmdline")) else {
            continue;
        };
        let words: Vec<_> = words.split(|byte| *byte == 0).collect();
        let is_it = words.contains(&&b"pid1-start"[..]) && words.contains(&id.as_bytes());
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if is_it && let Some(number) = number {
            return Ok(Pid::from_raw(number));
        }
    }
    Ok(None)
}

/// Prints what of its memory a process shares with none, and all that is resident, in KiB.
fn weigh(name: &str, pid: i32) -> Result<()> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = |field: &str| -> Result<u64> {
        let mut lines = rollup.lines();
        let line = lines.find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no such field")?.parse()?)
    };
    let private = kib("Private_Dirty:")? + kib("Private_Clean:")?;
    println!(
        "{name} has {private} KiB of its own, {} KiB in all",
        kib("Rss:")?
    );
    ensure!(private > 0);
    Ok(())
}
