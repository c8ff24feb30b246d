//! Shell patterns as `fnmatch(3)` without flags has them: `*`, `?`, `[a-f]`, `[!a]`, `\*`.
//!
//! Outside brackets `-` and `_` are the same character, since depmod folds them in what it writes
//! while a device's modalias keeps them.

/// Whether the whole of `name` is matched by `pattern`.
///
/// Time is at most the product of the lengths: only the last `*` is ever taken back, which
/// suffices, as an earlier one that took more could not help the later ones.
#[must_use]
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.as_bytes(), name.as_bytes());
    // After the last `*`: the pattern behind it, and the name from where it may take one byte more.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', behind @ ..] = pattern {
            star = Some((behind, name));
            pattern = behind;
        } else if let Some((after_pattern, after_name)) = step(pattern, name) {
            (pattern, name) = (after_pattern, after_name);
        } else if pattern.is_empty() && name.is_empty() {
            return true;
        } else if let Some((behind, [_, shorter @ ..])) = star {
            star = Some((behind, shorter));
            (pattern, name) = (behind, shorter);
        } else {
            return false;
        }
    }
}

/// What is left of both when the first element of the pattern takes the first byte of the name.
fn step<'p, 'n>(pattern: &'p [u8], name: &'n [u8]) -> Option<(&'p [u8], &'n [u8])> {
    let [byte, name @ ..] = name else { return None };
    let (taken, pattern) = match pattern {
        [b'?', rest @ ..] => (true, rest),
        [b'[', rest @ ..] => match class(rest, *byte) {
            Some((taken, rest)) => (taken, rest),
            // A bracket that is never closed stands for itself.
            None => (*byte == b'[', rest),
        },
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (fold(*literal) == fold(*byte), rest),
        [] => return None,
    };
    taken.then_some((pattern, name))
}

/// Whether the class whose text begins after `[` takes the byte, and the pattern behind its `]`.
fn class(text: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut text) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut taken = false;
    let mut first = true;
    loop {
        text = match text {
            // A `]` in the first place is a member.
            [b']', rest @ ..] if !first => return Some((taken != negated, rest)),
            [low, b'-', high, rest @ ..] if *high != b']' => {
                taken |= (*low..=*high).contains(&byte);
                rest
            }
            [member, rest @ ..] => {
                taken |= *member == byte;
                rest
            }
            [] => return None,
        };
        first = false;
    }
}

fn fold(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_fnmatch_has_them() {
        for (pattern, name) in [
            ("", ""),
            ("*", ""),
            ("**", "abc"),
            ("a*c", "abbbc"),
            ("a*b*c", "aXbYbZc"),
            ("pci:v00008086d*sv*", "pci:v00008086d00001237sv00001AF4"),
            ("a?c", "abc"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]]", "]"),
            ("[a-]", "-"),
            ("[", "["),
            (r"\*", "*"),
            ("crc-t10dif", "crc_t10dif"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("a*c", "abcd"),
            ("[a-c]x", "dx"),
            ("[!a-c]x", "ax"),
            ("[a-c]", "-"),
            (r"\*", "a"),
            ("a", "A"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_end_in_reasonable_time() {
        let name = "a".repeat(2000);
        assert!(!matches(&format!("{}b", "a*".repeat(200)), &name));
    }
}
