//! Mounting the root filesystem at [`SYSROOT`].

use core::ffi::CStr;

use rustix::io::Errno;

use super::search::Device;
use super::{Machine, SYSROOT};
use crate::boot::modules::need;
use crate::error::{At, Code, During, Error, Op, Stage};
use crate::parse::superblock::State;
use crate::plan::Plan;
use crate::sys::kmsg;
use crate::sys::mount::{self, Flags};

/// The most bytes of options for a root filesystem.
const OPTIONS_MAX: usize = 1024;

impl Device {
    /// Tries the types in question; the one that was mounted.
    pub(super) fn mount<'s>(
        &'s self,
        machine: &mut Machine,
        plan: &Plan<'s>,
    ) -> Result<&'s str, Error> {
        match self.state {
            State::Dirty => machine.warn(
                Stage::Root,
                format_args!(
                    "{} was not unmounted cleanly: check it with fsck",
                    self.node
                ),
            ),
            State::NeedsRecovery => kmsg::info(
                Stage::Root,
                format_args!("{}: the kernel replays the journal", self.node),
            ),
            State::Clean => {}
        }
        if plan.rootfstype.is_empty() {
            let Some(fstype) = self.kind.fstype() else {
                return Err(Error::new(
                    Stage::Root,
                    Code::RootUnknownType,
                    Op::Mount,
                    &self.node,
                    format_args!("what is on it: {}", self.kind),
                ));
            };
            return self.mount_as(machine, fstype, plan).map(|()| fstype);
        }
        let mut last = Ok(());
        for fstype in plan.rootfstype.iter() {
            last = self.mount_as(machine, fstype, plan);
            if last.is_ok() {
                return Ok(fstype);
            }
        }
        last.map(|()| "")
    }

    fn mount_as(&self, machine: &mut Machine, fstype: &str, plan: &Plan<'_>) -> Result<(), Error> {
        need::for_filesystem(machine, plan, fstype, plan.rootflags.unwrap_or_default());
        let subject = format_args!("{} as {fstype}", self.node);
        let flags = if plan.read_only {
            Flags::RDONLY
        } else {
            Flags::empty()
        };
        let mut buffer = [0; OPTIONS_MAX];
        let data = c_string(plan.rootflags.unwrap_or_default(), &mut buffer)
            .during(Op::Mount, subject)
            .at(Stage::Root, Code::RootMount)?;
        let mark = kmsg::Mark::here();
        mount::mount_new(fstype, &self.node, SYSROOT, flags, data).map_err(|fault| {
            let code = match fault.errno {
                Errno::NODEV => Code::RootNoDriver,
                _ => Code::RootMount,
            };
            Error {
                subject: crate::text::Text::new(subject),
                ..fault.at(Stage::Root, code)
            }
            .with_detail(mark.last_complaint())
        })
    }
}

/// `text` as a C string in `buffer`.
fn c_string<'b>(text: &str, buffer: &'b mut [u8; OPTIONS_MAX]) -> Result<&'b CStr, Errno> {
    buffer
        .get_mut(..text.len())
        .ok_or(Errno::NAMETOOLONG)?
        .copy_from_slice(text.as_bytes());
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::NAMETOOLONG)
}
