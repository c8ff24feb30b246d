//! What a boot carries from stage to stage: the event stream, the uevent socket, the times.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use core::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};

use super::modules::Modules;
use super::unmount::List;
use crate::error::{During, Error, Op, SUBJECT_MAX, Stage};
use crate::events::{Event, Events};
use crate::hint::of_machine;
use crate::parse::device::DeviceRef;
use crate::plan::{OnFailure, Plan};
use crate::sys::clock::{self, Moment};
use crate::sys::netlink::Uevents;
use crate::sys::path::Path;
use crate::sys::process::Status;
use crate::sys::{kmsg, virtio_port};
use crate::text::Text;

/// The name of the virtio port that carries events, unless `berth.events=` names a device.
pub(super) const EVENT_PORT: &str = "org.berth.events";

/// [`FailurePolicy::action`] for the panic handler, which has no machine to ask.
static FAILURE_ACTION: AtomicU8 = AtomicU8::new(OnFailure::Reboot as u8);

/// Whether `panic=0` was asked for, for the panic handler too.
static HOLDS: AtomicBool = AtomicBool::new(false);

/// Whether this process is PID 1 of a machine, for the panic handler too: what a command does ends no machine.
static CLAIMED: AtomicBool = AtomicBool::new(false);

/// From now on the machine is ours.
pub(super) fn claim() {
    CLAIMED.store(true, Ordering::Relaxed);
}

/// Whether the machine is ours.
pub(super) fn is_claimed() -> bool {
    CLAIMED.load(Ordering::Relaxed)
}

/// Whether a machine whose boot failed shall hold, as far as it is known.
pub(super) fn holds() -> bool {
    HOLDS.load(Ordering::Relaxed)
}

/// What `berth.on_failure=` asks for, as far as it is known.
pub(super) fn failure_action() -> OnFailure {
    const ALL: [OnFailure; 5] = [
        OnFailure::PowerOff,
        OnFailure::Reboot,
        OnFailure::Halt,
        OnFailure::Panic,
        OnFailure::Shell,
    ];
    let stored = FAILURE_ACTION.load(Ordering::Relaxed);
    ALL.into_iter()
        .find(|action| *action as u8 == stored)
        .unwrap_or(OnFailure::Reboot)
}

/// What becomes of a machine whose boot failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePolicy {
    /// What is done after the report.
    pub action: OnFailure,
    /// The value of `panic=`; the kernel's own where it is not given.
    pub timeout: Option<i32>,
}

/// What was asked for about the root, for the report of a failure, which no plan reaches.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// All of it, in one line; empty without `root=`.
    pub line: Text<{ 2 * SUBJECT_MAX }>,
    /// `root=` alone, to compare with what there is.
    pub root: Text<SUBJECT_MAX>,
    /// How long the device is waited for; `None` for ever.
    pub rootwait: Option<Duration>,
}

impl Asked {
    /// What is known before the command line is.
    pub const NOTHING: Self = Self {
        line: Text::EMPTY,
        root: Text::EMPTY,
        rootwait: None,
    };

    fn of(plan: &Plan<'_>) -> Self {
        Self {
            line: Text::new(plan.asked()),
            root: plan.root.map_or(Text::EMPTY, Text::new),
            rootwait: plan.rootwait.limit(),
        }
    }
}

/// The machine as far as it has come up. There is one; the stages hand it on.
pub struct Machine {
    /// The event stream.
    pub events: Events,
    /// The uevent socket, from the moment it could be opened.
    pub uevents: Option<Uevents>,
    /// The kernel makes the nodes of devices itself.
    pub has_devtmpfs: bool,
    /// What is done when the boot fails.
    pub on_failure: FailurePolicy,
    /// What was asked for about the root.
    pub asked: Asked,
    /// The program that starts containers, where there are some to be started.
    pub(crate) engine: Option<OwnedFd>,
    /// The modules of the image, until the switch.
    pub modules: Modules,
    /// Room for the list of what is mounted, for the end.
    pub(super) mounts: List,
    event_device: Option<Path>,
    started: Moment,
    stage_started: Moment,
    times: heapless::Vec<(Stage, u64), 8>,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// A machine that has just started this program.
    pub fn new() -> Self {
        let now = clock::now();
        let mut mounts = List::new();
        // Without it only the root is left in order.
        let _ = mounts.bytes_mut();
        Self {
            mounts,
            events: Events::new(),
            uevents: None,
            has_devtmpfs: true,
            on_failure: FailurePolicy {
                action: OnFailure::Reboot,
                timeout: None,
            },
            asked: Asked::NOTHING,
            engine: None,
            modules: Modules::default(),
            event_device: None,
            started: now,
            stage_started: now,
            times: heapless::Vec::new(),
        }
    }

    /// Takes over from the plan what later stages, and the report of a failure, must know.
    ///
    /// # Errors
    /// `ENAMETOOLONG` for a device path of `berth.events=` that is too long.
    pub fn adopt(&mut self, plan: &Plan<'_>) -> Result<(), crate::error::Fault> {
        if let Some(level) = plan.loglevel.filter(|_| !plan.quiet) {
            kmsg::show_progress(level);
        }
        FAILURE_ACTION.store(plan.on_failure as u8, Ordering::Relaxed);
        HOLDS.store(plan.panic_timeout == Some(0), Ordering::Relaxed);
        self.on_failure = FailurePolicy {
            action: plan.on_failure,
            timeout: plan.panic_timeout,
        };
        self.asked = Asked::of(plan);
        if let Some(device) = plan.events {
            let path = crate::sys::path::path(format_args!("{device}"));
            self.event_device = Some(path.during(Op::Open, device)?);
        }
        Ok(())
    }

    /// Opens the event device if it is there by now. Called when something has appeared.
    pub fn open_event_device(&mut self) {
        if self.events.device().is_some() {
            return;
        }
        let Some(path) = self
            .event_device
            .clone()
            .or_else(|| virtio_port::find(EVENT_PORT))
        else {
            return;
        };
        if !self.has_devtmpfs {
            virtio_port::make_node(&path);
        }
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        // A port that was only just announced may not be ready; the next uevent brings us here again.
        if let Ok(device) = open(path.as_str(), flags, Mode::empty()) {
            self.events.attach(device);
        }
    }

    /// Starts the clock of a stage that does not follow at once on the one before.
    pub fn begin_stage(&mut self) {
        self.stage_started = clock::now();
    }

    /// Notes that `stage` is done, says so with `what` it did, and starts the clock of the next.
    pub fn complete(&mut self, stage: Stage, what: core::fmt::Arguments<'_>) {
        let now = clock::now();
        let us = now - self.stage_started;
        self.stage_started = now;
        // There are fewer stages than places.
        let _ = self.times.push((stage, us));
        kmsg::notice(stage, format_args!("{what} ({} ms)", Millis(us)));
        self.events.emit(Event::Stage {
            stage: stage.name(),
            us,
        });
    }

    /// Says that something is not as it should be, in the log and in the event stream.
    pub fn warn(&mut self, stage: Stage, text: core::fmt::Arguments<'_>) {
        kmsg::warning(stage, text);
        let text = Text::<{ 2 * SUBJECT_MAX }>::new(text);
        self.events.emit(Event::Warning {
            stage: stage.name(),
            text: text.as_str(),
        });
    }

    /// The stage that the machine is in.
    pub fn stage(&self) -> Stage {
        match self.times.last() {
            None => Stage::Early,
            Some((Stage::Early, _)) => Stage::Modules,
            Some((Stage::Modules, _)) => Stage::Root,
            Some((Stage::Root, _)) => Stage::Switch,
            Some(_) => Stage::Containers,
        }
    }

    /// The stage that an error is of.
    pub(super) fn stage_of(&self, error: &Error) -> Stage {
        error.code.stage().unwrap_or(self.stage())
    }

    /// [`Self::warn`], for an error that does not end the boot.
    pub fn warn_of(&mut self, error: &Error) {
        self.warn(self.stage_of(error), format_args!("{error}"));
    }

    /// Says what could not be done, and what to do about it, in the log and in the event stream.
    pub fn report(&mut self, error: &Error) {
        let stage = self.stage_of(error);
        kmsg::error(stage, format_args!("{error}"));
        kmsg::error(stage, format_args!("  {}", of_machine(error)));
        self.events.emit(Event::Failure {
            code: Text::<8>::new(error.code).as_str(),
            stage: stage.name(),
            text: Text::<{ 3 * SUBJECT_MAX }>::new(error).as_str(),
        });
    }

    /// Says that a candidate for the root is not it, and why.
    pub fn root_rejected(&mut self, wanted: DeviceRef<'_>, error: &Error) {
        kmsg::warning(
            self.stage_of(error),
            format_args!("root={wanted} is given up: {error}"),
        );
        self.events.emit(Event::Rejected {
            root: Text::<SUBJECT_MAX>::new(wanted).as_str(),
            code: Text::<8>::new(error.code).as_str(),
            text: Text::<{ 3 * SUBJECT_MAX }>::new(error).as_str(),
        });
    }

    /// Says that the program of the container `id` runs.
    pub fn container_started(&mut self, id: &str, pid: i32) {
        kmsg::info(
            Stage::Containers,
            format_args!("{id} started, process {pid}"),
        );
        self.events.emit(Event::Started {
            id,
            state: "started",
            pid,
        });
    }

    /// Says that the container `id` has ended.
    pub fn container_exited(&mut self, id: &str, status: Status, oom: bool) {
        let (code, signal) = match status {
            Status::Exited(code) => (Some(code), None),
            Status::Killed(signal) => (None, Some(signal)),
        };
        let memory = if oom { ", out of memory" } else { "" };
        kmsg::notice(Stage::Containers, format_args!("{id} {status}{memory}"));
        self.events.emit(Event::Exited {
            id,
            state: "exited",
            code,
            signal,
            oom,
        });
    }

    /// Says that the container `id` is started again, for the `count`th time, when it has rested for so long.
    pub fn container_rests(&mut self, id: &str, count: u32, rest: Duration) {
        // At most a minute.
        let us = rest.as_micros() as u64;
        let after = Millis(us);
        kmsg::notice(
            Stage::Containers,
            format_args!("{id} is started again in {after} ms, restart {count}"),
        );
        self.events.emit(Event::Restarting {
            id,
            state: "restarting",
            count,
            us,
        });
    }

    /// Says that the container `id` could not be started, and why.
    pub fn container_failed(&mut self, id: &str, error: &Error) {
        self.report(error);
        self.events.emit(Event::Failed {
            id,
            state: "failed",
            failure: Text::<8>::new(error.code).as_str(),
            text: Text::<{ 3 * SUBJECT_MAX }>::new(error).as_str(),
        });
    }

    /// The time that each completed stage took, in microseconds.
    pub fn times(&self) -> &[(Stage, u64)] {
        &self.times
    }

    /// Microseconds since the program was started.
    pub fn elapsed(&self) -> u64 {
        clock::now() - self.started
    }
}

/// Microseconds shown as milliseconds with one decimal.
pub struct Millis(pub u64);

impl core::fmt::Display for Millis {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{}.{}", self.0 / 1000, self.0 % 1000 / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::Millis;

    #[test]
    fn times_are_shown_in_milliseconds() {
        assert_eq!(Millis(5120).to_string(), "5.1");
        assert_eq!(Millis(99).to_string(), "0.0");
        assert_eq!(Millis(1_234_567).to_string(), "1234.5");
    }
}
