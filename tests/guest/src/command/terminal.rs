//! Terminals: the container's own, served by an engine or by `run` and `exec` themselves.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::io::IoSliceMut;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;

use super::lab::{Lab, readable};
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing console_socket_gets_a_terminal_that_works,
    Nothing exec_sends_its_terminal_to_a_socket,
    Nothing terminal_and_socket_need_each_other,
    Nothing terminal_is_served_in_the_foreground,
    Nothing terminal_has_the_size_of_ours,
    Nothing exec_has_a_terminal_of_its_own,
];

/// A bundle whose program has a terminal.
fn bundle(lab: &Lab, words: &[&str]) -> Result<()> {
    lab.bundle_with("b", words, |config| {
        config["process"]["terminal"] = json!(true)
    })
    .map(drop)
}

/// The terminal that was sent to the socket.
fn received(listener: &UnixListener) -> Result<File> {
    readable(listener, "a connection to the console socket")?;
    let (stream, _) = listener.accept()?;
    readable(&stream, "a terminal")?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 256];
    let name = &mut [IoSliceMut::new(&mut name)];
    let message = recvmsg(&stream, name, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    ensure!(message.bytes > 0, "a message has to have text");
    let descriptors: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    ensure!(descriptors.len() == 1, "{} descriptors", descriptors.len());
    let mut files = descriptors.into_iter().map(File::from);
    files.next().context("none")
}

/// Lines from a terminal, of which the end is an error (pty(7)).
pub(super) struct Lines(BufReader<File>);

impl Lines {
    pub(super) fn next(&mut self) -> Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            if self.0.buffer().is_empty() {
                let seen = format!("a line after {:?}", String::from_utf8_lossy(&line));
                readable(self.0.get_ref(), &seen)?;
            }
            let there = self.0.fill_buf()?;
            let end = there.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(there.len(), |end| end + 1);
            line.extend_from_slice(&there[..taken]);
            self.0.consume(taken);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn expect(&mut self, wanted: &str) -> Result<()> {
        let line = self.next()?;
        ensure!(line == wanted, "{line:?}, not {wanted:?}");
        Ok(())
    }
}

fn talk(terminal: File) -> Result<()> {
    let mut writer = terminal.try_clone()?;
    let mut lines = Lines(BufReader::new(terminal));
    lines.expect("terminal true /dev/pts/0")?;
    lines.expect("foreground true")?;
    writer.write_all(b"some words\n")?;
    // The terminal's own echo, and what the program makes of it.
    lines.expect("some words")?;
    lines.expect("typed some words")
}

fn console_socket_gets_a_terminal_that_works(lab: &Lab) -> Result<()> {
    bundle(lab, &["console"])?;
    let listener = UnixListener::bind(lab.directory.join("socket"))?;
    lab.leaves(&[
        "create",
        "--console-socket",
        "socket",
        "--bundle",
        "b",
        "one",
    ])?;
    let terminal = received(&listener)?;
    let process = lab.process("one")?;
    lab.ok(&["start", "one"])?;
    talk(terminal)?;
    process.wait()
}

fn exec_sends_its_terminal_to_a_socket(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "-d", "--bundle", "b", "one"])?;
    let listener = UnixListener::bind(lab.directory.join("socket"))?;
    let words = [
        "exec",
        "-td",
        "--console-socket",
        "socket",
        "one",
        "/bin/guest",
        "console",
    ];
    lab.leaves(&words)?;
    talk(received(&listener)?)
}

fn terminal_and_socket_need_each_other(lab: &Lab) -> Result<()> {
    bundle(lab, &["console"])?;
    lab.fails(
        &["create", "-b", "b", "one"],
        125,
        &["--console-socket is missing", "[B070]"],
    )?;
    let words = ["create", "-b", "b", "--console-socket", "nothing", "one"];
    lab.fails(&words, 125, &["nothing: ENOENT", "[B076]"])?;
    let words = ["run", "-b", "b", "--console-socket", "nothing", "one"];
    lab.fails(&words, 125, &["add --detach", "[B070]"])?;
    lab.bundle("b", &["stay"])?;
    let words = ["create", "-b", "b", "--console-socket", "nothing", "one"];
    lab.fails(&words, 125, &["process.terminal is not true", "[B070]"])?;
    ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    Ok(())
}

/// A terminal of ours, and a command that has it.
pub(super) struct Ours {
    pub(super) outer: File,
    inner: OwnedFd,
}

impl Ours {
    pub(super) fn new(rows: u16, columns: u16) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let outer = openpt(flags)?;
        grantpt(&outer)?;
        unlockpt(&outer)?;
        let inner = ioctl_tiocgptpeer(&outer, flags)?;
        let ours = Self {
            outer: outer.into(),
            inner,
        };
        ours.resize(rows, columns)?;
        Ok(ours)
    }

    fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(tcsetwinsize(&self.outer, size)?)
    }

    /// Starts the command on it, in a session of its own.
    pub(super) fn start(&self, command: &mut Command) -> Result<Child> {
        let stdio = || self.inner.try_clone().map(Stdio::from);
        command.stdin(stdio()?).stdout(stdio()?).stderr(stdio()?);
        let number = self.inner.as_raw_fd();
        let take = move || {
            // SAFETY: both calls take numbers; the descriptor is open until the command was
            // started.
            match unsafe { libc::setsid() != -1 && libc::ioctl(number, libc::TIOCSCTTY, 0) == 0 } {
                true => Ok(()),
                false => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: both may be called between fork(2) and execve(2).
        unsafe { command.pre_exec(take) };
        Ok(command.spawn()?)
    }

    fn lines(&self) -> Result<Lines> {
        Ok(Lines(BufReader::new(self.outer.try_clone()?)))
    }
}

fn terminal_is_served_in_the_foreground(lab: &Lab) -> Result<()> {
    bundle(lab, &["console"])?;
    let ours = Ours::new(24, 80)?;
    let modes = |ours: &Ours| -> Result<_> {
        let modes = tcgetattr(&ours.inner)?;
        Ok((modes.local_modes, modes.input_modes, modes.output_modes))
    };
    let before = modes(&ours)?;
    let mut child = ours.start(&mut lab.command(["run", "--bundle", "b", "one"]))?;
    let mut lines = ours.lines()?;
    lines.expect("terminal true /dev/pts/0")?;
    lines.expect("foreground true")?;
    ensure!(modes(&ours)? != before, "our terminal is not raw");
    (&ours.outer).write_all(b"some words\r")?;
    lines.expect("some words")?;
    lines.expect("typed some words")?;
    ensure!(child.wait()?.success());
    ensure!(modes(&ours)? == before, "our terminal is not as it was");
    Ok(())
}

fn terminal_has_the_size_of_ours(lab: &Lab) -> Result<()> {
    bundle(lab, &["terminal"])?;
    let ours = Ours::new(33, 101)?;
    let mut child = ours.start(&mut lab.command(["run", "--bundle", "b", "one"]))?;
    let mut lines = ours.lines()?;
    lines.expect("size 33x101")?;
    ours.resize(44, 55)?;
    lines.expect("size 44x55")?;
    ensure!(child.wait()?.success());
    Ok(())
}

fn exec_has_a_terminal_of_its_own(lab: &Lab) -> Result<()> {
    lab.bundle("b", &["stay"])?;
    lab.leaves(&["run", "-d", "--bundle", "b", "one"])?;
    let ours = Ours::new(24, 80)?;
    let mut child = ours.start(&mut lab.command(["exec", "-t", "one", "/bin/guest", "console"]))?;
    let mut lines = ours.lines()?;
    lines.expect("terminal true /dev/pts/0")?;
    lines.expect("foreground true")?;
    (&ours.outer).write_all(b"x\r")?;
    lines.expect("x")?;
    lines.expect("typed x")?;
    ensure!(child.wait()?.success());
    Ok(())
}
