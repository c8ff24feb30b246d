//! The indexes of the image's modules.

use rustix::io::Errno;
use rustix::system::uname;

use super::{LIST, MODULES, index_path, malformed};
use crate::boot::journal::Journal;
use crate::error::{At, Code, Error, Op, Stage};
use crate::parse::modules::{Alias, Builtin, Dep, IndexError, Indexes, Softdep};
use crate::sys::fs;
use crate::sys::module::Mapped;
use crate::text::Text;

/// The running kernel's release, `uname -r` (at most 64 bytes, uname(2)).
pub(in crate::boot) fn release() -> Text<65> {
    Text::new(uname().release().to_str().unwrap_or("?"))
}

/// The releases for which the image has modules.
pub(super) fn releases() -> Text<128> {
    let mut found = Text::EMPTY;
    // No directory of modules is the case of no modules.
    let _ = fs::each_name(MODULES, |name| {
        let separator = if found.is_empty() { "" } else { ", " };
        found.push(format_args!("{separator}{name}"));
        true
    });
    found
}

/// Says why there are no modules, although some are wanted: the image may have none at all, for a
/// kernel with everything built in, or those of another kernel.
pub(super) fn explain_absence(journal: &mut Journal, release: &str) -> Result<(), Error> {
    let others = releases();
    if others.is_empty() {
        journal.warn(
            Stage::Modules,
            format_args!("the image has no modules; those listed in {LIST} are not loaded"),
        );
        return Ok(());
    }
    Err(Error::new(
        Code::ModuleRelease,
        Op::Open,
        format_args!("{MODULES}/{release}/modules.dep"),
        format_args!("the kernel is {release}, the image has modules of {others}"),
    ))
}

/// depmod's indexes for the running kernel, as mapped files.
pub(super) struct Image {
    dep: Mapped,
    softdep: Option<Mapped>,
    alias: Option<Mapped>,
    builtin: Option<Mapped>,
}

impl Image {
    /// `None` if the image has no modules for this kernel.
    #[inline(never)]
    pub(super) fn open(release: &str) -> Result<Option<Self>, Error> {
        let optional = |name| -> Result<Option<Mapped>, Error> {
            match Mapped::open(&index_path(release, name)?) {
                Err(fault) if fault.errno == Errno::NOENT => Ok(None),
                result => result.at(Code::ModuleIndex).map(Some),
            }
        };
        let Some(dep) = optional("modules.dep")? else {
            return Ok(None);
        };
        Ok(Some(Self {
            dep,
            softdep: optional("modules.softdep")?,
            alias: optional("modules.alias")?,
            builtin: optional("modules.builtin")?,
        }))
    }

    /// All indexes, checked: a damaged one is reported by its line before anything is loaded.
    #[inline(never)]
    pub(super) fn check(&self) -> Result<Indexes<'_>, Error> {
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

    /// The indexes as they were checked. What is built in is left out: nobody asks when a device or
    /// a filesystem is served, and the index is the longest.
    pub(super) fn indexes(&self) -> Indexes<'_> {
        let text = |bytes| core::str::from_utf8(bytes).unwrap_or_default();
        Indexes {
            dep: Dep::checked(text(self.dep.bytes())),
            softdep: Softdep::checked(text(bytes(&self.softdep))),
            alias: Alias::checked(text(bytes(&self.alias))),
            builtin: Builtin::default(),
        }
    }
}

fn bytes(index: &Option<Mapped>) -> &[u8] {
    index.as_ref().map(Mapped::bytes).unwrap_or_default()
}
