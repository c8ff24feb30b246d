//! The devices of the machine, as the kernel announces them: the uevent socket, and one way to
//! read it.
//!
//! * The socket is opened before the first module is loaded and before any device is looked for,
//!   so that looking first and then reading changes misses nothing.
//! * When it overflows, what is known from uevents must be looked up afresh: [`Change::Lost`].

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

use crate::error::{At, Code, During, Error, Fault, Op};
use crate::parse::uevent::Uevent;
use crate::sys::block;
use crate::sys::clock::Moment;
use crate::sys::netlink::{Received, UEVENT_MAX, Uevents};

/// Room for one uevent.
pub(crate) type Room = [u8; UEVENT_MAX];

/// The subsystem of virtio ports, in uevents.
const PORTS: &str = "virtio-ports";

/// What has changed.
pub(crate) enum Change<'b> {
    /// Something happened to this device.
    Device(Uevent<'b>),
    /// Uevents were lost: devices may have come of which nothing is known.
    Lost,
}

impl Change<'_> {
    /// Whether it may be about a port of a virtio console.
    pub(crate) fn may_be_port(&self) -> bool {
        match self {
            Self::Device(uevent) => uevent.subsystem == PORTS,
            Self::Lost => true,
        }
    }
}

/// The devices.
pub(crate) struct Devices {
    /// From the moment the socket could be opened.
    uevents: Option<Uevents>,
    /// The kernel makes the nodes of devices itself.
    pub(crate) has_devtmpfs: bool,
}

impl Devices {
    /// Nothing is announced yet.
    pub(super) const fn new() -> Self {
        Self {
            uevents: None,
            has_devtmpfs: true,
        }
    }

    /// From now on every change is announced.
    ///
    /// # Errors
    /// Those of [`Uevents::open`].
    pub(super) fn listen(&mut self) -> Result<(), Fault> {
        self.uevents = Some(Uevents::open()?);
        Ok(())
    }

    /// The uevent socket, to be watched for changes.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.uevents.as_ref().map(AsFd::as_fd)
    }

    /// The next change that was announced, without waiting.
    #[inline(never)]
    pub(crate) fn next_change<'b>(&self, room: &'b mut Room) -> Option<Change<'b>> {
        match self.uevents.as_ref()?.next(room) {
            // One that cannot be read is as good as lost.
            Received::Message(message) => {
                Some(Uevent::parse(message).map_or(Change::Lost, Change::Device))
            }
            Received::Overflow => Some(Change::Lost),
            Received::Nothing => None,
        }
    }

    /// Sleeps until a change is announced, or until `output` can be written; `false` if `deadline`
    /// came first.
    ///
    /// # Errors
    /// [`Code::EventLoop`].
    #[inline(never)]
    pub(super) fn wait(
        &self,
        output: Option<BorrowedFd<'_>>,
        deadline: Option<Moment>,
    ) -> Result<bool, Error> {
        let timeout: Option<Timespec> = deadline.map(Moment::from_now);
        let watched = [(self.socket(), PollFlags::IN), (output, PollFlags::OUT)];
        let mut polled = heapless::Vec::<PollFd<'_>, 2>::new();
        for (descriptor, flags) in &watched {
            // There is room for both.
            let _ = descriptor
                .as_ref()
                .map(|it| polled.push(PollFd::new(it, *flags)));
        }
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) => Ok(false),
            Ok(_) | Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(errno).during(Op::Wait, "uevents").at(Code::EventLoop),
        }
    }

    /// Makes the node of a block device where the kernel does not.
    pub(super) fn make_node(&self, device: &block::Device) {
        if !self.has_devtmpfs {
            block::make_node(&device.name, device.number);
        }
    }
}
