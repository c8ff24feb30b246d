//! Room for bytes that costs memory only where and while it is used.
//!
//! Buffers here are sized for the worst that is accepted, which hardly ever comes. On the stack
//! they would be touched page by page by the compiler's stack probes, and what the stack has grown
//! to is never given back; PID 1 would keep the memory of its largest moment for ever, and every
//! child would begin with a copy of the page tables for it. So the room is a mapping of its own
//! (mmap(2), MAP_ANONYMOUS), made on first use and gone with the buffer.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr;
use core::slice;

use rustix::fd::AsFd;
use rustix::io::{Errno, read};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Room for `N` bytes, all of which are zero until something is written.
pub struct Buffer<const N: usize> {
    /// Null until the first use.
    start: *mut c_void,
}

impl<const N: usize> Default for Buffer<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Buffer<N> {
    /// Room that is not there yet.
    pub const fn new() -> Self {
        Self {
            start: ptr::null_mut(),
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// `ENOMEM`, if it was not used before.
    pub fn bytes_mut(&mut self) -> Result<&mut [u8], Errno> {
        if self.start.is_null() {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
            self.start = unsafe { mmap_anonymous(ptr::null_mut(), N, access, MapFlags::PRIVATE) }?;
        }
        // SAFETY: the mapping has `N` bytes, which the kernel has zeroed, and nobody but this
        // buffer refers to it.
        Ok(unsafe { slice::from_raw_parts_mut(self.start.cast(), N) })
    }

    /// All of it, or nothing if it was not used yet.
    pub const fn bytes(&self) -> &[u8] {
        if self.start.is_null() {
            return &[];
        }
        // SAFETY: as above; the slice borrows the buffer, so nobody writes meanwhile.
        unsafe { slice::from_raw_parts(self.start.cast_const().cast(), N) }
    }

    /// Reads from `file` until the room is full or the file ends.
    ///
    /// # Errors
    /// Those of read(2) but `EINTR`; `ENOMEM`.
    pub fn fill_from(&mut self, file: impl AsFd) -> Result<&mut [u8], Errno> {
        let bytes = self.bytes_mut()?;
        let mut filled = 0;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            match read(&file, room) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(bytes.get_mut(..filled).unwrap_or_default())
    }
}

/// Room for a list of values, of `N` bytes in all: a mapping as well, for the same reasons.
#[derive(Default)]
pub struct Table<const N: usize>(Buffer<N>);

impl<const N: usize> Table<N> {
    /// Room that is not there yet.
    pub const fn new() -> Self {
        Self(Buffer::new())
    }

    /// As many places as there is room for.
    ///
    /// # Errors
    /// `ENOMEM`, if it was not used before.
    pub fn places<T: Copy>(&mut self) -> Result<&mut [MaybeUninit<T>], Errno> {
        // SAFETY: any bytes are such places, and nobody reads them as bytes.
        let (_, places, _) = unsafe { self.0.bytes_mut()?.align_to_mut() };
        Ok(places)
    }
}

impl<const N: usize> Drop for Buffer<N> {
    fn drop(&mut self) {
        if !self.start.is_null() {
            // SAFETY: the mapping is ours, and what borrowed from the buffer is gone.
            let _ = unsafe { munmap(self.start, N) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_holds_what_was_read_and_no_more() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&writer, b"12345").unwrap();
        drop(writer);
        let mut buffer = Buffer::<8>::new();
        assert_eq!(buffer.fill_from(&reader).unwrap(), b"12345");
        assert_eq!(buffer.bytes(), b"12345\0\0\0");
    }

    #[test]
    fn a_table_has_places_for_values() {
        let mut table = Table::<64>::new();
        let places = table.places().unwrap();
        assert_eq!(places.len(), 64 / size_of::<(u64, &str)>());
        assert_eq!(places[0].write((7u64, "text")), &(7, "text"));
    }

    #[test]
    fn a_full_buffer_stops_reading() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&writer, b"12345").unwrap();
        assert_eq!(Buffer::<3>::new().fill_from(&reader).unwrap(), b"123");
    }

    #[test]
    fn what_was_not_used_holds_nothing() {
        let mut buffer = Buffer::<4>::new();
        assert_eq!(buffer.bytes(), b"");
        assert_eq!(buffer.bytes_mut().unwrap(), [0; 4]);
    }
}
