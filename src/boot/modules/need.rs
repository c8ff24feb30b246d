//! Modules that devices and filesystems ask for.
//!
//! A device names the drivers that could serve it by its *modalias*, which `modules.alias` has
//! patterns for. The devices that are there already are looked up in sysfs (coldplug); the kernel
//! announces those that come later, often because a driver was loaded for their bus, by uevents
//! (hotplug). A filesystem is asked for as `fs-<type>`.
//!
//! A module that cannot be loaded is a warning, and the boot goes on. If it was needed, the root
//! does not come, and the report says that.

use super::image::Image;
use super::{LoadedFiles, Loader, Modules};
use crate::boot::journal::Journal;
use crate::error::Stage;
use crate::parse::modules::Indexes;
use crate::parse::uevent::{Action, Uevent};
use crate::plan::Plan;
use crate::sys::fs::{each_name, read_attribute};
use crate::sys::kmsg;
use crate::sys::path::path;
use crate::text::contains;

const BUSES: &str = "/sys/bus";

/// The longest modalias: a page, as an attribute of sysfs has at most.
const MODALIAS_MAX: usize = 4096;

/// The character sets that vfat asks the kernel for by name, where neither the mount options nor a
/// softdep of the image says which: a codepage for short names and a character set for long ones
/// (CONFIG_FAT_DEFAULT_CODEPAGE and _IOCHARSET; these are the kernel's own default and those of
/// distributions).
const VFAT_CHARACTER_SETS: &[&str] = &["nls_cp437", "nls_ascii", "nls_iso8859-1", "nls_utf8"];

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
        for option in options.split(',') {
            let set = match option.split_once('=') {
                Some(("iocharset" | "nls", set)) => path(format_args!("nls_{set}")),
                Some(("codepage", page)) => path(format_args!("nls_cp{page}")),
                _ => continue,
            };
            if let Ok(set) = set {
                loader.load_if_possible(&set);
            }
        }
        if fstype == "vfat" && loader.indexes.softdep.pre("vfat").next().is_none() {
            for set in VFAT_CHARACTER_SETS {
                loader.load_if_possible(set);
            }
        }
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
        let indexes = image.map(Image::indexes).unwrap_or_default();
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

/// Calls `visit` with the modalias and the name of each device that has no driver, until it answers
/// `false`.
#[inline(never)]
fn each_driverless(visit: &mut dyn FnMut(&str, &str) -> bool) {
    let mut goes_on = true;
    // A bus, or a device, that vanishes meanwhile asks for nothing.
    let _ = each_name(BUSES, |bus| {
        let Ok(devices) = path(format_args!("{BUSES}/{bus}/devices")) else {
            return true;
        };
        let _ = each_name(&devices, |device| {
            let mut buffer = [0; MODALIAS_MAX];
            let modalias = format_args!("{devices}/{device}/modalias");
            let modalias = read_attribute(modalias, &mut buffer)
                .and_then(|text| core::str::from_utf8(text).ok());
            let driver = path(format_args!("{devices}/{device}/driver"));
            let has_driver = driver.is_ok_and(|link| rustix::fs::lstat(link.as_str()).is_ok());
            if let Some(modalias) = modalias
                && !has_driver
            {
                goes_on = visit(modalias.trim_ascii_end(), device);
            }
            goes_on
        });
        goes_on
    });
}

/// Whether a device with this modalias is a disk, or what disks are attached to: by the classes of
/// PCI and USB, and by the bus.
fn may_lead_to_a_disk(modalias: &str) -> bool {
    const CLASSES: &[(&str, &str)] = &[
        // PCI code and ID assignment: mass storage; USB controllers; SD host controllers; virtio of
        // any class.
        ("pci:", "bc01"),
        ("pci:", "bc0Csc03"),
        ("pci:", "bc08sc05"),
        ("pci:v00001AF4", ""),
        // USB class codes: mass storage.
        ("usb:", "ic08"),
        ("virtio:", "d00000002"),
        ("virtio:", "d00000008"),
        ("virtio:", "d0000001A"),
        ("scsi:", "t-0x0"),
        ("mmc:", "block"),
    ];
    CLASSES
        .iter()
        .any(|(bus, class)| modalias.starts_with(bus) && contains(modalias, class))
}

#[cfg(test)]
mod tests {
    use super::may_lead_to_a_disk;

    #[test]
    fn what_leads_to_disks_is_told_from_what_does_not() {
        for (modalias, expected) in [
            (
                "pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00",
                true,
            ),
            (
                "pci:v00008086d00007010sv00001AF4sd00001100bc01sc01i80",
                true,
            ),
            (
                "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30",
                true,
            ),
            ("virtio:d00000002v00001AF4", true),
            ("virtio:d00000003v00001AF4", false),
            (
                "pci:v00008086d0000100Esv00001234sd00001100bc02sc00i00",
                false,
            ),
            (
                "pci:v00008086d00007000sv00001AF4sd00001100bc06sc01i00",
                false,
            ),
            ("acpi:PNP0A03:", false),
        ] {
            assert_eq!(may_lead_to_a_disk(modalias), expected, "{modalias}");
        }
    }
}
