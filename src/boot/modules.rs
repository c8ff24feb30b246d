//! The second stage: kernel modules, by name.
//!
//! The names come from `/etc/berth/modules` in the image and from `berth.modules=`. What each needs is in depmod's indexes
//! under `/lib/modules/<release>`; what comes out is one list of files in which each stands once and after all that it
//! needs (init_module(2): a module whose symbols are missing is refused).
//!
//! A name that is built into the kernel, or that no index knows, is only mentioned: what is a module differs from kernel to
//! kernel, and if something is really missing, the stage that misses it says so.

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::system::uname;

use super::Machine;
use super::root::Found;
use crate::error::{At, Code, Error, Fault, Op, Stage};
use crate::parse::list::List;
use crate::parse::modules::{Alias, Builtin, Dep, IndexError, Indexes, Outcome, Softdep, Wanted};
use crate::plan::Plan;
use crate::sys::module::{self, Mapped};
use crate::sys::path::{Path, path};
use crate::sys::{fs, kmsg};
use crate::text::Text;

const LIST: &str = "/etc/berth/modules";
const MODULES: &str = "/lib/modules";

/// The largest `/etc/berth/modules`, in bytes.
const LIST_MAX: usize = 8 * 1024;

/// The most files that one boot loads.
const FILES_MAX: usize = 256;

/// The modules are loaded.
pub struct Loaded<'m> {
    machine: &'m mut Machine,
}

impl<'m> Loaded<'m> {
    /// Loads the modules that the image lists and `plan` adds.
    ///
    /// # Errors
    /// [`Code::ModuleIndex`], [`Code::ModuleMissing`], [`Code::ModuleRelease`], [`Code::ModuleRejected`].
    pub(super) fn load(machine: &'m mut Machine, plan: &Plan<'_>) -> Result<Self, Error> {
        let loaded = load_all(machine, plan.modules)?;
        machine.open_event_device();
        machine.complete(Stage::Modules, format_args!("{loaded} modules loaded"));
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

/// Loads what the image lists and then `more`, and returns the number of files.
///
/// # Errors
/// Those of [`Loaded::load`].
pub(super) fn load_all(machine: &mut Machine, more: List<'_>) -> Result<usize, Error> {
    let mut buffer = [0; LIST_MAX];
    let listed = match fs::read_file(CWD, LIST, &mut buffer) {
        Err(fault) if fault.errno == Errno::NOENT => &[],
        result => result.at(Stage::Modules, Code::ModuleIndex)?,
    };
    let wanted = Wanted::new(listed).map_err(|error| malformed(LIST, &error))?;
    if wanted.names().next().is_none() && more.is_empty() {
        return Ok(0);
    }

    let names = uname();
    let release = names.release().to_str().unwrap_or("?");
    let Some(trees) = Trees::open(machine, release)? else {
        return Ok(0);
    };
    let indexes = trees.indexes()?;

    let mut files = heapless::Vec::<&str, FILES_MAX>::new();
    for name in wanted.names().chain(more.iter()) {
        let outcome = indexes.load_order(name, &mut files).map_err(|error| {
            Error::new(
                Stage::Modules,
                Code::ModuleIndex,
                Op::LoadModule,
                name,
                error,
            )
        })?;
        match outcome {
            Outcome::Listed => {}
            Outcome::BuiltIn => kmsg::info(Stage::Modules, format_args!("{name} is built in")),
            Outcome::Absent => kmsg::info(
                Stage::Modules,
                format_args!("{name} is not among the modules of this image"),
            ),
        }
    }
    let mark = kmsg::Mark::here();
    for file in &files {
        load_one(machine, release, file, &mark)?;
    }
    Ok(files.len())
}

/// Loads one file; `mark` is a place in the kernel's log before it.
fn load_one(
    machine: &mut Machine,
    release: &str,
    file: &str,
    mark: &kmsg::Mark,
) -> Result<(), Error> {
    let path = index_path(release, file)?;
    let Err(fault) = module::load(&path) else {
        return Ok(());
    };
    let words = mark.last_complaint();
    let error = match (fault.op, fault.errno) {
        // The driver found nothing to drive (kvm_intel on an AMD machine).
        (Op::LoadModule, Errno::NODEV) => {
            machine.warn_of(
                &fault
                    .at(Stage::Modules, Code::ModuleRejected)
                    .with_detail(words),
            );
            return Ok(());
        }
        (Op::Open, Errno::NOENT) => fault.at(Stage::Modules, Code::ModuleMissing),
        (Op::LoadModule, Errno::NOEXEC | Errno::INVAL) if is_of_another_kernel(words.as_str()) => {
            fault.at(Stage::Modules, Code::ModuleRelease)
        }
        _ => fault.at(Stage::Modules, Code::ModuleRejected),
    };
    Err(error.with_detail(words))
}

/// What the kernel says of a module that was built for another one. With CONFIG_MODVERSIONS it does not compare releases
/// but the symbols that the module uses (kernel/module/version.c).
fn is_of_another_kernel(words: &str) -> bool {
    words.contains("version magic") || words.contains("disagrees about version of symbol")
}

fn index_path(release: &str, file: &str) -> Result<Path, Error> {
    path(format_args!("{MODULES}/{release}/{file}")).map_err(|errno| {
        let fault = Fault {
            op: Op::Open,
            subject: Text::new(file),
            errno,
        };
        fault.at(Stage::Modules, Code::ModuleIndex)
    })
}

fn malformed(file: &str, error: &IndexError) -> Error {
    Error::new(Stage::Modules, Code::ModuleIndex, Op::Parse, file, error)
}

/// depmod's indexes for the running kernel, as mapped files.
struct Trees {
    dep: Mapped,
    softdep: Option<Mapped>,
    alias: Option<Mapped>,
    builtin: Option<Mapped>,
}

impl Trees {
    /// `None` if the image has no modules at all: a kernel with everything built in needs none.
    fn open(machine: &mut Machine, release: &str) -> Result<Option<Self>, Error> {
        let optional = |name| -> Result<Option<Mapped>, Error> {
            match Mapped::open(&index_path(release, name)?) {
                Err(fault) if fault.errno == Errno::NOENT => Ok(None),
                result => result.at(Stage::Modules, Code::ModuleIndex).map(Some),
            }
        };
        let Some(dep) = optional("modules.dep")? else {
            return Self::explain_absence(machine, release).map(|()| None);
        };
        Ok(Some(Self {
            dep,
            softdep: optional("modules.softdep")?,
            alias: optional("modules.alias")?,
            builtin: optional("modules.builtin")?,
        }))
    }

    fn explain_absence(machine: &mut Machine, release: &str) -> Result<(), Error> {
        let mut others = Text::<128>::EMPTY;
        // No directory of modules is the case of no modules.
        let _ = fs::each_name(MODULES, |name| {
            let separator = if others.is_empty() { "" } else { ", " };
            others.push(format_args!("{separator}{name}"));
            true
        });
        if others.is_empty() {
            machine.warn(
                Stage::Modules,
                format_args!("the image has no modules; those listed in {LIST} are not loaded"),
            );
            return Ok(());
        }
        Err(Error::new(
            Stage::Modules,
            Code::ModuleRelease,
            Op::Open,
            format_args!("{MODULES}/{release}/modules.dep"),
            format_args!("the kernel is {release}, the image has modules of {others}"),
        ))
    }

    fn indexes(&self) -> Result<Indexes<'_>, Error> {
        fn bytes(index: &Option<Mapped>) -> &[u8] {
            index.as_ref().map(Mapped::bytes).unwrap_or_default()
        }
        let parse = || -> Result<Indexes<'_>, IndexError> {
            Ok(Indexes {
                dep: Dep::new(self.dep.bytes())?,
                softdep: Softdep::new(bytes(&self.softdep))?,
                alias: Alias::new(bytes(&self.alias))?,
                builtin: Builtin::new(bytes(&self.builtin))?,
            })
        };
        parse().map_err(|error| malformed(MODULES, &error))
    }
}
