//! `berth-qemu ctl` as people use it, against a machine that is the test itself: it has the socket
//! and reads what is asked, answer by answer.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, ioctl_tiocsctty, kill_process, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};
use tempfile::TempDir;

/// No answer takes that long, but on a host that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The socket of a machine.
struct Machine {
    dir: TempDir,
    listener: UnixListener,
}

/// The machine's end of a connection.
struct Connection {
    lines: BufReader<UnixStream>,
}

impl Machine {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let listener = UnixListener::bind(dir.path().join("control.sock"))?;
        Ok(Self { dir, listener })
    }

    /// The command with these words, which are kept apart by spaces.
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_berth-qemu"));
        command.args(["ctl", "--socket"]);
        command.arg(self.dir.path().join("control.sock"));
        command.args(words.split(' '));
        command
    }

    /// Starts it with pipes. What the tests are started by may ignore signals, which is inherited.
    fn start(&self, words: &str) -> Result<Child> {
        let ctl = self.command(words);
        let mut command = Command::new("env");
        command.arg("--default-signal").arg(ctl.get_program());
        command.args(ctl.get_args());
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command.spawn()?)
    }

    fn accept(&self) -> Result<Connection> {
        let (stream, _) = self.listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection {
            lines: BufReader::new(stream),
        })
    }

    /// Starts it, and reads its request.
    fn asked(&self, words: &str) -> Result<(Child, Connection, Value)> {
        let child = self.start(words)?;
        let mut connection = self.accept()?;
        let request = connection.request()?;
        Ok((child, connection, request))
    }

    /// Starts it, gives these answers to its request, and waits for its end.
    fn answered(&self, words: &str, answers: &[Value]) -> Result<(Value, Output)> {
        let (child, mut connection, request) = self.asked(words)?;
        for answer in answers {
            connection.answer(&request, answer)?;
        }
        Ok((request, child.wait_with_output()?))
    }
}

impl Connection {
    /// The next message.
    fn request(&mut self) -> Result<Value> {
        loop {
            let mut line = String::new();
            ensure!(self.lines.read_line(&mut line)? > 0, "the client is gone");
            if line != "\n" {
                return serde_json::from_str(&line).context(line);
            }
        }
    }

    fn answer(&mut self, request: &Value, answer: &Value) -> Result<()> {
        let mut answer = answer.clone();
        answer["id"] = request["id"].clone();
        Ok(writeln!(self.lines.get_mut(), "{answer}")?)
    }

    /// Holds the next message to being about that request.
    fn told(&mut self, what: &str, request: &Value) -> Result<Value> {
        let message = self.request()?;
        ensure!(
            message["do"] == what && message["for"] == request["id"],
            "{message} where {what} for {} was expected",
            request["id"]
        );
        Ok(message)
    }

    /// Takes the input in the next message; none at its end.
    fn input(&mut self, request: &Value) -> Result<Option<Vec<u8>>> {
        let message = self.told("input", request)?;
        self.answer(&message, &ok())?;
        match &message["data"] {
            Value::String(data) => Ok(Some(STANDARD.decode(data)?)),
            _ if message["end"] == true => Ok(None),
            _ => anyhow::bail!("{message}"),
        }
    }
}

fn stdout(bytes: &[u8]) -> Value {
    json!({ "more": { "stdout": STANDARD.encode(bytes) } })
}

fn ok() -> Value {
    json!({ "ok": {} })
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("not UTF-8")
}

fn interrupt(child: &Child, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_child(child), signal)?)
}

#[test]
fn lines_are_printed_as_text_and_objects_as_they_come() -> Result<()> {
    let machine = Machine::new()?;
    let lines = ["ID   STATE", "web  running \x1b[31m"];
    let answers = lines.map(|line| json!({ "more": { "text": line } }));
    let (request, output) = machine.answered("list", &[&answers[..], &[ok()]].concat())?;
    ensure!(
        request["do"] == "list" && request["text"] == true,
        "{request}"
    );
    let printed = text(&output.stdout);
    ensure!(
        printed == "ID   STATE\nweb  running \\u{1b}[31m\n",
        "{printed:?}"
    );
    ensure!(output.status.code() == Some(0) && output.stderr.is_empty());

    let child = machine.start("--json list")?;
    let mut connection = machine.accept()?;
    let request = connection.request()?;
    ensure!(request.get("text").is_none(), "{request}");
    let id = &request["id"];
    let objects = "{\"id\":ID,\"more\":{\"id\":\"web\",\"pid\" : 7, \"a\":\"\u{9b}\"}}\n{\"id\":ID,\"ok\":{}}\n";
    let objects = objects.replace("ID", &id.to_string());
    connection.lines.get_mut().write_all(objects.as_bytes())?;
    let output = child.wait_with_output()?;
    let printed = text(&output.stdout);
    let expected = "{\"id\":\"web\",\"pid\" : 7, \"a\":\"\\u009b\"}\n";
    ensure!(printed == expected, "{printed:?}");
    Ok(())
}

#[test]
fn refusal_is_told_with_its_hint_and_its_status() -> Result<()> {
    let machine = Machine::new()?;
    let error =
        json!({ "code": "B072", "text": "open wep: no such  [B072]", "hint": "look\nthere" });
    let (_, output) = machine.answered("stop wep", &[json!({ "error": error })])?;
    let said = text(&output.stderr);
    let expected = "berth-qemu: open wep: no such  [B072]\n  look\n  there\n";
    ensure!(said == expected, "{said:?}");
    ensure!(output.status.code() == Some(125) && output.stdout.is_empty());

    let error = json!({ "code": "B064", "text": "no such program", "status": 127 });
    let answers = [json!({ "error": error })];
    let (_, output) = machine.answered("exec web nothing", &answers)?;
    ensure!(output.status.code() == Some(127), "{:?}", output.status);
    Ok(())
}

#[test]
fn machine_that_is_not_there_is_said_in_one_line() -> Result<()> {
    let machine = Machine::new()?;
    std::fs::remove_file(machine.dir.path().join("control.sock"))?;
    for _ in 0..2 {
        let output = machine.command("list").output()?;
        let said = text(&output.stderr);
        ensure!(
            said.lines().count() == 1 && said.contains("`make run`"),
            "{said}"
        );
        ensure!(output.status.code() == Some(125), "{:?}", output.status);
        // One that is left of a machine that was killed.
        drop(UnixListener::bind(machine.dir.path().join("control.sock")));
    }
    Ok(())
}

#[test]
fn words_that_are_wrong_are_not_the_status_of_a_program() -> Result<()> {
    let machine = Machine::new()?;
    for words in ["nothing", "logs", "exec web", "logs -n x web"] {
        let output = machine.command(words).output()?;
        ensure!(output.status.code() == Some(125), "{words}: {output:?}");
        ensure!(
            text(&output.stderr).starts_with("error: "),
            "{words}: {output:?}"
        );
    }
    ensure!(machine.command("--help").output()?.status.success());
    Ok(())
}

#[test]
fn machine_that_ends_in_the_middle_is_a_failure_unless_that_was_asked_for() -> Result<()> {
    let machine = Machine::new()?;
    for (words, status) in [
        ("list", 125),
        ("exec web true", 125),
        ("poweroff", 0),
        ("reboot", 0),
    ] {
        let (child, connection, _) = machine.asked(words)?;
        drop(connection);
        let output = child.wait_with_output()?;
        ensure!(output.status.code() == Some(status), "{words}: {output:?}");
        ensure!(
            output.stderr.is_empty() == (status == 0),
            "{words}: {output:?}"
        );
    }
    Ok(())
}

#[test]
fn ctrl_c_cancels_what_is_followed() -> Result<()> {
    let machine = Machine::new()?;
    for words in ["logs -f web", "events -f"] {
        let (child, mut connection, request) = machine.asked(words)?;
        ensure!(request["follow"] == true, "{request}");
        connection.answer(&request, &json!({ "more": { "text": "one" } }))?;
        interrupt(&child, Signal::INT)?;
        connection.told("cancel", &request)?;
        // What was on its way is not printed any more.
        connection.answer(&request, &json!({ "more": { "text": "late" } }))?;
        connection.answer(&request, &ok())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.code() == Some(130), "{words}: {output:?}");
        ensure!(!text(&output.stdout).contains("late"), "{output:?}");
    }
    Ok(())
}

#[test]
fn reader_that_has_seen_enough_ends_it() -> Result<()> {
    let machine = Machine::new()?;
    let (mut child, mut connection, request) = machine.asked("logs -f web")?;
    drop(child.stdout.take());
    connection.answer(&request, &json!({ "more": { "text": "one" } }))?;
    connection.told("cancel", &request)?;
    connection.answer(&request, &ok())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.code() == Some(141), "{output:?}");
    ensure!(output.stderr.is_empty(), "{output:?}");
    Ok(())
}

#[test]
fn signal_that_is_ignored_stays_so() -> Result<()> {
    let machine = Machine::new()?;
    let mut nohup = Command::new("nohup");
    let ctl = machine.command("logs -f web");
    nohup.arg(ctl.get_program()).args(ctl.get_args());
    let child = nohup
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut connection = machine.accept()?;
    let request = connection.request()?;
    interrupt(&child, Signal::HUP)?;
    connection.answer(&request, &json!({ "more": { "text": "after" } }))?;
    connection.answer(&request, &ok())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    ensure!(text(&output.stdout) == "after\n", "{output:?}");
    Ok(())
}

#[test]
fn program_has_its_outputs_apart_and_no_input_unless_asked_for() -> Result<()> {
    let machine = Machine::new()?;
    let (child, mut connection, request) = machine.asked("exec web cat -A")?;
    ensure!(request["args"] == json!(["cat", "-A"]), "{request}");
    ensure!(connection.input(&request)?.is_none());
    connection.answer(&request, &stdout(b"out\xff\x00\x1b"))?;
    let error = json!({ "more": { "stderr": STANDARD.encode("err") } });
    connection.answer(&request, &error)?;
    connection.answer(&request, &json!({ "ok": { "status": 3 } }))?;
    let output = child.wait_with_output()?;
    ensure!(
        output.stdout == b"out\xff\x00\x1b" && output.stderr == b"err",
        "{output:?}"
    );
    ensure!(output.status.code() == Some(3), "{output:?}");
    Ok(())
}

#[test]
fn input_and_output_of_a_megabyte_pass_each_other() -> Result<()> {
    let machine = Machine::new()?;
    let (mut child, mut connection, request) = machine.asked("exec -i web cat")?;
    let sent: Vec<u8> = (0..1 << 18).flat_map(u32::to_le_bytes).collect();
    let mut stdin = child.stdin.take().context("no stdin")?;
    let typed = sent.clone();
    let typing = std::thread::spawn(move || stdin.write_all(&typed));
    let reading = std::thread::spawn(move || child.wait_with_output());
    // A machine that writes all before it reads anything.
    for bytes in sent.chunks(4096) {
        connection.answer(&request, &stdout(bytes))?;
    }
    let mut got = Vec::new();
    while let Some(bytes) = connection.input(&request)? {
        got.extend(bytes);
    }
    connection.answer(&request, &json!({ "ok": { "status": 0 } }))?;
    typing.join().ok().context("the thread that types")??;
    let output = reading.join().ok().context("the thread that reads")??;
    ensure!(got == sent, "{} bytes of input", got.len());
    ensure!(
        output.stdout == sent,
        "{} bytes of output",
        output.stdout.len()
    );
    ensure!(output.status.code() == Some(0), "{:?}", output.status);
    Ok(())
}

#[test]
fn interrupted_program_is_cancelled() -> Result<()> {
    let machine = Machine::new()?;
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (child, mut connection, request) = machine.asked("exec -i web sleep 100")?;
        interrupt(&child, signal)?;
        connection.told("cancel", &request)?;
        connection.answer(&request, &json!({ "ok": { "status": 137 } }))?;
        let output = child.wait_with_output()?;
        ensure!(output.status.code() == Some(status), "{output:?}");
    }
    Ok(())
}

/// A terminal with the command in front of it.
struct Terminal {
    ours: File,
    theirs: OwnedFd,
    child: Child,
}

impl Terminal {
    fn start(machine: &Machine, words: &str, size: (u16, u16)) -> Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let theirs = File::options()
            .read(true)
            .write(true)
            .open(name.to_str()?)?;
        set_size(&ours, size)?;
        let mut command = machine.command(words);
        command
            .stdin(theirs.try_clone()?)
            .stdout(theirs.try_clone()?)
            .stderr(theirs.try_clone()?);
        // SAFETY: setsid(2) and ioctl(2) are system calls and allocate nothing, so they may run
        // between fork and exec.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                Ok(ioctl_tiocsctty(rustix::stdio::stdin())?)
            });
        }
        let child = command.spawn()?;
        Ok(Self {
            ours: ours.into(),
            theirs: theirs.into(),
            child,
        })
    }

    fn type_in(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.ours.write_all(bytes)?)
    }

    /// Reads until these bytes have come.
    fn shows(&mut self, text: &str) -> Result<()> {
        let mut shown = Vec::new();
        let mut bytes = [0; 256];
        while !String::from_utf8_lossy(&shown).contains(text) {
            let count = self.ours.read(&mut bytes)?;
            shown.extend_from_slice(&bytes[..count]);
        }
        Ok(())
    }

    fn is_raw(&self) -> Result<bool> {
        let modes = tcgetattr(self.theirs.as_fd())?.local_modes;
        Ok(!modes.intersects(LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO))
    }

    fn end(mut self) -> Result<ExitStatus> {
        let status = self.child.wait()?;
        ensure!(!self.is_raw()?, "the terminal was left in raw mode");
        Ok(status)
    }
}

fn set_size(terminal: &impl AsFd, (rows, columns): (u16, u16)) -> Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

#[test]
fn terminal_is_raw_has_its_size_and_passes_on_every_key() -> Result<()> {
    let machine = Machine::new()?;
    let mut terminal = Terminal::start(&machine, "exec -it web sh", (24, 80))?;
    let mut connection = machine.accept()?;
    let request = connection.request()?;
    let size = |message: &Value| (message["rows"].as_u64(), message["columns"].as_u64());
    ensure!(
        request["tty"] == true && size(&request) == (Some(24), Some(80)),
        "{request}"
    );
    connection.answer(&request, &stdout(b"\x1b[1mshell#\x1b[0m "))?;
    terminal.shows("\x1b[1mshell#\x1b[0m ")?;
    ensure!(terminal.is_raw()?, "not raw");
    for keys in [&b"ls\r"[..], b"\x03", b"\x1a", b"\x04", b"\x1d\x1d."] {
        terminal.type_in(keys)?;
        let input = connection.input(&request)?;
        ensure!(input.as_deref() == Some(keys), "{keys:?}: {input:?}");
    }
    set_size(&terminal.ours, (50, 132))?;
    let resized = connection.told("resize", &request)?;
    ensure!(size(&resized) == (Some(50), Some(132)), "{resized}");
    connection.answer(&request, &json!({ "ok": { "status": 42 } }))?;
    let status = terminal.end()?;
    ensure!(status.code() == Some(42), "{status}");
    Ok(())
}

#[test]
fn terminal_of_a_machine_that_hangs_can_be_left() -> Result<()> {
    let machine = Machine::new()?;
    let mut terminal = Terminal::start(&machine, "exec -it web sh", (24, 80))?;
    let mut connection = machine.accept()?;
    let request = connection.request()?;
    connection.answer(&request, &stdout(b"ready"))?;
    terminal.shows("ready")?;
    terminal.type_in(b"\x1d\x1d\x1d")?;
    let status = terminal.end()?;
    ensure!(status.code() == Some(0), "{status}");
    Ok(())
}

#[test]
fn terminal_is_as_before_when_the_machine_is_gone() -> Result<()> {
    let machine = Machine::new()?;
    let mut terminal = Terminal::start(&machine, "exec -it web sh", (24, 80))?;
    let mut connection = machine.accept()?;
    let request = connection.request()?;
    connection.answer(&request, &stdout(b"ready"))?;
    terminal.shows("ready")?;
    drop(connection);
    terminal.shows("the machine has ended")?;
    let status = terminal.end()?;
    ensure!(status.code() == Some(125), "{status}");
    Ok(())
}

#[test]
fn end_of_piped_input_is_ctrl_d_to_a_terminal() -> Result<()> {
    let machine = Machine::new()?;
    let (mut child, mut connection, request) = machine.asked("exec -it web sh")?;
    ensure!(request.get("rows").is_none(), "{request}");
    drop(child.stdin.take());
    ensure!(connection.input(&request)?.as_deref() == Some(&b"\x04"[..]));
    connection.answer(&request, &json!({ "ok": { "status": 0 } }))?;
    ensure!(child.wait()?.success());
    Ok(())
}

#[test]
fn next_client_waits_for_its_turn_and_says_for_whom() -> Result<()> {
    let machine = Machine::new()?;
    let (first, mut connection, request) = machine.asked("logs -f web")?;
    let mut second = machine.start("list")?;
    let mut said = String::new();
    let stderr = second.stderr.take().context("no stderr")?;
    BufReader::new(stderr).read_line(&mut said)?;
    let holder = format!("process {}: logs web", first.id());
    ensure!(said.contains(&holder), "{said}");
    connection.answer(&request, &ok())?;
    ensure!(first.wait_with_output()?.status.success());
    let mut connection = machine.accept()?;
    let request = connection.request()?;
    connection.answer(&request, &ok())?;
    ensure!(second.wait()?.success());
    Ok(())
}
