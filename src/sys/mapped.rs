//! A list of values in a mapping of its own, for the same reasons as a
//! [`Buffer`](super::buffer::Buffer): it costs memory only as far as it was filled once, and
//! nothing on the stack.

use core::mem::size_of;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::slice;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Up to `N` values.
pub struct Mapped<T, const N: usize> {
    /// No address of a mapping until the first value comes, but one that a slice of none may have.
    start: *mut T,
    len: usize,
}

impl<T, const N: usize> Default for Mapped<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Mapped<T, N> {
    /// A page is aligned for any value, and there is something to map.
    const SIZE: usize = {
        assert!(align_of::<T>() <= 4096 && size_of::<T>() > 0 && N > 0);
        size_of::<T>() * N
    };

    /// No values.
    pub const fn new() -> Self {
        Self {
            start: ptr::dangling_mut(),
            len: 0,
        }
    }

    /// Whether there is a mapping. None begins so low.
    fn is_mapped(&self) -> bool {
        self.start != ptr::dangling_mut()
    }

    /// Puts `value` at `index`, and those from there on one place further.
    ///
    /// # Errors
    /// The value, if there is no place for it: there are `N`, or the kernel has no memory, or the
    /// list is not so long.
    pub fn insert(&mut self, index: usize, value: T) -> Result<(), T> {
        if self.len >= N || index > self.len {
            return Err(value);
        }
        if !self.is_mapped() {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            let flags = MapFlags::PRIVATE;
            // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
            let mapped = unsafe { mmap_anonymous(ptr::null_mut(), Self::SIZE, access, flags) };
            let Ok(start) = mapped else {
                return Err(value);
            };
            self.start = start.cast();
        }
        // SAFETY: the mapping has room for `N` values, of which the first `len` are there; `index`
        // is at most `len`, which is less than `N`. Each value behind `index` is moved by one
        // place, and the place that is left is written without being read.
        unsafe {
            let place = self.start.add(index);
            ptr::copy(place, place.add(1), self.len - index);
            place.write(value);
        }
        self.len += 1;
        Ok(())
    }

    /// Puts `value` at the end.
    ///
    /// # Errors
    /// As of [`insert`](Self::insert).
    pub fn push(&mut self, value: T) -> Result<(), T> {
        self.insert(self.len, value)
    }

    /// Takes the value at `index` out, and moves those behind it one place nearer.
    pub fn remove(&mut self, index: usize) -> Option<T> {
        if index >= self.len {
            return None;
        }
        self.len -= 1;
        // SAFETY: the value is there, as are those behind it. It is read once: its place is taken
        // by the next one, or is behind the last.
        unsafe {
            let place = self.start.add(index);
            let value = place.read();
            ptr::copy(place.add(1), place, self.len - index);
            Some(value)
        }
    }
}

impl<T, const N: usize> Deref for Mapped<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` values are there, and borrowed as long as the list is. An empty
        // list has an address that is aligned and not null.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T, const N: usize> DerefMut for Mapped<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; nobody else refers to them meanwhile.
        unsafe { slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl<T, const N: usize> Drop for Mapped<T, N> {
    fn drop(&mut self) {
        if !self.is_mapped() {
            return;
        }
        // SAFETY: the values are there, and nobody looks at them, or into the mapping, any more.
        unsafe {
            ptr::drop_in_place(ptr::slice_from_raw_parts_mut(self.start, self.len));
            let _ = munmap(self.start.cast(), Self::SIZE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn values_are_kept_in_order_and_dropped_once() {
        let counted = Rc::new(());
        let mut list = Mapped::<(u8, Rc<()>), 3>::new();
        assert!(list.is_empty());
        assert!(list.insert(1, (0, counted.clone())).is_err());
        for (index, number) in [(0, 3), (0, 1), (1, 2)] {
            assert!(list.insert(index, (number, counted.clone())).is_ok());
        }
        assert_eq!(list.push((4, counted.clone())).unwrap_err().0, 4);
        let numbers: Vec<_> = list.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        list[1].0 = 7;
        assert_eq!(list.get(1).map(|value| value.0), Some(7));
        assert_eq!(Rc::strong_count(&counted), 4);
        assert!(list.remove(3).is_none());
        assert_eq!(list.remove(1).map(|value| value.0), Some(7));
        let numbers: Vec<_> = list.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 3]);
        assert_eq!(Rc::strong_count(&counted), 3);
        drop(list);
        assert_eq!(Rc::strong_count(&counted), 1);
    }
}
