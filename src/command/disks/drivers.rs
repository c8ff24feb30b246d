//! Drivers for disks that come: the root's own modules, or those of the image that PID 1 has kept,
//! and what `/etc/berth/automount` of the root says.
//!
//! At the boot PID 1 loads what devices ask for from the image. After the switch the bytes of the
//! modules and of their indexes are the root's, so they are read here. A root that has modules of
//! the running kernel has all of them: those of the image are removed then, and only drivers that
//! lead to disks are loaded. Of the image, whatever a device asks for is, as at the boot; what is
//! loaded already need not be kept.
//!
//! What is wrong is told once.

use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags, fstat, openat, unlink};
use rustix::io::Errno;

use super::Call;
use super::record::{is_news, was_told};
use crate::cause::of_module;
use crate::error::{Code, During, Error, Fault, Op};
use crate::parse::automount::Rules;
use crate::parse::modules::{Indexes, module_name};
use crate::plan::Plan;
use crate::sys::buffer::Buffer;
use crate::sys::drivers::{
    IndexFiles, KEPT_MODULES, each_character_set, each_driverless, insert, is_not_for_this_machine,
    may_lead_to_a_disk, release,
};
use crate::sys::fs::{self, read_attribute};
use crate::sys::kmsg;
use crate::sys::mount::unmount_detach;
use crate::sys::path::{Path, path};

/// The rules, on the root.
const RULES: &str = "/etc/berth/automount";

/// The largest file of rules, in bytes.
pub(super) const RULES_MAX: usize = 64 * 1024;

/// The longest kernel command line, in bytes (COMMAND_LINE_SIZE of the architectures).
const CMDLINE_MAX: usize = 4096;

/// The most files for one module.
const FILES_MAX: usize = 64;

/// Where the drivers lie among the modules that lead to a disk.
const TO_DISKS: &[&str] = &[
    "ata",
    "block",
    "cdrom",
    "hv",
    "memstick",
    "message",
    "mfd",
    "misc/cardreader",
    "mmc",
    "nvdimm",
    "nvme",
    "pci",
    "scsi",
    "ufs",
    "usb/host",
    "usb/storage",
    "virtio",
    "xen",
];

/// Where modules are.
struct Source {
    directory: Path,
    /// They are the root's.
    is_own: bool,
    files: IndexFiles,
}

impl Source {
    fn find() -> Result<Option<Self>, Fault> {
        let own = path(format_args!("/lib/modules/{}", release()));
        let own = own.during(Op::Open, "/lib/modules")?;
        let kept = path(format_args!("{KEPT_MODULES}")).during(Op::Open, KEPT_MODULES)?;
        for (directory, is_own) in [(own, true), (kept, false)] {
            if let Some(files) = IndexFiles::open(&directory)? {
                return Ok(Some(Self {
                    directory,
                    is_own,
                    files,
                }));
            }
        }
        Ok(None)
    }
}

/// Loads modules.
struct Loader<'l> {
    call: &'l Call<'l>,
    indexes: Indexes<'l>,
    source: &'l Source,
    plan: &'l Plan<'l>,
}

/// What is to be done about devices without a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nothing yet: a driver that is built in may be about to take them, and a device that goes has
    /// none for a moment.
    Waits,
    /// It is told of those for which there is none.
    Told,
}

/// Loads the drivers that devices ask for and that lead to disks, and tells what is wrong with the
/// rules; whether there are devices for which there is no driver, and of which is still to be told.
///
/// Of devices that are there from the beginning only the log tells: most often nothing is attached
/// to them.
pub(super) fn load_for_devices(call: &Call<'_>, missing: Missing) -> bool {
    check_rules(call);
    let is_first = is_news(format_args!("the first look"));
    let mut is_left = false;
    with_loader(call, &mut |loader| {
        if let Some(loader) = loader {
            loader.keep_what_is_needed();
        }
        each_driverless(&mut |modalias, device| {
            let is_answered = loader.is_some_and(|loader| loader.load_for_device(modalias));
            if is_answered || !may_lead_to_a_disk(modalias) {
                return true;
            }
            let text = "no driver, and no module on the root or in the image, for";
            let text = format_args!("{text} {device} ({modalias})");
            match (is_first, missing) {
                (true, _) if is_news(text) => call.journal.notice(text),
                (false, Missing::Told) => warn_once(call, &text),
                (false, Missing::Waits) => is_left |= !was_told(text),
                _ => {}
            }
            true
        });
    });
    is_left
}

/// Loads the driver of a filesystem, and what it needs with these options.
pub(super) fn load_for_filesystem(call: &Call<'_>, fstype: &str, options: &str) {
    with_loader(call, &mut |loader| {
        let (Some(loader), Ok(alias)) = (loader, path(format_args!("fs-{fstype}"))) else {
            return;
        };
        for module in loader.indexes.alias.lookup(&alias) {
            loader.load(module);
        }
        let has_softdeps = loader.indexes.softdep.pre("vfat").next().is_some();
        each_character_set(fstype, options, has_softdeps, &mut |set| loader.load(set));
    });
}

/// Calls `work` with what loads modules, if there are any.
fn with_loader(call: &Call<'_>, work: &mut dyn FnMut(Option<&Loader<'_>>)) {
    let mut room = Buffer::<CMDLINE_MAX>::new();
    let line = room.bytes_mut().ok();
    let line = line.and_then(|room| read_attribute(format_args!("/proc/cmdline"), room));
    // What the image adds to it is gone with the image.
    let plan = Plan::of_modules(line.unwrap_or_default());
    let source = match Source::find() {
        Ok(source) => source,
        Err(fault) => {
            warn_once(call, &fault);
            None
        }
    };
    let Some(source) = source else {
        return work(None);
    };
    match source.files.check() {
        Ok(indexes) => work(Some(&Loader {
            call,
            indexes,
            source: &source,
            plan: &plan,
        })),
        Err(error) => {
            let directory = &source.directory;
            warn_once(
                call,
                &Error::new(Code::ModuleIndex, Op::Parse, directory, error),
            );
            work(None);
        }
    }
}

fn warn_once(call: &Call<'_>, what: &dyn core::fmt::Display) {
    if is_news(format_args!("{what}")) {
        call.journal.warn(what);
    }
}

impl Loader<'_> {
    /// Loads the modules that a device asks for; `false` if there is none.
    fn load_for_device(&self, modalias: &str) -> bool {
        let mut is_answered = false;
        for module in self.indexes.alias.lookup(modalias) {
            is_answered = true;
            let entry = self.indexes.dep.lookup(module);
            let leads_to_disks = entry.is_some_and(|entry| leads_to_disks(entry.path));
            if (!self.source.is_own || leads_to_disks) && !self.plan.is_blacklisted(module) {
                self.load(module);
            }
        }
        is_answered
    }

    /// Loads a module with all that it needs, if that is possible.
    fn load(&self, name: &str) {
        let mut files = heapless::Vec::<&str, FILES_MAX>::new();
        if self.indexes.load_order(name, &mut files).is_err() {
            return;
        }
        for file in files.iter().filter(|file| !is_live(module_name(file))) {
            if let Err(error) = self.insert(file) {
                return warn_once(self.call, &error);
            }
        }
    }

    fn insert(&self, file: &str) -> Result<(), Error> {
        let directory = &self.source.directory;
        let path = path(format_args!("{directory}/{file}")).during(Op::Open, file);
        let log = kmsg::LogPosition::here();
        let Err(mut fault) = path.and_then(|path| insert(self.plan, &path)) else {
            return Ok(());
        };
        let words = log.last_complaint();
        let cause = of_module(words.as_str());
        if is_not_for_this_machine(&fault, file, cause) {
            return Ok(());
        }
        fault.quote(words.as_str(), cause);
        Err(fault.at(Code::ModuleRejected))
    }

    /// Removes the modules of the image that nobody will ask for: all, if the root has its own,
    /// else those that are loaded. They are memory.
    fn keep_what_is_needed(&self) {
        let Ok(kept) = fs::open_directory(CWD, KEPT_MODULES) else {
            return;
        };
        if self.source.is_own {
            let removed = fs::remove_contents(kept.as_fd()).map(drop);
            drop(kept);
            if let Err(fault) = removed.and_then(|()| unmount_detach(KEPT_MODULES)) {
                warn_once(self.call, &fault);
            }
            // An empty directory costs nothing.
            let _ = rustix::fs::rmdir(KEPT_MODULES);
            return;
        }
        let mut size = 0u64;
        for entry in self.indexes.dep.entries() {
            let Ok(file) = path(format_args!("{KEPT_MODULES}/{}", entry.path)) else {
                continue;
            };
            if is_live(module_name(entry.path)) {
                // It may be removed already.
                let _ = unlink(file.as_str());
            } else if let Ok(stat) = rustix::fs::stat(file.as_str()) {
                size = size.saturating_add(stat.st_size.cast_unsigned());
            }
        }
        if is_news(format_args!("size")) {
            let kib = size / 1024;
            let text = "of modules are kept in memory, for disks that come";
            self.call.journal.notice(format_args!("{kib} KiB {text}"));
        }
    }
}

/// Whether the module's file lies where drivers do that lead to a disk.
fn leads_to_disks(file: &str) -> bool {
    let below = file.split_once("drivers/").map(|(_, below)| below);
    below.is_some_and(|below| {
        TO_DISKS.iter().any(|directory| {
            let rest = below.strip_prefix(directory);
            rest.is_some_and(|rest| rest.starts_with('/'))
        })
    })
}

/// Whether a module of this name works already.
fn is_live(name: &str) -> bool {
    let mut room = [0; 16];
    let mut underscored = heapless::String::<64>::new();
    let fits = name
        .chars()
        .try_for_each(|c| underscored.push(if c == '-' { '_' } else { c }));
    let state = format_args!("/sys/module/{underscored}/initstate");
    fits.is_ok() && read_attribute(state, &mut room).is_some_and(|state| state == b"live\n")
}

/// The text of the rules, which may be none.
///
/// # Errors
/// Those of openat(2) and read(2); `EFBIG` for more than is taken.
pub(super) fn rules(room: &mut Buffer<RULES_MAX>) -> Result<&[u8], Fault> {
    // A FIFO holds nobody up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match openat(CWD, RULES, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(&[]),
        opened => opened.during(Op::Open, RULES)?,
    };
    let size = fstat(&file).during(Op::Read, RULES)?.st_size;
    if size > RULES_MAX as i64 {
        return Err(Errno::FBIG).during(Op::Read, RULES);
    }
    let text = room.fill_from(&file).during(Op::Read, RULES)?;
    Ok(text)
}

/// Tells of the rules that do not count.
fn check_rules(call: &Call<'_>) {
    let mut room = Buffer::<RULES_MAX>::new();
    match rules(&mut room) {
        Ok(text) => {
            for error in Rules(text).each().filter_map(Result::err) {
                warn_once(call, &format_args!("{RULES} {error}; the others count"));
            }
        }
        Err(fault) => warn_once(call, &fault),
    }
}

#[cfg(test)]
mod tests {
    use super::leads_to_disks;

    #[test]
    fn drivers_are_told_by_where_they_lie() {
        for (file, expected) in [
            ("kernel/drivers/usb/storage/usb-storage.ko.xz", true),
            ("kernel/drivers/nvme/host/nvme.ko", true),
            ("kernel/drivers/misc/cardreader/rtsx_pci.ko", true),
            ("kernel/drivers/usb/serial/ftdi_sio.ko", false),
            ("kernel/drivers/net/virtio_net.ko", false),
            ("kernel/sound/core/snd.ko", false),
            ("kernel/drivers/scsi", false),
        ] {
            assert_eq!(leads_to_disks(file), expected, "{file}");
        }
    }
}
