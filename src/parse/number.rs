//! Numbers that people write.

use core::str::FromStr;

/// The number that `text` is; with a plus sign, which `str::parse` takes too, it is none.
#[must_use]
pub fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_number_has_no_plus_sign() {
        assert_eq!(number("12"), Some(12_u32));
        assert_eq!(number("-1"), Some(-1_i64));
        for text in ["", "+1", "-1", " 1", "1k", "4294967296"] {
            assert_eq!(number::<u32>(text), None, "{text:?}");
        }
    }
}
