//! The journal: messages about the machine, for the kernel's log and the event stream.
//!
//! It also keeps the time that each stage of the boot took.

use core::time::Duration;

use rustix::fs::{Mode, OFlags, open};

use super::devices::{Change, Devices};
use crate::error::{Error, SUBJECT_MAX, Stage};
use crate::events::{Event, Events};
use crate::hint::of_machine;
use crate::parse::answer::{Disk, DiskState};
use crate::parse::device::DeviceRef;
use crate::sys::clock::{self, Moment};
use crate::sys::path::Path;
use crate::sys::process::Status;
use crate::sys::{kmsg, virtio_port};
use crate::text::Text;

/// The name of the virtio port that carries events, unless `berth.events=` names a device.
const EVENT_PORT: &str = "org.berth.events";

/// Where events, messages and times go.
pub(crate) struct Journal {
    /// The event stream.
    pub(crate) events: Events,
    /// The device of `berth.events=`.
    pub(super) event_device: Option<Path>,
    started: Moment,
    stage_started: Moment,
    times: heapless::Vec<(Stage, u64), 8>,
}

impl Journal {
    /// An empty one. The clock of the first stage starts.
    pub(super) fn new() -> Self {
        let now = clock::now();
        Self {
            events: Events::new(),
            event_device: None,
            started: now,
            stage_started: now,
            times: heapless::Vec::new(),
        }
    }

    /// Opens the event device if it is there by now and is not open yet.
    pub(super) fn open_event_device(&mut self, devices: &Devices) {
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
        if !devices.has_devtmpfs {
            virtio_port::make_node(&path);
        }
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        // A port that was only just announced may not be ready; the next uevent brings us here
        // again.
        if let Ok(device) = open(path.as_str(), flags, Mode::empty()) {
            self.events.attach(device);
        }
    }

    /// Opens the event device, and writes to its reader again, if `change` may have brought them.
    #[inline(never)]
    pub(crate) fn note_change(&mut self, devices: &Devices, change: &Change<'_>) {
        if change.may_be_port() {
            self.events.reader_may_have_come();
            self.open_event_device(devices);
        }
    }

    /// Starts the clock of a stage that does not follow at once on the one before.
    pub(crate) fn begin_stage(&mut self) {
        self.stage_started = clock::now();
    }

    /// Reports that `stage` is complete and `what` it did, and starts the clock of the next.
    pub(crate) fn complete(&mut self, stage: Stage, what: core::fmt::Arguments<'_>) {
        let now = clock::now();
        let us = now - self.stage_started;
        self.stage_started = now;
        // There are fewer stages than places.
        let _ = self.times.push((stage, us));
        kmsg::notice(stage, format_args!("{what} ({} ms)", Millis(us)));
        self.events.emit(Event::Stage { stage, us });
    }

    /// Reports that something is not as it should be. The machine goes on.
    pub(crate) fn warn(&mut self, stage: Stage, text: core::fmt::Arguments<'_>) {
        kmsg::warning(stage, text);
        let text = Text::<{ 2 * SUBJECT_MAX }>::new(text);
        self.events.emit(Event::Warning {
            stage,
            text: text.as_str(),
        });
    }

    /// [`Self::warn`], for an error that does not end the boot.
    pub(crate) fn warn_of(&mut self, error: &Error) {
        self.warn(self.stage_of(error), format_args!("{error}"));
    }

    /// Reports what could not be done, and what to do about it.
    pub(crate) fn failure(&mut self, error: &Error) {
        self.advise(error, of_machine(error));
    }

    fn advise(&mut self, error: &Error, hint: &str) {
        let stage = self.stage_of(error);
        kmsg::error(stage, format_args!("{error}"));
        kmsg::error(stage, format_args!("  {hint}"));
        self.events.emit(Event::Failure { stage, error });
    }

    /// Reports that a candidate for the root is given up, and why.
    pub(super) fn root_rejected(&mut self, wanted: DeviceRef<'_>, error: &Error) {
        kmsg::warning(
            self.stage_of(error),
            format_args!("root={wanted} is given up: {error}"),
        );
        self.events.emit(Event::Rejected {
            root: wanted,
            error,
        });
    }

    /// Reports that the program of the container `id` runs.
    pub(crate) fn container_started(&mut self, id: &str, pid: i32) {
        kmsg::info(
            Stage::Containers,
            format_args!("{id} started, process {pid}"),
        );
        self.events.emit(Event::Started { id, pid });
    }

    /// Reports that the container `id` is ready.
    pub(crate) fn container_ready(&mut self, id: &str) {
        kmsg::info(Stage::Containers, format_args!("{id} is ready"));
        self.events.emit(Event::Ready { id });
    }

    /// Reports that the container `id` has ended.
    pub(crate) fn container_exited(&mut self, id: &str, status: Status, oom: bool) {
        let memory = if oom { ", out of memory" } else { "" };
        kmsg::notice(Stage::Containers, format_args!("{id} {status}{memory}"));
        self.events.emit(Event::Exited { id, status, oom });
    }

    /// Reports that the container `id` is restarted, for the `count`th time, after this delay.
    pub(crate) fn container_restarts(&mut self, id: &str, count: u32, delay: Duration) {
        // At most a minute.
        let us = delay.as_micros() as u64;
        let after = Millis(us);
        kmsg::notice(
            Stage::Containers,
            format_args!("{id} is started again in {after} ms, restart {count}"),
        );
        self.events.emit(Event::Restarting { id, count, us });
    }

    /// Reports that the container `id` was stopped by request, and stays so.
    pub(crate) fn container_stopped(&mut self, id: &str) {
        kmsg::notice(Stage::Containers, format_args!("{id} is stopped"));
        self.events.emit(Event::Stopped { id });
    }

    /// Reports that the container `id` could not be started, why, and what to do about it.
    pub(crate) fn container_failed(&mut self, id: &str, error: &Error, hint: &str) {
        self.advise(error, hint);
        self.events.emit(Event::Failed { id, error });
    }

    /// Reports that the container `id` is not started yet, and why.
    pub(crate) fn container_waits(&mut self, id: &str, error: &Error) {
        let stage = self.stage_of(error);
        kmsg::warning(stage, format_args!("{error}"));
        kmsg::warning(stage, format_args!("  {}", of_machine(error)));
        self.events.emit(Event::Waits { id, error });
    }

    /// Reports what has become of a disk; and if it could not be mounted why, and what to do about
    /// that.
    pub(crate) fn disk(&mut self, disk: &Disk<'_>, failure: Option<(&Error, &str)>) {
        let Disk {
            device,
            fstype,
            place,
            ..
        } = *disk;
        let stage = Stage::Containers;
        match (disk.state, failure) {
            (_, Some((error, hint))) => {
                kmsg::warning(stage, format_args!("{error}"));
                kmsg::warning(stage, format_args!("  {hint}"));
            }
            (DiskState::Mounted, _) => {
                let access = if disk.is_read_only { "ro" } else { "rw" };
                let text = format_args!("{device} is mounted at {place}, {fstype}, {access}");
                kmsg::notice(stage, text);
            }
            (DiskState::Gone, _) if !place.is_empty() => {
                kmsg::notice(stage, format_args!("{device} is gone from {place}"));
            }
            (state, _) => {
                let separator = if fstype.is_empty() { "" } else { ", " };
                let state = state.name();
                kmsg::info(stage, format_args!("{device} {state}{separator}{fstype}"));
            }
        }
        let error = failure.map(|(error, _)| error);
        self.events.emit(Event::Disk { disk, error });
    }

    /// The stage that the machine is in.
    fn stage(&self) -> Stage {
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

    /// The time that each completed stage took, in microseconds.
    pub(crate) fn times(&self) -> &[(Stage, u64)] {
        &self.times
    }

    /// Microseconds since the program was started.
    pub(crate) fn elapsed(&self) -> u64 {
        clock::now() - self.started
    }
}

/// Microseconds shown as milliseconds with one decimal.
pub(crate) struct Millis(pub(crate) u64);

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
