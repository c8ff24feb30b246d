//! An agent that filters ask about calls (seccomp_unotify(2)): it listens at a socket, is told of
//! containers' processes, and answers.

use std::fs;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;

/// How long anything may take. Emulated machines are slow.
const PATIENCE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// `_IOWR('!', 0, struct seccomp_notif)` and `_IOWR('!', 1, struct seccomp_notif_resp)` of
/// include/uapi/linux/seccomp.h.
const SECCOMP_IOCTL_NOTIF_RECV: u64 = 0xc050_2100;
const SECCOMP_IOCTL_NOTIF_SEND: u64 = 0xc018_2101;
/// `_IOW('!', 2, __u64)`
const SECCOMP_IOCTL_NOTIF_ID_VALID: u64 = 0x4008_2102;

/// An agent without anybody to ask it yet.
pub(crate) struct Agent(UnixListener);

/// What a call comes to.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// It is taken for made, and is not.
    Pretend,
    /// It fails.
    Fail(Errno),
    /// It is made.
    Make,
}

/// A call that waits for an answer.
pub(crate) struct Question {
    id: u64,
    /// Whose it is, as this process sees it.
    pub(crate) pid: u32,
    pub(crate) call: i64,
}

impl Agent {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        Ok(Self(UnixListener::bind(path)?))
    }

    /// Waits for a connection.
    pub(crate) fn accept(&self) -> Result<UnixStream> {
        readable(&self.0, "a connection to the agent")?;
        Ok(self.0.accept()?.0)
    }

    /// Waits until it is told of a process.
    pub(crate) fn hear(&self) -> Result<Told> {
        Told::receive(&self.accept()?)
    }
}

/// What an agent is told, and the descriptor by which it is asked.
pub(crate) struct Told {
    pub(crate) state: Value,
    listener: OwnedFd,
}

impl Told {
    /// Reads to the end, which comes before any question.
    pub(crate) fn receive(stream: &UnixStream) -> Result<Self> {
        let mut text = vec![0; 1 << 20];
        let mut descriptors = Vec::new();
        let mut len = 0;
        loop {
            readable(stream, "the state of a process")?;
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let room = &mut [IoSliceMut::new(&mut text[len..])];
            let message = recvmsg(stream, room, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(more) = message {
                    ensure!(len == 0, "a descriptor does not come with the first byte");
                    descriptors.extend(more);
                }
            }
            match message.bytes {
                0 => break,
                bytes => len += bytes,
            }
        }
        let text = &text[..len];
        let state = serde_json::from_slice(text)
            .with_context(|| format!("{:?}", String::from_utf8_lossy(text)))?;
        ensure!(descriptors.len() == 1, "{} descriptors", descriptors.len());
        let listener = descriptors.pop().context("no descriptor")?;
        Ok(Self { state, listener })
    }

    /// Waits for a call.
    pub(crate) fn question(&self) -> Result<Question> {
        readable(&self.listener, "a call to answer")?;
        // SAFETY: all fields are integers, for which zero is a value.
        let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        self.ioctl(SECCOMP_IOCTL_NOTIF_RECV, &raw mut question)?;
        Ok(Question {
            id: question.id,
            pid: question.pid,
            call: question.data.nr.into(),
        })
    }

    /// Answers it.
    pub(crate) fn answer(&self, question: &Question, answer: Answer) -> Result<()> {
        let (error, flags) = match answer {
            Answer::Pretend => (0, 0),
            Answer::Fail(errno) => (-errno.raw_os_error(), 0),
            Answer::Make => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        };
        let mut response = libc::seccomp_notif_resp {
            id: question.id,
            val: 0,
            error,
            flags,
        };
        self.ioctl(SECCOMP_IOCTL_NOTIF_SEND, &raw mut response)
    }

    /// Whether its answer is still waited for.
    pub(crate) fn is_waited_for(&self, question: &Question) -> bool {
        let mut id = question.id;
        self.ioctl(SECCOMP_IOCTL_NOTIF_ID_VALID, &raw mut id)
            .is_ok()
    }

    /// Gives the answers in turn, and has each question be about this call of the process that it
    /// was told of.
    pub(crate) fn serve(&self, call: i64, answers: &[Answer]) -> Result<()> {
        for answer in answers {
            let question = self.question()?;
            ensure!(question.call == call, "asked about {}", question.call);
            let pid = &self.state["pid"];
            ensure!(*pid == question.pid, "{} asks, not {pid}", question.pid);
            self.answer(&question, *answer)?;
        }
        Ok(())
    }

    fn ioctl<T>(&self, request: u64, argument: *mut T) -> Result<()> {
        let descriptor = self.listener.as_raw_fd();
        // SAFETY: the argument is of the kind that the request is made for, and outlives the call.
        match unsafe { libc::ioctl(descriptor, request as _, argument) } {
            -1 => Err(std::io::Error::last_os_error()).context("the descriptor of a filter"),
            _ => Ok(()),
        }
    }
}

fn readable(file: impl AsFd, what: &str) -> Result<()> {
    let count = poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&PATIENCE))?;
    ensure!(count == 1, "{what} did not come");
    Ok(())
}

/// The answers that [`make`] hears.
pub(crate) const ANSWERS: [Answer; 3] =
    [Answer::Pretend, Answer::Fail(Errno::NOMEDIUM), Answer::Make];

/// What it says then, with `/tmp` as the directory.
pub(crate) const HEARD: [&str; 3] = [
    "directory /tmp/0 is made, there false",
    "directory /tmp/1 ENOMEDIUM, there false",
    "directory /tmp/2 is made, there true",
];

/// Makes three directories in this one, and prints how it went, and which descriptors it has.
pub(crate) fn make(directory: &str) -> Result<()> {
    for name in 0..3 {
        let path = format!("{directory}/{name}");
        let _ = fs::remove_dir(&path);
        let made = match fs::create_dir(&path) {
            Ok(()) => "is made".to_owned(),
            Err(error) => error
                .raw_os_error()
                .map(|errno| berth::errno::Name(Errno::from_raw_os_error(errno)).to_string())
                .unwrap_or_default(),
        };
        println!(
            "directory {path} {made}, there {}",
            Path::new(&path).exists()
        );
        let _ = fs::remove_dir(&path);
    }
    // The last is that of the list.
    let descriptors = fs::read_dir("/proc/self/fd")?.count();
    println!("descriptors {}", descriptors.saturating_sub(1));
    Ok(())
}

/// A hook that leaves an agent behind, which listens when the hook ends.
pub(crate) fn leave(path: &str) -> Result<()> {
    let listener = UnixListener::bind(path)?;
    Command::new(std::env::current_exe()?)
        .arg("agent")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(())
}

/// That agent. For each process that it is told of, it logs the state, and gives the answers.
pub(crate) fn run() -> Result<()> {
    let listener = std::io::stdin().as_fd().try_clone_to_owned()?;
    let agent = Agent(UnixListener::from(listener));
    loop {
        let stream = agent.0.accept()?.0;
        let said = Told::receive(&stream).and_then(|told| {
            let (state, pid) = (&told.state, &told.state["pid"]);
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let is_first = status.contains(&format!("NSpid:\t{pid}\t1\n"));
            let line = format!("agent is told of its first {is_first}: {state}");
            told.serve(libc::SYS_mkdir, &ANSWERS)?;
            Ok(line)
        });
        let line = said.unwrap_or_else(|error| format!("agent: {error:#}"));
        // An error, so that the console shows it; a record is limited.
        let mut log = fs::OpenOptions::new().write(true).open("/dev/kmsg")?;
        log.write_all(format!("<3>{line}").as_bytes())?;
    }
}
