//! Waiting for the root device.
//!
//! Disks are found by their drivers in their own time; some come seconds after the kernel, some are
//! plugged in. The kernel announces each by a uevent once its node in devtmpfs exists. The uevent
//! socket was opened before the first module was loaded, so looking first and then listening misses
//! nothing, and nothing has to be polled. When the socket overflows, devices are looked up afresh.

use rustix::event::poll;
use rustix::io::Errno;

use super::Machine;
use super::candidates::Candidates;
use super::device::Device;
use crate::boot::devices::Change;
use crate::boot::report::devices::each_near_miss;
use crate::cause::Cause;
use crate::error::{At, Code, Error, Fault, Op, Stage};
use crate::events::Event;
use crate::parse::device::DeviceRef;
use crate::parse::near_miss::NearMiss;
use crate::parse::superblock::Kind;
use crate::parse::uevent::{Action, Uevent};
use crate::plan::Plan;
use crate::sys::block::{self, Depth, WINDOW};
use crate::sys::buffer::Buffer;
use crate::sys::clock::{self, Moment};
use crate::sys::kmsg;
use crate::sys::netlink::UEVENT_MAX;
use crate::sys::path::{Path, path};

/// The search for one device.
pub(in crate::boot) struct Search<'p> {
    wanted: DeviceRef<'p>,
    /// Whether UUID= is that of a hash tree, not of a filesystem.
    for_hash_tree: bool,
    window: Buffer<WINDOW>,
    /// Why the device that was found could not be read.
    unreadable: Option<Fault>,
}

impl<'p> Search<'p> {
    /// A search that has not begun.
    ///
    /// # Errors
    /// [`Code::Unsupported`] for a form that is not found by looking at block devices,
    /// [`Code::RootNotFound`] for a link that nobody will make.
    pub(in crate::boot) fn new(wanted: DeviceRef<'p>) -> Result<Self, Error> {
        if !wanted.is_block() {
            return Err(Error::new(
                Code::Unsupported,
                Op::Wait,
                format_args!("root={wanted}"),
                "this form of root= is not supported by this version",
            ));
        }
        if let DeviceRef::Path(node) = wanted
            && wanted.is_udev_link()
            && block::number_of(node).is_err()
        {
            return Err(Error::new(
                Code::RootNotFound,
                Op::Wait,
                format_args!("root={wanted}"),
                "udev makes this link, and here is none",
            )
            .because(Cause::UdevLink));
        }
        Ok(Self {
            wanted,
            for_hash_tree: false,
            window: Buffer::new(),
            unreadable: None,
        })
    }

    /// A search for the device that a dm-verity hash tree is on.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub(super) fn for_hash_tree(wanted: DeviceRef<'p>) -> Result<Self, Error> {
        Ok(Self {
            for_hash_tree: true,
            ..Self::new(wanted)?
        })
    }

    /// Waits for the device. If it is not there already, the log says that it is waited for. `None`
    /// when the deadline has passed.
    ///
    /// # Errors
    /// [`Code::EventLoop`], [`Code::RootNotFound`] if there is no list of devices.
    pub(super) fn run(
        &mut self,
        machine: &mut Machine,
        plan: &Plan<'_>,
        deadline: Option<Moment>,
    ) -> Result<Option<Device>, Error> {
        if let Some(device) = self.look_at_all(machine)? {
            return Ok(Some(device));
        }
        let root = self.wanted;
        kmsg::info(Stage::Root, format_args!("waiting for root={root}"));
        machine.journal.events.emit(Event::Waiting { root });
        // A disk may come yet. Its name may also be misspelt, and the wait be long.
        if self.is_shared() {
            each_near_miss(&self.wanted, &mut |advice| match advice.near {
                NearMiss::Spelling => kmsg::notice(Stage::Root, format_args!("{advice}")),
                _ => machine.journal.warn(Stage::Root, format_args!("{advice}")),
            });
        }
        self.listen(machine, plan, deadline)
    }

    /// Waits for the device after the boot was given up.
    ///
    /// # Errors
    /// Those of [`Self::run`].
    pub(in crate::boot) fn wait_after_failure(
        &mut self,
        machine: &mut Machine,
        until: Option<Moment>,
    ) -> Result<Option<Device>, Error> {
        match self.look_at_all(machine)? {
            Some(device) => Ok(Some(device)),
            None => self.listen(machine, &Plan::empty(), until),
        }
    }

    fn listen(
        &mut self,
        machine: &mut Machine,
        plan: &Plan<'_>,
        deadline: Option<Moment>,
    ) -> Result<Option<Device>, Error> {
        loop {
            let time_is_up = !machine.wait_for_change(deadline)?;
            if let Some(device) = self.follow_changes(machine, plan)? {
                return Ok(Some(device));
            }
            if time_is_up {
                return Ok(None);
            }
        }
    }

    /// Looks at the devices that were announced, until one is the one wanted.
    fn follow_changes(
        &mut self,
        machine: &mut Machine,
        plan: &Plan<'_>,
    ) -> Result<Option<Device>, Error> {
        let mut room = [0; UEVENT_MAX];
        while let Some(change) = machine.next_change(plan, &mut room) {
            let found = match change {
                Change::Lost => {
                    kmsg::info(
                        Stage::Root,
                        format_args!("uevents were lost: looking at all devices"),
                    );
                    self.look_at_all(machine)?
                }
                Change::Device(uevent) => match self.look_at_announced(machine, &uevent) {
                    // Which device is announced first is a matter of luck.
                    Some(device) if self.is_shared() => {
                        machine.settle(plan);
                        self.look_at_all(machine)?.or(Some(device))
                    }
                    found => found,
                },
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The device that has come, if it is the one wanted.
    fn look_at_announced(&mut self, machine: &Machine, uevent: &Uevent<'_>) -> Option<Device> {
        let has_come = matches!(uevent.action, Action::Add | Action::Change);
        if uevent.subsystem != "block" || !has_come {
            return None;
        }
        // It may be gone again.
        let device = uevent.properties.devname.and_then(block::Device::named)?;
        machine.devices.make_node(&device);
        self.kind_and_mount_root(&device)
    }

    /// Looks at the devices that are there. Several may have the name that is wanted, as copies of
    /// a disk do.
    fn look_at_all(&mut self, machine: &mut Machine) -> Result<Option<Device>, Error> {
        if let DeviceRef::Path(node) = self.wanted
            && machine.devices.has_devtmpfs
        {
            return Ok(self.look_at_path(node));
        }
        let mut candidates = Candidates::default();
        block::each_device(|device| {
            machine.devices.make_node(device);
            if let Some(found) = self.kind_and_mount_root(device) {
                candidates.add(found);
            }
            candidates.is_empty() || self.is_shared()
        })
        // A kernel without block devices has no such class.
        .or_else(|fault| {
            if fault.errno == Errno::NOENT {
                Ok(())
            } else {
                Err(fault)
            }
        })
        .at(Code::RootNotFound)?;
        Ok(candidates.choose(&mut machine.journal, self.wanted))
    }

    /// Whether several devices can have what is asked for.
    const fn is_shared(&self) -> bool {
        !matches!(self.wanted, DeviceRef::Path(_) | DeviceRef::Number { .. })
    }

    fn look_at_path(&mut self, node: &str) -> Option<Device> {
        block::number_of(node).ok()?;
        self.open(path(format_args!("{node}")).ok()?)
    }

    /// The device, if it is the one wanted and can be read.
    fn kind_and_mount_root(&mut self, device: &block::Device) -> Option<Device> {
        match self.wanted {
            // The uevent may be that of the device or of what the path goes through.
            DeviceRef::Path(node) => return self.look_at_path(node),
            DeviceRef::Number { major, minor } if (major, minor) != device.number => return None,
            DeviceRef::PartUuid { uuid, offset } => {
                // The partition may be announced before the one that its number is counted from, or
                // after it.
                let number = device.partition?.checked_sub_signed(offset.unwrap_or(0))?;
                let entry = block::table_entry(&device.disk()?, number).ok()??;
                entry.partuuid.matches(uuid).then_some(())?;
            }
            DeviceRef::PartLabel(name) => {
                let entry = block::table_entry(&device.disk()?, device.partition?).ok()??;
                entry.name?.is(name).then_some(())?;
            }
            _ => {}
        }
        self.open(device.node().ok()?)
    }

    /// The device at `node`, if what is on it is what is wanted.
    fn open(&mut self, node: Path) -> Option<Device> {
        let depth = match self.wanted {
            DeviceRef::Label(_) => Depth::Label,
            _ => Depth::Superblock,
        };
        let opened = block::Opened::open(&node).and_then(|mut file| {
            let content = file.content(&mut self.window, depth)?;
            Ok((file, content))
        });
        let (mut file, content) = match opened {
            Ok(opened) => opened,
            Err(fault) => {
                // A device that was not asked for by name may be anything, an empty drive for one.
                if !self.is_by_content() {
                    self.unreadable = Some(fault);
                }
                return None;
            }
        };
        // Other contents carry names, too: the container of an encrypted root is not the root.
        let carries_names = |kind: Kind| match self.for_hash_tree {
            true => kind == Kind::VerityTree,
            false => kind.fstype().is_some(),
        };
        let wanted = self.wanted;
        let mut names = content.each().filter(|(kind, ..)| carries_names(*kind));
        let is_wanted = match wanted {
            DeviceRef::Uuid(_) => {
                names.any(|(_, uuid, _)| uuid.is_some_and(|uuid| wanted.matches_uuid(uuid)))
            }
            DeviceRef::Label(_) => {
                names.any(|(.., label)| label.is_some_and(|label| wanted.matches_label(label)))
            }
            _ => true,
        };
        drop(names);
        // The filesystem may be that of a device which is made of this one: a RAID array with its
        // superblocks at the end, or a device that is there already. Then this device is not the
        // one that is meant.
        let is_member = is_wanted && file.is_member_by_its_end(content.size);
        if !is_wanted || self.is_by_content() && (is_member || block::is_held(&node)) {
            return None;
        }
        drop(file);
        let mut device = Device::new(node, content);
        if is_member && device.kind.fstype().is_some() {
            device.also.get_or_insert(Kind::Md);
        } else if is_member {
            device.kind = Kind::Md;
        }
        Some(device)
    }

    /// Whether it is what is on the device that is named, and not the device.
    fn is_by_content(&self) -> bool {
        matches!(self.wanted, DeviceRef::Uuid(_) | DeviceRef::Label(_))
    }

    pub(super) fn not_found(&self, plan: &Plan<'_>, key: &str) -> Error {
        if let Some(fault) = self.unreadable {
            return fault.at(Code::RootUnreadable);
        }
        let seconds = plan.rootwait.limit().unwrap_or_default().as_secs();
        Error::new(
            Code::RootNotFound,
            Op::Wait,
            format_args!("{key}={}", self.wanted),
            format_args!("no such block device after {seconds} s"),
        )
    }
}

/// Sleeps until then.
pub(in crate::boot) fn sleep_until(until: Moment) {
    while clock::now() < until {
        let _ = poll(&mut [], Some(&until.from_now()));
    }
}
