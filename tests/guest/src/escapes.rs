//! The known ways out of a container, tried from inside. Each says how it ended, in one line:
//! `escape <way> <result>`.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use berth::parse::config::NodeKind;
use berth::sys::node::Node;
use berth::sys::process::Environment;
use berth::sys::sealed;
use berth::sys::strings::Strings;
use rustix::fs::{CWD, RenameFlags, major, minor, renameat_with};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::facts::name_of;

/// Tries one way, or several.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    match words {
        ["tell"] => tell(),
        ["fresh-proc"] => fresh_proc(),
        ["unmounted-root"] => unmounted_root(),
        ["masks", paths @ ..] => masks(paths),
        ["write", paths @ ..] => {
            writable(paths);
            Ok(())
        }
        ["nodes", paths @ ..] => nodes(paths),
        ["write-programs"] => write_programs(),
        ["sealed"] => sealed(),
        ["write-sealed", link] => write_sealed(link),
        ["look-into-who-enters", fifo] => look_into_who_enters(fifo),
        ["swap", directory, link, outside] => swap(directory, link, outside),
        _ => bail!("there is no such escape"),
    }
}

fn say(way: &str, result: Result<(), std::io::Error>) {
    match result {
        Ok(()) => println!("escape {way} open"),
        Err(error) => println!("escape {way} {}", name_of(&error)),
    }
}

/// All that leave the process as it is.
fn tell() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let inheritable = status
        .lines()
        .find_map(|line| line.strip_prefix("CapInh:\t"));
    println!("inheritable {}", inheritable.context("no CapInh")?);
    println!("keyring {}", session_keyring()?);
    println!("first {}", fs::read_link("/proc/1/exe")?.display());
    for entry in fs::read_dir("/proc/self/fd")? {
        // The one that lists them is gone.
        if let Ok(target) = fs::read_link(entry?.path())
            && !target.starts_with("/proc")
        {
            println!(
                "descriptor {}",
                target.display().to_string().split(':').next().unwrap_or("")
            );
        }
    }
    for way in ["fresh-proc", "unmounted-root"] {
        let own = Command::new("/proc/self/exe")
            .args(["escape", way])
            .status()?;
        ensure!(own.success(), "{way}: {own}");
    }
    Ok(())
}

/// What the kernel calls the session keyring (keyctl(2), KEYCTL_DESCRIBE): that of PID 1 has the
/// user's name in it.
fn session_keyring() -> Result<String> {
    const KEYCTL_DESCRIBE: libc::c_long = 6;
    const KEY_SPEC_SESSION_KEYRING: libc::c_long = -3;
    let mut text = [0u8; 256];
    // SAFETY: the buffer has the size given and outlives the call.
    let len = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_DESCRIBE,
            KEY_SPEC_SESSION_KEYRING,
            text.as_mut_ptr(),
            text.len(),
        )
    };
    let len = usize::try_from(len).map_err(|_| std::io::Error::last_os_error())?;
    let text = String::from_utf8_lossy(&text[..len.saturating_sub(1)]).into_owned();
    Ok(text.rsplit(';').next().unwrap_or_default().to_owned())
}

/// A procfs without masks, in namespaces of one's own, where one has every right
/// (user_namespaces(7)); and in the same place a node of the host's, which cannot be made there but
/// bound.
fn fresh_proc() -> Result<()> {
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWPID;
    // SAFETY: there is one thread.
    unsafe { unshare_unsafe(flags) }.context("unshare")?;
    fs::write("/proc/self/uid_map", "0 0 1").context("map the user")?;
    fs::write("/proc/self/setgroups", "deny").context("give up groups")?;
    fs::write("/proc/self/gid_map", "0 0 1").context("map the group")?;
    // The child is the first process of the PID namespace, whose procfs this will be.
    // SAFETY: there is one thread, so the child has all that it needs.
    match unsafe { libc::fork() } {
        -1 => return Err(std::io::Error::last_os_error()).context("fork"),
        0 => {
            let mounted = mount("proc", "/mnt", "proc", MountFlags::empty(), None);
            say("fresh-proc", mounted.map_err(Into::into));
            match make_or_bind() {
                Ok(ends) => println!("nodes {}", ends.join(" ")),
                Err(error) => println!("nodes {error:#}"),
            }
            std::process::exit(0);
        }
        // SAFETY: the status is not wanted; waitpid(2) takes null for that.
        child => unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) },
    };
    Ok(())
}

/// What comes of making a node, of binding the host's, of binding one that has other numbers, and
/// of reading what was bound.
fn make_or_bind() -> Result<[String; 4]> {
    mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), None)?;
    let directory = File::open("/tmp")?;
    let node = |minor| Node::of(NodeKind::Character(1, minor));
    let made = node(5).make(directory.as_fd(), "zero");
    let bound = node(5).bind("/dev/zero", directory.as_fd(), "zero");
    let other = node(5).bind("/dev/null", directory.as_fd(), "other");
    let mut read = [1; 8];
    let opened = File::open("/tmp/zero").and_then(|mut file| file.read_exact(&mut read));
    ensure!(read == [0; 8], "{made:?} {bound:?} {other:?} {opened:?}");
    // The same again is found to be there.
    let again = node(5).make(directory.as_fd(), "zero");
    Ok([made, bound, other, again].map(|result| match result {
        Ok(()) => "done".to_owned(),
        Err(errno) => berth::errno::Name(errno).to_string(),
    }))
}

/// Unmounts its root, and enters its own mount namespace again, which begins at what is below.
fn unmounted_root() -> Result<()> {
    let namespace = File::open("/proc/self/ns/mnt")?;
    // SAFETY: there is one thread. The root directory is no longer shared with others, as setns(2)
    // wants it.
    unsafe { unshare_unsafe(UnshareFlags::FS) }.context("unshare")?;
    let unmounted = unmount("/", UnmountFlags::DETACH);
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
        .context("setns")?;
    let found = ["/containers", "/outside", "/etc/berth"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    println!("unmounted-root {}, found {found:?}", unmounted.is_ok());
    Ok(())
}

/// For each path: a mask and what can be done to it, or what it is.
fn masks(paths: &[&str]) -> Result<()> {
    for path in paths {
        let Ok(meta) = fs::metadata(path) else {
            println!("mask {path} nothing");
            continue;
        };
        let chmod = match fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
            Ok(()) => "is done".to_owned(),
            Err(error) => name_of(&error),
        };
        let rdev = meta.rdev();
        if meta.file_type().is_char_device() {
            println!("mask {path} {}:{}, chmod {chmod}", major(rdev), minor(rdev));
        } else if meta.is_dir() {
            println!(
                "mask {path} {} entries, chmod {chmod}",
                fs::read_dir(path)?.count()
            );
        } else {
            println!("mask {path} a file, chmod {chmod}");
        }
    }
    Ok(())
}

/// Whether each file can be opened for writing.
fn writable(paths: &[&str]) {
    for path in paths {
        match OpenOptions::new().write(true).open(path) {
            Ok(_) => println!("write {path} open"),
            Err(error) => println!("write {path} {}", name_of(&error)),
        }
    }
}

/// Kind, numbers, permissions and owners of nodes.
fn nodes(paths: &[&str]) -> Result<()> {
    for path in paths {
        let meta = fs::symlink_metadata(path).with_context(|| (*path).to_owned())?;
        let kind = meta.file_type();
        let kind = match () {
            () if kind.is_char_device() => "c",
            () if kind.is_block_device() => "b",
            () if kind.is_fifo() => "p",
            () => "other",
        };
        let (rdev, mode) = (meta.rdev(), meta.mode() & 0o7777);
        let (uid, gid) = (meta.uid(), meta.gid());
        println!(
            "node {path} {kind} {}:{} {mode:o} {uid}:{gid}",
            major(rdev),
            minor(rdev)
        );
    }
    Ok(())
}

/// In the PID namespace of the host: writes to PID 1's program, by its own link and by one that was
/// opened before without a right to write (CVE-2019-5736), and changes its length.
fn write_programs() -> Result<()> {
    let own = fs::metadata("/proc/self/exe")?;
    let init = fs::metadata("/proc/1/exe")?;
    ensure!(
        own.ino() != init.ino() || own.dev() != init.dev(),
        "PID 1 is the guest program"
    );
    let append = |path: &str| OpenOptions::new().write(true).open(path).map(drop);
    say("exe", append("/proc/1/exe"));
    let path = rustix::fs::open(
        "/proc/1/exe",
        rustix::fs::OFlags::PATH,
        rustix::fs::Mode::empty(),
    )?;
    say(
        "exe-again",
        append(&format!("/proc/self/fd/{}", path.as_raw_fd())),
    );
    let name = CString::new("/proc/1/exe")?;
    // SAFETY: the path is a C string.
    let result = unsafe { libc::truncate(name.as_ptr(), 0) };
    say(
        "exe-truncate",
        if result == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        },
    );
    Ok(())
}

/// Becomes a sealed copy of itself, as the command does, and tries to write to that: directly, and
/// when it is not running.
fn sealed() -> Result<()> {
    let mut arguments = Strings::<64, 4>::new();
    for word in ["guest", "escape", "sealed"] {
        arguments
            .push(format_args!("{word}"))
            .map_err(|errno| anyhow::anyhow!("{errno}"))?;
    }
    let none = Strings::<1, 1>::new();
    let result = arguments.with_list(|arguments| {
        none.with_list(|none| sealed::become_sealed(arguments, Environment::from_list(none)))
    });
    result.map_err(|fault| anyhow::anyhow!("{fault}"))?;
    println!("sealed {}", fs::read_link("/proc/self/exe")?.display());
    // A link that stays when the program is another one.
    let kept = rustix::fs::open(
        "/proc/self/exe",
        rustix::fs::OFlags::PATH,
        rustix::fs::Mode::empty(),
    )?;
    say(
        "sealed-running",
        OpenOptions::new()
            .write(true)
            .open("/proc/self/exe")
            .map(drop),
    );
    let link = format!("/proc/self/fd/{}", kept.as_raw_fd());
    Err(Command::new("/bin/guest")
        .args(["escape", "write-sealed", &link])
        .exec())
    .context("exec")
}

/// Writes to what the link leads to, which nobody executes any more.
fn write_sealed(link: &str) -> Result<()> {
    let written = OpenOptions::new()
        .write(true)
        .open(link)
        .and_then(|mut file| file.write_all(b"x"));
    say("sealed-after", written);
    Ok(())
}

/// Looks into a process that the host brings in, before and after it executes its program, which it
/// does when somebody reads the FIFO. This is the first process of its PID namespace, and the other
/// the second.
fn look_into_who_enters(fifo: &str) -> Result<()> {
    const SECOND: libc::pid_t = 2;
    println!("looking");
    while !Path::new(&format!("/proc/{SECOND}")).exists() {
        std::thread::yield_now();
    }
    look_into("enters", SECOND);
    // Its end is closed when the program runs.
    File::open(fifo)?.read_to_end(&mut Vec::new())?;
    look_into("entered", SECOND);
    Ok(())
}

/// All that takes the right to look into another process (ptrace(2), "Ptrace access mode
/// checking").
fn look_into(when: &str, pid: libc::pid_t) {
    let of_call = |result: libc::c_long| match result {
        0.. => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    let null = std::ptr::null_mut::<u8>();
    let mut byte = [0u8];
    let local = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let remote = libc::iovec {
        iov_base: null.cast(),
        iov_len: 1,
    };
    // SAFETY: ptrace(2) with this request and pidfd_getfd(2) read and write nothing of this
    // process's, and process_vm_readv(2) no more than the byte.
    let (traced, read, taken) = unsafe {
        let traced = of_call(libc::ptrace(libc::PTRACE_SEIZE, pid, null, null));
        let read = libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0);
        let read = of_call(read as libc::c_long);
        let pidfd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        let taken = of_call(libc::syscall(libc::SYS_pidfd_getfd, pidfd, 1, 0));
        (traced, read, taken)
    };
    say(&format!("{when}-ptrace"), traced);
    // Who may look, and looks where nothing is.
    let is_let = |error: &std::io::Error| error.raw_os_error() == Some(libc::EFAULT);
    say(
        &format!("{when}-memory"),
        read.or_else(|error| if is_let(&error) { Ok(()) } else { Err(error) }),
    );
    say(&format!("{when}-pidfd"), taken);
    for name in ["exe", "mem", "environ", "maps"] {
        let opened = File::open(format!("/proc/{pid}/{name}")).map(drop);
        say(&format!("{when}-{name}"), opened);
    }
    for name in ["exe", "root", "cwd", "fd/1", "ns/mnt"] {
        let found = fs::read_link(format!("/proc/{pid}/{name}")).map(drop);
        say(&format!("{when}-link-{name}"), found);
    }
}

/// Exchanges a directory and a symbolic link that leads out of the volume, without a pause, until
/// it is asked to end. Then it says how often, and what others have left where the link leads on
/// the host.
fn swap(directory: &str, link: &str, outside: &str) -> Result<()> {
    let mut signals = std::mem::MaybeUninit::uninit();
    let no_time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut swaps = 0u64;
    // SAFETY: sigemptyset(3) makes the set that the others use; they take no other pointers but
    // null, for what is not wanted, and a time that outlives them.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        libc::sigaddset(signals.as_mut_ptr(), libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, signals.as_ptr(), std::ptr::null_mut());
        println!("swapping");
        while libc::sigtimedwait(signals.as_ptr(), std::ptr::null_mut(), &raw const no_time) < 0 {
            renameat_with(CWD, directory, CWD, link, RenameFlags::EXCHANGE)?;
            swaps += 1;
        }
    }
    println!("swapped {}", if swaps > 1000 { "often" } else { "seldom" });
    for entry in fs::read_dir(outside)? {
        println!("outside {}", entry?.file_name().display());
    }
    println!("looked outside");
    Ok(())
}

/// Takes from everybody what standard input leads to.
pub(crate) fn chmod_input() {
    let result = rustix::fs::fchmod(std::io::stdin(), rustix::fs::Mode::from_raw_mode(0o600));
    let mut byte = [0];
    let read = std::io::Read::read(&mut std::io::stdin(), &mut byte);
    println!("input {}, read {read:?}", result.is_ok());
}
