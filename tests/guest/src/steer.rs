//! An operator in the machine, who looks into it and steers it by the command and by the socket of
//! its control.

use std::fs;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::operate::berth;

/// The socket.
const CONTROL: &str = "/run/berth/control";

/// How long a container may take to do what it is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does everything, and prints a line for each thing that came as it should.
pub(crate) fn run() -> Result<()> {
    let first = await_row("web", |row| row.contains("\"state\":\"running\""))?;
    println!("listed {}", first.contains("\"restarts\":0,"));
    logs()?;
    containers(&first)?;
    late()?;
    refused()?;
    machine()?;
    control()?;
    clients()?;
    berth(&["poweroff"])?;
    Ok(())
}

fn logs() -> Result<()> {
    let lines = berth(&["logs", "web"])?;
    ensure!(lines == "one\ntwo\\x1b[31m\n", "{lines:?}");
    let last = berth(&["logs", "--json", "-n", "1", "web"])?;
    ensure!(last.lines().count() == 1, "{last}");
    ensure!(
        last.contains("\"stream\":\"stdout\",\"line\":\"two"),
        "{last}"
    );
    ensure!(berth(&["logs", "--since", "9h", "web"])?.lines().count() == 2);
    ensure!(berth(&["logs", "--since", "2999-01-01T00:00:00Z", "web"])?.is_empty());
    println!("logs");
    Ok(())
}

fn containers(first: &str) -> Result<()> {
    berth(&["stop", "web"])?;
    let stopped = row("web")?;
    ensure!(
        stopped.contains("\"state\":\"stopped\",\"pid\":0"),
        "{stopped}"
    );
    berth(&["start", "web"])?;
    let second = row("web")?;
    ensure!(second.contains("\"state\":\"running\""), "{second}");
    ensure!(pid(first)? != pid(&second)?, "{second}");
    println!("stopped and started");
    berth(&["restart", "web"])?;
    let third = row("web")?;
    ensure!(pid(&second)? != pid(&third)?, "{third}");
    println!("restarted");
    berth(&["kill", "web", "KILL"])?;
    await_row("web", |row| {
        row.contains("\"state\":\"running\"") && row.contains("\"restarts\":1,")
    })?;
    println!("restarted by its policy");
    Ok(())
}

/// A bundle that comes after the boot.
fn late() -> Result<()> {
    copy(Path::new("/containers/web"), Path::new("/containers/late"))?;
    berth(&["start", "late"])?;
    ensure!(row("late")?.contains("\"state\":\"running\""));
    let config = Path::new("/containers/late/config.json");
    let text = fs::read_to_string(config)?.replace("\"two", "\"three");
    fs::write(config, text)?;
    berth(&["restart", "late"])?;
    await_text(&["logs", "-n", "1", "late"], "three\\x1b[31m\n")?;
    println!("came late and was changed");
    Ok(())
}

fn refused() -> Result<()> {
    for (words, code) in [
        (&["start", "web"][..], "[B073]"),
        (&["stop", "nobody"], "[B072]"),
        (&["restart", "nobody"], "[B072]"),
        (&["start", "nobody"], "[B072]"),
        (&["logs", "nobody"], "[B072]"),
        (&["start", "broken"], "[B054]"),
    ] {
        let said = berth(words).err().context("it should fail")?;
        ensure!(format!("{said}").contains(code), "{said}");
    }
    println!("refused");
    Ok(())
}

fn machine() -> Result<()> {
    let boot = berth(&["boot"])?;
    ensure!(
        boot.contains("containers") && boot.contains(" ms  ####"),
        "{boot}"
    );
    ensure!(berth(&["boot", "--json"])?.contains("\"total\":"));
    let events = berth(&["events"])?;
    ensure!(events.contains("\"event\":\"switch\""), "{events}");
    let started = |id| format!("\"id\":\"{id}\",\"state\":\"started\"");
    ensure!(events.contains(&started("late")), "{events}");
    let mounts = berth(&["mounts"])?;
    ensure!(mounts.starts_with("machine\n/ "), "{mounts}");
    ensure!(mounts.contains("\nweb\n/ "), "{mounts}");
    ensure!(mounts.contains("  follows "), "{mounts}");
    let of_web = berth(&["mounts", "--json", "web"])?;
    ensure!(
        of_web
            .lines()
            .all(|line| line.starts_with("{\"container\":\"web\""))
    );
    println!("looked into the machine");
    Ok(())
}

/// The protocol.
fn control() -> Result<()> {
    let mut client = Client::connect()?;
    client.send(r#"{"id":1,"do":"list"}"#)?;
    let rows = client.until_end(1)?;
    ensure!(
        rows.iter()
            .any(|row| row.contains("\"more\":{\"id\":\"web\"")),
        "{rows:?}"
    );
    client.send(r#"{"id":2,"do":"stop","container":"nobody"}"#)?;
    let answer = client.until_end(2)?;
    ensure!(
        answer[0].contains("\"error\":{\"code\":\"B072\""),
        "{answer:?}"
    );
    client.send(r#"{"id":3,"do":"exec","container":"web","args":["/bin/guest","say","hello"]}"#)?;
    let said = client.until_end(3)?;
    ensure!(said[0].contains("\"stdout\":\"aGVsbG8K\""), "{said:?}");
    ensure!(said[1].contains("\"ok\":{\"status\":0}"), "{said:?}");
    client.send(r#"{"id":4,"do":"exec","container":"web","args":["/bin/guest","exit","7"]}"#)?;
    ensure!(client.until_end(4)?[0].contains("\"ok\":{\"status\":7}"));
    client.send(r#"{"id":5,"do":"exec","container":"web","args":["/bin/nothing"]}"#)?;
    ensure!(client.until_end(5)?[0].contains("\"error\":{\"code\":\"B054\""));
    for garbage in [
        "",
        "{",
        "[]",
        "{\"id\":6}",
        "{\"id\":6,\"do\":\"run\"}",
        "\u{0}\u{1}",
    ] {
        if garbage.is_empty() {
            continue;
        }
        client.send(garbage)?;
        let answer = client.receive()?;
        ensure!(
            answer.contains("\"error\":{\"code\":\"B070\""),
            "{garbage:?}: {answer}"
        );
    }
    client.send(&"x".repeat(20_000))?;
    ensure!(client.receive()?.contains("longer than 8192 bytes"));
    client.send(r#"{"id":7,"do":"logs","container":"web","follow":true,"text":true}"#)?;
    ensure!(client.receive()?.contains("{\"text\":\"one\"}"));
    client.send(r#"{"id":8,"do":"cancel","for":7}"#)?;
    let rest = client.until_end(7)?;
    ensure!(
        rest.last().is_some_and(|last| last.contains("\"ok\":{}")),
        "{rest:?}"
    );
    own_descriptors(&mut client)?;
    println!("spoke the protocol");
    Ok(())
}

/// A program gets what came with the request as its standard input, output and error.
fn own_descriptors(client: &mut Client) -> Result<()> {
    let null = fs::File::open("/dev/null")?;
    let (mut reader, writer) = io::pipe()?;
    let request =
        r#"{"id":9,"do":"exec","container":"web","args":["/bin/guest","say","into a pipe"]}"#;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [null.as_fd(), writer.as_fd(), writer.as_fd()];
    ensure!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let text = [IoSlice::new(request.as_bytes())];
    sendmsg(&client.0, &text, &mut ancillary, SendFlags::empty())?;
    let answers = client.until_end(9)?;
    ensure!(
        answers == ["{\"id\":9,\"ok\":{\"status\":0}}"],
        "{answers:?}"
    );
    drop(writer);
    let mut said = String::new();
    reader.read_to_string(&mut said)?;
    ensure!(said == "into a pipe\n", "{said:?}");
    Ok(())
}

/// Those that are silent, slow, too many, gone, and not allowed.
fn clients() -> Result<()> {
    let silent = (0..200)
        .map(|_| Client::connect())
        .collect::<Result<Vec<_>>>()?;
    let mut greedy = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect()?;
        client.send(r#"{"id":1,"do":"events","follow":true}"#)?;
        // It reads nothing.
        greedy.push(client);
    }
    let mut last = Client::connect()?;
    last.send(r#"{"id":9,"do":"list","text":true}"#)?;
    ensure!(last.until_end(9)?.iter().any(|row| row.contains("web")));
    drop((silent, greedy));
    for _ in 0..50 {
        let mut client = Client::connect()?;
        client.send(r#"{"id":1,"do":"logs","container":"web","follow":true}"#)?;
        // It has gone by the time of the answer.
    }
    ensure!(row("web")?.contains("\"state\":\"running\""));
    stranger("Permission denied")?;
    // Who comes past the permissions is turned away all the same.
    fs::set_permissions(CONTROL, fs::Permissions::from_mode(0o666))?;
    stranger("turned away")?;
    println!("served them all");
    Ok(())
}

/// Comes as somebody else, and is told so.
fn stranger(expected: &str) -> Result<()> {
    let mut stranger = Command::new("/bin/guest");
    stranger.args(["connect", CONTROL]).uid(1000).gid(1000);
    let said = String::from_utf8(stranger.output()?.stdout)?;
    ensure!(said.contains(expected), "{said}");
    Ok(())
}

/// Connects to a socket, asks for something, and says what came of it.
pub(crate) fn connect(path: &str) -> Result<()> {
    let answer = Client::connect_to(path).and_then(|mut client| {
        // It may be closed before that.
        let _ = client.send(r#"{"id":1,"do":"list"}"#);
        client.receive()
    });
    match answer {
        Ok(answer) => println!("{answer}"),
        Err(error) => println!("{error:#}"),
    }
    Ok(())
}

/// A connection to the control.
pub(crate) struct Client(fs::File);

impl Client {
    pub(crate) fn connect() -> Result<Self> {
        Self::connect_to(CONTROL)
    }

    fn connect_to(path: &str) -> Result<Self> {
        Ok(Self(socket(path)?.into()))
    }

    pub(crate) fn send(&mut self, message: &str) -> Result<()> {
        Ok(self.0.write_all(message.as_bytes())?)
    }

    /// Sends what the other side takes without being waited for.
    pub(crate) fn send_what_is_taken(
        &mut self,
        messages: impl IntoIterator<Item = String>,
    ) -> Result<()> {
        for message in messages {
            match rustix::net::send(&self.0, message.as_bytes(), SendFlags::DONTWAIT) {
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                sent => drop(sent?),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<String> {
        let mut room = vec![0; 65_536];
        let len = self.0.read(&mut room).context("turned away")?;
        ensure!(len > 0, "turned away");
        room.truncate(len);
        Ok(String::from_utf8(room)?)
    }

    /// The answers to the request `id`, up to the last.
    pub(crate) fn until_end(&mut self, id: u64) -> Result<Vec<String>> {
        let mut all = Vec::new();
        loop {
            let answer = self.receive()?;
            ensure!(answer.starts_with(&format!("{{\"id\":{id},")), "{answer}");
            let is_more = answer.contains(",\"more\":");
            all.push(answer);
            if !is_more {
                return Ok(all);
            }
        }
    }
}

/// A connection that keeps packets apart (unix(7)).
fn socket(path: &str) -> io::Result<OwnedFd> {
    // SAFETY: the address is a whole sockaddr_un, whose length is given; the socket is new.
    unsafe {
        let flags = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        let socket = libc::socket(libc::AF_UNIX, flags, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        let mut address: libc::sockaddr_un = std::mem::zeroed();
        address.sun_family = libc::AF_UNIX as u16;
        for (room, byte) in address.sun_path.iter_mut().zip(path.bytes()) {
            *room = byte as libc::c_char;
        }
        let len = size_of::<libc::sockaddr_un>() as u32;
        let number = std::os::fd::AsRawFd::as_raw_fd(&socket);
        match libc::connect(number, (&raw const address).cast(), len) {
            0 => Ok(socket),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, place) = (entry?, to);
        let place = place.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => copy(&entry.path(), &place)?,
            _ => drop(fs::copy(entry.path(), place)?),
        }
    }
    Ok(())
}

fn row(id: &str) -> Result<String> {
    let start = format!("{{\"id\":\"{id}\",");
    let listed = berth(&["list", "--json"])?;
    let row = listed.lines().find(|line| line.starts_with(&start));
    Ok(row.with_context(|| format!("{id}: {listed}"))?.to_owned())
}

fn pid(row: &str) -> Result<&str> {
    let (_, rest) = row.split_once("\"pid\":").context("no pid")?;
    Ok(rest.split(',').next().unwrap_or_default())
}

fn await_row(id: &str, is_it: impl Fn(&str) -> bool) -> Result<String> {
    let began = Instant::now();
    loop {
        match row(id) {
            Ok(row) if is_it(&row) => return Ok(row),
            other if began.elapsed() > PATIENCE => bail!("{id}: {other:?}"),
            _ => thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn await_text(words: &[&str], expected: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        match berth(words) {
            Ok(text) if text == expected => return Ok(()),
            other if began.elapsed() > PATIENCE => bail!("{words:?}: {other:?}"),
            _ => thread::sleep(Duration::from_millis(100)),
        }
    }
}
