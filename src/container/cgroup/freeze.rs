//! Groups that stand still with the machine (cgroup-v2.rst, "cgroup.freeze").
//!
//! A group that stood still before, because somebody paused it, does so afterwards, too: those that
//! stand still with the machine have an extended attribute.

use core::ffi::CStr;

use rustix::fd::AsFd;
use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};

use super::Group;
use super::processes::FREEZE;
use crate::error::{During, Fault, Op};
use crate::sys::fs;

/// The extended attribute of a group that stands still with the machine.
const MARK: &CStr = c"user.berth.frozen";

impl Group {
    /// Begins to stop all its processes, unless somebody has paused it. Whether it did.
    ///
    /// # Errors
    /// Those of fsetxattr(2) and of writing.
    pub fn begin_to_freeze(&self) -> Result<bool, Fault> {
        let mut buffer = [0; 8];
        if !self.is_frozen_with_machine() && fs::read_file(self, FREEZE, &mut buffer)? == b"1\n" {
            return Ok(false);
        }
        fsetxattr(self.as_fd(), MARK, b"", XattrFlags::empty()).during(Op::Set, FREEZE)?;
        fs::write_file(self, FREEZE, b"1").map(|()| true)
    }

    /// Waits until its processes have stopped.
    ///
    /// # Errors
    /// `ETIMEDOUT` when one has not after 10 s.
    pub fn finish_to_freeze(&self) -> Result<(), Fault> {
        self.wait_until_frozen()
            .during(Op::Wait, "a frozen control group")
    }

    /// Whether it stands still with the machine.
    pub fn is_frozen_with_machine(&self) -> bool {
        fgetxattr(self.as_fd(), MARK, &mut [0_u8; 0][..]).is_ok()
    }

    /// Lets its processes go on, if they stand still with the machine.
    ///
    /// # Errors
    /// Those of writing.
    pub fn thaw_with_machine(&self) -> Result<(), Fault> {
        if self.is_frozen_with_machine() {
            self.thaw()?;
            // Without the mark, which a group loses at its end at the latest.
            let _ = fremovexattr(self.as_fd(), MARK);
        }
        Ok(())
    }
}
