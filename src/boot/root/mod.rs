//! The third stage: the root device appears and its filesystem is mounted.
//!
//! `root=` is the first candidate, those of `berth.root_fallback=` follow. Each is waited for as
//! `rootwait=` says, from the moment when it is its turn. The root is the first that can be mounted
//! and, where there are others, has what a root needs. When a candidate is given up, the log says
//! why.

mod archive;
mod btrfs;
mod candidates;
mod device;
mod fit;
mod fsck;
mod mount;
mod overlay;
mod search;
mod share;
mod usr;
mod verity;

use super::Machine;
use super::shell::Shell;
use super::switch::Switched;
use crate::error::{At, Code, Error, Op, SUBJECT_MAX, Stage};
use crate::events::Event;
use crate::parse::choice::BreakAt;
use crate::parse::device::DeviceRef;
use crate::plan::Plan;
use crate::sys::{clock, fs};
use crate::text::Text;
use device::Device;
use mount::{Mounted, place};
pub(super) use search::{Search, sleep_until};
use share::Share;

/// Where the new root is mounted before the machine moves onto it.
pub(super) const SYSROOT: &str = "/sysroot";

/// The root device is there.
pub struct Found<'m> {
    machine: &'m mut Machine,
    /// `None`: the initramfs stays the root.
    root: Option<Candidate>,
    /// Why the first candidate is not the root.
    first_failure: Option<Error>,
}

/// A root that was found, and the number of its name in [`Plan::roots`].
struct Candidate {
    source: Source,
    number: usize,
}

/// What a root is on.
#[allow(
    clippy::large_enum_variant,
    reason = "there is one, and nothing to allocate another with"
)]
enum Source {
    Block(Device),
    Share(Share),
    /// Memory, filled from an archive.
    Archive,
}

/// What was mounted of a candidate.
struct Root<'s> {
    mounted: Mounted<'s>,
    /// What the upper layer is on, if there is one.
    overlay: Text<SUBJECT_MAX>,
    /// Why `/usr` is not mounted, if it is another filesystem.
    usr: Option<Error>,
}

/// The root filesystem is mounted at [`SYSROOT`], or there is none and the initramfs stays.
pub struct Rooted<'m> {
    pub(super) machine: &'m mut Machine,
    pub(super) has_device: bool,
    /// Why `/usr`, which the program of `init=` may be on, is not mounted.
    pub(super) usr: Option<Error>,
}

impl<'m> Found<'m> {
    /// Waits for the device of `root=`, or of a fallback; without any there is nothing to wait for.
    ///
    /// # Errors
    /// That of the first candidate when none comes: [`Code::RootNotFound`] after the deadline of
    /// `rootwait`, [`Code::RootUnreadable`], [`Code::Unsupported`].
    #[inline(never)]
    pub(super) fn wait(machine: &'m mut Machine, plan: &Plan<'_>) -> Result<Self, Error> {
        let has_root = plan.roots().next().is_some();
        if !has_root && plan.verity.is_some() {
            return Err(nothing_to_verify("there is no root="));
        }
        if has_root && !plan.rootdelay.is_zero() {
            sleep_until(clock::now() + plan.rootdelay);
        }
        let mut found = Self {
            machine,
            root: None,
            first_failure: None,
        };
        found.find(plan, 0)?;
        Ok(found)
    }

    /// Finds a candidate, from that with this number on.
    fn find(&mut self, plan: &Plan<'_>, from: usize) -> Result<(), Error> {
        self.root = None;
        for (number, wanted) in plan.roots().enumerate().skip(from) {
            match find(self.machine, plan, wanted) {
                Ok(source) => {
                    self.root = Some(Candidate { source, number });
                    return Ok(());
                }
                Err(error) => self.reject(plan, wanted, error),
            }
        }
        match self.first_failure {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Notes that a candidate cannot be the root. With one candidate that is the failure of the
    /// boot, which is reported when it ends.
    fn reject(&mut self, plan: &Plan<'_>, wanted: DeviceRef<'_>, error: Error) {
        self.first_failure.get_or_insert(error);
        if plan.roots().nth(1).is_some() {
            self.machine.journal.root_rejected(wanted, &error);
        }
    }

    /// Mounts the root filesystem at [`SYSROOT`].
    ///
    /// # Errors
    /// That of the first candidate when none can be the root: [`Code::RootUnknownType`],
    /// [`Code::RootNoDriver`], [`Code::RootMount`], those of [`Found::wait`], and those of
    /// [`fit::check`].
    #[inline(never)]
    pub fn mount_root(mut self, plan: &Plan<'_>) -> Result<Rooted<'m>, Error> {
        if let Some(shell) = Shell::for_break(&mut self.machine.journal, plan, BreakAt::MountRoot) {
            shell.pause(&mut self.machine.journal, BreakAt::MountRoot);
        }
        fs::make_directory(SYSROOT).at(Code::RootMount)?;
        if plan.overlay.is_some() {
            overlay::prepare()?;
        }
        while let Some(Candidate { source, number }) = self.root.take() {
            let Some(wanted) = plan.roots().nth(number) else {
                break;
            };
            match self.mount(plan, &source)? {
                Ok(root) => {
                    let node = source.name(wanted);
                    self.mounted(plan, wanted, node.as_str(), &root);
                    return Ok(Rooted {
                        machine: self.machine,
                        has_device: true,
                        usr: root.usr,
                    });
                }
                Err(error) => {
                    self.reject(plan, wanted, error);
                    self.find(plan, number.saturating_add(1))?;
                }
            }
        }
        self.machine.journal.events.emit(Event::Root {
            device: "",
            fstype: "initramfs",
            ro: false,
            verified: false,
            asked: None,
            overlay: "",
        });
        self.machine.journal.complete(
            Stage::Root,
            format_args!("no root=: staying on the initramfs"),
        );
        Ok(Rooted {
            machine: self.machine,
            has_device: false,
            usr: None,
        })
    }

    /// Mounts one candidate, with the layer above it. If there are others, it has to have what a
    /// root needs; the inner error says why it is not taken. The outer error is one that every
    /// candidate would meet.
    fn mount<'s>(
        &mut self,
        plan: &Plan<'s>,
        source: &Source,
    ) -> Result<Result<Root<'s>, Error>, Error> {
        let machine = &mut *self.machine;
        let mounted = match source.mount(machine, plan) {
            Ok(mounted) => mounted,
            Err(error) => return Ok(Err(error)),
        };
        let overlay = match plan.overlay {
            Some(layer) => overlay::mount(machine, plan, layer)?,
            None => Text::EMPTY,
        };
        let usr = plan.init.and_then(|_| usr::mount(machine, plan).err());
        if let Some(error) = &usr {
            machine.journal.warn_of(error);
        }
        if plan.roots().nth(1).is_some()
            && let Err(error) = fit::check(plan, usr)
        {
            fit::discard(machine, plan);
            return Ok(Err(error));
        }
        Ok(Ok(Root {
            mounted,
            overlay,
            usr,
        }))
    }

    fn mounted(&mut self, plan: &Plan<'_>, wanted: DeviceRef<'_>, node: &str, root: &Root<'_>) {
        let Mounted {
            fstype,
            is_read_only: ro,
        } = root.mounted;
        let overlay = root.overlay.as_str();
        let access = if ro { "ro" } else { "rw" };
        let verified = plan.verity.is_some();
        let checked = if verified { ", verified" } else { "" };
        self.machine.journal.events.emit(Event::Root {
            device: node,
            fstype,
            ro: ro && overlay.is_empty(),
            verified,
            asked: Some(wanted),
            overlay,
        });
        let [separator, layer] = if overlay.is_empty() {
            ["", ""]
        } else {
            [", changes go to ", overlay]
        };
        self.machine.journal.complete(
            Stage::Root,
            format_args!("{node} is mounted, {fstype}, {access}{checked}{separator}{layer}"),
        );
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

impl Source {
    #[inline(never)]
    fn mount<'s>(&self, machine: &mut Machine, plan: &Plan<'s>) -> Result<Mounted<'s>, Error> {
        match (self, &plan.verity) {
            (Self::Block(device), None) => device.mount(machine, plan, place(plan)),
            (Self::Block(device), Some(verity)) => verity::mount(machine, plan, device, verity),
            (Self::Share(share), None) => share.mount(plan),
            (Self::Archive, None) => archive::mount(plan),
            (_, Some(_)) => Err(nothing_to_verify("it has no blocks")),
        }
    }

    /// Its name in the events: the node of a device, else what was asked for.
    fn name(&self, wanted: DeviceRef<'_>) -> Text<SUBJECT_MAX> {
        match self {
            Self::Block(device) => Text::new(&device.node),
            Self::Share(_) | Self::Archive => Text::new(wanted),
        }
    }
}

/// A root that cannot be verified is not mounted unverified.
fn nothing_to_verify(why: &str) -> Error {
    Error::new(
        Code::Unsupported,
        Op::Mount,
        "a root for berth.verity=",
        why,
    )
}

/// Waits for one candidate.
fn find(machine: &mut Machine, plan: &Plan<'_>, wanted: DeviceRef<'_>) -> Result<Source, Error> {
    if wanted == DeviceRef::Tmpfs {
        return Ok(Source::Archive);
    }
    if let Some(share) = share::find(machine, plan, wanted)? {
        return Ok(Source::Share(share));
    }
    let deadline = plan.rootwait.limit().map(|limit| clock::now() + limit);
    let mut search = Search::new(wanted)?;
    let found = search.run(machine, plan, deadline)?;
    found
        .map(Source::Block)
        .ok_or_else(|| search.not_found(plan, "root"))
}
