//! Modules that devices and filesystems ask for.
//!
//! A device names the drivers that could serve it by its *modalias*, which `modules.alias` has
//! patterns for. The devices that are there already are looked up in sysfs (coldplug); the kernel
//! announces those that come later, often because a driver was loaded for their bus, by uevents
//! (hotplug). A filesystem is asked for as `fs-<type>`.
//!
//! A module that cannot be loaded is a warning, and the boot goes on. If it was needed, the root
//! does not come, and the report says that.

use super::{LoadedFiles, Loader, Modules};
use crate::boot::journal::Journal;
use crate::error::Stage;
use crate::parse::modules::Indexes;
use crate::parse::uevent::{Action, Uevent};
use crate::plan::Plan;
use crate::sys::drivers::{IndexFiles, each_character_set, each_driverless, may_lead_to_a_disk};
use crate::sys::kmsg;
use crate::sys::path::path;

impl Modules {
    /// Loads the drivers of the devices that are there and have none; `false` if the image has no
    /// driver that is not loaded already, so that devices which come may be left alone too.
    pub(in crate::boot) fn load_for_devices(
        &mut self,
        journal: &mut Journal,
        plan: &Plan<'_>,
    ) -> bool {
        let Some(mut loader) = self.loader(journal, plan) else {
            return false;
        };
        let indexes = loader.indexes;
        if !has_drivers_to_load(&indexes, loader.files) {
            return false;
        }
        // Devices of one bus follow each other, and for most buses the image has nothing.
        let mut bus = heapless::String::<16>::new();
        let mut has_bus = true;
        each_driverless(&mut |modalias, _| {
            let its = modalias.split(':').next().unwrap_or_default();
            if its != bus.as_str() {
                has_bus = indexes.alias.has_bus(its);
                // The name of a bus that is too long is looked up each time.
                bus = heapless::String::try_from(its).unwrap_or_default();
            }
            if has_bus {
                loader.load_for_alias(modalias);
            }
            true
        });
        true
    }

    /// Loads the drivers of a device that has just come.
    pub(in crate::boot) fn load_for_uevent(
        &mut self,
        journal: &mut Journal,
        plan: &Plan<'_>,
        uevent: &Uevent<'_>,
    ) {
        if uevent.action == Action::Add
            && let Some(modalias) = uevent.properties.modalias
            && let Some(mut loader) = self.loader(journal, plan)
        {
            loader.load_for_alias(modalias);
        }
    }

    /// Loads the driver of a filesystem, and the character sets that it needs with these options of
    /// a mount.
    pub(in crate::boot) fn load_for_filesystem(
        &mut self,
        journal: &mut Journal,
        plan: &Plan<'_>,
        fstype: &str,
        options: &str,
    ) {
        let Some(mut loader) = self.loader(journal, plan) else {
            return;
        };
        let Ok(alias) = path(format_args!("fs-{fstype}")) else {
            return;
        };
        loader.load_for_alias(&alias);
        let has_softdeps = loader.indexes.softdep.pre("vfat").next().is_some();
        each_character_set(fstype, options, has_softdeps, &mut |set| {
            loader.load_if_possible(set);
        });
    }

    /// Loads a module that nothing but what was asked for on the command line needs, by its name or
    /// an alias.
    pub(in crate::boot) fn load_by_name(
        &mut self,
        journal: &mut Journal,
        plan: &Plan<'_>,
        name: &str,
    ) {
        if let Some(mut loader) = self.loader(journal, plan) {
            loader.load_if_possible(name);
        }
    }

    /// Calls `visit` with the modalias and the name of each device that could lead to a disk and
    /// has no driver, if the image has no module for it, until it answers `false`.
    pub(in crate::boot) fn each_unanswered(&self, visit: &mut dyn FnMut(&str, &str) -> bool) {
        let image = self.image.as_ref();
        let indexes = image.map(IndexFiles::indexes).unwrap_or_default();
        each_driverless(&mut |modalias, device| {
            let is_answered = indexes.alias.lookup(modalias).next().is_some();
            is_answered || !may_lead_to_a_disk(modalias) || visit(modalias, device)
        });
    }
}

impl Loader<'_> {
    /// Loads the modules that answer to `alias` and are not blacklisted.
    #[inline(never)]
    fn load_for_alias(&mut self, alias: &str) {
        let indexes = self.indexes;
        for module in indexes.alias.lookup(alias) {
            if self.plan.is_blacklisted(module) {
                kmsg::info(
                    Stage::Modules,
                    format_args!("{module} is blacklisted; {alias} asked for it"),
                );
                continue;
            }
            self.load_if_possible(module);
        }
    }
}

/// Whether the image has a module that devices may ask for and that is not loaded. An image that
/// lists all its modules has none: then nothing need be looked for.
fn has_drivers_to_load(indexes: &Indexes<'_>, files: &LoadedFiles) -> bool {
    let is_loaded = |module: &str| {
        files.has_module(indexes.dep, module) || indexes.dep.lookup(module).is_none()
    };
    !indexes.alias.of_devices().all(is_loaded)
}
