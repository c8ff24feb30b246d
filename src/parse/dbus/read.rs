//! Reads messages in place. The sender may be anybody: bytes that break a rule of the format are
//! no message.

use super::{
    ERROR_NAME, INTERFACE, Kind, LITTLE_ENDIAN, MEMBER, PATH, REPLY_SERIAL, SENDER, SIGNATURE,
    VERSION,
};

/// As many bytes begin every message, and say how long it is.
pub const START: usize = 16;

/// The longest message that the specification allows, in bytes.
const SIZE_MAX: usize = 1 << 27;

/// The length of the message that begins like this; `None` if it is none, of another version, or of
/// another byte order.
#[must_use]
pub fn size(start: &[u8; START]) -> Option<usize> {
    let mut values = Values {
        bytes: start,
        at: 4,
    };
    let (body, _, fields) = (values.u32()?, values.u32()?, values.u32()?);
    let fields = START.checked_add(usize::try_from(fields).ok()?)?;
    let size = fields
        .checked_next_multiple_of(8)?
        .checked_add(usize::try_from(body).ok()?)?;
    let [order, _, _, version, ..] = *start;
    (order == LITTLE_ENDIAN && version == VERSION && size <= SIZE_MAX).then_some(size)
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    /// What it is.
    pub kind: Kind,
    /// The number of the call that it answers; 0 for none.
    pub reply_to: u32,
    /// The sender; empty without a bus.
    pub sender: &'m str,
    /// The object that a signal is from.
    pub path: &'m str,
    /// The interface of a signal.
    pub interface: &'m str,
    /// The name of a signal.
    pub member: &'m str,
    /// The name of an error.
    pub error: &'m str,
    /// The types of what it holds.
    pub signature: &'m str,
    /// What it holds.
    pub body: Values<'m>,
}

impl<'m> Message<'m> {
    /// Reads a whole message; `None` if it is none.
    #[must_use]
    pub fn parse(bytes: &'m [u8]) -> Option<Self> {
        let start = bytes.first_chunk::<START>()?;
        if size(start)? != bytes.len() {
            return None;
        }
        let kind = match start.get(1)? {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            // The specification has others ignored: nothing waits for a signal without a name.
            0 => return None,
            _ => Kind::Signal,
        };
        let mut fields = Values { bytes, at: 12 };
        let len = usize::try_from(fields.u32()?).ok()?;
        let end = fields.at.checked_add(len)?;
        let mut message = Self {
            kind,
            reply_to: 0,
            sender: "",
            path: "",
            interface: "",
            member: "",
            error: "",
            signature: "",
            body: Values {
                bytes,
                at: end.checked_next_multiple_of(8)?,
            },
        };
        fields.bytes = bytes.get(..end)?;
        while fields.at < end {
            fields.align(8)?;
            let code = fields.byte()?;
            match (fields.signature()?, code) {
                ("s", SENDER) => message.sender = fields.string()?,
                ("o", PATH) => message.path = fields.string()?,
                ("s", INTERFACE) => message.interface = fields.string()?,
                ("s", MEMBER) => message.member = fields.string()?,
                ("s", ERROR_NAME) => message.error = fields.string()?,
                ("u", REPLY_SERIAL) => message.reply_to = fields.u32()?,
                ("g", SIGNATURE) => message.signature = fields.signature()?,
                // Fields that are known are of one type each.
                (_, PATH | INTERFACE | MEMBER | ERROR_NAME | REPLY_SERIAL | SENDER | SIGNATURE) => {
                    return None;
                }
                ("s" | "o", _) => {
                    fields.string()?;
                }
                ("g", _) => {
                    fields.signature()?;
                }
                ("u" | "i" | "b", _) => {
                    fields.u32()?;
                }
                ("y", _) => {
                    fields.byte()?;
                }
                _ => return None,
            }
        }
        Some(message)
    }
}

/// Values, one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct Values<'m> {
    bytes: &'m [u8],
    at: usize,
}

impl<'m> Values<'m> {
    fn take(&mut self, len: usize) -> Option<&'m [u8]> {
        let end = self.at.checked_add(len)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn align(&mut self, size: usize) -> Option<()> {
        let next = self.at.checked_next_multiple_of(size)?;
        self.take(next.checked_sub(self.at)?).map(drop)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// `u`
    pub fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes = self.take(4)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// `s`, `o`
    pub fn string(&mut self) -> Option<&'m str> {
        let len = self.u32()?;
        self.text(usize::try_from(len).ok()?)
    }

    fn signature(&mut self) -> Option<&'m str> {
        let len = self.byte()?;
        self.text(len.into())
    }

    /// Text, and the NUL that ends it.
    fn text(&mut self, len: usize) -> Option<&'m str> {
        let text = core::str::from_utf8(self.take(len)?).ok()?;
        let is_whole = self.byte()? == 0 && !text.as_bytes().contains(&0);
        is_whole.then_some(text)
    }
}
