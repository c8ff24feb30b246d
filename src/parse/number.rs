//! Numbers that people write.

use core::str::FromStr;

/// The number that `text` is; with a plus sign, which `str::parse` takes too, it is none.
#[must_use]
pub fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

/// How many bytes `text` means: a number, or one of KiB (`64K`) or MiB (`1M`).
#[must_use]
pub fn bytes(text: &str) -> Option<u32> {
    let unit = |letter, bytes| Some((text.strip_suffix(letter)?, bytes));
    let (count, bytes) = unit('K', 1024)
        .or_else(|| unit('M', 1024 * 1024))
        .unwrap_or((text, 1));
    number::<u32>(count)?.checked_mul(bytes)
}

#[cfg(test)]
mod tests {
    use super::{bytes, number};

    #[test]
    fn a_number_has_no_plus_sign() {
        assert_eq!(number("12"), Some(12_u32));
        assert_eq!(number("-1"), Some(-1_i64));
        for text in ["", "+1", "-1", " 1", "1k", "4294967296"] {
            assert_eq!(number::<u32>(text), None, "{text:?}");
        }
    }

    #[test]
    fn bytes_may_be_counted_in_k_and_m() {
        for (text, expected) in [
            ("4096", 4096),
            ("64K", 65_536),
            ("16M", 16 << 20),
            ("0", 0),
            ("4095M", 4095 << 20),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text:?}");
        }
        for text in ["", "K", "+1K", "-1", "64k", "1KM", "1 M", "1G", "4096M"] {
            assert_eq!(bytes(text), None, "{text:?}");
        }
    }
}
