//! What is heard of a container that comes to be: messages, and what is known after each.
//!
//! Up to three processes write into one pipe in packet mode (pipe(7), O_DIRECT), so that each message is read by itself. They
//! have its end until they end or execute a program; so the end of the file is a message too: nobody has anything left to say, and
//! the container's program runs. [`Progress`] is pure, so that this can be held against a table.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};
use rustix::net::{SendFlags, send};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::report::{REPORT_MAX, decode, encode};
use super::seen;
use crate::error::{During, Fault, Op};
use crate::sys::process;

/// The largest message, in bytes.
const MESSAGE_MAX: usize = 1 + REPORT_MAX;

/// What a message begins with.
const PID: u8 = 0;
const HOLDING: u8 = 1;
const FAULT: u8 = 2;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Message {
    /// The container's first process, as the caller sees it. From the builder.
    Pid(Pid),
    /// All is set up, and waits for somebody to open the FIFO (see [`super::Request::hold`]).
    Holding,
    /// It failed, and this is why.
    Fault(Fault),
}

/// What is heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Heard {
    /// A message.
    Message(Message),
    /// That there will be no more.
    End,
    /// That there will be no more, and that the process has ended and executed nothing since it was made.
    Lost,
}

/// What is news to the caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum News {
    /// It holds before it executes its program.
    Holding,
    /// The program runs.
    Running,
    /// There will be no program.
    Failed(Fault),
    /// There will be no program, and nobody could say why.
    Lost,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The builder is at work; there is no first process yet, or it is not known.
    Building,
    /// The first process sets itself up.
    SettingUp(Pid),
    /// The program runs.
    Running(Pid),
    /// The set-up failed. The first process, if there is one, ends.
    Failed(Option<Pid>),
}

impl Progress {
    /// The container's first process.
    #[must_use]
    pub const fn pid(self) -> Option<Pid> {
        match self {
            Self::Building => None,
            Self::SettingUp(pid) | Self::Running(pid) => Some(pid),
            Self::Failed(pid) => pid,
        }
    }

    /// What is known after `heard`, and what is news about it.
    #[must_use]
    pub fn after(self, heard: Heard) -> (Self, Option<News>) {
        match (self, heard) {
            (Self::Running(_) | Self::Failed(_), _) => (self, None),
            (Self::Building, Heard::Message(Message::Pid(pid))) => (Self::SettingUp(pid), None),
            (Self::SettingUp(_), Heard::Message(Message::Pid(_))) => (self, None),
            (_, Heard::Message(Message::Holding)) => (self, Some(News::Holding)),
            (_, Heard::Message(Message::Fault(fault))) => {
                (Self::Failed(self.pid()), Some(News::Failed(fault)))
            }
            (Self::SettingUp(pid), Heard::End) => (Self::Running(pid), Some(News::Running)),
            (Self::SettingUp(pid), Heard::Lost) => (Self::Failed(Some(pid)), Some(News::Lost)),
            (Self::Building, Heard::End | Heard::Lost) => {
                let fault = Err::<(), _>(Errno::CHILD).during(Op::Clone, "the container");
                (Self::Failed(None), fault.err().map(News::Failed))
            }
        }
    }
}

/// The end of the pipe that messages are written to. It has no other once the program runs.
pub(super) struct Voice {
    control: OwnedFd,
    /// The FIFO that was held at, which is read by who let go.
    held: Option<OwnedFd>,
    /// A connection to the maker of a container that holds: see [`Birth::keep`].
    maker: Option<OwnedFd>,
}

impl Voice {
    /// Says `message`. There may be nobody left to hear it.
    #[inline(never)]
    pub(super) fn say(&self, message: Message) {
        let bytes = bytes(message);
        // Who let go is there; who made the container may be gone, and its signal ends this process then (pipe(7), SIGPIPE).
        for listener in self.held.iter().chain([&self.control]) {
            let _ = write(listener, &bytes);
        }
    }

    /// Waits until the maker says that others can find this process.
    ///
    /// # Errors
    /// `EOWNERDEAD` if it has ended before that.
    pub(super) fn wait_for_record(&mut self) -> Result<(), Fault> {
        let Some(maker) = self.maker.take() else {
            return Ok(());
        };
        // By a call that every filter lets through, for there may be one by now.
        match read(maker, &mut [0]) {
            Ok(1) => Ok(()),
            _ => Err(Errno::OWNERDEAD).during(Op::Wait, "the process that makes the container"),
        }
    }

    /// The connection to the maker, or what is kept open in any case.
    pub(super) fn maker(&self) -> BorrowedFd<'_> {
        self.maker.as_ref().unwrap_or(&self.control).as_fd()
    }

    /// Has what is said from now on said into `fifo` too.
    pub(super) fn hold(&mut self, fifo: OwnedFd) {
        self.held = Some(fifo);
    }
}

impl AsFd for Voice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}

/// A container that comes to be, as its maker sees it.
pub struct Birth {
    control: OwnedFd,
    progress: Progress,
    /// The process that makes the container, where it takes one. It is the caller's child, and ends by itself.
    pub builder: Option<Pid>,
    held: Option<OwnedFd>,
}

/// What the maker has of a container: where it hears of it, and the connection to one that holds.
pub(super) type Ends = (OwnedFd, Option<OwnedFd>);

/// The two sides; connected for a container that `holds`.
pub(super) fn pair(id: &str, holds: bool) -> Result<(Ends, Voice), Fault> {
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK | PipeFlags::DIRECT;
    let (control, voice) = pipe_with(flags).during(Op::Pipe, id)?;
    let (held, maker) = match holds {
        true => Some(seen::pair(id)?),
        false => None,
    }
    .unzip();
    let voice = Voice {
        control: voice,
        held: None,
        maker,
    };
    Ok(((control, held), voice))
}

impl Birth {
    pub(super) fn new(ends: Ends, progress: Progress, builder: Option<Pid>) -> Self {
        let (control, held) = ends;
        Self {
            control,
            progress,
            builder,
            held,
        }
    }

    /// Says to one that holds that others can find it. If this process ends before that, so does the container: nobody would ever let
    /// it go on.
    pub fn keep(&mut self) {
        if let Some(held) = self.held.take() {
            // One that has ended needs to know nothing.
            let _ = send(held, b"!", SendFlags::NOSIGNAL);
        }
    }

    /// How far it is, as far as was heard.
    #[must_use]
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// The container's first process, once it is known.
    #[must_use]
    pub const fn pid(&self) -> Option<Pid> {
        self.progress.pid()
    }

    /// Hears what was said, up to the next news, without waiting for any.
    #[inline(never)]
    pub fn hear(&mut self) -> Option<News> {
        loop {
            let mut message = [0; MESSAGE_MAX];
            let heard = match read(&self.control, &mut message) {
                Err(Errno::AGAIN) => return None,
                Err(Errno::INTR) => continue,
                Ok(len @ 1..) => message_of(message.get(..len).unwrap_or_default()),
                _ => Some(self.end()),
            };
            let (progress, news) =
                heard.map_or((self.progress, None), |heard| self.progress.after(heard));
            self.progress = progress;
            if news.is_some() || matches!(heard, Some(Heard::End | Heard::Lost)) {
                return news;
            }
        }
    }

    /// What the end of the messages means. The program's start ends them; so does the end of a process that is killed before, or
    /// may not write any more. The kernel knows, until the process is collected.
    fn end(&self) -> Heard {
        match self.progress {
            Progress::SettingUp(pid) if process::has_ended_without_a_program(pid) => Heard::Lost,
            _ => Heard::End,
        }
    }

    /// Waits for news. `None` if there will be none any more.
    ///
    /// # Errors
    /// Those of poll(2) but `EINTR`.
    pub fn wait(&mut self) -> Result<Option<News>, Errno> {
        while !matches!(self.progress, Progress::Running(_) | Progress::Failed(_)) {
            match poll(&mut [PollFd::new(&self.control, PollFlags::IN)], None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            }
            if let Some(news) = self.hear() {
                return Ok(Some(news));
            }
        }
        Ok(None)
    }
}

/// Readable when there is something to [`Birth::hear`].
impl AsFd for Birth {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}

/// What came through the FIFO that a container held at, all of it: nothing means that the program runs.
///
/// # Errors
/// The fault that kept it from it.
pub fn released(bytes: &[u8]) -> Result<(), Fault> {
    match message_of(bytes) {
        Some(Heard::Message(Message::Fault(fault))) => Err(fault),
        _ => Ok(()),
    }
}

fn bytes(message: Message) -> heapless::Vec<u8, MESSAGE_MAX> {
    let mut bytes = heapless::Vec::new();
    // The capacity is that of the largest.
    let _ = match message {
        Message::Pid(pid) => bytes
            .push(PID)
            .map(|()| bytes.extend_from_slice(&pid.as_raw_nonzero().get().to_ne_bytes())),
        Message::Holding => bytes.push(HOLDING).map(Ok),
        Message::Fault(fault) => bytes
            .push(FAULT)
            .map(|()| bytes.extend_from_slice(&encode(&fault))),
    };
    bytes
}

/// `None` for what is no message.
fn message_of(bytes: &[u8]) -> Option<Heard> {
    let (kind, rest) = bytes.split_first()?;
    let message = match *kind {
        PID => {
            let (number, _) = rest.split_first_chunk()?;
            Message::Pid(Pid::from_raw(i32::from_ne_bytes(*number))?)
        }
        HOLDING => Message::Holding,
        FAULT => Message::Fault(decode(rest)?),
        _ => return None,
    };
    Some(Heard::Message(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sys::raw::{Forked, exit, fork};

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    fn fault() -> Fault {
        Fault::new(Op::Mount, &"/proc", Errno::PERM)
    }

    #[test]
    fn the_table_of_what_is_known() {
        use Progress::*;
        let [known, holding, failed] = [
            Message::Pid(pid(7)),
            Message::Holding,
            Message::Fault(fault()),
        ]
        .map(Heard::Message);
        let is_failed = Some(News::Failed(fault()));
        let table = [
            (Building, known, SettingUp(pid(7)), None),
            (Building, failed, Failed(None), is_failed),
            (
                SettingUp(pid(7)),
                holding,
                SettingUp(pid(7)),
                Some(News::Holding),
            ),
            (SettingUp(pid(7)), failed, Failed(Some(pid(7))), is_failed),
            (
                SettingUp(pid(7)),
                Heard::End,
                Running(pid(7)),
                Some(News::Running),
            ),
            (
                SettingUp(pid(7)),
                Heard::Lost,
                Failed(Some(pid(7))),
                Some(News::Lost),
            ),
            // One PID is enough, and after the end nothing comes.
            (
                SettingUp(pid(7)),
                Heard::Message(Message::Pid(pid(8))),
                SettingUp(pid(7)),
                None,
            ),
            (Running(pid(7)), failed, Running(pid(7)), None),
            (Failed(None), known, Failed(None), None),
            (Failed(Some(pid(7))), Heard::End, Failed(Some(pid(7))), None),
        ];
        for (before, heard, after, news) in table {
            assert_eq!(before.after(heard), (after, news), "{before:?} {heard:?}");
        }
    }

    #[test]
    fn a_builder_that_dies_without_a_word_is_a_failure() {
        let (progress, news) = Progress::Building.after(Heard::End);
        assert_eq!(progress, Progress::Failed(None));
        let Some(News::Failed(fault)) = news else {
            panic!("{news:?}")
        };
        assert_eq!(
            fault.to_string(),
            "create a process for the container: ECHILD"
        );
    }

    #[test]
    fn messages_survive_the_pipe_one_by_one() {
        let (control, mut voice) = pair("test", false).unwrap();
        let (fifo_reader, fifo) = rustix::pipe::pipe().unwrap();
        let mut birth = Birth::new(control, Progress::Building, None);
        assert_eq!(birth.hear(), None);
        voice.say(Message::Pid(pid(300)));
        voice.say(Message::Holding);
        voice.hold(fifo);
        voice.say(Message::Fault(fault()));
        assert_eq!(birth.hear(), Some(News::Holding));
        assert_eq!(birth.pid(), Some(pid(300)));
        assert_eq!(birth.wait(), Ok(Some(News::Failed(fault()))));
        assert_eq!(birth.wait(), Ok(None));
        drop(voice);
        let mut bytes = [0; 256];
        let len = read(&fifo_reader, &mut bytes).unwrap();
        assert_eq!(released(&bytes[..len]), Err(fault()));
        assert_eq!(released(&[]), Ok(()));
    }

    #[test]
    fn who_holds_learns_whether_it_can_be_found() {
        let (ends, mut voice) = pair("test", true).unwrap();
        Birth::new(ends, Progress::Building, None).keep();
        assert_eq!(voice.wait_for_record(), Ok(()));
        let (ends, mut voice) = pair("test", true).unwrap();
        drop(ends);
        assert_eq!(voice.wait_for_record().unwrap_err().errno, Errno::OWNERDEAD);
    }

    #[test]
    fn the_end_of_the_pipe_means_that_the_program_runs() {
        let (control, voice) = pair("test", false).unwrap();
        // This very program was executed.
        let own = rustix::process::getpid();
        let mut birth = Birth::new(control, Progress::SettingUp(own), None);
        drop(voice);
        assert_eq!(birth.wait(), Ok(Some(News::Running)));
        assert_eq!(birth.progress(), Progress::Running(own));
    }

    #[test]
    fn the_end_of_the_pipe_of_a_process_that_ended_and_executed_nothing_is_a_failure() {
        let (control, voice) = pair("test", false).unwrap();
        let Forked::Parent(child) = fork(0, None).unwrap() else {
            exit(0)
        };
        let mut birth = Birth::new(control, Progress::SettingUp(child), None);
        drop(voice);
        assert_eq!(birth.wait(), Ok(Some(News::Lost)));
        assert_eq!(birth.progress(), Progress::Failed(Some(child)));
        process::wait_for(child);
    }

    #[test]
    fn the_end_of_the_pipe_of_a_process_that_lives_is_that_of_one_in_the_midst_of_execve() {
        let (control, voice) = pair("test", false).unwrap();
        let (wait, go_on) = rustix::pipe::pipe().unwrap();
        let Forked::Parent(child) = fork(0, None).unwrap() else {
            // Until the other end is gone.
            drop((voice, go_on));
            let _ = read(&wait, &mut [0]);
            exit(0)
        };
        let mut birth = Birth::new(control, Progress::SettingUp(child), None);
        drop(voice);
        assert_eq!(birth.wait(), Ok(Some(News::Running)));
        drop(go_on);
        process::wait_for(child);
    }

    #[test]
    fn what_is_no_message_is_not_taken_for_one() {
        for bytes in [&b""[..], &[PID], &[PID, 0, 0, 0, 0], &[FAULT, 0], &[9]] {
            assert_eq!(message_of(bytes), None, "{bytes:?}");
        }
    }
}
