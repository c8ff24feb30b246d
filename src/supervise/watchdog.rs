//! The watchdog, which resets the machine when the loop does not come round.
//!
//! It is fed at half of its timeout: the one timer that an idle PID 1 has then.

use core::time::Duration;

use crate::error::{At, Code, Error, Stage};
use crate::sys::clock::{self, Moment};
use crate::sys::kmsg;
use crate::sys::watchdog::Watchdog;
use crate::text::Escaped;

/// A watchdog that is armed, if one was asked for.
pub(super) struct WatchdogFeeder(Option<(Watchdog, Moment)>);

impl WatchdogFeeder {
    /// Arms the watchdog that `berth.watchdog=` asks for.
    ///
    /// # Errors
    /// [`Code::Watchdog`].
    pub(super) fn new(timeout: Option<Duration>) -> Result<Self, Error> {
        let Some(timeout) = timeout else {
            return Ok(Self(None));
        };
        let watchdog = Watchdog::arm(timeout).at(Code::Watchdog)?;
        let identity = watchdog.identity();
        let (name, seconds) = (Escaped(identity.as_str()), watchdog.timeout.as_secs());
        kmsg::notice(
            Stage::Containers,
            format_args!("the watchdog {name} resets the machine after {seconds} s"),
        );
        let due = clock::now() + watchdog.timeout / 2;
        Ok(Self(Some((watchdog, due))))
    }

    /// When it has to be fed.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.0.as_ref().map(|(_, due)| *due)
    }

    /// Feeds it if it is time.
    pub(super) fn feed_if_due(&mut self) {
        if let Some((watchdog, due)) = &mut self.0
            && clock::now() >= *due
        {
            watchdog.feed();
            *due = clock::now() + watchdog.timeout / 2;
        }
    }

    /// Gives the orderly end the whole of the timeout.
    pub(super) fn feed(&self) {
        if let Some((watchdog, _)) = &self.0 {
            watchdog.feed();
        }
    }

    /// Stops it: the machine is about to end.
    pub(super) fn disarm(&mut self) {
        if let Some((watchdog, _)) = self.0.take() {
            watchdog.disarm();
        }
    }
}
