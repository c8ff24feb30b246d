//! The third stage: the root device appears and its filesystem is mounted.

mod mount;
mod search;

use super::Machine;
use super::switch::Switched;
use crate::error::{At, Code, Error, Op, Stage};
use crate::events::Event;
use crate::parse::device::DeviceRef;
use crate::plan::Plan;
use crate::sys::{clock, fs};
use search::{Device, Search, pause};

/// Where the new root is mounted before the machine moves onto it.
pub(super) const SYSROOT: &str = "/sysroot";

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
