//! The machine: the parts of it that all stages of the boot use.

use core::time::Duration;

use rustix::fd::OwnedFd;

use super::devices::{Change, Devices, Room};
use super::failure_policy::FailurePolicy;
use super::journal::Journal;
use super::modules::Modules;
use super::unmount::List;
use crate::error::{During, Error, Fault, Op, SUBJECT_MAX};
use crate::plan::Plan;
use crate::sys::clock::Moment;
use crate::sys::kmsg;
use crate::sys::netlink::UEVENT_MAX;
use crate::sys::path::path;
use crate::sys::resident::Code;
use crate::text::Text;

/// The machine. There is one. A function that needs one part of it takes that part.
pub struct Machine {
    /// The log, the event stream, the times.
    pub(crate) journal: Journal,
    /// The uevent socket.
    pub(crate) devices: Devices,
    /// The modules of the image, until the switch.
    pub(super) modules: Modules,
    /// What is done when the boot fails.
    pub(super) on_failure: FailurePolicy,
    /// What was asked for about the root.
    pub(super) root_request: RootRequest,
    /// The program `berth`, where there are containers to be started.
    pub(crate) berth: Option<OwnedFd>,
    /// Room for the list of what is mounted, for the end.
    pub(crate) mounts: List,
    /// Where the program has the code that only the boot runs.
    pub(crate) boot_code: Code,
}

/// What the command line says about the root, for the report of a failure, where the plan is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct RootRequest {
    /// All of it, in one line; empty without `root=`.
    pub(super) line: Text<{ 2 * SUBJECT_MAX }>,
    /// `root=` alone, to compare with what there is.
    pub(super) root: Text<SUBJECT_MAX>,
    /// How long the device is waited for; `None` for ever.
    pub(super) rootwait: Option<Duration>,
}

impl RootRequest {
    /// What is known before the command line is.
    const NONE: Self = Self {
        line: Text::EMPTY,
        root: Text::EMPTY,
        rootwait: None,
    };

    fn of(plan: &Plan<'_>) -> Self {
        Self {
            line: Text::new(plan.root_words()),
            root: plan.root.map_or(Text::EMPTY, Text::new),
            rootwait: plan.rootwait.limit(),
        }
    }
}

impl Machine {
    /// A machine that has just started this program, of whose code only the boot runs this.
    pub fn new(boot_code: Code) -> Self {
        let mut mounts = List::new();
        // Without it only the root is left clean.
        let _ = mounts.bytes_mut();
        Self {
            journal: Journal::new(),
            devices: Devices::new(),
            modules: Modules::default(),
            on_failure: FailurePolicy::DEFAULT,
            root_request: RootRequest::NONE,
            berth: None,
            mounts,
            boot_code,
        }
    }

    /// Takes over from the plan what later stages, and the report of a failure, must know.
    ///
    /// # Errors
    /// `ENAMETOOLONG` for a device path of `berth.events=` that is too long.
    pub(super) fn adopt(&mut self, plan: &Plan<'_>) -> Result<(), Fault> {
        if let Some(level) = plan.loglevel.filter(|_| !plan.quiet) {
            kmsg::show_progress(level);
        }
        self.on_failure = FailurePolicy::adopt(plan);
        self.root_request = RootRequest::of(plan);
        if let Some(device) = plan.events {
            let path = path(format_args!("{device}"));
            self.journal.event_device = Some(path.during(Op::Open, device)?);
        }
        Ok(())
    }

    /// Sleeps until a change is announced, or `deadline` has come: `false`. Events are written
    /// meanwhile.
    ///
    /// # Errors
    /// [`crate::error::Code::EventLoop`].
    pub(super) fn wait_for_change(&mut self, deadline: Option<Moment>) -> Result<bool, Error> {
        let reader = self.journal.events.device_to_watch();
        let has_changed = self.devices.wait(reader, deadline);
        self.journal.events.flush();
        has_changed
    }

    /// The next change that was announced, without waiting. Drivers are loaded for what has come.
    #[inline(never)]
    pub(super) fn next_change<'b>(
        &mut self,
        plan: &Plan<'_>,
        room: &'b mut Room,
    ) -> Option<Change<'b>> {
        let change = self.devices.next_change(room)?;
        self.journal.note_change(&self.devices, &change);
        match &change {
            Change::Device(uevent) => {
                self.modules
                    .load_for_uevent(&mut self.journal, plan, uevent);
            }
            Change::Lost => {
                self.modules.load_for_devices(&mut self.journal, plan);
            }
        }
        Some(change)
    }

    /// Sleeps until devices may have come, and loads drivers for them; `false` when `deadline` has
    /// come.
    ///
    /// # Errors
    /// Those of [`Self::wait_for_change`].
    pub(super) fn wait_for_device(
        &mut self,
        plan: &Plan<'_>,
        deadline: Option<Moment>,
    ) -> Result<bool, Error> {
        let has_come = self.wait_for_change(deadline)?;
        self.settle(plan);
        Ok(has_come)
    }

    /// [`Modules::load_for_filesystem`].
    pub(super) fn load_for_filesystem(&mut self, plan: &Plan<'_>, fstype: &str, options: &str) {
        let journal = &mut self.journal;
        self.modules
            .load_for_filesystem(journal, plan, fstype, options);
    }

    /// [`Modules::load_by_name`].
    pub(super) fn load_by_name(&mut self, plan: &Plan<'_>, name: &str) {
        self.modules.load_by_name(&mut self.journal, plan, name);
    }

    /// Loads drivers for all that was announced, and for what comes by that.
    pub(super) fn settle(&mut self, plan: &Plan<'_>) {
        let mut room = [0; UEVENT_MAX];
        while self.next_change(plan, &mut room).is_some() {}
    }
}
