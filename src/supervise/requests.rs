//! Containers that are started and stopped by request.

use rustix::fs::stat;

use super::jobs::{Ending, Next};
use super::policy::Phase;
use super::{STOP_TIMEOUT, Supervisor};
use crate::container::Id;
use crate::error::{Code, Error, Op};
use crate::parse::request::Condition;
use crate::sys::clock;
use crate::sys::path::path;

impl Supervisor<'_, '_> {
    /// Starts a container that does not run. Its bundle is read afresh, and may have come since the
    /// boot.
    ///
    /// # Errors
    /// [`Code::NoContainer`], [`Code::WrongStatus`], [`Code::ContainerLimit`], [`Code::Freeze`].
    #[inline(never)]
    pub(super) fn start_by_request(&mut self, id: &str) -> Result<(), Error> {
        self.refuse_while_ending(Op::Exec, id)?;
        self.refuse_while_frozen(Op::Exec, id)?;
        let Some(index) = self.jobs.find(id) else {
            return self.add_by_request(id);
        };
        match self.jobs.condition(index) {
            Condition::Running => Err(wrong_status(Op::Exec, id, "it is running")),
            Condition::Starting | Condition::Waiting => {
                Err(wrong_status(Op::Exec, id, "it is being started"))
            }
            _ => {
                self.jobs.start_again(index, clock::now());
                Ok(())
            }
        }
    }

    /// Takes a container in whose bundle has come since the boot.
    fn add_by_request(&mut self, id: &str) -> Result<(), Error> {
        let containers = self.plan.containers;
        let config = path(format_args!("{containers}/{id}/config.json"));
        let is_there = config.is_ok_and(|config| stat(config.as_str()).is_ok());
        let Some(name) = Id::try_from(id).ok().filter(|_| is_there) else {
            let detail = format_args!("there is no bundle {containers}/{id} either");
            return Err(Error::new(Code::NoContainer, Op::Exec, id, detail));
        };
        if self.jobs.add(name) {
            return Ok(());
        }
        let detail = "as many containers as can be supervised are known already";
        Err(Error::new(Code::ContainerLimit, Op::Exec, id, detail))
    }

    /// Asks a container to end, and kills it if it does not in its time. It is started again only
    /// if that is what comes `next`.
    ///
    /// # Errors
    /// [`Code::NoContainer`]; [`Code::WrongStatus`] while the machine ends; [`Code::Freeze`].
    #[inline(never)]
    pub(super) fn stop_by_request(&mut self, id: &str, next: Next) -> Result<(), Error> {
        self.refuse_while_ending(Op::Signal, id)?;
        self.refuse_while_frozen(Op::Signal, id)?;
        let index = self.job_named(id)?;
        match self.jobs.stop(index, next, clock::now()) {
            Ending::Later => self.slots.stop(index, STOP_TIMEOUT),
            Ending::Now => {
                self.slots.give_up(&self.epoll, index);
                if next == Next::Nothing {
                    self.machine.journal.container_stopped(&self.jobs.id(index));
                }
            }
        }
        Ok(())
    }

    /// The container of this name.
    ///
    /// # Errors
    /// [`Code::NoContainer`].
    pub(super) fn job_named(&self, id: &str) -> Result<usize, Error> {
        let detail = "PID 1 knows no container of this name";
        self.jobs
            .find(id)
            .ok_or_else(|| Error::new(Code::NoContainer, Op::Open, id, detail))
    }

    fn refuse_while_ending(&self, op: Op, id: &str) -> Result<(), Error> {
        match self.phase {
            Phase::Running => Ok(()),
            _ => Err(wrong_status(op, id, "the machine shuts down")),
        }
    }
}

/// That the container is not in a state in which this can be done.
#[cold]
#[inline(never)]
pub(super) fn wrong_status(op: Op, id: &str, why: &str) -> Error {
    Error::new(Code::WrongStatus, op, id, why)
}
