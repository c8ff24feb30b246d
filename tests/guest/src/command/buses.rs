//! Buses that are not there, or not what they should be: systemd is asked over them.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::lab::Lab;
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing a_bus_that_is_no_bus_is_one_clear_error,
    Nothing a_bus_that_never_stops_is_left_in_time,
    Nothing managers_of_groups_are_known_by_name,
];

/// What a bus says when it lets somebody in.
const WELCOME: &[u8] = b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n";

/// A signal from nobody in particular.
const SIGNAL: &[u8] = b"l\x04\x01\x01\0\0\0\0\x01\0\0\0\0\0\0\0";

/// What it does to whoever connects.
type Serve = fn(&mut UnixStream);

/// Has berth make a container over a bus that this is all of; what it says.
fn over(lab: &Lab, serve: Serve) -> Result<String> {
    let path = lab.directory.join("bus");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    // It ends with this process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                // To close with something unread takes back what was written (unix(7)).
                let _ = stream.read(&mut [0; 64]);
                serve(&mut stream);
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    });
    let output = lab
        .command(["--systemd-cgroup", "run", "--bundle", "b", "one"])
        .env(
            "DBUS_SYSTEM_BUS_ADDRESS",
            format!("unix:path={}", path.display()),
        )
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(125), "{output:?}");
    ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    Ok(said)
}

fn a_bus_that_is_no_bus_is_one_clear_error(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["say", "hello"])?;
    let buses: [(Serve, &str); 8] = [
        (|_| {}, "the connection was closed"),
        (
            |bus| drop(bus.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
            "authentication failed: HTTP/1.1 400",
        ),
        (
            |bus| drop(bus.write_all(b"REJECTED EXTERNAL\r\n")),
            "authentication failed: REJECTED",
        ),
        (
            |bus| drop(bus.write_all(&[b'x'; 4096])),
            "what listens there does not speak D-Bus",
        ),
        (
            |bus| drop(bus.write_all(WELCOME)),
            "the connection was closed",
        ),
        (
            |bus| drop(bus.write_all(&[WELCOME, &[0; 64]].concat())),
            "EBADMSG",
        ),
        // Lengths that are longer than anything.
        (
            |bus| drop(bus.write_all(&[WELCOME, b"l\x02\0\x01", &[0xff; 64]].concat())),
            "EBADMSG",
        ),
        // A message that is longer than the room for it, and ends too early.
        (
            |bus| {
                drop(
                    bus.write_all(
                        &[
                            WELCOME,
                            b"l\x04\0\x01\0\0\x10\0\x01\0\0\0\0\0\0\0",
                            &[0; 64],
                        ]
                        .concat(),
                    ),
                )
            },
            "the connection was closed",
        ),
    ];
    for (serve, says) in buses {
        let said = over(lab, serve)?;
        ensure!(
            said.contains("create berth-one.scope by systemd: ") && said.contains(says),
            "not {says:?}, but: {said}"
        );
        ensure!(
            said.contains("[B053]") && said.contains("--systemd-cgroup needs"),
            "{said}"
        );
    }
    let nowhere = lab
        .command(["--systemd-cgroup", "run", "--bundle", "b", "one"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere")
        .output()?;
    let said = String::from_utf8_lossy(&nowhere.stderr);
    ensure!(said.contains(": at unix:path=/nowhere"), "{said}");
    Ok(())
}

fn a_bus_that_never_stops_is_left_in_time(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["say", "hello"])?;
    let buses: [Serve; 2] = [
        // It listens, and says nothing.
        |bus| drop(bus.read_to_end(&mut Vec::new())),
        // It talks of other things.
        |bus| {
            let _ = bus.write_all(WELCOME);
            while bus.write_all(SIGNAL).is_ok() {}
        },
    ];
    let begin = Instant::now();
    for serve in buses {
        let said = over(lab, serve)?;
        ensure!(said.contains("no answer after 25 s"), "{said}");
    }
    ensure!(begin.elapsed() >= Duration::from_secs(50));
    Ok(())
}

fn managers_of_groups_are_known_by_name(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["say", "hello"])?;
    for words in [
        &["--cgroup-manager=upstart"][..],
        &["--cgroup-manager=cgroupfs", "--systemd-cgroup"],
    ] {
        let words = [words, &["run", "--bundle", "b", "one"]].concat();
        lab.fails(
            &words,
            125,
            &["--cgroup-manager is systemd or cgroupfs", "[B070]"],
        )?;
    }
    lab.ok(&["--systemd-cgroup=false", "run", "--bundle", "b", "one"])?;
    Ok(())
}
