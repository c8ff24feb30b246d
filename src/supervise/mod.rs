//! The supervisor: one loop, from the first container to the end of the machine.
//!
//! PID 1 sleeps in epoll_wait(2) until there is something to do: a signal, a uevent, output of a
//! container, the end of a set-up, room on the console or on the event device, or a deadline. When
//! none of these comes, it does not wake up.
//!
//! [`policy`] decides how the machine ends, and [`jobs`] which container is started when. The loop
//! here does it.

mod answers;
mod berth;
mod boot_times;
mod carry;
mod console;
mod control;
mod disks;
mod ending;
mod freeze;
mod health;
mod jobs;
mod lasting;
mod limits;
mod lines;
mod log_files;
mod logs;
mod network;
mod policy;
mod requests;
mod restart;
mod set;
mod shutdown;
mod slots;
mod start;
mod token;
mod watchdog;
mod workers;

use core::convert::Infallible;
use core::time::Duration;

use rustix::fd::AsFd;

use crate::boot::{Journal, Machine, Switched};
use crate::container::{Groups, Id};
use crate::error::{At, Code, Error, Stage};
use crate::events::Stream;
use crate::parse::config::OnExit;
use crate::plan::Plan;
use crate::sys::acpi::PowerButton;
use crate::sys::clock::{self, Moment};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::netlink::UEVENT_MAX;
use crate::sys::process::{self, End, Status};
use crate::sys::signal::{self, Signals};
use crate::sys::{kmsg, net, resident};
use crate::text::Text;
use answers::{ANSWERS_LEFT, ANSWERS_PER_TURN};
use console::Console;
use control::Control;
use disks::Disks;
use freeze::Freezer;
use health::KernelLog;
use jobs::Jobs;
use lasting::LastingRun;
use logs::Logs;
use policy::{Action, EndStatus, Input, Phase};
use set::Set;
use slots::{Role, Slots};
use token::Token;
use watchdog::WatchdogFeeder;
use workers::Workers;

/// How long containers have to end before they are killed, unless `berth.stop-timeout` says
/// otherwise.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts the containers and supervises them until the machine ends.
///
/// # Errors
/// [`Code::EventLoop`], [`Code::NoContainers`]. After the first container was started there are
/// none.
#[inline(never)]
pub fn supervise(switched: Switched<'_>, plan: &Plan<'_>) -> Result<Infallible, Error> {
    let machine = switched.into_machine();
    let mut supervisor = Supervisor::new(machine, plan)?;
    supervisor.open_control();
    supervisor.open_network();
    supervisor.open_disks();
    supervisor.open_log_files();
    supervisor.carry_over();
    if let Err(error) = supervisor.start_all(plan) {
        // What was asked for about failures takes its time: a report, a wait, a shell.
        supervisor.watchdog.disarm();
        return Err(error);
    }
    loop {
        supervisor.turn();
    }
}

struct Supervisor<'m, 'p> {
    machine: &'m mut Machine,
    plan: &'p Plan<'p>,
    epoll: Epoll,
    signals: Signals,
    power_button: Option<PowerButton>,
    kernel_log: KernelLog,
    watchdog: WatchdogFeeder,
    control: Control,
    network: LastingRun,
    log_files: LastingRun,
    disks: Disks,
    freezer: Freezer,
    workers: Workers,
    jobs: Jobs,
    slots: Slots,
    console: Console,
    logs: Logs,
    phase: Phase,
    /// Until when containers end in order, once they are asked to.
    order_until: Option<Moment>,
    status: EndStatus,
    /// How many programs were started.
    started: usize,
    /// The stage is complete.
    is_settled: bool,
    /// The stack was used since it was last given back.
    has_started: bool,
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
            .add(&signals.0, Token::Signals.encode(), Interest::IN)
            .at(Code::EventLoop)?;
        if let Some(uevents) = machine.devices.socket() {
            epoll
                .add(uevents, Token::Uevents.encode(), Interest::IN)
                .at(Code::EventLoop)?;
        }
        limits::raise();
        process::take_ctrl_alt_del();
        let power_button = PowerButton::open().unwrap_or_else(|fault| {
            machine.journal.warn(
                Stage::Containers,
                format_args!("the power button does nothing: {fault}"),
            );
            None
        });
        if let Some(button) = &power_button {
            epoll
                .add(button, Token::PowerButton.encode(), Interest::IN)
                .at(Code::EventLoop)?;
        }
        let kernel_log = KernelLog::watch(&epoll).at(Code::EventLoop)?;
        // Containers that share the machine's network find nobody else who does it.
        if let Err(fault) = net::bring_loopback_up() {
            machine
                .journal
                .warn(Stage::Containers, format_args!("no loopback: {fault}"));
        }
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
            power_button,
            kernel_log,
            watchdog: WatchdogFeeder::new(plan.watchdog)?,
            control: Control::default(),
            network: LastingRun::NEW,
            log_files: LastingRun::NEW,
            disks: Disks::default(),
            freezer: Freezer::default(),
            workers: Workers::default(),
            jobs: Jobs::new(),
            slots: Slots::new(),
            console: Console::new(),
            logs: Logs::new(),
            phase: Phase::Running,
            order_until: None,
            status: EndStatus::default(),
            started: 0,
            is_settled: false,
            has_started: true,
            watches_console: false,
            watches_event_device: false,
        })
    }

    fn end_if_idle(&mut self) {
        if self.slots.are_idle() && !self.jobs.are_pending() && self.freezer.is_thawed() {
            self.decide(Input::NothingLeft);
        }
    }

    /// Completes the stage when it is known of every container whether its program runs.
    fn settle(&mut self) {
        if self.is_settled || self.slots.are_starting() || self.jobs.are_waiting() {
            return;
        }
        self.complete_stage();
    }

    fn complete_stage(&mut self) {
        self.is_settled = true;
        let started = self.started;
        self.machine.journal.complete(
            Stage::Containers,
            format_args!("{started} containers started"),
        );
        boot_times::write(&self.machine.journal);
        self.has_started = true;
    }

    /// Gives back the code of the boot, and what that and then each start has used of the stack.
    fn release_memory(&mut self) {
        if self.has_started && !self.slots.are_busy() {
            self.has_started = false;
            resident::release_stack();
            self.machine.boot_code.release();
        }
    }

    /// Waits for something to happen, and deals with it.
    #[inline(never)]
    fn turn(&mut self) {
        self.watch_for_room();
        // What is due when the machine stands still is done when it goes on.
        let thawed = Some(()).filter(|()| self.freezer.is_thawed());
        let delayed = thawed.and_then(|()| self.jobs.deadline(|index| self.slots.is_free(index)));
        let late = self.slots.deadline();
        let deadlines = [
            self.ending_deadline(),
            self.console.deadline(),
            self.watchdog.deadline(),
            self.control.deadline(),
            self.network.deadline(),
            self.log_files.deadline(),
            self.disks.deadline(),
            self.freezer.deadline(),
            delayed,
            late,
        ];
        let deadline = deadlines.into_iter().flatten().min();
        let ready = match self.epoll.wait(deadline) {
            Ok(ready) => ready,
            Err(fault) => {
                // Without it nothing can be supervised any more.
                let error = fault.at(Code::EventLoop);
                crate::boot::failure::fail(self.machine, &error)
            }
        };
        for (number, flags) in &ready {
            // What is watched was given a token.
            if let Some(token) = Token::decode(*number) {
                self.serve(token, *flags);
            }
        }
        self.watchdog.feed_if_due();
        self.serve_deadlines();
        self.watch_control();
        self.go_on_freezing();
        self.go_on_ending();
        self.restart_lasting();
        self.look_at_disks();
        self.start_due();
        self.settle();
        self.release_memory();
        if self
            .console
            .deadline()
            .is_some_and(|deadline| clock::now() >= deadline)
        {
            self.console.flush();
        }
    }

    /// Does what there is to do for a descriptor that is ready.
    fn serve(&mut self, token: Token, flags: Interest) {
        match token {
            Token::Signals => self.read_signals(),
            Token::Uevents => self.read_uevents(),
            Token::EventDevice => self.machine.journal.events.flush(),
            Token::Console => self.console.flush(),
            Token::PowerButton => self.read_power_button(),
            Token::KernelLog => self.read_kernel_log(),
            Token::Requests => self.read_requests(),
            Token::Listener => self.serve_control(),
            // A port that nobody has opened is hung up, and can be read: there is nothing.
            Token::ControlPort if flags.contains(Interest::HUP) => {}
            Token::ControlPort => self.serve_control(),
            Token::FreezeClient => self.freeze_client_gone(),
            Token::Worker(place) => self.read_worker(place, ANSWERS_PER_TURN),
            Token::Answers(index) => self.read_answers(index, ANSWERS_PER_TURN),
            Token::Output(index, stream) => {
                let printer = self.slots.printer(index);
                let to = (&mut self.console, &mut self.machine.journal, &mut self.logs);
                self.slots
                    .read_output(&self.epoll, index, stream, &mut |stream, line| {
                        printer.print((to.0, to.1, to.2), stream, line);
                    });
            }
        }
    }

    /// Watches console and event device while something waits for them, and containers' output
    /// while there is room for it.
    fn watch_for_room(&mut self) {
        self.console.flush();
        let console = self.console.console().filter(|_| self.console.is_pending());
        watch(
            &self.epoll,
            &mut self.watches_console,
            self.console.console(),
            console.is_some(),
            Token::Console,
        );
        let wanted = self.machine.journal.events.device_to_watch().is_some();
        let device = self.machine.journal.events.device();
        watch(
            &self.epoll,
            &mut self.watches_event_device,
            device,
            wanted,
            Token::EventDevice,
        );
        self.slots
            .read_output_if(&self.epoll, self.console.has_room());
    }

    fn read_signals(&mut self) {
        while let Some(number) = self.signals.next() {
            match number {
                signal::CHLD => self.reap(),
                signal::INT => self.end_requested(End::Reboot, "Ctrl-Alt-Del"),
                signal::PWR => self.end_requested(End::PowerOff, "SIGPWR"),
                _ => self.end_requested(End::PowerOff, "SIGTERM"),
            }
        }
    }

    // Out of line, as its buffer is large.
    #[inline(never)]
    fn read_power_button(&mut self) {
        let button = self.power_button.as_ref();
        if button.is_some_and(PowerButton::was_pressed) {
            self.end_requested(End::PowerOff, "the power button");
        }
    }

    fn end_requested(&mut self, end: End, why: &str) {
        kmsg::notice(
            Stage::Shutdown,
            format_args!("{why}: the machine shuts down"),
        );
        self.decide(Input::EndRequested(end));
    }

    // Out of line, as its buffer is large.
    #[inline(never)]
    fn read_uevents(&mut self) {
        let mut room = [0; UEVENT_MAX];
        let Machine {
            journal, devices, ..
        } = &mut *self.machine;
        while let Some(change) = devices.next_change(&mut room) {
            journal.note_change(devices, &change);
            self.disks.note_change(&change);
            self.control
                .note_change(&self.epoll, devices.has_devtmpfs, &change);
        }
    }

    fn reap(&mut self) {
        let mut shall_end = false;
        let mut left = Set::EMPTY;
        while let Some(pid) = process::ended() {
            if let Some(place) = self.workers.find(pid) {
                self.read_worker(place, ANSWERS_LEFT);
                if let Some(status) = process::reap(pid) {
                    self.worker_ended(place, status);
                }
                continue;
            }
            let found = self.slots.find(pid).or_else(|| {
                // Which process that is may have been answered, and not read yet.
                self.jobs
                    .indices()
                    .for_each(|index| self.read_answers(index, ANSWERS_LEFT));
                self.slots.find(pid)
            });
            if let Some((index, _)) = found {
                // What was answered about it before its end.
                self.read_answers(index, ANSWERS_LEFT);
            }
            let Some(status) = process::reap(pid) else {
                break;
            };
            let Some((index, role)) = found else {
                continue;
            };
            match role {
                Role::First => shall_end |= self.container_ended(index, status),
                Role::Starter => {
                    left.insert(index);
                    if let Some(error) = self.slots.starter_ended(&self.epoll, index, status) {
                        self.start_failed(index, &error, start::is_starved(status));
                    }
                }
                Role::Cleaner => self.slots.cleaner_ended(&self.epoll, index),
            }
            self.clear(index);
        }
        // Only now: who stays until a container is ready ends before it is heard that this has.
        for index in left.iter() {
            self.note_unheard(index);
        }
        // Only now: containers that are reaped in the same turn did not end because the machine
        // does.
        if shall_end {
            let end = policy::end_with_container(self.plan.on_idle);
            self.decide(Input::EndRequested(end));
        }
        self.end_if_idle();
    }

    /// The `berth` that started the container at `index` has ended, which may have stayed until
    /// that is ready.
    fn note_unheard(&mut self, index: usize) {
        if self.phase == Phase::Running && self.jobs.set_unheard(index) {
            self.machine
                .journal
                .warn(Stage::Containers, format_args!("{}", self.jobs.loss(index)));
        }
    }

    /// Has what is left of the container at `index` cleared away, once it is over.
    fn clear(&mut self, index: usize) {
        self.finish_output(index);
        let program = self.machine.berth.as_ref();
        if let Err(fault) = self.slots.clear(&self.epoll, index, program) {
            self.machine
                .journal
                .warn(Stage::Containers, format_args!("{fault}"));
        }
    }

    /// The first process of the container at `index` has ended. Whether the machine is to end with
    /// it.
    fn container_ended(&mut self, index: usize, status: Status) -> bool {
        self.finish_output(index);
        // Its last lines come before the message about its end, on the console, too.
        self.console.flush();
        let id = self.slots.id(index);
        let Some(ended) = self.slots.end(&self.epoll, index) else {
            return false;
        };
        self.machine
            .journal
            .container_exited(&id, status, ended.out_of_memory);
        if self.jobs.is_ready_by_end(index, status) {
            self.machine.journal.container_ready(&id);
        }
        let phase = self.phase;
        let again = self.jobs.set_ended(index, status, phase, clock::now());
        match again {
            // Only the end without a restart counts.
            Some((count, rest)) => self.machine.journal.container_restarts(&id, count, rest),
            None if self.jobs.is_held(index) => {
                self.machine.journal.container_stopped(&id);
                return false;
            }
            None => self.status.note(status, phase),
        }
        again.is_none() && ended.on_exit == OnExit::Shutdown
    }

    /// Reads what an ended container has left in its pipes, so that its last lines come before its
    /// end.
    fn finish_output(&mut self, index: usize) {
        let printer = self.slots.printer(index);
        let to = (&mut self.console, &mut self.machine.journal, &mut self.logs);
        self.slots.finish_output(index, &mut |stream, line| {
            printer.print((to.0, to.1, to.2), stream, line);
        });
        self.logs.rest(index);
    }

    fn decide(&mut self, input: Input) {
        self.settle();
        let (phase, action) = policy::next(self.phase, input, self.plan.on_idle);
        if self.phase == Phase::Running && phase != Phase::Running {
            // What has waited until now is not started any more.
            if !self.is_settled {
                self.complete_stage();
            }
            self.machine.journal.begin_stage();
        }
        self.phase = phase;
        match action {
            Action::Wait => {}
            Action::StopAll => self.begin_ending(),
            Action::EndMachine(end) => {
                self.finish_log_files();
                self.console.finish();
                self.await_log_files();
                let status = self.status.value();
                shutdown::end(self.machine, &self.signals, &mut self.watchdog, end, status)
            }
        }
    }
}

/// A container that prints.
struct Printer {
    index: usize,
    id: Id,
    is_raw: bool,
}

impl Printer {
    fn print(
        &self,
        (console, journal, logs): (&mut Console, &mut Journal, &mut Logs),
        stream: Stream,
        line: &[u8],
    ) {
        logs.push(self.index, &self.id, stream, line);
        console.line(&self.id, line, self.is_raw);
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
    token: Token,
) {
    if *watched == wanted {
        return;
    }
    let Some(descriptor) = descriptor else {
        *watched = false;
        return;
    };
    if wanted {
        // A descriptor that cannot be watched (a regular file as event device) is written at the
        // next turn.
        *watched = epoll.add(descriptor, token.encode(), Interest::OUT).is_ok();
    } else {
        epoll.remove(descriptor);
        *watched = false;
    }
}
