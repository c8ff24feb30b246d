//! What of this process is in memory, and is not needed any more: the stack that deep calls have
//! used, and code that never runs again.

use core::ffi::c_void;
use core::ops::Range;

use rustix::mm::{Advice, madvise};

/// What is kept below the frame of the function, in bytes: its own calls use less than half of it.
const KEPT: usize = 1024;

/// How far below the caller pages are given back. The kernel keeps at least 128 MiB below the top
/// of a stack free of other mappings (`MIN_GAP` of mm/util.c).
const REACH: usize = 1 << 20;

/// The usual size. A kernel with larger pages refuses the call, and nothing is given back.
const PAGE: usize = 4096;

/// Gives the kernel back the memory of the stack that deeper calls have used. It is there again, as
/// zeros, when a later call needs it.
///
/// A process that lives for months should call it once its beginning, whose frames were deep, is
/// over.
#[inline(never)]
pub fn release_stack() {
    let here = 0_u8;
    let below = (&raw const here).addr() - KEPT;
    let end = below - below % PAGE;
    let start = core::ptr::without_provenance_mut::<c_void>(end - REACH);
    // SAFETY: the range ends below all that this call uses. What is in it belonged to calls that
    // have returned, or is not mapped (ENOMEM, which the kernel says after it did the rest). There
    // are no signal handlers that could run there.
    let _ = unsafe { madvise(start, REACH, Advice::LinuxDontNeed) };
}

/// A part of the program's code.
pub struct Code(Range<usize>);

impl Code {
    /// The code at these addresses.
    ///
    /// # Safety
    /// The program's file is mapped there, for reading and executing alone.
    pub const unsafe fn new(addresses: Range<usize>) -> Self {
        Self(addresses)
    }

    /// Unmaps it. What runs all the same is mapped again by that.
    #[inline(never)]
    pub fn release(&self) {
        // What stands beside it in its first and its last page is mapped again, too.
        let start = self.0.start - self.0.start % PAGE;
        let len = self.0.end.saturating_sub(start);
        let start = core::ptr::without_provenance_mut::<c_void>(start);
        // SAFETY: what is unmapped comes back from the program's file as it was, as
        // [`Self::new`] was promised.
        let _ = unsafe { madvise(start, len, Advice::LinuxDontNeed) };
    }
}
