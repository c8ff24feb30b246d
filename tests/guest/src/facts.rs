//! What a container sees of itself, one fact a line: `<topic> <value>`.

use std::fs::{self, File, OpenOptions};
use std::io::{IsTerminal, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::ExitCode;
use std::{env, io};

use anyhow::Result;
use rustix::fs::{Mode, OFlags};

/// The namespaces that a container can have of its own, as `/proc/<pid>/ns` names them.
const NAMESPACES: [&str; 8] = ["mnt", "pid", "uts", "ipc", "cgroup", "net", "user", "time"];

/// Prints everything; `words` are the program's arguments.
pub(crate) fn tell(words: &[&str]) -> Result<()> {
    for word in words {
        println!("argument {word}");
    }
    for (name, value) in env::vars() {
        println!("variable {name}={value}");
    }
    println!("directory {}", env::current_dir()?.display());
    println!(
        "hostname {}",
        fs::read_to_string("/proc/sys/kernel/hostname")?.trim()
    );
    namespaces("namespace", "self")?;
    mounts("mount", "/proc/self/mountinfo")?;
    for line in fs::read_to_string("/proc/self/cgroup")?.lines() {
        println!("cgroup {line}");
    }
    for line in fs::read_to_string("/proc/self/status")?.lines() {
        if let Some(set) = line.strip_prefix("CapBnd:\t") {
            println!("capabilities {set}");
        }
    }
    for entry in fs::read_dir("/proc/self/fd")? {
        println!("descriptor {}", entry?.file_name().display());
    }
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            println!("process {}", name.display());
        }
    }
    devices()?;
    println!("root {}", writable("/.written"));
    Ok(())
}

/// Prints what `ps` would with these options: but for two that a test has, the options and all
/// processes.
pub(crate) fn processes(options: &[&str]) -> Result<ExitCode> {
    match options {
        ["--nonsense"] => return Ok(ExitCode::from(1)),
        ["without"] => println!("COMMAND"),
        _ => println!("OPTIONS PID {}", options.join(" ")),
    }
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            println!("of {} guest", name.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the namespaces of the process `pid`, by their inodes.
pub(crate) fn namespaces(topic: &str, pid: &str) -> Result<()> {
    for name in NAMESPACES {
        let inode = fs::metadata(format!("/proc/{pid}/ns/{name}"))?.ino();
        println!("{topic} {name} {inode}");
    }
    Ok(())
}

/// Prints the mounts that the file `mountinfo` lists.
pub(crate) fn mounts(topic: &str, mountinfo: &str) -> Result<()> {
    for line in fs::read_to_string(mountinfo)?.lines() {
        println!("{topic} {line}");
    }
    Ok(())
}

/// Prints who this process is, inside its user namespace, and what it may do there.
pub(crate) fn identity() -> Result<()> {
    for line in fs::read_to_string("/proc/self/status")?.lines() {
        for topic in ["Uid", "Gid", "Groups", "CapEff"] {
            if let Some(ids) = line
                .strip_prefix(topic)
                .and_then(|rest| rest.strip_prefix(':'))
            {
                let ids: Vec<_> = ids.split_whitespace().collect();
                println!("{topic} {}", ids.join(" "));
            }
        }
    }
    for name in ["uid_map", "gid_map"] {
        for line in fs::read_to_string(format!("/proc/self/{name}"))?.lines() {
            let numbers: Vec<_> = line.split_whitespace().collect();
            println!("{name} {}", numbers.join(" "));
        }
    }
    println!(
        "setgroups {}",
        fs::read_to_string("/proc/self/setgroups")?.trim()
    );
    println!("root {}", writable("/tmp/written"));
    for path in ["/bin/guest", "/tmp/written", "/dev/null"] {
        if let Ok(file) = fs::metadata(path) {
            println!("owner {path} {}:{}", file.uid(), file.gid());
        }
    }
    fs::write("/dev/null", "nothing")?;
    Ok(())
}

/// Prints the clocks that a time namespace has for itself, in seconds.
pub(crate) fn clocks() {
    use rustix::time::{ClockId, clock_gettime};
    println!("monotonic {}", clock_gettime(ClockId::Monotonic).tv_sec);
    println!("boottime {}", clock_gettime(ClockId::Boottime).tv_sec);
}

fn devices() -> Result<()> {
    for entry in fs::read_dir("/dev")? {
        let entry = entry?;
        let file = fs::symlink_metadata(entry.path())?;
        let name = entry.file_name();
        if file.file_type().is_char_device() {
            let (major, minor) = (
                rustix::fs::major(file.rdev()),
                rustix::fs::minor(file.rdev()),
            );
            println!(
                "device {} {major}:{minor} {:o}",
                name.display(),
                file.mode() & 0o777
            );
        }
        if let Ok(target) = fs::read_link(entry.path()) {
            println!("link {} {}", name.display(), target.display());
        }
    }
    Ok(())
}

/// Whether the file `path` can be made.
fn writable(path: &str) -> String {
    match OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
    {
        Ok(_) => "is writable".to_owned(),
        Err(error) => name_of(&error),
    }
}

/// The error's name, as in errno(3).
pub(crate) fn name_of(error: &io::Error) -> String {
    match error
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error)
    {
        Some(rustix::io::Errno::ROFS) => "EROFS".to_owned(),
        Some(rustix::io::Errno::PERM) => "EPERM".to_owned(),
        Some(rustix::io::Errno::ACCESS) => "EACCES".to_owned(),
        Some(rustix::io::Errno::TXTBSY) => "ETXTBSY".to_owned(),
        Some(rustix::io::Errno::AGAIN) => "EAGAIN".to_owned(),
        Some(rustix::io::Errno::IO) => "EIO".to_owned(),
        _ => error.to_string(),
    }
}

/// For each path: what it is, and whether it can be written to.
pub(crate) fn look_at(paths: &[&str]) -> Result<()> {
    for path in paths {
        let Ok(file) = fs::metadata(path) else {
            println!("at {path} nothing");
            continue;
        };
        if file.is_dir() {
            println!(
                "at {path} directory, {}",
                writable(&format!("{path}/.written"))
            );
        } else {
            let text = fs::read_to_string(path).unwrap_or_default();
            let write = match File::options().append(true).open(path) {
                Ok(_) => "is writable".to_owned(),
                Err(error) => name_of(&error),
            };
            println!("at {path} file {:?}, {write}", text.trim());
        }
    }
    Ok(())
}

/// Prints the mounts, and the label that SELinux has for each of these files; of one that is
/// missing, when it was made.
pub(crate) fn labels(paths: &[&str]) -> Result<()> {
    mounts("mount", "/proc/self/mountinfo")?;
    for path in paths {
        if fs::symlink_metadata(path).is_err() {
            fs::write(path, "")?;
        }
        let mut label = [0; 256];
        let len = rustix::fs::lgetxattr(*path, c"security.selinux", &mut label)?;
        let label = String::from_utf8_lossy(&label[..len]).into_owned();
        println!("label {path} {}", label.trim_end_matches('\0'));
    }
    Ok(())
}

/// Prints of each file what kind it is, its device number, and whether it can be opened to read.
pub(crate) fn nodes(paths: &[&str]) -> Result<()> {
    for path in paths {
        let meta = fs::metadata(path)?;
        let kind = match meta.file_type() {
            kind if kind.is_block_device() => "block",
            kind if kind.is_char_device() => "char",
            kind if kind.is_socket() => "socket",
            _ => "other",
        };
        let device = meta.rdev();
        let [major, minor] = [rustix::fs::major(device), rustix::fs::minor(device)];
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match rustix::fs::open(*path, flags, Mode::empty()) {
            Ok(_) => "readable".to_owned(),
            Err(errno) => berth::errno::Name(errno).to_string(),
        };
        println!("node {path} {kind} {major}:{minor} {opened}");
    }
    Ok(())
}

/// Prints of each file mode, owners, time of the last change, number of links, and what a link
/// leads to.
pub(crate) fn inodes(paths: &[&str]) -> Result<()> {
    for path in paths {
        let meta = fs::symlink_metadata(path)?;
        let (mode, links, time) = (meta.mode(), meta.nlink(), meta.mtime());
        let target = fs::read_link(path).unwrap_or_default();
        let target = target.display();
        let (uid, gid) = (meta.uid(), meta.gid());
        println!("inode {path} {mode:o} {uid}:{gid} {time} {links} {target}");
    }
    Ok(())
}

/// Makes a file in the directory for itself and one for user and group 1000, and prints whose all
/// are that are there, one directory deep.
pub(crate) fn own(directory: &str) -> Result<()> {
    fs::write(format!("{directory}/made"), "")?;
    let other = format!("{directory}/made-1000");
    fs::write(&other, "")?;
    std::os::unix::fs::chown(&other, Some(1000), Some(1000))?;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let mut paths = vec![path.clone()];
        if path.is_dir() {
            let inside = fs::read_dir(&path)?;
            paths.extend(inside.filter_map(|entry| Some(entry.ok()?.path())));
        }
        for path in paths {
            let meta = fs::symlink_metadata(&path)?;
            println!("owner {} {}:{}", path.display(), meta.uid(), meta.gid());
        }
    }
    Ok(())
}

/// Talks to itself over the loopback interface.
pub(crate) fn loopback() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.write_all(b"hello")?;
    let mut word = [0; 5];
    listener.accept()?.0.read_exact(&mut word)?;
    println!("loopback {}", String::from_utf8_lossy(&word));
    let interfaces = fs::read_to_string("/proc/net/dev")?;
    for line in interfaces.lines().filter_map(|line| line.split_once(':')) {
        println!("interface {}", line.0.trim());
    }
    Ok(())
}

/// Prints what is no plain line of text, on both streams.
pub(crate) fn bytes() -> Result<()> {
    let mut output = io::stdout();
    output.write_all(b"bytes \xff\xfe end\n")?;
    output.write_all("x".repeat(1500).as_bytes())?;
    output.write_all(b"\r\nwithout an end")?;
    output.flush()?;
    Ok(io::stderr().write_all(b"to standard error\n")?)
}

/// Says what its terminal is, and repeats a line that is typed there.
pub(crate) fn console() -> Result<()> {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    println!(
        "terminal {is_terminal} {}",
        fs::read_link("/proc/self/fd/0")?.display()
    );
    let foreground = rustix::termios::tcgetpgrp(io::stdin())? == rustix::process::getpgrp();
    println!("foreground {foreground}");
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    println!("typed {}", line.trim());
    Ok(())
}

/// Copies standard input to standard output, and says so on standard error.
pub(crate) fn copy() -> Result<()> {
    let count = io::copy(&mut io::stdin().lock(), &mut io::stdout().lock())?;
    Ok(writeln!(io::stderr(), "copied {count}")?)
}

/// Appends a line to a file, and what is on standard input to another one.
pub(crate) fn append(path: &str, text: &str) -> Result<()> {
    let mut input = String::new();
    io::stdin().read_to_string(&mut input)?;
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    Ok(writeln!(file, "{text} {}", input.trim())?)
}

/// Prints the size of its terminal, and once more when that has changed.
pub(crate) fn terminal() -> Result<()> {
    let size = || -> Result<()> {
        let size = rustix::termios::tcgetwinsize(io::stdin())?;
        println!("size {}x{}", size.ws_row, size.ws_col);
        Ok(())
    };
    let mut signals = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset(3) makes the set that the others use.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGWINCH);
        libc::sigprocmask(libc::SIG_BLOCK, signals.as_ptr(), std::ptr::null_mut());
    }
    size()?;
    // SAFETY: the set was made above; sigwaitinfo(2) takes null for what is not wanted.
    unsafe { libc::sigwaitinfo(signals.as_ptr(), std::ptr::null_mut()) };
    size()
}
