//! Lists of C strings for execve(2), without an allocator.

use core::ffi::{CStr, c_char};
use core::fmt;
use core::ptr;

use rustix::io::Errno;

use super::buffer::Buffer;
use super::raw::StringList;

/// Up to `COUNT` C strings of `BYTES` bytes in all, their NULs included.
pub struct Strings<const BYTES: usize, const COUNT: usize> {
    bytes: Buffer<BYTES>,
    len: usize,
    starts: heapless::Vec<usize, COUNT>,
}

impl<const BYTES: usize, const COUNT: usize> Default for Strings<BYTES, COUNT> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BYTES: usize, const COUNT: usize> Strings<BYTES, COUNT> {
    /// No strings.
    pub const fn new() -> Self {
        Self {
            bytes: Buffer::new(),
            len: 0,
            starts: heapless::Vec::new(),
        }
    }

    /// Appends what `text` formats to.
    ///
    /// # Errors
    /// `E2BIG` if there are too many or they are too long, `EINVAL` for one with a NUL in it, `ENOMEM`. The list is then
    /// unfit for use: what is left of the string stands in it.
    pub fn push(&mut self, text: fmt::Arguments<'_>) -> Result<(), Errno> {
        self.starts.push(self.len).map_err(|_| Errno::TOOBIG)?;
        let mut end = End {
            bytes: self.bytes.bytes_mut()?,
            len: self.len,
            has_nul: false,
        };
        fmt::Write::write_fmt(&mut end, text).map_err(|_| Errno::TOOBIG)?;
        if end.has_nul {
            return Err(Errno::INVAL);
        }
        fmt::Write::write_char(&mut end, '\0').map_err(|_| Errno::TOOBIG)?;
        self.len = end.len;
        Ok(())
    }

    /// The strings, in order.
    pub fn iter(&self) -> impl Iterator<Item = &CStr> {
        self.starts.iter().filter_map(|start| {
            CStr::from_bytes_until_nul(self.bytes.bytes().get(*start..self.len)?).ok()
        })
    }

    /// Calls `user` with the list as execve(2) takes it.
    pub fn with_list<R>(&self, user: impl FnOnce(StringList<'_>) -> R) -> R {
        const { assert!(COUNT <= STRINGS_MAX) };
        let mut pointers = [ptr::null::<c_char>(); STRINGS_MAX + 1];
        for (pointer, text) in pointers.iter_mut().zip(self.iter().take(STRINGS_MAX)) {
            *pointer = text.as_ptr();
        }
        // SAFETY: the last pointer stayed null; those before are null or point to C strings in `self.bytes`, which is
        // borrowed meanwhile.
        user(unsafe { StringList::new(&pointers) })
    }
}

/// The most strings in any list.
const STRINGS_MAX: usize = 256;

/// The end of the strings so far, where the next one is written.
struct End<'b> {
    bytes: &'b mut [u8],
    len: usize,
    has_nul: bool,
}

impl fmt::Write for End<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        self.has_nul |= text.contains('\0');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_keep_their_order_and_end_in_nul() {
        let mut strings = Strings::<64, 4>::new();
        strings.push(format_args!("{}={}", "PATH", "/bin")).unwrap();
        strings.push(format_args!("")).unwrap();
        assert_eq!(strings.iter().collect::<Vec<_>>(), [c"PATH=/bin", c""]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut strings = Strings::<8, 2>::new();
        assert_eq!(strings.push(format_args!("12345678")), Err(Errno::TOOBIG));
        let mut strings = Strings::<8, 1>::new();
        strings.push(format_args!("a")).unwrap();
        assert_eq!(strings.push(format_args!("b")), Err(Errno::TOOBIG));
        assert_eq!(
            Strings::<8, 1>::new().push(format_args!("a\0b")),
            Err(Errno::INVAL)
        );
    }
}
