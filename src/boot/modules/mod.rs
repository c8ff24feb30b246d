//! The second stage: kernel modules, by name and by need.
//!
//! Names come from `/etc/berth/modules` in the image and from `berth.modules=`. Devices ask for
//! their drivers (see [`need`]), and the root's filesystem for its own. What each module needs is
//! in depmod's indexes under `/lib/modules/<release>`. From them comes a list of files in which
//! each file stands once, and after all that it needs: a module whose symbols are missing is
//! refused (init_module(2)).
//!
//! What is a module differs from kernel to kernel. So a name that is built into the kernel, or that
//! no index knows, is only mentioned in the log, and so is a module that has nothing to do on this
//! machine. If something is really missing, the stage that misses it says so.
//!
//! They are loaded one after the other. Several at once, by processes on several emulated
//! processors, was tried and took longer.

mod image;
mod need;

use core::fmt;
use core::ops::Range;

use rustix::fs::CWD;
use rustix::io::Errno;

use super::Machine;
use super::journal::Journal;
use super::root::Found;
use crate::cause::{Cause, of_module};
use crate::error::{At, Code, During, Error, Fault, Op, Stage};
use crate::parse::cmdline::same_key;
use crate::parse::modules::{Dep, IndexError, Indexes, Outcome, TooManyFiles, Wanted, module_name};
use crate::plan::Plan;
use crate::sys::buffer::Buffer;
pub(super) use crate::sys::drivers::release;
use crate::sys::drivers::{IndexFiles, insert, is_not_for_this_machine};
use crate::sys::path::{Path, path};
use crate::sys::watchdog::Watchdog;
use crate::sys::{fs, kmsg};
use crate::text::Text;
pub(super) use image::keep;

const LIST: &str = "/etc/berth/modules";
const MODULES: &str = "/lib/modules";

/// The kernel's own watchdog, for machines that have none.
const SOFTWARE_WATCHDOG: &str = "softdog";

/// Packets of a link, by which a machine without an address asks for one, and IPv6. Most kernels
/// have both built in.
const NETWORK_PROTOCOLS: [&str; 2] = ["af_packet", "ipv6"];

/// The largest `/etc/berth/modules`, in bytes.
const LIST_MAX: usize = 8 * 1024;

/// The most files that one boot loads.
const FILES_MAX: usize = 256;

/// The modules of the image, and which of them were loaded.
///
/// The indexes are mapped files of the initramfs, and keep it in memory until this is dropped.
#[derive(Default)]
pub(super) struct Modules {
    image: Option<IndexFiles>,
    files: LoadedFiles,
}

/// The modules are loaded.
pub struct Loaded<'m> {
    machine: &'m mut Machine,
}

impl<'m> Loaded<'m> {
    /// Loads the modules that the image lists and `plan` adds, and those that the devices ask for.
    ///
    /// # Errors
    /// [`Code::ModuleIndex`], [`Code::ModuleMissing`], [`Code::ModuleRelease`],
    /// [`Code::ModuleRejected`].
    #[inline(never)]
    pub(super) fn load(machine: &'m mut Machine, plan: &Plan<'_>) -> Result<Self, Error> {
        load_all(machine, plan)?;
        machine.journal.open_event_device(&machine.devices);
        let loaded = machine.modules.files.places.len();
        let journal = &mut machine.journal;
        journal.complete(Stage::Modules, format_args!("{loaded} modules loaded"));
        Ok(Self { machine })
    }

    /// Looks for the root device.
    ///
    /// # Errors
    /// Those of [`Found::wait`].
    pub fn find_root(self, plan: &Plan<'_>) -> Result<Found<'m>, Error> {
        Found::wait(self.machine, plan)
    }
}

/// Loads what the image lists, what `plan` adds, and what the devices ask for.
///
/// # Errors
/// Those of [`Loaded::load`].
pub(super) fn load_all(machine: &mut Machine, plan: &Plan<'_>) -> Result<(), Error> {
    machine.modules.load_listed(&mut machine.journal, plan)?;
    if machine.modules.load_for_devices(&mut machine.journal, plan) {
        machine.settle(plan);
    }
    if plan.has_network {
        // No device asks for these: they are what a machine says, and not what it has.
        for protocol in NETWORK_PROTOCOLS {
            machine.load_by_name(plan, protocol);
        }
    }
    if plan.watchdog.is_some() && !Watchdog::is_there() {
        machine.load_by_name(plan, SOFTWARE_WATCHDOG);
    }
    Ok(())
}

impl Modules {
    /// Finds the modules of the image, and loads those that it lists and those that `plan` adds.
    #[inline(never)]
    fn load_listed(&mut self, journal: &mut Journal, plan: &Plan<'_>) -> Result<(), Error> {
        let mut buffer = Buffer::<LIST_MAX>::new();
        let listed = match read_list(&mut buffer) {
            Err(fault) if fault.errno == Errno::NOENT => &[],
            result => result.at(Code::ModuleIndex)?,
        };
        let wanted = Wanted::new(listed).map_err(|error| malformed(LIST, &error))?;
        let release = release();
        self.image = image::open(release.as_str())?;
        let mut names = wanted.names().chain(plan.modules.iter());
        let Some(image) = &self.image else {
            return match names.next() {
                Some(_) => image::explain_absence(journal, release.as_str()),
                None => Ok(()),
            };
        };
        let mut loader = Loader {
            indexes: image.check().map_err(|error| malformed(MODULES, &error))?,
            files: &mut self.files,
            journal,
            plan,
        };
        names.try_for_each(|name| loader.load(name, Reason::Listed))
    }

    /// What loads further modules; `None` for an image without any.
    fn loader<'a>(
        &'a mut self,
        journal: &'a mut Journal,
        plan: &'a Plan<'a>,
    ) -> Option<Loader<'a>> {
        Some(Loader {
            indexes: self.image.as_ref()?.indexes(),
            files: &mut self.files,
            journal,
            plan,
        })
    }

    /// The releases for which the image has modules, if the running one is not among them.
    pub(super) fn only_of_others(&self) -> Option<Text<128>> {
        let others = image::releases();
        (self.image.is_none() && !others.is_empty()).then_some(others)
    }
}

fn read_list(buffer: &mut Buffer<LIST_MAX>) -> Result<&[u8], Fault> {
    let room = buffer.bytes_mut().during(Op::Read, LIST)?;
    fs::read_file(CWD, LIST, room)
}

/// The files that were handed to the kernel, by the places of their paths in `modules.dep`, which
/// is the image's.
#[derive(Default)]
struct LoadedFiles {
    places: heapless::Vec<Range<usize>, FILES_MAX>,
}

impl LoadedFiles {
    fn paths<'a>(&self, dep: Dep<'a>) -> impl Iterator<Item = &'a str> {
        self.places
            .iter()
            .filter_map(move |place| dep.at(place.clone()))
    }

    fn has_module(&self, dep: Dep<'_>, name: &str) -> bool {
        self.paths(dep)
            .any(|path| same_key(module_name(path), name))
    }

    /// Adds a path that `dep` has given out; `false` if it is there already.
    fn add(&mut self, dep: Dep<'_>, path: &str) -> Result<bool, TooManyFiles> {
        if self.paths(dep).any(|loaded| loaded == path) {
            return Ok(false);
        }
        let place = dep.place(path).unwrap_or_default();
        let added = self.places.push(place);
        added
            .map(|()| true)
            .map_err(|_| TooManyFiles { limit: FILES_MAX })
    }
}

/// Why a module is loaded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The image's list or `berth.modules=` names it: if it cannot be loaded, the boot ends.
    Listed,
    /// A device or a filesystem needs it: if it cannot be loaded, the boot goes on.
    Needed,
}

/// Loads modules in the order that they need.
struct Loader<'a> {
    indexes: Indexes<'a>,
    files: &'a mut LoadedFiles,
    journal: &'a mut Journal,
    plan: &'a Plan<'a>,
}

impl Loader<'_> {
    /// Loads the module or alias `name` with all that it needs.
    #[inline(never)]
    fn load(&mut self, name: &str, reason: Reason) -> Result<(), Error> {
        let too_many =
            |error: &dyn fmt::Display| Error::new(Code::ModuleIndex, Op::LoadModule, name, error);
        let indexes = self.indexes;
        if self.files.has_module(indexes.dep, name) {
            return Ok(());
        }
        let mut files = heapless::Vec::<&str, FILES_MAX>::new();
        let outcome = indexes
            .load_order(name, &mut files)
            .map_err(|error| too_many(&error))?;
        match outcome {
            Outcome::Absent if reason == Reason::Listed => kmsg::info(
                Stage::Modules,
                format_args!("{name} is not among the modules of this image"),
            ),
            Outcome::BuiltIn if reason == Reason::Listed => {
                kmsg::info(Stage::Modules, format_args!("{name} is built in"));
            }
            Outcome::Listed | Outcome::BuiltIn | Outcome::Absent => {}
        }
        let release = release();
        let mark = kmsg::LogPosition::here();
        for file in &files {
            let added = self.files.add(indexes.dep, file);
            if !added.map_err(|error| too_many(&error))? {
                continue;
            }
            load_one(self.plan, release.as_str(), file, &mark)?;
        }
        Ok(())
    }

    /// Loads the module or alias `name` if that is possible.
    #[inline(never)]
    fn load_if_possible(&mut self, name: &str) {
        if let Err(error) = self.load(name, Reason::Needed) {
            self.journal.warn_of(&error);
        }
    }
}

/// Loads one file; `mark` is a place in the kernel's log before it.
#[inline(never)]
fn load_one(
    plan: &Plan<'_>,
    release: &str,
    file: &str,
    mark: &kmsg::LogPosition,
) -> Result<(), Error> {
    let path = index_path(release, file)?;
    let Err(mut fault) = insert(plan, &path) else {
        return Ok(());
    };
    let words = mark.last_complaint();
    let cause = of_module(words.as_str());
    if is_not_for_this_machine(&fault, file, cause) {
        kmsg::info(Stage::Modules, format_args!("{fault}: it is left out"));
        return Ok(());
    }
    fault.quote(words.as_str(), cause);
    let code = match (fault.op, fault.errno) {
        (Op::Open, Errno::NOENT) => Code::ModuleMissing,
        (Op::LoadModule, Errno::NOEXEC | Errno::INVAL) if cause == Cause::OtherKernel => {
            Code::ModuleRelease
        }
        _ => Code::ModuleRejected,
    };
    Err(fault.at(code))
}

fn index_path(release: &str, file: &str) -> Result<Path, Error> {
    path(format_args!("{MODULES}/{release}/{file}"))
        .map_err(|errno| Fault::new(Op::Open, &file, errno).at(Code::ModuleIndex))
}

fn malformed(file: &str, error: &IndexError) -> Error {
    Error::new(Code::ModuleIndex, Op::Parse, file, error)
}
