//! Kernel modules: finit_module(2), and the indexes of modules as mapped files.

use core::ffi::CStr;
use core::ptr;
use core::slice;

use rustix::fs::{CWD, fstat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::system::finit_module;

use super::fs::open_file;
use crate::error::{During, Fault, Op};

/// The kernel decompresses the file itself (include/uapi/linux/module.h, Linux 5.17,
/// CONFIG_MODULE_DECOMPRESS).
const MODULE_INIT_COMPRESSED_FILE: i32 = 4;

/// Hands the module file at `path` to the kernel, with `parameters`, words that are divided by
/// spaces. Whether it is compressed is told by its name, as kmod does. A module that is loaded
/// already is fine.
///
/// # Errors
/// Those of finit_module(2) but `EEXIST`; `E2BIG` for parameters that leave no room for a NUL in
/// their string.
pub fn load<const N: usize>(path: &str, parameters: &mut heapless::String<N>) -> Result<(), Fault> {
    let terminated = parameters.push('\0').ok();
    let parameters =
        terminated.and_then(|()| CStr::from_bytes_until_nul(parameters.as_bytes()).ok());
    let parameters = parameters
        .ok_or(Errno::TOOBIG)
        .during(Op::LoadModule, path)?;
    let file = open_file(CWD, path)?;
    let flags = if path.ends_with(".ko") {
        0
    } else {
        MODULE_INIT_COMPRESSED_FILE
    };
    match finit_module(&file, parameters, flags) {
        Err(Errno::EXIST) => Ok(()),
        result => result.during(Op::LoadModule, path),
    }
}

/// A file as memory: indexes of modules have no bound, and PID 1 has no allocator.
pub struct Mapped {
    start: *mut core::ffi::c_void,
    len: usize,
}

impl Mapped {
    /// Maps the file at `path`, which must not be changed while it is mapped.
    ///
    /// # Errors
    /// Those of openat(2), fstat(2) and mmap(2).
    pub fn open(path: &str) -> Result<Self, Fault> {
        let file = open_file(CWD, path)?;
        let len = fstat(&file).during(Op::Map, path)?.st_size as usize;
        if len == 0 {
            return Ok(Self {
                start: ptr::null_mut(),
                len,
            });
        }
        // SAFETY: a new private mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                &file,
                0,
            )
        }
        .during(Op::Map, path)?;
        Ok(Self { start, len })
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: `open` mapped `len` readable bytes at `start`; the mapping is private, and the
        // initramfs that the file is on has no other writer.
        unsafe { slice::from_raw_parts(self.start.cast(), self.len) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the mapping is ours, and `bytes` borrows from `self`, so nothing refers to it
            // any more.
            let _ = unsafe { munmap(self.start, self.len) };
        }
    }
}
