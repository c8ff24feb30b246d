//! The third stage: the root device appears and its filesystem is mounted.

mod search;

use core::ffi::CStr;

use rustix::io::Errno;

use super::Machine;
use super::switch::Switched;
use crate::error::{At, Code, During, Error, Op, Stage};
use crate::events::Event;
use crate::parse::device::DeviceRef;
use crate::parse::superblock::State;
use crate::plan::Plan;
use crate::sys::mount::{self, Flags};
use crate::sys::{clock, fs, kmsg};
use search::{Device, Search, pause};

/// Where the new root is mounted before the machine moves onto it.
pub(super) const SYSROOT: &str = "/sysroot";

/// The most bytes of options for a root filesystem.
const OPTIONS_MAX: usize = 1024;

/// The root device is there.
pub struct Found<'m> {
    machine: &'m mut Machine,
    device: Option<Device>,
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
        let mut search = Search::new(wanted);
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
