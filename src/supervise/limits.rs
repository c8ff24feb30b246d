//! How many descriptors PID 1 may have.
//!
//! A container takes four for as long as it runs, and more while it starts, so the limit that the
//! kernel gives its first process (getrlimit(2), RLIMIT_NOFILE: 1024) is too low for as many
//! containers as can be supervised. Programs get the limit that PID 1 was given all the same: some
//! close all descriptors that they may have, one after the other.

use core::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What PID 1 was given; this for no limit.
static GIVEN: AtomicU64 = AtomicU64::new(NONE);

const NONE: u64 = u64::MAX;

/// Lets PID 1 have as many as it can without a privilege: from the kernel, 4096.
pub(super) fn raise() {
    let given = getrlimit(Resource::Nofile);
    GIVEN.store(given.current.unwrap_or(NONE), Ordering::Relaxed);
    set(given.maximum);
}

/// Has the program that this process becomes get what PID 1 was given.
pub(super) fn restore() {
    let given = GIVEN.load(Ordering::Relaxed);
    set(Some(given).filter(|given| *given != NONE));
}

fn set(current: Option<u64>) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // It is not above the maximum, and then it cannot fail.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}
