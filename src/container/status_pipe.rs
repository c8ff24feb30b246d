//! The status pipe: how the processes that make a container tell the caller how far it is.
//!
//! Up to three processes write into one pipe in packet mode (pipe(7), O_DIRECT), so that each
//! message is read by itself. Each has the writing end until it ends or executes a program. So the
//! end of the file is a message, too: nobody has anything left to say, and the container's program
//! runs. [`Progress`] is pure, so that tests can hold it against a table.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};
use rustix::net::{SendFlags, send};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::handshake;
use super::report::{REPORT_MAX, decode, encode};
use crate::error::{During, Fault, Op};
use crate::sys::process;

/// The largest message, in bytes.
const MESSAGE_MAX: usize = 1 + REPORT_MAX;

// The first byte of a message says which it is.
const PID: u8 = 0;
const CREATED: u8 = 1;
const FAULT: u8 = 2;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Message {
    /// The PID of the container's first process, as the caller sees it. The builder sends it.
    Pid(Pid),
    /// The container is set up, and waits for somebody to open its FIFO
    /// (see [`super::Request::exec_fifo`]).
    Created,
    /// The set-up failed, and this is why.
    Fault(Fault),
}

/// What one read of the pipe gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Received {
    /// A message.
    Message(Message),
    /// The end of the file: there will be no more messages.
    Closed,
    /// The end of the file, and the first process has ended without executing a program.
    Died,
}

/// What the caller of [`super::start()`] waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StartEvent {
    /// The container is set up, and waits before it executes its program.
    Created,
    /// The program runs.
    Running,
    /// There will be no program, and this is why.
    Failed(Fault),
    /// There will be no program, and no process could say why.
    Died,
}

/// How far the start of a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The builder is at work; the first process does not exist yet, or is not known.
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

    /// The progress after `received`, and the event that the caller waits for, if this is one.
    #[must_use]
    pub fn after(self, received: Received) -> (Self, Option<StartEvent>) {
        match (self, received) {
            (Self::Running(_) | Self::Failed(_), _) => (self, None),
            (Self::Building, Received::Message(Message::Pid(pid))) => (Self::SettingUp(pid), None),
            (Self::SettingUp(_), Received::Message(Message::Pid(_))) => (self, None),
            (_, Received::Message(Message::Created)) => (self, Some(StartEvent::Created)),
            (_, Received::Message(Message::Fault(fault))) => {
                (Self::Failed(self.pid()), Some(StartEvent::Failed(fault)))
            }
            (Self::SettingUp(pid), Received::Closed) => {
                (Self::Running(pid), Some(StartEvent::Running))
            }
            (Self::SettingUp(pid), Received::Died) => {
                (Self::Failed(Some(pid)), Some(StartEvent::Died))
            }
            (Self::Building, Received::Closed | Received::Died) => {
                let fault = Err::<(), _>(Errno::CHILD).during(Op::Clone, "the container");
                (Self::Failed(None), fault.err().map(StartEvent::Failed))
            }
        }
    }
}

/// The writing end of the pipe. It is closed by execve(2), so once the program runs no process has
/// it any more.
pub(super) struct StatusPipe {
    pipe: OwnedFd,
    /// The FIFO that the container waited at. The process that let it go on reads the FIFO, and not
    /// the pipe.
    exec_fifo: Option<OwnedFd>,
    /// The connection over which the caller says that the container is recorded
    /// (see [`PendingStart::confirm_recorded`]).
    recorded: Option<OwnedFd>,
}

impl StatusPipe {
    /// Sends `message`. There may be nobody left to read it.
    #[inline(never)]
    pub(super) fn send(&self, message: Message) {
        let bytes = bytes(message);
        // The FIFO comes first: its reader is there, while the caller may be gone, and then the
        // signal for writing into the pipe ends this process (pipe(7), SIGPIPE).
        for reader in self.exec_fifo.iter().chain([&self.pipe]) {
            let _ = write(reader, &bytes);
        }
    }

    /// Waits until the caller says that the container is recorded, and so can be found by others.
    ///
    /// # Errors
    /// `EOWNERDEAD` if the caller has ended before that.
    pub(super) fn wait_for_record(&mut self) -> Result<(), Fault> {
        let Some(recorded) = self.recorded.take() else {
            return Ok(());
        };
        // The container's filter may be installed already, and every filter lets read(2) through.
        match read(recorded, &mut [0]) {
            Ok(1) => Ok(()),
            _ => Err(Errno::OWNERDEAD).during(Op::Wait, "the process that makes the container"),
        }
    }

    /// The connection for [`wait_for_record`](Self::wait_for_record); without one, the pipe.
    pub(super) fn recorded_socket(&self) -> BorrowedFd<'_> {
        self.recorded.as_ref().unwrap_or(&self.pipe).as_fd()
    }

    /// From now on, messages go into `fifo`, too.
    pub(super) fn also_send_to(&mut self, fifo: OwnedFd) {
        self.exec_fifo = Some(fifo);
    }
}

impl AsFd for StatusPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// A container that is being started, as the caller sees it.
pub struct PendingStart {
    pipe: OwnedFd,
    progress: Progress,
    /// The process that makes the container, where it takes one. It is the caller's child, and ends
    /// by itself.
    pub builder: Option<Pid>,
    recorded: Option<OwnedFd>,
}

/// The caller's ends: of the pipe, and of the connection to a container that waits.
pub(super) type CallersEnds = (OwnedFd, Option<OwnedFd>);

/// Makes the pipe. A container that `waits` before its program gets a connection as well.
pub(super) fn pair(id: &str, waits: bool) -> Result<(CallersEnds, StatusPipe), Fault> {
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK | PipeFlags::DIRECT;
    let (reader, writer) = pipe_with(flags).during(Op::Pipe, id)?;
    let (callers, recorded) = match waits {
        true => Some(handshake::pair(id)?),
        false => None,
    }
    .unzip();
    let status_pipe = StatusPipe {
        pipe: writer,
        exec_fifo: None,
        recorded,
    };
    Ok(((reader, callers), status_pipe))
}

impl PendingStart {
    pub(super) fn new(ends: CallersEnds, progress: Progress, builder: Option<Pid>) -> Self {
        let (pipe, recorded) = ends;
        Self {
            pipe,
            progress,
            builder,
            recorded,
        }
    }

    /// Tells a container that waits before its program that it is recorded. If the caller ends
    /// before that, the container ends, too: nobody could ever let it go on.
    pub fn confirm_recorded(&mut self) {
        if let Some(recorded) = self.recorded.take() {
            // A container that has ended does not need the answer.
            let _ = send(recorded, b"!", SendFlags::NOSIGNAL);
        }
    }

    /// How far the start is, after all messages that were read.
    #[must_use]
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// The container's first process, once it is known.
    #[must_use]
    pub const fn pid(&self) -> Option<Pid> {
        self.progress.pid()
    }

    /// Reads what was sent, up to the next event, without waiting for any.
    #[inline(never)]
    pub fn try_next(&mut self) -> Option<StartEvent> {
        loop {
            let mut message = [0; MESSAGE_MAX];
            let received = match read(&self.pipe, &mut message) {
                Err(Errno::AGAIN) => return None,
                Err(Errno::INTR) => continue,
                Ok(len @ 1..) => message_of(message.get(..len).unwrap_or_default()),
                _ => Some(self.end()),
            };
            let (progress, event) = received.map_or((self.progress, None), |received| {
                self.progress.after(received)
            });
            self.progress = progress;
            if event.is_some() || matches!(received, Some(Received::Closed | Received::Died)) {
                return event;
            }
        }
    }

    /// What the end of the messages means. The start of the program ends them, and so does the end
    /// of a process that is killed before, or may not write any more. Until that process is
    /// collected, the kernel knows which of the two it was.
    fn end(&self) -> Received {
        match self.progress {
            Progress::SettingUp(pid) if process::has_ended_without_a_program(pid) => Received::Died,
            _ => Received::Closed,
        }
    }

    /// Waits for the next event; `None` if there will be none any more.
    ///
    /// # Errors
    /// Those of poll(2) but `EINTR`.
    pub fn wait(&mut self) -> Result<Option<StartEvent>, Errno> {
        while !matches!(self.progress, Progress::Running(_) | Progress::Failed(_)) {
            match poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            }
            if let Some(event) = self.try_next() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

/// Readable when there is something for [`PendingStart::try_next`].
impl AsFd for PendingStart {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// What became of a container that was let go on: `bytes` is all that came through its FIFO.
/// Nothing means that the program runs.
///
/// # Errors
/// The fault that kept the program from running.
pub fn start_result(bytes: &[u8]) -> Result<(), Fault> {
    match message_of(bytes) {
        Some(Received::Message(Message::Fault(fault))) => Err(fault),
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
        Message::Created => bytes.push(CREATED).map(Ok),
        Message::Fault(fault) => bytes
            .push(FAULT)
            .map(|()| bytes.extend_from_slice(&encode(&fault))),
    };
    bytes
}

/// `None` for what is no message.
fn message_of(bytes: &[u8]) -> Option<Received> {
    let (kind, rest) = bytes.split_first()?;
    let message = match *kind {
        PID => {
            let (number, _) = rest.split_first_chunk()?;
            Message::Pid(Pid::from_raw(i32::from_ne_bytes(*number))?)
        }
        CREATED => Message::Created,
        FAULT => Message::Fault(decode(rest)?),
        _ => return None,
    };
    Some(Received::Message(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sys::process::{Forked, exit, fork};

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
            Message::Created,
            Message::Fault(fault()),
        ]
        .map(Received::Message);
        let is_failed = Some(StartEvent::Failed(fault()));
        let table = [
            (Building, known, SettingUp(pid(7)), None),
            (Building, failed, Failed(None), is_failed),
            (
                SettingUp(pid(7)),
                holding,
                SettingUp(pid(7)),
                Some(StartEvent::Created),
            ),
            (SettingUp(pid(7)), failed, Failed(Some(pid(7))), is_failed),
            (
                SettingUp(pid(7)),
                Received::Closed,
                Running(pid(7)),
                Some(StartEvent::Running),
            ),
            (
                SettingUp(pid(7)),
                Received::Died,
                Failed(Some(pid(7))),
                Some(StartEvent::Died),
            ),
            // One PID is enough, and after the end nothing comes.
            (
                SettingUp(pid(7)),
                Received::Message(Message::Pid(pid(8))),
                SettingUp(pid(7)),
                None,
            ),
            (Running(pid(7)), failed, Running(pid(7)), None),
            (Failed(None), known, Failed(None), None),
            (
                Failed(Some(pid(7))),
                Received::Closed,
                Failed(Some(pid(7))),
                None,
            ),
        ];
        for (before, received, after, event) in table {
            assert_eq!(
                before.after(received),
                (after, event),
                "{before:?} {received:?}"
            );
        }
    }

    #[test]
    fn a_builder_that_dies_without_a_word_is_a_failure() {
        let (progress, event) = Progress::Building.after(Received::Closed);
        assert_eq!(progress, Progress::Failed(None));
        let Some(StartEvent::Failed(fault)) = event else {
            panic!("{event:?}")
        };
        assert_eq!(
            fault.to_string(),
            "create a process for the container: ECHILD"
        );
    }

    #[test]
    fn messages_survive_the_pipe_one_by_one() {
        let (control, mut status_pipe) = pair("test", false).unwrap();
        let (fifo_reader, fifo) = rustix::pipe::pipe().unwrap();
        let mut pending = PendingStart::new(control, Progress::Building, None);
        assert_eq!(pending.try_next(), None);
        status_pipe.send(Message::Pid(pid(300)));
        status_pipe.send(Message::Created);
        status_pipe.also_send_to(fifo);
        status_pipe.send(Message::Fault(fault()));
        assert_eq!(pending.try_next(), Some(StartEvent::Created));
        assert_eq!(pending.pid(), Some(pid(300)));
        assert_eq!(pending.wait(), Ok(Some(StartEvent::Failed(fault()))));
        assert_eq!(pending.wait(), Ok(None));
        drop(status_pipe);
        let mut bytes = [0; 256];
        let len = read(&fifo_reader, &mut bytes).unwrap();
        assert_eq!(start_result(&bytes[..len]), Err(fault()));
        assert_eq!(start_result(&[]), Ok(()));
    }

    #[test]
    fn who_holds_learns_whether_it_can_be_found() {
        let (ends, mut status_pipe) = pair("test", true).unwrap();
        PendingStart::new(ends, Progress::Building, None).confirm_recorded();
        assert_eq!(status_pipe.wait_for_record(), Ok(()));
        let (ends, mut status_pipe) = pair("test", true).unwrap();
        drop(ends);
        assert_eq!(
            status_pipe.wait_for_record().unwrap_err().errno,
            Errno::OWNERDEAD
        );
    }

    #[test]
    fn the_end_of_the_pipe_means_that_the_program_runs() {
        let (control, status_pipe) = pair("test", false).unwrap();
        // This very program was executed.
        let own = rustix::process::getpid();
        let mut pending = PendingStart::new(control, Progress::SettingUp(own), None);
        drop(status_pipe);
        assert_eq!(pending.wait(), Ok(Some(StartEvent::Running)));
        assert_eq!(pending.progress(), Progress::Running(own));
    }

    #[test]
    fn the_end_of_the_pipe_of_a_process_that_ended_and_executed_nothing_is_a_failure() {
        let (control, status_pipe) = pair("test", false).unwrap();
        let Forked::Parent(child) = fork(0, None).unwrap() else {
            exit(0)
        };
        let mut pending = PendingStart::new(control, Progress::SettingUp(child), None);
        drop(status_pipe);
        assert_eq!(pending.wait(), Ok(Some(StartEvent::Died)));
        assert_eq!(pending.progress(), Progress::Failed(Some(child)));
        process::wait_for(child);
    }

    #[test]
    fn the_end_of_the_pipe_of_a_process_that_lives_is_that_of_one_in_the_midst_of_execve() {
        let (control, status_pipe) = pair("test", false).unwrap();
        let (wait, resume) = rustix::pipe::pipe().unwrap();
        let Forked::Parent(child) = fork(0, None).unwrap() else {
            // Until the other end is gone.
            drop((status_pipe, resume));
            let _ = read(&wait, &mut [0]);
            exit(0)
        };
        let mut pending = PendingStart::new(control, Progress::SettingUp(child), None);
        drop(status_pipe);
        assert_eq!(pending.wait(), Ok(Some(StartEvent::Running)));
        drop(resume);
        process::wait_for(child);
    }

    #[test]
    fn what_is_no_message_is_not_taken_for_one() {
        for bytes in [&b""[..], &[PID], &[PID, 0, 0, 0, 0], &[FAULT, 0], &[9]] {
            assert_eq!(message_of(bytes), None, "{bytes:?}");
        }
    }
}
