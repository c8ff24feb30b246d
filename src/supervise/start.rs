//! Starting containers: all at first, and later those that waited for others or are restarted.

use rustix::fd::AsFd;
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::jobs::{Required, Unknown};
use super::slots::Late;
use super::{Supervisor, berth};
use crate::cause::Cause;
use crate::container::each_bundle;
use crate::errno;
use crate::error::{At, Code, During, Error, Op, Stage};
use crate::events::OWN_FAILURE;
use crate::hint::of_machine;
use crate::parse::answer::Policy;
use crate::plan::Plan;
use crate::sys::path::path;
use crate::sys::process::Status;
use crate::sys::{clock, kmsg, signal};
use crate::text::{Bytes, Shown};

impl Supervisor<'_, '_> {
    pub(super) fn start_all(&mut self, plan: &Plan<'_>) -> Result<(), Error> {
        let machine = &mut *self.machine;
        let mut skip = |name: &[u8]| {
            let why = "it is not started: a container's name is 1 to 64 letters, digits, \"_\", \".\", \"-\" or \"+\", and not \"control\" or \"generation\"";
            let name = Bytes(name);
            machine
                .journal
                .warn_of(&Error::new(Code::BundleConfig, Op::Exec, Shown(&name), why));
        };
        let bundles = each_bundle(plan.containers, &mut skip).map_err(with_own_init)?;
        // There are as many places as names.
        for id in bundles.ids.iter() {
            self.jobs.add(id.clone());
        }
        for index in self.jobs.indices() {
            self.start(index);
        }
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
            self.machine.journal.failure(&error);
        }
        self.start_due();
        self.settle();
        self.end_if_idle();
        Ok(())
    }

    /// Has the bundle of the container at `index` read. The start goes on when the bundle's policy
    /// was answered.
    #[inline(never)]
    fn start(&mut self, index: usize) {
        let id = self.jobs.id(index);
        self.jobs.set_starting(index);
        self.has_started = true;
        let bundle = path(format_args!("{}/{id}", self.plan.containers));
        let run = bundle.during(Op::Open, &id).and_then(|bundle| {
            let program = self.machine.berth.as_ref();
            let program = program.ok_or(Errno::NOENT).during(Op::Exec, &id)?;
            berth::start(program.as_fd(), &bundle, &id)
        });
        let added = run
            .map_err(|fault| fault.at(Code::ContainerSetup))
            .and_then(|run| {
                let added = self.slots.add(&self.epoll, index, &id, run);
                added.at(Code::EventLoop)
            });
        if let Err(error) = added {
            self.start_failed(index, &error, is_transient(&error));
        }
    }

    /// The bundle of the container at `index` asks for this. It may have to wait for others.
    pub(super) fn follow_policy(&mut self, index: usize, policy: &Policy<'_>) {
        match self.jobs.follow(index, policy) {
            // It goes on at the end of the turn, if it need not wait any more.
            Ok(true) => {
                if !policy.requires.is_empty() {
                    let id = self.jobs.id(index);
                    let others = policy.requires;
                    kmsg::info(
                        Stage::Containers,
                        format_args!("{id} is started when these are ready: {others}"),
                    );
                }
            }
            Ok(false) => self.slots.go(index),
            Err(Unknown { key, name }) => {
                let id = self.jobs.id(index);
                let error = Error::new(
                    Code::BundleConfig,
                    Op::Parse,
                    format_args!("{}/{id}/config.json", self.plan.containers),
                    format_args!("{key}: there is no container {name}"),
                );
                self.slots.give_up(&self.epoll, index);
                self.start_failed(index, &error, false);
            }
        }
        self.refuse_cycles();
    }

    /// Gives up what has taken too long, and tries again what could not be done before.
    pub(super) fn serve_deadlines(&mut self) {
        let now = clock::now();
        while let Some((index, late)) = self.slots.late(now) {
            match late {
                Late::Clearing => self.clear(index),
                Late::Stop => {
                    let id = self.slots.id(index);
                    kmsg::warning(
                        Stage::Containers,
                        format_args!("{id} has not ended in time, and is killed"),
                    );
                    self.slots.kill(index);
                }
                Late::Killing => self.slots.stop_waiting_for(index),
                Late::Start => self.give_up_start(index, "has not answered for too long"),
            }
        }
    }

    /// The start of the container at `index` is given up, because of what the program that starts
    /// it does.
    pub(super) fn give_up_start(&mut self, index: usize, why: &str) {
        let id = self.jobs.id(index);
        let error = Error::new(
            Code::BerthFailed,
            Op::Wait,
            format_args!("the start of {id}"),
            format_args!("berth, which starts it, {why}"),
        );
        if self.slots.give_up(&self.epoll, index) {
            self.start_failed(index, &error, false);
        } else {
            self.slots.dismiss(&self.epoll, index);
            self.machine
                .journal
                .warn(Stage::Containers, format_args!("{error}"));
        }
    }

    /// Refuses containers that wait for themselves, when it is known of all what they wait for.
    #[inline(never)]
    fn refuse_cycles(&mut self) {
        if !self.jobs.are_all_read() {
            return;
        }
        let cycles = self.jobs.cycles();
        let plan = self.plan;
        for index in cycles.iter() {
            let id = self.jobs.id(index);
            let error = Error::new(
                Code::BundleConfig,
                Op::Parse,
                format_args!("{}/{id}/config.json", plan.containers),
                self.jobs.cycle_through(index),
            );
            self.machine
                .journal
                .container_failed(&id, &error, of_machine(&error));
            self.status.note_failure();
        }
        for index in cycles.iter() {
            // Only now: the messages above name the whole cycle.
            self.jobs.set_failed(index);
            self.slots.give_up(&self.epoll, index);
        }
    }

    /// Starts what need not wait any more, and gives up what waits in vain.
    pub(super) fn start_due(&mut self) {
        if !self.freezer.is_thawed() {
            return;
        }
        let mut has_tried = false;
        loop {
            has_tried |= self.let_go();
            let is_free = |index| self.slots.is_free(index);
            if let Some(index) = self.jobs.due(clock::now(), &is_free) {
                self.start(index);
            } else if let Some((index, other)) = self.jobs.unmet() {
                self.give_up_waiting(index, other);
            } else if let Some(index) = self.jobs.take_late() {
                self.tell_waiting(index);
            } else {
                break;
            }
            has_tried = true;
        }
        if has_tried {
            self.end_if_idle();
        }
    }

    /// Has the starts go on that waited for others, and need not any more; whether there were any.
    pub(super) fn let_go(&mut self) -> bool {
        let mut had_any = false;
        if !self.freezer.is_thawed() {
            return had_any;
        }
        // Nothing that rests: a start takes a slot, and in the middle of a turn its last run may
        // still be heard of by that.
        while let Some(index) = self.jobs.due(clock::now(), &|_| false)
            && self.slots.is_waiting(index)
        {
            self.jobs.set_starting(index);
            self.slots.go(index);
            self.has_started = true;
            had_any = true;
        }
        had_any
    }

    /// The container at `index` is not started, because what it `required` cannot become ready any
    /// more.
    #[inline(never)]
    fn give_up_waiting(&mut self, index: usize, required: Required) {
        let id = self.jobs.id(index);
        let error = match required {
            Required::Container(other) => {
                let required = self.jobs.id(other);
                let why = format_args!("{id} is not started: {}", self.jobs.loss(other));
                unready(&id, &required, why)
            }
            Required::Network => {
                let why = format_args!("{id} is not started: no ip= sets the network up");
                unready(&id, "network", why).because(Cause::NoNetwork)
            }
        };
        self.slots.give_up(&self.epoll, index);
        self.start_failed(index, &error, false);
    }

    /// The container at `index` requires the network, which is late.
    #[inline(never)]
    fn tell_waiting(&mut self, index: usize) {
        let id = self.jobs.id(index);
        let why = format_args!("{id} is not started yet: not all that ip= asks for is there");
        let error = unready(&id, "network", why).because(Cause::LateNetwork);
        self.machine.journal.container_waits(&id, &error);
    }

    /// The container at `index` could not be started. If that `is_transient`, what it lacked may be
    /// there later, and its restart policy says whether it is tried again. Else it is not tried
    /// again.
    #[inline(never)]
    pub(super) fn start_failed(&mut self, index: usize, error: &Error, is_transient: bool) {
        self.start_failed_with_hint(index, error, of_machine(error), is_transient);
    }

    /// The same for a failure that `berth` tells of, with advice of its own.
    #[inline(never)]
    pub(super) fn start_failed_with_hint(
        &mut self,
        index: usize,
        error: &Error,
        hint: &str,
        is_transient: bool,
    ) {
        let id = self.jobs.id(index);
        let starved = Status::Exited(OWN_FAILURE);
        let (phase, now) = (self.phase, clock::now());
        let again = match is_transient {
            true => self.jobs.set_ended(index, starved, phase, now),
            false => None,
        };
        if let Some((count, rest)) = again {
            self.machine
                .journal
                .warn(Stage::Containers, format_args!("{id}: {error}"));
            self.machine.journal.container_restarts(&id, count, rest);
            return;
        }
        self.jobs.set_failed(index);
        self.status.note_failure();
        self.machine.journal.container_failed(&id, error, hint);
        self.refuse_cycles();
    }
}

/// The error that something which the container `id` requires is not ready.
#[inline(never)]
fn unready(id: &str, required: &str, why: core::fmt::Arguments<'_>) -> Error {
    let subject = format_args!("{required}, which {id} requires");
    Error::new(Code::Requirement, Op::Wait, subject, why)
}

/// Adds to an error about missing containers that the root has an init, if it has: one of the
/// programs that the kernel looks for (init/main.c).
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

/// Whether a start failed for want of something that may be there later. A process that was killed
/// before it could report an error number often lacked memory. And who has the name, as a command
/// that deletes what is left of the container, gives it back.
pub(super) fn is_transient(error: &Error) -> bool {
    let may_pass = matches!(error.code, Code::ContainerSetup | Code::InUse);
    error.errno.map_or(may_pass, errno::is_shortage)
}

/// Whether the kernel ends a program so for want of memory: it kills one that has used most, or one
/// that cannot be executed any further (execve(2)); one that reaches for a page that there is no
/// room for in a filesystem in memory gets SIGBUS.
pub(super) fn is_starved(status: Status) -> bool {
    let signals = [signal::KILL, signal::SEGV, signal::BUS];
    matches!(status, Status::Killed(number) if signals.contains(&u32::from(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_up_or_in_use_is_tried_again() {
        let error = |code, errno| Error {
            errno,
            ..Error::new(code, Op::Clone, "web", "")
        };
        let shortages = [
            Errno::AGAIN,
            Errno::NOMEM,
            Errno::NFILE,
            Errno::MFILE,
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::BUSY,
            Errno::NOBUFS,
            Errno::TXTBSY,
            Errno::USERS,
        ];
        // The start, the reading of the bundle, or PID 1's own descriptors met it.
        for code in [
            Code::ContainerSetup,
            Code::ContainerExec,
            Code::BundleConfig,
            Code::BerthFailed,
            Code::EventLoop,
            Code::State,
        ] {
            for errno in shortages {
                assert!(is_transient(&error(code, Some(errno))), "{code} {errno}");
            }
            for errno in [Errno::NOENT, Errno::INVAL, Errno::PERM, Errno::ROFS] {
                assert!(!is_transient(&error(code, Some(errno))), "{code} {errno}");
            }
        }
        for (code, expected) in [
            (Code::ContainerSetup, true),
            (Code::InUse, true),
            (Code::BundleConfig, false),
            (Code::BundleRefused, false),
            (Code::BerthFailed, false),
            (Code::Requirement, false),
        ] {
            assert_eq!(is_transient(&error(code, None)), expected, "{code}");
        }
    }

    #[test]
    fn what_the_kernel_ends_for_want_of_memory_is_tried_again() {
        for (status, expected) in [
            (Status::Killed(9), true),
            (Status::Killed(11), true),
            (Status::Killed(7), true),
            (Status::Killed(6), false),
            (Status::Killed(31), false),
            (Status::Exited(9), false),
        ] {
            assert_eq!(is_starved(status), expected, "{status}");
        }
    }
}
