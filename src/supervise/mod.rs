//! The supervisor: one loop, from the first container to the end of the machine.
//!
//! PID 1 sleeps in epoll_wait(2) until there is something to do: a signal, a uevent, output of a container, the end of a
//! set-up, room on the console or on the event device, or a deadline. When none of these comes, it does not wake up.
//!
//! What is decided stands in [`policy`], and which container is to be started when in [`jobs`]; here it is carried out.

mod answers;
mod berth;
mod boot_times;
mod children;
mod jobs;
mod lines;
mod output;
pub mod policy;
mod restart;
mod set;
mod shutdown;
mod start;

use core::convert::Infallible;
use core::time::Duration;

use rustix::fd::AsFd;

use crate::boot::unmount::KILL_TIMEOUT;
use crate::boot::{Journal, Machine, Switched};
use crate::container::{Groups, Id};
use crate::error::{At, Code, Error, Stage};
use crate::events::Stream;
use crate::parse::config::OnExit;
use crate::plan::Plan;
use crate::sys::clock::{self, Moment};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::kmsg;
use crate::sys::netlink::UEVENT_MAX;
use crate::sys::process::{self, End, Status};
use crate::sys::signal::{self, Signals};
use crate::sys::stack;
use crate::text::Text;
use answers::{AT_ONCE, LEFT};
use children::{Children, Part, Source};
use jobs::Jobs;
use output::Output;
use policy::{Action, EndStatus, Input, Phase};

/// How long containers have to end before they are killed, unless `berth.stop-timeout` says otherwise.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What the descriptors that are no container's are watched under.
const SIGNALS: u64 = 0;
const UEVENTS: u64 = 1;
const EVENT_DEVICE: u64 = 2;
const CONSOLE: u64 = 3;

/// Starts the containers and supervises them until the machine ends.
///
/// # Errors
/// [`Code::EventLoop`], [`Code::NoContainers`]. After the first container was started there are none.
#[inline(never)]
pub fn supervise(switched: Switched<'_>, plan: &Plan<'_>) -> Result<Infallible, Error> {
    let machine = switched.into_machine();
    let mut supervisor = Supervisor::new(machine, plan)?;
    supervisor.start_all(plan)?;
    loop {
        supervisor.turn();
    }
}

struct Supervisor<'m, 'p> {
    machine: &'m mut Machine,
    plan: &'p Plan<'p>,
    epoll: Epoll,
    signals: Signals,
    jobs: Jobs,
    children: Children,
    output: Output,
    phase: Phase,
    deadline: Option<Moment>,
    status: EndStatus,
    /// How many programs were started.
    started: usize,
    /// It is known of all containers what they wait for.
    has_refused_circles: bool,
    /// The stage is complete.
    is_settled: bool,
    watches_console: bool,
    watches_event_device: bool,
}

impl<'m, 'p> Supervisor<'m, 'p> {
    #[inline(never)]
    fn new(machine: &'m mut Machine, plan: &'p Plan<'p>) -> Result<Self, Error> {
        let wanted = signal::Set::of(&[signal::CHLD, signal::TERM, signal::INT, signal::PWR]);
        let signals = Signals::open(wanted).at(Code::EventLoop)?;
        let epoll = Epoll::new().at(Code::EventLoop)?;
        epoll
            .add(&signals.0, SIGNALS, Interest::IN)
            .at(Code::EventLoop)?;
        if let Some(uevents) = machine.devices.socket() {
            epoll
                .add(uevents, UEVENTS, Interest::IN)
                .at(Code::EventLoop)?;
        }
        process::take_ctrl_alt_del();
        if let Err(fault) = Groups::open() {
            machine.journal.warn(
                Stage::Containers,
                format_args!("no control groups: {fault}"),
            );
        }
        Ok(Self {
            machine,
            plan,
            epoll,
            signals,
            jobs: Jobs::new(core::iter::empty()),
            children: Children::new(),
            output: Output::new(),
            phase: Phase::Running,
            deadline: None,
            status: EndStatus::default(),
            started: 0,
            has_refused_circles: false,
            is_settled: false,
            watches_console: false,
            watches_event_device: false,
        })
    }

    fn end_if_idle(&mut self) {
        if self.children.is_empty() && !self.jobs.are_pending() {
            self.decide(Input::NothingLeft);
        }
    }

    /// The stage is complete when of every container it is known whether its program runs. What is to be said about it
    /// comes after that, so that it holds up none of them.
    fn settle(&mut self) {
        if self.is_settled || self.children.are_being_set_up() || self.jobs.are_waiting() {
            return;
        }
        self.is_settled = true;
        let started = self.started;
        self.machine.journal.complete(
            Stage::Containers,
            format_args!("{started} containers started"),
        );
        boot_times::write(&self.machine.journal);
        // The boot went deeper than anything that comes now.
        stack::release_unused();
    }

    /// Waits for something to happen, and deals with it.
    #[inline(never)]
    fn turn(&mut self) {
        self.watch_for_room();
        let rested = self.jobs.deadline(|index| self.children.is_free(index));
        let late = self.children.deadline();
        let deadline = [self.deadline, self.output.deadline(), rested, late]
            .into_iter()
            .flatten()
            .min();
        let ready = match self.epoll.wait(deadline) {
            Ok(ready) => ready,
            Err(fault) => {
                // Without it nothing can be supervised any more.
                let error = fault.at(Code::EventLoop);
                crate::boot::failure::fail(self.machine, &error)
            }
        };
        for (number, _) in &ready {
            match *number {
                SIGNALS => self.take_signals(),
                UEVENTS => self.take_uevents(),
                EVENT_DEVICE => self.machine.journal.events.flush(),
                CONSOLE => self.output.flush(),
                number => self.take_child(Source::from_number(number)),
            }
        }
        self.give_up_late();
        self.start_due();
        self.settle();
        if self
            .output
            .deadline()
            .is_some_and(|deadline| clock::now() >= deadline)
        {
            self.output.flush();
        }
        if self
            .deadline
            .is_some_and(|deadline| clock::now() >= deadline)
        {
            self.deadline = None;
            self.decide(Input::DeadlinePassed);
        }
    }

    /// Watches console and event device while something waits for them, and containers' output while there is room for it.
    fn watch_for_room(&mut self) {
        self.output.flush();
        let console = self.output.console().filter(|_| self.output.is_pending());
        watch(
            &self.epoll,
            &mut self.watches_console,
            self.output.console(),
            console.is_some(),
            CONSOLE,
        );
        let wanted = self.machine.journal.events.device_to_watch().is_some();
        let device = self.machine.journal.events.device();
        watch(
            &self.epoll,
            &mut self.watches_event_device,
            device,
            wanted,
            EVENT_DEVICE,
        );
        self.children.listen(&self.epoll, self.output.has_room());
    }

    fn take_signals(&mut self) {
        while let Some(number) = self.signals.next() {
            match number {
                signal::CHLD => self.reap(),
                signal::INT => self.end_requested(End::Reboot, "Ctrl-Alt-Del"),
                signal::PWR => self.end_requested(End::PowerOff, "SIGPWR"),
                _ => self.end_requested(End::PowerOff, "SIGTERM"),
            }
        }
    }

    fn end_requested(&mut self, end: End, why: &str) {
        kmsg::notice(
            Stage::Shutdown,
            format_args!("{why}: the machine shuts down"),
        );
        self.decide(Input::EndRequested(end));
    }

    fn take_uevents(&mut self) {
        let mut room = [0; UEVENT_MAX];
        let Machine {
            journal, devices, ..
        } = &mut *self.machine;
        while let Some(change) = devices.next_change(&mut room) {
            journal.note_change(devices, &change);
        }
    }

    fn take_child(&mut self, source: Source) {
        match source {
            Source::Answers(index) => self.take_answers(index, AT_ONCE),
            Source::Output(index, _) => {
                let printer = self.children.printer(index);
                self.children
                    .read_output(&self.epoll, source, |stream, line| {
                        printer.print(&mut self.output, &mut self.machine.journal, stream, line);
                    });
            }
        }
    }

    fn reap(&mut self) {
        let mut shall_end = false;
        while let Some(pid) = process::ended() {
            let found = self.children.find(pid).or_else(|| {
                // It may have been made by now, and nobody has listened.
                self.jobs
                    .indices()
                    .for_each(|index| self.take_answers(index, LEFT));
                self.children.find(pid)
            });
            if let Some((index, _)) = found {
                // Its last words, or what is said of it.
                self.take_answers(index, LEFT);
            }
            let Some(status) = process::reap(pid) else {
                break;
            };
            let Some((index, part)) = found else {
                continue;
            };
            match part {
                Part::First => shall_end |= self.container_ended(index, status),
                Part::Starter => {
                    if let Some(error) = self.children.starter_ended(&self.epoll, index, status) {
                        // The kernel kills so for want of memory.
                        let is_starved = status == Status::Killed(signal::KILL as u8);
                        self.could_not_start(index, &error, is_starved);
                    }
                }
                Part::Ender => self.children.ender_ended(&self.epoll, index),
            }
            self.clear(index);
        }
        // Only now: who is reaped in the same turn has not ended because of it.
        if shall_end {
            let end = policy::end_with_container(self.plan.on_idle);
            self.decide(Input::EndRequested(end));
        }
        self.end_if_idle();
    }

    /// Has what is left of the container at `index` cleared away, once it is over.
    fn clear(&mut self, index: usize) {
        self.drain(index);
        let program = self.machine.berth.as_ref();
        if let Err(fault) = self.children.clear(&self.epoll, index, program) {
            self.machine
                .journal
                .warn(Stage::Containers, format_args!("{fault}"));
        }
    }

    /// The first process of the container at `index` has ended. Whether the machine shall end with it.
    fn container_ended(&mut self, index: usize, status: Status) -> bool {
        self.drain(index);
        // Its last words come before what is said about its end, on the console too.
        self.output.flush();
        let id = self.children.id(index);
        let Some(ended) = self.children.end(&self.epoll, index) else {
            return false;
        };
        self.machine
            .journal
            .container_exited(&id, status, ended.out_of_memory);
        let phase = self.phase;
        let again = self.jobs.ended(index, status, phase, clock::now());
        match again {
            // What counts is how it ends in the end.
            Some((count, rest)) => self.machine.journal.container_restarts(&id, count, rest),
            None => self.status.note(status, phase),
        }
        again.is_none() && ended.on_exit == OnExit::Shutdown
    }

    /// Takes what an ended container has left in its pipes: its last words come before its end.
    fn drain(&mut self, index: usize) {
        let printer = self.children.printer(index);
        self.children.finish_lines(index, |stream, line| {
            printer.print(&mut self.output, &mut self.machine.journal, stream, line);
        });
    }

    fn decide(&mut self, input: Input) {
        self.settle();
        let (phase, action) = policy::next(self.phase, input, self.plan.on_idle);
        if self.phase == Phase::Running && phase != Phase::Running {
            self.machine.journal.begin_stage();
        }
        self.phase = phase;
        match action {
            Action::Wait => {}
            Action::AskAll => {
                // How those ended that rest was not the machine's doing.
                let status = &mut self.status;
                self.jobs
                    .abandon(|ended| status.note(ended, Phase::Running));
                self.children.give_up_waiting(&self.epoll);
                self.children.ask_all();
                let timeout = self.children.longest_stop_timeout(STOP_TIMEOUT);
                self.deadline = Some(clock::now() + timeout);
                if self.children.is_empty() {
                    self.decide(Input::NothingLeft);
                }
            }
            Action::KillAll => {
                kmsg::warning(
                    Stage::Shutdown,
                    format_args!("the containers that did not end in time are killed"),
                );
                self.children.kill_all();
                self.deadline = Some(clock::now() + KILL_TIMEOUT);
            }
            Action::EndMachine(end) => {
                self.output.finish();
                shutdown::end(self.machine, &self.signals, end, self.status.value())
            }
        }
    }
}

/// A container that prints.
struct Printer {
    id: Id,
    is_raw: bool,
}

impl Printer {
    fn print(&self, output: &mut Output, journal: &mut Journal, stream: Stream, line: &[u8]) {
        output.line(&self.id, line, self.is_raw);
        let text = Text::<1024>::from_bytes(line);
        journal.events.output(&self.id, stream, text.as_str());
    }
}

/// Watches `descriptor` for room if `wanted`, and keeps in `watched` whether it does.
fn watch(
    epoll: &Epoll,
    watched: &mut bool,
    descriptor: Option<impl AsFd>,
    wanted: bool,
    number: u64,
) {
    if *watched == wanted {
        return;
    }
    let Some(descriptor) = descriptor else {
        *watched = false;
        return;
    };
    if wanted {
        // A descriptor that cannot be watched (a regular file as event device) is written at the next turn.
        *watched = epoll.add(descriptor, number, Interest::OUT).is_ok();
    } else {
        epoll.remove(descriptor);
        *watched = false;
    }
}
