//! The socket of a control port: made for QEMU, found by clients, used by one of them at a time.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use std::{process, thread};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, Mode, OFlags, chmod, flock, open};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen as start, socket_with,
};

/// How long one waits for another client before the user is told.
const UNTOLD: Duration = Duration::from_secs(1);

/// Makes a socket there that only its owner can connect to, for QEMU to accept on. One that nobody
/// listens on any more is replaced.
///
/// # Errors
/// Somebody listens there, something else is there, or it cannot be made.
pub(crate) fn listen(path: &Path) -> Result<OwnedFd> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            bail!("{} is there, and no socket", path.display())
        }
        Ok(_) if connect_to(path).is_ok() => bail!(
            "{} is the control socket of a machine that runs: end that, or use --control with \
             another name",
            path.display()
        ),
        Ok(_) => fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?,
        Err(_) => {}
    }
    make(path).with_context(|| format!("make the socket {}", path.display()))
}

fn make(path: &Path) -> Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let (address, _dir) = address(path)?;
    bind(&socket, &address)?;
    // Nobody can connect before it listens.
    chmod(path, Mode::RUSR | Mode::WUSR)?;
    start(&socket, 1)?;
    Ok(socket)
}

/// The address of a path. One that is too long for that is named by its directory, which has to
/// stay open meanwhile.
fn address(path: &Path) -> Result<(SocketAddrUnix, Option<OwnedFd>)> {
    if let Ok(address) = SocketAddrUnix::new(path) {
        return Ok((address, None));
    }
    let parent = path.parent().context("a path without a directory")?;
    let name = path.file_name().context("a path without a name")?;
    let dir = open(
        parent,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    Ok((SocketAddrUnix::new(short)?, Some(dir)))
}

/// Connects to the socket there.
///
/// # Errors
/// No machine is behind it.
pub(crate) fn connect(path: &Path) -> Result<UnixStream> {
    connect_to(path).map_err(|error| {
        let path = path.display();
        match error.downcast_ref::<Errno>() {
            Some(&Errno::NOENT | &Errno::CONNREFUSED) => anyhow!(
                "no machine has its control socket at {path}: `make run` starts one, and \
                 --socket names another"
            ),
            _ => error.context(format!("connect to {path}")),
        }
    })
}

fn connect_to(path: &Path) -> Result<UnixStream> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let (address, _dir) = address(path)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket.into())
}

/// The right to use a socket. QEMU lets one client in and keeps the others waiting without a word.
pub(crate) struct Lock {
    /// Held until it is closed. None where no file can be made beside the socket.
    _file: Option<File>,
}

impl Lock {
    /// Takes it, for a process that is known to others as `name`. While another has it, `tell` is
    /// called with that one's name, and it is waited for.
    ///
    /// # Errors
    /// The lock cannot be taken at all.
    pub(crate) fn take(socket: &Path, name: &str, tell: impl FnOnce(&str)) -> Result<Self> {
        let path = lock_file(socket);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let Ok(mut file) = file else {
            return Ok(Self { _file: None });
        };
        let (taken, taking) = mpsc::channel();
        let waits = file.try_clone()?;
        thread::spawn(move || taken.send(flock(&waits, FlockOperation::LockExclusive)));
        let result = taking.recv_timeout(UNTOLD).or_else(|_| {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            tell(holder.trim());
            taking.recv()
        });
        result?.with_context(|| format!("lock {}", path.display()))?;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "process {}: {name}", process::id())?;
        Ok(Self { _file: Some(file) })
    }
}

/// Removes the socket of a machine that has ended, and what is beside it.
pub fn remove(socket: &Path) {
    // QEMU removes the socket too.
    let _ = fs::remove_file(socket);
    let _ = fs::remove_file(lock_file(socket));
}

fn lock_file(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
