//! Messages into room of a fixed size.

use super::{DESTINATION, INTERFACE, Kind, LITTLE_ENDIAN, MEMBER, PATH, SIGNATURE, VERSION};

/// What a method is called on.
#[derive(Clone, Copy, Debug)]
pub struct Method<'m> {
    /// The name of who has it.
    pub destination: &'m str,
    /// The object.
    pub path: &'m str,
    /// The interface.
    pub interface: &'m str,
    /// Its name.
    pub member: &'m str,
    /// The types of its arguments; empty without any.
    pub signature: &'m str,
}

/// Writes values, each at a multiple of its size from the start of the message.
///
/// What does not fit is not written, and is not written by halves: [`Self::finish`] tells.
#[derive(Debug)]
pub struct Writer<'b> {
    room: &'b mut [u8],
    len: usize,
    is_full: bool,
}

impl<'b> Writer<'b> {
    /// A call of `method` with this number, not 0, and with the arguments that `body` writes.
    #[inline(never)]
    pub fn call(
        room: &'b mut [u8],
        serial: u32,
        method: &Method<'_>,
        body: &mut dyn FnMut(&mut Self),
    ) -> Option<&'b [u8]> {
        let mut writer = Self {
            room,
            len: 0,
            is_full: false,
        };
        writer.put(&[LITTLE_ENDIAN, Kind::Call as u8, 0, VERSION]);
        let body_len = writer.len;
        writer.u32(0);
        writer.u32(serial);
        let fields = [
            (PATH, "o", method.path),
            (MEMBER, "s", method.member),
            (INTERFACE, "s", method.interface),
            (DESTINATION, "s", method.destination),
            (SIGNATURE, "g", method.signature),
        ];
        writer.array(8, &mut |writer| {
            for (code, kind, text) in fields {
                if text.is_empty() {
                    continue;
                }
                writer.align(8);
                writer.put(&[code]);
                writer.signature(kind);
                match kind {
                    "g" => writer.signature(text),
                    _ => writer.string(text),
                }
            }
        });
        writer.align(8);
        let start = writer.len;
        body(&mut writer);
        let len = writer.len.saturating_sub(start);
        writer.patch(body_len, len);
        writer.finish()
    }

    /// All that was written; `None` if there was not enough room.
    #[must_use]
    pub fn finish(self) -> Option<&'b [u8]> {
        match self.is_full {
            true => None,
            false => self.room.get(..self.len),
        }
    }

    /// Gives the message up.
    pub const fn fail(&mut self) {
        self.is_full = true;
    }

    /// Bytes as they are.
    #[inline(never)]
    pub fn put(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        match self.room.get_mut(self.len..end) {
            Some(room) if !self.is_full => {
                room.copy_from_slice(bytes);
                self.len = end;
            }
            _ => self.is_full = true,
        }
    }

    /// Nothing, up to a multiple of `size`, which is a power of two.
    pub fn align(&mut self, size: usize) {
        while !self.is_full && !self.len.is_multiple_of(size) {
            self.put(&[0]);
        }
    }

    /// `u`
    pub fn u32(&mut self, value: u32) {
        self.align(4);
        self.put(&value.to_le_bytes());
    }

    /// `t`
    pub fn u64(&mut self, value: u64) {
        self.align(8);
        self.put(&value.to_le_bytes());
    }

    /// `b`
    pub fn boolean(&mut self, value: bool) {
        self.u32(value.into());
    }

    /// `s`, `o`
    pub fn string(&mut self, text: &str) {
        self.chars(&mut text.chars());
    }

    /// A string of these characters. One with a NUL is none.
    #[inline(never)]
    pub fn chars(&mut self, chars: &mut dyn Iterator<Item = char>) {
        self.u32(0);
        let start = self.len;
        for c in chars {
            self.is_full |= c == '\0';
            self.put(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        self.patch(start.saturating_sub(4), self.len.saturating_sub(start));
        self.put(&[0]);
    }

    /// `g`: fewer than 256 types.
    pub fn signature(&mut self, text: &str) {
        match u8::try_from(text.len()) {
            Ok(len) => self.put(&[len]),
            Err(_) => self.is_full = true,
        }
        self.put(text.as_bytes());
        self.put(&[0]);
    }

    /// `a`: the items that `items` writes, each of which begins at a multiple of `alignment`.
    #[inline(never)]
    pub fn array(&mut self, alignment: usize, items: &mut dyn FnMut(&mut Self)) {
        self.u32(0);
        let len = self.len.saturating_sub(4);
        // What lies between the length and the first item does not count.
        self.align(alignment);
        let start = self.len;
        items(self);
        self.patch(len, self.len.saturating_sub(start));
    }

    /// `(sv)`: a property, whose value has these types and is what `value` writes.
    #[inline(never)]
    pub fn property(&mut self, name: &str, types: &str, value: &mut dyn FnMut(&mut Self)) {
        self.align(8);
        self.string(name);
        self.signature(types);
        value(self);
    }

    /// The length of what was written, where it belongs.
    fn patch(&mut self, at: usize, len: usize) {
        let room = self.room.get_mut(at..at.saturating_add(4));
        match (room, u32::try_from(len)) {
            (Some(room), Ok(len)) if !self.is_full => room.copy_from_slice(&len.to_le_bytes()),
            _ => self.is_full = true,
        }
    }
}
