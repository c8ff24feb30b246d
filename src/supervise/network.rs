//! The machine's network: one run of `berth` for as long as the machine runs ([`super::lasting`]).
//!
//! Containers that require the network wait until that run has said that all is there. They are
//! reported when it says that something is late, and given up when it ends well before.
//!
//! It is started when supervision begins, and ends well if no device is to be set up.

use rustix::fs::lstat;

use super::Supervisor;
use super::jobs;
use super::workers::Work;
use crate::container::RESOLV_CONF;
use crate::error::Stage;
use crate::events::{DIRECTORY, Event};
use crate::parse::answer::{NetworkChange, NetworkState};
use crate::sys::{fs, kmsg};
use crate::text::Shown;

/// The machine's name, of its root.
const HOSTNAME: &str = "/etc/hostname";

impl Supervisor<'_, '_> {
    /// Has the network set up if something was said about it, or the machine named.
    #[inline(never)]
    pub(super) fn open_network(&mut self) {
        if self.plan.has_network {
            self.jobs.set_network(jobs::Network::Pending);
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
        self.start_lasting(Work::Network);
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
        match change.state {
            NetworkState::Ready => self.jobs.set_network(jobs::Network::Ready),
            NetworkState::Failed => self.jobs.set_network(jobs::Network::Late),
            _ => {}
        }
    }
}
