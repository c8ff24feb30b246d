//! Lists of C strings for execve(2), without an allocator.

use core::ffi::{CStr, c_char};
use core::fmt::{self, Write as _};
use core::mem::size_of;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;

use super::buffer::Buffer;
use super::process::StringList;
use crate::text::BoundedWriter;

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
    // SAFETY: it is the start of a list for ever, which ends in null; so nothing behind that is
    // read.
    while !unsafe { *start.add(len) }.is_null() {
        len += 1;
    }
    // SAFETY: as many pointers were just read, and the null behind them; all is as in the list that
    // was kept.
    unsafe { StringList::new(core::slice::from_raw_parts(start, len + 1)) }
}

/// The most strings in any list.
const STRINGS_MAX: usize = 4096 + 8;

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
    /// `E2BIG` if there are too many or they are too long, `EINVAL` for one with a NUL in it,
    /// `ENOMEM`. The list is then unfit for use: what is left of the string stands in it.
    pub fn push(&mut self, text: fmt::Arguments<'_>) -> Result<(), Errno> {
        if self.count >= COUNT {
            return Err(Errno::TOOBIG);
        }
        let mut writer = BoundedWriter::new(self.bytes.bytes_mut()?, self.len);
        writer.write_fmt(text).map_err(|_| Errno::TOOBIG)?;
        let string = writer.written().get(self.len..).unwrap_or_default();
        if string.contains(&0) {
            return Err(Errno::INVAL);
        }
        let start = string.as_ptr();
        writer.write_str("\0").map_err(|_| Errno::TOOBIG)?;
        self.len = writer.written().len();
        self.put(self.count, start.cast())?;
        self.count += 1;
        Ok(())
    }

    /// [Pushes](Self::push) a variable, `NAME=value`, in the place of the one of that name, if
    /// there is one.
    ///
    /// # Errors
    /// As of [`push`](Self::push).
    pub fn set(&mut self, variable: fmt::Arguments<'_>) -> Result<(), Errno> {
        let start = self.len;
        self.push(variable)?;
        let new = self.from(start);
        let name = new.split_inclusive(|byte| *byte == b'=').next();
        let name = name.unwrap_or_default();
        let variable = new.as_ptr().cast();
        let found = self
            .starts()
            .position(|start| self.from(start).starts_with(name));
        let last = self.count - 1;
        // The new one is found last.
        if let Some(found) = found.filter(|found| *found < last) {
            self.put(last, ptr::null())?;
            self.put(found, variable)?;
            self.count = last;
        }
        Ok(())
    }

    /// The strings, in order.
    pub fn iter(&self) -> impl Iterator<Item = &CStr> {
        self.starts()
            .filter_map(|start| CStr::from_bytes_until_nul(self.from(start)).ok())
    }

    fn put(&mut self, place: usize, string: *const c_char) -> Result<(), Errno> {
        // SAFETY: a mapping is aligned for pointers, and any bytes are one.
        let (_, pointers, _) = unsafe { self.pointers.bytes_mut()?.align_to_mut() };
        // There are more places than strings.
        if let Some(place) = pointers.get_mut(place) {
            *place = string;
        }
        Ok(())
    }

    /// Where in the bytes each string begins.
    fn starts(&self) -> impl Iterator<Item = usize> + use<'_, BYTES, COUNT> {
        // SAFETY: a mapping is aligned for pointers, and any bytes are one.
        let (_, pointers, _) = unsafe { self.pointers.bytes().align_to::<*const c_char>() };
        let bytes = self.bytes.bytes().as_ptr().addr();
        let pointers = pointers.iter().take(self.count);
        pointers.map(move |pointer| pointer.addr().wrapping_sub(bytes))
    }

    fn from(&self, start: usize) -> &[u8] {
        let written = self.bytes.bytes().get(..self.len).unwrap_or_default();
        written.get(start..).unwrap_or_default()
    }

    /// Calls `user` with the list as execve(2) takes it.
    pub fn with_list<R>(&self, user: impl FnOnce(StringList<'_>) -> R) -> R {
        // SAFETY: a mapping is aligned for pointers, and any bytes are one.
        let (_, pointers, _) = unsafe { self.pointers.bytes().align_to() };
        let none = [ptr::null()];
        let list = if pointers.is_empty() { &none } else { pointers };
        // SAFETY: `count` pointers are to C strings in `self.bytes`, whose mapping stays where it
        // is and which is borrowed meanwhile. Those behind are null, and there is one at least:
        // `COUNT` is less than there are places.
        user(unsafe { StringList::new(list) })
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
    fn of_variables_with_one_name_the_last_is_kept() {
        let mut strings = Strings::<64, 8>::new();
        for variable in ["A=1", "B=2=3", "A=4", "AB=5", "B=6", "C=A=7", "AB="] {
            strings.set(format_args!("{variable}")).unwrap();
        }
        assert_eq!(
            strings.iter().collect::<Vec<_>>(),
            [c"A=4", c"B=6", c"AB=", c"C=A=7"]
        );
        strings.push(format_args!("D=8")).unwrap();
        let count = |list: StringList<'_>| {
            let pointers = list.pointers().iter();
            pointers.take_while(|one| !one.is_null()).count()
        };
        assert_eq!(strings.with_list(count), 5);
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
        assert_eq!(strings.iter().last(), Some(c"3"));
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
