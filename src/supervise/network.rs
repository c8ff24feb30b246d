//! The machine's network: one run of `berth` for as long as the machine runs.
//!
//! It is started when supervision begins, and again if it ends otherwise than well: it ends well
//! when nothing is left to do, because no device is to be set up.

use core::time::Duration;

use rustix::fd::AsFd;
use rustix::fs::lstat;

use super::Supervisor;
use super::berth::Task;
use super::policy::Phase;
use super::restart::RestartHistory;
use super::workers::Work;
use crate::container::RESOLV_CONF;
use crate::error::Stage;
use crate::events::{DIRECTORY, Event};
use crate::parse::answer::NetworkChange;
use crate::parse::config::Restart;
use crate::sys::clock::{self, Moment};
use crate::sys::process::Status;
use crate::sys::{fs, kmsg};
use crate::text::Shown;

/// The machine's name, of its root.
const HOSTNAME: &str = "/etc/hostname";

/// The run.
pub(super) struct Network {
    history: RestartHistory,
    started: Moment,
    rest_until: Option<Moment>,
}

impl Network {
    pub(super) const NEW: Self = Self {
        history: RestartHistory::NONE,
        started: Moment(0),
        rest_until: None,
    };

    /// When the run is started again.
    pub(super) const fn deadline(&self) -> Option<Moment> {
        self.rest_until
    }
}

impl Supervisor<'_, '_> {
    /// Has the network set up if something was said about it, or the machine named.
    #[inline(never)]
    pub(super) fn open_network(&mut self) {
        if self.plan.has_network {
            // It is there for containers that start before anything is in it.
            let made =
                fs::make_directory(DIRECTORY).and_then(|()| fs::create_file(RESOLV_CONF, b""));
            if let Err(fault) = made {
                let journal = &mut self.machine.journal;
                journal.warn(Stage::Containers, format_args!("{fault}"));
            }
        } else if lstat(HOSTNAME).is_err() {
            return;
        }
        self.start_network();
    }

    fn start_network(&mut self) {
        self.network.started = clock::now();
        let program = self.machine.berth.as_ref().map(AsFd::as_fd);
        let task = Task::Network { plan: self.plan };
        let started = self
            .workers
            .start(&self.epoll, program, Work::Network, task);
        if let Err(fault) = started {
            let journal = &mut self.machine.journal;
            journal.warn(Stage::Containers, format_args!("{fault}"));
            self.network_ended(Status::Exited(1));
        }
    }

    /// The run has ended.
    pub(super) fn network_ended(&mut self, status: Status) {
        let now = clock::now();
        if status != Status::Exited(0) && self.phase == Phase::Running {
            self.machine.journal.warn(
                Stage::Containers,
                format_args!("the network: its run {status}, and is started again"),
            );
        }
        let network = &mut self.network;
        let ran = Duration::from_micros(now - network.started);
        let again = Restart::OnFailure { max: None };
        let delay = network.history.next(again, status, ran, self.phase);
        network.rest_until = delay.map(|delay| now + delay);
    }

    /// Starts the run again, if it is time.
    pub(super) fn restart_network(&mut self) {
        let due = self.network.rest_until;
        if due.is_some_and(|due| clock::now() >= due) {
            self.network.rest_until = None;
            self.start_network();
        }
    }

    /// Something has become of the network.
    pub(super) fn network_changed(&mut self, change: &NetworkChange<'_>) {
        let (state, device) = (change.state.name(), Shown(&change.device));
        let address = Shown(&change.address);
        kmsg::notice(
            Stage::Containers,
            format_args!("network {state} {device} {address}"),
        );
        self.machine.journal.events.emit(Event::Network(*change));
    }
}
