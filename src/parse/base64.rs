//! Bytes as text: base64 with its padding (RFC 4648, 4).

use core::fmt::{self, Write as _};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Shows bytes in base64.
pub struct Base64<'b>(pub &'b [u8]);

impl fmt::Display for Base64<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.chunks(3) {
            let byte = |place: usize| chunk.get(place).copied().unwrap_or(0);
            let bits = u32::from_be_bytes([0, byte(0), byte(1), byte(2)]);
            let digits = [bits >> 18, bits >> 12, bits >> 6, bits].map(|bits| bits & 63);
            for (place, digit) in digits.into_iter().enumerate() {
                let is_padding = place > chunk.len();
                let letter = ALPHABET.get(digit as usize).filter(|_| !is_padding);
                formatter.write_char(letter.copied().unwrap_or(b'=').into())?;
            }
        }
        Ok(())
    }
}

/// The bytes that `text` means, at the beginning of `room`; `None` if it is no base64, or they do
/// not fit.
#[must_use]
pub fn decode<'r>(text: &str, room: &'r mut [u8]) -> Option<&'r [u8]> {
    let (chunks, []) = text.as_bytes().as_chunks::<4>() else {
        return None;
    };
    let mut len = 0_usize;
    let mut chunks = chunks.iter();
    while let Some(chunk) = chunks.next() {
        let is_last = chunks.len() == 0;
        let letters = match chunk {
            [letters @ .., b'=', b'='] if is_last => letters.as_slice(),
            [letters @ .., b'='] if is_last => letters,
            letters => letters,
        };
        let mut bits = 0_u32;
        for letter in letters {
            let digit = ALPHABET.iter().position(|known| known == letter)?;
            bits = bits << 6 | digit as u32;
        }
        for _ in letters.len()..4 {
            bits <<= 6;
        }
        let bytes = bits.to_be_bytes();
        let len_wanted = letters.len().saturating_sub(1);
        let (wanted, rest) = bytes.get(1..)?.split_at_checked(len_wanted)?;
        // One text means one thing: what is left over is zero.
        if rest.iter().any(|byte| *byte != 0) {
            return None;
        }
        let end = len.checked_add(wanted.len())?;
        room.get_mut(len..end)?.copy_from_slice(wanted);
        len = end;
    }
    room.get(..len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_own_vectors() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(Base64(bytes.as_bytes()).to_string(), text);
            assert_eq!(decode(text, &mut [0; 8]), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn all_bytes_survive() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = Base64(&bytes).to_string();
        assert_eq!(decode(&text, &mut [0; 256]), Some(&*bytes));
        assert_eq!(decode(&text, &mut [0; 255]), None);
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in [
            "Z", "Zg=", "Zg=a", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9v\n",
        ] {
            assert_eq!(decode(text, &mut [0; 16]), None, "{text:?}");
        }
    }
}
