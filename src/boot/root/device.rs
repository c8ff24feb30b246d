//! A device that was found, and what its superblock tells.

use core::fmt;

use crate::cause::Cause;
use crate::error::{Code, Error, Op};
use crate::parse::superblock::{Content, Kind, Signatures, State};
use crate::parse::uuid::Uuid;
use crate::sys::path::Path;

/// A root device.
pub(in crate::boot) struct Device {
    pub(in crate::boot) node: Path,
    /// What its superblock tells.
    pub(super) kind: Kind,
    pub(super) state: State,
    /// How many bytes the filesystem takes, if that is known.
    pub(super) size: Option<u64>,
    /// What else was recognised on it.
    pub(super) also: Option<Kind>,
    /// The UUID of a filesystem on several devices, and on how many.
    pub(super) spread: Option<(Uuid, u64)>,
}

impl Device {
    pub(super) fn new(node: Path, content: Content) -> Self {
        let spread = content.uuid.zip(Some(content.devices));
        Self {
            node,
            kind: content.kind,
            state: content.state,
            // Whose size it would be is not known.
            size: content.size.filter(|_| content.also.is_none()),
            also: content.also.map(|other| other.kind),
            spread: spread.filter(|(_, devices)| *devices > 1),
        }
    }

    /// The one filesystem that is on it; `purpose` says in an error what it is for.
    ///
    /// # Errors
    /// [`Code::RootUnknownType`] if there is none, or something else is recognised there too.
    pub(super) fn fstype(&self, purpose: fmt::Arguments<'_>) -> Result<&'static str, Error> {
        let fstype = self.kind.fstype().filter(|_| self.also.is_none());
        fstype.ok_or_else(|| {
            let found = Signatures(self.kind, self.also);
            let error = Error::new(
                Code::RootUnknownType,
                Op::Mount,
                format_args!("{}{purpose}", self.node),
                format_args!("what is on it: {found}"),
            );
            match self.also {
                Some(_) => error.because(Cause::TwoFilesystems),
                None => error,
            }
        })
    }
}
