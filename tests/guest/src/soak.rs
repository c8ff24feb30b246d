//! Months of a machine in one run: containers that are started and end, orphans, disks that come
//! and go, floods of output and clients that behave badly, round after round; and after each round
//! a look at PID 1.
//!
//! It runs in a container that is in the host's PID namespace, so that its orphans are PID 1's. The
//! disks are the test's part, which is told with `storm`, and sends SIGUSR1 when they are gone.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use berth::parse::request::{Condition, PATH, REPLY_MAX, REQUEST_MAX, Reply, Request};
use berth::sys::socket;
use rustix::net::RecvFlags;
use serde_json::json;

use crate::host;
use crate::steer::Client;

/// What a round has, by its name in the words.
struct Round(BTreeMap<String, u32>);

impl Round {
    fn parse(words: &[&str]) -> Result<Self> {
        let number = |word: &&str| {
            let (name, number) = word.split_once('=').context("NAME=NUMBER")?;
            Ok((name.to_owned(), number.parse()?))
        };
        words.iter().map(number).collect::<Result<_>>().map(Self)
    }

    fn of(&self, name: &str) -> Result<u32> {
        self.0.get(name).copied().with_context(|| name.to_owned())
    }
}

/// The containers that end at once, and are started by request.
const BRIEF: &str = "brief-";

/// The container that prints much, and ends.
const TALKER: &str = "talker";

/// So many clients come at once in the first round.
const CROWD: u32 = 100;

/// How long the machine may take to be at rest. It is the machine's own time, which leaps over what
/// nobody does.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How often PID 1 is asked for one figure.
const ASKED: u32 = 25;

/// Goes through all rounds.
pub(crate) fn conduct(words: &[&str]) -> Result<()> {
    let round = Round::parse(words)?;
    host::join()?;
    block_signal();
    for number in 0..round.of("rounds")? {
        start(round.of("starts")?)?;
        println!("storm {number}");
        orphans(round.of("orphans")?)?;
        ask(Request::Start(TALKER))?;
        await_ended(|id| id == TALKER)?;
        crowd(if number == 0 {
            CROWD
        } else {
            round.of("clients")?
        })?;
        thread::sleep(Duration::from_secs(60 * u64::from(round.of("minutes")?)));
        sample(number)?;
    }
    Ok(())
}

/// A container as PID 1 tells of it.
struct Row {
    id: String,
    condition: Condition,
    restarts: u32,
}

/// Asks PID 1 itself, as the command does. What it answers of containers.
fn ask(request: Request<'_>) -> Result<Vec<Row>> {
    let what = format!("{request:?}");
    let mut room = [0; REQUEST_MAX];
    let packet = request.encode(&mut room).context("it is too long")?;
    let connection = socket::datagrams_to(PATH.as_bytes()).context(PATH)?;
    let (ours, theirs) = socket::packets()?;
    send(&connection, packet, theirs)?;
    let mut rows = Vec::new();
    let mut room = [0; REPLY_MAX];
    loop {
        let (len, _) = socket::next_packet(&ours, &mut room, RecvFlags::empty())?;
        match Reply::parse(room.get(..len).unwrap_or_default()) {
            Some(Reply::Row(row)) => rows.push(Row {
                id: row.id.to_owned(),
                condition: row.condition,
                restarts: row.restarts,
            }),
            Some(Reply::Done) => return Ok(rows),
            Some(Reply::Refused(error)) => bail!("{what}: {error}"),
            None => bail!("{what}: PID 1 has answered nonsense"),
        }
    }
}

/// Sends the request with the end of the pair that the answers come from.
fn send(connection: &OwnedFd, packet: &[u8], theirs: OwnedFd) -> Result<()> {
    loop {
        match socket::send(connection, packet, theirs.as_fd()) {
            Err(rustix::io::Errno::AGAIN) => thread::yield_now(),
            sent => return Ok(sent?),
        }
    }
}

/// Starts so many containers, all that there are at once, and waits for their ends.
fn start(count: u32) -> Result<()> {
    let all: Vec<_> = ask(Request::List)?
        .into_iter()
        .map(|row| row.id)
        .filter(|id| id.starts_with(BRIEF))
        .collect();
    let mut left = count as usize;
    while left > 0 {
        let some = &all[..left.min(all.len())];
        await_ended(|id| id.starts_with(BRIEF))?;
        for id in some {
            ask(Request::Start(id))?;
        }
        left -= some.len();
    }
    await_ended(|id| id.starts_with(BRIEF))
}

fn await_ended(is_it: impl Fn(&str) -> bool) -> Result<()> {
    let began = Instant::now();
    loop {
        let rows = ask(Request::List)?;
        let mut chosen = rows.iter().filter(|row| is_it(&row.id));
        match chosen.find(|row| row.condition != Condition::Ended) {
            None => return Ok(()),
            Some(row) => ensure!(
                began.elapsed() < PATIENCE,
                "{} is {}",
                row.id,
                row.condition.name()
            ),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Makes so many processes whose parents end before them, and more until the test is done with its
/// disks: while there is something to do, the clock counts it, and does not leap.
fn orphans(count: u32) -> Result<()> {
    let (mut made, mut is_told) = (0_u64, false);
    while made < u64::from(count) || !is_told {
        made += u64::from(make_orphan()?);
        if made.is_multiple_of(16) {
            is_told |= is_signalled();
        }
    }
    println!("orphans {made}");
    Ok(())
}

/// Whether one was made: for want of processes there may be none, until PID 1 has had its turn.
fn make_orphan() -> Result<bool> {
    // SAFETY: there is one thread, and the children do nothing but fork and _exit; waitpid(2) takes
    // the place of the status.
    unsafe {
        match libc::fork() {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => {
                thread::yield_now();
                Ok(false)
            }
            -1 => Err(io::Error::last_os_error()).context("fork"),
            0 => {
                let has_failed = libc::fork() < 0;
                libc::_exit(has_failed.into());
            }
            child => {
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
                Ok(status == 0)
            }
        }
    }
}

/// The signal waits until somebody looks for it.
fn block_signal() {
    // SAFETY: sigemptyset(3) makes the set that the others use; null is for what is not wanted.
    unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGUSR1);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
    }
}

fn is_signalled() -> bool {
    // SAFETY: as above; with no time to wait, it does not wait.
    unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGUSR1);
        let none = std::mem::zeroed();
        let signal = libc::sigtimedwait(&raw const signals, std::ptr::null_mut(), &raw const none);
        signal == libc::SIGUSR1
    }
}

/// So many clients at once, that are silent, slow, flooding and gone. PID 1 answers all the while.
fn crowd(count: u32) -> Result<()> {
    let mut all = Vec::new();
    for number in 0..count {
        let mut client = Client::connect()?;
        match number % 4 {
            0 => {}
            1 => client.send(r#"{"id":1,"do":"events","follow":true}"#)?,
            2 => {
                // More than is taken before the first of it is done.
                let requests = (0..200).map(|id| match id % 2 {
                    0 => format!("{{\"id\":{id},\"do\":\"list\"}}"),
                    _ => format!("{{\"id\":{id},"),
                });
                client.send_what_is_taken(requests)?;
            }
            _ => {
                client.send(r#"{"id":1,"do":"list"}"#)?;
                continue;
            }
        }
        all.push(client);
        ask(Request::List)?;
    }
    drop(all);
    let mut last = Client::connect()?;
    last.send(r#"{"id":9,"do":"list"}"#)?;
    ensure!(last.until_end(9)?.len() > 2);
    Ok(())
}

/// Says what PID 1 has, and how long it takes to answer, when the machine is at rest.
fn sample(number: u32) -> Result<()> {
    await_rest()?;
    let mut found = figures()?;
    let before = time_of_first()?;
    let mut times = Vec::new();
    let mut restarts = 0;
    for _ in 0..ASKED {
        let began = Instant::now();
        let rows = ask(Request::List)?;
        times.push(began.elapsed().as_nanos() as u64);
        restarts = rows.iter().map(|row| u64::from(row.restarts)).sum();
    }
    times.sort_unstable();
    found.extend([
        ("answer", times[times.len() / 2]),
        ("turn", (time_of_first()? - before) / u64::from(ASKED)),
        ("restarts", restarts),
        ("round", number.into()),
    ]);
    println!("sample {}", json!(found));
    Ok(())
}

/// Waits until PID 1 has no other child, and nothing is left of those that it had.
fn await_rest() -> Result<()> {
    let own = std::process::id().to_string();
    let began = Instant::now();
    loop {
        let children = fs::read_to_string("/proc/1/task/1/children")?;
        if children.trim() == own {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "PID 1 has {children:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// For how many ns PID 1 was on the processor (Documentation/scheduler/sched-stats.rst).
fn time_of_first() -> Result<u64> {
    let stat = fs::read_to_string("/proc/1/schedstat")?;
    Ok(stat.split(' ').next().unwrap_or_default().parse()?)
}

fn figures() -> Result<BTreeMap<&'static str, u64>> {
    let lines = |file: &str| fs::read_to_string(file).map(|text| text.lines().count() as u64);
    let pages = fs::read_to_string("/proc/1/smaps_rollup")?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib = |text: &str, field: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.with_context(|| field.to_owned())?.parse()?)
    };
    let mut processes = 0;
    for entry in fs::read_dir("/proc")? {
        // The kernel's own threads come and go.
        let status = fs::read_to_string(entry?.path().join("status")).unwrap_or_default();
        processes += u64::from(status.contains("\nVmSize:") || status.contains("\nState:\tZ"));
    }
    Ok(BTreeMap::from([
        ("rss", kib(&pages, "Rss:")?),
        ("dirty", kib(&pages, "Private_Dirty:")?),
        ("descriptors", entries(Path::new("/proc/1/fd"))),
        ("mounts", lines("/proc/1/mountinfo")?),
        ("mappings", lines("/proc/1/maps")?),
        ("sockets", lines("/proc/net/unix")?),
        ("processes", processes),
        ("groups", below(Path::new("/sys/fs/cgroup"), true)),
        ("run", below(Path::new("/run"), false)),
        ("kernel", kib(&memory, "SUnreclaim:")?),
        ("shmem", kib(&memory, "Shmem:")?),
        ("seconds", uptime()?),
    ]))
}

fn uptime() -> Result<u64> {
    let text = fs::read_to_string("/proc/uptime")?;
    Ok(text.split('.').next().unwrap_or_default().parse()?)
}

fn entries(path: &Path) -> u64 {
    fs::read_dir(path).map_or(0, |entries| entries.count() as u64)
}

/// How much there is in a directory, and in those in it: directories, or all.
fn below(path: &Path, only_directories: bool) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let count = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => 1 + below(&entry.path(), only_directories),
        _ => u64::from(!only_directories),
    };
    entries.map(count).sum()
}
