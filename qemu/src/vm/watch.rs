//! What is known of a running machine, and how to wait for more of it.
//!
//! Threads that read the console, the events, QMP and QEMU's end write what they learn into one
//! [`Seen`] behind a lock and wake those who wait. Whoever waits looks at all of it at once: what
//! was awaited may be there already, or the machine may have panicked, ended, fallen silent or run
//! out of time in the meantime. Nobody polls.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::VmFailure;
use super::seen::Seen;

/// How much the console of a machine with a deadline may say. A kernel whose oops leads to the next
/// one never stops, and would fill the host's disk with its log.
const MAX_CONSOLE: usize = 8 << 20;

/// How long one may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For the whole life of the machine.
    pub(crate) deadline: Option<Duration>,
    /// Between two signs of life.
    pub(crate) silence: Option<Duration>,
}

/// [`Seen`], shared between those who see and those who wait.
pub(crate) struct Watch {
    seen: Mutex<Seen>,
    changed: Condvar,
    born: Instant,
}

impl Watch {
    /// For a machine that starts now, with that many streams to read.
    pub(crate) fn new(streams: usize) -> Self {
        Self {
            seen: Mutex::new(Seen::new(streams)),
            changed: Condvar::new(),
            born: Instant::now(),
        }
    }

    /// A look at what there is.
    pub(crate) fn look(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to it and wakes all who wait.
    pub(crate) fn add(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.look());
        self.changed.notify_all();
    }

    /// Waits until `find` finds what is `expected`, or until it can no longer come.
    pub(crate) fn wait_for<T>(
        &self,
        limits: Limits,
        expected: &str,
        mut find: impl FnMut(&Seen) -> Option<T>,
    ) -> Result<T, VmFailure> {
        let mut seen = self.look();
        loop {
            if let Some(found) = find(&seen) {
                return Ok(found);
            }
            if let Some(failure) = seen.failure(expected) {
                return Err(failure);
            }
            if limits.deadline.is_some() && seen.console.len() > MAX_CONSOLE {
                return Err(VmFailure::Flood {
                    said: seen.console.len(),
                    expected: expected.to_owned(),
                });
            }
            let (age, silent) = (self.born.elapsed(), seen.last_sign.elapsed());
            if let Some(deadline) = limits.deadline.filter(|deadline| age >= *deadline) {
                return Err(VmFailure::Deadline {
                    deadline,
                    expected: expected.to_owned(),
                });
            }
            if limits.silence.is_some_and(|limit| silent >= limit) {
                return Err(VmFailure::Hang {
                    silent,
                    expected: expected.to_owned(),
                });
            }
            let left = [
                limits.deadline.map(|d| d - age),
                limits.silence.map(|s| s - silent),
            ];
            seen = match left.into_iter().flatten().min() {
                Some(left) => {
                    let waited = self.changed.wait_timeout(seen, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .changed
                    .wait(seen)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Waits until QEMU is gone, however that comes.
    pub(crate) fn wait_until_over(&self) {
        let seen = self.look();
        drop(self.changed.wait_while(seen, |seen| !seen.is_over()));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use qapi_qmp::ShutdownCause;

    use super::*;

    const NOW: Limits = Limits {
        deadline: Some(Duration::ZERO),
        silence: None,
    };
    const SILENCE: Limits = Limits {
        deadline: None,
        silence: Some(Duration::ZERO),
    };

    fn over(seen: &mut Seen, status: i32) {
        seen.close_stream();
        seen.set_exit(ExitStatus::from_raw(status), "qemu: no such disk\n".into());
    }

    fn failure(limits: Limits, change: impl FnOnce(&mut Seen)) -> VmFailure {
        let watch = Watch::new(1);
        watch.add(change);
        watch
            .wait_for::<()>(limits, "a thing", |_| None)
            .unwrap_err()
    }

    #[test]
    fn what_is_there_already_is_found_even_after_the_deadline() {
        let watch = Watch::new(1);
        watch.add(|seen| seen.add_console(b"login:\r\n"));
        let found = watch.wait_for(NOW, "login", |seen| seen.console.find("login:\n"));
        assert_eq!(found, Ok(0));
    }

    #[test]
    fn panic_is_told_once_it_is_complete() {
        let begun = b"x\n[1.0] Kernel panic - not syncing: No init\nCPU: 0\n";
        assert!(matches!(
            failure(NOW, |seen| seen.add_console(begun)),
            VmFailure::Deadline { .. }
        ));
        let complete = failure(NOW, |seen| {
            seen.add_console(begun);
            seen.add_console(b"[1.1] ---[ end Kernel panic - not syncing: No init ]---\n");
        });
        assert_eq!(
            complete,
            VmFailure::KernelPanic("Kernel panic - not syncing: No init".into())
        );
    }

    #[test]
    fn silence_and_deadline_are_told_apart() {
        assert!(matches!(failure(SILENCE, |_| ()), VmFailure::Hang { .. }));
        assert!(matches!(failure(NOW, |_| ()), VmFailure::Deadline { .. }));
    }

    #[test]
    fn console_without_an_end_is_a_failure_where_there_is_a_deadline() {
        let limits = Limits {
            deadline: Some(Duration::from_secs(3600)),
            silence: None,
        };
        let flood = vec![b'x'; MAX_CONSOLE + 1];
        let flooded = failure(limits, |seen| seen.add_console(&flood));
        assert!(matches!(flooded, VmFailure::Flood { .. }), "{flooded}");
        let watched = failure(SILENCE, |seen| seen.add_console(&flood));
        assert!(matches!(watched, VmFailure::Hang { .. }), "{watched}");
    }

    #[test]
    fn emulator_that_ends_first_failed_to_start() {
        let failure = failure(NOW, |seen| over(seen, 1 << 8));
        let VmFailure::FailedToStart(text) = failure else {
            panic!("{failure}")
        };
        assert!(
            text.contains("exit status: 1") && text.contains("no such disk"),
            "{text}"
        );
    }

    #[test]
    fn emulator_that_ends_in_the_middle_broke_down() {
        let failure = failure(NOW, |seen| {
            seen.add_console(b"Linux version\n");
            over(seen, 11);
        });
        assert!(matches!(failure, VmFailure::BrokeDown(_)), "{failure}");
    }

    #[test]
    fn end_of_the_machine_instead_of_what_was_expected_is_an_assertion() {
        let failure = failure(NOW, |seen| {
            seen.add_event(r#"{"t":1,"event":"stage","stage":"root","us":1}"#);
            seen.shutdown = Some(ShutdownCause::guest_shutdown);
            over(seen, 0);
        });
        let VmFailure::Assertion { expected, found } = failure else {
            panic!("{failure}")
        };
        assert_eq!(expected, "a thing");
        assert!(
            found.contains("guest_shutdown") && found.contains("root"),
            "{found}"
        );
    }

    #[test]
    fn line_that_is_no_event_is_an_assertion() {
        let failure = failure(NOW, |seen| seen.add_event("hello"));
        assert!(failure.to_string().contains("hello"), "{failure}");
    }

    #[test]
    fn who_waits_is_woken() {
        let watch = Watch::new(1);
        let found = std::thread::scope(|scope| {
            scope.spawn(|| watch.add(|seen| seen.add_console(b"ready")));
            let limits = Limits {
                deadline: None,
                silence: None,
            };
            watch.wait_for(limits, "ready", |seen| {
                seen.console.contains("ready").then_some(())
            })
        });
        assert_eq!(found, Ok(()));
    }
}
