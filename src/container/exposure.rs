//! What others can see of a process that sets a container up.
//!
//! Until it executes the program, it has the host's memory, descriptors and binary.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::labels;
use crate::error::{During, Fault, Op};
use crate::parse::config::Process;
use crate::sys::raw;

/// Keeps others in a namespace that this process joins, even root there, from tracing it and from
/// looking into its `/proc/<pid>` (ptrace(2), "PTRACE_MODE"); execve(2) ends that. It also gets a
/// session keyring of its own, since that is inherited like a descriptor (session-keyring(7)).
///
/// What it writes to its own files in `/proc` comes before: they belong to the host's root
/// afterwards.
pub(super) fn hide(process: &Process<'_>, keeps_keyring: bool) -> Result<(), Fault> {
    const KEYRING: &str = "a session keyring";
    set_undumpable()?;
    if keeps_keyring {
        return Ok(());
    }
    labels::label_keys(process)?;
    match raw::new_session_keyring() {
        // A kernel without keys has none to hide.
        Err(Errno::NOSYS) => Ok(()),
        result => result.during(Op::Create, KEYRING),
    }
}

/// The first half of [`hide`].
pub(super) fn set_undumpable() -> Result<(), Fault> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).during(Op::Configure, "PR_SET_DUMPABLE")
}

/// Closes what the set-up and its caller have open, but for `more` descriptors behind the standard
/// ones and those `kept`.
pub(super) fn close_all_but(more: u32, kept: &[BorrowedFd<'_>]) -> Result<(), Fault> {
    raw::close_all_but(more.saturating_add(3), kept).during(Op::Configure, "close_range(2)")
}
