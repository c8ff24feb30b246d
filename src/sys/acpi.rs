//! The power button, as ACPI tells of it over generic netlink (drivers/acpi/event.c, button.c).
//!
//! The kernel sends an event for each press if its module `button` is loaded. QEMU's
//! `system_powerdown` and hypervisors that shut a guest down press this button.

use core::mem::MaybeUninit;

use linux_raw_sys::general::__NR_setsockopt;
use linux_raw_sys::netlink::NETLINK_ADD_MEMBERSHIP;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::GENERIC;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socket_with};

use super::netlink::{Received, receive};
use super::netlink_request::{Body, append, attribute, send};
use super::{fs, raw};
use crate::error::{During, Fault, Op};
use crate::parse::netlink::{AcpiFamily, GENERIC_HEADER, message};

/// There if the kernel has found ACPI, and so the family of its events.
const ACPI: &str = "/sys/firmware/acpi";

/// `SOL_NETLINK` of include/linux/socket.h.
const LEVEL: usize = 270;

/// The family that knows the others (`GENL_ID_CTRL`).
const CONTROL: u16 = 16;

/// What it is asked (`CTRL_CMD_GETFAMILY`, with a version), and about which family
/// (`CTRL_ATTR_FAMILY_NAME`).
const GET_FAMILY: [u8; GENERIC_HEADER] = [3, 1, 0, 0];
const FAMILY_NAME: u16 = 2;
const EVENTS: &[u8] = b"acpi_event\0";

/// Bytes of the longest message: the family, with its operations and groups.
const MESSAGE_MAX: usize = 1024;

/// How many events are read at once. Others get their turn in between.
const AT_ONCE: usize = 64;

/// A socket that receives ACPI's events.
pub struct PowerButton {
    socket: OwnedFd,
    family: AcpiFamily,
}

impl PowerButton {
    /// Opens the socket; `None` on a machine without ACPI.
    ///
    /// # Errors
    /// Those of socket(2), send(2), recv(2) and setsockopt(2); `EBADMSG` for an answer that names
    /// no group of events.
    pub fn open() -> Result<Option<Self>, Fault> {
        // A family that is not there makes the kernel run modprobe, and wait for it.
        if !fs::is_directory(ACPI) {
            return Ok(None);
        }
        Self::connect()
            .map(Some)
            .during(Op::Socket, "the events of ACPI")
    }

    fn connect() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            flags,
            Some(GENERIC),
        )?;
        let mut body = Body::new();
        append(&mut body, &GET_FAMILY)?;
        attribute(&mut body, FAMILY_NAME, &[EVENTS])?;
        send(&socket, CONTROL, 0, &body)?;
        let mut buffer = [MaybeUninit::uninit(); MESSAGE_MAX];
        // The kernel has answered when send(2) returns.
        let ((answer, _), _) = recv(&socket, &mut buffer, RecvFlags::empty())?;
        let body = message(answer).filter(|(kind, ..)| *kind == CONTROL);
        let family = body
            .and_then(|(_, body, _)| AcpiFamily::parse(body))
            .ok_or(Errno::BADMSG)?;
        let group = &raw const family.group;
        let arguments = [
            socket.as_raw_fd() as usize,
            LEVEL,
            NETLINK_ADD_MEMBERSHIP as usize,
            group.addr(),
            size_of::<u32>(),
        ];
        // SAFETY: setsockopt(2) reads the four bytes of the group, which outlive the call.
        unsafe { raw::call(__NR_setsockopt, arguments) }?;
        Ok(Self { socket, family })
    }

    /// Reads what there is of events, 64 at most, and says whether the button was pressed.
    pub fn was_pressed(&self) -> bool {
        let mut was_pressed = false;
        let mut buffer = [0; MESSAGE_MAX];
        for _ in 0..AT_ONCE {
            match receive(&self.socket, &mut buffer) {
                Received::Message(event) => was_pressed |= self.family.is_power_button(event),
                // Events were lost. The button can be pressed again.
                Received::Overflow => {}
                Received::Nothing => break,
            }
        }
        was_pressed
    }
}

impl AsFd for PowerButton {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
