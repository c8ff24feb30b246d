//! Runs of `berth` that are of no container: each does one thing for the machine that takes
//! reading what strangers wrote, and ends.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::process::Pid;

use super::berth::{self, Run, Task};
use super::token::Token;
use crate::error::{During, Fault, Op};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::{process, signal, socket};

/// How many run at once, at most.
pub(super) const WORKERS_MAX: usize = 16;

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Serving the control.
    Control,
    /// The machine's network.
    Network,
    /// Looking after disks.
    Disks,
    /// Writing files of what containers print.
    LogFiles,
    /// What is carried over a reboot.
    Carry,
    /// Having the machine stand still.
    Freeze,
    /// Having it go on.
    Thaw,
}

/// A run.
struct Worker {
    work: Work,
    pid: Pid,
    /// Where its answers come from, until it closes the connection.
    answers: Option<OwnedFd>,
}

/// All runs, each at a place of its own.
#[derive(Default)]
pub(super) struct Workers([Option<Worker>; WORKERS_MAX]);

impl Workers {
    /// Starts a run; the words of `task` say what it does.
    ///
    /// # Errors
    /// Those of socketpair(2), clone3(2) and epoll_ctl(2); `EAGAIN` if there are
    /// [`WORKERS_MAX`]; `ENOENT` without the program.
    #[inline(never)]
    pub(super) fn start(
        &mut self,
        epoll: &Epoll,
        program: Option<BorrowedFd<'_>>,
        work: Work,
        task: Task<'_>,
    ) -> Result<(), Fault> {
        let place = self.0.iter().position(Option::is_none).ok_or(Errno::AGAIN);
        let place = place.during(Op::Clone, task.subject())?;
        let program = program
            .ok_or(Errno::NOENT)
            .during(Op::Exec, task.subject())?;
        let Run { pid, answers } = berth::run(program, task)?;
        // Its end is noticed without it, too.
        let watched = epoll.add(&answers, Token::Worker(place).encode(), Interest::IN);
        if let Some(free) = self.0.get_mut(place) {
            *free = Some(Worker {
                work,
                pid,
                answers: Some(answers),
            });
        }
        watched
    }

    /// Whether there is a run for `work`; it is sent `packet`.
    pub(super) fn tell(&self, work: Work, packet: &[u8]) -> bool {
        let mut workers = self.0.iter().flatten();
        let worker = workers.find(|worker| worker.work == work);
        if let Some(answers) = worker.and_then(|worker| worker.answers.as_ref()) {
            // One that has not read so many is about to do what they say.
            let _ = send(answers, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
        worker.is_some()
    }

    /// The place of the run for `work`, and where its answers come from, if there is one and it has
    /// not ended.
    pub(super) fn answers(&self, work: Work) -> Option<(usize, BorrowedFd<'_>)> {
        let mut workers = self.0.iter().enumerate();
        workers.find_map(|(place, worker)| {
            let worker = worker.as_ref().filter(|worker| worker.work == work)?;
            Some((place, worker.answers.as_ref()?.as_fd()))
        })
    }

    /// Kills the run for `work`.
    pub(super) fn kill(&self, work: Work) {
        let mut workers = self.0.iter().flatten();
        if let Some(worker) = workers.find(|worker| worker.work == work) {
            // It may have ended.
            let _ = process::signal(worker.pid, signal::KILL);
        }
    }

    /// What the run at `place` is for.
    pub(super) fn work(&self, place: usize) -> Option<Work> {
        Some(self.0.get(place)?.as_ref()?.work)
    }

    /// The place of the run that is the process `pid`.
    pub(super) fn find(&self, pid: Pid) -> Option<usize> {
        let is_it = |worker: &Option<Worker>| worker.as_ref().is_some_and(|run| run.pid == pid);
        self.0.iter().position(is_it)
    }

    /// The next packet from the run at `place`, and a descriptor that came with it; `None` if there
    /// is none now. No bytes are the end.
    pub(super) fn next_answer(
        &self,
        place: usize,
        room: &mut [u8],
    ) -> Option<Result<socket::Packet, Errno>> {
        let answers = self.0.get(place)?.as_ref()?.answers.as_ref()?;
        socket::packet_if_any(answers, room)
    }

    /// Closes the connection to the run at `place`.
    pub(super) fn close_answers(&mut self, epoll: &Epoll, place: usize) {
        let worker = self.0.get_mut(place).and_then(Option::as_mut);
        if let Some(answers) = worker.and_then(|worker| worker.answers.take()) {
            epoll.remove(&answers);
        }
    }

    /// The run at `place` has ended.
    pub(super) fn remove(&mut self, epoll: &Epoll, place: usize) {
        self.close_answers(epoll, place);
        if let Some(place) = self.0.get_mut(place) {
            *place = None;
        }
    }
}
