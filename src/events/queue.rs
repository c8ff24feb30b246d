//! A bounded queue of bytes that takes whole lines or nothing.

use crate::sys::buffer::Buffer;

/// At most `N` bytes, first in, first out.
#[derive(Default)]
pub(crate) struct Queue<const N: usize> {
    ring: Buffer<N>,
    /// Where the first byte is.
    start: usize,
    len: usize,
}

impl<const N: usize> Queue<N> {
    /// Appends all of `line` if `keep_free` bytes are still free afterwards; else nothing.
    #[must_use = "a line that does not fit is not queued"]
    pub(crate) fn push(&mut self, line: &[u8], keep_free: usize) -> bool {
        let wanted = self
            .len
            .saturating_add(line.len())
            .saturating_add(keep_free);
        let Ok(ring) = self.ring.bytes_mut() else {
            return false;
        };
        if wanted > N {
            return false;
        }
        let end = (self.start + self.len) % N;
        let (before_wrap, after_wrap) = line.split_at(line.len().min(N - end));
        let (head, tail) = ring.split_at_mut(end);
        for (room, part) in [(tail, before_wrap), (head, after_wrap)] {
            if let Some(room) = room.get_mut(..part.len()) {
                room.copy_from_slice(part);
            }
        }
        self.len += line.len();
        true
    }

    /// The bytes that are next, as far as they lie together; empty only if the queue is.
    pub(crate) fn front(&self) -> &[u8] {
        let end = self.start.saturating_add(self.len).min(N);
        self.ring.bytes().get(self.start..end).unwrap_or_default()
    }

    /// Takes `len` bytes away from the front, or all if there are fewer.
    pub(crate) fn consume(&mut self, len: usize) {
        let len = len.min(self.len);
        self.len -= len;
        // An empty queue starts at the front of its memory again, so that one that is rarely full
        // touches little of it.
        self.start = if self.len == 0 {
            0
        } else {
            (self.start + len) % N
        };
    }

    /// True if nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes wait.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn a_line_is_taken_whole_or_not_at_all() {
        let mut queue = Queue::<8>::default();
        assert!(queue.push(b"12345", 0));
        assert!(!queue.push(b"6789", 0));
        assert!(!queue.push(b"67", 2));
        assert!(queue.push(b"67", 1));
        assert_eq!(queue.front(), b"1234567");
    }

    #[test]
    fn order_survives_the_wrap() {
        let mut queue = Queue::<8>::default();
        let mut seen = Vec::new();
        assert!(queue.push(b"--", 0));
        for chunk in [b"abcde", b"fghij", b"klmno"] {
            assert!(queue.push(chunk, 0));
            // Something always stays behind, so that the queue never begins at the beginning again.
            while queue.len() > 2 {
                let front = queue.front();
                let taken = front.len().min(queue.len() - 2);
                seen.extend_from_slice(&front[..taken]);
                queue.consume(taken);
            }
        }
        assert_eq!(seen, b"--abcdefghijklm");
    }

    #[test]
    fn a_full_queue_is_emptied_and_filled_again() {
        let mut queue = Queue::<4>::default();
        for _ in 0..3 {
            assert!(queue.push(b"wxyz", 0));
            assert!(!queue.push(b"a", 0));
            queue.consume(9);
            assert!(queue.is_empty() && queue.front().is_empty());
        }
    }
}
