//! What others can see of a process that sets a container up.
//!
//! Until it executes the program, it has the host's memory, descriptors and binary.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::labels;
use crate::error::{During, Fault, Op};
use crate::parse::config::Process;
use crate::sys::{descriptors, keyring};

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
    match keyring::new_session() {
        // A kernel without keys has none to hide.
        Err(Errno::NOSYS) => Ok(()),
        result => result.during(Op::Create, KEYRING),
    }
}

/// The first half of [`hide`].
pub(super) fn set_undumpable() -> Result<(), Fault> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).during(Op::Configure, "PR_SET_DUMPABLE")
}

/// Closes all descriptors from `first` on but those `kept`.
///
/// For a process that sets a container up, or a part of it.
pub(super) fn close_all_but(first: u32, kept: &[BorrowedFd<'_>]) -> Result<(), Fault> {
    // SAFETY: a process that sets up was forked for that, and ends in the program or in exit(2). So
    // the functions that it was called from, which own descriptors, never run again in it. The
    // set-up itself has closed its own by then (`setup::LEAVE`), or is left to the end of the
    // process (`setup::Setup` and the empty root of `shared_pid`).
    unsafe { descriptors::close_all_but(first, kept) }.during(Op::Configure, "close_range(2)")
}
