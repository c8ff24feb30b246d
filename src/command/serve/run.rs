//! A run of `berth` that does what a client has asked for.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::super::Call;
use super::message::{Failure, Outgoing, failure, failure_of};
use super::own_program;
use crate::error::{Code, During, Fault, Op};
use crate::hint::of_command;
use crate::parse::answer::{ANSWER_MAX, Answer};
use crate::parse::base64;
use crate::parse::control::{EXEC, MESSAGE_MAX, Message, Run};
use crate::sys::buffer::Buffer;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::process::{self, Environment, Forked, Status};
use crate::sys::strings::Strings;
use crate::sys::{console, signal, socket};

/// The words of a run: those of a message, and some before them.
type Words = Strings<{ 2 * MESSAGE_MAX }, 512>;

/// The descriptors that may come with a request: standard input, output and error for its program.
pub(super) type Given = heapless::Vec<OwnedFd, 3>;

/// How much of a program's output goes into one message.
const CHUNK: usize = 4096;

/// Where a run's output comes from.
struct Source {
    name: &'static str,
    from: Option<OwnedFd>,
}

/// A run.
pub(super) struct Running {
    /// The client's number for it.
    pub(super) id: u64,
    pid: Pid,
    is_exec: bool,
    is_text: bool,
    sources: [Source; 2],
    input: Option<OwnedFd>,
    /// The outer end of its terminal, which is its input and output.
    terminal: bool,
    answers: OwnedFd,
    /// What it printed, and is not a whole line yet.
    line: heapless::Vec<u8, { 2 * CHUNK }>,
    ended: Option<Status>,
    failure: Option<Failure>,
    was_cancelled: bool,
}

/// The ends of what connects a run with this process: ours, and its own.
#[derive(Default)]
struct Ends {
    sources: [Option<OwnedFd>; 2],
    input: Option<OwnedFd>,
    theirs: Given,
    is_terminal: bool,
}

/// What a run has to say.
pub(super) enum Said<'r> {
    /// A line, as JSON or as people read it.
    Line { bytes: &'r [u8], is_text: bool },
    /// Output of a program.
    Bytes { name: &'static str, bytes: &'r [u8] },
    /// It is over, and did what was asked for; the status of a program that it ran.
    Done(Option<u8>),
    /// It is over, and did not; the status with which a shell would say so.
    Failed(&'r Failure, Option<u8>),
}

impl Running {
    /// Starts what `message` asks for, with descriptors that came with it; `None` if it could not,
    /// and then `out` says why.
    #[inline(never)]
    pub(super) fn start(
        call: &Call<'_>,
        message: &Message<'_>,
        run: &Run,
        given: Given,
        out: &mut Outgoing,
    ) -> Option<Self> {
        let id = message.id;
        let mut words = Words::new();
        let pair = socket::packets().during(Op::Socket, "a run of berth");
        let (answers, theirs) = pair.map_err(|fault| refuse_for(out, id, &fault)).ok()?;
        let root = format_args!("--root={}", call.root);
        let begun = words
            .push(format_args!("berth"))
            .and_then(|()| words.push(root))
            .and_then(|()| words.push(format_args!("--answers={}", theirs.as_raw_fd())));
        let said = message.words(run, &mut |word| words.push(format_args!("{word}")).is_ok());
        if let (Err(_), _) | (_, Err(_)) = (begun, said) {
            let why = said.err().unwrap_or("it has too many words");
            out.refuse(id, &misunderstood(why));
            return None;
        }
        let is_exec = run.verb().name == EXEC;
        let spawned = Ends::new(run, is_exec, given)
            .and_then(|ends| Ok((ends.spawn(&mut words, &theirs)?, ends)));
        let (pid, ends) = spawned.map_err(|fault| refuse_for(out, id, &fault)).ok()?;
        let [stdout, stderr] = ends.sources;
        Some(Self {
            id,
            pid,
            is_exec,
            is_text: run.is_text,
            sources: [("stdout", stdout), ("stderr", stderr)]
                .map(|(name, from)| Source { name, from }),
            input: ends.input,
            terminal: ends.is_terminal,
            answers,
            line: heapless::Vec::new(),
            ended: None,
            failure: None,
            was_cancelled: false,
        })
    }

    /// Watches all that can come from it.
    pub(super) fn watch(&self, epoll: &Epoll, place: u64) -> Result<(), Fault> {
        let (readable, writable) = (Interest::IN | Interest::ET, Interest::OUT | Interest::ET);
        epoll.add(&self.answers, place, readable)?;
        for from in self
            .sources
            .iter()
            .filter_map(|source| source.from.as_ref())
        {
            epoll.add(from, place, readable)?;
        }
        match &self.input {
            Some(input) => epoll.add(input, place, writable),
            None => Ok(()),
        }
    }

    pub(super) fn is_process(&self, pid: Pid) -> bool {
        self.pid == pid
    }

    pub(super) fn set_ended(&mut self, status: Status) {
        self.ended = Some(status);
    }

    /// Has it end: at first it is asked to.
    pub(super) fn cancel(&mut self) {
        let number = if self.was_cancelled {
            signal::KILL
        } else {
            signal::TERM
        };
        self.was_cancelled = true;
        if self.ended.is_none() {
            // It may be ending.
            let _ = process::signal(self.pid, number);
        }
    }

    /// Gives its terminal this size.
    pub(super) fn resize(&self, [rows, columns]: [u16; 2]) {
        match self.sources.first().and_then(|source| source.from.as_ref()) {
            Some(terminal) if self.terminal => {
                // A terminal that is gone has no size.
                let _ = tcsetwinsize(terminal, size(rows, columns));
            }
            // It looks at the terminal that the client has given it.
            _ if self.ended.is_none() => {
                let _ = process::signal(self.pid, signal::WINCH);
            }
            _ => {}
        }
    }

    /// Writes to its input; how many of the bytes are dealt with. A program that reads no more
    /// loses them.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let Some(input) = &self.input else {
            return bytes.len();
        };
        match write(input, bytes) {
            Ok(len) => len,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => bytes.len(),
        }
    }

    /// There is no more input.
    pub(super) fn end_input(&mut self) {
        match self.terminal {
            // What a terminal has for it (termios(3), VEOF).
            true => _ = self.write(b"\x04"),
            false => self.input = None,
        }
    }

    /// What it says next; `None` if there is nothing now.
    #[inline(never)]
    pub(super) fn next<'r>(&'r mut self, room: &'r mut [u8; CHUNK]) -> Option<Said<'r>> {
        self.read_answers();
        if self.is_exec {
            for source in &mut self.sources {
                if let Some(len) = source.read(room) {
                    let bytes = room.get(..len).unwrap_or_default();
                    return Some(Said::Bytes {
                        name: source.name,
                        bytes,
                    });
                }
            }
        } else {
            let [stdout, _] = &mut self.sources;
            let is_text = self.is_text;
            if let Some(len) = take_line(&mut self.line, room, stdout) {
                let bytes = room.get(..len).unwrap_or_default();
                return Some(Said::Line { bytes, is_text });
            }
        }
        let status = self.ended?.as_shell();
        let is_well = self.is_exec || status == 0 || self.was_cancelled;
        if !is_well && self.failure.is_none() {
            let why = "berth, which does it, ended early";
            self.failure = Some(failure_of("B057", why, ""));
        }
        Some(match &self.failure {
            Some(failure) => Said::Failed(failure, self.is_exec.then_some(status)),
            None => Said::Done(self.is_exec.then_some(status)),
        })
    }

    fn read_answers(&mut self) {
        let mut buffer = Buffer::<ANSWER_MAX>::new();
        let Ok(room) = buffer.bytes_mut() else { return };
        while let Some(Ok((len, _))) = socket::packet_if_any(&self.answers, room) {
            let packet = room.get(..len).unwrap_or_default();
            match Answer::parse(packet) {
                Some(Answer::Failed(error, hint)) => self.failure = Some(failure(&error, hint)),
                _ if len == 0 => return,
                _ => {}
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // Its client has gone, and its program hears of that by its terminal and its pipes.
            let _ = process::signal(self.pid, signal::TERM);
        }
    }
}

impl Source {
    /// Reads once; `None` if there is nothing now, or no more.
    fn read(&mut self, room: &mut [u8; CHUNK]) -> Option<usize> {
        match read(self.from.as_ref()?, room) {
            Ok(len) if len > 0 => Some(len),
            Err(Errno::AGAIN | Errno::INTR) => None,
            // EIO is the end of a terminal that nobody has open any more.
            _ => {
                self.from = None;
                None
            }
        }
    }
}

/// The next whole line, without its end, at the beginning of `room`.
fn take_line<const N: usize>(
    line: &mut heapless::Vec<u8, N>,
    room: &mut [u8; CHUNK],
    source: &mut Source,
) -> Option<usize> {
    loop {
        let end = line.iter().position(|byte| *byte == b'\n');
        // One that is longer comes in pieces.
        let taken = match end {
            Some(end) => Some((end, end + 1)),
            None if line.len() >= CHUNK => Some((CHUNK, CHUNK)),
            None if source.from.is_none() && !line.is_empty() => Some((line.len(), line.len())),
            None => None,
        };
        if let Some((len, used)) = taken.filter(|(len, _)| *len <= CHUNK) {
            room.get_mut(..len)?.copy_from_slice(line.get(..len)?);
            line.rotate_left(used);
            line.truncate(line.len() - used);
            return Some(len);
        }
        let len = source.read(room)?;
        line.extend_from_slice(room.get(..len)?).ok()?;
    }
}

impl Ends {
    fn new(run: &Run, is_exec: bool, given: Given) -> Result<Self, Fault> {
        let subject = "a run of berth";
        let mut ends = Self::default();
        let pipe = |is_input: bool| {
            let (from, to) = pipe_with(PipeFlags::CLOEXEC).during(Op::Pipe, subject)?;
            let (ours, theirs) = if is_input { (to, from) } else { (from, to) };
            // Only our end: programs are surprised by EAGAIN.
            ioctl_fionbio(&ours, true).during(Op::Pipe, subject)?;
            Ok::<_, Fault>((ours, theirs))
        };
        let push = |theirs: &mut Given, end: OwnedFd| {
            // There is room for three.
            let _ = theirs.push(end);
        };
        if is_exec && given.is_full() {
            ends.theirs = given;
        } else if is_exec && run.has_terminal {
            let (outer, inner) = terminal(run).during(Op::Terminal, subject)?;
            let again = |end: &OwnedFd| {
                rustix::io::fcntl_dupfd_cloexec(end, 3).during(Op::Terminal, subject)
            };
            for _ in 0..2 {
                push(&mut ends.theirs, again(&inner)?);
            }
            push(&mut ends.theirs, inner);
            ends.input = Some(again(&outer)?);
            ends.sources = [Some(outer), None];
            ends.is_terminal = true;
        } else if is_exec {
            let (input, theirs) = pipe(true)?;
            push(&mut ends.theirs, theirs);
            ends.input = Some(input);
            for source in &mut ends.sources {
                let (ours, theirs) = pipe(false)?;
                push(&mut ends.theirs, theirs);
                *source = Some(ours);
            }
        } else {
            let null = || {
                console::open_null()
                    .ok_or(Errno::NODEV)
                    .during(Op::Open, subject)
            };
            push(&mut ends.theirs, null()?);
            let (ours, theirs) = pipe(false)?;
            push(&mut ends.theirs, theirs);
            push(&mut ends.theirs, null()?);
            ends.sources = [Some(ours), None];
        }
        Ok(ends)
    }

    /// Starts the run, which gets its ends.
    fn spawn(&self, words: &mut Words, answers: &OwnedFd) -> Result<Pid, Fault> {
        let program = own_program()?;
        match process::fork(0, None).during(Op::Clone, "a run of berth")? {
            Forked::Parent(pid) => Ok(pid),
            Forked::Child => {
                self.become_run(words, answers, program.as_fd());
                process::exit(127)
            }
        }
    }

    /// Comes back only if it fails.
    fn become_run(&self, words: &mut Words, answers: &OwnedFd, program: BorrowedFd<'_>) {
        let [stdin, stdout, stderr] = self.theirs.as_slice() else {
            return;
        };
        let [stdin, stdout, stderr] = [stdin, stdout, stderr].map(AsFd::as_fd);
        if console::set_standard_descriptors(stdin, stdout, stderr).is_err()
            || fcntl_setfd(answers, FdFlags::empty()).is_err()
        {
            return;
        }
        if self.is_terminal {
            // So the kernel tells it when the size changes.
            let _ = rustix::process::setsid();
            let _ = rustix::process::ioctl_tiocsctty(stdin);
        }
        signal::reset();
        words.with_list(|words| {
            process::execute_descriptor(program, words, Environment::inherited().list())
        });
    }
}

/// A pair of terminals: the outer end, which does not block, and the inner one.
fn terminal(run: &Run) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let outer = openpt(flags)?;
    unlockpt(&outer)?;
    let inner = ioctl_tiocgptpeer(&outer, flags)?;
    if let Some([rows, columns]) = run.size {
        tcsetwinsize(&outer, size(rows, columns))?;
    }
    ioctl_fionbio(&outer, true)?;
    Ok((outer, inner))
}

const fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

#[inline(never)]
fn refuse_for(out: &mut Outgoing, id: u64, fault: &Fault) {
    let error = fault.at(Code::Control);
    out.refuse(id, &failure(&error, of_command(&error)));
}

/// A message that cannot be understood.
pub(super) fn misunderstood(why: &str) -> Failure {
    failure_of("B070", why, "see docs/control.md")
}

/// The bytes of an `input` message.
pub(super) fn decoded<'r>(text: &str, room: &'r mut [u8]) -> Option<&'r [u8]> {
    base64::decode(text, room)
}
