//! A bounded queue of bytes that takes whole lines or nothing.

use heapless::Deque;

/// At most `N` bytes, first in, first out.
#[derive(Default)]
pub struct Queue<const N: usize>(Deque<u8, N>);

impl<const N: usize> Queue<N> {
    /// Appends all of `line` if `keep_free` bytes are still free afterwards; else nothing.
    #[must_use = "a line that does not fit is not queued"]
    pub fn push(&mut self, line: &[u8], keep_free: usize) -> bool {
        let wanted = self
            .len()
            .saturating_add(line.len())
            .saturating_add(keep_free);
        if wanted > N {
            return false;
        }
        self.0.extend(line);
        true
    }

    /// The bytes that are next, as far as they lie together; empty only if the queue is.
    pub fn front(&self) -> &[u8] {
        self.0.as_slices().0
    }

    /// Takes `len` bytes away from the front.
    pub fn consume(&mut self, len: usize) {
        for _ in 0..len {
            self.0.pop_front();
        }
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.0.len()
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
        let mut queue = Queue::<4>::default();
        let mut seen = Vec::new();
        for chunk in [b"abc", b"def", b"ghi"] {
            assert!(queue.push(chunk, 0));
            while !queue.is_empty() {
                let front = queue.front().to_vec();
                queue.consume(front.len());
                seen.extend(front);
            }
        }
        assert_eq!(seen, b"abcdefghi");
    }
}
