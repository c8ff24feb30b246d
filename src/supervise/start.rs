//! How containers come to be started: all at first, and then those that waited for others or are started again.

use rustix::fs::{Access, access};

use super::Supervisor;
use super::children::Children;
use super::jobs::{self, Jobs};
use crate::cause::Cause;
use crate::container::{Groups, each_bundle, spawn};
use crate::errno;
use crate::error::{Code, Error, Op, Stage};
use crate::events::OWN_FAILURE;
use crate::parse::config::Annotations;
use crate::plan::Plan;
use crate::sys::clock;
use crate::sys::process::Status;
use crate::text::{Bytes, Shown, Text};

impl Supervisor<'_, '_> {
    pub(super) fn start_all(&mut self, plan: &Plan<'_>) -> Result<(), Error> {
        let machine = &mut *self.machine;
        let mut skip = |name: &[u8]| {
            let why = "it is not started: a container's name is 1 to 64 letters, digits, \"_\", \".\", \"-\" or \"+\"";
            let name = Bytes(name);
            machine.warn_of(&Error::new(Code::BundleConfig, Op::Exec, Shown(&name), why));
        };
        let bundles = each_bundle(plan.containers, &mut skip).map_err(with_own_init)?;
        self.jobs = Jobs::new(bundles.ids.into_iter());
        for index in self.jobs.indices() {
            self.start(index, true);
        }
        self.refuse_circles();
        if bundles.excess > 0 {
            self.status.note_failure();
            let error = Error::new(
                Code::ContainerLimit,
                Op::List,
                plan.containers,
                format_args!(
                    "{} bundles are not started: there are more than can be supervised",
                    bundles.excess
                ),
            );
            self.report(&error);
        }
        self.start_due();
        self.settle();
        self.end_if_idle();
        Ok(())
    }

    /// Starts the container at `index`; the first time, it may find that it has to wait for others.
    #[inline(never)]
    fn start(&mut self, index: usize, is_first: bool) {
        let id = self.jobs.id(index);
        let jobs = &self.jobs;
        let mut others = 0;
        let mut restart = None;
        let mut gate = |annotations: &Annotations<'_>| {
            restart = Some(annotations.restart);
            if is_first {
                others = jobs.named(annotations.after).map_err(|name| {
                    Text::new(format_args!("berth.after: there is no container {name}"))
                })?;
            }
            Ok(others == 0)
        };
        let machine = &mut *self.machine;
        let warn = |text: core::fmt::Arguments<'_>| machine.warn(Stage::Containers, text);
        let directory = self.plan.containers;
        let started = spawn(directory, &id, self.groups.as_ref(), &mut gate, warn);
        if let Some(restart) = restart {
            self.jobs.obey(index, restart);
        }
        match started {
            Ok(Some(child)) => {
                self.jobs.starts(index);
                if let Err(fault) = self.children.add(&self.epoll, index, &id, child) {
                    // It was killed, and its end brings the rest.
                    self.machine
                        .warn(Stage::Containers, format_args!("{id}: {fault}"));
                }
            }
            Ok(None) => self.jobs.wait(index, others),
            Err(error) => self.could_not_start(index, &error),
        }
    }

    /// Refuses containers that would wait for themselves.
    #[inline(never)]
    fn refuse_circles(&mut self) {
        let circles = self.jobs.circles();
        let plan = self.plan;
        for index in jobs::each(circles) {
            let id = self.jobs.id(index);
            let error = Error::new(
                Code::BundleConfig,
                Op::Parse,
                format_args!("{}/{id}/config.json", plan.containers),
                format_args!("berth.after forms a cycle: {}", self.jobs.way_back(index)),
            );
            self.machine.container_failed(&id, &error);
            self.status.note_failure();
        }
        // Only now: until then they are on each other's way.
        jobs::each(circles).for_each(|index| self.jobs.failed(index));
    }

    /// Starts what need not wait any more.
    pub(super) fn start_due(&mut self) {
        let mut has_tried = false;
        while let Some(index) = self
            .jobs
            .due(clock::now(), is_free(&self.children, &self.groups))
        {
            self.start(index, false);
            has_tried = true;
        }
        if has_tried {
            self.end_if_idle();
        }
    }

    /// The container at `index` could not be started. What it lacked may be there later, so whether it is started again is for
    /// its restart policy to say; what is wrong with it stays wrong.
    #[inline(never)]
    pub(super) fn could_not_start(&mut self, index: usize, error: &Error) {
        let id = self.jobs.id(index);
        let starved = Status::Exited(OWN_FAILURE);
        let (phase, now) = (self.phase, clock::now());
        let again = match lacks_something(error) {
            true => self.jobs.ended(index, starved, phase, now),
            false => None,
        };
        if let Some((count, rest)) = again {
            self.machine
                .warn(Stage::Containers, format_args!("{id}: {error}"));
            self.machine.container_rests(&id, count, rest);
            return;
        }
        self.jobs.failed(index);
        self.status.note_failure();
        self.machine.container_failed(&id, error);
    }
}

/// A root without containers may be one that has its own program to begin with, which `init=` starts: those that the kernel looks
/// for (init/main.c).
fn with_own_init(error: Error) -> Error {
    let programs = ["/sbin/init", "/etc/init", "/bin/init"];
    let is_there = |program: &&str| access(*program, Access::EXEC_OK).is_ok();
    match programs.into_iter().find(is_there) {
        Some(program) => error
            .with_detail(format_args!(
                "the root has {program}: init={program} starts it"
            ))
            .because(Cause::NoBundle),
        None => error,
    }
}

/// Whether a start failed for want of something that may be there later. Without an error number it does where the process was
/// killed before it could say anything, often for want of memory.
fn lacks_something(error: &Error) -> bool {
    error
        .errno
        .map_or(error.code == Code::ContainerSetup, errno::is_shortage)
}

/// Whether nothing is left of the last run of a container: hooks, or processes on their way out.
pub(super) fn is_free(children: &Children, groups: &Option<Groups>) -> impl Fn(usize) -> bool {
    |index| {
        let is_left = |groups: &Groups| groups.is_left_of(index);
        children.is_free(index) && !groups.as_ref().is_some_and(is_left)
    }
}
