//! One slot: a container from its start until nothing is left of it.

use core::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::{SendFlags, send};
use rustix::process::Pid;

use super::ends::Late;
use super::output::{OutputPipe, interest};
use crate::container::{Group, Id};
use crate::error::Fault;
use crate::events::Stream;
use crate::parse::answer::GO;
use crate::parse::config::OnExit;
use crate::supervise::berth::{Output, Run};
use crate::supervise::token::Token;
use crate::sys::clock::{self, Moment};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::pidfd::Process;
use crate::sys::{process, signal};

/// How long `berth` may take to read a bundle, on a machine that has much else to do.
const READING: Duration = Duration::from_secs(60);

/// How long it may take to set a container up, hooks and their timeouts included.
const SETTING_UP: Duration = Duration::from_secs(15 * 60);

/// How far a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its bundle is being read, until then at most.
    Reading(Moment),
    /// It is not its turn yet.
    Waiting,
    /// It is being set up, until then at most; its first process, once that is known.
    SettingUp(Moment, Option<Pid>),
    /// Its program runs, as this process.
    Running(Pid),
    /// Its first process has ended, or there will be none.
    Over,
}

/// How far its end has come, if that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nobody has asked.
    No,
    /// It was asked to end, and is killed then.
    Asked(Moment),
    /// It was killed, and is waited for until then.
    Killed(Moment),
    /// It was killed, and is there for good: a process of it sleeps where no signal reaches it.
    GivenUp,
}

/// What is known of a container, and watched for it.
pub(super) struct Slot {
    pub(super) id: Id,
    pub(super) state: State,
    /// The run of `berth` that starts it.
    pub(super) starter: Option<Pid>,
    /// The run of `berth` that clears it away.
    pub(super) cleaner: Option<Pid>,
    /// Where the answers of the one that is there come from.
    pub(super) answers: Option<OwnedFd>,
    pub(super) group: Option<Group>,
    /// Something may be left of it that is to be cleared away.
    pub(super) is_left: bool,
    /// When that is tried again.
    pub(super) clear_at: Option<Moment>,
    pub(super) stop: Stop,
    /// What its bundle asks for.
    pub(super) on_exit: OnExit,
    pub(super) stop_timeout: Option<Duration>,
    pub(super) is_raw: bool,
    /// The `berth` that starts it stays until it is ready.
    pub(super) has_listener: bool,
    /// Standard output and standard error.
    pub(super) output: [OutputPipe; 2],
}

impl Slot {
    /// A container whose start has begun.
    pub(super) fn new(id: &Id, run: Run, [stdout, stderr]: Output) -> Self {
        Self {
            id: id.clone(),
            state: State::Reading(clock::now() + READING),
            starter: Some(run.pid),
            cleaner: None,
            answers: Some(run.answers),
            group: None,
            is_left: false,
            clear_at: None,
            stop: Stop::No,
            on_exit: OnExit::Continue,
            stop_timeout: None,
            is_raw: false,
            has_listener: false,
            output: [
                OutputPipe::new(Stream::Stdout, stdout),
                OutputPipe::new(Stream::Stderr, stderr),
            ],
        }
    }

    /// Watches its answers and its pipes; the pipes only if output `is_read`.
    pub(super) fn watch(&self, epoll: &Epoll, index: usize, is_read: bool) -> Result<(), Fault> {
        self.watch_answers(epoll, index)?;
        self.output.iter().try_for_each(|output| {
            let token = Token::Output(index, output.stream);
            let pipe = output.pipe.as_ref();
            pipe.map_or(Ok(()), |pipe| {
                epoll.add(pipe, token.encode(), interest(is_read))
            })
        })
    }

    pub(super) fn watch_answers(&self, epoll: &Epoll, index: usize) -> Result<(), Fault> {
        let token = Token::Answers(index);
        let answers = self.answers.as_ref();
        answers.map_or(Ok(()), |answers| {
            epoll.add(answers, token.encode(), Interest::IN)
        })
    }

    /// Closes the connection to `berth`. A start that waits for its turn is given up by that.
    pub(super) fn close_answers(&mut self, epoll: &Epoll) {
        if let Some(answers) = self.answers.take() {
            epoll.remove(&answers);
        }
    }

    /// Lets `berth` set it up.
    pub(super) fn go(&mut self) {
        self.state = State::SettingUp(clock::now() + SETTING_UP, None);
        self.send_go();
    }

    /// Tells the `berth` that starts it to go on.
    pub(super) fn send_go(&self) {
        if let Some(answers) = &self.answers {
            // If it has ended meanwhile, the signal about that comes in any case.
            let _ = send(answers, GO, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }

    /// True while it is not known whether its program will run.
    pub(super) const fn is_starting(&self) -> bool {
        matches!(
            self.state,
            State::Reading(_) | State::Waiting | State::SettingUp(..)
        )
    }

    pub(super) const fn first_process(&self) -> Option<Pid> {
        match self.state {
            State::SettingUp(_, first) => first,
            State::Running(first) => Some(first),
            _ => None,
        }
    }

    /// When there is something to do about it, and what.
    pub(super) fn deadline(&self) -> Option<(Moment, Late)> {
        let own = match self.state {
            State::Reading(deadline) | State::SettingUp(deadline, _) => {
                Some((deadline, Late::Start))
            }
            State::Over => self.clear_at.map(|deadline| (deadline, Late::Clearing)),
            State::Running(_) | State::Waiting => None,
        };
        let stop = match self.stop {
            Stop::Asked(deadline) => Some((deadline, Late::Stop)),
            Stop::Killed(deadline) => Some((deadline, Late::Killing)),
            Stop::No | Stop::GivenUp => None,
        };
        own.into_iter()
            .chain(stop)
            .min_by_key(|(deadline, _)| *deadline)
    }

    /// Sends `signal` to its first process and to the `berth` that starts it. One that listens to a
    /// container which runs ends with that.
    pub(super) fn signal(&self, signal: u32) {
        if let Some(first) = self.first_process()
            && let Ok(process) = Process::open(number_of(first))
            && self.is_parent(process.parent())
        {
            // A process that has ended already is not signalled, and that is fine.
            let _ = process.signal(signal);
        }
        if self.is_starting() || !self.has_listener {
            signal_child(self.starter, signal);
        }
    }

    /// Whether a process with this parent can be the container's first: it is a child of the
    /// `berth` that starts the container until that ends, and then a child of PID 1.
    pub(super) fn is_parent(&self, parent: Option<i32>) -> bool {
        let parent = parent.and_then(Pid::from_raw);
        parent.is_some_and(|parent| parent == Pid::INIT || Some(parent) == self.starter)
    }

    /// Kills all its processes; without a control group, its first, whose PID namespace goes with
    /// it.
    pub(super) fn kill(&self) {
        let is_killed = |group: &Group| group.kill().is_ok();
        if !self.group.as_ref().is_some_and(is_killed) {
            self.signal(signal::KILL);
        }
    }

    /// There will be no program. Kills what was made of the container, and the `berth` that starts
    /// it.
    pub(super) fn give_up(&mut self, epoll: &Epoll) {
        self.kill();
        signal_child(self.starter, signal::KILL);
        self.is_left |= matches!(self.state, State::SettingUp(..));
        self.state = State::Over;
        self.close_answers(epoll);
    }
}

/// The number of a process.
pub(super) fn number_of(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().cast_unsigned()
}

/// Sends `signal` to a child of PID 1 that was not reaped.
pub(super) fn signal_child(pid: Option<Pid>, signal: u32) {
    if let Some(pid) = pid {
        // It may have ended.
        let _ = process::signal(pid, signal);
    }
}
