//! What the kernel lets a program do, tried one by one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::ptr;

use anyhow::{Context, Result, bail};

/// Tries each of `attempts`, `what:object`, and prints what came of it: `ok`, or the error's number
/// as errno(3) names it.
pub(crate) fn attempt(attempts: &[&str]) -> Result<()> {
    for attempt in attempts {
        let (what, object) = attempt.split_once(':').context("what:object")?;
        let result = match what {
            "read" => File::open(object)
                .and_then(|mut file| io::copy(&mut file, &mut io::sink()))
                .map(drop),
            "list" => fs::read_dir(object).map(drop),
            "append" => OpenOptions::new().append(true).open(object).map(drop),
            "make" => File::create_new(object).map(drop),
            "remove" => fs::remove_file(object),
            "execute" => Command::new(object)
                .args(["say", "executed"])
                .status()
                .map(drop),
            "bind" => TcpListener::bind(format!("127.0.0.1:{object}")).map(drop),
            // Nobody listens: refused is what an allowed connection is.
            "connect" => match TcpStream::connect(format!("127.0.0.1:{object}")) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
                result => result.map(drop),
            },
            "mount" => rustix::mount::mount(
                "none",
                object,
                "tmpfs",
                rustix::mount::MountFlags::empty(),
                None,
            )
            .map_err(io::Error::from),
            _ => bail!("{what} cannot be tried"),
        };
        match result {
            Ok(()) => println!("attempt {attempt} ok"),
            Err(error) => println!("attempt {attempt} {}", crate::facts::name_of(&error)),
        }
    }
    Ok(())
}

/// Tries to lift what makes a mount read-only.
pub(crate) fn make_writable(mount: &str) {
    let writable = rustix::mount::MountFlags::BIND;
    match rustix::mount::mount_remount(mount, writable, c"") {
        Ok(()) => println!("make {mount} writable: ok"),
        Err(error) => println!(
            "make {mount} writable: {}",
            crate::facts::name_of(&error.into())
        ),
    }
}

/// Prints the version of Landlock that the kernel has, 0 for none.
pub(crate) fn landlock() {
    const VERSION: libc::c_uint = 1;
    // SAFETY: landlock_create_ruleset(2) with this flag reads no memory.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<libc::c_void>(),
            0,
            VERSION,
        )
    };
    println!("landlock {}", version.max(0));
}
