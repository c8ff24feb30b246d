//! Room for bytes, which costs nothing until it is used.
//!
//! A large array on the stack is cheap, but filling it with zeroes before a short file is read into it is not: it touches
//! every page. A [`Buffer`] stays uninitialised where nothing was read.

use core::mem::MaybeUninit;

use rustix::fd::AsFd;
use rustix::io::{Errno, read};

/// Room for `N` bytes.
pub struct Buffer<const N: usize>([MaybeUninit<u8>; N]);

impl<const N: usize> Default for Buffer<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Buffer<N> {
    /// Room, with nothing in it.
    pub const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; N])
    }

    /// Reads from `file` until the room is full or the file ends.
    ///
    /// # Errors
    /// Those of read(2) but `EINTR`.
    pub fn fill_from(&mut self, file: impl AsFd) -> Result<&mut [u8], Errno> {
        let mut filled = 0;
        while let Some(room) = self.0.get_mut(filled..) {
            match read(&file, room) {
                Ok(([], _)) => break,
                Ok((bytes, _)) => filled += bytes.len(),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        let bytes = self.0.get_mut(..filled).unwrap_or_default();
        // SAFETY: the kernel has written these, as `read` reported.
        Ok(unsafe { bytes.assume_init_mut() })
    }

    /// The first `len` bytes, or all if there are fewer, as zeroes.
    pub fn zeroed(&mut self, len: usize) -> &mut [u8] {
        let bytes = self.0.get_mut(..len.min(N)).unwrap_or_default();
        for byte in &mut *bytes {
            byte.write(0);
        }
        // SAFETY: the loop has written each of them.
        unsafe { bytes.assume_init_mut() }
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
        assert_eq!(Buffer::<8>::new().fill_from(&reader).unwrap(), b"12345");
    }

    #[test]
    fn a_full_buffer_stops_reading() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&writer, b"12345").unwrap();
        assert_eq!(Buffer::<3>::new().fill_from(&reader).unwrap(), b"123");
    }

    #[test]
    fn no_more_is_zeroed_than_there_is() {
        assert_eq!(Buffer::<4>::new().zeroed(2), [0, 0]);
        assert_eq!(Buffer::<4>::new().zeroed(9), [0; 4]);
    }
}
