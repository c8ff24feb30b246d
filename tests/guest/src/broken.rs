//! In the place of `berth`, which starts containers for PID 1: it does wrong what the container's
//! name says.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use berth::parse::answer::{ANSWER_MAX, Answer, GO, Policy, ReadyBy};
use berth::parse::config::{OnExit, Restart};
use berth::parse::list::List;
use berth::parse::log;
use berth::sys::descriptors::take_inherited;
use berth::sys::{sealed, socket};
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// Where the real one is.
const REAL: &str = "/bin/berth";

/// A container that is well, and runs until the others have ended.
const OBSERVER: &str = "good-observer";

/// This one is there, another hangs, and what the others leave behind is remembered nowhere.
const SPARED: [&str; 4] = [OBSERVER, "hangs", "dies-with-group", "names-orphan"];

/// Does for the container what its name says.
pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    let id = *words.last().context("no container")?;
    let does_end = words.contains(&"pid1-end");
    let mut kind = id.split('-');
    match (kind.next(), kind.next()) {
        (Some("good"), _) => become_real(words),
        (Some("killed"), Some(milliseconds)) if !does_end => {
            kill_in(milliseconds.parse()?)?;
            become_real(words)
        }
        // What was made before it was killed is to be cleared away.
        (Some("killed"), _) => become_real(words),
        _ if does_end => Ok(ExitCode::SUCCESS),
        _ => {
            let number = words
                .iter()
                .find_map(|word| word.strip_prefix("--answers="));
            let number = number.context("no connection")?.parse()?;
            Broken(take_inherited(number).context("no connection")?).answer(id)
        }
    }
}

/// Becomes the real one, sealed as PID 1 has it.
fn become_real(words: &[&str]) -> Result<ExitCode> {
    let sealed = sealed::copy_of(File::open(REAL)?)?;
    let program = format!("/proc/self/fd/{}", sealed.as_raw_fd());
    Err(Command::new(program).args(words).exec().into())
}

/// Has this process, whatever it is by then, killed after a time.
fn kill_in(milliseconds: u64) -> Result<()> {
    let victim = std::process::id().to_string();
    let seconds = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    // By another: what executes a program has one thread then.
    Command::new("/proc/self/exe")
        .args(["kill-after", &victim, &seconds])
        .spawn()?;
    Ok(())
}

/// Kills a process after so many seconds.
pub(crate) fn kill_after(victim: &str, seconds: &str) -> Result<()> {
    thread::sleep(Duration::from_secs_f64(seconds.parse()?));
    let victim = rustix::process::Pid::from_raw(victim.parse()?).context("no process")?;
    // It may have come to its end.
    let _ = rustix::process::kill_process(victim, rustix::process::Signal::KILL);
    Ok(())
}

struct Broken(OwnedFd);

impl Broken {
    fn say(&self, answer: &Answer<'_>) -> Result<()> {
        let mut room = [0; ANSWER_MAX];
        let packet = answer.encode(&mut room).context("too long")?;
        self.send(packet)
    }

    fn send(&self, packet: &[u8]) -> Result<()> {
        send(&self.0, packet, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn send_with(&self, answer: &Answer<'_>, descriptor: BorrowedFd<'_>) -> Result<()> {
        let mut room = [0; 64];
        let packet = answer.encode(&mut room).context("too long")?;
        socket::send(&self.0, packet, descriptor)?;
        Ok(())
    }

    /// Says what a bundle without annotations asks for, or one that waits for others.
    fn policy(&self, after: List<'_>) -> Result<()> {
        self.say(&Answer::Policy(Policy {
            restart: Restart::No,
            on_exit: OnExit::Continue,
            stop_timeout: None,
            raw_output: false,
            log_size: log::SIZE,
            ready: ReadyBy::Started,
            after,
            requires: List::default(),
        }))
    }

    /// The same, and waits until it is to go on.
    fn agree(&self) -> Result<()> {
        self.agree_after(List::default())
    }

    fn agree_after(&self, after: List<'_>) -> Result<()> {
        self.policy(after)?;
        let mut word = [0; 16];
        let (len, _) = recv(&self.0, &mut word[..], RecvFlags::empty())?;
        anyhow::ensure!(word.get(..len) == Some(GO), "not to go on");
        Ok(())
    }

    fn answer(&self, id: &str) -> Result<ExitCode> {
        match id {
            "silent" => return Ok(ExitCode::from(3)),
            "crashes" => crash(),
            "hangs" => loop {
                thread::park();
            },
            "nonsense" => self.send(b"\xff\xff")?,
            "long" => self.send(&[1; 2 * ANSWER_MAX])?,
            "early" => self.say(&Answer::Started(77))?,
            "policy-only" => self.policy(List::default())?,
            "policy-twice" => {
                self.agree()?;
                self.policy(List::default())?;
            }
            "dies-after-go" => {
                self.agree()?;
                crash();
            }
            "starts-pid-1" => {
                self.agree()?;
                self.send(&[&[5][..], &1_i32.to_ne_bytes()].concat())?;
            }
            "names-kernel-thread" => {
                self.agree()?;
                self.say(&Answer::Started(2))?;
            }
            "names-itself" => {
                self.agree()?;
                self.say(&Answer::Started(std::process::id().cast_signed()))?;
            }
            "names-nobody" => {
                self.agree()?;
                let mut child = Command::new("/proc/self/exe").args(["exit", "0"]).spawn()?;
                child.wait()?;
                self.say(&Answer::Started(child.id().cast_signed()))?;
            }
            "names-other" => {
                self.agree_after(observer()?)?;
                self.say(&Answer::Started(process_in(OBSERVER)?))?;
            }
            "names-other-early" => {
                self.agree_after(observer()?)?;
                self.say(&Answer::Process(process_in(OBSERVER)?))?;
            }
            "names-two" => {
                self.agree()?;
                self.say(&Answer::Process(child()?))?;
                self.say(&Answer::Started(child()?))?;
            }
            "names-orphan" => {
                self.agree()?;
                let group = "/sys/fs/cgroup/berth/names-orphan";
                fs::create_dir_all(group)?;
                self.send_with(&Answer::Group, File::open(group)?.as_fd())?;
                self.say(&Answer::Started(orphan()?))?;
            }
            "group-of-root" => {
                self.agree()?;
                self.send_with(&Answer::Group, File::open("/")?.as_fd())?;
            }
            "group-without-descriptor" => {
                self.agree()?;
                self.say(&Answer::Group)?;
            }
            "warning-with-descriptor" => {
                self.send_with(&Answer::Warning("x"), File::open("/")?.as_fd())?;
            }
            "dies-with-group" => {
                self.agree()?;
                let group = "/sys/fs/cgroup/berth/dies-with-group";
                fs::create_dir_all(group)?;
                self.send_with(&Answer::Group, File::open(group)?.as_fd())?;
                crash();
            }
            "warns" => {
                for number in 0..300 {
                    self.say(&Answer::Warning(&format!("warning {number}")))?;
                }
                return Ok(ExitCode::from(3));
            }
            _ => anyhow::bail!("there is no such way to be broken"),
        }
        // What is said may be refused while this process is still there.
        let _ = recv(&self.0, &mut [0; 16][..], RecvFlags::empty());
        Ok(ExitCode::from(3))
    }
}

/// The container that is well, as `berth.after` has it.
fn observer() -> Result<List<'static>> {
    List::parse(OBSERVER, |_| true).context("no list")
}

/// A process of a container's, by its control group.
fn process_in(container: &str) -> Result<i32> {
    let group = format!("0::/berth/{container}\n");
    for entry in fs::read_dir("/proc")?.flatten() {
        let is_in = fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|own| own == group);
        if let (true, Some(name)) = (is_in, entry.file_name().to_str()) {
            return Ok(name.parse()?);
        }
    }
    anyhow::bail!("{container} has no process")
}

/// A child that stays for a while.
fn child() -> Result<i32> {
    let child = Command::new("/proc/self/exe").arg("stay").spawn()?;
    Ok(child.id().cast_signed())
}

/// A process that this one has not made itself, and that is PID 1's by now.
fn orphan() -> Result<i32> {
    let mut parent = Command::new("/proc/self/exe")
        .arg("make-orphan")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut text = String::new();
    let stdout = parent.stdout.take().context("no output")?;
    BufReader::new(stdout).read_line(&mut text)?;
    parent.wait()?;
    Ok(text.trim().parse()?)
}

/// Leaves a process behind, and says its number.
pub(crate) fn make_orphan() -> Result<()> {
    let child = Command::new("/proc/self/exe")
        .arg("stay")
        .stdout(Stdio::null())
        .spawn()?;
    println!("{}", child.id());
    Ok(())
}

fn crash() -> ! {
    // SAFETY: SIG_DFL is no handler that could do anything.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    crate::hostile::end_by(libc::SIGSEGV);
    std::process::abort()
}

/// Waits until in these directories nothing is left of any container but [these](SPARED).
pub(crate) fn wait_until_nothing_is_left(places: &[&str]) -> Result<()> {
    for place in places {
        loop {
            let entries = fs::read_dir(place)?.flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            let is_one = |name: &String| Path::new(place).join(name).is_dir();
            let left: Vec<_> = names
                .filter(|name| is_one(name) && !SPARED.contains(&name.as_str()))
                .collect();
            if left.is_empty() {
                println!("left nothing in {place}");
                break;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
    Ok(())
}
