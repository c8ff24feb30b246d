//! Bytes to lines.

use crate::sys::buffer::Buffer;

/// The longest line that is kept together, in bytes; a longer one comes in pieces.
pub(super) const LINE_MAX: usize = 512;

/// The part of a line that has come so far.
#[derive(Default)]
pub(super) struct Lines {
    pending: Buffer<LINE_MAX>,
    len: usize,
}

impl Lines {
    /// Takes `bytes` and calls `line` with each line that they complete, without its end.
    pub(super) fn push(&mut self, mut bytes: &[u8], line: &mut dyn FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = bytes.split_at(end);
            self.keep(head, line);
            // A terminal's programs end lines in CR LF.
            let whole = self.pending();
            line(whole.strip_suffix(b"\r").unwrap_or(whole));
            self.len = 0;
            bytes = tail.get(1..).unwrap_or_default();
        }
        self.keep(bytes, line);
    }

    /// Calls `line` with what is left of a last line that had no end.
    pub(super) fn finish(&mut self, line: &mut dyn FnMut(&[u8])) {
        if self.len > 0 {
            line(self.pending());
            self.len = 0;
        }
    }

    fn pending(&self) -> &[u8] {
        self.pending.bytes().get(..self.len).unwrap_or_default()
    }

    #[inline(never)]
    fn keep(&mut self, mut bytes: &[u8], line: &mut dyn FnMut(&[u8])) {
        while !bytes.is_empty() {
            if self.len == LINE_MAX {
                line(self.pending());
                self.len = 0;
            }
            let (head, tail) = bytes.split_at(bytes.len().min(LINE_MAX - self.len));
            let end = self.len + head.len();
            let room = self.pending.bytes_mut().ok();
            match room.and_then(|room| room.get_mut(self.len..end)) {
                Some(room) => {
                    room.copy_from_slice(head);
                    self.len = end;
                }
                // There is no memory to keep it in: the line comes in pieces.
                None => line(head),
            }
            bytes = tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            lines.push(chunk, &mut |line| {
                seen.push(String::from_utf8_lossy(line).into_owned());
            });
        }
        lines.finish(&mut |line| seen.push(String::from_utf8_lossy(line).into_owned()));
        seen
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        assert_eq!(
            lines(&[b"one\ntw", b"o\n", b"three"]),
            ["one", "two", "three"]
        );
        assert_eq!(lines(&[b"\n\na\r\n"]), ["", "", "a"]);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let long = vec![b'x'; 2 * LINE_MAX + 3];
        let lengths: Vec<_> = lines(&[&long, b"\n"]).iter().map(String::len).collect();
        assert_eq!(lengths, [LINE_MAX, LINE_MAX, 3]);
    }

    #[test]
    fn a_line_of_just_the_limit_is_one_line() {
        let mut line = vec![b'x'; LINE_MAX];
        line.push(b'\n');
        assert_eq!(lines(&[&line]).len(), 1);
    }
}
