//! Waiting for many descriptors at once: epoll(7), level-triggered.

use core::mem::MaybeUninit;

use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use super::clock::Moment;
use crate::error::{During, Fault, Op};

pub use rustix::event::epoll::EventFlags as Interest;

/// How many ready descriptors one round takes. More are served in the next: the kernel rotates its
/// list, so none starves.
const ROUND: usize = 32;

/// A set of descriptors, each with a number that says what it is for.
pub struct Epoll(OwnedFd);

/// The numbers of the descriptors that are ready.
pub type Ready = heapless::Vec<(u64, Interest), ROUND>;

impl Epoll {
    /// An empty set.
    ///
    /// # Errors
    /// Those of epoll_create1(2).
    pub fn new() -> Result<Self, Fault> {
        epoll::create(epoll::CreateFlags::CLOEXEC)
            .map(Self)
            .during(Op::Watch, "descriptors")
    }

    /// Watches `descriptor`, under `number`.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn add(&self, descriptor: impl AsFd, number: u64, interest: Interest) -> Result<(), Fault> {
        epoll::add(
            &self.0,
            descriptor,
            epoll::EventData::new_u64(number),
            interest,
        )
        .during(Op::Watch, "a descriptor")
    }

    /// Changes what `descriptor` is watched for.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn change(
        &self,
        descriptor: impl AsFd,
        number: u64,
        interest: Interest,
    ) -> Result<(), Fault> {
        epoll::modify(
            &self.0,
            descriptor,
            epoll::EventData::new_u64(number),
            interest,
        )
        .during(Op::Watch, "a descriptor")
    }

    /// Stops watching `descriptor`. Needed where a copy of it lives on in another process: closing
    /// ours is not enough then.
    pub fn remove(&self, descriptor: impl AsFd) {
        // A descriptor that is not watched is what was wanted.
        let _ = epoll::delete(&self.0, descriptor);
    }

    /// Sleeps until a descriptor is ready or `deadline` has come; without a deadline, for as long
    /// as it takes.
    ///
    /// # Errors
    /// Those of epoll_pwait2(2) other than `EINTR`.
    pub fn wait(&self, deadline: Option<Moment>) -> Result<Ready, Fault> {
        let mut events: [MaybeUninit<epoll::Event>; ROUND] =
            [const { MaybeUninit::uninit() }; ROUND];
        let timeout: Option<Timespec> = deadline.map(Moment::from_now);
        let (events, _) = match epoll::wait(&self.0, &mut events[..], timeout.as_ref()) {
            Ok(events) => events,
            Err(Errno::INTR) => return Ok(Ready::new()),
            Err(errno) => return Err(errno).during(Op::Wait, "events"),
        };
        Ok(events
            .iter()
            .map(|event| (event.data.u64(), event.flags))
            .collect())
    }
}
