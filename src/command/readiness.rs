//! `berth.ready`: a container that PID 1 has started is ready when it says so, or when there is
//! something at a path in it.
//!
//! PID 1 reads nothing that a container wrote, so the process that has started it stays, and
//! answers [`Answer::Ready`](crate::parse::answer::Answer::Ready). It sleeps until something
//! happens, and ends with the container, or when PID 1 does not listen any more. It has the lowest
//! priority: a container that floods its socket, or a directory that is watched, delays its own
//! readiness and nobody else.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::{getpid, set_child_subreaper, setpriority_process};

use super::notify::Notify;
use super::path_watch::PathWatch;
use super::record::Record;
use super::state::Directory;
use super::{Call, OrReport, Reported};
use crate::error::{Code, During, Fault, Op};
use crate::parse::config::Ready;
use crate::sys::resident;

/// The priority of who has nothing urgent to do (setpriority(2)).
const LOWEST: i32 = 19;

/// What is waited for.
pub(super) enum Readiness {
    /// `READY=1`.
    Said(Notify),
    /// Something at a path.
    Path(PathWatch),
}

impl Readiness {
    /// Makes what it takes to find out whether a container is ready that holds before its program;
    /// `None` if that is ready by its start or its end.
    ///
    /// # Errors
    /// [`Code::ContainerSetup`].
    pub(super) fn open(
        call: &Call<'_>,
        directory: &Directory,
        record: &Record,
        ready: Ready<'_>,
    ) -> Result<Option<Self>, Reported> {
        let opened = match ready {
            Ready::Started | Ready::Exited => return Ok(None),
            Ready::Notify => Notify::bind(directory).map(Self::Said),
            Ready::Path(path) => PathWatch::open(record.pid, path).map(Self::Path),
        };
        opened.map(Some).or_report(call, Code::ContainerSetup)
    }

    /// Waits until the container is ready, and says so to PID 1, or until it has ended.
    pub(super) fn tell(mut self, call: &Call<'_>, record: &Record) -> Result<(), Reported> {
        let Some(supervisor) = call.journal.supervisor() else {
            return Ok(());
        };
        // Processes that the container leaves behind are PID 1's to reap.
        let _ = set_child_subreaper(None);
        let _ = setpriority_process(Some(getpid()), LOWEST);
        resident::release_stack();
        let is_ready = self.wait(record, supervisor.as_fd());
        if is_ready.or_report(call, Code::Control)? {
            supervisor.tell_ready();
        }
        Ok(())
    }

    /// Whether the container is ready, and has not ended before.
    fn wait(&mut self, record: &Record, supervisor: BorrowedFd<'_>) -> Result<bool, Fault> {
        // It may have ended by now, and have been ready before.
        let process = record.process()?;
        let mut is_over = process.is_none();
        let mut has_other_mounts = true;
        loop {
            let (is_ready, [names, mounts]) = match self {
                Self::Said(notify) => {
                    let is_said = notify.is_ready_said();
                    (is_said, [(Notify::as_fd(notify), PollFlags::IN); 2])
                }
                Self::Path(watch) => (watch.look(has_other_mounts)?, watch.sources()),
            };
            // What the process said before it ended was read, unless others still write.
            let Some(process) = process.as_ref().filter(|_| !is_ready && !is_over) else {
                return Ok(is_ready);
            };
            let ends = [process.as_fd(), supervisor].map(|end| (end, PollFlags::IN));
            let [process, supervisor] = ends;
            let mut polled = [process, supervisor, names, mounts]
                .map(|(file, flags)| PollFd::from_borrowed_fd(file, flags));
            match poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).during(Op::Wait, "berth.ready"),
            }
            let [ended, dismissed, _, mounts] =
                polled.each_ref().map(|one| !one.revents().is_empty());
            is_over = ended || dismissed;
            has_other_mounts = mounts;
        }
    }
}
