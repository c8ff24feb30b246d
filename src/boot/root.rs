//! The third stage: the root device appears and its filesystem is mounted.
//!
//! # Waiting
//!
//! Disks are found by their drivers in their own time; some come seconds after the kernel, some are plugged in. The kernel
//! announces each by a uevent once its node in devtmpfs exists. The uevent socket was opened before the first module was
//! loaded, so looking first and then listening misses nothing, and nothing has to be polled. When the socket overflows,
//! devices are looked up afresh.

use core::ffi::CStr;
use core::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;

use super::Machine;
use super::switch::Switched;
use crate::error::{At, Code, During, Error, Op, Stage};
use crate::events::Event;
use crate::parse::device::DeviceRef;
use crate::parse::superblock::State;
use crate::parse::uevent::{Action, Uevent};
use crate::plan::Plan;
use crate::sys::block::{self, WINDOW};
use crate::sys::buffer::Buffer;
use crate::sys::clock::{self, Moment};
use crate::sys::mount::{self, Flags};
use crate::sys::netlink::{Received, UEVENT_MAX};
use crate::sys::path::{Path, path};
use crate::sys::{fs, kmsg};

/// Where the new root is mounted before the machine moves onto it.
pub(super) const SYSROOT: &str = "/sysroot";

/// The most bytes of options for a root filesystem.
const OPTIONS_MAX: usize = 1024;

/// The root device is there.
pub struct Found<'m> {
    machine: &'m mut Machine,
    device: Option<Device>,
}

/// A root device.
struct Device {
    node: Path,
    /// The type that the superblock tells.
    fstype: Option<&'static str>,
    state: State,
}

/// The root filesystem is mounted at [`SYSROOT`], or there is none and the initramfs stays.
pub struct Rooted<'m> {
    pub(super) machine: &'m mut Machine,
    pub(super) has_device: bool,
}

impl<'m> Found<'m> {
    /// Waits for the device of `root=`; without `root=` there is nothing to wait for.
    ///
    /// # Errors
    /// [`Code::RootNotFound`] after the deadline of `rootwait`, [`Code::RootUnreadable`], [`Code::Unsupported`].
    pub(super) fn wait(machine: &'m mut Machine, plan: &Plan<'_>) -> Result<Self, Error> {
        let Some(wanted) = plan.root else {
            return Ok(Self {
                machine,
                device: None,
            });
        };
        if !matches!(
            wanted,
            DeviceRef::Path(_)
                | DeviceRef::Uuid(_)
                | DeviceRef::Label(_)
                | DeviceRef::Number { .. }
        ) {
            return Err(Error::new(
                Stage::Root,
                Code::Unsupported,
                Op::Wait,
                format_args!("root={wanted}"),
                "this form of root= is not supported by this version",
            ));
        }
        if !plan.rootdelay.is_zero() {
            pause(plan.rootdelay);
        }
        let deadline = plan.rootwait.limit().map(|limit| clock::now() + limit);
        let mut search = Search {
            wanted,
            window: Buffer::new(),
            unreadable: None,
        };
        match search.run(machine, deadline)? {
            Some(device) => Ok(Self {
                machine,
                device: Some(device),
            }),
            None => Err(search.gave_up(plan)),
        }
    }

    /// Mounts the root filesystem at [`SYSROOT`].
    ///
    /// # Errors
    /// [`Code::RootUnknownType`], [`Code::RootNoDriver`], [`Code::RootMount`].
    pub fn mount_root(self, plan: &Plan<'_>) -> Result<Rooted<'m>, Error> {
        let Some(device) = self.device else {
            self.machine.events.emit(Event::Root {
                device: "",
                fstype: "initramfs",
                ro: false,
            });
            self.machine.complete(
                Stage::Root,
                format_args!("no root=: staying on the initramfs"),
            );
            return Ok(Rooted {
                machine: self.machine,
                has_device: false,
            });
        };
        fs::make_directory(SYSROOT).at(Stage::Root, Code::RootMount)?;
        let fstype = device.mount(self.machine, plan)?;
        let access = if plan.read_only { "ro" } else { "rw" };
        let node = device.node.as_str();
        self.machine.events.emit(Event::Root {
            device: node,
            fstype,
            ro: plan.read_only,
        });
        self.machine.complete(
            Stage::Root,
            format_args!("{node} is mounted, {fstype}, {access}"),
        );
        Ok(Rooted {
            machine: self.machine,
            has_device: true,
        })
    }
}

impl<'m> Rooted<'m> {
    /// Moves the machine onto the new root.
    ///
    /// # Errors
    /// Those of [`Switched::switch`].
    pub fn switch_root(self, plan: &Plan<'_>) -> Result<Switched<'m>, Error> {
        Switched::switch(self, plan)
    }
}

impl Device {
    /// Tries the types in question; the one that was mounted.
    fn mount<'s>(&'s self, machine: &mut Machine, plan: &Plan<'s>) -> Result<&'s str, Error> {
        match self.state {
            State::Dirty => machine.warn(
                Stage::Root,
                format_args!(
                    "{} was not unmounted cleanly: check it with fsck",
                    self.node
                ),
            ),
            State::NeedsRecovery => kmsg::info(
                Stage::Root,
                format_args!("{}: the kernel replays the journal", self.node),
            ),
            State::Clean => {}
        }
        if plan.rootfstype.is_empty() {
            let Some(fstype) = self.fstype else {
                return Err(Error::new(
                    Stage::Root,
                    Code::RootUnknownType,
                    Op::Mount,
                    &self.node,
                    "its superblock is none that berth knows (vfat, ext2, ext3, ext4)",
                ));
            };
            return self.mount_as(fstype, plan).map(|()| fstype);
        }
        let mut last = Ok(());
        for fstype in plan.rootfstype.iter() {
            last = self.mount_as(fstype, plan);
            if last.is_ok() {
                return Ok(fstype);
            }
        }
        last.map(|()| "")
    }

    fn mount_as(&self, fstype: &str, plan: &Plan<'_>) -> Result<(), Error> {
        let subject = format_args!("{} as {fstype}", self.node);
        let flags = if plan.read_only {
            Flags::RDONLY
        } else {
            Flags::empty()
        };
        let mut buffer = [0; OPTIONS_MAX];
        let data = c_string(plan.rootflags.unwrap_or_default(), &mut buffer)
            .during(Op::Mount, subject)
            .at(Stage::Root, Code::RootMount)?;
        let mark = kmsg::Mark::here();
        mount::mount_new(fstype, &self.node, SYSROOT, flags, data).map_err(|fault| {
            let code = match fault.errno {
                Errno::NODEV => Code::RootNoDriver,
                _ => Code::RootMount,
            };
            Error {
                subject: crate::text::Text::new(subject),
                ..fault.at(Stage::Root, code)
            }
            .with_detail(mark.last_complaint())
        })
    }
}

/// `text` as a C string in `buffer`.
fn c_string<'b>(text: &str, buffer: &'b mut [u8; OPTIONS_MAX]) -> Result<&'b CStr, Errno> {
    buffer
        .get_mut(..text.len())
        .ok_or(Errno::NAMETOOLONG)?
        .copy_from_slice(text.as_bytes());
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::NAMETOOLONG)
}

/// Sleeps: `rootdelay=` is a request to do just that.
fn pause(duration: Duration) {
    let until = clock::now() + duration;
    while clock::now() < until {
        let _ = poll(&mut [], Some(&until.from_now()));
    }
}

/// The search for one device.
struct Search<'p> {
    wanted: DeviceRef<'p>,
    window: Buffer<WINDOW>,
    /// Why the device that was found could not be read.
    unreadable: Option<crate::error::Fault>,
}

impl Search<'_> {
    fn run(
        &mut self,
        machine: &mut Machine,
        deadline: Option<Moment>,
    ) -> Result<Option<Device>, Error> {
        if let Some(device) = self.look_at_all()? {
            return Ok(Some(device));
        }
        kmsg::info(
            Stage::Root,
            format_args!("waiting for root={}", self.wanted),
        );
        loop {
            let time_is_up = !wait_for_uevent(machine, deadline)?;
            if let Some(device) = self.take_uevents(machine)? {
                return Ok(Some(device));
            }
            if time_is_up {
                return Ok(None);
            }
        }
    }

    /// Reads the uevents that have come, and looks at the devices they name.
    fn take_uevents(&mut self, machine: &mut Machine) -> Result<Option<Device>, Error> {
        let mut buffer = [0; UEVENT_MAX];
        loop {
            let Some(socket) = &machine.uevents else {
                return Ok(None);
            };
            let message = match socket.next(&mut buffer) {
                Received::Message(message) => message,
                Received::Overflow => {
                    kmsg::info(
                        Stage::Root,
                        format_args!("uevents were lost: looking at all devices"),
                    );
                    if let Some(device) = self.look_at_all()? {
                        return Ok(Some(device));
                    }
                    continue;
                }
                Received::Nothing => return Ok(None),
            };
            let Ok(uevent) = Uevent::parse(message) else {
                continue;
            };
            if uevent.subsystem == "virtio-ports" {
                machine.events.reader_may_have_come();
                machine.open_event_device();
            }
            let appeared = matches!(uevent.action, Action::Add | Action::Change);
            if uevent.subsystem != "block" || !appeared {
                continue;
            }
            let Some(name) = uevent.properties.devname else {
                continue;
            };
            let number = (uevent.properties.major, uevent.properties.minor);
            if let (Some(major), Some(minor)) = number
                && let Some(device) = self.look_at(name, (major, minor))
            {
                return Ok(Some(device));
            }
        }
    }

    fn look_at_all(&mut self) -> Result<Option<Device>, Error> {
        if let DeviceRef::Path(node) = self.wanted {
            return Ok(self.look_at_path(node));
        }
        let mut found = None;
        block::each_device(|device| {
            found = self.look_at(&device.name, device.number);
            found.is_none()
        })
        // A kernel without block devices has no such class.
        .or_else(|fault| {
            if fault.errno == Errno::NOENT {
                Ok(())
            } else {
                Err(fault)
            }
        })
        .at(Stage::Root, Code::RootNotFound)?;
        Ok(found)
    }

    fn look_at_path(&mut self, node: &str) -> Option<Device> {
        block::number_of(node).ok()?;
        self.open(path(format_args!("{node}")).ok()?)
    }

    /// The device `name`, if it is the one wanted and can be read.
    fn look_at(&mut self, name: &str, number: (u32, u32)) -> Option<Device> {
        match self.wanted {
            // The uevent may be that of the device or of what the path goes through.
            DeviceRef::Path(node) => self.look_at_path(node),
            DeviceRef::Number { major, minor } if (major, minor) != number => None,
            _ => self.open(path(format_args!("/dev/{name}")).ok()?),
        }
    }

    /// The device at `node`, if what is on it is what is wanted.
    fn open(&mut self, node: Path) -> Option<Device> {
        let superblock = match block::probe(&node, &mut self.window) {
            Ok(superblock) => superblock,
            Err(fault) => {
                // A device that was not asked for by name may be anything, an empty drive for one.
                if matches!(self.wanted, DeviceRef::Path(_) | DeviceRef::Number { .. }) {
                    self.unreadable = Some(fault);
                }
                return None;
            }
        };
        let is_wanted = match self.wanted {
            DeviceRef::Uuid(_) => superblock
                .and_then(|superblock| superblock.uuid)
                .is_some_and(|uuid| self.wanted.matches_uuid(&uuid)),
            DeviceRef::Label(_) => superblock
                .and_then(|superblock| superblock.label)
                .is_some_and(|label| self.wanted.matches_label(&label)),
            _ => true,
        };
        is_wanted.then_some(Device {
            node,
            fstype: superblock.map(|superblock| superblock.fstype),
            state: superblock.map_or(State::Clean, |superblock| superblock.state),
        })
    }

    fn gave_up(&self, plan: &Plan<'_>) -> Error {
        if let Some(fault) = self.unreadable {
            return fault.at(Stage::Root, Code::RootUnreadable);
        }
        let seconds = plan.rootwait.limit().unwrap_or_default().as_secs();
        Error::new(
            Stage::Root,
            Code::RootNotFound,
            Op::Wait,
            format_args!("root={}", self.wanted),
            format_args!("no such block device after {seconds} s"),
        )
    }
}

/// Sleeps until a uevent, or room in the event device, is there; `false` if `deadline` came first.
fn wait_for_uevent(machine: &mut Machine, deadline: Option<Moment>) -> Result<bool, Error> {
    let timeout: Option<Timespec> = deadline.map(Moment::from_now);
    let Some(uevents) = &machine.uevents else {
        return Ok(false);
    };
    let uevents = uevents.as_fd();
    let ready = match machine.events.device_to_watch() {
        Some(device) => poll(
            &mut [
                PollFd::new(&uevents, PollFlags::IN),
                PollFd::new(&device, PollFlags::OUT),
            ],
            timeout.as_ref(),
        ),
        None => poll(
            &mut [PollFd::new(&uevents, PollFlags::IN)],
            timeout.as_ref(),
        ),
    };
    machine.events.flush();
    match ready {
        Ok(0) => Ok(false),
        Ok(_) | Err(Errno::INTR) => Ok(true),
        Err(errno) => Err(errno)
            .during(Op::Wait, "uevents")
            .at(Stage::Root, Code::EventLoop),
    }
}
