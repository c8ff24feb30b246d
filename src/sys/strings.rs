//! Lists of C strings for execve(2), without an allocator.

use core::ffi::{CStr, c_char};
use core::fmt;
use core::mem::size_of;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;

use super::buffer::Buffer;
use super::raw::StringList;

/// The variables that this program was started with.
static INHERITED: AtomicPtr<*const c_char> = AtomicPtr::new(ptr::null_mut());

/// Keeps the variables that this program was started with, for programs that inherit them.
pub fn keep_inherited(variables: StringList<'static>) {
    INHERITED.store(variables.pointers().as_ptr().cast_mut(), Ordering::Relaxed);
}

/// Hands on none from now on.
pub(super) fn forget_inherited() {
    INHERITED.store(ptr::null_mut(), Ordering::Relaxed);
}

/// What was [kept](keep_inherited); none before.
pub fn inherited() -> StringList<'static> {
    const NONE: &[*const c_char] = &[ptr::null()];
    let start = INHERITED.load(Ordering::Relaxed).cast_const();
    if start.is_null() {
        // SAFETY: it is null alone.
        return unsafe { StringList::new(NONE) };
    }
    let mut len = 0;
    // SAFETY: it is the start of a list for ever, which ends in null; so nothing behind that is read.
    while !unsafe { *start.add(len) }.is_null() {
        len += 1;
    }
    // SAFETY: as many pointers were just read, and the null behind them; all is as in the list that was kept.
    unsafe { StringList::new(core::slice::from_raw_parts(start, len + 1)) }
}

/// The most strings in any list.
const STRINGS_MAX: usize = 4096;

/// A pointer for each, and null.
const POINTERS_SIZE: usize = (STRINGS_MAX + 1) * size_of::<*const c_char>();

/// Up to `COUNT` C strings of `BYTES` bytes in all, their NULs included.
pub struct Strings<const BYTES: usize, const COUNT: usize> {
    bytes: Buffer<BYTES>,
    len: usize,
    /// To where each begins in `bytes`, and null from there on.
    pointers: Buffer<POINTERS_SIZE>,
    count: usize,
}

impl<const BYTES: usize, const COUNT: usize> Default for Strings<BYTES, COUNT> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BYTES: usize, const COUNT: usize> Strings<BYTES, COUNT> {
    /// No strings.
    pub const fn new() -> Self {
        const { assert!(COUNT <= STRINGS_MAX) };
        Self {
            bytes: Buffer::new(),
            len: 0,
            pointers: Buffer::new(),
            count: 0,
        }
    }

    /// Appends what `text` formats to.
    ///
    /// # Errors
    /// `E2BIG` if there are too many or they are too long, `EINVAL` for one with a NUL in it, `ENOMEM`. The list is then
    /// unfit for use: what is left of the string stands in it.
    pub fn push(&mut self, text: fmt::Arguments<'_>) -> Result<(), Errno> {
        if self.count >= COUNT {
            return Err(Errno::TOOBIG);
        }
        let bytes = self.bytes.bytes_mut()?;
        let start = bytes.get(self.len..).unwrap_or_default().as_ptr();
        let mut end = End {
            bytes,
            len: self.len,
            has_nul: false,
        };
        fmt::Write::write_fmt(&mut end, text).map_err(|_| Errno::TOOBIG)?;
        if end.has_nul {
            return Err(Errno::INVAL);
        }
        fmt::Write::write_char(&mut end, '\0').map_err(|_| Errno::TOOBIG)?;
        self.len = end.len;
        // SAFETY: a mapping is aligned for pointers, and any bytes are one.
        let (_, pointers, _) = unsafe { self.pointers.bytes_mut()?.align_to_mut() };
        // There are more places than strings.
        if let Some(place) = pointers.get_mut(self.count) {
            *place = start.cast::<c_char>();
        }
        self.count += 1;
        Ok(())
    }

    /// The strings, in order.
    pub fn iter(&self) -> impl Iterator<Item = &CStr> {
        let bytes = self.bytes.bytes().get(..self.len).unwrap_or_default();
        bytes
            .split_inclusive(|byte| *byte == 0)
            .filter_map(|text| CStr::from_bytes_with_nul(text).ok())
    }

    /// Calls `user` with the list as execve(2) takes it.
    pub fn with_list<R>(&self, user: impl FnOnce(StringList<'_>) -> R) -> R {
        // SAFETY: a mapping is aligned for pointers, and any bytes are one.
        let (_, pointers, _) = unsafe { self.pointers.bytes().align_to() };
        let none = [ptr::null()];
        let list = if pointers.is_empty() { &none } else { pointers };
        // SAFETY: `count` pointers are to C strings in `self.bytes`, whose mapping stays where it is and which is borrowed
        // meanwhile. Those behind are null, and there is one at least: `COUNT` is less than there are places.
        user(unsafe { StringList::new(list) })
    }
}

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
        self.has_nul |= text.as_bytes().contains(&0);
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
    fn a_list_of_none_and_of_many_ends_in_null() {
        let pointers = |strings: &Strings<{ 4 * STRINGS_MAX }, STRINGS_MAX>| {
            let count = |list: StringList<'_>| {
                list.pointers()
                    .iter()
                    .take_while(|one| !one.is_null())
                    .count()
            };
            strings.with_list(count)
        };
        let mut strings = Strings::new();
        assert_eq!(pointers(&strings), 0);
        for number in 0..STRINGS_MAX {
            strings.push(format_args!("{}", number % 10)).unwrap();
        }
        assert_eq!(pointers(&strings), STRINGS_MAX);
        assert_eq!(strings.push(format_args!("")), Err(Errno::TOOBIG));
        assert_eq!(strings.iter().last(), Some(c"5"));
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

    #[test]
    fn inherited_strings_are_those_that_were_kept() {
        assert_eq!(inherited().iter().count(), 0);
        static WORDS: Words = Words([c"A=1".as_ptr(), c"B=2".as_ptr(), ptr::null()]);
        struct Words([*const c_char; 3]);
        // SAFETY: nothing of it is ever written.
        unsafe impl Sync for Words {}
        // SAFETY: two C strings that live for ever, and null.
        keep_inherited(unsafe { StringList::new(&WORDS.0) });
        assert_eq!(inherited().iter().collect::<Vec<_>>(), [c"A=1", c"B=2"]);
    }
}
